//! What passes is waited for: pauses that grow, and a log that says so without filling up.

use std::fmt::Display;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::troubles::Troubles;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);
/// How often trouble that goes on is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// One kind of request, and how it goes.
#[derive(Debug)]
pub(super) struct Backoff {
    /// What it is about, for the log.
    what: String,
    first: Duration,
    failures: u32,
    told: Option<Instant>,
    troubles: Troubles,
}

/// What is asked no more is no trouble.
impl Drop for Backoff {
    fn drop(&mut self) {
        self.troubles.over(&self.what);
    }
}

impl Backoff {
    /// Nothing has failed yet. `first` is the first pause, doubled from then on; `troubles` is where
    /// it is seen that this kind of request fails.
    pub fn new(what: impl Into<String>, first: Duration, troubles: &Troubles) -> Self {
        Backoff {
            troubles: troubles.clone(),
            what: what.into(),
            first,
            failures: 0,
            told: None,
        }
    }

    /// It failed: how long to wait before it is tried again, half of it by chance, so that readers
    /// that failed together do not come back together.
    pub fn failed(&mut self, error: &dyn Display) -> Duration {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            self.told = Some(Instant::now());
            let tried = self.failures + 1;
            warn!(bus = self.what, %error, tried, "the control bus gives nothing, trying on");
        }
        self.troubles
            .failed(&self.what, error.to_string(), Instant::now());
        let doubled = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let longest = doubled.min(LONGEST);
        longest / 2 + (longest / 2).mul_f64(crate::gate::random())
    }

    /// It worked.
    pub fn worked(&mut self) {
        if self.failures > 0 {
            self.troubles.over(&self.what);
        }
        self.failures = 0;
        if self.told.take().is_some() {
            info!(bus = self.what, "the control bus is back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new("x", Duration::from_millis(200), &Troubles::default());
        for most in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let most = Duration::from_millis(most);
            let pause = backoff.failed(&"no");
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        backoff.worked();
        assert!(backoff.failed(&"no") <= Duration::from_millis(200));
    }
}
