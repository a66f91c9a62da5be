//! The listener and its connections: opened, refused and ended.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::service::Shared;
use super::wire::{Breaker, Wire};

/// How long requests in flight may take when the gate ends.
const GRACE: Duration = Duration::from_millis(500);

/// How often the journal is flushed.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// An address that is kept even while nobody listens on it: a port that the system chose must
/// not be given to somebody else while connections are refused.
#[derive(Debug)]
pub struct Place {
    /// The address, with the port that was chosen.
    pub addr: SocketAddr,
    _held: TcpSocket,
}

fn socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

impl Place {
    /// Takes an address; port 0 takes a free one.
    ///
    /// Errors: the address is not ours, or in use.
    pub fn take(addr: SocketAddr) -> io::Result<Self> {
        let held = socket(addr)?;
        Ok(Place {
            addr: held.local_addr()?,
            _held: held,
        })
    }

    /// Listens there.
    ///
    /// Errors: the system refuses.
    pub fn listen(&self) -> io::Result<TcpListener> {
        socket(self.addr)?.listen(1024)
    }
}

/// Serves until `stop` becomes true.
pub async fn serve(
    place: Place,
    first: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut listener = Some(first);
    let mut faults_changes = shared.faults_changes();
    let cut = watch::Sender::new(());
    let mut connections = JoinSet::new();
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    loop {
        let (listens, until) = shared.faults().listening(Instant::now());
        if !listens && listener.take().is_some() {
            shared.counts.fault("refuse", 1);
            cut.send_replace(());
        }
        if listens && listener.is_none() {
            match place.listen() {
                Ok(again) => listener = Some(again),
                Err(error) => tracing::warn!("cannot listen again yet: {error}"),
            }
        }
        tokio::select! {
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    shared.counts.connected();
                    if shared.faults().on_connection(Instant::now()) {
                        shared.counts.fault("refuse", 1);
                        // Should it fail, the connection is closed all the same.
                        let _ = stream.set_zero_linger();
                    } else {
                        let talk = converse(stream, shared.clone(), stop.clone(), cut.subscribe());
                        connections.spawn(talk);
                    }
                }
                Err(error) => {
                    // Too many open files, or a connection that was gone before it was taken.
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = sleep_until(until) => {}
            _ = faults_changes.changed() => {}
            _ = flush.tick() => shared.flush(),
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    // What takes longer than the grace, such as a stalled request, is cut off.
    let _ = tokio::time::timeout(GRACE, drained).await;
    shared.flush();
}

/// Returns once the gate is to end, or nobody is left who could end it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => pending().await,
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => pending().await,
    }
}

/// Serves one connection until it ends, the gate ends, or connections are cut.
async fn converse(
    stream: TcpStream,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
    mut cut: watch::Receiver<()>,
) {
    // Without it answers would wait for acknowledgements; a socket that refuses is only slower.
    let _ = stream.set_nodelay(true);
    let breaker = Breaker::new();
    let wire = Wire::new(stream, breaker.clone());
    let handler = {
        let breaker = breaker.clone();
        service_fn(move |request| shared.clone().handle(breaker.clone(), request))
    };
    let mut connection = pin!(http1::Builder::new().serve_connection(wire, handler));
    let mut ending = false;
    loop {
        tokio::select! {
            // How a connection ends is the client's business, or a fault's.
            _ = connection.as_mut() => return,
            _ = cut.changed() => {
                breaker.reset_at_end();
                return;
            }
            () = stopped(&mut stop), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
