//! One open part: its row groups, and rows from any of them on, never more than a batch of them
//! decoded at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMask, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use worldstream_crds::Reason;

use super::ahead::Ahead;
use super::footer::{self, TS_UTC};
use super::guarded::guarded;
use super::object::Object;
use super::reader::{Columns, ReadLimits, Usage};
use super::source::{Blocking, PartSource};
use super::{PartPlan, columns, prune};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::world::WorldStore;

/// Bytes that a batch's rows should not exceed by far, whatever the rows' size.
const BATCH_BYTES: u64 = 1024 * 1024;

/// A part whose footer was read and is the one that the plan saw.
pub(super) struct OpenPart {
    source: PartSource,
    schema: ArrowReaderMetadata,
    limits: ReadLimits,
    projection: ProjectionMask,
    /// The time key's leaf column.
    leaf: Option<usize>,
    /// The next row group, and the row in it to begin with.
    next_group: usize,
    skip: u64,
    /// The next row group was sought: it is read whatever its statistics say.
    sought: bool,
    /// The row of the part that the next row group begins with.
    first_row: u64,
    reading: Option<Reading>,
}

/// A row group that is being read.
struct Reading {
    group: usize,
    rows: ParquetRecordBatchReader,
    /// The next row, in the part.
    at: u64,
    /// Behind the group's last row, in the part.
    end: u64,
}

impl OpenPart {
    /// Reads the footer, and nothing else.
    pub fn open(
        store: &WorldStore,
        plan: &PartPlan,
        columns: &Columns,
        limits: ReadLimits,
        blocking: &Arc<Blocking>,
        ahead: Option<Ahead>,
    ) -> Result<Self> {
        let object = Object {
            store: store.store().clone(),
            name: plan.name.clone(),
            location: plan.location.clone(),
            size: plan.size,
            etag: plan.etag.clone(),
        };
        let footers = store.footers();
        let fetched = blocking.wait(|| footers.fetch(&object))??;
        blocking.is_local(fetched.local);
        let footer = footer::decode(&object, fetched)?;
        if footer.digest != plan.footer {
            return Err(object.changed("another footer"));
        }
        let metadata = Arc::new(footer.metadata);
        let planned = match columns {
            Columns::As(schema) => columns::plan_as(metadata, schema.clone()),
            Columns::All | Columns::TimeKey => columns::plan(metadata),
        };
        let schema = planned.map_err(|error| {
            Failure::new(Reason::StreamFailed, &object.name)
                .field("schema")
                .cause(&error)
        })?;
        let leaf = columns::leaf(schema.metadata(), TS_UTC);
        let projection = match (columns, leaf) {
            (Columns::TimeKey, Some(leaf)) => {
                ProjectionMask::leaves(schema.parquet_schema(), [leaf])
            }
            _ => ProjectionMask::all(),
        };
        Ok(OpenPart {
            source: PartSource::new(object, blocking.clone(), limits.buffer_bytes, ahead),
            schema,
            limits,
            projection,
            leaf,
            next_group: 0,
            skip: 0,
            sought: false,
            first_row: 0,
            reading: None,
        })
    }

    /// Goes to `row` before anything is read; row groups before it are not looked at.
    pub fn seek(&mut self, row: u64) {
        let metadata = self.schema.metadata().clone();
        for group in metadata.row_groups() {
            let rows = group.num_rows().unsigned_abs();
            if row < self.first_row + rows {
                break;
            }
            self.first_row += rows;
            self.next_group += 1;
        }
        self.skip = row.saturating_sub(self.first_row);
        self.sought = true;
    }

    /// The next rows with the row of the part that they begin with; none behind the last.
    /// Row groups that certainly hold no row of `range` are passed over, but never the one that
    /// was sought.
    pub fn next(&mut self, range: &RangePlan) -> Result<Option<(u64, RecordBatch)>> {
        loop {
            let Some(reading) = &mut self.reading else {
                if !self.begin_group(range)? {
                    return Ok(None);
                }
                continue;
            };
            let next = guarded(|| reading.rows.next().transpose());
            let (group, at, end) = (reading.group, reading.at, reading.end);
            match next {
                Ok(Some(rows)) => {
                    reading.at += rows.num_rows() as u64;
                    if reading.at > end {
                        let found = format!("row {}", reading.at - 1);
                        return Err(self.corrupt(group, at, end).found(found));
                    }
                    return Ok(Some((at, rows)));
                }
                Ok(None) if at < end => {
                    return Err(self
                        .corrupt(group, at, end)
                        .found(format!("an end behind row {}", at.saturating_sub(1))));
                }
                Ok(None) => self.reading = None,
                Err(error) => return Err(self.failed(group, at, end, &error)),
            }
        }
    }

    /// The most bytes of the part that were held undecoded, and all that were fetched of it but
    /// for the footer.
    pub fn usage(&self) -> Usage {
        Usage {
            peak_buffered: self.source.peak(),
            fetched: self.source.fetched(),
        }
    }

    /// Begins the next row group that may hold rows of the range; false behind the last.
    fn begin_group(&mut self, range: &RangePlan) -> Result<bool> {
        let metadata = self.schema.metadata().clone();
        while let Some(group) = metadata.row_groups().get(self.next_group) {
            let index = self.next_group;
            let first = self.first_row;
            let rows = group.num_rows().unsigned_abs();
            let skip = std::mem::take(&mut self.skip);
            self.next_group += 1;
            self.first_row += rows;
            let wanted = std::mem::take(&mut self.sought) || self.wanted(group, range);
            if skip >= rows || !wanted {
                continue;
            }
            self.source.read_chunks(index, self.chunks(group));
            self.fetch_ahead(range);
            let (at, end) = (first + skip, first + rows);
            let built = guarded(|| self.build(&metadata, index, skip, rows));
            match built {
                Ok(reader) => {
                    self.reading = Some(Reading {
                        group: index,
                        rows: reader,
                        at,
                        end,
                    });
                    return Ok(true);
                }
                Err(error) => return Err(self.failed(index, at, end, &error)),
            }
        }
        Ok(false)
    }

    /// Begins to fetch the row groups that come next, of a remote part, as far as the budget goes;
    /// true if there are none left to begin with.
    pub fn fetch_ahead(&self, range: &RangePlan) -> bool {
        let groups = self.schema.metadata().row_groups();
        let next = groups.iter().enumerate().skip(self.next_group);
        next.filter(|(_, group)| self.wanted(group, range))
            .all(|(index, group)| self.source.fetch_ahead(index, self.chunks(group)))
    }

    /// Whether a row group may hold rows of the range.
    fn wanted(&self, group: &RowGroupMetaData, range: &RangePlan) -> bool {
        self.leaf
            .is_none_or(|leaf| prune::may_hold(group, leaf, range))
    }

    /// Where the columns that are read lie.
    fn chunks(&self, group: &RowGroupMetaData) -> Vec<Range<u64>> {
        let columns = group.columns().iter().enumerate();
        columns
            .filter(|(leaf, _)| self.projection.leaf_included(*leaf))
            .map(|(_, column)| {
                let (start, length) = column.byte_range();
                start..start + length
            })
            .collect()
    }

    fn build(
        &self,
        metadata: &Arc<ParquetMetaData>,
        index: usize,
        skip: u64,
        rows: u64,
    ) -> std::result::Result<ParquetRecordBatchReader, ParquetError> {
        let schema = if skip > 0 {
            self.with_offsets(metadata, index)
        } else {
            self.schema.clone()
        };
        let bytes: u64 = metadata
            .row_group(index)
            .columns()
            .iter()
            .map(|column| column.uncompressed_size().unsigned_abs())
            .sum();
        let fitting = (BATCH_BYTES / (bytes / rows.max(1)).max(1)).max(1);
        let batch_rows = self.limits.batch_rows.max(1).min(fitting as usize);
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), schema)
                .with_row_groups(vec![index])
                .with_projection(self.projection.clone())
                .with_batch_size(batch_rows);
        if skip > 0 {
            builder = builder
                .with_row_selection(RowSelection::from(vec![
                    RowSelector::skip(skip as usize),
                    RowSelector::select((rows - skip) as usize),
                ]))
                // A mask would have a bit for each row.
                .with_row_selection_policy(RowSelectionPolicy::Selectors);
        }
        builder.build()
    }

    /// The schema with the offset index of one row group, if the part has one: pages before the
    /// place are then skipped without reading their headers. It is only an index: one that cannot
    /// be read is done without.
    fn with_offsets(&self, metadata: &Arc<ParquetMetaData>, group: usize) -> ArrowReaderMetadata {
        let indexed = metadata.row_groups().get(group).is_some_and(|group| {
            group
                .columns()
                .iter()
                .all(|column| column.offset_index_offset().is_some())
        });
        if !indexed {
            return self.schema.clone();
        }
        let loaded = guarded(|| {
            let mut reader = ParquetMetaDataReader::new_with_metadata(metadata.as_ref().clone())
                .with_column_index_policy(PageIndexPolicy::Skip)
                .with_offset_index_policy(PageIndexPolicy::Optional)
                .with_offset_index_mask(ColumnChunkMask::row_groups([group]));
            reader.read_page_indexes(&self.source)?;
            let options = ArrowReaderOptions::new().with_schema(self.schema.schema().clone());
            ArrowReaderMetadata::try_new(Arc::new(reader.finish()?), options)
        });
        loaded.unwrap_or_else(|_| self.schema.clone())
    }

    /// Why reading failed: the store's or the plan's reason if there is one, else the part is
    /// corrupt.
    fn failed(&self, group: usize, at: u64, end: u64, error: &ParquetError) -> Failure {
        self.source.take_failure().unwrap_or_else(|| {
            // Parquet's errors wrap each other; what is wrong is the innermost.
            let text = error.to_string();
            let cause = text.rsplit("Parquet error: ").next().unwrap_or(&text);
            self.corrupt(group, at, end)
                .found("pages that cannot be decoded")
                .detail(cause)
        })
    }

    fn corrupt(&self, group: usize, at: u64, end: u64) -> Failure {
        Failure::new(Reason::StreamFailed, &self.source.object().name)
            .field(format!(
                "row group {group}, rows {at} to {}",
                end.saturating_sub(1)
            ))
            .expected("rows that can be decoded: the part is corrupt")
    }
}
