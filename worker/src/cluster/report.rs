//! What a worker says of itself, and when it is worth a write: at once when its state changes,
//! else now and then while something moves, and never while it rests. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use worldstream_crds::{
    Counts, DurationText, FailureStatus, Overshoot, StreamCheckpointStatus, WorkerState,
};

use crate::clock::{Mono, Motion, Revision};
use crate::failure::Failure;
use crate::time::EventTime;

/// How often a worker that moves reports, at most.
const COARSE: Duration = Duration::from_secs(2);
/// And how often when an output that is late by little counts.
const FINEST: Duration = Duration::from_millis(250);

/// How a worker is at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What it is doing.
    pub state: WorkerState,
    /// The revision of the clock that is in force for it.
    pub clock_revision: u64,
    /// The event time of the next event that it will send; none: nothing is left.
    pub next: Option<EventTime>,
    /// The event time of the oldest event that is not taken; none: nothing is left.
    pub oldest: Option<EventTime>,
    /// What became of its events.
    pub counts: Counts,
    /// How far it is behind the clock; none where there is no schedule.
    pub lag: Option<Duration>,
    /// It is behind by more than it may be.
    pub late: bool,
    /// Event seconds a wall second, of late.
    pub achieved_speedup: Option<f64>,
    /// How far our wall clock is ahead of the API server's.
    pub clock_skew_millis: Option<i64>,
    /// Since when the gate takes nothing.
    pub gate_away_since: Option<EventTime>,
    /// Since when nothing can be saved.
    pub store_away_since: Option<EventTime>,
    /// What it had done before it learned of a revision that counted already.
    pub overshoot: Option<Overshoot>,
    /// Why it failed, or what it waits for.
    pub failure: Option<FailureStatus>,
}

impl Snapshot {
    /// Writes it into a status.
    pub fn apply(&self, status: &mut StreamCheckpointStatus) {
        let text = |time: &Option<EventTime>| time.map(|time| time.to_string());
        status.state = Some(self.state);
        status.clock_revision = self.clock_revision;
        status.next = text(&self.next);
        status.oldest = text(&self.oldest);
        status.counts = Some(self.counts.clone());
        // Whole milliseconds are what people and schedules of seconds need.
        let millis = |lag: Duration| Duration::from_millis(lag.as_millis() as u64);
        status.lag = self.lag.map(|lag| DurationText(millis(lag)));
        status.achieved_speedup = self.achieved_speedup;
        status.clock_skew_millis = self.clock_skew_millis;
        status.gate_away_since = text(&self.gate_away_since);
        status.store_away_since = text(&self.store_away_since);
        status.overshoot = self.overshoot.clone();
        status.failure = self.failure.clone();
    }

    /// What must be known at once when it changes.
    fn turning_point(&self) -> impl PartialEq {
        (
            self.state,
            self.clock_revision,
            self.late,
            self.gate_away_since.is_some(),
            self.store_away_since.is_some(),
            self.overshoot.clone(),
            self.failure.clone(),
            self.next.is_none(),
        )
    }

    /// What moves while it streams. Lag, speed and skew follow from time alone, and are written
    /// with the rest.
    fn movement(&self) -> impl PartialEq {
        (self.next, self.oldest, self.counts.clone())
    }
}

/// Whether a snapshot is worth a write now, after `last` was written.
pub fn is_due(
    last: Option<&(Mono, Snapshot)>,
    now: Mono,
    snapshot: &Snapshot,
    max_lag: Duration,
) -> bool {
    let Some((at, last)) = last else {
        return true;
    };
    if last.turning_point() != snapshot.turning_point() {
        return true;
    }
    // Whoever watches tells a worker that is silent from one that is late by this.
    let interval = (max_lag / 2).clamp(FINEST, COARSE);
    now.since(*at) >= interval && last.movement() != snapshot.movement()
}

/// What a worker is doing, while it is not at its end.
pub struct Doing<'a> {
    /// All its lanes have their first event, or none to send.
    pub primed: bool,
    /// Nothing is left to send or to wait for.
    pub finished: bool,
    /// The gate, or the store of cursors, is away.
    pub away: bool,
    /// The revision that counts.
    pub revision: Option<&'a Revision>,
    /// The next event's time.
    pub next: Option<EventTime>,
}

impl Doing<'_> {
    /// In one word.
    pub fn state(&self) -> WorkerState {
        let motion = self.revision.map(|revision| revision.motion);
        match motion {
            _ if !self.primed => WorkerState::Starting,
            _ if self.away => WorkerState::Waiting,
            None => WorkerState::Primed,
            _ if self.finished => WorkerState::Streaming,
            Some(Motion::Paused) => WorkerState::Paused,
            Some(Motion::Held { at, .. }) if self.next.is_none_or(|next| next > at) => {
                WorkerState::Held
            }
            Some(_) => WorkerState::Streaming,
        }
    }
}

/// A failure as a status shows it; `ended`: the process ends with it.
pub fn failure_status(failure: &Failure, ended: bool) -> FailureStatus {
    FailureStatus {
        reason: failure.reason().as_str().to_owned(),
        message: failure.message(),
        exit_code: ended.then(|| u32::from(failure.exit_code().code())),
    }
}

/// How fast event time has passed of late, as far as an output has got with it.
#[derive(Debug, Default)]
pub struct SpeedMeter {
    samples: VecDeque<(Mono, EventTime)>,
}

impl SpeedMeter {
    /// What is looked back on.
    const WINDOW: Duration = Duration::from_secs(10);
    /// What says too little yet.
    const SHORTEST: Duration = Duration::from_secs(2);

    /// The output has got so far: to the clock's event time, or to its oldest event that is not
    /// taken if that is earlier.
    pub fn note(&mut self, now: Mono, position: EventTime) {
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= Self::WINDOW)
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, position));
    }

    /// Begins anew: what was before does not count, as after a pause.
    pub fn reset(&mut self) {
        self.samples.clear();
    }

    /// Event seconds a wall second; none if it is too early to say.
    pub fn speedup(&self) -> Option<f64> {
        let ((began, from), (now, to)) = self.samples.front().zip(self.samples.back())?;
        let wall = now.since(*began);
        if wall < Self::SHORTEST {
            return None;
        }
        let micros = to.micros().saturating_sub(from.micros()) as f64;
        // Three digits: more would be noise, and a change at each look.
        Some((micros / 1e6 / wall.as_secs_f64() * 1e3).round() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Anchor;
    use worldstream_crds::Reason;

    const SECOND: i64 = 1_000_000_000;
    const MAX_LAG: Duration = Duration::from_secs(5);

    fn event(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000).unwrap()
    }

    fn streaming(next: i64) -> Snapshot {
        Snapshot {
            state: WorkerState::Streaming,
            clock_revision: 3,
            next: Some(event(next)),
            oldest: Some(event(next)),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_worker_that_rests_writes_nothing_whatever_time_does_to_its_figures() {
        let written = (Mono(0), streaming(100));
        let resting = Snapshot {
            lag: Some(Duration::from_secs(1)),
            achieved_speedup: Some(2.5),
            clock_skew_millis: Some(40),
            ..streaming(100)
        };
        for hours in [0, 1, 1_000] {
            let now = Mono(hours * 3_600 * SECOND);
            assert!(!is_due(Some(&written), now, &resting, MAX_LAG));
        }
        assert!(is_due(None, Mono(0), &resting, MAX_LAG));
    }

    #[test]
    fn what_moves_is_told_now_and_then() {
        let written = (Mono(0), streaming(100));
        let later = |seconds| Mono(seconds * SECOND);
        let moved = streaming(101);
        assert!(!is_due(Some(&written), later(1), &moved, MAX_LAG));
        assert!(is_due(Some(&written), later(2), &moved, MAX_LAG));
        // With a limit of a second, half of it.
        assert!(is_due(
            Some(&written),
            Mono(SECOND / 2),
            &moved,
            Duration::from_secs(1)
        ));
    }

    #[test]
    fn each_turning_point_is_told_at_once() {
        let written = (Mono(0), streaming(100));
        type Change = fn(&mut Snapshot);
        let changes: [Change; 7] = [
            |it| it.state = WorkerState::Paused,
            |it| it.clock_revision = 4,
            |it| it.late = true,
            |it| it.gate_away_since = Some(EventTime::MIN),
            |it| it.store_away_since = Some(EventTime::MIN),
            |it| it.overshoot = Some(Overshoot::default()),
            |it| it.next = None,
        ];
        for change in changes {
            let mut changed = written.1.clone();
            change(&mut changed);
            assert!(
                is_due(Some(&written), Mono(1), &changed, MAX_LAG),
                "{changed:?}"
            );
        }
    }

    #[test]
    fn a_state_is_what_the_clock_and_its_surroundings_make_of_it() {
        let anchor = Anchor {
            event_epoch: event(0),
            wall_epoch: Mono(0),
            speedup: 1.0,
        };
        let by = |motion| Revision {
            number: 1,
            effective_at: Mono(0),
            motion,
        };
        let (running, paused) = (by(Motion::Running(anchor)), by(Motion::Paused));
        let held = by(Motion::Held {
            anchor,
            at: event(50),
        });
        let doing = Doing {
            primed: true,
            finished: false,
            away: false,
            revision: Some(&running),
            next: Some(event(60)),
        };
        let state = |change: Doing| change.state();
        assert_eq!(state(Doing { ..doing }), WorkerState::Streaming);
        let doing = |revision, next| Doing {
            primed: true,
            finished: false,
            away: false,
            revision,
            next: Some(event(next)),
        };
        assert_eq!(doing(None, 60).state(), WorkerState::Primed);
        assert_eq!(doing(Some(&paused), 60).state(), WorkerState::Paused);
        assert_eq!(doing(Some(&held), 60).state(), WorkerState::Held);
        // The late one sends what is due up to where the clock stands.
        assert_eq!(doing(Some(&held), 50).state(), WorkerState::Streaming);
        let starting = Doing {
            primed: false,
            ..doing(None, 60)
        };
        assert_eq!(starting.state(), WorkerState::Starting);
        let away = Doing {
            away: true,
            ..doing(Some(&paused), 60)
        };
        assert_eq!(away.state(), WorkerState::Waiting);
    }

    #[test]
    fn the_speed_that_was_reached_is_that_of_the_last_seconds() {
        let mut meter = SpeedMeter::default();
        for second in 0..60 {
            let speed = if second < 30 { 4 } else { 2 };
            let position = if second < 30 {
                second * speed
            } else {
                60 + second * speed
            };
            meter.note(Mono(second * SECOND), event(position));
            if second < 2 {
                assert_eq!(meter.speedup(), None);
            }
            if second == 29 {
                assert_eq!(meter.speedup(), Some(4.0));
            }
        }
        assert_eq!(meter.speedup(), Some(2.0));
        meter.reset();
        assert_eq!(meter.speedup(), None);
    }

    #[test]
    fn a_snapshot_leaves_nothing_of_an_older_one() {
        let mut status = StreamCheckpointStatus::default();
        let failure = Failure::new(Reason::LagLimit, "out_3K");
        let failing = Snapshot {
            gate_away_since: Some(event(7)),
            lag: Some(Duration::from_micros(1_500)),
            failure: Some(failure_status(&failure, true)),
            ..streaming(5)
        };
        failing.apply(&mut status);
        assert_eq!(status.lag, Some(DurationText::millis(1)));
        assert_eq!(status.failure.as_ref().unwrap().exit_code, Some(10));
        streaming(6).apply(&mut status);
        assert_eq!((status.gate_away_since, status.failure), (None, None));
        assert_eq!(status.next.as_deref(), Some("1970-01-01T00:00:06.000000Z"));
    }
}
