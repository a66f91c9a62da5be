//! The clock: when each event is due, for all outputs and lanes at once (contracts section 6,
//! the design's step 4).
//!
//! What is pure of it is shared with the operator ([`worldstream_crds::clock`]): revisions, the
//! timeline of them, and the authority that decides. Whoever sends asks the timeline when an event
//! is due and waits for that moment on the monotonic clock with a [`DueTimer`]: towards a moment,
//! never for a difference, so that nothing drifts and nothing is early. Where revisions come from
//! is behind [`ClockReader`]: in one process the engine's conductor publishes what an
//! [`Authority`] decides; in a cluster the StreamClock is watched, and published into the same
//! channel.

mod channel;
mod mono;
mod rate;
mod timer;

pub use channel::{ClockReader, clock_channel};
pub use mono::{Mono, Monotonic};
pub use rate::{OutputRate, RateLimiter};
pub use timer::DueTimer;
pub use worldstream_crds::clock::{
    Anchor, Authority, Change, Command, Due, Mode, Motion, Observation, Overdue, Revision,
    Settings, Timeline, WallOffset,
};
