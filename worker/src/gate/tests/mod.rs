//! A scripted gate on a loopback socket: what it says, byte by byte, and what it was told.

mod answers;
mod faults;
mod secrets;
mod secure;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use worldstream_crds::OnQuarantine;

use super::{Decision, GateClient, PushEnd};
use crate::failure::Failure;
use crate::plan::{AuthPlan, GatePlan, QuarantinePlan, RetryPlan, SecretSource};
use crate::stop::Stop;

/// A lane's tasks may run on any thread.
const _: fn() = || {
    fn sendable<T: Send>() {}
    sendable::<super::Connection>();
    sendable::<GateClient>();
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection, from 0.
    pub connection: usize,
    /// Request line and headers, in lower case but for values.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What the gate does once it has read a request.
#[derive(Clone, Debug)]
pub struct Act {
    /// Written one after the other, each flushed.
    pub pieces: Vec<Vec<u8>>,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// The next request is read.
    Keep,
    /// The connection is closed in order.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more is said; the connection stays open.
    Hang,
}

pub struct Gate {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub connections: Arc<AtomicUsize>,
    /// Connections that the gate is done with.
    pub ended: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// A gate that acts by the number of a request (from 0, over all connections) and the request.
    pub async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Gate {
        Gate::start_at("127.0.0.1:0", script).await
    }

    pub async fn start_at(
        address: &str,
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Gate {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        let script = Arc::new(script);
        let task = tokio::spawn({
            let (seen, connections, ended) = (seen.clone(), connections.clone(), ended.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    let (seen, script, ended) = (seen.clone(), script.clone(), ended.clone());
                    tokio::spawn(async move {
                        serve(stream, number, &seen, &*script).await;
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Gate {
            address,
            seen,
            connections,
            ended,
            task,
        }
    }

    /// A gate that answers its first requests by the list, and every other with ADMIT.
    pub async fn answering(first: Vec<Act>) -> Gate {
        Gate::start(move |number, _| first.get(number).cloned().unwrap_or_else(admit)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1/ingest/push", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn plan(&self) -> GatePlan {
        plan(&self.url())
    }

    pub fn client(&self) -> GateClient {
        GateClient::new(&self.plan()).unwrap()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until `holds`, for conditions of the gate.
    pub async fn until(&self, holds: impl Fn(&Gate) -> bool) {
        while !holds(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    seen: &Mutex<Vec<Seen>>,
    script: &(dyn Fn(usize, &Seen) -> Act + Send + Sync),
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, connection).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let act = script(number, &request);
        for piece in &act.pieces {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            let _ = stream.flush().await;
            if act.pieces.len() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        match act.then {
            Then::Keep => {}
            Then::Close => {
                let _ = stream.shutdown().await;
                return;
            }
            Then::Reset => {
                // What was written is read before the reset overtakes it.
                if !act.pieces.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                stream.set_zero_linger().unwrap();
                return;
            }
            Then::Hang => {
                // Until the other side gives up.
                let _ = stream.read(&mut [0; 64]).await;
                return;
            }
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap()
                .parse()
                .unwrap();
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some(Seen {
                    connection,
                    head,
                    body,
                });
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&more[..count]),
        }
    }
}

/// An answer with a length.
pub fn answer(status: u16, headers: &str, body: &str) -> Act {
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    Act {
        pieces: vec![text.into_bytes()],
        then: Then::Keep,
    }
}

/// Bytes as they are, and what follows.
pub fn raw(bytes: &str, then: Then) -> Act {
    let pieces = if bytes.is_empty() {
        Vec::new()
    } else {
        vec![bytes.as_bytes().to_vec()]
    };
    Act { pieces, then }
}

pub fn admit() -> Act {
    answer(
        200,
        "",
        r#"{"decision":"ADMIT","receipt":{},"receipt_ref":"r"}"#,
    )
}

/// A plan for a URL: no auth, pauses of a millisecond, and time enough.
pub fn plan(url: &str) -> GatePlan {
    GatePlan {
        url: url.to_owned(),
        auth: AuthPlan::None,
        ca_file: None,
        in_flight: 1,
        require_decision: true,
        timeout: Duration::from_secs(20),
        retry: RetryPlan {
            attempts: 5,
            base: Duration::from_millis(1),
            max: Duration::from_millis(5),
            unavailable_for: None,
        },
        quarantine: QuarantinePlan {
            policy: OnQuarantine::Continue,
            max_count: None,
            max_share: None,
            window: 1,
        },
    }
}

pub fn key_file(dir: &std::path::Path, key: &str) -> SecretSource {
    let path: PathBuf = dir.join("key");
    std::fs::write(&path, key).unwrap();
    SecretSource::File(path)
}

pub async fn push(client: &GateClient, body: &'static str) -> PushEnd {
    let mut connection = client.connection();
    connection
        .push(Bytes::from_static(body.as_bytes()), &Stop::new())
        .await
}

#[track_caller]
pub fn taken(end: PushEnd) -> (Option<Decision>, u32) {
    match end {
        PushEnd::Taken { decision, retries } => (decision, retries),
        other => panic!("not taken: {other:?}"),
    }
}

#[track_caller]
pub fn failed(end: PushEnd) -> Failure {
    match end {
        PushEnd::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}
