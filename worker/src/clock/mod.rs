//! The clock: when each event is due, for all outputs and lanes at once (contracts section 6,
//! the design's step 4).
//!
//! [`Revision`]s say how event time runs; a [`Timeline`] holds the one in force and those to
//! come. Whoever sends asks the timeline when an event is due and waits for that moment on the
//! monotonic clock with a [`DueTimer`]: towards a moment, never for a difference, so that nothing
//! drifts and nothing is early. Where revisions come from is behind [`ClockReader`]: in one
//! process the [`authority`] publishes them; a source that is watched elsewhere is a file beside
//! it that publishes timelines into the same channel.

mod authority;
mod mono;
mod rate;
mod revision;
mod timer;

pub use authority::{Authority, Change, Command, Observation, Overdue, Settings};
pub use mono::Mono;
pub use rate::{OutputRate, RateLimiter};
pub use revision::{Anchor, ClockReader, Due, Motion, Revision, Timeline, clock_channel};
pub use timer::DueTimer;
