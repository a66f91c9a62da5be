//! What the gate client counts for reports and metrics: shared by all connections of a client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::retry::RetryReason;

/// Counters of one [`GateClient`](super::GateClient), written by its connections.
#[derive(Debug)]
pub(super) struct Counters {
    pub attempts: AtomicU64,
    pub connections: AtomicU64,
    pub stale: AtomicU64,
    pub credential_reads: AtomicU64,
    retries: [AtomicU64; RetryReason::ALL.len()],
    born: Instant,
    /// Milliseconds since `born`, plus 1, of the first failure since anything was taken; 0: none.
    failing_since: AtomicU64,
    /// Index of the last failure's reason.
    last_reason: AtomicU64,
}

/// What was counted up to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCounts {
    /// Requests that were begun, all attempts of all events.
    pub attempts: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Kept connections that turned out to be closed: the event went out on a new one, within the
    /// same attempt.
    pub stale: u64,
    /// Times that the credential was read again after a 401.
    pub credential_reads: u64,
    /// Failed attempts that were, or would have been, tried again, by reason; every reason is
    /// there.
    pub retries: Vec<(RetryReason, u64)>,
    /// Set while nothing at all is taken.
    pub outage: Option<Outage>,
}

/// Every attempt of every connection has failed for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// How long ago the first of these attempts failed.
    pub lasting: Duration,
    /// What the last of them failed with.
    pub reason: RetryReason,
}

impl Counters {
    pub fn new() -> Self {
        Counters {
            attempts: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            credential_reads: AtomicU64::new(0),
            retries: Default::default(),
            born: Instant::now(),
            failing_since: AtomicU64::new(0),
            last_reason: AtomicU64::new(0),
        }
    }

    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt was answered with an event taken or refused: the gate is there.
    pub fn settled(&self) {
        // Looked at first, so that connections do not fight for the cache line.
        if self.failing_since.load(Ordering::Relaxed) != 0 {
            self.failing_since.store(0, Ordering::Relaxed);
        }
    }

    /// An attempt failed in a way that is tried again.
    pub fn failed(&self, reason: RetryReason) {
        Self::add(&self.retries[reason.index()]);
        self.last_reason
            .store(reason.index() as u64, Ordering::Relaxed);
        let now = self.born.elapsed().as_millis() as u64 + 1;
        // Kept where it is set: the outage began with its first failure.
        let _ = self
            .failing_since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> GateCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outage = match get(&self.failing_since) {
            0 => None,
            since => Some(Outage {
                lasting: self
                    .born
                    .elapsed()
                    .saturating_sub(Duration::from_millis(since - 1)),
                // Only indices of reasons are ever stored.
                reason: RetryReason::ALL[get(&self.last_reason) as usize],
            }),
        };
        GateCounts {
            attempts: get(&self.attempts),
            connections: get(&self.connections),
            stale: get(&self.stale),
            credential_reads: get(&self.credential_reads),
            retries: RetryReason::ALL
                .iter()
                .map(|reason| (*reason, get(&self.retries[reason.index()])))
                .collect(),
            outage,
        }
    }
}

impl GateCounts {
    /// Failed attempts of all reasons.
    pub fn retries_total(&self) -> u64 {
        self.retries.iter().map(|(_, count)| count).sum()
    }

    /// Failed attempts of one reason.
    pub fn retries_of(&self, reason: RetryReason) -> u64 {
        self.retries[reason.index()].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_with_its_first_failure_and_ends_with_a_success() {
        let counters = Counters::new();
        assert_eq!(counters.snapshot().outage, None);
        counters.failed(RetryReason::Connect);
        let first = counters.failing_since.load(Ordering::Relaxed);
        counters.failed(RetryReason::Timeout);
        assert_eq!(counters.failing_since.load(Ordering::Relaxed), first);
        let counts = counters.snapshot();
        assert_eq!(counts.outage.unwrap().reason, RetryReason::Timeout);
        assert_eq!(counts.retries_of(RetryReason::Connect), 1);
        assert_eq!(counts.retries_total(), 2);
        counters.settled();
        assert_eq!(counters.snapshot().outage, None);
    }
}
