//! What is done to a Kinesis while somebody reads it: shards that are split and merged, and a way to
//! it on which requests can be answered otherwise than Kinesis would: by what it says where too many
//! read, or when an iterator is too old.

mod shards;

pub use shards::{make, merge, open, shards, split, until_active};

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What to answer the `nth` request of an action (from 0 on): an error's type, or none for what
/// Kinesis itself says.
type Rule = Box<dyn FnMut(&str, u64) -> Option<&'static str> + Send>;

/// A way to Kinesis.
pub struct KinesisWay {
    /// Where it listens, `http://host:port`.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    rule: Option<Rule>,
    asked: BTreeMap<String, u64>,
    answered: BTreeMap<&'static str, u64>,
}

impl KinesisWay {
    /// A way to the Kinesis of this URL, `http://host:port`.
    pub fn start(kinesis: &str) -> KinesisWay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let kinesis = kinesis.trim_start_matches("http://").to_owned();
        let shared = Arc::<Mutex<Shared>>::default();
        let of_all = shared.clone();
        // Ends with the test's process: it waits for connections that nobody makes.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (kinesis, shared) = (kinesis.clone(), of_all.clone());
                // What breaks is the client's to mend.
                thread::spawn(move || pass(client, &kinesis, &shared));
            }
        });
        KinesisWay { url, shared }
    }

    /// From now on, requests are answered by this rule; those of each action are counted anew.
    pub fn rule(&self, rule: impl FnMut(&str, u64) -> Option<&'static str> + Send + 'static) {
        let mut shared = lock(&self.shared);
        shared.asked.clear();
        shared.rule = Some(Box::new(rule));
    }

    /// How many requests of an action came since the rule was made.
    pub fn asked(&self, action: &str) -> u64 {
        lock(&self.shared).asked.get(action).copied().unwrap_or(0)
    }

    /// How many were answered with this error, ever.
    pub fn answered(&self, error: &str) -> u64 {
        lock(&self.shared).answered.get(error).copied().unwrap_or(0)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request, and one answer: the connection ends with it.
fn pass(client: TcpStream, kinesis: &str, shared: &Mutex<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut to_client = client.try_clone()?;
    let (head, body) = request(&mut BufReader::new(client))?;
    let action = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"))
        .and_then(|(_, target)| target.rsplit_once('.'))
        .map(|(_, action)| action.trim().to_owned())
        .unwrap_or_default();
    let error = {
        let mut shared = lock(shared);
        let asked = shared.asked.entry(action.clone()).or_default();
        let nth = *asked;
        *asked += 1;
        let error = shared.rule.as_mut().and_then(|rule| rule(&action, nth));
        if let Some(error) = error {
            *shared.answered.entry(error).or_default() += 1;
        }
        error
    };
    if let Some(error) = error {
        let body = format!(r#"{{"__type":"{error}","message":"said by the test"}}"#);
        return to_client.write_all(
            format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
    }
    let mut kinesis = TcpStream::connect(kinesis)?;
    kinesis.set_nodelay(true)?;
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    kinesis.write_all(format!("{first}\r\nconnection: close\r\n{rest}").as_bytes())?;
    kinesis.write_all(&body)?;
    io::copy(&mut kinesis, &mut to_client).map(drop)
}

/// A request's head, with its empty line, and its body.
fn request(from: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    Ok((head, body))
}
