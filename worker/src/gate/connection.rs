//! Pushing: one event at a time over one connection, tried again with the same bytes until it is
//! taken, refused, or given up.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::time::Sleep;
use worldstream_crds::Reason;

use super::PushEnd;
use super::answer;
use super::client::{Headers, Shared};
use super::counters::Counters;
use super::retry::{self, Next, RetryReason, Verdict};
use super::wire::{self, Answer, Trouble, Wire};
use crate::failure::Failure;
use crate::stop::Stop;

/// One connection to the gate with at most one request on it. It is made when it is needed, and
/// made again whenever the gate closes it.
///
/// Used by one task inside a tokio runtime with I/O and time, best a current-thread one.
pub struct Connection {
    shared: Arc<Shared>,
    headers: Arc<Headers>,
    wire: Option<Wire>,
    /// One timer for all exchanges: moving it is cheaper than making one.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// How an attempt ended without an answer.
enum NoAnswer {
    Trouble(Trouble),
    /// We were asked to stop while it was being connected: nothing was sent.
    Stopped,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Connection {
            headers: shared.headers(),
            shared,
            wire: None,
            deadline: None,
        }
    }

    /// Pushes one envelope until IG has it, refuses it, or has been tried as often or as long as
    /// the plan allows. Every attempt sends the same bytes.
    ///
    /// Once `stop` is set neither a pause nor connecting is waited for: it ends as
    /// [`PushEnd::Interrupted`], and no other attempt begins. But an answer that is awaited is
    /// awaited still, up to the plan's timeout.
    ///
    /// A future that is dropped leaves the connection closed; the event may have been taken.
    ///
    /// # Failures
    /// `IG_PUSH_REJECTED` with status and the start of the body, `IG_PUSH_RETRY_EXHAUSTED` with
    /// attempts, elapsed time and what the last attempt met. Neither names the event or holds a
    /// credential.
    pub async fn push(&mut self, envelope: Bytes, stop: &Stop) -> PushEnd {
        let shared = self.shared.clone();
        let counters = &shared.counters;
        let begun = Instant::now();
        let mut attempt = 0;
        let mut read_again = false;
        loop {
            attempt += 1;
            Counters::add(&counters.attempts);
            let (reason, met, retry_after) = match self.attempt(&envelope, stop).await {
                Ok(answer) => match self.verdict(&answer) {
                    Verdict::Taken(decision) => {
                        counters.settled();
                        return PushEnd::Taken {
                            decision,
                            retries: attempt - 1,
                        };
                    }
                    Verdict::Unauthorized if !read_again => {
                        read_again = true;
                        counters.failed(RetryReason::Unauthorized);
                        match shared.read_again(self.headers.generation).await {
                            Ok(headers) => self.headers = headers,
                            Err(failure) => {
                                let detail =
                                    format!("reading the credential again: {}", failure.message());
                                return PushEnd::Failed(self.rejected(&answer).detail(detail));
                            }
                        }
                        if stop.is_set() {
                            return PushEnd::Interrupted;
                        }
                        continue;
                    }
                    Verdict::Unauthorized => {
                        let detail = "the credential was read again and refused again";
                        return PushEnd::Failed(self.rejected(&answer).detail(detail));
                    }
                    Verdict::Rejected => {
                        counters.settled();
                        return PushEnd::Failed(self.rejected(&answer));
                    }
                    Verdict::Retry(reason) => {
                        let after = answer.retry_after.as_ref();
                        let after = after.and_then(|value| value.to_str().ok());
                        let after =
                            after.and_then(|value| retry::retry_after(value, SystemTime::now()));
                        (reason, self.describe(&answer), after)
                    }
                },
                Err(NoAnswer::Trouble(trouble)) => {
                    let met = format!("{}: {}", trouble.reason.as_str(), trouble.text);
                    (trouble.reason, met, None)
                }
                Err(NoAnswer::Stopped) => return PushEnd::Interrupted,
            };
            counters.failed(reason);
            let elapsed = begun.elapsed();
            match retry::next(&shared.retry, attempt, elapsed, retry_after, random()) {
                Next::Exhausted => {
                    return PushEnd::Failed(
                        Failure::new(Reason::IgPushRetryExhausted, &shared.url)
                            .found(met)
                            .expected("an answer that takes the event")
                            .detail(format!(
                                "given up after {attempt} attempts in {:.3} s, the last for {}",
                                elapsed.as_secs_f64(),
                                reason.as_str()
                            )),
                    );
                }
                Next::Wait(pause) => {
                    tracing::debug!(attempt, ?pause, reason = reason.as_str(), %met, "push failed");
                    tokio::select! {
                        biased;
                        () = stop.wait() => return PushEnd::Interrupted,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// One attempt: on the connection that is kept, and if that turns out to have been closed, on
    /// a new one.
    async fn attempt(&mut self, envelope: &Bytes, stop: &Stop) -> Result<Answer, NoAnswer> {
        if !self.shared.current(&self.headers) {
            self.headers = self.shared.headers();
        }
        if let Some(wire) = self.wire.take() {
            match self.exchange(wire, envelope).await {
                Err(trouble) if trouble.stale => Counters::add(&self.shared.counters.stale),
                other => return other.map_err(NoAnswer::Trouble),
            }
        }
        let mut deadline = restart(&mut self.deadline, self.shared.timeout);
        let wire = tokio::select! {
            biased;
            made = wire::connect(&self.shared) => made.map_err(NoAnswer::Trouble)?,
            () = deadline.as_mut() => return Err(NoAnswer::Trouble(wire::late())),
            () = stop.wait() => return Err(NoAnswer::Stopped),
        };
        Counters::add(&self.shared.counters.connections);
        let request = request(&self.shared, &self.headers, envelope);
        // What connecting took is part of the attempt's time.
        let (result, kept) = wire.exchange(request, deadline).await;
        self.wire = kept;
        result.map_err(NoAnswer::Trouble)
    }

    /// One exchange on the connection that was kept.
    async fn exchange(&mut self, wire: Wire, envelope: &Bytes) -> Result<Answer, Trouble> {
        let request = request(&self.shared, &self.headers, envelope);
        let deadline = restart(&mut self.deadline, self.shared.timeout);
        let (result, kept) = wire.exchange(request, deadline).await;
        self.wire = kept;
        result
    }

    fn verdict(&self, answer: &Answer) -> Verdict {
        // Half a body is no JSON, and the body of an error holds no decision.
        let decision = if answer.whole && answer.status.as_u16() < 400 {
            answer::decision(&answer.body)
        } else {
            None
        };
        retry::classify(answer.status, decision, self.shared.require_decision)
    }

    /// Status and start of the body, for a message.
    fn describe(&self, answer: &Answer) -> String {
        let body = answer::clip(&answer.body, self.headers.secret());
        match (body.is_empty(), answer.whole) {
            (_, false) => format!(
                "status {} with more than {} bytes: {body}",
                answer.status.as_u16(),
                answer::BODY_MAX
            ),
            (true, true) => format!("status {} without a body", answer.status.as_u16()),
            (false, true) => format!("status {}: {body}", answer.status.as_u16()),
        }
    }

    fn rejected(&self, answer: &Answer) -> Failure {
        Failure::new(Reason::IgPushRejected, &self.shared.url).found(self.describe(answer))
    }
}

fn request(shared: &Shared, headers: &Headers, envelope: &Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(envelope.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = shared.target.clone();
    *request.headers_mut() = headers.map.clone();
    request
}

/// The timer, set to `timeout` from now.
fn restart(timer: &mut Option<Pin<Box<Sleep>>>, timeout: Duration) -> Pin<&mut Sleep> {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
    timer.as_mut().reset(tokio::time::Instant::now() + timeout);
    timer.as_mut()
}

/// From 0 to 1. Not secret, only unlike that of other connections: the keys of a fresh hasher.
pub(crate) fn random() -> f64 {
    (RandomState::new().hash_one(Instant::now()) >> 11) as f64 / (1u64 << 53) as f64
}
