//! The request to stop: set once, by a signal or by a failing neighbour, and seen by everything
//! that waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

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

/// How long the last things may take, all together, once we were asked to stop: before them, or
/// while they are done.
#[derive(Debug)]
pub struct Grace {
    stop: Stop,
    length: Duration,
    until: OnceLock<Instant>,
}

impl Grace {
    /// So long after `stop`.
    pub fn new(stop: Stop, length: Duration) -> Self {
        Grace {
            stop,
            length,
            until: OnceLock::new(),
        }
    }

    /// Waits for one of them; none if it takes too long. Without a request to stop it is waited for
    /// however long it takes.
    pub async fn of<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        let over = async {
            self.stop.wait().await;
            let until = self.until.get_or_init(|| Instant::now() + self.length);
            tokio::time::sleep_until(*until).await;
        };
        tokio::select! {
            biased;
            done = doing => Some(done),
            () = over => None,
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

    #[tokio::test]
    async fn what_is_last_has_its_time_from_the_stop_on() {
        let stop = Stop::new();
        let grace = Grace::new(stop.clone(), Duration::from_millis(20));
        // Without a stop it is waited for, however long it takes.
        let long = tokio::time::sleep(Duration::from_millis(60));
        assert!(grace.of(long).await.is_some());
        let asked = tokio::spawn(async move {
            tokio::task::yield_now().await;
            stop.set();
        });
        assert!(grace.of(std::future::pending::<()>()).await.is_none());
        asked.await.unwrap();
        // The time is that of all together, and what is done at once is done.
        assert!(grace.of(std::future::pending::<()>()).await.is_none());
        assert!(grace.of(async {}).await.is_some());
    }
}
