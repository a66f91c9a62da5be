//! Worlds with raw parts, their views, and what is in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use worldstream::failure::Failure;
use worldstream::oracle::OpenWorld;
use worldstream::plan::{RunFlags, world_plan};
use worldstream::view::build::{self, BuildOptions, Built, Progress};
use worldstream_tests::{Finished, MadeWorld, run};

pub const EVENTS: &str = "s3_event_stream_with_fraud_6B";

/// A sample world with raw parts.
pub fn sample(rows: u64) -> MadeWorld {
    MadeWorld::sample(rows, 3, |spec| spec.raw = true)
}

/// A world with the raw parts of one output alone, of a test's own columns.
pub fn made(parts: &[(&str, RecordBatch)], how: &WriterProperties) -> MadeWorld {
    let world = MadeWorld::sample(2, 1, |spec| {
        spec.raw = true;
        spec.outputs = vec![EVENTS.parse().unwrap()];
    });
    let raw = raw_folder(&world);
    for old in files(&raw) {
        fs::remove_file(old).unwrap();
    }
    for (name, rows) in parts {
        write(&raw.join(name), rows, how);
    }
    fs::remove_dir_all(world.view(EVENTS)).unwrap();
    world
}

pub fn write(path: &Path, rows: &RecordBatch, how: &WriterProperties) {
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(how.clone())).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

/// Rows of these columns, which may all be null.
pub fn rows_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns.iter();
    let fields: Vec<_> = fields
        .map(|(name, it)| Field::new(*name, it.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, it)| it).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// The folder of the raw parts of [`EVENTS`].
pub fn raw_folder(world: &MadeWorld) -> PathBuf {
    let it = &world.report;
    PathBuf::from(world.root()).join(format!(
        "data/layer3/6B/{EVENTS}/seed={}/parameter_hash={}/manifest_fingerprint={}/scenario_id={}",
        it.seed, it.parameter_hash, it.manifest_fingerprint, it.scenario_id
    ))
}

/// The Parquet files of a folder in text order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "parquet"))
        .collect();
    found.sort();
    found
}

/// Puts the views aside: `<root>/aside/output_id=…`.
pub fn set_aside(world: &MadeWorld) -> PathBuf {
    let root = PathBuf::from(world.root());
    let aside = root.join("aside");
    fs::rename(root.join("stream_view/ts_utc"), &aside).unwrap();
    aside
}

pub fn open(world: &MadeWorld) -> OpenWorld {
    let plan = world_plan(&RunFlags {
        profile: Some("local".into()),
        engine_run_root: Some(world.root()),
        ..RunFlags::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(OpenWorld::open(plan.unwrap())).unwrap()
}

/// Builds a view within the test's process.
pub fn build(world: &MadeWorld, output: &str, options: &BuildOptions) -> Result<Built, Failure> {
    let world = open(world);
    let output = world.outputs(&[output.to_owned()]).unwrap().remove(0);
    build::build(
        &world.target(),
        &output,
        options,
        &Progress::default(),
        &|_| {},
    )
}

/// Little memory and small parts: many runs, several parts.
pub fn tight() -> BuildOptions {
    BuildOptions {
        memory: build::LEAST_MEMORY,
        part_bytes: 2 * 1024 * 1024,
        ..BuildOptions::default()
    }
}

/// `worldstream oracle` with these arguments.
pub fn oracle<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Finished {
    run(["oracle"]).args(args).finish()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Rows of a folder's parts, one after the other.
pub struct Rows {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<ParquetRecordBatchReader>,
    ready: Option<RecordBatch>,
}

pub fn read(folder: &Path) -> Rows {
    Rows {
        files: files(folder).into_iter(),
        open: None,
        ready: None,
    }
}

impl Rows {
    /// Up to so many rows; none behind the last.
    pub fn next(&mut self, most: usize) -> Option<RecordBatch> {
        loop {
            if let Some(ready) = self.ready.take().filter(|it| it.num_rows() > 0) {
                let now = most.min(ready.num_rows());
                self.ready = Some(ready.slice(now, ready.num_rows() - now));
                return Some(ready.slice(0, now));
            }
            match self.open.as_mut().and_then(Iterator::next) {
                Some(batch) => self.ready = Some(batch.unwrap()),
                None => {
                    let file = File::open(self.files.next()?).unwrap();
                    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                    self.open = Some(reader.with_batch_size(8_192).build().unwrap());
                }
            }
        }
    }
}

/// Fails unless two folders hold equal rows in equal order; gives their number.
#[track_caller]
pub fn same_rows(found: &Path, expected: &Path) -> u64 {
    let (mut found, mut expected) = (read(found), read(expected));
    let mut rows = 0;
    while let Some(wanted) = expected.next(8_192) {
        let mut at = 0;
        while at < wanted.num_rows() {
            let next = found.next(wanted.num_rows() - at);
            let next = next.unwrap_or_else(|| panic!("no row {rows}"));
            let wanted = wanted.slice(at, next.num_rows());
            if next != wanted {
                let differs = |row: &usize| next.slice(*row, 1) != wanted.slice(*row, 1);
                let row = (0..next.num_rows()).find(differs).unwrap_or(0);
                panic!(
                    "row {}: {:?}, expected {:?}",
                    rows + row as u64,
                    next.slice(row, 1),
                    wanted.slice(row, 1)
                );
            }
            at += next.num_rows();
            rows += next.num_rows() as u64;
        }
    }
    assert!(found.next(1).is_none(), "more than {rows} rows");
    rows
}
