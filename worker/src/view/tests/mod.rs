//! Views made for tests, and what is read of them.

mod broken;
mod golden;
mod layouts;
mod resume;
mod scanning;
mod streaming;

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::interim::stream_view_id;
use super::*;
use crate::Failure;
use crate::envelope::event_times;
use crate::failure::Result;
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::world::WorldStore;

pub const ROOT: &str = "s3://somewhere/worlds/w-1";
pub const SCENARIO: &str = "calm_v2";
pub const OUTPUT: &str = "arrival_events_5B";
pub const ALL: RangePlan = RangePlan {
    start_from: None,
    until: None,
    max_events_per_output: None,
};

/// 2026-01-01T00:00:00Z.
pub const T0: i64 = 1_767_225_600_000_000;

/// A world of one view in a folder of its own.
pub struct World {
    pub dir: TempDir,
}

impl World {
    /// A view with manifest and receipt, and no part yet.
    pub fn new() -> World {
        let world = World {
            dir: TempDir::new().unwrap(),
        };
        std::fs::create_dir_all(world.folder()).unwrap();
        let id = stream_view_id(ROOT, SCENARIO, OUTPUT);
        world.write(
            "_stream_view_manifest.json",
            format!(r#"{{"stream_view_id":"{id}","output_id":"{OUTPUT}"}}"#).as_bytes(),
        );
        world.write(
            "_stream_sort_receipt.json",
            format!(r#"{{"stream_view_id":"{id}","output_id":"{OUTPUT}","status":"OK"}}"#)
                .as_bytes(),
        );
        world
    }

    /// A view of one part.
    pub fn of(rows: &RecordBatch, properties: WriterProperties) -> World {
        let world = World::new();
        world.part("part-000000.parquet", rows, properties);
        world
    }

    pub fn folder(&self) -> PathBuf {
        self.dir
            .path()
            .join(format!("stream_view/ts_utc/output_id={OUTPUT}"))
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    pub fn write(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.path(file), bytes).unwrap();
    }

    pub fn part(&self, file: &str, rows: &RecordBatch, properties: WriterProperties) {
        self.write(file, &parquet(rows, properties));
    }

    pub fn store(&self) -> WorldStore {
        local(self.dir.path(), ROOT)
    }

    pub fn plan(&self) -> Result<ViewPlan> {
        plan(&self.store(), SCENARIO, OUTPUT)
    }

    pub fn reader(&self, start: Option<ResumeAt>) -> Result<RowReader> {
        RowReader::open(
            &self.store(),
            &self.plan()?,
            start,
            ALL,
            ReadLimits::default(),
        )
    }
}

pub fn local(dir: &std::path::Path, root: &str) -> WorldStore {
    let base = Path::from_absolute_path(dir).unwrap();
    WorldStore::new(Arc::new(LocalFileSystem::new()), base, root)
}

/// Plans on a runtime, as the engine does; reading happens outside of it.
pub fn plan(store: &WorldStore, scenario: &str, output: &str) -> Result<ViewPlan> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(plan_view(store, scenario, output))
}

pub fn parquet(rows: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// Rows a second apart from [`T0`] on: a merchant that repeats, a note that does not.
pub fn rows(range: std::ops::Range<u64>) -> RecordBatch {
    let times = range.clone().map(|row| T0 + row as i64 * 1_000_000);
    batch(vec![
        (
            "ts_utc",
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")),
        ),
        (
            "id",
            Arc::new(UInt64Array::from_iter_values(
                range.clone().map(|row| u64::MAX - row),
            )),
        ),
        (
            "merchant",
            Arc::new(StringArray::from_iter_values(
                range.clone().map(|row| format!("merchant {}", row % 7)),
            )),
        ),
        (
            "note",
            Arc::new(StringArray::from_iter_values(
                range.map(|row| format!("note {row:032}")),
            )),
        ),
    ])
}

/// Everything that a reader still gives, with the place of every row checked: no row is left out
/// unless a row group was passed over.
pub fn drain(reader: &mut RowReader) -> Result<Vec<RowBatch>> {
    let mut batches: Vec<RowBatch> = Vec::new();
    while let Some(next) = reader.next()? {
        assert!(next.rows.num_rows() > 0);
        if let Some(last) = batches.last() {
            let after = RowPlace {
                row: last.first.row + last.rows.num_rows() as u64,
                ..last.first
            };
            assert!(next.first >= after, "{:?} after {after:?}", next.first);
        }
        batches.push(next);
    }
    assert!(reader.next()?.is_none());
    Ok(batches)
}

/// Place and event time of each row.
pub fn placed(batches: &[RowBatch]) -> Vec<(RowPlace, i64)> {
    let mut all = Vec::new();
    for batch in batches {
        let mut times = Vec::new();
        event_times(batch.rows.column_by_name("ts_utc").unwrap(), &mut times).unwrap();
        for (row, time) in times.into_iter().enumerate() {
            let place = RowPlace {
                row: batch.first.row + row as u64,
                ..batch.first
            };
            all.push((place, time));
        }
    }
    all
}

/// Rows as JSON, to compare them whatever arrays they came in.
pub fn json(batches: &[RowBatch]) -> Vec<serde_json::Value> {
    let mut bytes = Vec::new();
    for batch in batches {
        let mut writer = arrow_json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow_json::writer::LineDelimited>(&mut bytes);
        writer.write(&batch.rows).unwrap();
        writer.finish().unwrap();
    }
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn json_of(rows: &RecordBatch) -> Vec<serde_json::Value> {
    json(&[RowBatch {
        first: RowPlace { part: 0, row: 0 },
        rows: rows.clone(),
    }])
}

pub fn time(micros: i64) -> EventTime {
    EventTime::from_micros(micros).unwrap()
}

pub fn says(failure: &Failure, code: &str, words: &[&str]) {
    let text = failure.to_string();
    assert!(text.starts_with(&format!("{code}: ")), "{text}");
    for word in words {
        assert!(text.contains(word), "{text} does not say {word}");
    }
}
