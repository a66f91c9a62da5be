//! Which streams are to be looked at, and when. A stream is in the queue once, however often
//! something of it changed, and is never looked at twice at the same time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::views::Key;

/// The queue.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    by_time: BTreeSet<(Instant, Key)>,
    times: HashMap<Key, Instant>,
    busy: HashSet<Key>,
    failures: HashMap<Key, u32>,
}

impl Inner {
    fn put(&mut self, key: Key, at: Instant) {
        if let Some(known) = self.times.get(&key).copied() {
            if known <= at {
                return;
            }
            self.by_time.remove(&(known, key.clone()));
        }
        self.times.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    /// The first stream that is due and not being looked at; else when the next one is.
    fn next(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        let free = self
            .by_time
            .iter()
            .find(|(_, key)| !self.busy.contains(key))
            .cloned();
        match free {
            Some((at, key)) if at <= now => {
                self.by_time.remove(&(at, key.clone()));
                self.times.remove(&key);
                self.busy.insert(key.clone());
                Ok(key)
            }
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }
}

impl Queue {
    /// Something of the stream changed.
    pub fn now(&self, key: Key) {
        self.after(key, Duration::ZERO);
    }

    /// The stream is to be looked at again in a while, or earlier if something changes.
    pub fn after(&self, key: Key, wait: Duration) {
        self.lock().put(key, Instant::now() + wait);
        self.changed.notify_one();
    }

    /// Waits for the next stream that is due. It counts as being looked at until
    /// [`Queue::done`].
    pub async fn next(&self) -> Key {
        loop {
            let waiting = {
                let mut inner = self.lock();
                match inner.next(Instant::now()) {
                    Ok(key) => {
                        // Others may be due as well.
                        self.changed.notify_one();
                        return key;
                    }
                    Err(at) => at,
                }
            };
            match waiting {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// The stream was looked at. `again`: when to look next; a failure looks again later and
    /// later, up to a minute.
    pub fn done(&self, key: Key, outcome: Result<Option<Duration>, ()>) {
        let mut inner = self.lock();
        inner.busy.remove(&key);
        let again = match outcome {
            Ok(again) => {
                inner.failures.remove(&key);
                again
            }
            Err(()) => {
                let failures = inner.failures.entry(key.clone()).or_default();
                *failures += 1;
                let millis = 200u64 << (*failures).min(9);
                Some(Duration::from_millis(millis.min(60_000)))
            }
        };
        if let Some(wait) = again {
            inner.put(key, Instant::now() + wait);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// How many streams wait to be looked at now.
    pub fn due(&self) -> usize {
        let now = Instant::now();
        let inner = self.lock();
        inner
            .by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            namespace: "meadow".into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_stream_waits_once_and_is_looked_at_once_at_a_time() {
        let (start, mut inner) = (Instant::now(), Inner::default());
        let later = start + Duration::from_secs(5);
        inner.put(key("owl"), later);
        inner.put(key("owl"), start);
        inner.put(key("owl"), later);
        assert_eq!(inner.by_time.len(), 1);
        assert_eq!(inner.next(start), Ok(key("owl")));
        inner.put(key("owl"), start);
        inner.put(key("fox"), later);
        assert_eq!(inner.next(start), Err(Some(later)), "the owl is busy");
        inner.busy.remove(&key("owl"));
        assert_eq!(inner.next(start), Ok(key("owl")));
        assert_eq!(inner.next(start), Err(Some(later)));
    }
}
