//! Taking over the revisions of a StreamClock: each is mapped to the monotonic clock once, when it
//! is learned, and one that counted before it was known is told apart. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use worldstream_crds::clock::published;
use worldstream_crds::{DurationText, Overshoot, StreamClockSpec};

use crate::clock::{Mono, Motion, Revision, Timeline, WallOffset};
use crate::time::EventTime;

/// What is known of a StreamClock.
#[derive(Debug, Default)]
pub struct Follower {
    newest: u64,
}

/// Revisions that are new to us.
#[derive(Debug, PartialEq)]
pub struct Learned {
    /// In their order, in moments of the monotonic clock.
    pub revisions: Vec<Revision>,
    /// How long the newest counted before it was learned; none: it was learned in time, or before
    /// anything was sent by another.
    pub late: Option<Duration>,
}

impl Follower {
    /// Looks at a clock as it is published now. None if nothing in it is new. A revision that was
    /// mapped is never mapped again: a step of the wall clock moves nothing.
    ///
    /// Errors: what is wrong with the clock, in one sentence.
    pub fn learn(
        &mut self,
        clock: &StreamClockSpec,
        now: Mono,
        offset: WallOffset,
    ) -> Result<Option<Learned>, String> {
        let Some(newest) = clock.newest().filter(|it| it.revision > self.newest) else {
            return Ok(None);
        };
        let newest = published::revision(&newest, offset)?;
        let mut revisions = Vec::new();
        // What counts until then: all that a worker that has just started can know of it.
        if let Some(previous) = &clock.previous
            && previous.revision > self.newest
            && newest.effective_at > now
        {
            revisions.push(published::revision(previous, offset)?);
        }
        let first = self.newest == 0;
        self.newest = newest.number;
        revisions.push(newest);
        let late = now.since(newest.effective_at);
        Ok(Some(Learned {
            revisions,
            late: (!first && late > Duration::ZERO).then_some(late),
        }))
    }
}

/// How many events were sent by when, to find out what a late revision came too late for.
#[derive(Debug, Default)]
pub struct Sent {
    samples: VecDeque<(Mono, u64)>,
}

impl Sent {
    /// Samples that are kept: some minutes of them.
    const KEPT: usize = 1_200;

    /// So many were sent by now.
    pub fn note(&mut self, now: Mono, sent: u64) {
        if self
            .samples
            .back()
            .is_some_and(|(_, before)| *before == sent)
        {
            return;
        }
        if self.samples.len() == Self::KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back((now, sent));
    }

    /// Events that were sent after a moment: those since the last sample that is not later.
    fn since(&self, moment: Mono, now: u64) -> u64 {
        let before = self.samples.iter().rev().find(|(at, _)| *at <= moment);
        now - before.map_or(0, |(_, sent)| *sent).min(now)
    }
}

/// What was sent before a late revision was learned and would not have been by it. `timeline` is
/// the one before it; `last` the event time of the newest event that was sent.
pub fn overshoot(
    late: Duration,
    revision: &Revision,
    timeline: &Timeline,
    now: Mono,
    last: Option<EventTime>,
    sent: &Sent,
    sent_now: u64,
) -> Overshoot {
    // By the new revision event time has come to this.
    let allowed = match revision.motion {
        Motion::Running(anchor) => Some(anchor.event_time(now)),
        Motion::Held { at, .. } => Some(at),
        Motion::Unpaced => None,
        Motion::Paused => match timeline.at(revision.effective_at).map(|it| it.motion) {
            Some(Motion::Running(anchor)) => Some(anchor.event_time(revision.effective_at)),
            Some(Motion::Held { at, .. }) => Some(at),
            // Nothing was due by a schedule: all that was sent since then is too much.
            _ => Some(EventTime::MIN),
        },
    };
    let beyond = last.filter(|last| allowed.is_some_and(|allowed| *last > allowed));
    Overshoot {
        revision: revision.number,
        late: DurationText(late),
        events: match beyond {
            Some(_) => sent.since(revision.effective_at, sent_now),
            None => 0,
        },
        event_time: beyond.map(|last| last.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Anchor, Due};

    const SECOND: i64 = 1_000_000_000;

    fn event(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000).unwrap()
    }

    fn offset() -> WallOffset {
        // Monotonic 0 is 2026-05-04 at midnight.
        let wall = EventTime::parse_rfc3339("2026-05-04T00:00:00Z").unwrap();
        WallOffset::between(wall, Mono(0))
    }

    fn revision(number: u64, from: i64, motion: Motion) -> Revision {
        Revision {
            number,
            effective_at: Mono(from * SECOND),
            motion,
        }
    }

    fn running(event_epoch: i64, wall_epoch: i64, speedup: f64) -> Motion {
        Motion::Running(Anchor {
            event_epoch: event(event_epoch),
            wall_epoch: Mono(wall_epoch * SECOND),
            speedup,
        })
    }

    fn clock(revisions: &[Revision]) -> StreamClockSpec {
        let mut clock = StreamClockSpec::default();
        for revision in revisions {
            clock.publish(published::spec(revision, 2.0, offset()));
        }
        clock
    }

    #[test]
    fn each_revision_is_learned_once() {
        let mut follower = Follower::default();
        let unstarted = StreamClockSpec::default();
        assert_eq!(follower.learn(&unstarted, Mono(0), offset()), Ok(None));
        let first = revision(1, 10, running(500, 10, 2.0));
        let told = clock(&[first]);
        let learned = follower.learn(&told, Mono(9 * SECOND), offset());
        let expected = Learned {
            revisions: vec![first],
            late: None,
        };
        assert_eq!(learned, Ok(Some(expected)));
        // The wall clock steps by an hour: what is known stays.
        let stepped = WallOffset(offset().0 + 3_600 * SECOND);
        assert_eq!(follower.learn(&told, Mono(9 * SECOND), stepped), Ok(None));
    }

    #[test]
    fn a_worker_that_starts_late_learns_what_counts_now_and_what_will() {
        let first = revision(4, 10, running(500, 10, 2.0));
        let pause = revision(5, 30, Motion::Paused);
        let told = clock(&[first, pause]);
        let learned = |now| {
            let mut follower = Follower::default();
            follower.learn(&told, Mono(now), offset()).unwrap().unwrap()
        };
        assert_eq!(learned(29 * SECOND).revisions, [first, pause]);
        let after = learned(31 * SECOND);
        assert_eq!((after.revisions, after.late), (vec![pause], None));
    }

    #[test]
    fn a_late_revision_says_how_far_it_was_overshot() {
        let mut follower = Follower::default();
        let first = revision(1, 0, running(0, 0, 2.0));
        let (mut timeline, mut sent) = (Timeline::default(), Sent::default());
        let learned = follower.learn(&clock(&[first]), Mono(0), offset()).unwrap();
        timeline.publish(learned.unwrap().revisions[0], Mono(0));
        for second in 0..=30 {
            sent.note(Mono(second * SECOND), 10 * second as u64);
        }
        let pause = revision(2, 20, Motion::Paused);
        let now = Mono(30 * SECOND);
        let learned = follower.learn(&clock(&[first, pause]), now, offset());
        let late = learned.unwrap().unwrap().late.unwrap();
        assert_eq!(late, Duration::from_secs(10));
        let shot = |last| overshoot(late, &pause, &timeline, now, last, &sent, 300);
        // At 20 s the clock stood at 40 s.
        let far = shot(Some(event(59)));
        assert_eq!((far.revision, far.events), (2, 100));
        assert_eq!(
            far.event_time.as_deref(),
            Some("1970-01-01T00:00:59.000000Z")
        );
        let none = shot(Some(event(39)));
        assert_eq!((none.events, none.event_time), (0, None));
        assert_eq!(shot(None).events, 0);
        timeline.publish(pause, now);
        assert_eq!(timeline.at(now).unwrap().due(event(1)), Due::Not);
    }

    #[test]
    fn a_faster_clock_that_is_learned_late_overshot_nothing() {
        let timeline = Timeline::default();
        let faster = revision(2, 5, running(10, 5, 100.0));
        let last = Some(event(20));
        let late = Duration::from_secs(1);
        let sent = Sent::default();
        let shot = overshoot(late, &faster, &timeline, Mono(6 * SECOND), last, &sent, 9);
        assert_eq!((shot.events, shot.event_time), (0, None));
    }
}
