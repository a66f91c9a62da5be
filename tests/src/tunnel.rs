//! A way to a server on which bytes can be slowed down, held up or cut, and whose requests are
//! written down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A tunnel. What is dropped lets everything pass.
pub struct Tunnel {
    /// Where it listens, `http://host:port`.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Bytes a second of each connection towards the client; 0: as fast as they come.
    rate: AtomicU64,
    /// Connections whose bytes are dropped with them from now on, one each.
    cuts: AtomicU64,
    heads: Mutex<Vec<String>>,
}

impl Tunnel {
    /// A way to the server of this URL, `http://host:port`.
    pub fn start(server: &str) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let server = server.trim_start_matches("http://").to_owned();
        let shared = Arc::new(Shared::default());
        let of_all = shared.clone();
        // Ends with the test's process: it waits for connections that nobody makes.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                // A connection that breaks, on either side, is the client's to mend.
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone())
                else {
                    continue;
                };
                let shared = of_all.clone();
                thread::spawn(move || requests(from_client, to_server, &shared));
                let shared = of_all.clone();
                thread::spawn(move || answers(server, client, &shared));
            }
        });
        Tunnel { url, shared }
    }

    /// From now on, each connection's answers come at so many bytes a second; 0: as they come.
    pub fn slow(&self, bytes_a_second: u64) {
        self.shared.rate.store(bytes_a_second, Ordering::SeqCst);
    }

    /// The next so many answers break off in their middle, with their connection.
    pub fn cut(&self, answers: u64) {
        self.shared.cuts.store(answers, Ordering::SeqCst);
    }

    /// Answers that are still to be cut.
    pub fn cuts_left(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far, in order, in lower case but for their first line.
    pub fn heads(&self) -> Vec<String> {
        self.shared
            .heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.slow(0);
        self.cut(0);
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    let mut text = Vec::new();
    // Bodies are long, and looked through once.
    let mut looked = 0;
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
        // Requests here have no bodies but those of writes, whose lines are no requests.
        let end = |text: &[u8], from: usize| {
            let found = text[from..].windows(4).position(|it| it == b"\r\n\r\n");
            found.map(|at| from + at + 4)
        };
        while let Some(end) = end(&text, looked) {
            let rest = text.split_off(end);
            let head = String::from_utf8_lossy(&text).into_owned();
            let mut heads = shared.heads.lock().unwrap_or_else(PoisonError::into_inner);
            heads.push(head);
            text = rest;
            looked = 0;
        }
        looked = text.len().saturating_sub(3);
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn answers(mut server: TcpStream, mut client: TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let rate = shared.rate.load(Ordering::SeqCst);
        let most = match rate {
            0 => buffer.len(),
            rate => (rate as usize / 20).clamp(1, buffer.len()),
        };
        let Ok(length @ 1..) = server.read(&mut buffer[..most]) else {
            break;
        };
        let cut = |left: u64| left.checked_sub(1);
        let cuts = &shared.cuts;
        // Small answers are whole in one read: only those in whose middle we are are cut.
        if length == buffer.len()
            && cuts
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut)
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
