//! A way to a server that can be cut: bytes pass as they are, until answers are swallowed, until
//! all is cut, or until the way leads elsewhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Passes connections on.
pub struct Relay {
    /// Where it listens: `127.0.0.1:port`.
    pub address: String,
    way: Arc<Way>,
}

struct Way {
    to: Mutex<String>,
    open: Mutex<Vec<TcpStream>>,
    refusing: AtomicBool,
    swallowing: AtomicBool,
    swallowed: AtomicBool,
    delay: Mutex<Duration>,
}

impl Relay {
    /// A way to `host:port`.
    pub fn start(to: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let way = Arc::new(Way {
            to: Mutex::new(to.to_owned()),
            open: Mutex::default(),
            refusing: AtomicBool::new(false),
            swallowing: AtomicBool::new(false),
            swallowed: AtomicBool::new(false),
            delay: Mutex::default(),
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
        Relay { address, way }
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
        for stream in self.way.open().drain(..) {
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
        *self
            .way
            .delay
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Leads elsewhere from now on; what is open is cut.
    pub fn lead_to(&self, to: &str) {
        *self.way.to.lock().unwrap_or_else(PoisonError::into_inner) = to.to_owned();
        self.cut();
    }
}

impl Way {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let server = TcpStream::connect(to.as_str())?;
        drop(to);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.open()
            .extend([client.try_clone()?, server.try_clone()?]);
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(length @ 1..) = up_from.read(&mut buffer) {
                if up_to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = up_to.shutdown(Shutdown::Both);
        });
        let (mut down_from, mut down_to, way) = (server, client, self.clone());
        thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(length @ 1..) = down_from.read(&mut buffer) {
                let delay = *way.delay.lock().unwrap_or_else(PoisonError::into_inner);
                thread::sleep(delay);
                if way.swallowing.load(Ordering::SeqCst) {
                    way.swallowed.store(true, Ordering::SeqCst);
                    continue;
                }
                if down_to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = down_to.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}
