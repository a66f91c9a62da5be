//! Pages of HTTP servers, and of the API server through `kubectl proxy`: a test that looks several
//! times a second must not start a program each time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use worldstream_bed::Bed;

/// A page of a server at `host:port`; none if it does not answer with 200.
pub fn page(address: &str, path: &str) -> Option<String> {
    ask(address, "GET", path, "")
        .filter(|(status, _)| status == "200")
        .map(|it| it.1)
}

/// The status and the body of an answer; none if there is none.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(String, String)> {
    let wait = Duration::from_secs(20);
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, wait).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    // As of version 1.0, so that the answer is in one piece.
    let host = address.split(':').next()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\n\
         Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?;
    Some((status.to_owned(), body.to_owned()))
}

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
