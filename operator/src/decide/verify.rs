//! The preflight Job: when it is made, and what it came to.

use super::views::{Building, build_views, stop_builds};
use super::*;
use worldstream_crds::ConditionReason;

/// Has the world verified.
pub(super) fn verify(
    situation: &Situation<'_>,
    outputs: &[Output],
    checkpoints: &[fold::Lanes],
    decision: &mut Decision,
) {
    let stream = situation.stream;
    let Ok(validated) = situation.validated else {
        decision.picture.verification = Verification::Pending;
        return;
    };
    if stream.spec.suspend {
        stop_builds(situation, decision);
    }
    let (Some(plan), false) = (&stream.status.plan, stream.spec.suspend) else {
        decision.picture.verification = Verification::Pending;
        return;
    };
    let order = JobOrder {
        validated,
        plan: &plan.name,
        image: &plan.worker_image,
    };
    let (_, template) = build::template(stream, &order, Kind::Preflight, None);
    let jobs: Vec<_> = situation
        .jobs
        .iter()
        .filter(|job| job.component == names::PREFLIGHT)
        .collect();
    let newest = jobs.iter().max_by_key(|job| job.notes.run).copied();
    let mut follows = String::new();
    if let Some(job) = newest
        && job.complete
        && job.notes.template == template
    {
        match build_views(situation, &order, job, outputs, checkpoints, decision) {
            Building::Waits => return,
            Building::Done(builds) => follows = builds,
        }
    }
    let again = stream.spec.retry > stream.status.retry;
    let next = match newest {
        None => Some(1),
        Some(job) if job.notes.template != template => Some(job.notes.run + 1),
        Some(job) if job.failed.is_some() && again && job.notes.retry < stream.spec.retry => {
            Some(job.notes.run + 1)
        }
        // The views that it missed were built since.
        Some(job) if job.complete && job.notes.cursor != follows => Some(job.notes.run + 1),
        // It wrote the plans, and one is gone again.
        Some(job) if job.complete && job.created + Duration::from_secs(60) < situation.now => {
            Some(job.notes.run + 1)
        }
        Some(_) => None,
    };
    if let Some(run) = next {
        let notes = Notes {
            run,
            cursor: follows,
            retry: stream.spec.retry,
            attempt: stream.spec.attempt.clone().unwrap_or_default(),
            ..Notes::default()
        };
        for job in jobs.iter().filter(|job| !job.deleting) {
            decision
                .todo
                .push(Action::Delete(&build::JOB, job.name.clone()));
        }
        let job = build::preflight(stream, &order, &notes);
        decision.todo.push(Action::Create(job));
        decision.picture.verification = Verification::Running(None);
        decision.picture.retry = stream.spec.retry;
        return;
    }
    let Some(job) = newest else { return };
    if job.failed.is_some() {
        let nobody = Output {
            id: "preflight".to_owned(),
            role: Default::default(),
        };
        if !ended(situation, job) {
            // The Job controller saw the pod's end first: its word comes in a moment.
            decision.picture.verification = Verification::Running(None);
            decision.look_again(Some(Duration::from_secs(1)));
            return;
        }
        decision.picture.verification = Verification::Failed(failure(situation, job, &nobody));
        return;
    }
    decision.picture.verification = Verification::Running(held_up(situation, job));
    decision.look_again(Some(Duration::from_secs(10)));
}

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
