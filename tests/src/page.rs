//! The API server's pages, through `kubectl proxy`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;
use worldstream_bed::Bed;
use worldstream_bed::page::ask;
pub use worldstream_bed::page::page;

/// The API server, for reading and small changes. The calling thread must be at the bed's place.
pub struct Pages {
    proxy: Child,
    address: String,
}

impl Pages {
    /// Of a cluster.
    pub fn of(bed: &dyn Bed) -> Pages {
        let mut proxy = bed.command("kubectl").expect("a bed has kubectl");
        proxy.args(["proxy", "--port=0"]);
        let mut proxy = proxy
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut lines = BufReader::new(proxy.stdout.take().expect("it is piped")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let address = first.split_whitespace().last();
        let address = address.filter(|it| it.contains(':'));
        let address = address.unwrap_or_else(|| panic!("kubectl proxy: {first:?}"));
        let address = address.to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Pages { proxy, address }
    }

    /// An object, or a list; none if there is none, or no answer.
    pub fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&page(&self.address, path)?).ok()
    }

    /// Merges a patch into an object.
    #[track_caller]
    pub fn patch(&self, path: &str, patch: &Value) {
        let answer = ask(&self.address, "PATCH", path, &patch.to_string());
        let done = matches!(&answer, Some((status, _)) if status == "200");
        assert!(done, "{path}: {answer:?}");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
