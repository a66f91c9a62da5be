//! The development gate as a process of its own, recording what arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::program;
use crate::record::{Arrival, arrivals, envelopes};

/// A gate that runs. Ended when dropped.
pub struct GateProcess {
    child: Child,
    /// Where it listens, such as `http://127.0.0.1:40001`.
    pub url: String,
    /// Admitted envelopes, one a line.
    pub record: PathBuf,
    /// Every arrival, one a line.
    pub record_all: PathBuf,
}

impl GateProcess {
    /// A gate on a free port that records into `dir`, with more arguments such as `--fault`.
    pub fn start(dir: &Path, more: &[&str]) -> GateProcess {
        Self::start_at("127.0.0.1:0", dir, more)
    }

    /// A gate at an address; what it recorded before in `dir` still counts.
    pub fn start_at(listen: &str, dir: &Path, more: &[&str]) -> GateProcess {
        std::fs::create_dir_all(dir).expect("a folder can be made");
        let (record, record_all) = (dir.join("admitted.jsonl"), dir.join("arrivals.jsonl"));
        let mut child = Command::new(program())
            .args(["dev-gate", "--listen", listen, "--record"])
            .arg(&record)
            .arg("--record-all")
            .arg(&record_all)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gate starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let url = first
            .split_whitespace()
            .last()
            .filter(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("the gate says where it listens: {first:?}"))
            .to_owned();
        // Read on, or the gate would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        GateProcess {
            child,
            url,
            record,
            record_all,
        }
    }

    /// What was admitted, in order of arrival.
    pub fn admitted(&self) -> Vec<serde_json::Value> {
        envelopes(&self.record)
    }

    /// Everything that arrived, in order. Arrivals are written behind the answers, so the gate is
    /// asked first for what it has seen.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.summary();
        arrivals(&self.record_all)
    }

    /// Waits for so many arrivals after the first `from` ones, and gives them. Arrivals are
    /// written behind the answers.
    pub fn arrivals_after(&self, from: usize, count: usize) -> Vec<Arrival> {
        let mut all = Vec::new();
        crate::inside::until("arrivals in the gate's file", || {
            // A last line may be half written.
            let whole = crate::inside::whole_lines(&self.record_all);
            all = whole
                .iter()
                .map(|line| serde_json::from_str(line).expect("an arrival"))
                .collect();
            all.len() >= from + count
        });
        all.split_off(from)
    }

    /// Waits until it has ended, and gives everything that arrived, in order.
    pub fn recorded(mut self) -> Vec<Arrival> {
        self.child.wait().expect("a child can be awaited");
        arrivals(&self.record_all)
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// What it has seen so far. What arrived up to now is in its files then.
    pub fn summary(&self) -> serde_json::Value {
        self.ask("GET", "/v1/ops/summary", "")
    }

    /// Pushes that have arrived so far.
    pub fn pushes(&self) -> u64 {
        self.summary()["pushes"].as_u64().expect("a count")
    }

    /// Replaces its faults; their spans count from now.
    pub fn set_faults(&self, faults: &[&str]) {
        let set = self.ask(
            "POST",
            "/v1/dev/faults",
            &serde_json::json!(faults).to_string(),
        );
        assert_eq!(set.as_array().map(Vec::len), Some(faults.len()), "{set}");
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let address = self.address();
        let mut stream = None;
        // A gate that refuses for a while listens again.
        crate::stream::until("the gate listens", || {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        let mut stream = stream.expect("it was just connected");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .expect("the gate reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the gate answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{method} {path}: {answer}"
        );
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Ends it as a person would, so that everything is recorded.
    pub fn end(mut self) -> Vec<serde_json::Value> {
        self.signal("TERM");
        self.child.wait().expect("a child can be awaited");
        envelopes(&self.record)
    }
}

impl Drop for GateProcess {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
