//! The replay: connects the rooms.
//!
//! [`replay`] verifies the world, takes the checkpoints, and starts a thread for each output.
//! Such a thread ([`output`]) sends the lanes of its output: a [`feed`] decodes and encodes on a
//! thread of its own, a [`lane`] hands out the next event when it is due, tasks push it, a
//! connection each, the [`watermark`] moves over the unbroken run of taken events, and a
//! [`saver`] makes the cursor durable behind it. The main thread keeps the clock by what the
//! lanes show on the [`board`].

pub mod board;
mod conductor;
mod ending;
mod feed;
mod lane;
mod output;
mod quarantine;
pub mod replay;
mod saver;
mod start;
mod tries;
mod watermark;

pub use board::{Board, LaneGauge, Lateness};
pub use conductor::{Conducts, Elsewhere, Phase};
pub use replay::{Remote, Replay};
