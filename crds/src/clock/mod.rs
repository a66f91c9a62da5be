//! The shared clock, its pure part: when each event is due, and who decides how event time runs
//! (contracts section 6, the design's step 4). The engine and the operator compute the same.
//!
//! [`Revision`]s say how event time runs; a [`Timeline`] holds the one in force and those to
//! come; an [`Authority`] makes revisions of commands and of what the outputs report. All of it
//! is in [`Moment`]s of one clock: whoever reads that clock decides which it is.

mod authority;
mod moment;
pub mod published;
mod revision;

pub use authority::{Authority, Change, Command, Mode, Observation, Overdue, Settings};
pub use moment::{Moment, WallOffset};
pub use revision::{Anchor, Due, Motion, Revision, Timeline};
