//! An Ingestion Gate for development: answers as the real one does, and misbehaves on demand.
//!
//! [`spawn`] runs one on a thread of its own. A push walks through the files in this order:
//! `server` (listener, connections), `wire` (a connection that can be broken), `service` (routes),
//! `auth`, `check` (envelope against schema and policy, with `canonical` for the payload's hash
//! and `outputs` for the policies), `books` (repeats, record), `answer` (receipts). `faults` says
//! what goes wrong meanwhile, `counts` what was seen.

mod answer;
mod auth;
mod books;
mod canonical;
mod check;
mod counts;
mod faults;
mod outputs;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;
use worldstream_crds::{ExitCode, Reason};

pub use books::Arrived;
pub use counts::{Decisions, Summary};
pub use faults::{FaultKind, FaultSpec, GRAMMAR, Span};

use crate::failure::{Failure, Result};
use server::Place;
use service::Shared;

/// How a gate is set up. [`GateConfig::default`] is open to everybody on a free port of loopback.
#[derive(Clone, Debug, PartialEq)]
pub struct GateConfig {
    /// Where it listens, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// A file of API keys, one a line.
    pub api_keys: Option<PathBuf>,
    /// A file with the secret that service tokens are signed with. With neither this nor
    /// `api_keys`, nobody is asked who they are.
    pub token_secret: Option<PathBuf>,
    /// Closes the connection after each answer.
    pub close: bool,
    /// Pushes allowed in a minute; beyond it 429.
    pub rate_limit: Option<u64>,
    /// Longest body, bytes; beyond it 413.
    pub max_body: usize,
    /// Where admitted envelopes are appended, a line each, in the order of their admission.
    pub record: Option<PathBuf>,
    /// Where every arrival is appended, a line ([`Arrived`]) each, in the order of decisions.
    pub record_all: Option<PathBuf>,
    /// Begins both files anew.
    pub fresh: bool,
    /// What goes wrong.
    pub faults: Vec<FaultSpec>,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl Default for GateConfig {
    fn default() -> Self {
        GateConfig {
            listen: "127.0.0.1:0".into(),
            api_keys: None,
            token_secret: None,
            close: false,
            rate_limit: None,
            max_body: 1 << 20,
            record: None,
            record_all: None,
            fresh: false,
            faults: Vec::new(),
            seed: 0,
        }
    }
}

/// A gate that runs on a thread of its own until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningGate {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a gate; it listens when this returns.
///
/// Errors: a file cannot be read or written (`STREAM_FAILED`), or the address cannot be listened
/// on (the same, exit code "unavailable").
pub fn spawn(config: GateConfig) -> Result<RunningGate> {
    let shared = Arc::new(Shared::new(&config)?);
    let wanted = resolve(&config.listen)?;
    let (stop, stopped) = watch::channel(false);
    let (report, bound) = mpsc::channel();
    let for_thread = shared.clone();
    let thread = thread::Builder::new()
        .name("dev-gate".into())
        .spawn(move || run(wanted, for_thread, stopped, report))
        .map_err(|error| unavailable(&config.listen).cause(&error))?;
    let addr = match bound.recv() {
        Ok(outcome) => outcome.map_err(|error| unavailable(&config.listen).cause(&error))?,
        Err(_) => return Err(unavailable(&config.listen).detail("the gate's thread ended")),
    };
    Ok(RunningGate {
        addr,
        shared,
        stop,
        thread: Some(thread),
    })
}

fn run(
    wanted: SocketAddr,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    report: mpsc::Sender<std::io::Result<SocketAddr>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(report.send(Err(error))),
    };
    runtime.block_on(async {
        let opened = Place::take(wanted).and_then(|place| Ok((place.listen()?, place)));
        match opened {
            Ok((listener, place)) => {
                // Whoever started us waits for it.
                let _ = report.send(Ok(place.addr));
                server::serve(place, listener, shared, stopped).await;
            }
            Err(error) => drop(report.send(Err(error))),
        }
    });
}

fn resolve(listen: &str) -> Result<SocketAddr> {
    let mut addrs = listen
        .to_socket_addrs()
        .map_err(|error| unavailable(listen).expected("host:port").cause(&error))?;
    addrs
        .next()
        .ok_or_else(|| unavailable(listen).detail("the name has no address"))
}

fn unavailable(listen: &str) -> Failure {
    Failure::new(Reason::StreamFailed, format!("dev gate at {listen}")).exits(ExitCode::Unavailable)
}

impl RunningGate {
    /// `http://127.0.0.1:PORT`, without the push path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has seen so far. The files are complete up to here when this returns.
    pub fn summary(&self) -> Summary {
        self.shared.summary()
    }

    /// The metrics, as `/metrics` has them.
    pub fn metrics(&self) -> String {
        self.shared.counts.text()
    }

    /// Replaces the faults; their spans and counts begin now.
    pub fn set_faults(&self, faults: Vec<FaultSpec>) {
        self.shared.set_faults(faults);
    }

    /// Ends it: no connection more, requests in flight have half a second, files are complete.
    pub fn stop(mut self) -> Summary {
        self.end();
        self.shared.summary()
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the dev gate's thread panicked");
        }
    }
}

impl Drop for RunningGate {
    fn drop(&mut self) {
        self.end();
    }
}
