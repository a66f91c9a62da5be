//! `worldstream demo`: a world, a gate and a replay in one process, for whoever sees worldstream
//! for the first time. Interrupted and started again, it goes on at its cursors.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::quiet::note;
use super::run::{blocking, print, replay, report};
use crate::devgate::{self, GateConfig, Summary};
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
/// The run of the replay that is proposed next.
const OTHER_RUN_ID: &str = "platform_20260102T000000Z";
/// Where everything is kept by default.
const DIR: &str = "demo";
/// 24,000 traffic events and three context tables of 12,000 rows: 60,000 events.
const ROWS: u64 = 24_000;
const DAYS: u32 = 30;
const SEED: u64 = 7;

/// A world, a gate and a replay in one process
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where the world, the cursors and the record are kept
    #[arg(long, value_name = "DIR", default_value = DIR)]
    pub dir: PathBuf,

    /// How long the thirty days of the world take, in seconds of wall time
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    pub seconds: f64,

    /// Forget the cursors and what the gate has seen, and start over
    #[arg(long)]
    pub fresh: bool,
}

/// Runs it. The table and what to try next are on `out` then.
pub fn run(args: &DemoArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    if !(args.seconds.is_finite() && args.seconds > 0.0) {
        return Err(Failure::new(Reason::StreamFailed, "--seconds")
            .found(args.seconds.to_string())
            .expected("a number of seconds above 0")
            .exits(ExitCode::Usage)
            .into());
    }
    let say = |line: String| {
        if !json {
            note(line);
        }
    };
    let world = args.dir.join("world");
    let runs = args.dir.join("runs");
    let record = args.dir.join("admitted.jsonl");
    if args.fresh {
        forget(&runs)?;
    }
    say(format!(
        "1  a world: six outputs over {DAYS} days, sealed, views sorted, in {}",
        world.display()
    ));
    let made = sample::write(&SampleSpec::new(&world, SEED, ROWS, DAYS), &|_| {})?;
    if made.already_there {
        say("   it is there already".to_owned());
    }
    let gate = devgate::spawn(GateConfig {
        record: Some(record.clone()),
        fresh: args.fresh,
        ..GateConfig::default()
    })?;
    let plan = crate::plan::plan(&flags(args, &made.run_root, &runs, &gate.url()))?;
    say(format!("2  a development gate on {}", gate.url()));
    say(format!(
        "3  the replay at {:.0}× event time, about {} s: four of the outputs, context before traffic (mode fraud), as run {PLATFORM_RUN_ID}",
        speedup(args),
        args.seconds
    ));
    let style = if json { Style::Silent } else { Style::Auto };
    let ran = blocking(replay(plan, style))??;
    let seen = gate.stop();
    let code = report(&ran, None, json, out)?;
    if !json {
        let said = farewell(&seen, &record, code) + &next(args, &made.run_root, &runs, code);
        print(out, &said)?;
    }
    Ok(code)
}

fn speedup(args: &DemoArgs) -> f64 {
    f64::from(DAYS) * 86_400.0 / args.seconds
}

fn flags(args: &DemoArgs, run_root: &str, runs: &Path, gate: &str) -> RunFlags {
    RunFlags {
        profile: Some("local".to_owned()),
        engine_run_root: Some(run_root.to_owned()),
        speedup: Some(speedup(args)),
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

/// What the gate has seen.
fn farewell(seen: &Summary, record: &Path, code: ExitCode) -> String {
    let mut text = match (seen.pushes, code) {
        (0, ExitCode::Done) => {
            "nothing was left to send: this run was complete already\n".to_owned()
        }
        _ => format!(
            "the gate admitted {} events just now and saw {} duplicates\n",
            thousands(seen.admitted),
            thousands(seen.duplicates)
        ),
    };
    text.push_str(&format!(
        "{} events of this run are recorded in {}\n",
        thousands(seen.known_events),
        record.display()
    ));
    text
}

/// What to try next, as commands that work where the user stands.
fn next(args: &DemoArgs, run_root: &str, runs: &Path, code: ExitCode) -> String {
    let program = std::env::args_os().next().unwrap_or("worldstream".into());
    let program = quoted(&program.to_string_lossy());
    let (root, dir) = (quoted(run_root), quoted(&args.dir.display().to_string()));
    let runs = quoted(&runs.display().to_string());
    let again = match args.dir == Path::new(DIR) {
        true => format!("{program} demo"),
        false => format!("{program} demo --dir {dir}"),
    };
    let mut text = "\nNext:\n".to_owned();
    let mut step = |what: &str, commands: &[String]| {
        text.push_str(&format!("  {what}\n"));
        for command in commands {
            text.push_str(&format!("    {command}\n"));
        }
    };
    if code == ExitCode::Interrupted {
        step("go on at the cursors", std::slice::from_ref(&again));
    }
    step(
        "once more from the beginning (Ctrl-C stops it, and a start goes on)",
        &[format!("{again} --fresh")],
    );
    step(
        "see what would be sent, and where the cursors stand",
        &[
            format!(
                "{program} plan --profile local --engine-run-root {root} --runs-root {runs} --platform-run-id {PLATFORM_RUN_ID}"
            ),
            format!(
                "{program} checkpoints list --checkpoint-root {runs}/{PLATFORM_RUN_ID}/wsp/checkpoints"
            ),
        ],
    );
    step(
        "replay the other traffic to a gate that fails for a moment: two terminals",
        &[
            format!("{program} dev-gate --fault 5xx:events=9000..9100"),
            format!(
                "{program} run --profile local --engine-run-root {root} --runs-root {runs} --platform-run-id {OTHER_RUN_ID} --traffic-mode baseline --speedup 86400"
            ),
        ],
    );
    text
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("demo/world-a"), "demo/world-a");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
