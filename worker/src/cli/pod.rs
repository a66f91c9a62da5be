//! What the two commands of a pod share: the frozen plan, signals, and last words.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::quiet::note;
use crate::cluster::access::StreamRef;
use crate::cluster::ending::{Ending, TERMINATION_LOG};
use crate::failure::Failure;
use crate::plan::{PLAN_VERSION, StreamPlan};
use crate::stop::Stop;

/// What the operator tells each of a stream's pods.
#[derive(Args, Clone, Debug)]
pub struct PodArgs {
    /// The stream's plan, as the operator froze it: JSON
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,

    /// The WorldStream
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub stream: StreamRef,

    /// Where the reason is left for which the pod ends
    #[arg(long, value_name = "FILE", default_value = TERMINATION_LOG)]
    pub termination_log: PathBuf,
}

impl PodArgs {
    /// Reads the plan.
    ///
    /// Errors: with exit code `Usage`, one that is not there, is none, or is of another version.
    pub fn read_plan(&self) -> Result<StreamPlan, Failure> {
        let bad = || {
            let object = self.plan.display().to_string();
            Failure::new(Reason::StreamFailed, object).exits(ExitCode::Usage)
        };
        let bytes = std::fs::read(&self.plan).map_err(|error| bad().cause(&error))?;
        let document: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| bad().cause(&error))?;
        // Another version may differ in every other field.
        let version = document.get("version").cloned().unwrap_or_default();
        if version != PLAN_VERSION {
            return Err(bad()
                .field("version")
                .found(version.to_string())
                .expected(PLAN_VERSION.to_string())
                .detail("this program and the operator are of different releases"));
        }
        serde_json::from_value(document).map_err(|error| bad().cause(&error))
    }

    /// Leaves last words for anything but success, and gives the command's result.
    pub fn conclude(
        &self,
        result: Result<ExitCode, Failure>,
        whose: Option<(&str, u32)>,
    ) -> Result<ExitCode, CliError> {
        let ending = match &result {
            Ok(ExitCode::Done) => None,
            Ok(ExitCode::Interrupted) => Some(Ending::interrupted(whose)),
            Ok(other) => Some(Ending::new("Ended", "", *other, whose)),
            Err(failure) if failure.exit_code() == ExitCode::Usage => Some(Ending::new(
                "Usage",
                &failure.message(),
                ExitCode::Usage,
                whose,
            )),
            Err(failure) => Some(Ending::failed(failure, whose)),
        };
        if let Some(ending) = ending {
            ending.leave(Path::new(&self.termination_log));
        }
        result.map_err(CliError::from)
    }
}

/// Sets `stop` at the first SIGTERM or SIGINT, and ends the process at the second. Never returns.
pub async fn stop_on_signals(stop: Stop) -> Failure {
    let listen = || {
        Ok((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    };
    let (mut terminate, mut interrupt) = match listen() {
        Ok(both) => both,
        Err(error) => {
            let error: std::io::Error = error;
            return Failure::new(Reason::StreamFailed, "signals").cause(&error);
        }
    };
    for asked in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked > 0 {
            // Asked twice: what is saved is saved, and a start goes on from there.
            std::process::exit(130);
        }
        note("stopping: waiting for what is in flight, saving the cursor");
        stop.set();
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_version_is_a_mistake_of_who_starts_us() {
        let dir = tempfile::tempdir().unwrap();
        let args = PodArgs {
            plan: dir.path().join("plan.json"),
            stream: "team-b/march".parse().unwrap(),
            termination_log: dir.path().join("last-words"),
        };
        for (text, says) in [
            (
                "{\"version\": 77, \"novelty\": true}",
                "found 77, expected 1",
            ),
            ("{\"version\": 1}", "missing field"),
            ("{", "EOF"),
        ] {
            std::fs::write(&args.plan, text).unwrap();
            let failure = args.read_plan().unwrap_err();
            assert_eq!(failure.exit_code(), ExitCode::Usage);
            assert!(failure.message().contains(says), "{failure}");
            let _ = args.conclude(Err(failure), None);
            let words = std::fs::read_to_string(&args.termination_log).unwrap();
            let ending: Ending = serde_json::from_str(&words).unwrap();
            assert_eq!((ending.reason.as_str(), ending.exit_code), ("Usage", 2));
        }
    }
}
