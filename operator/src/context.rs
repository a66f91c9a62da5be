//! What every look at a stream or a trigger is given: what is watched, the API server, the queues.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::Server;
use crate::events::Teller;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::runs::Runs;
use crate::trigger::views::{DeploymentView, TriggerPodView, TriggerView};
use crate::views::{CheckpointView, ClockView, JobView, Key, PodView, ProfileView, StreamView};

/// What is watched.
#[derive(Default)]
pub struct Watched {
    /// WorldStreams.
    pub streams: Index<StreamView>,
    /// StreamProfiles.
    pub profiles: Index<ProfileView>,
    /// StreamClocks.
    pub clocks: Index<ClockView>,
    /// StreamCheckpoints.
    pub checkpoints: Index<CheckpointView>,
    /// Jobs that were made here.
    pub jobs: Index<JobView>,
    /// Their pods.
    pub pods: Index<PodView>,
    /// ReadyTriggers.
    pub triggers: Index<TriggerView>,
    /// Their Deployments.
    pub deployments: Index<DeploymentView>,
    /// The pods of these.
    pub trigger_pods: Index<TriggerPodView>,
    /// Whether all triggers were listed once: before that nobody can say that one is gone.
    pub triggers_known: AtomicBool,
}

/// Everything that a look at a stream needs.
pub struct Context {
    /// What is watched.
    pub watched: Watched,
    /// The API server.
    pub server: Server,
    /// Which streams wait.
    pub queue: Queue,
    /// Which triggers wait.
    pub trigger_queue: Queue,
    /// The figures.
    pub metrics: Metrics,
    /// Events.
    pub teller: Teller,
    /// The worker image that the operator was installed with.
    pub image: String,
    /// When progress was written last.
    pub pacer: Pacer,
    /// Platform runs of streams that name none.
    pub runs: Runs,
}

/// Progress alone is written at most so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(4);

/// When progress of each stream was written last.
#[derive(Default)]
pub struct Pacer(Mutex<HashMap<Key, Instant>>);

impl Pacer {
    /// How long progress is still to be held back.
    pub fn wait(&self, key: &Key) -> Option<Duration> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = written.get(key)?.elapsed();
        PROGRESS_EVERY
            .checked_sub(since)
            .filter(|wait| !wait.is_zero())
    }

    /// Progress was written just now.
    pub fn written(&self, key: &Key) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(key.clone(), Instant::now());
    }

    /// The stream is gone.
    pub fn forget(&self, key: &Key) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(key);
    }
}
