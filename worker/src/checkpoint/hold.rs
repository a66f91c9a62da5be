//! How long a lease holds by this process's own clock, and whether it was lost. A store that lets
//! another take over a checkpoint after some time has the stream look here before each event: a
//! process that was frozen, or cut off from its store, sends nothing more until its lease is
//! renewed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::Mono;
use crate::failure::Failure;

/// A lease's standing, shared by who renews it and who streams under it.
#[derive(Debug)]
pub struct Hold {
    until: AtomicI64,
    lost: Mutex<Option<Failure>>,
    changed: Notify,
}

impl Hold {
    /// A lease that holds up to a moment, unless it is renewed. The moment is counted from before
    /// the store was asked, so that it never lies behind the store's own.
    pub fn until(moment: Mono) -> Arc<Hold> {
        Arc::new(Hold {
            until: AtomicI64::new(moment.0),
            lost: Mutex::new(None),
            changed: Notify::new(),
        })
    }

    /// A lease without a term.
    pub fn forever() -> Arc<Hold> {
        Hold::until(Mono::NEVER)
    }

    /// Whether events may be sent under it now.
    pub fn holds(&self, now: Mono) -> bool {
        now.0 < self.until.load(Ordering::Acquire)
    }

    /// The moment up to which it holds.
    pub fn end(&self) -> Mono {
        Mono(self.until.load(Ordering::Acquire))
    }

    /// It was renewed. A lease that was lost stays lost.
    pub fn extend(&self, moment: Mono) {
        let lost = self.lost();
        if lost.is_none() {
            self.until.fetch_max(moment.0, Ordering::AcqRel);
            self.changed.notify_one();
        }
    }

    /// Another has it; the first failure counts.
    pub fn lose(&self, failure: Failure) {
        self.slot().get_or_insert(failure);
        self.until.store(i64::MIN, Ordering::Release);
        self.changed.notify_one();
    }

    /// Why it was lost, if it was.
    pub fn lost(&self) -> Option<Failure> {
        self.slot().clone()
    }

    /// Waits until it is renewed or lost. For one waiter; a change before the call counts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Monotonic;
    use worldstream_crds::Reason;

    #[test]
    fn a_lease_lapses_is_renewed_and_once_lost_stays_lost() {
        let hold = Hold::until(Mono(10));
        assert!(hold.holds(Mono(9)) && !hold.holds(Mono(10)));
        hold.extend(Mono(20));
        hold.extend(Mono(15));
        assert!(hold.holds(Mono(19)));
        hold.lose(Failure::new(Reason::CheckpointConflict, "one"));
        hold.lose(Failure::new(Reason::CheckpointConflict, "two"));
        hold.extend(Mono(30));
        assert!(!hold.holds(Mono(0)));
        assert_eq!(hold.lost().unwrap().message(), "one");
        assert!(Hold::forever().holds(Mono::now()));
    }
}
