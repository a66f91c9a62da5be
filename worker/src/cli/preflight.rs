//! `worldstream preflight`: the pod that verifies a world before a stream's workers start.

use clap::Args;
use worldstream_crds::ExitCode;

use super::CliError;
use super::pod::{PodArgs, stop_on_signals};
use super::run::blocking;
use crate::cluster::preflight;
use crate::failure::Failure;
use crate::stop::Stop;

/// Verify a world for a WorldStream, in its cluster
///
/// Checks the world once for all outputs and writes the plan of each into its StreamCheckpoint. The
/// operator runs it in a Job; `worldstream plan` does the same checks without a cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  worldstream preflight --plan /etc/worldstream/plan/plan.json --stream team-a/january")]
pub struct PreflightArgs {
    /// What every pod is told.
    #[command(flatten)]
    pub pod: PodArgs,
}

/// Runs it.
pub fn run(args: &PreflightArgs) -> Result<ExitCode, CliError> {
    let result = blocking(verify(args)).and_then(|result| result);
    args.pod.conclude(result, None)
}

async fn verify(args: &PreflightArgs) -> Result<ExitCode, Failure> {
    let plan = args.pod.read_plan()?;
    let stop = Stop::new();
    tokio::select! {
        planned = preflight::run(&plan, &args.pod.stream) => planned.map(|_| ExitCode::Done),
        // Nothing is half done: it begins again from the start.
        () = stop.wait() => Ok(ExitCode::Interrupted),
        failure = stop_on_signals(stop.clone()) => Err(failure),
    }
}
