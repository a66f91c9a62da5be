//! One output's files: the view in the order of time with its manifest and receipt (contracts
//! section 3), and the raw parts that it is the sorted form of.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use super::flows::{Events, Flows, Row, mix};
use super::table::Table;
use super::world::{World, unwritten, write_json};
use super::{OutputReport, Parts, Progress, SampleSpec};
use crate::failure::Result;
use crate::time::EventTime;
use crate::world::identity::{PARTITION_GRANULARITY, SORT_KEYS, sha256_hex};

/// Rows that are held at a time, for the view and for each raw part.
const BATCH: usize = 8_192;
/// Raw parts of an output.
const RAW_PARTS: u64 = 3;
/// Disorder stays within blocks of so many rows of the view.
const DISORDER_BLOCK: usize = 32;
/// So many rows of a disordered block come in reverse.
const DISORDER_RUN: usize = 8;

/// Writes view and raw parts of one output.
pub(super) fn write_table(
    spec: &SampleSpec,
    world: &World,
    table: Table,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<OutputReport> {
    let of = if table.is_events() {
        spec.rows
    } else {
        spec.flows()
    };
    let flows = Flows::new(spec.seed, world.start.micros(), spec.days, spec.flows());
    let mut rows: Box<dyn Iterator<Item = Row>> = if table.is_events() {
        Box::new(Events::new(flows, spec.rows))
    } else {
        Box::new(flows.map(|flow| Row {
            ts: flow.ts,
            event_seq: 0,
            flow,
        }))
    };
    let files = Files::new(spec, world, table);
    let mut view = View::create(&files, world.view_folder(table), of)?;
    let mut raw = match spec.raw {
        true => Some(Raw::create(&files, world.raw_folder(table))?),
        false => None,
    };
    let mut stats = Stats::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(BATCH));
        if batch.is_empty() {
            break;
        }
        for row in &batch {
            stats.add(row);
            if let Some(raw) = &mut raw {
                raw.deal(&files, row)?;
            }
        }
        if spec.disorder {
            disorder(&mut batch);
        }
        view.write(&files, &batch)?;
        progress(Progress {
            table,
            added: batch.len() as u64,
            rows: stats.rows,
            of,
        });
    }
    if let Some(raw) = raw {
        raw.finish(&files)?;
    }
    let (parts, bytes) = view.finish(&files)?;
    let stream_view_id = world.view_id(table);
    write_notes(spec, world, table, &stream_view_id, &stats)?;
    Ok(OutputReport {
        output_id: table.id().to_owned(),
        rows: stats.rows,
        parts,
        bytes,
        stream_view_id,
        first: stats
            .range
            .and_then(|(first, _)| EventTime::from_micros(first)),
        last: stats
            .range
            .and_then(|(_, last)| EventTime::from_micros(last)),
    })
}

/// Reverses a short run of rows in about every fourth block, and always in the first.
fn disorder(batch: &mut [Row]) {
    for (number, block) in batch.chunks_mut(DISORDER_BLOCK).enumerate() {
        let draw = mix(block[0].flow.flow_id);
        if number == 0 || draw.is_multiple_of(4) {
            let run = DISORDER_RUN.min(block.len());
            let from = (draw >> 32) as usize % (block.len() - run + 1);
            block[from..from + run].reverse();
        }
    }
}

/// Counts and sums for the receipt; none depends on the order of rows.
#[derive(Default)]
struct Stats {
    rows: u64,
    hash_sum: u128,
    hash_sum2: u128,
    /// Earliest and latest event time, microseconds.
    range: Option<(i64, i64)>,
}

impl Stats {
    fn add(&mut self, row: &Row) {
        let (one, two) = row.hashes();
        self.rows += 1;
        self.hash_sum += u128::from(one);
        self.hash_sum2 += u128::from(two);
        let (first, last) = self.range.unwrap_or((row.ts, row.ts));
        self.range = Some((first.min(row.ts), last.max(row.ts)));
    }

    fn json(&self) -> Value {
        let time = |micros| EventTime::from_micros(micros).map(|time| time.to_string());
        json!({
            "row_count": self.rows,
            "hash_sum": self.hash_sum.to_string(),
            "hash_sum2": self.hash_sum2.to_string(),
            "min_ts_utc": self.range.and_then(|(first, _)| time(first)),
            "max_ts_utc": self.range.and_then(|(_, last)| time(last)),
        })
    }
}

/// Writes the view's manifest, and last its receipt, without which the view does not count.
fn write_notes(
    spec: &SampleSpec,
    world: &World,
    table: Table,
    stream_view_id: &str,
    stats: &Stats,
) -> Result<()> {
    let folder = world.view_folder(table);
    let raw_folder = world.raw_folder(table);
    let raw_names: Vec<_> = (0..RAW_PARTS)
        .map(|part| world.name(&format!("{raw_folder}/{}", part_name(part))))
        .collect();
    let manifest = json!({
        "stream_view_id": stream_view_id,
        "engine_run_root": world.root,
        "stream_view_root": world.name(&folder),
        "engine_run_id": world.run_id,
        "scenario_id": world.key.scenario_id,
        "output_id": table,
        "output_ids": [table],
        "world_key": world.key_json(),
        "sort_keys": SORT_KEYS,
        "partition_granularity": PARTITION_GRANULARITY,
        "created_utc": world.created(),
    });
    write_json(
        spec,
        &format!("{folder}/_stream_view_manifest.json"),
        &manifest,
    )?;
    let receipt = json!({
        "stream_view_id": stream_view_id,
        "engine_run_root": world.root,
        "stream_view_root": world.name(&folder),
        "output_id": table,
        "output_ids": [table],
        "sort_keys": SORT_KEYS,
        "partition_granularity": PARTITION_GRANULARITY,
        // Six digits a name: in the order of numbers they are sorted as text.
        "source_locator_digest": sha256_hex(raw_names.join("\n")),
        "raw_stats": stats.json(),
        "sorted_stats": stats.json(),
        "created_utc": world.created(),
        "status": "OK",
    });
    write_json(
        spec,
        &format!("{folder}/_stream_sort_receipt.json"),
        &receipt,
    )
}

fn part_name(number: u64) -> String {
    format!("part-{number:06}.parquet")
}

/// What the Parquet files of one output have in common.
struct Files<'a> {
    spec: &'a SampleSpec,
    world: &'a World,
    table: Table,
    schema: SchemaRef,
    properties: WriterProperties,
}

impl<'a> Files<'a> {
    fn new(spec: &'a SampleSpec, world: &'a World, table: Table) -> Self {
        let mut properties = WriterProperties::builder()
            .set_created_by("worldstream sample".to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(spec.row_group_rows))
            .set_max_row_group_bytes(None)
            // Page statistics are what makes a column index.
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_dictionary_enabled(false);
        for column in table.dictionary_columns() {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), true);
        }
        Files {
            spec,
            world,
            table,
            schema: table.schema(world),
            properties: properties.build(),
        }
    }

    fn create(&self, folder: &str, number: u64) -> Result<Part> {
        let folder = self.spec.out.join(folder);
        let path = folder.join(part_name(number));
        let file = fs::create_dir_all(folder)
            .and_then(|()| File::create(&path))
            .map_err(|error| unwritten(&path, &error))?;
        let options = ArrowWriterOptions::new()
            .with_properties(self.properties.clone())
            // What is in the file is said by its Parquet types alone.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, self.schema.clone(), options)
            .map_err(|error| unwritten(&path, &error))?;
        Ok(Part { path, writer })
    }
}

/// A Parquet file that is being written.
struct Part {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Part {
    fn write(&mut self, files: &Files, rows: &[Row]) -> Result<()> {
        let batch = files
            .table
            .batch(&files.schema, files.world, rows)
            .map_err(|error| unwritten(&self.path, &error))?;
        let written = self.writer.write(&batch);
        written.map_err(|error| unwritten(&self.path, &error))
    }

    /// Closes the file; its bytes.
    fn finish(self) -> Result<u64> {
        let Part { path, writer } = self;
        writer.close().map_err(|error| unwritten(&path, &error))?;
        size(&path)
    }
}

fn size(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).map_err(|error| unwritten(path, &error))?;
    Ok(found.len())
}

/// The view, cut into parts.
struct View {
    folder: String,
    /// Rows of the view.
    of: u64,
    /// Rows written.
    rows: u64,
    /// Number of the part that is open.
    number: u64,
    part: Part,
    bytes: u64,
}

impl View {
    fn create(files: &Files, folder: String, of: u64) -> Result<Self> {
        Ok(View {
            part: files.create(&folder, 0)?,
            folder,
            of,
            rows: 0,
            number: 0,
            bytes: 0,
        })
    }

    /// How many parts there are.
    fn parts(&self, files: &Files) -> u64 {
        match files.spec.parts {
            Parts::Number(parts) => parts,
            Parts::Rows(rows) => self.of.div_ceil(rows).max(1),
        }
    }

    /// The row of the view that the open part ends before.
    fn end(&self, files: &Files) -> u64 {
        let part = u128::from(self.number) + 1;
        let end = match files.spec.parts {
            Parts::Number(parts) => u128::from(self.of) * part / u128::from(parts),
            Parts::Rows(rows) => u128::from(rows) * part,
        };
        // No view has more rows than MAX_ROWS.
        end.min(u128::from(self.of)) as u64
    }

    fn write(&mut self, files: &Files, mut rows: &[Row]) -> Result<()> {
        while !rows.is_empty() {
            let room = self.end(files) - self.rows;
            if room == 0 {
                self.advance(files)?;
                continue;
            }
            let (now, later) =
                rows.split_at(rows.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.part.write(files, now)?;
            self.rows += now.len() as u64;
            rows = later;
        }
        Ok(())
    }

    /// Closes the open part and opens the next.
    fn advance(&mut self, files: &Files) -> Result<()> {
        self.number += 1;
        let next = files.create(&self.folder, self.number)?;
        self.bytes += std::mem::replace(&mut self.part, next).finish()?;
        Ok(())
    }

    /// Closes the view: number of parts and their bytes.
    fn finish(mut self, files: &Files) -> Result<(u64, u64)> {
        let parts = self.parts(files);
        while self.number + 1 < parts {
            self.advance(files)?;
        }
        Ok((parts, self.bytes + self.part.finish()?))
    }
}

/// Raw parts: the same rows, not in order, such that a stable sort by event time of the parts
/// read one after the other is the view. Rows of one event time therefore go into one part, in
/// the order of the view.
struct Raw {
    parts: Vec<(Part, Vec<Row>)>,
}

impl Raw {
    fn create(files: &Files, folder: String) -> Result<Self> {
        let parts = (0..RAW_PARTS)
            .map(|number| Ok((files.create(&folder, number)?, Vec::with_capacity(BATCH))))
            .collect::<Result<_>>()?;
        Ok(Raw { parts })
    }

    fn deal(&mut self, files: &Files, row: &Row) -> Result<()> {
        let part = (mix(row.ts as u64) % RAW_PARTS) as usize;
        let (part, rows) = &mut self.parts[part];
        rows.push(*row);
        if rows.len() == BATCH {
            shuffle(rows);
            part.write(files, rows)?;
            rows.clear();
        }
        Ok(())
    }

    fn finish(self, files: &Files) -> Result<()> {
        for (mut part, mut rows) in self.parts {
            shuffle(&mut rows);
            if !rows.is_empty() {
                part.write(files, &rows)?;
            }
            part.finish()?;
        }
        Ok(())
    }
}

/// Puts rows in disorder; those of one event time keep theirs.
fn shuffle(rows: &mut [Row]) {
    rows.sort_by_key(|row| (mix(!row.ts as u64), row.ts));
}
