//! How hard a store of checkpoints was tried: how often and how long, for the failure that ends it,
//! and when the log should hear of it.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The log hears of the first try that failed, and then at most this often.
const WORDS: Duration = Duration::from_secs(10);

/// Tries of one thing, which begin now.
#[derive(Debug)]
pub(super) struct Tries {
    began: Instant,
    failed: u32,
    said: Option<Instant>,
}

impl Tries {
    /// None so far.
    pub fn new() -> Tries {
        Tries {
            began: Instant::now(),
            failed: 0,
            said: None,
        }
    }

    /// One failed; whether another, after this pause, begins within the patience.
    pub fn again_within(&mut self, patience: Duration, pause: Duration) -> bool {
        self.failed += 1;
        self.began.elapsed() + pause <= patience
    }

    /// Whether the log should hear of the last one.
    pub fn is_worth_a_word(&mut self) -> bool {
        let due = self.said.is_none_or(|said| said.elapsed() >= WORDS);
        if due {
            self.said = Some(Instant::now());
        }
        due
    }

    /// The failure that they ended with, and how hard it was tried.
    pub fn told(&self, failure: Failure, patience: Duration) -> Failure {
        failure.and(&format!(
            "after {} tries in {:.1?} of at most {:.0?}",
            self.failed,
            self.began.elapsed(),
            patience
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use worldstream_crds::Reason;

    #[test]
    fn a_failure_says_how_often_and_how_long_and_the_log_hears_the_first() {
        let mut tries = Tries::new();
        let hour = Duration::from_secs(3_600);
        assert!(tries.again_within(hour, Duration::ZERO));
        assert!(tries.is_worth_a_word() && !tries.is_worth_a_word());
        assert!(!tries.again_within(hour, hour * 2));
        let failure = Failure::new(Reason::StreamFailed, "a store").detail("silent");
        let told = tries.told(failure, hour).message();
        assert!(
            told.starts_with("a store: silent, after 2 tries in "),
            "{told}"
        );
        assert!(told.ends_with("of at most 3600s"), "{told}");
    }
}
