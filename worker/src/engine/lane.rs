//! One lane of an output: hands out its events in order, each when it is due, and keeps its
//! figures. Everything here runs on the output's one thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, Notify, mpsc};
use worldstream_crds::Overload;

use super::board::{Board, LaneGauge};
use super::feed::Feed;
use super::quarantine;
use super::watermark::{Step, Watermark};
use crate::audit::session::FlushReason;
use crate::checkpoint::{Checkpoint, CheckpointKey, Cursor};
use crate::clock::{ClockReader, Due, DueTimer, Mono, Motion, OutputRate, Revision};
use crate::envelope::EventBatch;
use crate::failure::{Failure, Result};
use crate::gate::Decision;
use crate::plan::{CheckpointPlan, PacePlan, QuarantinePlan};
use crate::view::ViewPlan;

/// An event that may be later than this asks whether the clock still counts before it is sent.
const LATE: Duration = Duration::from_millis(5);

/// An event that is to be pushed now.
#[derive(Debug)]
pub struct Ticket {
    /// Its sequence number in this process.
    pub sequence: u64,
    /// Its bytes.
    pub envelope: Bytes,
}

/// A checkpoint to be saved, and what the session is told when it is.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What is saved.
    pub checkpoint: Checkpoint,
    /// The flushes that it covers, oldest first.
    pub flushes: Vec<(FlushReason, Cursor)>,
    /// Nothing will follow.
    pub last: bool,
}

/// What decides how a lane is sent.
#[derive(Debug, Clone)]
pub struct LaneRules {
    /// When.
    pub pace: PacePlan,
    /// How often cursors are saved.
    pub checkpoint: CheckpointPlan,
    /// When quarantined events end it.
    pub quarantine: QuarantinePlan,
    /// At most so many events since the attempt's start.
    pub max_events: Option<u64>,
    /// Requests in flight, at least 1.
    pub in_flight: usize,
}

/// The parts of a lane that its tasks share.
pub struct Lane {
    /// Who it is.
    pub key: CheckpointKey,
    /// What it shows.
    pub gauge: Arc<LaneGauge>,
    board: Arc<Board>,
    view: ViewPlan,
    rows_before_part: Vec<u64>,
    rules: LaneRules,
    rate: Rc<RefCell<OutputRate>>,
    turn: Mutex<Turn>,
    state: RefCell<State>,
    /// Room in the window, or for unsaved events.
    room: Notify,
    /// A snapshot waits, or the lane is closed.
    pub save: Notify,
    lateness: RefCell<Histogram<u64>>,
}

/// What the task whose turn it is needs: to hand out the next event is one task's at a time.
struct Turn {
    feed: mpsc::Receiver<Feed>,
    batch: Option<EventBatch>,
    at: usize,
    ended: bool,
    clock: ClockReader,
    revision: Option<Revision>,
    next_change: Mono,
    timer: DueTimer,
    /// The lane fell behind by more than `max_lag` under `CatchUp`, and has not caught up since.
    catching_up: bool,
}

struct State {
    watermark: Watermark,
    issued: u64,
    saved: u64,
    /// `rows` at the newest snapshot.
    snapped: u64,
    /// Flushes that no snapshot covers yet.
    flushes: Vec<(FlushReason, Cursor)>,
    failure: Option<Failure>,
    /// Nothing is left to send, or to be waited for.
    closed: bool,
}

impl Lane {
    /// A lane that goes on at a watermark.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        key: CheckpointKey,
        gauge: Arc<LaneGauge>,
        board: Arc<Board>,
        view: ViewPlan,
        rules: LaneRules,
        rate: Rc<RefCell<OutputRate>>,
        feed: mpsc::Receiver<Feed>,
        clock: ClockReader,
        mut watermark: Watermark,
    ) -> Result<Self> {
        let timer = DueTimer::new().map_err(|error| {
            Failure::new(
                worldstream_crds::Reason::StreamFailed,
                key.output_id.clone(),
            )
            .detail(format!("no timer: {error}"))
        })?;
        let rows = watermark.progress().rows;
        let mut before = 0;
        let rows_before_part = view
            .parts
            .iter()
            .map(|part| {
                before += part.rows;
                before - part.rows
            })
            .collect();
        let lane = Lane {
            key,
            gauge,
            board,
            view,
            rows_before_part,
            rules,
            rate,
            turn: Mutex::new(Turn {
                feed,
                batch: None,
                at: 0,
                ended: false,
                clock,
                revision: None,
                next_change: Mono(0),
                timer,
                catching_up: false,
            }),
            state: RefCell::new(State {
                watermark,
                issued: rows,
                saved: rows,
                snapped: rows,
                flushes: Vec::new(),
                failure: None,
                closed: false,
            }),
            room: Notify::new(),
            save: Notify::new(),
            lateness: RefCell::new(
                // 1 µs to 1 h at three digits: constants that the histogram takes.
                Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds are constants"),
            ),
        };
        lane.show();
        Ok(lane)
    }

    /// Waits for the first event, so that the clock can start when all lanes have theirs. A
    /// failure here is one before the first event.
    pub async fn prime(&self) -> Result<()> {
        let mut turn = self.turn.lock().await;
        if let Some(failure) = self.limit() {
            return Err(failure);
        }
        if self.capped() {
            self.finish(&mut turn);
            return Ok(());
        }
        tokio::select! {
            () = self.load(&mut turn) => {}
            () = self.gauge.stop.wait() => {}
        }
        match self.failure() {
            Some(failure) if turn.batch.is_none() => Err(failure),
            _ => Ok(()),
        }
    }

    /// The next event, at the moment it is due; none when nothing more is to be sent: the end,
    /// a cap, a stop, or a failure.
    pub async fn next(&self) -> Option<Ticket> {
        let mut turn = self.turn.lock().await;
        let turn = &mut *turn;
        loop {
            if self.gauge.stop.is_set() || turn.ended {
                return None;
            }
            if self.capped() {
                self.finish(turn);
                return None;
            }
            if !turn.has_event() {
                tokio::select! {
                    () = self.load(turn) => {}
                    () = self.gauge.stop.wait() => {}
                }
                continue;
            }
            if !self.has_room() {
                tokio::select! {
                    () = self.room.notified() => {}
                    () = self.gauge.stop.wait() => {}
                }
                continue;
            }
            let now = Mono::now();
            match self.permit(turn, now) {
                Permit::Now { due } => return self.issue(turn, now, due),
                Permit::Later { at } => self.wait(turn, at).await,
            }
        }
    }

    /// IG has an event.
    pub fn taken(&self, sequence: u64, decision: Option<Decision>, retries: u32) {
        let flush = self.rules.checkpoint.flush_every;
        let mut limit = None;
        let mut state = self.state.borrow_mut();
        let State {
            watermark,
            flushes,
            snapped,
            ..
        } = &mut *state;
        watermark.taken(
            sequence,
            decision,
            retries,
            |watermark, passed| match passed {
                Step::Before(place) => {
                    let before = watermark.reached();
                    if before.is_some_and(|reached| reached.place.part < place.part) {
                        let cursor = self.cursor(watermark);
                        flushes.extend(cursor.map(|cursor| (FlushReason::FileComplete, cursor)));
                    }
                }
                Step::After(decision) => {
                    if decision == Some(Decision::Quarantine) {
                        quarantine::note(&self.rules.quarantine, watermark.progress());
                        limit = limit.take().or_else(|| {
                            quarantine::check(
                                &self.rules.quarantine,
                                watermark.progress(),
                                &self.key.output_id,
                            )
                        });
                    }
                    if watermark.progress().rows.is_multiple_of(flush) {
                        let cursor = self.cursor(watermark);
                        flushes.extend(cursor.map(|cursor| (FlushReason::PeriodicFlush, cursor)));
                    }
                }
            },
        );
        // Half way to the bound, so that the save is done before the bound is reached and
        // sending does not wait for it.
        let wanted =
            !flushes.is_empty() || watermark.progress().rows - *snapped >= flush.div_ceil(2);
        drop(state);
        if retries > 0 {
            self.gauge.retried.fetch_add(u64::from(retries), Relaxed);
        }
        self.show();
        if wanted {
            self.save.notify_one();
        }
        self.room.notify_one();
        if let Some(failure) = limit {
            self.fail(failure);
        }
    }

    /// Ends the lane with a failure; the first one counts. What is in flight is still awaited.
    pub fn fail(&self, failure: Failure) {
        let mut state = self.state.borrow_mut();
        state.failure.get_or_insert(failure);
        drop(state);
        self.gauge.stop.set();
    }

    /// Why the lane ended, if it failed.
    pub fn failure(&self) -> Option<Failure> {
        let own = self.state.borrow().failure.clone();
        own.or_else(|| self.gauge.verdict())
    }

    /// Nothing is in flight any more and nothing will be: what is not saved yet is to be saved.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        let complete = state.watermark.progress().complete && state.watermark.open() == 0;
        state.watermark.progress().complete = complete;
        let reason = match (complete, &state.failure) {
            (true, _) => FlushReason::OutputComplete,
            (false, None) if self.capped_at(state.issued) => FlushReason::MaxEvents,
            (false, _) => FlushReason::Stopping,
        };
        if let Some(cursor) = self.cursor(&state.watermark)
            && (complete || state.watermark.progress().rows > state.saved)
        {
            state.flushes.push((reason, cursor));
        }
        state.closed = true;
        drop(state);
        self.save.notify_one();
    }

    /// What is to be saved now, if anything was taken since the last time, or the lane is closed.
    pub fn snap(&self) -> Option<Snapshot> {
        let mut state = self.state.borrow_mut();
        let rows = state.watermark.progress().rows;
        if rows == state.snapped && !state.closed {
            return None;
        }
        state.snapped = rows;
        Some(Snapshot {
            checkpoint: self.checkpoint(&state.watermark),
            flushes: std::mem::take(&mut state.flushes),
            last: state.closed,
        })
    }

    /// A checkpoint is durable.
    pub fn saved(&self, checkpoint: &Checkpoint) {
        if let Some(progress) = &checkpoint.progress {
            self.state.borrow_mut().saved = progress.rows;
            self.room.notify_one();
        }
    }

    /// The figures at the end, as they were last snapped, and how late events were (µs).
    pub fn end(&self) -> (Checkpoint, Histogram<u64>) {
        let state = self.state.borrow();
        let checkpoint = self.checkpoint(&state.watermark);
        (checkpoint, self.lateness.borrow().clone())
    }

    /// Follows the clock beside the turn, which may wait for something else meanwhile: says what
    /// this lane knows, and when the rate plan's time runs.
    pub async fn follow(&self, mut clock: ClockReader) {
        loop {
            let now = Mono::now();
            let next_change = {
                let timeline = clock.borrow_and_update();
                if let Some(newest) = timeline.newest() {
                    self.gauge.set_known(newest.number);
                    self.board.look.notify_one();
                }
                let runs = timeline.at(now).is_some_and(Revision::runs);
                self.rate.borrow_mut().runs(now, runs);
                timeline.next_change(now)
            };
            tokio::select! {
                changed = clock.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(next_change.since(now)), if next_change != Mono::NEVER => {}
            }
        }
    }

    fn cursor(&self, watermark: &Watermark) -> Option<Cursor> {
        watermark.reached().map(|reached| Cursor {
            // Places come from the plan's parts.
            last_file: self.view.parts[reached.place.part].name.clone(),
            last_row_index: reached.place.row,
            last_ts_utc: reached.ts.map(|ts| ts.to_string()),
        })
    }

    fn checkpoint(&self, watermark: &Watermark) -> Checkpoint {
        Checkpoint {
            cursor: self.cursor(watermark),
            progress: Some(watermark.snapshot()),
        }
    }

    /// Brings the gauge up to date.
    fn show(&self) {
        let mut state = self.state.borrow_mut();
        self.gauge.set_oldest(state.watermark.oldest());
        if let Some(reached) = state.watermark.reached() {
            if let Some(ts) = reached.ts {
                self.gauge.set_reached(ts);
            }
            let behind = self.rows_before_part[reached.place.part] + reached.place.row + 1;
            self.gauge.rows_behind.store(behind, Relaxed);
        }
        let progress = state.watermark.progress();
        self.gauge.taken.store(progress.rows, Relaxed);
        self.gauge.admitted.store(progress.admitted, Relaxed);
        self.gauge.duplicate.store(progress.duplicate, Relaxed);
        self.gauge.quarantined.store(progress.quarantined, Relaxed);
    }

    fn limit(&self) -> Option<Failure> {
        let mut state = self.state.borrow_mut();
        quarantine::check(
            &self.rules.quarantine,
            state.watermark.progress(),
            &self.key.output_id,
        )
    }

    fn capped(&self) -> bool {
        self.capped_at(self.state.borrow().issued)
    }

    fn capped_at(&self, issued: u64) -> bool {
        self.rules.max_events.is_some_and(|max| issued >= max)
    }

    /// Room for one more: in the window, which bounds how far events are displaced, and behind
    /// what is saved, which bounds what a crash repeats.
    fn has_room(&self) -> bool {
        let state = self.state.borrow();
        let bound = self.rules.checkpoint.flush_every + self.rules.in_flight as u64;
        state.watermark.open() < self.rules.in_flight && state.issued - state.saved < bound
    }

    /// Takes the next item of the feed. May be dropped while it waits: nothing is lost then.
    async fn load(&self, turn: &mut Turn) {
        match turn.feed.recv().await {
            Some(Feed::Batch(batch)) => {
                self.gauge
                    .set_next(batch.events.first().map(|event| event.ts));
                turn.batch = Some(batch);
                turn.at = 0;
            }
            Some(Feed::End) => {
                self.state.borrow_mut().watermark.progress().complete = true;
                self.finish(turn);
            }
            Some(Feed::Failed(failure)) => {
                self.finish(turn);
                self.fail(failure);
            }
            None => {
                self.finish(turn);
                self.fail(
                    Failure::new(
                        worldstream_crds::Reason::StreamFailed,
                        self.view.folder.clone(),
                    )
                    .detail("the thread that reads it ended without a word"),
                );
            }
        }
    }

    fn finish(&self, turn: &mut Turn) {
        turn.ended = true;
        turn.batch = None;
        self.gauge.set_next(None);
    }

    fn issue(&self, turn: &mut Turn, now: Mono, due: Option<Mono>) -> Option<Ticket> {
        // `has_event` was true in this turn.
        let batch = turn.batch.as_ref()?;
        let event = batch.events[turn.at];
        let envelope = batch.envelope(turn.at);
        let sequence = {
            let mut state = self.state.borrow_mut();
            state.issued += 1;
            let sequence = state
                .watermark
                .issue(batch.event_id(turn.at), event.place, event.ts);
            // Before the next event is shown: this one is what the lane is behind by now.
            self.gauge.set_oldest(state.watermark.oldest());
            sequence
        };
        turn.at += 1;
        if let Some(next) = batch.events.get(turn.at) {
            self.gauge.set_next(Some(next.ts));
        }
        self.rate.borrow_mut().take(turn.catching_up);
        if let Some(due) = due {
            let micros = now.since(due).as_micros() as u64;
            self.lateness.borrow_mut().saturating_record(micros.max(1));
        }
        self.gauge.sent.fetch_add(1, Relaxed);
        Some(Ticket { sequence, envelope })
    }

    /// Whether the next event may be sent now, and if not, when to look again.
    fn permit(&self, turn: &mut Turn, now: Mono) -> Permit {
        turn.refresh(now);
        // `has_event` was true in this turn.
        let Some(ts) = turn
            .batch
            .as_ref()
            .and_then(|batch| batch.events.get(turn.at))
        else {
            return Permit::Later { at: now };
        };
        let Some(revision) = turn.revision else {
            return Permit::Later {
                at: turn.next_change,
            };
        };
        let due = match revision.due(ts.ts) {
            Due::Not => {
                return Permit::Later {
                    at: turn.next_change,
                };
            }
            Due::At(due) if due > now => {
                turn.catching_up = false;
                return Permit::Later {
                    at: due.min(turn.next_change),
                };
            }
            Due::At(due) => Some(due),
            Due::Anytime => None,
        };
        if let (Some(due), Motion::Running(anchor)) = (due, revision.motion)
            && now.since(due) > LATE
            && self.board.overdue(&anchor, now)
        {
            // Somebody is further behind than the policy allows: whoever keeps the clock says
            // how it goes on, before anything more is sent by the old schedule.
            self.board.look.notify_one();
            return Permit::Later { at: now + LATE };
        }
        turn.catching_up = self.catches_up(turn.catching_up, due, now);
        let ready = self.rate.borrow_mut().ready_at(now, turn.catching_up);
        match ready > now {
            true => Permit::Later {
                at: ready.min(turn.next_change),
            },
            false => Permit::Now { due },
        }
    }

    /// Whether an event that may be sent now is sent to catch up: from the moment on at which the
    /// lane is behind by more than `max_lag`, until an event comes that is not due yet.
    fn catches_up(&self, already: bool, due: Option<Mono>, now: Mono) -> bool {
        let pace = &self.rules.pace;
        let late = |due: Mono| already || now.since(due) > pace.max_lag;
        pace.overload == Overload::CatchUp && due.is_some_and(late)
    }

    /// Waits for a moment, a change of the clock, or a stop.
    async fn wait(&self, turn: &mut Turn, at: Mono) {
        let Turn {
            clock,
            timer,
            next_change,
            ..
        } = turn;
        tokio::select! {
            waited = timer.wait_until(at), if at != Mono::NEVER => if let Err(error) = waited {
                self.fail(
                    Failure::new(worldstream_crds::Reason::StreamFailed, self.key.output_id.clone())
                        .detail(format!("the timer failed: {error}")),
                );
            },
            changed = clock.changed() => match changed {
                // Seen here, so that nobody else is told: the timeline is to be looked at.
                Ok(()) => *next_change = Mono(0),
                // Whoever keeps the clock is gone: nothing will ever be due again.
                Err(_) => self.gauge.stop.set(),
            },
            () = self.gauge.stop.wait() => {}
        }
    }
}

enum Permit {
    Now { due: Option<Mono> },
    Later { at: Mono },
}

impl Turn {
    fn has_event(&self) -> bool {
        self.batch
            .as_ref()
            .is_some_and(|batch| self.at < batch.events.len())
    }

    /// The revision that counts now. Looks at the timeline only when it has changed, or when
    /// another revision comes to count.
    fn refresh(&mut self, now: Mono) {
        if now >= self.next_change || self.clock.has_changed().unwrap_or(true) {
            let timeline = self.clock.borrow_and_update();
            self.revision = timeline.at(now).copied();
            self.next_change = timeline.next_change(now);
        }
    }
}
