//! A moment on the monotonic clock: what schedules are kept in, so that a step of the wall clock
//! never moves them.

use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`. Saturates instead of overflowing: a moment that far away is
/// never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub i64);

impl Mono {
    /// A moment that is never reached.
    pub const NEVER: Mono = Mono(i64::MAX);

    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Mono(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub(super) fn timespec(self) -> Timespec {
        let nanos = self.0.max(0);
        Timespec {
            tv_sec: nanos / 1_000_000_000,
            tv_nsec: nanos % 1_000_000_000,
        }
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, duration: Duration) -> Mono {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Mono(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;

    fn sub(self, duration: Duration) -> Mono {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Mono(self.0.saturating_sub(nanos))
    }
}
