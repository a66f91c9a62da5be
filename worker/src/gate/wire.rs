//! One HTTP/1.1 connection to the gate, and one exchange at a time on it.
//!
//! Whoever pushes drives the connection: request, answer and body move in one task. A request is
//! one write of a head that is made ahead and the envelope; an answer is read into a buffer that
//! is kept, and taken apart where it lies.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::client::TlsStream;

use super::client::Shared;
use super::reply::{Bad, Buffer, Reader, Reply};
use super::retry::RetryReason;

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) struct Trouble {
    pub reason: RetryReason,
    /// The cause, with its own causes.
    pub text: String,
    /// A kept connection ended before a byte of the answer came: it had been closed, and the
    /// event may go out on a new one at once.
    pub stale: bool,
}

/// An open connection.
pub(super) struct Wire {
    stream: Stream,
    used: bool,
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// A moment by which an exchange must be over. The timer below it is moved only when it fires too
/// early, which is cheaper than moving it for each exchange.
#[derive(Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Trouble {
    fn new(reason: RetryReason, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            let more = error.to_string();
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            next = error.source();
        }
        Trouble::saying(reason, text)
    }

    fn saying(reason: RetryReason, text: impl Into<String>) -> Self {
        Trouble {
            reason,
            text: text.into(),
            stale: false,
        }
    }
}

impl Deadline {
    /// So long after `now`.
    pub fn set(&mut self, now: Instant, timeout: Duration) {
        self.at = Some(now + timeout);
    }

    /// Whether it has passed; wakes the task when it does.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at.into());
        }
    }
}

/// Connects, through TLS if the gate's URL says so. Bounded in time by the caller.
pub(super) async fn connect(shared: &Shared) -> Result<Wire, Trouble> {
    let stream = dial(shared).await?;
    // Without this a body in a packet of its own could wait for the answer to the head.
    stream
        .set_nodelay(true)
        .map_err(|error| Trouble::new(RetryReason::Connect, &error))?;
    let stream = match &shared.tls {
        None => Stream::Plain(stream),
        Some((connector, name)) => {
            let secured = connector.connect(name.clone(), stream).await;
            let stream = secured.map_err(|error| Trouble::new(RetryReason::Tls, &error))?;
            Stream::Secure(Box::new(stream))
        }
    };
    Ok(Wire {
        stream,
        used: false,
    })
}

/// Tries the gate's addresses in turn; each may take its share of the time, so that one that
/// drops packets does not hide the next.
async fn dial(shared: &Shared) -> Result<TcpStream, Trouble> {
    let addresses = shared
        .addresses()
        .await
        .map_err(|error| Trouble::new(RetryReason::Resolve, &error))?;
    let share = shared.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut last = None;
    for address in addresses.iter() {
        let error = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        last = Some((address, error));
    }
    shared.forget_addresses();
    Err(match last {
        Some((address, error)) => {
            let mut trouble = Trouble::new(RetryReason::Connect, &error);
            trouble.text = format!("{address}: {}", trouble.text);
            trouble
        }
        None => Trouble::saying(RetryReason::Resolve, "the name has no address"),
    })
}

impl Wire {
    /// Sends a request and waits for the whole answer, until the deadline. The answer's body is
    /// in `buffer`. The wire comes back if it can be used again, otherwise it is closed.
    pub async fn exchange(
        mut self,
        request: &[u8],
        buffer: &mut Buffer,
        deadline: &mut Deadline,
    ) -> (Result<Reply, Trouble>, Option<Wire>) {
        buffer.clear();
        let mut exchange = Exchange {
            stream: &mut self.stream,
            begun: false,
            request,
            sent: 0,
            flushed: false,
            broken: None,
            heard: false,
            reader: Reader::new(),
            buffer,
        };
        let result = poll_fn(|cx| match exchange.poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => deadline.poll(cx).map(|()| Err(late())),
        })
        .await;
        match result {
            Ok(reply) if reply.reusable => {
                self.used = true;
                (Ok(reply), Some(self))
            }
            Ok(reply) => (Ok(reply), None),
            Err(mut trouble) => {
                // Only a connection that ended says by its silence that nobody read the request.
                let ended = trouble.reason == RetryReason::Reset;
                let idle = !exchange.begun;
                trouble.stale = self.used && (idle || ended && !exchange.heard);
                (Err(trouble), None)
            }
        }
    }
}

/// What an exchange that takes too long ends with.
pub(super) fn late() -> Trouble {
    Trouble::saying(RetryReason::Timeout, "no whole answer in time")
}

/// An exchange under way.
struct Exchange<'a> {
    stream: &'a mut Stream,
    /// The connection was silent before the request.
    begun: bool,
    request: &'a [u8],
    /// Bytes of it that are written.
    sent: usize,
    flushed: bool,
    /// Why nothing more can be written: what came before that may still be read.
    broken: Option<io::Error>,
    /// Something of the answer came.
    heard: bool,
    reader: Reader,
    buffer: &'a mut Buffer,
}

impl Exchange<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, Trouble>> {
        if !self.begun {
            // What came while the connection was idle is no answer to this request.
            match self.stream.poll_read(cx, self.buffer) {
                Poll::Pending => self.begun = true,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ended())),
                Poll::Ready(Ok(_)) => {
                    let text = "an answer before the request";
                    let trouble = Trouble::saying(RetryReason::Malformed, text);
                    return Poll::Ready(Err(trouble));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(reset(&error))),
            }
        }
        if !self.flushed
            && self.broken.is_none()
            && let Poll::Ready(Err(error)) = self.write(cx)
        {
            self.broken = Some(error);
        }
        loop {
            match self.stream.poll_read(cx, self.buffer) {
                Poll::Pending => {
                    return match self.broken.take() {
                        Some(error) => Poll::Ready(Err(reset(&error))),
                        None => Poll::Pending,
                    };
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(match (self.reader.end(), self.broken.take()) {
                        (Ok(reply), _) => Ok(reply),
                        (Err(_), Some(error)) => Err(reset(&error)),
                        (Err(_), None) => Err(ended()),
                    });
                }
                Poll::Ready(Ok(_)) => self.heard = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(reset(&error))),
            }
            match self.reader.read(self.buffer) {
                Ok(None) => {}
                Ok(Some(mut reply)) => {
                    // An answer to a request that is not out yet leaves the rest of it behind.
                    reply.reusable &= self.flushed;
                    return Poll::Ready(Ok(reply));
                }
                Err(Bad::Malformed(text)) => {
                    return Poll::Ready(Err(Trouble::saying(RetryReason::Malformed, text)));
                }
                Err(Bad::Cut) => return Poll::Ready(Err(ended())),
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.request.len() {
            match ready!(self.stream.poll_write(cx, &self.request[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        ready!(self.stream.poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}

fn reset(error: &io::Error) -> Trouble {
    Trouble::new(RetryReason::Reset, error)
}

fn ended() -> Trouble {
    let text = "the connection ended before the answer was whole";
    Trouble::saying(RetryReason::Reset, text)
}

impl Stream {
    /// Reads into the buffer; how many bytes came, none at the connection's end.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(buffer.room());
        ready!(match self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut room),
            Stream::Secure(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut room),
        })?;
        let count = room.filled().len();
        buffer.came(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Secure(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // What is written to a socket is on its way.
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Secure(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }
}
