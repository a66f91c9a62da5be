//! Pushing: one event at a time over one connection, tried again with the same bytes until it is
//! taken, refused, or given up.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use worldstream_crds::Reason;

use super::PushEnd;
use super::answer;
use super::client::{Headers, Shared};
use super::counters::Counters;
use super::reply::{Buffer, Reply};
use super::retry::{self, Next, RetryReason, Verdict};
use super::wire::{self, Deadline, Trouble, Wire};
use crate::failure::Failure;
use crate::stop::Stop;

/// What is kept for requests between two pushes.
const REQUEST_KEPT: usize = 64 << 10;

/// One connection to the gate with at most one request on it. It is made when it is needed, and
/// made again whenever the gate closes it.
///
/// Used by one task inside a tokio runtime with I/O and time, best a current-thread one.
pub struct Connection {
    shared: Arc<Shared>,
    headers: Arc<Headers>,
    wire: Option<Wire>,
    /// The request of the moment. Head and envelope are copied together, which costs less than a
    /// write of two pieces.
    request: Vec<u8>,
    /// What came of the last answer.
    buffer: Buffer,
    deadline: Deadline,
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
            request: Vec::new(),
            buffer: Buffer::default(),
            deadline: Deadline::default(),
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
        let mut attempt_begun = begun;
        let mut attempt = 0;
        let mut read_again = false;
        loop {
            attempt += 1;
            Counters::add(&counters.attempts);
            let (reason, met, retry_after) = match self
                .attempt(&envelope, attempt_begun, stop)
                .await
            {
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
                        attempt_begun = Instant::now();
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
                        let after = answer.retry_after.as_deref();
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
                    attempt_begun = Instant::now();
                }
            }
        }
    }

    /// One attempt: on the connection that is kept, and if that turns out to have been closed, on
    /// a new one. The answer's body is in the buffer.
    async fn attempt(
        &mut self,
        envelope: &[u8],
        begun: Instant,
        stop: &Stop,
    ) -> Result<Reply, NoAnswer> {
        if !self.shared.current(&self.headers) {
            self.headers = self.shared.headers();
        }
        write_request(&mut self.request, &self.headers.head, envelope);
        self.deadline.set(begun, self.shared.timeout);
        if let Some(wire) = self.wire.take() {
            match self.exchange(wire).await {
                Err(trouble) if trouble.stale => Counters::add(&self.shared.counters.stale),
                other => return other.map_err(NoAnswer::Trouble),
            }
        }
        let deadline = &mut self.deadline;
        deadline.set(Instant::now(), self.shared.timeout);
        let wire = tokio::select! {
            biased;
            made = wire::connect(&self.shared) => made.map_err(NoAnswer::Trouble)?,
            () = poll_fn(|cx| deadline.poll(cx)) => return Err(NoAnswer::Trouble(wire::late())),
            () = stop.wait() => return Err(NoAnswer::Stopped),
        };
        Counters::add(&self.shared.counters.connections);
        // What connecting took is part of the attempt's time.
        let result = self.exchange(wire).await;
        result.map_err(NoAnswer::Trouble)
    }

    async fn exchange(&mut self, wire: Wire) -> Result<Reply, Trouble> {
        let (buffer, deadline) = (&mut self.buffer, &mut self.deadline);
        let exchange = wire.exchange(&self.request, buffer, deadline);
        let (result, kept) = exchange.await;
        self.wire = kept;
        result
    }

    fn body(&self, answer: &Reply) -> &[u8] {
        &self.buffer.filled()[answer.body.clone()]
    }

    fn verdict(&self, answer: &Reply) -> Verdict {
        // Half a body is no JSON, and the body of an error holds no decision.
        let decision = if answer.whole && answer.status.as_u16() < 400 {
            answer::decision(self.body(answer))
        } else {
            None
        };
        retry::classify(answer.status, decision, self.shared.require_decision)
    }

    /// Status and start of the body, for a message.
    fn describe(&self, answer: &Reply) -> String {
        let body = answer::clip(self.body(answer), self.headers.secret());
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

    fn rejected(&self, answer: &Reply) -> Failure {
        Failure::new(Reason::IgPushRejected, &self.shared.url).found(self.describe(answer))
    }
}

fn write_request(request: &mut Vec<u8>, head: &[u8], envelope: &[u8]) {
    request.clear();
    // What one large envelope took is given back.
    request.shrink_to(REQUEST_KEPT);
    request.extend_from_slice(head);
    let mut digits = itoa::Buffer::new();
    request.extend_from_slice(digits.format(envelope.len()).as_bytes());
    request.extend_from_slice(b"\r\n\r\n");
    request.extend_from_slice(envelope);
}

/// From 0 to 1. Not secret, only unlike that of other connections: the keys of a fresh hasher.
pub(crate) fn random() -> f64 {
    (RandomState::new().hash_one(Instant::now()) >> 11) as f64 / (1u64 << 53) as f64
}
