//! The monotonic clock of the machine: what schedules are kept in, so that a step of the wall
//! clock never moves them.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds.
pub use worldstream_crds::clock::Moment as Mono;

/// Reading the monotonic clock. Moments of other clocks are never read in this program.
pub trait Monotonic {
    /// Now.
    fn now() -> Self;
}

impl Monotonic for Mono {
    fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Mono(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }
}

pub(super) fn timespec(moment: Mono) -> Timespec {
    let nanos = moment.0.max(0);
    Timespec {
        tv_sec: nanos / 1_000_000_000,
        tv_nsec: nanos % 1_000_000_000,
    }
}
