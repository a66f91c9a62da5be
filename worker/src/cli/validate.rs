//! `worldstream validate`: smoke, completion and failure paths, a report each.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use worldstream_crds::ExitCode;

use super::CliError;
use super::quiet::note;
use super::run::print;
use crate::validate::{self, Announced, Report};

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  worldstream validate smoke
  worldstream validate completion --profile dev --engine-run-root s3://oracle-store/runs/run-1
  worldstream validate failures

Each ends with 0 if all its checks hold, else with 10. Its report is on stdout, and as JSON and as
text in wsp/validation below the run's own folder in the store, where the session log says when it
began and ended.")]
pub struct ValidateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Announce a world on a control bus of its own and stream a little of it
    ///
    /// Without a world one is written, and without a gate one is started, for this run alone.
    #[command(after_help = "Examples:
  worldstream validate smoke
  worldstream validate smoke --engine-run-root world --gate-url http://127.0.0.1:8081 --events 500")]
    Smoke(SmokeArgs),
    /// Announce a world on a control bus of its own and stream all of it
    #[command(after_help = "Examples:
  worldstream validate completion
  worldstream validate completion --profile dev --engine-run-root s3://oracle-store/runs/run-1 \\
      --store s3://fraud-platform")]
    Completion(AnnouncedArgs),
    /// Provoke each reason code that can be reached, on worlds and gates of its own
    #[command(after_help = "Example:
  worldstream validate failures --json")]
    Failures(OwnArgs),
}

#[derive(Args, Clone, Debug)]
struct OwnArgs {
    /// Where it works, in a folder of its own for each run
    #[arg(long, value_name = "DIR", default_value = "validation")]
    dir: PathBuf,
    /// The platform run that it is made as, of the form platform_YYYYMMDDTHHMMSSZ [default: of now]
    #[arg(long, value_name = "ID")]
    platform_run_id: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct AnnouncedArgs {
    #[command(flatten)]
    own: OwnArgs,
    /// The StreamProfile: a YAML file, or the name of a built-in one (local, local_parity, dev,
    /// prod)
    #[arg(long, value_name = "FILE|NAME", default_value = "local")]
    profile: String,
    /// The engine run root, a local path or s3://bucket/prefix [default: a sample world]
    #[arg(long, value_name = "ROOT")]
    engine_run_root: Option<String>,
    /// The scenario [default: the only one in the world; one in S3 is not searched]
    #[arg(long, value_name = "ID")]
    scenario: Option<String>,
    /// The Ingestion Gate's URL; `profile` takes that of the profile [default: a gate of its own]
    #[arg(long, value_name = "URL")]
    gate_url: Option<String>,
    /// The object store of facts, records and governance facts: a folder, or s3://bucket, reached
    /// as the profile's world.s3 says [default: a folder below --dir]
    #[arg(long, value_name = "ROOT")]
    store: Option<String>,
    /// Event seconds a wall-clock second; 0 is no waiting
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    speedup: f64,
}

#[derive(Args, Clone, Debug)]
struct SmokeArgs {
    #[command(flatten)]
    announced: AnnouncedArgs,
    /// At most so many events of each output
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
}

impl AnnouncedArgs {
    fn announced(&self, events: Option<u64>) -> Announced {
        Announced {
            own: self.own.own(),
            profile: self.profile.clone(),
            engine_run_root: self.engine_run_root.clone(),
            scenario: self.scenario.clone(),
            gate_url: self.gate_url.clone(),
            store: self.store.clone(),
            speedup: self.speedup,
            events,
        }
    }
}

impl OwnArgs {
    fn own(&self) -> validate::Own {
        validate::Own {
            dir: self.dir.clone(),
            platform_run_id: self.platform_run_id.clone(),
        }
    }
}

/// Runs a validation; its report is on `out` then.
pub fn run(args: &ValidateArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let mut say = |line: &str| {
        if !json {
            note(line);
        }
    };
    let report: Report = match &args.command {
        Command::Smoke(args) => {
            validate::smoke(&args.announced.announced(Some(args.events)), &mut say)?
        }
        Command::Completion(args) => validate::completion(&args.announced(None), &mut say)?,
        Command::Failures(args) => validate::failure_paths(&args.own(), &mut say)?,
    };
    let text = match json {
        true => report.json()?,
        false => report.text(),
    };
    print(out, &text)?;
    Ok(match report.ok {
        true => ExitCode::Done,
        false => ExitCode::FailClosed,
    })
}
