//! How the clock reaches those who send: the timeline, and a notice when it changes.

use std::sync::Arc;

use tokio::sync::watch;

use super::Timeline;

/// What everybody who sends reads: the timeline, and a notice when it changes.
pub type ClockReader = watch::Receiver<Arc<Timeline>>;

/// A clock that has not started: the writer's end and the readers'.
pub fn clock_channel() -> (watch::Sender<Arc<Timeline>>, ClockReader) {
    watch::channel(Arc::default())
}
