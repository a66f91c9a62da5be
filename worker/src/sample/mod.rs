//! Makes a world like the engine's, small or large, deterministic to the byte.
//!
//! The same [`SampleSpec`] gives the same bytes on every machine and at every time: random
//! numbers come from ChaCha8 keyed by the seed, times from the seed and the number of days, and
//! each file is written by one thread in the order of event time.
//!
//! How many rows there are, for `rows` = N: each of the two event streams has N; the other four
//! outputs have one row for each flow, N/2 rounded up. A flow has two events, `AUTH_REQUEST` and
//! `AUTH_RESPONSE`; with an odd N the last flow has the request alone.

mod flows;
mod folder;
mod gates;
mod parts;
mod rhythm;
mod table;
#[cfg(test)]
mod tests;
mod world;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use worldstream_crds::{ExitCode, Reason};

use crate::failure::{Failure, Result};
use crate::time::EventTime;

pub use table::Table;

/// The scenario of a sample that names none.
pub const DEFAULT_SCENARIO: &str = "baseline_v1";
/// Rows of a row group by default.
pub const DEFAULT_ROW_GROUP_ROWS: usize = 122_880;
/// The most rows that an event stream may have.
pub const MAX_ROWS: u64 = 100_000_000_000;
/// The most days that a world may last.
pub const MAX_DAYS: u32 = 3_650;
/// The most parts that a view may have: their names have six digits.
pub const MAX_PARTS: u64 = 1_000_000;

/// What world is written, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSpec {
    /// The folder, which becomes the run root.
    pub out: PathBuf,
    /// What the world is called in its views' ids, resolved as the contract says (section 1);
    /// none: the text of `out`.
    pub run_root: Option<String>,
    /// Decides every value.
    pub seed: u64,
    /// Rows of each event stream, 0 to [`MAX_ROWS`].
    pub rows: u64,
    /// Days of event time from 2026-01-01, 1 to [`MAX_DAYS`].
    pub days: u32,
    /// The scenario id.
    pub scenario: String,
    /// Views whose rows step back in time here and there.
    pub disorder: bool,
    /// Only these outputs; empty: all six.
    pub outputs: Vec<Table>,
    /// How views are cut into parts.
    pub parts: Parts,
    /// Rows of a row group, at least 1.
    pub row_group_rows: usize,
    /// Whether raw parts are written beside the views.
    pub raw: bool,
    /// Whether the world has a pack manifest and a seal.
    pub sealed: bool,
    /// Replaces another sample that is there.
    pub force: bool,
}

/// How a view is cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Parts {
    /// So many parts of equal length (the last may differ by one), 1 to [`MAX_PARTS`]; parts
    /// without rows are legal.
    Number(u64),
    /// Parts of so many rows, at least 1, and the rest in the last.
    Rows(u64),
}

impl SampleSpec {
    /// A sealed world of all outputs with raw parts and two parts a view.
    pub fn new(out: impl Into<PathBuf>, seed: u64, rows: u64, days: u32) -> Self {
        SampleSpec {
            out: out.into(),
            run_root: None,
            seed,
            rows,
            days,
            scenario: DEFAULT_SCENARIO.to_owned(),
            disorder: false,
            outputs: Vec::new(),
            parts: Parts::Number(2),
            row_group_rows: DEFAULT_ROW_GROUP_ROWS,
            raw: true,
            sealed: true,
            force: false,
        }
    }

    /// The outputs that are written, each once, in the order of [`Table::ALL`].
    pub fn tables(&self) -> Vec<Table> {
        Table::ALL
            .into_iter()
            .filter(|table| self.outputs.is_empty() || self.outputs.contains(table))
            .collect()
    }

    /// How many flows the world has: half of the events, rounded up.
    pub fn flows(&self) -> u64 {
        self.rows.div_ceil(2)
    }

    fn check(&self) -> Result<()> {
        let within = |field: &str, found: u64, low: u64, high: u64| {
            if (low..=high).contains(&found) {
                return Ok(());
            }
            Err(usage(self)
                .field(field)
                .found(found.to_string())
                .expected(format!("{low} to {high}")))
        };
        within("rows", self.rows, 0, MAX_ROWS)?;
        within("days", self.days.into(), 1, MAX_DAYS.into())?;
        within(
            "row group rows",
            self.row_group_rows as u64,
            1,
            i32::MAX as u64,
        )?;
        match self.parts {
            Parts::Number(parts) => within("parts", parts, 1, MAX_PARTS)?,
            Parts::Rows(rows) => {
                within("part rows", rows, 1, MAX_ROWS)?;
                within("parts", self.rows.div_ceil(rows).max(1), 1, MAX_PARTS)?;
            }
        }
        let scenario_is_a_folder_name = !self.scenario.is_empty()
            && self.scenario.chars().count() <= 256
            && !self.scenario.chars().any(|c| c == '/' || c.is_control());
        if !scenario_is_a_folder_name {
            return Err(usage(self)
                .field("scenario")
                .found(format!("{:?}", self.scenario))
                .expected("1 to 256 characters without slash"));
        }
        if self.run_root.as_deref() == Some("") {
            return Err(usage(self)
                .field("run root")
                .found("nothing")
                .expected("a path or an s3:// URI"));
        }
        Ok(())
    }
}

fn usage(spec: &SampleSpec) -> Failure {
    Failure::new(Reason::StreamFailed, spec.out.display().to_string()).exits(ExitCode::Usage)
}

/// What was written, or what was there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleReport {
    /// What the world is called in its views' ids.
    pub run_root: String,
    /// The world key's seed.
    pub seed: u64,
    /// The world key's scenario.
    pub scenario_id: String,
    /// The world key's manifest fingerprint.
    pub manifest_fingerprint: String,
    /// The world key's parameter hash.
    pub parameter_hash: String,
    /// The engine's run id in the receipt.
    pub run_id: String,
    /// The pack's id; none of an unsealed world.
    pub oracle_pack_id: Option<String>,
    /// Start of the world, inclusive.
    pub start: EventTime,
    /// End of the world, exclusive.
    pub end: EventTime,
    /// One for each output.
    pub outputs: Vec<OutputReport>,
    /// Nothing was written: the same world was there already.
    #[serde(default)]
    pub already_there: bool,
}

/// One output of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputReport {
    /// The output's id.
    pub output_id: String,
    /// Rows of the view, and of the raw parts.
    pub rows: u64,
    /// Parts of the view.
    pub parts: u64,
    /// Bytes of the view's parts.
    pub bytes: u64,
    /// The view's id.
    pub stream_view_id: String,
    /// Event time of the earliest row; none without rows.
    pub first: Option<EventTime>,
    /// Event time of the latest row; none without rows.
    pub last: Option<EventTime>,
}

/// How far the writing of one output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The output.
    pub table: Table,
    /// Rows written since the last call.
    pub added: u64,
    /// Rows written.
    pub rows: u64,
    /// Rows in all.
    pub of: u64,
}

/// Writes the world. `progress` is called from the writing threads, every few thousand rows.
///
/// A folder that holds this very sample is left as it is. One that holds an unfinished writing
/// of it is begun anew.
///
/// # Errors
///
/// A parameter out of range, a folder that holds something else, or a write that fails.
pub fn write(spec: &SampleSpec, progress: &(dyn Fn(Progress) + Sync)) -> Result<SampleReport> {
    spec.check()?;
    let world = world::World::new(spec);
    let parameters = folder::Parameters::new(spec, &world.root);
    if let Some(report) = folder::prepare(spec, &parameters)? {
        return Ok(report);
    }
    let outputs = write_tables(spec, &world, progress)?;
    world::write_identity(spec, &world, &outputs)?;
    gates::write_all(spec, &world, &outputs)?;
    let report = SampleReport {
        run_root: world.root.clone(),
        seed: spec.seed,
        scenario_id: world.key.scenario_id.clone(),
        manifest_fingerprint: world.key.manifest_fingerprint.clone(),
        parameter_hash: world.key.parameter_hash.clone(),
        run_id: world.run_id.clone(),
        oracle_pack_id: spec.sealed.then(|| world.oracle_pack_id.clone()),
        start: world.start,
        end: world.end,
        outputs,
        already_there: false,
    };
    folder::finish(spec, &parameters, &report)?;
    Ok(report)
}

/// Writes the outputs side by side, as many at a time as the machine has cores. Which thread
/// writes which does not show: each makes its own rows from the seed.
fn write_tables(
    spec: &SampleSpec,
    world: &world::World,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<OutputReport>> {
    let tables = spec.tables();
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(tables.len());
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done = Mutex::new(Vec::with_capacity(tables.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&table) = tables.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = parts::write_table(spec, world, table, progress);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .push((table, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(table, _)| *table);
    done.into_iter().map(|(_, result)| result).collect()
}
