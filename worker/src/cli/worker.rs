//! `worldstream worker`: the pod that streams one output, or a lane of it.

use std::net::SocketAddr;

use clap::Args;
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::pod::{PodArgs, stop_on_signals};
use super::run::blocking;
use crate::cluster::record::Pod;
use crate::cluster::worker::{self, Task};
use crate::failure::Failure;
use crate::stop::Stop;

/// Stream one output of a WorldStream, in its cluster
///
/// Takes the output's StreamCheckpoint, waits for the stream's clock, and sends by it. The operator
/// runs it in a Job for each output; `worldstream run` does the same for all outputs in one
/// process, without a cluster. SIGTERM has it wait for what is in flight, save, and end with exit
/// code 14.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Environment:
  JOB_COMPLETION_INDEX        the lane, if --lane is not given
  POD_NAME, POD_UID           who holds the StreamCheckpoint
  JOB_NAME                    pods of the same Job may follow each other as its holder
  WORLDSTREAM_TAKE_OVER_FROM  uids of holders that are certainly gone, with commas

Example:
  worldstream worker --plan /etc/worldstream/plan/plan.json --stream team-a/january \\
      --output arrival_events_5B")]
pub struct WorkerArgs {
    /// What every pod is told.
    #[command(flatten)]
    pub pod: PodArgs,

    /// The output
    #[arg(long, value_name = "ID")]
    pub output: String,

    /// The lane, from 0
    #[arg(long, value_name = "N")]
    pub lane: Option<u32>,

    /// Where /metrics and /healthz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub listen: SocketAddr,
}

/// Runs it.
pub fn run(args: &WorkerArgs) -> Result<ExitCode, CliError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let lane = lane(args.lane, variable("JOB_COMPLETION_INDEX").as_deref());
    let whose = (args.output.as_str(), *lane.as_ref().unwrap_or(&0));
    let result = lane.and_then(|lane| {
        let task = Task {
            stream: args.pod.stream.clone(),
            output: args.output.clone(),
            lane,
            pod: pod(variable),
            listen: args.listen,
        };
        blocking(stream(args, task)).and_then(|result| result)
    });
    args.pod.conclude(result, Some(whose))
}

async fn stream(args: &WorkerArgs, task: Task) -> Result<ExitCode, Failure> {
    let plan = args.pod.read_plan()?;
    let stop = Stop::new();
    tokio::select! {
        end = worker::run(plan, task, stop.clone()) => end,
        failure = stop_on_signals(stop.clone()) => Err(failure),
    }
}

fn lane(flag: Option<u32>, index: Option<&str>) -> Result<u32, Failure> {
    match (flag, index) {
        (Some(lane), _) => Ok(lane),
        (None, None) => Ok(0),
        (None, Some(index)) => index.parse().map_err(|_| {
            Failure::new(Reason::LaneConfigInvalid, "JOB_COMPLETION_INDEX")
                .found(format!("{index:?}"))
                .expected("the lane, a number from 0")
        }),
    }
}

fn pod(variable: impl Fn(&str) -> Option<String>) -> Pod {
    let name = variable("POD_NAME")
        .or_else(|| variable("HOSTNAME"))
        .unwrap_or_else(|| format!("process-{}", std::process::id()));
    let gone = variable("WORLDSTREAM_TAKE_OVER_FROM").unwrap_or_default();
    Pod {
        uid: variable("POD_UID").unwrap_or_else(|| name.clone()),
        name,
        job: variable("JOB_NAME"),
        gone: gone
            .split(',')
            .map(|uid| uid.trim().to_owned())
            .filter(|uid| !uid.is_empty())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_the_jobs_index_unless_it_is_given() {
        assert_eq!(lane(Some(3), Some("1")).unwrap(), 3);
        assert_eq!(lane(None, Some("11")).unwrap(), 11);
        assert_eq!(lane(None, None).unwrap(), 0);
        let failure = lane(None, Some("first")).unwrap_err();
        assert_eq!(failure.reason(), Reason::LaneConfigInvalid);
    }

    #[test]
    fn a_pod_is_what_its_environment_says() {
        let told = |name: &str| match name {
            "POD_NAME" => Some("apr-out-1".to_owned()),
            "WORLDSTREAM_TAKE_OVER_FROM" => Some("u1, u2,".to_owned()),
            _ => None,
        };
        let pod = pod(told);
        assert_eq!(
            (pod.name.as_str(), pod.uid.as_str()),
            ("apr-out-1", "apr-out-1")
        );
        assert_eq!((pod.job, pod.gone), (None, vec!["u1".into(), "u2".into()]));
    }
}
