//! `worldstream plan`: verifies a world and says what a replay would send. Sends nothing, takes
//! no checkpoint, writes nothing.

use std::io::Write;

use clap::Args;
use comfy_table::CellAlignment;
use serde::Serialize;
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use crate::checkpoint::{self, CheckpointStore};
use crate::engine::replay::{checkpoint_key, resume_at, scenario_run_id};
use crate::failure::Failure;
use crate::gate::GateClient;
use crate::plan::{Lane, RunFlags, StreamPlan};
use crate::report::figures::{second, thousands};
use crate::report::table;
use crate::time::EventTime;
use crate::view::{self, ViewScan};
use crate::world::{Role, SelectedOutput, VerifiedWorld};

const EXAMPLES: &str = "\
Example:
  worldstream plan --profile local --engine-run-root demo/world --speedup 3600 \\
      --platform-run-id platform_20260101T000000Z --gate-url http://127.0.0.1:8081";

/// Verify a world and say what a replay would send; sends nothing
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// Documents and flags of the replay.
    #[command(flatten)]
    pub flags: RunFlags,
}

/// What a replay would send.
#[derive(Serialize)]
struct Report {
    engine_run_root: String,
    scenario_id: String,
    pack_key: String,
    sealed: bool,
    speedup: f64,
    duration_seconds: Option<f64>,
    warnings: Vec<String>,
    outputs: Vec<OutputReport>,
}

/// What an output would send.
#[derive(Serialize)]
struct OutputReport {
    output_id: String,
    role: &'static str,
    rows: u64,
    view_rows: u64,
    files: usize,
    bytes: u64,
    first_event_time: Option<EventTime>,
    last_event_time: Option<EventTime>,
    duration_seconds: Option<f64>,
    peak_per_second: Option<u64>,
    steps_back: u64,
    largest_step_back_seconds: Option<f64>,
    largest_step_back_at: Option<String>,
    cursors: Vec<CursorReport>,
}

/// Where a lane stands.
#[derive(Serialize)]
struct CursorReport {
    lane: Lane,
    last_file: Option<String>,
    last_row_index: Option<u64>,
    last_ts_utc: Option<String>,
    rows_taken: Option<u64>,
    complete: bool,
}

/// Verifies and prints.
pub fn run(args: &PlanArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let plan = crate::plan::plan(&args.flags)?;
    let (world, cursors) = super::run::blocking(verify(&plan))??;
    let mut outputs = Vec::new();
    for (output, cursors) in world.outputs.iter().zip(cursors) {
        let scan = view::scan(
            &world.store,
            &output.view,
            plan.range,
            plan.pace.speedup,
            |_| {},
        )?;
        outputs.push(output_report(&plan, output, scan, cursors));
    }
    let span = outputs
        .iter()
        .filter_map(|output| output.first_event_time)
        .min()
        .zip(
            outputs
                .iter()
                .filter_map(|output| output.last_event_time)
                .max(),
        );
    let report = Report {
        engine_run_root: world.root.clone(),
        scenario_id: world.key.scenario_id.clone(),
        pack_key: world.pack_key.clone(),
        sealed: world.pack.as_ref().is_some_and(|pack| pack.sealed),
        speedup: plan.pace.speedup,
        duration_seconds: span.and_then(|(first, last)| duration(&plan, first, last)),
        warnings: world.warnings.clone(),
        outputs,
    };
    let written = match json {
        true => serde_json::to_writer_pretty(&mut *out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out)),
        false => write_text(&report, out),
    };
    written.map_err(|error| Failure::new(Reason::StreamFailed, "stdout").cause(&error))?;
    Ok(ExitCode::Done)
}

async fn verify(plan: &StreamPlan) -> Result<(VerifiedWorld, Vec<Vec<CursorReport>>), Failure> {
    let world = crate::world::verify(&plan.world).await?;
    // A start would refuse a credential or CA file that is no good; nothing is connected to.
    GateClient::new(&plan.gate)?;
    let store = checkpoint::open(&plan.checkpoint.store)?;
    let run_id = scenario_run_id(plan, &world);
    let mut cursors = Vec::new();
    for output in &world.outputs {
        let mut lanes = Vec::new();
        for index in plan.identity.lanes.here() {
            let lane = Lane {
                count: plan.identity.lanes.count,
                index,
            };
            lanes.push(cursor(plan, &world, &run_id, output, lane, store.as_ref()).await?);
        }
        cursors.push(lanes);
    }
    Ok((world, cursors))
}

async fn cursor(
    plan: &StreamPlan,
    world: &VerifiedWorld,
    run_id: &str,
    output: &SelectedOutput,
    lane: Lane,
    store: &dyn CheckpointStore,
) -> Result<CursorReport, Failure> {
    let key = checkpoint_key(plan, world, run_id, &output.id, lane);
    let found = store.peek(&key).await?;
    // What a start would refuse, the plan refuses.
    resume_at(output, &view::fingerprint(&output.view), &found)?;
    let cursor = found.cursor;
    Ok(CursorReport {
        lane,
        last_file: cursor.as_ref().map(|cursor| cursor.last_file.clone()),
        last_row_index: cursor.as_ref().map(|cursor| cursor.last_row_index),
        last_ts_utc: cursor.and_then(|cursor| cursor.last_ts_utc),
        rows_taken: found.progress.as_ref().map(|progress| progress.rows),
        complete: found.progress.is_some_and(|progress| progress.complete),
    })
}

fn output_report(
    plan: &StreamPlan,
    output: &SelectedOutput,
    scan: ViewScan,
    cursors: Vec<CursorReport>,
) -> OutputReport {
    OutputReport {
        output_id: output.id.clone(),
        role: match output.role {
            Role::Context => "context",
            Role::Traffic => "traffic",
        },
        rows: scan.rows,
        view_rows: output.view.rows,
        files: output.view.parts.len(),
        bytes: output.view.parts.iter().map(|part| part.size).sum(),
        first_event_time: scan.first,
        last_event_time: scan.last,
        duration_seconds: scan
            .first
            .zip(scan.last)
            .and_then(|(first, last)| duration(plan, first, last)),
        peak_per_second: scan.peak_per_second,
        steps_back: scan.steps_back,
        largest_step_back_seconds: scan.largest_step_back.map(|step| step.micros as f64 / 1e6),
        largest_step_back_at: scan.largest_step_back.map(|step| {
            // Places come from the plan's parts.
            format!(
                "{} row {}",
                output.view.parts[step.place.part].name, step.place.row
            )
        }),
        cursors,
    }
}

/// Wall seconds from the first event to the last; none where nothing waits.
fn duration(plan: &StreamPlan, first: EventTime, last: EventTime) -> Option<f64> {
    let seconds = (last.micros() - first.micros()) as f64 / 1e6;
    (plan.pace.speedup > 0.0).then(|| seconds / plan.pace.speedup)
}

fn write_text(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "world     {}", report.engine_run_root)?;
    writeln!(out, "scenario  {}", report.scenario_id)?;
    writeln!(out, "pack key  {}", report.pack_key)?;
    writeln!(
        out,
        "sealed    {}",
        if report.sealed { "yes" } else { "no" }
    )?;
    match report.duration_seconds {
        Some(seconds) => writeln!(
            out,
            "duration  {} at speedup {}",
            span(seconds),
            report.speedup
        )?,
        None => writeln!(out, "duration  as fast as the gate takes it (speedup 0)")?,
    }
    for warning in &report.warnings {
        writeln!(out, "warning   {warning}")?;
    }
    writeln!(out)?;
    let mut table = table::plain();
    table.set_header([
        "output",
        "role",
        "rows",
        "files",
        "bytes",
        "first event",
        "last event",
        "duration",
        "peak/s",
        "cursor",
        "out of order",
    ]);
    for output in &report.outputs {
        let time = |ts: Option<EventTime>| ts.map_or("–".to_owned(), second);
        table.add_row([
            output.output_id.clone(),
            output.role.to_owned(),
            thousands(output.rows),
            output.files.to_string(),
            thousands(output.bytes),
            time(output.first_event_time),
            time(output.last_event_time),
            output.duration_seconds.map_or("–".to_owned(), span),
            output.peak_per_second.map_or("–".to_owned(), thousands),
            output
                .cursors
                .iter()
                .map(standing)
                .collect::<Vec<_>>()
                .join("\n"),
            match output.largest_step_back_seconds {
                Some(seconds) => format!(
                    "{} rows, {} back at most",
                    thousands(output.steps_back),
                    span(seconds)
                ),
                None => "no".to_owned(),
            },
        ]);
    }
    for index in [2, 3, 4, 7, 8] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table::text(&mut table))
}

fn standing(cursor: &CursorReport) -> String {
    let lane = match cursor.lane.count {
        1 => String::new(),
        _ => format!("lane {}: ", cursor.lane.index),
    };
    match (&cursor.last_file, cursor.last_row_index) {
        _ if cursor.complete => format!("{lane}complete"),
        (Some(file), Some(row)) => {
            let name = file.rsplit('/').next().unwrap_or(file);
            format!("{lane}{name} row {row}")
        }
        _ => format!("{lane}at the start"),
    }
}

/// `2 d 3 h`, `45 min 10 s`, `20.0 s`, `0.250 s`.
fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 => format!("{seconds:.3} s"),
        1..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_as_people_say_them() {
        assert_eq!(span(0.25), "0.250 s");
        assert_eq!(span(20.04), "20.0 s");
        assert_eq!(span(2710.0), "45 min 10 s");
        assert_eq!(span(7_320.0), "2 h 2 min");
        assert_eq!(span(183_600.0), "2 d 3 h");
    }
}
