//! One lane of an output: hands out its events in order, each when it is due, and keeps its
//! figures. Everything here runs on the output's one thread.

mod turn;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, Notify, mpsc};
use turn::Turn;
use worldstream_crds::Reason;

use super::board::{Board, LaneGauge};
use super::feed::Feed;
use super::quarantine;
use super::watermark::{Step, Watermark};
use crate::audit::FlushReason;
use crate::checkpoint::{Checkpoint, CheckpointKey, Cursor, Hold};
use crate::clock::{ClockReader, DueTimer, Mono, Monotonic, OutputRate, Revision};
use crate::failure::{Failure, Result};
use crate::gate::Decision;
use crate::plan::{CheckpointPlan, CheckpointStorePlan, PacePlan, QuarantinePlan};
use crate::view::ViewPlan;

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

impl LaneRules {
    /// Whether events that were taken and not saved are bounded by their number. Where the store
    /// takes a save at most so often they are by their age: a number would be a limit of the rate.
    fn bounds_number(&self) -> bool {
        !matches!(self.checkpoint.store, CheckpointStorePlan::Kubernetes {})
    }
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
    /// The standing of the lane's lease: nothing is sent while it does not hold.
    hold: Arc<Hold>,
    lateness: RefCell<Histogram<u64>>,
}

struct State {
    watermark: Watermark,
    issued: u64,
    saved: u64,
    /// `rows` at the newest snapshot.
    snapped: u64,
    /// So many events after that one the next is wanted.
    step: u64,
    /// Since when events are taken that no saved checkpoint covers, and no snapshot.
    unsaved_since: Option<Mono>,
    unsnapped_since: Option<Mono>,
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
        hold: Arc<Hold>,
    ) -> Result<Self> {
        let timer = DueTimer::new().map_err(|error| {
            Failure::new(Reason::StreamFailed, key.output_id.clone())
                .detail(format!("no timer: {error}"))
        })?;
        let rows = watermark.progress().rows;
        if rows > 0 {
            let running = Duration::from_micros(watermark.progress().rate_micros);
            rate.borrow_mut().go_on(running);
        }
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
            turn: Mutex::new(Turn::new(feed, clock, timer)),
            state: RefCell::new(State {
                watermark,
                issued: rows,
                saved: rows,
                snapped: rows,
                // The first event of a run is saved at once: a worker that is killed soon after has
                // moved its cursor, and is not taken for one that gets nowhere.
                step: 1,
                unsaved_since: None,
                unsnapped_since: None,
                flushes: Vec::new(),
                failure: None,
                closed: false,
            }),
            room: Notify::new(),
            save: Notify::new(),
            hold,
            lateness: RefCell::new(
                // 1 µs to 1 h at three digits: constants that the histogram takes.
                Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds are constants"),
            ),
        };
        lane.show();
        Ok(lane)
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
            step,
            unsaved_since,
            unsnapped_since,
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
        // The end of a part is saved at once; a flush is covered by the save that is next anyway.
        let part = flushes.last();
        let wanted = part.is_some_and(|(reason, _)| *reason == FlushReason::FileComplete)
            || watermark.progress().rows - *snapped >= *step;
        if watermark.progress().rows > *snapped && unsnapped_since.is_none() {
            *unsnapped_since = Some(Mono::now());
            *unsaved_since = unsaved_since.or(*unsnapped_since);
        }
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
        state.unsnapped_since = None;
        Some(Snapshot {
            checkpoint: self.checkpoint(&state.watermark),
            flushes: std::mem::take(&mut state.flushes),
            last: state.closed,
        })
    }

    /// A checkpoint of so many rows is durable. The next is wanted far enough before the bound of
    /// unsaved events that it is done before the bound is reached, going by how many were taken
    /// during this one: sending does not wait then, and the disk is not asked more than need be.
    pub fn saved(&self, rows: Option<u64>) {
        let Some(rows) = rows else { return };
        let flush = self.rules.checkpoint.flush_every;
        let mut state = self.state.borrow_mut();
        let during = state.watermark.progress().rows - rows;
        let step = flush.saturating_sub(4 * during);
        state.step = step.clamp(flush.div_ceil(2), (flush * 3).div_ceil(4));
        state.saved = rows;
        state.unsaved_since = state.unsnapped_since;
        drop(state);
        self.room.notify_one();
    }

    /// Follows the standing of the lease beside everything that waits for the store: goes on when
    /// it was renewed, and ends the lane when it was lost.
    pub async fn watch_hold(&self) {
        loop {
            self.hold.changed().await;
            match self.hold.lost() {
                Some(failure) => return self.fail(failure),
                None => self.room.notify_one(),
            }
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
        let mut progress = watermark.snapshot();
        let running = self.rate.borrow().running(Mono::now());
        progress.rate_micros = u64::try_from(running.as_micros()).unwrap_or(u64::MAX);
        Checkpoint {
            cursor: self.cursor(watermark),
            progress: Some(progress),
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

    /// Room for one more: in the window, which bounds how far events are displaced, behind what is
    /// saved, which bounds what a crash repeats, and within the lease, beyond which another may
    /// send.
    fn has_room(&self) -> bool {
        let state = self.state.borrow();
        let bound = self.rules.checkpoint.flush_every + self.rules.in_flight as u64;
        let now = Mono::now();
        let covered = match state.unsaved_since {
            _ if self.rules.bounds_number() => state.issued - state.saved < bound,
            Some(since) => now.since(since) < self.rules.checkpoint.max_unsaved,
            None => true,
        };
        state.watermark.open() < self.rules.in_flight && covered && self.hold.holds(now)
    }

    /// Whether nothing is in flight any more and nothing will be.
    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }
}
