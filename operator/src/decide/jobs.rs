//! What a Job of preflight or of a build came to.

use super::*;
use worldstream_crds::ConditionReason;

/// Whether a pod of a Job has said how it ended, or none is left that could.
pub(super) fn ended(situation: &Situation<'_>, job: &JobView) -> bool {
    let said = |pod: &PodView| pod.ended.as_ref().is_some_and(|it| it.code != 0);
    pods_of(situation, job).any(said) || !pods_of(situation, job).any(|pod| pod.lives())
}

/// Why a Job of preflight or of a build failed for good.
pub(super) fn failure(situation: &Situation<'_>, job: &JobView, output: &Output) -> FailureStatus {
    let facts = Facts {
        output,
        lanes: 1,
        jobs: Vec::new(),
        pods: Vec::new(),
        checkpoints: Vec::new(),
        before: None,
    };
    let ended = pods_of(situation, job).filter_map(|pod| pod.ended.as_ref());
    let ended = ended.max_by_key(|it| it.at).filter(|it| it.code != 0);
    // Its pods may be gone by now: what was said of its end stays.
    let before = situation
        .stream
        .status
        .conditions
        .iter()
        .find(|it| it.type_ == "Failed" && it.status == "True" && ended.is_none());
    match before {
        Some(before) => FailureStatus {
            reason: before.reason.clone(),
            message: before.message.clone(),
            exit_code: None,
        },
        None => outputs::explain(&facts, ended, job.failed.as_deref()),
    }
}

/// What keeps the pods of a Job from starting.
pub(super) fn held_up(
    situation: &Situation<'_>,
    job: &JobView,
) -> Option<(ConditionReason, String)> {
    let stuck = pods_of(situation, job)
        .filter(|pod| pod.lives())
        .find_map(|pod| {
            let stuck = pod.stuck.as_ref()?;
            let reason = outputs::stuck_reason(&stuck.reason, &stuck.message);
            Some((
                reason,
                format!("pod {}: {}: {}", pod.name, stuck.reason, stuck.message),
            ))
        });
    let refused = job.refused.clone();
    stuck.or(refused.map(|told| (ConditionReason::PodRefused, told)))
}

fn pods_of<'a>(
    situation: &'a Situation<'_>,
    job: &'a JobView,
) -> impl Iterator<Item = &'a PodView> {
    let pods = situation.pods.iter().map(AsRef::as_ref);
    pods.filter(|pod: &&PodView| pod.job == job.uid)
}
