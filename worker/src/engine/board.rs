//! The board: what each lane shows of itself while it runs, for the clock, for reports, and for
//! its neighbours. Atomics alone: nobody waits to read or to write it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use worldstream_crds::Overload;

use crate::clock::{Anchor, Mono, Observation};
use crate::failure::Failure;
use crate::plan::Lane;
use crate::stop::Stop;
use crate::time::EventTime;

/// No event time: nothing is left.
const NONE: i64 = i64::MAX;

/// One lane's figures. Counts are since the attempt's start, but for `sent` and `retried`.
#[derive(Debug)]
pub struct LaneGauge {
    /// The output.
    pub output_id: String,
    /// The lane.
    pub lane: Lane,
    /// Rows of the view, all lanes together.
    pub view_rows: u64,
    /// Pushes begun by this process, repeats not counted.
    pub sent: AtomicU64,
    /// Events that IG has taken.
    pub taken: AtomicU64,
    /// Decisions of IG.
    pub admitted: AtomicU64,
    /// Decisions of IG.
    pub duplicate: AtomicU64,
    /// Decisions of IG.
    pub quarantined: AtomicU64,
    /// Attempts beyond the first, by this process.
    pub retried: AtomicU64,
    /// Seconds for which the gate has taken nothing at all; 0: it is there.
    pub gate_away: AtomicU64,
    /// Rows of the view that are behind the cursor: what a bar shows.
    pub rows_behind: AtomicU64,
    /// Pushes that were begun and not answered.
    pub in_flight: AtomicU64,
    /// Events that are encoded and wait for their turn, of the batch at hand.
    pub buffered: AtomicU64,
    /// How late events were sent.
    pub lateness: Lateness,
    /// Whether nothing is left to send or to wait for.
    pub finished: AtomicBool,
    next: AtomicI64,
    issued: AtomicI64,
    oldest: AtomicI64,
    reached: AtomicI64,
    known: AtomicU64,
    /// Ends this lane alone.
    pub stop: Stop,
    /// Why it was ended from outside, if it was a failure.
    verdict: Mutex<Option<Failure>>,
}

impl LaneGauge {
    /// A lane that has not begun.
    pub fn new(output_id: &str, lane: Lane, view_rows: u64) -> Self {
        LaneGauge {
            output_id: output_id.to_owned(),
            lane,
            view_rows,
            sent: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            duplicate: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            gate_away: AtomicU64::new(0),
            rows_behind: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            buffered: AtomicU64::new(0),
            lateness: Lateness::default(),
            finished: AtomicBool::new(false),
            next: AtomicI64::new(NONE),
            issued: AtomicI64::new(NONE),
            oldest: AtomicI64::new(NONE),
            reached: AtomicI64::new(NONE),
            known: AtomicU64::new(0),
            stop: Stop::new(),
            verdict: Mutex::new(None),
        }
    }

    /// The next event that will be sent; none: the last one was.
    pub fn set_next(&self, ts: Option<EventTime>) {
        self.next
            .store(ts.map_or(NONE, EventTime::micros), Ordering::Release);
    }

    /// An event of this event time is being sent.
    pub fn set_issued(&self, ts: EventTime) {
        self.issued.store(ts.micros(), Ordering::Release);
    }

    /// The event time of the event that was sent last; none: none was by this process.
    pub fn issued(&self) -> Option<EventTime> {
        EventTime::from_micros(self.issued.load(Ordering::Acquire))
    }

    /// The oldest event that is sent and not taken; none: none is in flight.
    pub fn set_oldest(&self, ts: Option<EventTime>) {
        self.oldest
            .store(ts.map_or(NONE, EventTime::micros), Ordering::Release);
    }

    /// The event time of the newest event of the unbroken run.
    pub fn set_reached(&self, ts: EventTime) {
        self.reached.store(ts.micros(), Ordering::Release);
    }

    /// The event time that was reached; none: no event was taken.
    pub fn reached(&self) -> Option<EventTime> {
        match self.reached.load(Ordering::Acquire) {
            NONE => None,
            micros => EventTime::from_micros(micros),
        }
    }

    /// The newest revision of the clock that this lane knows.
    pub fn set_known(&self, revision: u64) {
        self.known.store(revision, Ordering::Release);
    }

    /// The event time that lag is measured by: of the oldest event that IG has not taken.
    fn behind(&self) -> i64 {
        let oldest = self.oldest.load(Ordering::Acquire);
        oldest.min(self.next.load(Ordering::Acquire))
    }

    /// Whether the clock has nothing to wait for here: the lane has finished, or begins nothing
    /// more because it failed or was asked to stop, whatever is still in flight.
    fn is_out(&self) -> bool {
        self.finished.load(Ordering::Acquire) || self.stop.is_set()
    }

    /// What the clock wants to know; none when nothing is left.
    pub fn observe(&self) -> Option<Observation> {
        if self.is_out() {
            return None;
        }
        let last = EventTime::MAX;
        Some(Observation {
            next: EventTime::from_micros(self.next.load(Ordering::Acquire)).unwrap_or(last),
            oldest: EventTime::from_micros(self.behind()).unwrap_or(last),
            known: self.known.load(Ordering::Acquire),
        })
    }

    /// How far behind the clock the lane is, in wall time.
    pub fn lag(&self, anchor: &Anchor, now: Mono) -> Duration {
        match EventTime::from_micros(self.behind()) {
            Some(ts) if !self.is_out() => now.since(anchor.due(ts)),
            _ => Duration::ZERO,
        }
    }

    /// Ends the lane with a failure that came from outside.
    pub fn condemn(&self, failure: Failure) {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.get_or_insert(failure);
        drop(verdict);
        self.stop.set();
    }

    /// The failure that it was ended with.
    pub fn verdict(&self) -> Option<Failure> {
        self.verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How late events were sent, from the moment they were due: counts by upper bound.
#[derive(Debug, Default)]
pub struct Lateness {
    counts: [AtomicU64; Lateness::BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Lateness {
    /// Upper bounds, inclusive, in microseconds; what is later than the last is counted behind it.
    pub const BOUNDS: [u64; 12] = [
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000,
        30_000_000,
    ];

    /// An event was sent so late.
    pub fn record(&self, micros: u64) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < micros);
        // As many counts as bounds, and one.
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts of [`Lateness::BOUNDS`] and of what is beyond, and the sum in microseconds.
    pub fn snapshot(&self) -> (Vec<u64>, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (self.counts.iter().map(get).collect(), get(&self.micros))
    }
}

/// All lanes of a process.
#[derive(Debug)]
pub struct Board {
    /// In the order of the plan: context first, lanes in order.
    pub lanes: Vec<Arc<LaneGauge>>,
    /// What happens beyond `max_lag`.
    pub overload: Overload,
    /// How far a lane may be behind.
    pub max_lag: Duration,
    /// Wakes whoever keeps the clock: something happened that it should look at.
    pub look: Notify,
}

impl Board {
    /// Whether any lane is further behind than it may be. A lane that is itself late asks before
    /// it sends, so that a process that stood still as a whole does not run on by the old clock.
    pub fn overdue(&self, anchor: &Anchor, now: Mono) -> bool {
        self.overload != Overload::CatchUp
            && self
                .lanes
                .iter()
                .any(|lane| lane.lag(anchor, now) > self.max_lag)
    }

    /// What the clock wants to know, with the index of each lane.
    pub fn observe(&self) -> (Vec<usize>, Vec<Observation>) {
        self.lanes
            .iter()
            .enumerate()
            .filter_map(|(index, lane)| Some((index, lane.observe()?)))
            .unzip()
    }

    /// Asks every lane to stop.
    pub fn stop_all(&self) {
        for lane in &self.lanes {
            lane.stop.set();
        }
    }
}
