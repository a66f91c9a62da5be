//! Building a view: raw parts sorted by (time key, file, row) in bounded memory, counted again as
//! they stand in the view, and published whole or not at all (contracts section 3).
//!
//! ```text
//!  raw parts ─▶ rows ─▶ held ─▶ sorted runs ─▶ merged ─▶ encoded ─▶ parts ─▶ recounted ─▶ in place
//!   [parts]    reader  [coding]   [runs]      [merge]   [encode]           [recount]    [publish]
//! ```

pub mod audit;
mod coding;
mod encode;
mod journal;
mod layout;
mod merge;
mod notes;
mod parts;
mod progress;
mod publish;
mod recount;
mod runs;
mod sort;
mod stats;
#[cfg(test)]
mod tests;
mod workplace;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use worldstream_crds::{ExitCode, Reason};

pub use layout::{CREATED_BY, ROW_GROUP_ROWS};
pub(crate) use notes::view_folder;
pub use parts::{RawParts, TimeKey, Unit};
use parts::{digest_of, find, find_any, open};
pub use progress::{Phase, Progress, Standing};
pub use recount::{Counted, Disorder, recount};
pub use stats::Stats;

use self::encode::Output;
use self::layout::Layout;
use self::merge::Merger;
use self::notes::There;
use self::publish::Finished;
use self::runs::{Run, RunWriter};
use self::sort::Sorted;
use self::workplace::Workplace;
use super::object::Object;
use super::{PartPlan, footer};
use crate::failure::{Failure, Result};
use crate::time::EventTime;
use crate::world::catalogue::CatalogueOutput;
use crate::world::root::Place;
use crate::world::{WorldKey, WorldStore};

/// The least memory that a build can be given.
pub const LEAST_MEMORY: u64 = 64 * 1024 * 1024;
/// What a build may take by default.
pub const DEFAULT_MEMORY: u64 = 256 * 1024 * 1024;
/// What parts grow to by default.
pub const DEFAULT_PART_BYTES: u64 = 256 * 1024 * 1024;

/// The world that a view is built in.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where raw parts are read, and the root's text.
    pub store: &'a WorldStore,
    /// Where that is.
    pub place: &'a Place,
    /// The world key.
    pub key: &'a WorldKey,
    /// The engine's run id.
    pub run_id: &'a str,
}

/// How a view is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Bytes that the process may take, at least [`LEAST_MEMORY`].
    pub memory: u64,
    /// Threads that encode and count, at least 1.
    pub threads: usize,
    /// A part ends behind the row group with which it grew to so many bytes.
    pub part_bytes: u64,
    /// Where rows are spilled; none: beside the view, or among the temporary files if that is
    /// not on this machine.
    pub spill: Option<PathBuf>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            memory: DEFAULT_MEMORY,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            part_bytes: DEFAULT_PART_BYTES,
            spill: None,
        }
    }
}

/// What a build did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Built {
    /// The output.
    pub output_id: String,
    /// The view of these raw parts was there already: nothing was done.
    pub already_there: bool,
    /// Rows of the view.
    pub rows: u64,
    /// Raw parts.
    pub raw_parts: usize,
    /// Bytes of the raw parts.
    pub raw_bytes: u64,
    /// Parts of the view; 0 if it was there already.
    pub parts: usize,
    /// Bytes of the view's parts; 0 if it was there already.
    pub bytes: u64,
    /// Event time of the first row and the last, as the receipt has it.
    pub first: Option<String>,
    /// Event time of the last row.
    pub last: Option<String>,
    /// Sorted runs that were spilled.
    pub runs: usize,
    /// Rows that a killed build had sorted already.
    pub resumed_rows: u64,
    /// Seconds of sorting, merging and checking.
    pub seconds: [f64; 3],
}

/// Builds the view of an output, or sees that it is there. Blocks; not to be called in a task of a
/// runtime. `waiting` is called once if another build of this view is at work; this one then waits
/// for its end.
///
/// What is killed, or loses the store, goes on where it stood when it is called again; what fails
/// otherwise leaves nothing.
///
/// # Errors
/// `STREAM_RECEIPT_MISMATCH`, `STREAM_VIEW_PARTIAL_EXISTS`, `STREAM_RECEIPT_MISSING` for what is in
/// the view's folder; `STREAM_SORT_VALIDATION_FAILED` if what was written is not what was read;
/// `STREAM_FAILED` naming file and row for raw parts that cannot be sorted, or the file that
/// cannot be written.
pub fn build(
    target: &Target<'_>,
    output: &CatalogueOutput,
    options: &BuildOptions,
    progress: &Progress,
    waiting: &dyn Fn(&Path),
) -> Result<Built> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "runtime").cause(&error))?;
    progress.begin(Phase::Looking);
    let found = runtime.block_on(find(target, output))?;
    let locator_digest = digest_of(&found);
    let look = || runtime.block_on(look(target, &output.id, &locator_digest));
    if let There::TheView(receipt) = look()? {
        // A build that was killed when all was done has left its work.
        if Workplace::is_used(target, &output.id, options) {
            Workplace::enter(target, &output.id, options, waiting)?.clean()?;
        }
        return Ok(already_there(output, &found, &receipt));
    }
    let workplace = Workplace::enter(target, &output.id, options, waiting)?;
    // Whoever had the lock until now may have built it.
    let built = match look() {
        Ok(There::TheView(receipt)) => Ok(already_there(output, &found, &receipt)),
        Ok(There::Nothing) => build_anew(
            target, output, options, progress, &runtime, found, &workplace,
        ),
        Err(failure) => Err(failure),
    };
    // What was sorted is of use again when the store is back.
    if let Err(failure) = &built
        && failure.exit_code() == ExitCode::Unavailable
    {
        return built;
    }
    let cleaned = workplace.clean();
    let built = built?;
    cleaned.map(|()| built)
}

/// Whether an output has no view and one could be built: nothing that would stop a build is in the
/// view's folder, and there are raw parts.
///
/// # Errors
/// As [`build`], for what is in the view's folder, and for raw parts that cannot be listed.
pub async fn is_missing(target: &Target<'_>, output: &CatalogueOutput) -> Result<bool> {
    let found = find(target, output).await?;
    let there = look(target, &output.id, &digest_of(&found)).await?;
    Ok(matches!(there, There::Nothing))
}

/// How many raw parts an output has, and their bytes.
///
/// # Errors
/// Those of a store that cannot be read.
pub async fn raw_size(target: &Target<'_>, output: &CatalogueOutput) -> Result<(usize, u64)> {
    let found = find_any(target, output).await?;
    Ok((found.len(), found.iter().map(|it| it.size).sum()))
}

async fn look(target: &Target<'_>, output_id: &str, locator_digest: &str) -> Result<There> {
    let folder = view_folder(output_id);
    let listed = target.store.list(&folder).await.map_err(|error| {
        error.explain(Failure::new(
            Reason::StreamFailed,
            target.store.name(&folder),
        ))
    })?;
    let ours = listed.iter().any(|(name, _)| name == publish::MARKER);
    match notes::look(target, output_id, locator_digest, &listed).await {
        Err(failure)
            if ours
                && [
                    Reason::StreamViewPartialExists,
                    Reason::StreamReceiptMissing,
                ]
                .contains(&failure.reason()) =>
        {
            Ok(There::Nothing)
        }
        other => other,
    }
}

fn already_there(
    output: &CatalogueOutput,
    found: &[Object],
    receipt: &serde_json::Map<String, Value>,
) -> Built {
    let stats = receipt.get("sorted_stats");
    let text = |field: &str| Some(stats?.get(field)?.as_str()?.to_owned());
    Built {
        output_id: output.id.clone(),
        already_there: true,
        rows: stats
            .and_then(|it| it.get("row_count")?.as_u64())
            .unwrap_or(0),
        raw_parts: found.len(),
        raw_bytes: found.iter().map(|it| it.size).sum(),
        parts: 0,
        bytes: 0,
        first: text("min_ts_utc"),
        last: text("max_ts_utc"),
        runs: 0,
        resumed_rows: 0,
        seconds: [0.0; 3],
    }
}

fn build_anew(
    target: &Target<'_>,
    output: &CatalogueOutput,
    options: &BuildOptions,
    progress: &Progress,
    runtime: &tokio::runtime::Runtime,
    found: Vec<Object>,
    workplace: &Workplace,
) -> Result<Built> {
    let raw = runtime.block_on(open(found))?;
    let budget = Budget::of(options.memory);
    progress.of(raw.rows);
    let mut watch = Instant::now();
    let mut lap = || std::mem::replace(&mut watch, Instant::now()).elapsed();

    progress.begin(Phase::Sorting);
    let spill = workplace.spill()?;
    let mut sorted = sort::sort(target.store, &raw, spill, &budget, progress)?;
    let runs = sorted.journal.runs.len();
    let sorting = lap();

    progress.begin(Phase::Merging);
    let folder = workplace.view()?;
    let layout = Layout::of(&raw, &sorted.coder, &sorted.pays).map_err(|error| {
        Failure::new(Reason::StreamFailed, &output.id)
            .field("schema")
            .cause(&error)
    })?;
    let names = merge(
        &mut sorted,
        &layout,
        spill,
        &folder,
        &budget,
        options,
        progress,
    )?;
    let merging = lap();

    progress.begin(Phase::Checking);
    let (parts, written) = check(&raw, &folder, &names, options.threads, runtime, progress)?;
    compare(target, output, &raw, &sorted.stats, &written)?;
    let checking = lap();

    progress.begin(Phase::Publishing);
    let finished = Finished {
        folder: &folder,
        parts: &names,
        part_bytes: options.part_bytes,
        manifest: &notes::manifest(target, &output.id),
        receipt: &notes::receipt(target, &output.id, &raw, &sorted.stats, &written.stats),
    };
    let sent = match target.place {
        Place::Local(root) => publish::local(root, &output.id, &finished).map(|()| true),
        Place::Remote(_) => {
            runtime.block_on(publish::remote(target, &output.id, &finished, progress))
        }
    }?;
    let parts = if sent { &parts[..] } else { &[] };
    let time =
        |key: i64| EventTime::from_micros(raw.time.unit.micros(key)).map(|it| it.to_string());
    Ok(Built {
        output_id: output.id.clone(),
        already_there: !sent,
        rows: raw.rows,
        raw_parts: raw.parts.len(),
        raw_bytes: raw.bytes,
        parts: parts.len(),
        bytes: parts.iter().map(|part| part.size).sum(),
        first: sorted.stats.range.and_then(|(first, _)| time(first)),
        last: sorted.stats.range.and_then(|(_, last)| time(last)),
        runs,
        resumed_rows: sorted.resumed_rows,
        seconds: [sorting, merging, checking].map(|it: Duration| it.as_secs_f64()),
    })
}

/// How the memory is shared out.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Rows that are gathered, of which there are two: one that grows and one that is spilled.
    run_bytes: usize,
    /// Runs that are merged at a time.
    fan_in: usize,
}

/// Bytes of a run's batch while it is merged.
const MERGE_BATCH: usize = 256 * 1024;
/// The program itself, its buffers, and what is decoded and encoded at any time.
const OVERHEAD: u64 = 56 * 1024 * 1024;

impl Budget {
    fn of(memory: u64) -> Budget {
        let free = memory.max(LEAST_MEMORY) - OVERHEAD;
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        Budget {
            run_bytes: free / 5 * 2,
            // A batch is there compressed, decompressed, and maybe as a chunk's.
            fan_in: (free / 2 / (3 * MERGE_BATCH)).clamp(4, 256),
        }
    }
}

/// Merges the runs, in several passes if they are many, and writes the view's parts.
fn merge(
    sorted: &mut Sorted,
    layout: &Layout,
    spill: &Path,
    folder: &Path,
    budget: &Budget,
    options: &BuildOptions,
    progress: &Progress,
) -> Result<Vec<String>> {
    while sorted.journal.runs.len() > budget.fan_in {
        let mut fewer: Vec<Run> = Vec::new();
        // Neighbours, so that the order of reading stays that of the runs.
        for (number, group) in sorted.journal.runs.chunks(budget.fan_in).enumerate() {
            let file = sorted.journal.merged_file(spill, number);
            fewer.push(merge_runs(sorted, group, &file, layout.chunk_rows)?);
        }
        sorted.journal.replace(fewer, spill)?;
    }
    let mut merger = Merger::open(&sorted.journal.runs, &sorted.coder)?;
    let output = Output {
        layout,
        coder: &sorted.coder,
        folder,
        part_bytes: options.part_bytes,
        threads: options.threads,
        progress,
    };
    output.write(|rows| merger.next(rows))
}

fn merge_runs(sorted: &Sorted, group: &[Run], file: &Path, rows: usize) -> Result<Run> {
    let mut merger = Merger::open(group, &sorted.coder)?;
    let mut writer = RunWriter::create(file, sorted.coder.codings());
    while let Some(chunk) = merger.next(rows)? {
        let columns = (0..sorted.coder.codings().len()).map(|index| chunk.column(index));
        let columns = columns.collect::<Result<_, _>>().map_err(|error| {
            Failure::new(Reason::StreamFailed, file.display().to_string()).cause(&error)
        })?;
        writer.write(chunk.keys(), columns)?;
    }
    Ok(writer.finish()?.0)
}

/// Reads the finished parts as anybody would.
fn check(
    raw: &RawParts,
    folder: &Path,
    names: &[String],
    threads: usize,
    runtime: &tokio::runtime::Runtime,
    progress: &Progress,
) -> Result<(Vec<PartPlan>, Counted)> {
    let failure = || Failure::new(Reason::StreamFailed, folder.display().to_string());
    let store =
        LocalFileSystem::new_with_prefix(folder).map_err(|error| failure().cause(&error))?;
    let store = WorldStore::new(
        std::sync::Arc::new(store),
        object_store::path::Path::default(),
        &folder.display().to_string(),
    );
    let parts = runtime.block_on(async {
        let parts = futures::stream::iter(names).then(|name| plan_of(&store, name));
        parts.try_collect::<Vec<_>>().await
    })?;
    // How far a part is read is not known by the byte.
    let bytes: u64 = parts.iter().map(|part| part.size).sum();
    let a_row = bytes as f64 / raw.rows.max(1) as f64;
    let counted = recount(&store, &parts, &raw.time, threads, &|rows| {
        progress.rows(rows);
        progress.bytes((rows as f64 * a_row) as u64);
    })?;
    Ok((parts, counted))
}

async fn plan_of(store: &WorldStore, name: &str) -> Result<PartPlan> {
    let location = store.location(name);
    let failure = || Failure::new(Reason::StreamFailed, store.name(name));
    let meta = store.store().head(&location).await;
    let meta = meta.map_err(|error| error.explain(failure()))?;
    let meta = meta.ok_or_else(|| failure().found("nothing").expected("what was just written"))?;
    let object = Object {
        store: store.store().clone(),
        name: store.name(name),
        location,
        size: meta.size,
        etag: meta.e_tag,
    };
    let fetched = footer::fetch(&object).await?;
    let footer = footer::decode(&object, fetched)?;
    Ok(PartPlan {
        rows: footer.metadata.file_metadata().num_rows().unsigned_abs(),
        footer: footer.digest,
        name: object.name,
        location: object.location,
        size: object.size,
        etag: object.etag,
    })
}

/// Raw against sorted.
fn compare(
    target: &Target<'_>,
    output: &CatalogueOutput,
    raw: &RawParts,
    read: &Stats,
    written: &Counted,
) -> Result<()> {
    let failure = || {
        let view = target.store.name(&view_folder(&output.id));
        Failure::new(Reason::StreamSortValidationFailed, view)
    };
    if let Some(disorder) = &written.disorder {
        let file = disorder.file.rsplit('/').next().unwrap_or_default();
        return Err(failure()
            .field(format!("{file}, row {}", disorder.row))
            .found("a time before the one ahead of it")
            .expected("rows in the order of time"));
    }
    let (found, expected) = (written.stats.json(raw.time.unit), read.json(raw.time.unit));
    let fields = [
        "row_count",
        "min_ts_utc",
        "max_ts_utc",
        "hash_sum",
        "hash_sum2",
    ];
    match fields
        .into_iter()
        .find(|field| found[field] != expected[field])
    {
        None => Ok(()),
        Some(field) => Err(failure()
            .field(format!("sorted_stats.{field}"))
            .found(found[field].to_string())
            .expected(format!("{}, as in the raw parts", expected[field]))),
    }
}
