//! A connection that can be broken on purpose: after a number of bytes of the answer, by a reset
//! or by a plain close.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::{io, task};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How the connection is to break, set by whoever handles a request on it.
#[derive(Debug)]
pub struct Breaker {
    /// Bytes that may still be written; `usize::MAX`: any number.
    left: AtomicUsize,
    /// Whether the connection is reset when it is dropped.
    reset: AtomicBool,
}

impl Breaker {
    /// A connection that holds.
    pub fn new() -> Arc<Self> {
        Arc::new(Breaker {
            left: AtomicUsize::new(usize::MAX),
            reset: AtomicBool::new(false),
        })
    }

    /// Breaks the connection once so many bytes more were written.
    pub fn break_after(&self, bytes: usize, reset: bool) {
        self.left.store(bytes, Relaxed);
        self.reset.store(reset, Relaxed);
    }

    /// Lets the connection end with a reset.
    pub fn reset_at_end(&self) {
        self.reset.store(true, Relaxed);
    }
}

/// A TCP connection with its breaker.
#[derive(Debug)]
pub struct Wire {
    io: TokioIo<TcpStream>,
    breaker: Arc<Breaker>,
}

impl Wire {
    /// The connection `stream`, broken by `breaker`.
    pub fn new(stream: TcpStream, breaker: Arc<Breaker>) -> Self {
        Wire {
            io: TokioIo::new(stream),
            breaker,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.breaker.reset.load(Relaxed) {
            // With no time to linger the kernel resets instead of closing. Should it fail, the
            // connection is closed all the same.
            let _ = self.io.inner().set_zero_linger();
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.breaker.left.load(Relaxed);
        if left == usize::MAX {
            return Pin::new(&mut self.io).poll_write(cx, buf);
        }
        if left == 0 && !buf.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let some = &buf[..buf.len().min(left)];
        let written = task::ready!(Pin::new(&mut self.io).poll_write(cx, some))?;
        self.breaker
            .left
            .store(left.saturating_sub(written), Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
