//! `worldstream trigger`: the pod that follows the control bus of a ReadyTrigger.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use worldstream_crds::plan::ready::READY_PLAN_VERSION;
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::pod::stop_on_signals;
use super::run::blocking;
use crate::cluster::access::StreamRef;
use crate::cluster::ending::{Ending, TERMINATION_LOG};
use crate::failure::Failure;
use crate::plan::ready::ReadyPlan;
use crate::stop::Stop;
use crate::trigger::{self, Task};

/// Follow the control bus of a ReadyTrigger, in its cluster
///
/// Makes a WorldStream for each READY message, follows it to its end and appends the message's
/// record. The operator runs it as a Deployment for each ReadyTrigger; `worldstream ready` does the
/// same in one process, without a cluster. SIGTERM ends it at once: its WorldStreams go on, and the
/// next pod follows them.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  worldstream trigger --plan /etc/worldstream/plan/plan.json --trigger team-a/platform")]
pub struct TriggerArgs {
    /// The trigger's plan, as the operator froze it: JSON
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,

    /// The ReadyTrigger
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub trigger: StreamRef,

    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub listen: SocketAddr,

    /// Where the reason is left for which the pod ends
    #[arg(long, value_name = "FILE", default_value = TERMINATION_LOG)]
    pub termination_log: PathBuf,
}

/// Runs it.
pub fn run(args: &TriggerArgs) -> Result<ExitCode, CliError> {
    let result = blocking(follow(args)).and_then(|result| result);
    if let Err(failure) = &result {
        Ending::failed(failure, None).leave(&args.termination_log);
    }
    result.map_err(CliError::from)
}

async fn follow(args: &TriggerArgs) -> Result<ExitCode, Failure> {
    let plan = read_plan(&args.plan)?;
    let stop = Stop::new();
    let task = Task {
        trigger: args.trigger.clone(),
        listen: args.listen,
    };
    tokio::select! {
        end = trigger::run(plan, task, stop.clone()) => end,
        failure = stop_on_signals(stop.clone()) => Err(failure),
    }
}

/// Reads the plan.
///
/// Errors: with exit code `Usage`, one that is not there, is none, or is of another version.
fn read_plan(file: &Path) -> Result<ReadyPlan, Failure> {
    let bad = || {
        let object = file.display().to_string();
        Failure::new(Reason::StreamFailed, object).exits(ExitCode::Usage)
    };
    let bytes = std::fs::read(file).map_err(|error| bad().cause(&error))?;
    let document: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| bad().cause(&error))?;
    let version = document.get("version").cloned().unwrap_or_default();
    if version != READY_PLAN_VERSION {
        return Err(bad()
            .field("version")
            .found(version.to_string())
            .expected(READY_PLAN_VERSION.to_string())
            .detail("this program and the operator are of different releases"));
    }
    serde_json::from_value(document).map_err(|error| bad().cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_version_is_a_mistake_of_who_starts_us() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan.json");
        for (text, says) in [
            (
                "{\"version\": 77, \"novelty\": true}",
                "found 77, expected 1",
            ),
            ("{\"version\": 1}", "missing field"),
            ("{", "EOF"),
        ] {
            std::fs::write(&file, text).unwrap();
            let failure = read_plan(&file).unwrap_err();
            assert_eq!(failure.exit_code(), ExitCode::Usage);
            assert!(failure.message().contains(says), "{failure}");
        }
    }
}
