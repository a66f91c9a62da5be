//! All that is known of a stream at one moment: what a decision is made of.

use std::sync::Arc;

use jiff::Timestamp;

use crate::invalid::Invalid;
use crate::validate::{Live, Validated};
use crate::views::{CheckpointView, ClockView, JobView, PodView, StreamView};

/// What there is of a stream.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The stream.
    pub stream: &'a StreamView,
    /// What it was validated to.
    pub validated: &'a Result<Validated, Invalid>,
    /// What may be changed while it runs.
    pub live: &'a Live,
    /// An older stream of the same identity.
    pub rival: Option<String>,
    /// Its clock.
    pub clock: Option<Arc<ClockView>>,
    /// Its checkpoints.
    pub checkpoints: Vec<Arc<CheckpointView>>,
    /// Its Jobs.
    pub jobs: Vec<Arc<JobView>>,
    /// Their pods.
    pub pods: Vec<Arc<PodView>>,
    /// Now.
    pub now: Timestamp,
    /// The operator's own field manager.
    pub manager: &'a str,
}
