//! One HTTP/1.1 connection to the gate, and one exchange at a time on it.
//!
//! Whoever pushes drives the connection: request, answer and body move in one task, without a
//! task beside it that would have to be woken for each.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::answer;
use super::client::Shared;
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

/// A whole answer, or as much of it as is read.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<HeaderValue>,
    /// At most [`answer::BODY_MAX`] bytes.
    pub body: Bytes,
    /// Whether that was all of it.
    pub whole: bool,
}

/// An open connection.
pub(super) struct Wire {
    send: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    ended: bool,
    /// Whether anything was received since it was last cleared.
    heard: Arc<AtomicBool>,
    used: bool,
    relay: Arc<Relay>,
    /// Of `relay`; one for all exchanges, so that what is waited for need not be told anew.
    waker: Waker,
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
        Trouble {
            reason,
            text,
            stale: false,
        }
    }

    fn ended(error: &hyper::Error, stale: bool) -> Self {
        let reason = if error.is_parse() {
            RetryReason::Malformed
        } else {
            RetryReason::Reset
        };
        Trouble {
            stale,
            ..Trouble::new(reason, error)
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
    let Some((connector, name)) = &shared.tls else {
        return open(stream).await;
    };
    let stream = connector
        .connect(name.clone(), stream)
        .await
        .map_err(|error| Trouble::new(RetryReason::Tls, &error))?;
    open(stream).await
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
        None => Trouble {
            reason: RetryReason::Resolve,
            text: "the name has no address".to_owned(),
            stale: false,
        },
    })
}

async fn open<S>(stream: S) -> Result<Wire, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Heard {
        inner: stream,
        heard: heard.clone(),
    });
    let (send, connection) = http1::handshake(io)
        .await
        .map_err(|error| Trouble::new(RetryReason::Connect, &error))?;
    let relay = Arc::new(Relay::default());
    Ok(Wire {
        send,
        driver: Box::pin(connection),
        ended: false,
        heard,
        used: false,
        waker: relay.clone().into(),
        relay,
    })
}

impl Wire {
    /// Sends a request and waits for the whole answer, until `deadline`. The wire comes back if
    /// it can be used again, otherwise it is closed.
    pub async fn exchange(
        mut self,
        request: Request<Full<Bytes>>,
        mut deadline: Pin<&mut Sleep>,
    ) -> (Result<Answer, Trouble>, Option<Wire>) {
        let Wire {
            send,
            driver,
            ended,
            heard,
            used,
            relay,
            waker,
        } = &mut self;
        let mut begun = false;
        let result = {
            let mut talk = pin!(talk(send, request));
            poll_fn(|cx| {
                let done = relay.poll(cx, || {
                    let cx = &mut Context::from_waker(waker);
                    if !*ended && driver.as_mut().poll(cx).is_ready() {
                        *ended = true;
                    }
                    if !begun {
                        // What came while the connection was idle is no answer to this request;
                        // the driver has ended over it.
                        begun = true;
                        heard.store(false, Ordering::Relaxed);
                    }
                    talk.as_mut().poll(cx)
                });
                if let Poll::Ready(result) = done {
                    return Poll::Ready(result.map_err(|error| {
                        let stale = *used && !heard.load(Ordering::Relaxed);
                        Trouble::ended(&error, stale)
                    }));
                }
                deadline.as_mut().poll(cx).map(|()| Err(late()))
            })
            .await
        };
        let whole = matches!(&result, Ok(answer) if answer.whole);
        if whole && self.idle().await {
            self.used = true;
            return (result, Some(self));
        }
        (result, None)
    }

    /// Lets the connection come to rest after an answer; false if it ended instead, because the
    /// gate closed it or sent more than the answer.
    async fn idle(&mut self) -> bool {
        let cx = &mut Context::from_waker(&self.waker);
        if !self.ended && self.driver.as_mut().poll(cx).is_ready() {
            self.ended = true;
        }
        !self.ended
    }
}

/// Passes wakes on to the task that pushes, but keeps those that it causes itself: driver and
/// exchange tell each other of request, answer and body by waking, and are polled in turn until
/// neither has anything to tell, instead of by the runtime once for each.
#[derive(Debug, Default)]
struct Relay {
    polling: AtomicBool,
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Relay {
    /// Polls until it is ready, or nothing has woken us meanwhile.
    fn poll<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut() -> Poll<T>) -> Poll<T> {
        {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *task {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        loop {
            self.polling.store(true, Ordering::SeqCst);
            self.woken.store(false, Ordering::SeqCst);
            let polled = poll();
            // Whoever wakes says so before it looks whether we poll; we look the other way round,
            // so that between the two no wake is lost.
            self.polling.store(false, Ordering::SeqCst);
            if polled.is_ready() || !self.woken.load(Ordering::SeqCst) {
                return polled;
            }
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(task) = &*task {
                task.wake_by_ref();
            }
        }
    }
}

/// What an exchange that takes too long ends with.
pub(super) fn late() -> Trouble {
    Trouble {
        reason: RetryReason::Timeout,
        text: "no whole answer in time".to_owned(),
        stale: false,
    }
}

async fn talk(
    send: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    send.ready().await?;
    let response = send
        .try_send_request(request)
        .await
        .map_err(|error| error.into_error())?;
    let status = response.status();
    let retry_after = if status.is_success() {
        None
    } else {
        response.headers().get(RETRY_AFTER).cloned()
    };
    let (body, whole) = answer::read(response.into_body()).await?;
    Ok(Answer {
        status,
        retry_after,
        body,
        whole,
    })
}

/// A stream that notes when something was received.
struct Heard<S> {
    inner: S,
    heard: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > filled {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    // Head and body leave in one system call.
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}
