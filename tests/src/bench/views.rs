//! `make bench-views`: views built by `worldstream oracle build-views` against the same sort by
//! DuckDB, of the same raw parts, with as many threads and the same output settings, in one run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use worldstream::time::EventTime;

use super::process::{Usage, measure_done};
use super::say;
use crate::program;

const OUTPUT: &str = "s3_event_stream_with_fraud_6B";
/// Rows of a raw part.
const PART_ROWS: u64 = 1_000_000;
/// Rows that are made at a time.
const BATCH: u64 = 122_880;
/// 2026-01-01 in microseconds, and thirty days.
const START: i64 = 1_767_225_600_000_000;
const SPAN: i64 = 30 * 86_400_000_000;
/// What DuckDB may take.
const DUCKDB_MEMORY: &str = "1GB";
/// The goals: of DuckDB's time, and of its memory.
const GOALS: (f64, f64) = (0.6, 0.3);

/// One size, both ways.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Rows of the table.
    pub rows: u64,
    /// Bytes of the raw parts.
    pub raw_bytes: u64,
    /// `worldstream`.
    pub ours: Figures,
    /// DuckDB.
    pub duckdb: Figures,
    /// Our time by DuckDB's, to be at most 0.6.
    pub time_ratio: f64,
    /// Our memory by DuckDB's, to be at most 0.3.
    pub memory_ratio: f64,
    /// Rows that were seen to be equal, in equal order.
    pub equal_rows: u64,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// From start to end of the process.
    pub seconds: f64,
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// The most memory that was resident.
    pub peak_mib: f64,
    /// Bytes of the view's parts.
    pub bytes: u64,
}

impl Compared {
    /// Whether both goals are met.
    pub fn met(&self) -> bool {
        self.time_ratio <= GOALS.0 && self.memory_ratio <= GOALS.1
    }
}

/// Builds views of so many rows both ways in `dir`, with `memory` for ours. Raw parts are kept.
///
/// # Errors
/// A text for people: what could not be run, or rows that differ.
pub fn compare(dir: &Path, rows: u64, memory: &str) -> Result<Compared, String> {
    let python = duckdb(dir)?;
    let (world, raw) = world(dir, rows)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let views = world.join("stream_view");
    let others = dir.join("duckdb-out");
    for folder in [&views, &others] {
        clear(folder)?;
    }
    fs::create_dir_all(&others).map_err(|error| shown(&others, &error))?;
    let raw_bytes = size(&raw)?;

    say(&format!(
        "{rows} rows by DuckDB, memory limit {DUCKDB_MEMORY}, {threads} threads"
    ));
    let query = format!(
        "import duckdb
c = duckdb.connect()
c.execute(\"SET memory_limit='{DUCKDB_MEMORY}'\")
c.execute('SET threads={threads}')
c.execute(\"SET temp_directory='{temporary}'\")
c.execute(\"\"\"COPY (
  SELECT * EXCLUDE (filename, file_row_number)
  FROM read_parquet('{raw}/part-*.parquet', filename = true, file_row_number = true,
                    hive_partitioning = false)
  ORDER BY ts_utc::TIMESTAMP, filename, file_row_number
) TO '{out}/part-000000.parquet'
  (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880)\"\"\")
",
        temporary = others.join("tmp").display(),
        raw = raw.display(),
        out = others.display(),
    );
    let duckdb = measure_done(Command::new(python).args(["-c", &query]))?;
    let duckdb = figures(&duckdb, &others)?;

    say(&format!(
        "{rows} rows by worldstream, --memory {memory}, {threads} threads"
    ));
    let ours = measure_done(
        Command::new(program())
            .args(["--json", "oracle", "build-views"])
            .arg(&world)
            .args(["--output", OUTPUT, "--memory", memory])
            .args(["--threads", &threads.to_string()]),
    )?;
    let view = views.join(format!("ts_utc/output_id={OUTPUT}"));
    let ours = figures(&ours, &view)?;

    say("comparing rows");
    let equal_rows = same_rows(&view, &others)?;
    for folder in [&views, &others] {
        clear(folder)?;
    }
    if equal_rows != rows {
        return Err(format!("{equal_rows} rows, expected {rows}"));
    }
    Ok(Compared {
        rows,
        raw_bytes,
        time_ratio: ours.seconds / duckdb.seconds,
        memory_ratio: ours.peak_mib / duckdb.peak_mib,
        ours,
        duckdb,
        equal_rows,
    })
}

/// A table of several sizes.
pub fn table(compared: &[Compared]) -> String {
    let mut text = format!(
        "{:>12}  {:>10}  {:>22}  {:>22}  {:>12}  {:>12}\n",
        "rows", "raw MB", "worldstream s / MiB", "DuckDB s / MiB", "time ≤ 0.6", "memory ≤ 0.3"
    );
    for it in compared {
        let pair = |figures: &Figures| format!("{:.1} / {:.0}", figures.seconds, figures.peak_mib);
        let mark = |ratio: f64, goal: f64| {
            format!(
                "{ratio:.2} {}",
                if ratio <= goal { "met" } else { "missed" }
            )
        };
        text.push_str(&format!(
            "{:>12}  {:>10}  {:>22}  {:>22}  {:>12}  {:>12}\n",
            it.rows,
            it.raw_bytes / 1_000_000,
            pair(&it.ours),
            pair(&it.duckdb),
            mark(it.time_ratio, GOALS.0),
            mark(it.memory_ratio, GOALS.1),
        ));
    }
    text
}

fn figures(usage: &Usage, folder: &Path) -> Result<Figures, String> {
    Ok(Figures {
        seconds: usage.took.as_secs_f64(),
        cpu_seconds: Duration::as_secs_f64(&usage.cpu),
        peak_mib: usage.peak_mib,
        bytes: size(folder)?,
    })
}

/// A Python with DuckDB, in an environment of the bench's own.
fn duckdb(dir: &Path) -> Result<PathBuf, String> {
    let home = dir.join("duckdb-venv");
    let python = home.join("bin/python");
    let has = |python: &Path| {
        let asked = Command::new(python).args(["-c", "import duckdb"]).output();
        asked.is_ok_and(|it| it.status.success())
    };
    if !has(&python) {
        say("installing DuckDB for Python");
        measure_done(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        measure_done(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb"]))?;
    }
    match has(&python) {
        true => Ok(python),
        false => Err(format!("{}: DuckDB cannot be imported", python.display())),
    }
}

/// A world with raw parts of the traffic output whose rows lie in no order, and their folder.
fn world(dir: &Path, rows: u64) -> Result<(PathBuf, PathBuf), String> {
    let world = dir.join(format!("worlds/raw-{rows}"));
    let kept = world.join("_raw");
    if let Ok(folder) = fs::read_to_string(&kept) {
        return Ok((world, folder.into()));
    }
    say(&format!("writing raw parts of {rows} rows"));
    clear(&world)?;
    // The small sample says what world it is; its rows are replaced.
    let sample = measure_done(
        Command::new(program())
            .args([
                "--json", "sample", "--rows", "2", "--days", "1", "--output", OUTPUT, "--out",
            ])
            .arg(&world),
    )?;
    let report: serde_json::Value =
        serde_json::from_str(&sample.stdout).map_err(|error| error.to_string())?;
    let text = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
    let (fingerprint, parameters) = (text("manifestFingerprint"), text("parameterHash"));
    let (seed, scenario) = (
        report["seed"].as_u64().unwrap_or_default(),
        text("scenarioId"),
    );
    let raw = world.join(format!(
        "data/layer3/6B/{OUTPUT}/seed={seed}/parameter_hash={parameters}/\
         manifest_fingerprint={fingerprint}/scenario_id={scenario}"
    ));
    clear(&raw)?;
    fs::create_dir_all(&raw).map_err(|error| shown(&raw, &error))?;
    let constants = [fingerprint, scenario, parameters];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (number, from) in (0..rows).step_by(PART_ROWS as usize).enumerate() {
        let path = raw.join(format!("part-{number:06}.parquet"));
        let here = PART_ROWS.min(rows - from);
        write_part(&path, here, seed, &constants, &mut random)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    fs::write(&kept, raw.display().to_string()).map_err(|error| shown(&kept, &error))?;
    Ok((world, raw))
}

fn write_part(
    path: &Path,
    rows: u64,
    seed: u64,
    constants: &[String; 3],
    random: &mut ChaCha8Rng,
) -> Result<(), Box<dyn std::error::Error>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(BATCH as usize))
        .set_column_dictionary_enabled("ts_utc".into(), false)
        .set_column_dictionary_enabled("flow_id".into(), false)
        .set_column_dictionary_enabled("amount".into(), false)
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    let mut left = rows;
    while left > 0 {
        let now = left.min(BATCH);
        let batch = traffic(now as usize, seed, constants, random)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(ArrowWriter::try_new(
                File::create(path)?,
                batch.schema(),
                Some(properties.clone()),
            )?),
        };
        writer.write(&batch)?;
        left -= now;
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}

/// Rows of the traffic schema at random times.
fn traffic(
    rows: usize,
    seed: u64,
    [fingerprint, scenario, parameters]: &[String; 3],
    random: &mut ChaCha8Rng,
) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let mut flows = Vec::with_capacity(rows);
    let mut times = Vec::with_capacity(rows);
    let mut amounts = Vec::with_capacity(rows);
    let mut frauds = Vec::with_capacity(rows);
    for _ in 0..rows {
        flows.push(random.next_u64());
        let time = EventTime::from_micros(START + random.random_range(0..SPAN));
        times.push(time.ok_or("a year above 9999")?.to_string());
        amounts.push(random.random_range(100..1_000_000) as f64 / 100.0);
        frauds.push(random.random_range(0..50) == 0);
    }
    let seqs: Vec<i64> = flows.iter().map(|flow| (flow >> 63) as i64).collect();
    let types = seqs
        .iter()
        .map(|seq| ["AUTH_REQUEST", "AUTH_RESPONSE"][*seq as usize]);
    let types: StringArray = types.map(Some).collect();
    let campaigns = flows.iter().zip(&frauds);
    let campaigns: StringArray = campaigns
        .map(|(flow, fraud)| {
            fraud.then(|| ["T1:card_testing", "T2:ato", "T3:mule"][*flow as usize % 3])
        })
        .collect();
    let seeds = i64::try_from(seed)?;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("seed", Arc::new(Int64Array::from(vec![seeds; rows]))),
        ("manifest_fingerprint", same(fingerprint)),
        ("scenario_id", same(scenario)),
        ("parameter_hash", same(parameters)),
        ("flow_id", Arc::new(UInt64Array::from(flows))),
        ("event_seq", Arc::new(Int64Array::from(seqs))),
        ("event_type", Arc::new(types)),
        ("ts_utc", Arc::new(StringArray::from(times))),
        ("amount", Arc::new(Float64Array::from(amounts))),
        ("fraud_flag", Arc::new(BooleanArray::from(frauds))),
        ("campaign_id", Arc::new(campaigns)),
    ];
    let fields = columns.iter();
    let fields: Vec<_> = fields
        .map(|(name, it)| Field::new(*name, it.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, it)| it).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Compares two folders' rows, column by column in order; gives how many there are.
fn same_rows(ours: &Path, others: &Path) -> Result<u64, String> {
    let (mut ours, mut others) = (Rows::of(ours)?, Rows::of(others)?);
    let mut rows = 0;
    loop {
        let (Some(one), Some(other)) = (ours.look()?, others.look()?) else {
            return match (ours.look()?, others.look()?) {
                (None, None) => Ok(rows),
                _ => Err(format!("only one has more than {rows} rows")),
            };
        };
        let both = one.num_rows().min(other.num_rows());
        for (index, field) in one.schema().fields().iter().enumerate() {
            let (one, other) = (
                one.column(index).slice(0, both),
                other.column(index).slice(0, both),
            );
            if one != other {
                return Err(format!(
                    "column {} differs in rows {rows} to {}",
                    field.name(),
                    rows + both as u64
                ));
            }
        }
        rows += both as u64;
        ours.pass(both);
        others.pass(both);
    }
}

/// Rows of a folder's parts, as they come.
struct Rows {
    parts: std::vec::IntoIter<PathBuf>,
    open: Option<parquet::arrow::arrow_reader::ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
}

impl Rows {
    fn of(folder: &Path) -> Result<Rows, String> {
        Ok(Rows {
            parts: parts(folder)?.into_iter(),
            open: None,
            batch: None,
        })
    }

    /// The next rows; none behind the last.
    fn look(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|it| it.num_rows() > 0) {
                return Ok(Some(batch.clone()));
            }
            match self.open.as_mut().and_then(Iterator::next) {
                Some(batch) => self.batch = Some(batch.map_err(|error| error.to_string())?),
                None => {
                    let Some(part) = self.parts.next() else {
                        return Ok(None);
                    };
                    let open = File::open(&part).map_err(|error| shown(&part, &error))?;
                    let reader = ParquetRecordBatchReaderBuilder::try_new(open);
                    let reader = reader.and_then(|it| it.with_batch_size(8_192).build());
                    self.open = Some(reader.map_err(|error| shown(&part, &error))?);
                }
            }
        }
    }

    fn pass(&mut self, rows: usize) {
        if let Some(batch) = self.batch.take() {
            self.batch = Some(batch.slice(rows, batch.num_rows() - rows));
        }
    }
}

fn parts(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| shown(folder, &error))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|it| it.path())).collect();
    let mut paths = paths.map_err(|error| shown(folder, &error))?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "parquet"));
    paths.sort();
    Ok(paths)
}

fn size(folder: &Path) -> Result<u64, String> {
    let sizes = parts(folder)?.into_iter().map(|path| {
        let found = fs::metadata(&path).map_err(|error| shown(&path, &error))?;
        Ok(found.len())
    });
    sizes.sum()
}

fn clear(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(shown(folder, &error)),
        _ => Ok(()),
    }
}

fn shown(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
