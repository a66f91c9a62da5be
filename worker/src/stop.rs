//! The request to stop: set once, by a signal or by a failing neighbour, and seen by everything
//! that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request to stop that is shared by its clones. Once set it stays set.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    waiting: Notify,
}

impl Stop {
    /// One that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop, and wakes everybody who waits for that.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    /// Whether we were asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Waits until we are asked to stop; at once if we were. May be dropped at any time.
    pub async fn wait(&self) {
        let waiting = self.0.waiting.notified();
        tokio::pin!(waiting);
        // Enlisted before looking, so that a `set` between the two is not missed.
        waiting.as_mut().enable();
        if !self.is_set() {
            waiting.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_woken_and_those_who_come_late_do_not_wait() {
        let stop = Stop::new();
        assert!(!stop.is_set());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                tokio::spawn(async move { stop.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        stop.clone().set();
        for task in waiting {
            task.await.unwrap();
        }
        assert!(stop.is_set());
        stop.wait().await;
    }
}
