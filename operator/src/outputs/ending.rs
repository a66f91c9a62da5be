//! How workers end, and why an output failed for good.

use serde::Deserialize;
use worldstream_crds::Reason;

use super::*;

/// What the termination message of a worker says.
#[derive(Deserialize)]
struct Told {
    reason: String,
    #[serde(default)]
    message: String,
}

/// Why the Job's output failed for good, if it did.
pub(super) fn failed(
    facts: &Facts<'_>,
    job: &JobView,
    wanted: &Wanted,
    verdict: &mut Verdict,
) -> Option<FailureStatus> {
    let for_good = [
        ExitCode::Usage,
        ExitCode::FailClosed,
        ExitCode::Refused,
        ExitCode::Fenced,
    ];
    let ended = pods_of(facts, job)
        .filter(|pod| !pod.disrupted)
        .filter_map(|pod| pod.ended.as_ref())
        .find(|it| {
            for_good
                .iter()
                .any(|code| i32::from(code.code()) == it.code)
        });
    if ended.is_none() && unsaid(facts, job) {
        return None;
    }
    if ended.is_some() || job.failed.is_some() {
        return Some(explain(facts, ended, job.failed.as_deref()));
    }
    let crashes: Vec<&PodView> = pods_of(facts, job)
        .filter(|pod| pod.life == Life::Failed && !pod.disrupted)
        .collect();
    let last = crashes.first()?;
    let code = last.ended.as_ref().map_or(0, |it| it.code);
    let moved = cursor(facts) != job.notes.cursor;
    let count = job.notes.crashes + 1;
    if moved || code == i32::from(ExitCode::Interrupted.code()) || count < wanted.crash_limit {
        return None;
    }
    verdict.crashes = count;
    let what = last.ended.as_ref().map(ending).unwrap_or_default();
    Some(FailureStatus {
        reason: ConditionReason::CrashLoop.as_str().to_owned(),
        message: format!(
            "{}: crashed {count} times in a row and its cursor did not move; the last time pod {} ended{what}",
            facts.output.id, last.name
        ),
        exit_code: u32::try_from(code).ok(),
    })
}

/// Whether the Job has failed and none of its pods has said why: the Job controller saw the end of
/// one that we have still to hear of.
pub(super) fn unsaid(facts: &Facts<'_>, job: &JobView) -> bool {
    job.failed.is_some() && pods_of(facts, job).any(PodView::lives)
}

/// The reason of a failure: what the worker said itself, else what the Job controller says.
pub fn explain(facts: &Facts<'_>, ended: Option<&Ended>, job: Option<&str>) -> FailureStatus {
    let code = ended.map(|it| it.code);
    let exit_code = code.and_then(|code| u32::try_from(code).ok());
    if let Some(told) = ended.and_then(|it| serde_json::from_str::<Told>(&it.message).ok()) {
        return FailureStatus {
            reason: told.reason,
            message: told.message,
            exit_code,
        };
    }
    let reported = facts
        .checkpoints
        .iter()
        .filter(|it| it.status.state == Some(WorkerState::Failed))
        .find_map(|it| it.status.failure.clone());
    if let Some(reported) = reported {
        return reported;
    }
    FailureStatus {
        reason: Reason::StreamFailed.as_str().to_owned(),
        message: format!(
            "{}: the worker ended{}",
            facts.output.id,
            ended
                .map(ending)
                .or_else(|| job.map(|job| format!(": {job}")))
                .unwrap_or_default()
        ),
        exit_code,
    }
}

/// How a container ended, in words.
pub fn ending(ended: &Ended) -> String {
    let mut text = format!(" with exit code {}", ended.code);
    if !ended.reason.is_empty() && ended.reason != "Error" {
        text.push_str(&format!(" ({})", ended.reason));
    }
    match serde_json::from_str::<Told>(&ended.message) {
        Ok(told) => text.push_str(&format!(": {}: {}", told.reason, told.message)),
        Err(_) if !ended.message.is_empty() => text.push_str(&format!(": {}", ended.message)),
        Err(_) => {}
    }
    text
}

/// What a pod that does not start is a case of.
pub fn stuck_reason(reason: &str, message: &str) -> ConditionReason {
    let missing = message.contains("not found") || message.contains("non-existent");
    match reason {
        "Unschedulable" | "SchedulerError" if message.contains("persistentvolumeclaim") => {
            ConditionReason::VolumeNotFound
        }
        "Unschedulable" | "SchedulerError" => ConditionReason::Unschedulable,
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            ConditionReason::ImageUnavailable
        }
        _ if missing && message.contains("secret") => ConditionReason::SecretNotFound,
        _ if missing && message.contains("config") => ConditionReason::ConfigMapNotFound,
        _ => ConditionReason::PodRefused,
    }
}
