//! The worlds that are streamed: of one traffic output, written once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use worldstream::envelope::EnvelopeContext;
use worldstream::plan::{Lane, RunFlags, StreamPlan};
use worldstream::time::EventTime;
use worldstream::world::VerifiedWorld;

use super::{Options, process, say};
use crate::{PLATFORM_RUN_ID, program};

/// The output that is streamed.
pub const OUTPUT: &str = "s3_event_stream_with_fraud_6B";
/// Rows of a part, so that five million rows are five parts.
const PART_ROWS: u64 = 1_000_000;
/// The first event time of a world of [`even`] events, in µs: 2026-01-01.
const EPOCH: i64 = 1_767_225_600_000_000;
const PARTS: &str = "stream_view/ts_utc/output_id=s3_event_stream_with_fraud_6B";

/// A sample world of one traffic output, written unless it is there.
pub fn sample(options: &Options, rows: u64) -> Result<PathBuf, String> {
    write_sample(&options.dir.join(format!("worlds/traffic-{rows}")), rows)
}

/// The same with events `spacing` µs of event time apart.
pub fn even(options: &Options, rows: u64, spacing: i64) -> Result<PathBuf, String> {
    let world = options
        .dir
        .join(format!("worlds/even-{rows}-every-{spacing}us"));
    let done = world.join("_even");
    write_sample(&world, rows)?;
    if done.exists() {
        return Ok(world);
    }
    let mut row = 0;
    for part in parts(&world)? {
        space_out(&part, &mut row, spacing)
            .map_err(|error| format!("{}: {error}", part.display()))?;
    }
    fs::write(&done, "").map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(world)
}

fn write_sample(world: &Path, rows: u64) -> Result<PathBuf, String> {
    if !world.exists() {
        say(&format!("writing a world of {rows} rows"));
    }
    process::measure_done(
        Command::new(program())
            .args(["sample", "--seed", "7", "--days", "30", "--raw", "none"])
            .args(["--output", OUTPUT])
            .args(["--rows", &rows.to_string()])
            .args(["--part-rows", &PART_ROWS.to_string()])
            .arg("--out")
            .arg(world),
    )?;
    Ok(world.to_path_buf())
}

fn parts(world: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = world.join(PARTS);
    let broken = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut parts = Vec::new();
    for entry in fs::read_dir(&folder).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|end| end == "parquet") {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

/// Writes a part anew with other event times; `row` counts over all parts.
fn space_out(part: &Path, row: &mut i64, spacing: i64) -> Result<(), Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(part)?)?;
    let schema = reader.schema().clone();
    let column = schema.index_of("ts_utc")?;
    let kind = schema.field(column).data_type().clone();
    let new = part.with_extension("new");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(122_880))
        .build();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&new)?, schema.clone(), Some(properties))?;
    for batch in reader.build()? {
        let batch = batch?;
        let times: Vec<i64> = (0..batch.num_rows() as i64)
            .map(|index| EPOCH + (*row + index) * spacing)
            .collect();
        *row += times.len() as i64;
        let mut columns = batch.columns().to_vec();
        columns[column] = time_column(&times, &kind)?;
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    writer.close()?;
    fs::rename(&new, part)?;
    Ok(())
}

fn time_column(times: &[i64], kind: &DataType) -> Result<ArrayRef, String> {
    let values = times.iter().copied();
    Ok(match kind {
        DataType::Utf8 => Arc::new(
            values
                .map(|micros| EventTime::from_micros(micros).map(|time| time.to_string()))
                .collect::<StringArray>(),
        ),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(
            TimestampMicrosecondArray::from_iter_values(values).with_timezone_opt(zone.clone()),
        ),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => Arc::new(
            TimestampNanosecondArray::from_iter_values(values.map(|micros| micros * 1_000))
                .with_timezone_opt(zone.clone()),
        ),
        other => return Err(format!("event times as {other}")),
    })
}

/// A profile like `local`, for a world without context: `profile.yaml`.
pub fn profile(options: &Options) -> Result<PathBuf, String> {
    let file = options.dir.join("profile.yaml");
    let text = "apiVersion: worldstream.io/v1alpha1
kind: StreamProfile
metadata:
  name: bench
spec:
  require:
    manifest: false
    seal: false
    gates: Existence
  contextOutputs:
    fraud:
      outputIds: []
  producer:
    id: svc:world_stream_producer
    allowlist:
      builtIn: producer_allowlist.txt
";
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// The flags of a run of such a world that keeps what it writes in `runs`.
pub fn flags(options: &Options, world: &Path, runs: &Path) -> Result<RunFlags, String> {
    Ok(RunFlags {
        profile: Some(profile(options)?.display().to_string()),
        engine_run_root: Some(world.display().to_string()),
        platform_run_id: Some(PLATFORM_RUN_ID.to_owned()),
        runs_root: Some(runs.to_path_buf()),
        gate_url: Some("http://127.0.0.1:9".to_owned()),
        speedup: Some(0.0),
        ..RunFlags::default()
    })
}

/// A world as a run sees it.
pub struct Opened {
    /// What would be done with it.
    pub plan: StreamPlan,
    /// The world.
    pub world: VerifiedWorld,
}

/// Verifies a world as a run does.
pub fn open(options: &Options, world: &Path) -> Result<Opened, String> {
    let runs = options.dir.join("runs/library");
    let plan = worldstream::plan::plan(&flags(options, world, &runs)?)
        .map_err(|error| error.to_string())?;
    let world = runtime()?
        .block_on(worldstream::world::verify(&plan.world))
        .map_err(|failure| failure.to_string())?;
    Ok(Opened { plan, world })
}

/// A runtime of this thread.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

impl Opened {
    /// What is the same in all envelopes of the world's one output.
    pub fn context(&self) -> EnvelopeContext {
        let world = &self.world;
        EnvelopeContext {
            output_id: world.outputs[0].id.clone(),
            primary_key: world.outputs[0].primary_key.clone(),
            key: world.key.clone(),
            run_id: world.receipt.run_id.clone(),
            platform_run_id: PLATFORM_RUN_ID.to_owned(),
            scenario_run_id: world.receipt.run_id.clone(),
            producer: self.plan.world.producer_id.clone(),
            trace_id: world.pack_key.clone(),
            span_id: world.pack.as_ref().map(|pack| pack.engine_release.clone()),
            lane: Lane::WHOLE,
        }
    }
}
