//! Rows of a view in order, from its beginning or from behind a cursor (contracts sections 3 and
//! 7). Blocks: a reader runs on a decode thread of its own, never as a task.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use worldstream_crds::Reason;

use super::ahead::Ahead;
use super::footer::TS_UTC;
use super::part::OpenPart;
use super::source::Blocking;
use super::{PartPlan, RowBatch, RowPlace, ViewPlan};
use crate::envelope::{EVENT_TIME, event_times};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::world::WorldStore;

/// Where a stream goes on: behind this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeAt {
    /// The row at the cursor, which was sent already.
    pub place: RowPlace,
    /// The event time that it must carry; none: the cursor does not say.
    pub ts: Option<EventTime>,
}

/// What bounds a reader's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Rows of a batch at most; fewer where rows are large.
    pub batch_rows: usize,
    /// Bytes of the part that are read ahead, over all columns, where it is this machine's.
    pub buffer_bytes: usize,
    /// Bytes of the view that are fetched ahead where it is in a remote store.
    pub ahead_bytes: u64,
}

impl ReadLimits {
    /// For one of so many readers that share what the world's store may read ahead.
    pub fn shared(store: &WorldStore, readers: u32) -> Self {
        ReadLimits {
            ahead_bytes: store.read_ahead() / u64::from(readers.max(1)),
            ..ReadLimits::default()
        }
    }
}

impl Default for ReadLimits {
    /// 1,024 rows, 1 MiB of files of this machine, 32 MiB of remote ones.
    fn default() -> Self {
        ReadLimits {
            batch_rows: 1024,
            buffer_bytes: 1024 * 1024,
            ahead_bytes: 32 * 1024 * 1024,
        }
    }
}

/// What reading has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most bytes of a part that were held undecoded at any time: pages and read-ahead.
    pub peak_buffered: usize,
    /// Bytes of pages and indexes that were fetched, footers aside.
    pub fetched: u64,
}

impl Usage {
    fn and(self, other: Usage) -> Usage {
        Usage {
            peak_buffered: self.peak_buffered.max(other.peak_buffered),
            fetched: self.fetched + other.fetched,
        }
    }
}

/// Which columns are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Columns {
    All,
    /// Only `ts_utc`.
    TimeKey,
    /// All, as these types, whatever a part's own schema would make of them.
    As(SchemaRef),
}

/// The place of a cursor's row (contracts section 7) in the view as it is now.
///
/// `STREAM_VIEW_CHANGED` if the view has no such file, or the file no such row.
pub fn place_of(plan: &ViewPlan, last_file: &str, last_row_index: u64) -> Result<RowPlace> {
    let Some(part) = plan.parts.iter().position(|part| part.name == last_file) else {
        return Err(Failure::new(Reason::StreamViewChanged, &plan.folder)
            .field("cursor")
            .found(format!("last_file {last_file}"))
            .expected(format!("one of the view's {} parts", plan.parts.len())));
    };
    let rows = plan.parts.get(part).map_or(0, |part| part.rows);
    if last_row_index >= rows {
        return Err(Failure::new(Reason::StreamViewChanged, last_file)
            .field("cursor")
            .found(format!("last_row_index {last_row_index}"))
            .expected(format!("below {rows}, the part's rows")));
    }
    Ok(RowPlace {
        part,
        row: last_row_index,
    })
}

/// Reads a view's rows in order.
pub struct RowReader {
    store: WorldStore,
    plan: ViewPlan,
    range: RangePlan,
    limits: ReadLimits,
    columns: Columns,
    blocking: Arc<Blocking>,
    /// Where a remote view is fetched ahead.
    ahead: Option<Ahead>,
    /// Index of the part that is open, or that is opened next.
    part: usize,
    open: Option<OpenPart>,
    /// The part behind it, opened ahead, with its index.
    upcoming: Option<(usize, OpenPart)>,
    /// Rows behind the cursor that were read with the cursor's own.
    ready: Option<RowBatch>,
    /// The last row was read, or reading failed.
    ended: bool,
    /// Of the parts that were closed.
    usage: Usage,
}

impl RowReader {
    /// A reader of the view from its first row, or from behind a cursor.
    ///
    /// Row groups that certainly hold no row of `range` are passed over; rows outside of it still
    /// come, and are the caller's to filter. With `start`, the row at the cursor is read here, and
    /// only its part's footer and its own pages: `STREAM_VIEW_CHANGED` if it does not carry the
    /// cursor's event time. Blocks; must not be called in a task of a runtime.
    pub fn open(
        store: &WorldStore,
        plan: &ViewPlan,
        start: Option<ResumeAt>,
        range: RangePlan,
        limits: ReadLimits,
    ) -> Result<RowReader> {
        let mut reader = Self::with_columns(store, plan, range, limits, Columns::All);
        if let Some(start) = start {
            reader.resume(start)?;
        }
        Ok(reader)
    }

    pub(super) fn with_columns(
        store: &WorldStore,
        plan: &ViewPlan,
        range: RangePlan,
        limits: ReadLimits,
        columns: Columns,
    ) -> RowReader {
        let io = store.store().io().cloned();
        RowReader {
            ahead: io.map(|io| Ahead::new(io, limits.ahead_bytes)),
            upcoming: None,
            store: store.clone(),
            plan: plan.clone(),
            range,
            limits,
            columns,
            blocking: Arc::default(),
            part: 0,
            open: None,
            ready: None,
            ended: false,
            usage: Usage::default(),
        }
    }

    /// The next rows, consecutive rows of one part; none behind the view's last row.
    ///
    /// `STREAM_VIEW_CHANGED` if a part is not the one that the plan saw; `STREAM_FAILED` naming
    /// file, row group and rows if it cannot be decoded. After an error there are no more rows.
    /// Blocks, as [`RowReader::open`] does.
    #[expect(
        clippy::should_implement_trait,
        reason = "a result of an option reads better here"
    )]
    pub fn next(&mut self) -> Result<Option<RowBatch>> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        if self.ended {
            return Ok(None);
        }
        let next = self.next_rows();
        self.ended = !matches!(next, Ok(Some(_)));
        if self.ended {
            self.usage = self.usage();
            self.open = None;
            self.upcoming = None;
        }
        next
    }

    /// What reading has cost so far.
    pub fn usage(&self) -> Usage {
        self.open
            .as_ref()
            .map_or(self.usage, |open| self.usage.and(open.usage()))
    }

    fn next_rows(&mut self) -> Result<Option<RowBatch>> {
        while let Some(part) = self.plan.parts.get(self.part) {
            if self.open.is_none() && part.rows > 0 {
                let upcoming = self.upcoming.take_if(|(index, _)| *index == self.part);
                self.open = Some(match upcoming {
                    Some((_, open)) => open,
                    None => self.open_part(part)?,
                });
            }
            if let Some(open) = &mut self.open {
                if let Some((row, rows)) = open.next(&self.range)? {
                    let part = self.part;
                    self.open_ahead();
                    return Ok(Some(RowBatch {
                        first: RowPlace { part, row },
                        rows,
                    }));
                }
                self.usage = self.usage.and(open.usage());
            }
            self.open = None;
            self.part += 1;
        }
        Ok(None)
    }

    fn open_part(&self, part: &PartPlan) -> Result<OpenPart> {
        OpenPart::open(
            &self.store,
            part,
            &self.columns,
            self.limits,
            &self.blocking,
            self.ahead.clone(),
        )
    }

    /// Opens the next part of a remote view once all of the open one is fetched or on its way, and
    /// begins to fetch it.
    fn open_ahead(&mut self) {
        let Some(open) = self.open.as_ref().filter(|_| self.ahead.is_some()) else {
            return;
        };
        if !open.fetch_ahead(&self.range) {
            return;
        }
        if self.upcoming.is_none() {
            let behind = self.plan.parts.iter().enumerate().skip(self.part + 1);
            let next = behind.into_iter().find(|(_, part)| part.rows > 0);
            // What is wrong with it is said when its turn comes.
            self.upcoming = next.and_then(|(index, part)| {
                let open = self.open_part(part).ok()?;
                Some((index, open))
            });
        }
        if let Some((_, upcoming)) = &self.upcoming {
            upcoming.fetch_ahead(&self.range);
        }
    }

    /// Goes behind the cursor's row, once that was seen to carry the cursor's event time.
    pub(super) fn resume(&mut self, start: ResumeAt) -> Result<()> {
        let place = start.place;
        let Some(part) = self.plan.parts.get(place.part) else {
            return Err(Failure::new(Reason::StreamViewChanged, &self.plan.folder)
                .field("cursor")
                .found(format!("part {}", place.part))
                .expected(format!("one of {}", self.plan.parts.len())));
        };
        self.part = place.part;
        let mut open = self.open_part(part)?;
        open.seek(place.row);
        let Some((_, rows)) = open.next(&self.range)?.filter(|(row, _)| *row == place.row) else {
            return Err(Failure::new(Reason::StreamViewChanged, &part.name)
                .field("cursor")
                .found(format!("row {}", place.row))
                .expected(format!("below {}, the part's rows", part.rows)));
        };
        if let Some(expected) = start.ts {
            let found = times(&rows.slice(0, 1), &part.name, place.row)?;
            if found.first() != Some(&expected.micros()) {
                return Err(Failure::new(Reason::StreamViewChanged, &part.name)
                    .field(format!("row {}, column {TS_UTC}", place.row))
                    .found(shown(found.first().copied()))
                    .expected(format!("{expected}, as the cursor says")));
            }
        }
        self.open = Some(open);
        // The cursor's own row was sent already.
        if rows.num_rows() > 1 {
            self.ready = Some(RowBatch {
                first: RowPlace {
                    row: place.row + 1,
                    ..place
                },
                rows: rows.slice(1, rows.num_rows() - 1),
            });
        }
        Ok(())
    }
}

/// The event times of rows, in microseconds; `STREAM_FAILED` naming file and row where one is null
/// or unreadable. `first` is the first row's place in the file.
pub(super) fn times(rows: &RecordBatch, file: &str, first: u64) -> Result<Vec<i64>> {
    let Some(column) = rows.column_by_name(TS_UTC) else {
        return Err(Failure::new(Reason::StreamFailed, file)
            .field(format!("column {TS_UTC}"))
            .expected("the time key of every row"));
    };
    let mut times = Vec::with_capacity(rows.num_rows());
    event_times(column, &mut times).map_err(|bad| {
        Failure::new(Reason::StreamFailed, file)
            .field(format!("row {}, column {TS_UTC}", first + bad.row as u64))
            .found(bad.found)
            .expected(EVENT_TIME)
    })?;
    Ok(times)
}

fn shown(micros: Option<i64>) -> String {
    micros
        .and_then(EventTime::from_micros)
        .map_or("no time".to_owned(), |time| time.to_string())
}
