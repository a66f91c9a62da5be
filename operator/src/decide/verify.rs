//! The preflight Job: when it is made, and what it came to.

use super::jobs::{ended, failure, held_up};
use super::views::{Building, build_views, stop_builds};
use super::*;

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
