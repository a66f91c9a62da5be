//! The report: looks at the board, and writes into the StreamCheckpoint what is worth it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;
use worldstream_crds::{Counts, ExitCode, Overshoot, Reason};

use super::access::Access;
use super::record::Record;
use super::report::{self, Doing, Snapshot, SpeedMeter};
use super::watched::{self, Saves};
use crate::checkpoint::kubernetes::cursor_status;
use crate::clock::{ClockReader, Mono, Monotonic, Motion};
use crate::engine::{Board, LaneGauge, Phase};
use crate::failure::{Failure, Result};
use crate::report::figures;
use crate::time::EventTime;

/// How often the board is looked at when nobody asks for it.
const LOOK: Duration = Duration::from_millis(100);
/// After how many seconds a gate that takes nothing is worth a word.
const AWAY: u64 = 3;

/// A figure of all lanes together.
pub fn total(board: &Board, count: impl Fn(&LaneGauge) -> u64) -> u64 {
    board.lanes.iter().map(|lane| count(lane)).sum()
}

/// What a report is made of.
pub struct Sources {
    /// Where it goes.
    pub record: Record,
    /// The API server.
    pub access: Access,
    /// What the lanes show.
    pub board: Arc<Board>,
    /// The clock.
    pub clock: ClockReader,
    /// How far the process is.
    pub phases: watch::Receiver<Phase>,
    /// What is saved.
    pub saves: Arc<Mutex<Saves>>,
    /// Saves go into the same object.
    pub kubernetes: bool,
    /// How far an output may be behind.
    pub max_lag: Duration,
    /// What a late revision came too late for.
    pub overshoot: Arc<Mutex<Option<Overshoot>>>,
}

/// Looks at the board, and writes what is worth it.
pub struct Reporter {
    from: Sources,
    /// Next and oldest as they were when nobody had asked to stop.
    position: (Option<EventTime>, Option<EventTime>),
    speed: SpeedMeter,
    gate_away_since: Option<EventTime>,
}

impl Reporter {
    /// A report that begins now.
    pub fn new(from: Sources) -> Self {
        Reporter {
            from,
            position: (None, None),
            speed: SpeedMeter::default(),
            gate_away_since: None,
        }
    }

    /// Reports for ever. A checkpoint that is another's by now ends the lanes.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unreached = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.from.board.look.notified() => {}
                changed = self.from.phases.changed() => if changed.is_err() {
                    // The conductor is at its end, and so are we.
                    return std::future::pending().await;
                },
            }
            let now = Mono::now();
            let snapshot = self.look(now);
            self.from.record.show(snapshot.clone());
            if !report::is_due(
                self.from.record.written().as_ref(),
                now,
                &snapshot,
                self.from.max_lag,
            ) {
                continue;
            }
            match self.write().await {
                Ok(()) => unreached = false,
                Err(failure) if failure.exit_code() == ExitCode::Unavailable => {
                    if !unreached {
                        warn!(%failure, "no report: the API server is away");
                        unreached = true;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(failure) => {
                    warn!(%failure, "the checkpoint is not ours any more");
                    for lane in &self.from.board.lanes {
                        lane.condemn(failure.clone());
                    }
                    return std::future::pending().await;
                }
            }
        }
    }

    /// With another store the cursor is told here; with this one it goes out with each save.
    async fn write(&self) -> Result<()> {
        let saved = match self.from.kubernetes {
            true => None,
            false => watched::look(&self.from.saves).saved.clone(),
        };
        let cursor = saved
            .and_then(|saved| saved.cursor)
            .map(|cursor| cursor_status(&cursor));
        self.from
            .record
            .write(|status| {
                if cursor.is_some() {
                    status.cursor = cursor.clone();
                }
            })
            .await
    }

    fn look(&mut self, now: Mono) -> Snapshot {
        let timeline = self.from.clock.borrow().clone();
        let revision = timeline.at(now);
        let lanes = &self.from.board.lanes;
        let (_, observed) = self.from.board.observe();
        let left = |time: EventTime| (time != EventTime::MAX).then_some(time);
        // A lane that stops shows nothing to wait for, and has something left all the same.
        if !lanes.iter().any(|lane| lane.stop.is_set()) {
            self.position = (
                observed.iter().map(|it| it.next).min().and_then(left),
                observed.iter().map(|it| it.oldest).min().and_then(left),
            );
        }
        let (next, oldest) = self.position;
        let lag = lanes
            .iter()
            .filter_map(|lane| figures::lag(lane, &timeline, now))
            .max();
        let away = total(&self.from.board, |lane| lane.gate_away.load(Relaxed));
        self.gate_away_since = match (away >= AWAY, self.gate_away_since) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) => {
                let micros = EventTime::wall_now().micros() - away as i64 * 1_000_000;
                EventTime::from_micros(micros)
            }
        };
        let store_away = watched::look(&self.from.saves).away.clone();
        match revision.map(|it| it.motion) {
            Some(Motion::Running(anchor)) => {
                let clock = anchor.event_time(now);
                self.speed
                    .note(now, oldest.map_or(clock, |oldest| oldest.min(clock)));
            }
            Some(Motion::Unpaced) => {
                if let Some(oldest) = oldest {
                    self.speed.note(now, oldest);
                }
            }
            _ => self.speed.reset(),
        }
        let waits_for = match (&self.gate_away_since, &store_away) {
            (Some(_), _) => {
                let failure = Failure::new(Reason::IgPushRetryExhausted, "the gate");
                let found = format!("nothing taken for {away} s");
                Some(failure.found(found).detail("trying on"))
            }
            (None, Some((_, failure))) => Some(failure.clone()),
            (None, None) => None,
        };
        Snapshot {
            state: Doing {
                primed: *self.from.phases.borrow() >= Phase::Primed,
                finished: observed.is_empty(),
                away: self.gate_away_since.is_some() || store_away.is_some(),
                revision,
                next,
            }
            .state(),
            clock_revision: revision.map_or(0, |revision| revision.number),
            next,
            oldest,
            counts: self.counts(),
            lag,
            late: lag.is_some_and(|lag| lag > self.from.max_lag),
            achieved_speedup: self.speed.speedup(),
            clock_skew_millis: self.from.access.skew_millis(),
            gate_away_since: self.gate_away_since,
            store_away_since: store_away.map(|(since, _)| since),
            overshoot: self
                .from
                .overshoot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            failure: waits_for.map(|failure| report::failure_status(&failure, false)),
        }
    }

    fn counts(&self) -> Counts {
        let of = |count: fn(&LaneGauge) -> u64| total(&self.from.board, count);
        let rows = of(|lane| lane.taken.load(Relaxed));
        let (admitted, duplicate, quarantined) = (
            of(|lane| lane.admitted.load(Relaxed)),
            of(|lane| lane.duplicate.load(Relaxed)),
            of(|lane| lane.quarantined.load(Relaxed)),
        );
        Counts {
            rows,
            sent: rows + of(|lane| lane.in_flight.load(Relaxed)),
            admitted,
            duplicate,
            quarantined,
            undecided: rows.saturating_sub(admitted + duplicate + quarantined),
            retried: of(|lane| lane.retried.load(Relaxed)),
        }
    }
}
