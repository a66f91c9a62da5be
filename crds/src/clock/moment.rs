//! A moment on a clock, and the way between two clocks.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::time::EventTime;

/// Nanoseconds on some clock: the engine's moments are of the machine's monotonic clock, the
/// operator's of the wall clock, since the Unix epoch. Moments of two clocks are never compared;
/// [`WallOffset`] leads from one to the other. Saturates instead of overflowing: a moment that far
/// away is never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// A moment that is never reached.
    pub const NEVER: Moment = Moment(i64::MAX);

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Moment(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, duration: Duration) -> Moment {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Moment(self.0.saturating_sub(nanos))
    }
}

/// How far the wall clock is ahead of a clock of moments, in nanoseconds. Taken once for each
/// thing that is mapped, so that a step of the wall clock afterwards moves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallOffset(pub i64);

impl WallOffset {
    /// For moments that are of the wall clock themselves.
    pub const NONE: WallOffset = WallOffset(0);

    /// What both clocks show at the same time.
    pub fn between(wall: EventTime, moment: Moment) -> Self {
        WallOffset(nanos(wall).saturating_sub(moment.0))
    }

    /// The moment at which the wall clock shows this.
    pub fn moment(self, wall: EventTime) -> Moment {
        Moment(nanos(wall).saturating_sub(self.0))
    }

    /// What the wall clock shows at a moment, rounded up to a microsecond: what is published is
    /// never earlier than what was meant.
    pub fn wall(self, moment: Moment) -> EventTime {
        let nanos = moment.0.saturating_add(self.0);
        let micros = nanos.div_euclid(1_000) + i64::from(nanos.rem_euclid(1_000) > 0);
        EventTime::from_micros(micros).unwrap_or(match micros > 0 {
            true => EventTime::MAX,
            false => EventTime::MIN,
        })
    }
}

/// Nanoseconds since the Unix epoch, saturating: the years 1678 to 2262 are told apart.
fn nanos(wall: EventTime) -> i64 {
    wall.micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_and_a_moment_map_onto_each_other() {
        let wall = EventTime::from_micros(1_767_225_602_456_162).unwrap();
        let offset = WallOffset::between(wall, Moment(77));
        assert_eq!(offset.moment(wall), Moment(77));
        assert_eq!(offset.wall(Moment(77)), wall);
        let later = EventTime::from_micros(wall.micros() + 1).unwrap();
        assert_eq!(offset.wall(Moment(78)), later);
        assert_eq!(offset.wall(Moment(1_077)), later);
        assert_eq!(WallOffset::NONE.moment(wall).0, wall.micros() * 1_000);
    }

    #[test]
    fn what_lies_out_of_reach_saturates() {
        let far = WallOffset(i64::MAX);
        assert!(far.wall(Moment::NEVER) > EventTime::from_micros(0).unwrap());
        assert_eq!(WallOffset::NONE.moment(EventTime::MAX), Moment::NEVER);
        assert_eq!(Moment(1).since(Moment(5)), Duration::ZERO);
    }
}
