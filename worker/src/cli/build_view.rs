//! `worldstream build-view`: the pod that builds a missing view before a stream begins.

use std::path::PathBuf;

use clap::Args;
use worldstream_crds::{BytesText, ExitCode};

use super::CliError;
use super::pod::{PodArgs, stop_on_signals};
use super::run::blocking;
use crate::cluster::build;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::view::build::{BuildOptions, LEAST_MEMORY};

/// Build the view of an output for a WorldStream, in its cluster
///
/// The operator runs it in a Job where preflight found no view and the profile says
/// `oracle.buildViews: IfMissing`; `worldstream oracle build-views` does the same without a cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  worldstream build-view --plan /etc/worldstream/plan/plan.json --stream team-a/january \\
      --output arrival_events_5B")]
pub struct BuildViewArgs {
    /// What every pod is told.
    #[command(flatten)]
    pub pod: PodArgs,
    /// The output's id
    #[arg(long, value_name = "ID")]
    pub output: String,
    /// Memory that the process may take, at least 64MiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = memory)]
    pub memory: BytesText,
    /// Where sorted rows are kept meanwhile [default: beside the view, or below
    /// /var/run/worldstream for a world in S3]
    #[arg(long, value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
}

fn memory(text: &str) -> Result<BytesText, String> {
    let bytes: BytesText = text.parse()?;
    match bytes.0 >= LEAST_MEMORY {
        true => Ok(bytes),
        false => Err(format!("found {bytes}, expected 64MiB or more")),
    }
}

/// Runs it.
pub fn run(args: &BuildViewArgs) -> Result<ExitCode, CliError> {
    let result = blocking(build(args)).and_then(|result| result);
    args.pod.conclude(result, Some((&args.output, 0)))
}

async fn build(args: &BuildViewArgs) -> Result<ExitCode, Failure> {
    let plan = args.pod.read_plan()?;
    let options = BuildOptions {
        memory: args.memory.0,
        spill: args.spill_dir.clone(),
        ..BuildOptions::default()
    };
    let stop = Stop::new();
    tokio::select! {
        built = build::run(&plan, &args.pod.stream, &args.output, &options) => {
            built.map(|_| ExitCode::Done)
        }
        // What was sorted stays where it is, and the next pod goes on from it.
        () = stop.wait() => Ok(ExitCode::Interrupted),
        failure = stop_on_signals(stop.clone()) => Err(failure),
    }
}
