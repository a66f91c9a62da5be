//! A way to a server that can be slowed down, held up or cut: bytes pass as they are, until answers
//! are swallowed or broken off, until all is cut, or until the way leads elsewhere. The requests of
//! an HTTP server are written down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Passes connections on. When it is dropped, everything passes.
pub struct Relay {
    /// Where it listens: `127.0.0.1:port`.
    pub address: String,
    /// The same as a URL, `http://127.0.0.1:port`.
    pub url: String,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    to: Mutex<String>,
    open: Mutex<Vec<TcpStream>>,
    refusing: AtomicBool,
    swallowing: AtomicBool,
    swallowed: AtomicBool,
    delay: Mutex<Duration>,
    /// Bytes a second of each connection towards the client; 0: as fast as they come.
    rate: AtomicU64,
    /// Answers that break off with their connection from now on, one each.
    breaks: AtomicU64,
    /// Of requests of HTTP; none: they are not looked at.
    heads: Option<Mutex<Vec<String>>>,
}

impl Relay {
    /// A way to `host:port`.
    pub fn start(to: &str) -> Relay {
        Relay::with(to, None)
    }

    /// A way to an HTTP server of this URL, `http://host:port`, whose requests are written down.
    pub fn http(url: &str) -> Relay {
        Relay::with(url.trim_start_matches("http://"), Some(Mutex::default()))
    }

    fn with(to: &str, heads: Option<Mutex<Vec<String>>>) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let way = Arc::new(Way {
            to: Mutex::new(to.to_owned()),
            heads,
            ..Way::default()
        });
        let shared = way.clone();
        // Ends with the test's process: it waits for connections that nobody makes.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !shared.refusing.load(Ordering::SeqCst) {
                    // A server that is away shows as a connection that ends.
                    let _ = shared.pass(client);
                }
            }
        });
        let url = format!("http://{address}");
        Relay { address, url, way }
    }

    /// From now on what the server answers is thrown away.
    pub fn swallow_answers(&self) {
        self.way.swallowed.store(false, Ordering::SeqCst);
        self.way.swallowing.store(true, Ordering::SeqCst);
    }

    /// Whether an answer was thrown away since.
    pub fn swallowed(&self) -> bool {
        self.way.swallowed.load(Ordering::SeqCst)
    }

    /// Cuts what is open; answers to later connections pass.
    pub fn cut(&self) {
        for stream in lock(&self.way.open).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.way.swallowing.store(false, Ordering::SeqCst);
    }

    /// Whether connections are refused from now on.
    pub fn refuse(&self, refusing: bool) {
        self.way.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Each answer takes so long from now on.
    pub fn delay(&self, delay: Duration) {
        *lock(&self.way.delay) = delay;
    }

    /// From now on, each connection's answers come at so many bytes a second; 0: as they come.
    pub fn slow(&self, bytes_a_second: u64) {
        self.way.rate.store(bytes_a_second, Ordering::SeqCst);
    }

    /// The next so many long answers break off in their middle, with their connection.
    pub fn break_off(&self, answers: u64) {
        self.way.breaks.store(answers, Ordering::SeqCst);
    }

    /// Answers that are still to break off.
    pub fn to_break_off(&self) -> u64 {
        self.way.breaks.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far, in order.
    pub fn heads(&self) -> Vec<String> {
        let heads = self.way.heads.as_ref();
        heads.map_or_else(Vec::new, |heads| lock(heads).clone())
    }

    /// Leads elsewhere from now on; what is open is cut.
    pub fn lead_to(&self, to: &str) {
        *lock(&self.way.to) = to.to_owned();
        self.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.slow(0);
        self.break_off(0);
        self.delay(Duration::ZERO);
        self.way.swallowing.store(false, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Way {
    fn pass(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let to = lock(&self.to).clone();
        let server = TcpStream::connect(to)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.open).extend([client.try_clone()?, server.try_clone()?]);
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        let way = self.clone();
        thread::spawn(move || way.requests(from_client, to_server));
        let way = self.clone();
        thread::spawn(move || way.answers(server, client));
        Ok(())
    }

    fn requests(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        let mut text = Vec::new();
        // Bodies are long, and looked through once.
        let mut looked = 0;
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            if let Some(heads) = &self.heads {
                text.extend_from_slice(&buffer[..length]);
                // Requests here have no bodies but those of writes, whose lines are no requests.
                while let Some(end) = end_of_head(&text, looked) {
                    let rest = text.split_off(end);
                    lock(heads).push(String::from_utf8_lossy(&text).into_owned());
                    text = rest;
                    looked = 0;
                }
                looked = text.len().saturating_sub(3);
            }
            if server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn answers(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let rate = self.rate.load(Ordering::SeqCst);
            let most = match rate {
                0 => buffer.len(),
                rate => (rate as usize / 20).clamp(1, buffer.len()),
            };
            let Ok(length @ 1..) = server.read(&mut buffer[..most]) else {
                break;
            };
            let delay = *lock(&self.delay);
            thread::sleep(delay);
            if self.swallowing.load(Ordering::SeqCst) {
                self.swallowed.store(true, Ordering::SeqCst);
                continue;
            }
            let left = |left: u64| left.checked_sub(1);
            let breaks = &self.breaks;
            // Small answers are whole in one read: only those in whose middle we are break off.
            if length == buffer.len()
                && breaks
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                    .is_ok()
            {
                let _ = client.write_all(&buffer[..length / 2]);
                break;
            }
            if rate > 0 {
                thread::sleep(Duration::from_secs_f64(length as f64 / rate as f64));
            }
            if client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

/// Where the first head in a text ends, that does not end before `from`.
fn end_of_head(text: &[u8], from: usize) -> Option<usize> {
    let found = text[from..].windows(4).position(|it| it == b"\r\n\r\n");
    found.map(|at| from + at + 4)
}
