//! A way to a gate on which the events of one output can be held up, while those of the others
//! pass.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Passes requests on to a gate. When it is dropped, everything passes.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    outputs: Mutex<BTreeSet<String>>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Held {
    fn outputs(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// A way to the gate of this URL, `http://host:port`.
    pub fn start(gate: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let gate = gate.trim_start_matches("http://").to_owned();
        let held = Arc::new(Held::default());
        let shared = held.clone();
        // Ends with the test's process: it waits for connections that nobody makes.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (gate, held) = (gate.clone(), shared.clone());
                thread::spawn(move || {
                    // A connection that breaks, on either side, is the client's to mend.
                    let _ = pass(client, &gate, &held);
                });
            }
        });
        Proxy { url, held }
    }

    /// Events of this output wait from now on.
    pub fn hold(&self, output: &str) {
        self.held.outputs().insert(output.to_owned());
    }

    /// How many events wait now.
    pub fn waiting(&self) -> usize {
        // Those that pass count only while the lock is held.
        let _outputs = self.held.outputs();
        self.held.waiting.load(Ordering::SeqCst)
    }

    /// Events of this output pass again.
    pub fn release(&self, output: &str) {
        self.held.outputs().remove(output);
        self.held.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.held.outputs().clear();
        self.held.changed.notify_all();
    }
}

fn pass(client: TcpStream, gate: &str, held: &Held) -> io::Result<()> {
    client.set_nodelay(true)?;
    let gate = TcpStream::connect(gate)?;
    gate.set_nodelay(true)?;
    let (mut to_client, mut to_gate) = (client.try_clone()?, gate.try_clone()?);
    let (mut client, mut gate) = (BufReader::new(client), BufReader::new(gate));
    while let Some(request) = message(&mut client)? {
        let text = String::from_utf8_lossy(&request).into_owned();
        let is = |output: &String| text.contains(&format!("\"event_type\":\"{output}\""));
        let mut outputs = held.outputs();
        held.waiting.fetch_add(1, Ordering::SeqCst);
        while outputs.iter().any(is) {
            outputs = held
                .changed
                .wait(outputs)
                .unwrap_or_else(PoisonError::into_inner);
        }
        held.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(outputs);
        to_gate.write_all(&request)?;
        let Some(answer) = message(&mut gate)? else {
            return Ok(());
        };
        to_client.write_all(&answer)?;
    }
    Ok(())
}

/// One message with its head and as much body as the head says.
fn message(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut length = 0;
    loop {
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    from.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
