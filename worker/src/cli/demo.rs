//! `worldstream demo`: a world, a gate and a replay in one process, for whoever sees worldstream
//! for the first time. Interrupted and started again, it goes on at its cursors.

use std::path::{Path, PathBuf};

use clap::Args;
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::run::{blocking, replay, report};
use crate::devgate::{self, GateConfig};
use crate::failure::Failure;
use crate::plan::RunFlags;
use crate::report::figures::thousands;
use crate::report::live::Style;
use crate::sample::{self, SampleSpec};

const EXAMPLES: &str = "\
Examples:
  worldstream demo
  worldstream demo --fresh --seconds 60";

/// What the demo's events belong to: fixed, so that a second start goes on.
const PLATFORM_RUN_ID: &str = "platform_20260101T000000Z";
/// 24,000 traffic events and three context tables of 12,000 rows: 60,000 events.
const ROWS: u64 = 24_000;
const DAYS: u32 = 30;
const SEED: u64 = 7;

/// A world, a gate and a replay in one process
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where the world, the cursors and the record are kept
    #[arg(long, value_name = "DIR", default_value = "demo")]
    pub dir: PathBuf,

    /// How long the thirty days of the world take, in seconds of wall time
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    pub seconds: f64,

    /// Forget the cursors and what the gate has seen, and start over
    #[arg(long)]
    pub fresh: bool,
}

/// Runs it.
pub fn run(args: &DemoArgs, json: bool) -> Result<ExitCode, CliError> {
    if !(args.seconds.is_finite() && args.seconds > 0.0) {
        return Err(Failure::new(Reason::StreamFailed, "--seconds")
            .found(args.seconds.to_string())
            .expected("a number of seconds above 0")
            .exits(ExitCode::Usage)
            .into());
    }
    let world = args.dir.join("world");
    let runs = args.dir.join("runs");
    let record = args.dir.join("admitted.jsonl");
    if args.fresh {
        forget(&runs)?;
    }
    if !json {
        eprintln!(
            "1  a world: six outputs over {DAYS} days, sealed, views sorted, in {}",
            world.display()
        );
    }
    let made = sample::write(&SampleSpec::new(&world, SEED, ROWS, DAYS), &|_| {})?;
    if !json && made.already_there {
        eprintln!("   it is there already");
    }
    std::fs::create_dir_all(&args.dir).map_err(|error| {
        Failure::new(Reason::StreamFailed, args.dir.display().to_string()).cause(&error)
    })?;
    let gate = devgate::spawn(GateConfig {
        record: Some(record.clone()),
        fresh: args.fresh,
        ..GateConfig::default()
    })?;
    let flags = flags(args, &made.run_root, &runs, &gate.url());
    let plan = crate::plan::plan(&flags)?;
    let seconds = (f64::from(DAYS) * 86_400.0) / args.seconds;
    if !json {
        eprintln!("2  a development gate on {}", gate.url());
        eprintln!(
            "3  the replay at {seconds:.0}× event time: four of the outputs, context before traffic (mode fraud), as run {PLATFORM_RUN_ID}"
        );
    }
    let style = if json { Style::Silent } else { Style::Auto };
    let ran = blocking(replay(plan, style))??;
    let seen = gate.stop();
    let code = report(&ran, None, json)?;
    if !json {
        let total: u64 = ran
            .end
            .summary
            .outputs
            .iter()
            .map(|receipt| receipt.rows)
            .sum();
        println!(
            "{} events taken, recorded in {}",
            thousands(total),
            record.display()
        );
        let _ = seen;
        next(args, code, &made.run_root);
    }
    Ok(code)
}

fn flags(args: &DemoArgs, run_root: &str, runs: &Path, gate: &str) -> RunFlags {
    RunFlags {
        profile: Some("local".to_owned()),
        engine_run_root: Some(run_root.to_owned()),
        speedup: Some(f64::from(DAYS) * 86_400.0 / args.seconds),
        platform_run_id: Some(PLATFORM_RUN_ID.to_owned()),
        gate_url: Some(gate.to_owned()),
        runs_root: Some(runs.to_owned()),
        ..RunFlags::default()
    }
}

fn forget(runs: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(runs) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(Failure::new(Reason::StreamFailed, runs.display().to_string()).cause(&error))
        }
    }
}

fn next(args: &DemoArgs, code: ExitCode, run_root: &str) {
    println!();
    println!("Next:");
    match code {
        ExitCode::Interrupted => println!("  make demo                 goes on at its cursors"),
        _ => println!(
            "  make demo FRESH=1         once more, from the beginning (Ctrl-C and start again: it goes on)"
        ),
    }
    let dir = args.dir.display();
    println!("  worldstream plan --engine-run-root {run_root} --platform-run-id {PLATFORM_RUN_ID}");
    println!("  worldstream checkpoints list {dir}/runs/{PLATFORM_RUN_ID}/wsp/checkpoints");
    println!("  worldstream dev-gate --help   a gate that misbehaves on demand");
    println!(
        "  worldstream run --help        replay a world of your own; --traffic-mode baseline for the other traffic"
    );
}
