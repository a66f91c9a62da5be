//! What a worker and a preflight do in a cluster: follow the StreamClock, hold and write their
//! StreamCheckpoints, and say how they are. How a world is read and events are sent is the
//! engine's, which is used as it is.
//!
//! [`access`] talks to the API server; a [`record`] is the StreamCheckpoint that a worker holds;
//! [`follow`] takes revisions of the clock over, [`report`] says when something is worth a write,
//! and [`worker`], [`preflight`] and [`build`] connect it all. [`follow`], [`report`] and [`planned`] are
//! pure.

pub mod access;
pub mod build;
pub mod ending;
pub mod follow;
mod last;
pub mod metrics;
mod missing;
pub mod planned;
pub mod preflight;
pub mod record;
pub mod report;
mod reporter;
pub(crate) mod serve;
mod watch;
mod watched;
pub mod worker;
