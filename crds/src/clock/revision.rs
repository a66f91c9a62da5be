//! Revisions of the clock, and when an event is due by them.

use std::fmt;

use super::Moment;
use crate::time::EventTime;

/// `due = wall epoch + (t − event epoch) / speedup`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// The event time that is due at `wall_epoch`.
    pub event_epoch: EventTime,
    /// When it is due.
    pub wall_epoch: Moment,
    /// Event seconds a wall second; above 0 and finite.
    pub speedup: f64,
}

impl Anchor {
    /// When an event is due: rounded up to the next nanosecond, so that nothing is early.
    pub fn due(&self, ts: EventTime) -> Moment {
        let micros = ts.micros() - self.event_epoch.micros();
        let nanos = (micros as f64 * 1_000.0 / self.speedup).ceil();
        // `as` saturates at the ends of i64, which is what a moment out of reach should do.
        Moment(self.wall_epoch.0.saturating_add(nanos as i64))
    }

    /// What event time it is at a moment, cut to a microsecond.
    pub fn event_time(&self, now: Moment) -> EventTime {
        let nanos = now.0.saturating_sub(self.wall_epoch.0);
        let micros = (nanos as f64 / 1_000.0 * self.speedup).floor();
        let ts = self.event_epoch.micros().saturating_add(micros as i64);
        EventTime::from_micros(ts.clamp(EventTime::MIN.micros(), EventTime::MAX.micros()))
            .unwrap_or(EventTime::MAX)
    }
}

/// How event time runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Motion {
    /// Event time runs at a speed.
    Running(Anchor),
    /// No waiting: everything is due.
    Unpaced,
    /// Nothing is due, not even what is overdue.
    Paused,
    /// The clock stands still at an event time, for a late output: what is due up to it may be
    /// sent, nothing after it.
    Held {
        /// The schedule before the hold, which says how overdue an event is.
        anchor: Anchor,
        /// Where the clock stands.
        at: EventTime,
    },
}

/// As a sentence goes on that begins with "the clock".
impl fmt::Display for Motion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Motion::Running(anchor) => write!(
                f,
                "runs from {} at {} event seconds a second",
                anchor.event_epoch, anchor.speedup
            ),
            Motion::Unpaced => f.write_str("does not wait"),
            Motion::Paused => f.write_str("is paused"),
            Motion::Held { at, .. } => write!(f, "stands at {at} for a late output"),
        }
    }
}

/// One revision of the clock. Numbers only grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Revision {
    /// From 1.
    pub number: u64,
    /// From when it counts.
    pub effective_at: Moment,
    /// How event time runs from then on.
    pub motion: Motion,
}

/// When an event may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Due {
    /// At this moment by the schedule, which may have passed.
    At(Moment),
    /// At once; there is no schedule that it could be late by.
    Anytime,
    /// Not under this revision.
    Not,
}

impl Revision {
    /// When an event is due under this revision.
    pub fn due(&self, ts: EventTime) -> Due {
        match self.motion {
            Motion::Running(anchor) => Due::At(anchor.due(ts)),
            Motion::Unpaced => Due::Anytime,
            Motion::Paused => Due::Not,
            Motion::Held { anchor, at } if ts <= at => Due::At(anchor.due(ts)),
            Motion::Held { .. } => Due::Not,
        }
    }

    /// Whether the running time of a rate plan goes on: it stands still in a pause alone.
    pub fn runs(&self) -> bool {
        !matches!(self.motion, Motion::Paused)
    }
}

/// The revision in force and those to come, by the moment they become effective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    revisions: Vec<Revision>,
}

impl Timeline {
    /// Adds a revision. It replaces those that would have become effective at the same moment or
    /// later: the newest word counts. Those that no longer count at `now` are forgotten.
    pub fn publish(&mut self, revision: Revision, now: Moment) {
        self.revisions
            .retain(|known| known.effective_at < revision.effective_at);
        self.revisions.push(revision);
        let current = self.revisions.iter().rposition(|r| r.effective_at <= now);
        if let Some(current) = current {
            self.revisions.drain(..current);
        }
    }

    /// The revision that counts at a moment; none before the clock has started.
    pub fn at(&self, now: Moment) -> Option<&Revision> {
        self.revisions.iter().rev().find(|r| r.effective_at <= now)
    }

    /// The next moment after `now` at which another revision counts.
    pub fn next_change(&self, now: Moment) -> Moment {
        self.revisions
            .iter()
            .map(|r| r.effective_at)
            .find(|&at| at > now)
            .unwrap_or(Moment::NEVER)
    }

    /// The newest revision, whether it counts already or not.
    pub fn newest(&self) -> Option<&Revision> {
        self.revisions.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000).unwrap()
    }

    #[test]
    fn due_is_the_schedule_below_at_and_above_speed_one() {
        for (speedup, expected) in [
            (0.5, 20_000_000_000),
            (1.0, 10_000_000_000),
            (4.0, 2_500_000_000),
        ] {
            let anchor = Anchor {
                event_epoch: at(100),
                wall_epoch: Moment(7),
                speedup,
            };
            assert_eq!(anchor.due(at(110)), Moment(expected + 7));
            assert_eq!(anchor.due(at(100)), Moment(7));
            assert!(anchor.due(at(90)) < Moment(7));
        }
    }

    #[test]
    fn due_is_never_early_and_inverts() {
        let anchor = Anchor {
            event_epoch: EventTime::from_micros(0).unwrap(),
            wall_epoch: Moment(1_000),
            speedup: 3.7,
        };
        for micros in [1, 17, 999_999, 86_400_000_000 * 45 + 1] {
            let ts = EventTime::from_micros(micros).unwrap();
            let exact = micros as f64 * 1_000.0 / 3.7;
            assert!((anchor.due(ts).0 - 1_000) as f64 >= exact);
            let back = anchor.event_time(anchor.due(ts)).micros();
            assert!((back - micros).abs() <= 1, "{back} {micros}");
        }
    }

    #[test]
    fn a_moment_out_of_reach_saturates() {
        let anchor = Anchor {
            event_epoch: EventTime::MIN,
            wall_epoch: Moment(5),
            speedup: 1e-9,
        };
        assert_eq!(anchor.due(EventTime::MAX), Moment::NEVER);
        assert_eq!(
            Anchor {
                speedup: 1e30,
                ..anchor
            }
            .event_time(Moment(10)),
            EventTime::MAX
        );
    }

    #[test]
    fn a_pause_holds_back_what_is_overdue_and_a_hold_does_not() {
        let anchor = Anchor {
            event_epoch: at(0),
            wall_epoch: Moment(0),
            speedup: 1.0,
        };
        let revision = |motion| Revision {
            number: 1,
            effective_at: Moment(0),
            motion,
        };
        assert_eq!(revision(Motion::Paused).due(at(-5)), Due::Not);
        let held = revision(Motion::Held { anchor, at: at(10) });
        assert_eq!(held.due(at(10)), Due::At(Moment(10_000_000_000)));
        assert_eq!(held.due(at(11)), Due::Not);
        assert!(held.runs() && !revision(Motion::Paused).runs());
        assert_eq!(revision(Motion::Unpaced).due(at(99)), Due::Anytime);
    }

    #[test]
    fn the_newest_word_counts_from_its_moment() {
        let mut timeline = Timeline::default();
        let revision = |number, effective_at, motion| Revision {
            number,
            effective_at: Moment(effective_at),
            motion,
        };
        assert_eq!(timeline.at(Moment(100)), None);
        timeline.publish(revision(1, 10, Motion::Unpaced), Moment(5));
        timeline.publish(revision(2, 50, Motion::Paused), Moment(20));
        assert_eq!(timeline.at(Moment(9)), None);
        assert_eq!(timeline.at(Moment(49)).unwrap().number, 1);
        assert_eq!(timeline.next_change(Moment(20)), Moment(50));
        assert_eq!(timeline.at(Moment(50)).unwrap().number, 2);
        // Revision 3 comes to count before 2 would have: 2 is void.
        timeline.publish(revision(3, 40, Motion::Unpaced), Moment(30));
        assert_eq!(timeline.at(Moment(60)).unwrap().number, 3);
        assert_eq!(timeline.next_change(Moment(40)), Moment::NEVER);
    }
}
