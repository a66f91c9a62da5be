//! The WorldStreams that this trigger made, as a watch shows them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;
use tracing::warn;
use worldstream_crds::names;

use super::cluster::Cluster;
use super::seen::Seen;

/// A watch is renewed this often: a connection that is silently gone is noticed then.
const WATCH_SECONDS: u32 = 60;
/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_secs(1);

/// The WorldStreams of one trigger, by name.
pub struct Streams {
    known: Mutex<HashMap<String, Seen>>,
    /// Counts what changed; 0 before all are known.
    changed: watch::Sender<u64>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            known: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl Streams {
    /// Follows them for ever.
    pub async fn follow(&self, cluster: &Cluster) {
        let selector = format!("{}={}", names::LABEL_TRIGGER, cluster.trigger.name);
        let config = watcher::Config::default()
            .labels(&selector)
            .timeout(WATCH_SECONDS);
        let mut events = watcher(cluster.streams(), config).boxed();
        let mut listing: HashMap<String, Seen> = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing.clear(),
                Ok(Event::InitApply(object)) => {
                    let seen = Seen::of(&object);
                    listing.insert(seen.name.clone(), seen);
                }
                Ok(Event::InitDone) => {
                    *self.lock() = std::mem::take(&mut listing);
                    self.tell();
                }
                Ok(Event::Apply(object)) => self.take(Seen::of(&object)),
                Ok(Event::Delete(object)) => {
                    self.lock().remove(&Seen::of(&object).name);
                    self.tell();
                }
                Err(error) => {
                    warn!(%error, "the watch of WorldStreams ended, and begins anew");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes one that the watch does not show yet; what it shows is newer.
    pub fn expect(&self, seen: &Seen) {
        self.lock()
            .entry(seen.name.clone())
            .or_insert_with(|| seen.clone());
        self.tell();
    }

    /// Takes what the answer to a write says.
    pub fn take(&self, seen: Seen) {
        self.lock().insert(seen.name.clone(), seen);
        self.tell();
    }

    /// Waits until all are known.
    pub async fn known(&self) {
        let mut changed = self.changed.subscribe();
        // The sender is ours: it is not gone.
        let _ = changed.wait_for(|count| *count > 0).await;
    }

    /// One of them, as it is known now.
    pub fn get(&self, name: &str) -> Option<Seen> {
        self.lock().get(name).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Seen> {
        self.lock().values().cloned().collect()
    }

    /// Waits for any change after the last that this receiver saw.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
