//! What a view holds for `plan`, by its time key alone: how many rows, from when to when, how
//! dense, and how far out of order.

use worldstream_crds::Reason;

use super::reader::{Columns, times};
use super::{ReadLimits, RowBatch, RowPlace, RowReader, ViewPlan};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::world::WorldStore;

/// Rows of a batch: one column is small.
const BATCH_ROWS: usize = 8192;

/// The rows of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewScan {
    /// Rows in the range.
    pub rows: u64,
    /// The earliest event time among them.
    pub first: Option<EventTime>,
    /// The latest event time among them.
    pub last: Option<EventTime>,
    /// The most events that are due within any one second of wall time; none at speedup 0. Rows
    /// out of order are due at once.
    pub peak_per_second: Option<u64>,
    /// Rows before which a later event time was seen.
    pub steps_back: u64,
    /// The one that is furthest back.
    pub largest_step_back: Option<StepBack>,
}

/// A row out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepBack {
    /// Where the row is.
    pub place: RowPlace,
    /// Its event time.
    pub ts: EventTime,
    /// How far it lies behind the latest event time before it, in microseconds.
    pub micros: u64,
}

/// Reads only `ts_utc` of the rows that may lie in the range. `progress` is told, now and then, how
/// many rows of the view were passed, of those in the plan. Memory does not grow with the view,
/// whatever the speedup: the window of a second has a reader at either end.
///
/// Fails as [`RowReader`] does, and with `STREAM_FAILED` naming file and row for a null or
/// unreadable time. Blocks; must not be called in a task of a runtime.
pub fn scan(
    store: &WorldStore,
    plan: &ViewPlan,
    range: RangePlan,
    speedup: f64,
    mut progress: impl FnMut(u64),
) -> Result<ViewScan> {
    let mut found = ViewScan::default();
    let mut front = Dues::new(store, plan, range);
    // Event time that a second of wall time covers.
    let window = speedup * 1e6;
    let mut back = (speedup > 0.0).then(|| Dues::new(store, plan, range));
    let mut oldest = match &mut back {
        Some(back) => back.next()?,
        None => None,
    };
    let (mut passed, mut inside) = (0u64, 0u64);
    let mut parts_before = 0u64;
    let mut part = 0usize;
    while let Some(row) = front.next()? {
        if front.batches != passed {
            passed = front.batches;
            while part < row.place.part {
                parts_before += plan.parts.get(part).map_or(0, |part| part.rows);
                part += 1;
            }
            progress(parts_before + row.place.row);
        }
        found.rows += 1;
        found.first = Some(found.first.map_or(row.ts, |first| first.min(row.ts)));
        found.last = Some(row.due);
        if row.ts < row.due {
            found.steps_back += 1;
            let micros = row.due.micros().abs_diff(row.ts.micros());
            if found
                .largest_step_back
                .is_none_or(|step| step.micros < micros)
            {
                found.largest_step_back = Some(StepBack {
                    place: row.place,
                    ts: row.ts,
                    micros,
                });
            }
        }
        if let Some(back) = &mut back {
            inside += 1;
            while let Some(old) = &oldest {
                // Within the years 1 to 9999 a distance is exact in 64 bits.
                if ((row.due.micros() - old.due.micros()) as f64) < window {
                    break;
                }
                inside -= 1;
                oldest = back.next()?;
            }
            found.peak_per_second = found.peak_per_second.max(Some(inside));
        }
    }
    progress(plan.rows);
    Ok(found)
}

/// A row of the range.
struct DueRow {
    place: RowPlace,
    ts: EventTime,
    /// When it is due: its event time, or the latest one before it.
    due: EventTime,
}

/// The rows of the range in view order, when each is due.
struct Dues {
    reader: RowReader,
    files: Vec<String>,
    range: RangePlan,
    batch: Option<RowBatch>,
    times: Vec<i64>,
    at: usize,
    latest: Option<EventTime>,
    batches: u64,
}

impl Dues {
    fn new(store: &WorldStore, plan: &ViewPlan, range: RangePlan) -> Self {
        let limits = ReadLimits {
            batch_rows: BATCH_ROWS,
            // There may be a second one.
            ..ReadLimits::shared(store, 2)
        };
        Dues {
            reader: RowReader::with_columns(store, plan, range, limits, Columns::TimeKey),
            files: plan.parts.iter().map(|part| part.name.clone()).collect(),
            range,
            batch: None,
            times: Vec::new(),
            at: 0,
            latest: None,
            batches: 0,
        }
    }

    fn next(&mut self) -> Result<Option<DueRow>> {
        loop {
            let Some((batch, micros)) = self.batch.as_ref().zip(self.times.get(self.at)) else {
                let Some(batch) = self.reader.next()? else {
                    return Ok(None);
                };
                self.times = times(&batch.rows, self.file(&batch), batch.first.row)?;
                self.at = 0;
                self.batches += 1;
                self.batch = Some(batch);
                continue;
            };
            let place = RowPlace {
                row: batch.first.row + self.at as u64,
                ..batch.first
            };
            let ts = EventTime::from_micros(*micros).ok_or_else(|| {
                Failure::new(Reason::StreamFailed, self.file(batch))
                    .field(format!("row {}, column ts_utc", place.row))
                    .found(format!("{micros} microseconds since 1970"))
                    .expected("a time in the years 1 to 9999")
            })?;
            self.at += 1;
            if self.range.holds(ts) {
                let due = self.latest.map_or(ts, |latest| latest.max(ts));
                self.latest = Some(due);
                return Ok(Some(DueRow { place, ts, due }));
            }
        }
    }

    fn file(&self, batch: &RowBatch) -> &str {
        self.files.get(batch.first.part).map_or("", String::as_str)
    }
}
