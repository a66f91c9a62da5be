//! What of a bus does not work now, for whoever shows it: outages are waited for, and not seen by
//! who asks for the next message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is shorter is no news: an answer that was lost, a reader that is one too many.
const LASTING: Duration = Duration::from_secs(5);

/// The requests of a bus that fail. Cheap to clone: all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    failing: Arc<Mutex<BTreeMap<String, Failing>>>,
}

/// A kind of request that fails.
#[derive(Debug)]
struct Failing {
    since: Instant,
    /// What was said last.
    why: String,
}

impl Troubles {
    /// One kind of request failed, and for so long as it did not work.
    pub fn failed(&self, what: &str, why: String, now: Instant) {
        let mut failing = self.lock();
        match failing.get_mut(what) {
            Some(known) => known.why = why,
            None => {
                failing.insert(what.to_owned(), Failing { since: now, why });
            }
        }
    }

    /// It worked, or is asked no more.
    pub fn over(&self, what: &str) {
        self.lock().remove(what);
    }

    /// What has failed for a while, the oldest; none if all works.
    pub fn lasting(&self, now: Instant) -> Option<String> {
        let failing = self.lock();
        let oldest = failing.iter().min_by_key(|(_, it)| it.since)?;
        let (what, Failing { since, why }) = oldest;
        (now.saturating_duration_since(*since) >= LASTING).then(|| format!("{what}: {why}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_until_it_is_over() {
        let troubles = Troubles::default();
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(troubles.lasting(after(9)), None);
        troubles.failed("shard-1", "refused".into(), began);
        assert_eq!(troubles.lasting(after(4)), None);
        troubles.failed("shard-2", "late".into(), after(3));
        troubles.failed("shard-1", "reset".into(), after(4));
        assert_eq!(troubles.lasting(after(5)).unwrap(), "shard-1: reset");
        troubles.over("shard-1");
        assert_eq!(troubles.lasting(after(7)), None);
        assert_eq!(troubles.lasting(after(8)).unwrap(), "shard-2: late");
        troubles.over("shard-2");
        assert_eq!(troubles.lasting(after(60)), None);
    }
}
