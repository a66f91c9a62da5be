//! The Jobs that build missing views: preflight has said which, and a Job a view builds them
//! before preflight looks again.

use worldstream_crds::{ConditionReason, ViewState, ViewStatus};

use super::jobs::{ended, failure, held_up};
use super::*;

/// How far builds are.
pub(super) enum Building {
    /// Preflight has to wait for them, or one failed for good: the picture says which.
    Waits,
    /// Nothing is missing any more: by these Jobs, none of them if there were none.
    Done(String),
}

/// Has the views built that the newest run of preflight, which is complete, found missing.
pub(super) fn build_views(
    situation: &Situation<'_>,
    order: &JobOrder<'_>,
    preflight: &JobView,
    outputs: &[Output],
    checkpoints: &[fold::Lanes],
    decision: &mut Decision,
) -> Building {
    let stream = situation.stream;
    let (mut missing, mut creates) = (Vec::new(), Vec::new());
    for (output, lanes) in outputs.iter().zip(checkpoints) {
        let first = lanes.lanes.first().and_then(Option::as_ref);
        let view = first.and_then(|it| it.status.view.clone());
        let told = decision.picture.outputs.iter_mut();
        for told in told.filter(|it| it.output == output.id) {
            told.view = view.clone();
        }
        let Some(view) = view.filter(|view| view.state != ViewState::Built) else {
            continue;
        };
        let newest = jobs(situation)
            .filter(|job| job.notes.output == output.id)
            .max_by_key(|job| job.notes.run);
        match follows(situation, order, preflight, output, newest) {
            Next::Run(run) => {
                creates.push(Notes {
                    output: output.id.clone(),
                    run,
                    cursor: preflight.notes.run.to_string(),
                    retry: stream.spec.retry,
                    attempt: stream.spec.attempt.clone().unwrap_or_default(),
                    ..Notes::default()
                });
                missing.push((output, view, None));
            }
            Next::Failed(failure) => {
                stop_builds(situation, decision);
                decision.picture.verification = Verification::Failed(failure);
                return Building::Waits;
            }
            Next::Waits(job) => missing.push((output, view, Some(job))),
        }
    }
    if missing.is_empty() {
        return Building::Done(done(situation));
    }
    if !creates.is_empty() {
        let names = checkpoints
            .iter()
            .flat_map(|it| it.lanes.iter().flatten())
            .map(|it| it.name.clone());
        let names: Vec<String> = names.collect();
        let roles = build::roles(stream, &order.validated.pods, Kind::Build, &names);
        decision.todo.push(Action::Apply(roles));
        decision.picture.retry = stream.spec.retry;
    }
    for notes in creates {
        let old = jobs(situation).filter(|job| job.notes.output == notes.output && !job.deleting);
        for job in old {
            let gone = Action::Delete(&build::JOB, job.name.clone());
            decision.todo.push(gone);
        }
        let job = build::view(stream, order, &notes);
        decision.todo.push(Action::Create(job));
    }
    let stuck = missing
        .iter()
        .find_map(|(_, _, job)| held_up(situation, (*job)?));
    let told = stuck.unwrap_or_else(|| {
        let each = missing.iter().map(|(output, view, _)| said(output, view));
        let each: Vec<String> = each.collect();
        let views = match each.len() {
            1 => "1 view is".to_owned(),
            views => format!("{views} views are"),
        };
        let message = format!("{views} missing: {}", each.join("; "));
        (ConditionReason::BuildingViews, message)
    });
    decision.picture.verification = Verification::Running(Some(told));
    decision.look_again(Some(Duration::from_secs(10)));
    Building::Waits
}

/// What follows for one view that is missing.
enum Next<'a> {
    Run(u32),
    Failed(FailureStatus),
    Waits(&'a JobView),
}

fn follows<'a>(
    situation: &Situation<'_>,
    order: &JobOrder<'_>,
    preflight: &JobView,
    output: &Output,
    newest: Option<&'a JobView>,
) -> Next<'a> {
    let stream = situation.stream;
    let Some(job) = newest else {
        return Next::Run(1);
    };
    let next = Next::Run(job.notes.run + 1);
    let id = Some(output.id.as_str());
    let (_, template) = build::template(stream, order, Kind::Build, id);
    let again = job.notes.retry < stream.spec.retry;
    if job.notes.template != template || job.suspended || job.deleting {
        return next;
    }
    if job.failed.is_some() {
        return match again {
            true => next,
            // Its pod says why, a moment later.
            false if !ended(situation, job) => Next::Waits(job),
            false => Next::Failed(failure(situation, job, output)),
        };
    }
    // Preflight has looked since and found it missing again, or the last word of its pod was lost.
    let asked_by_another = job.notes.cursor != preflight.notes.run.to_string();
    let old = job.created + Duration::from_secs(60) < situation.now;
    match job.complete && (asked_by_another || old) {
        true => next,
        false => Next::Waits(job),
    }
}

/// Ends the pods of builds: what they have sorted stays for the next.
pub(super) fn stop_builds(situation: &Situation<'_>, decision: &mut Decision) {
    for job in jobs(situation) {
        if !job.suspended && !job.complete && job.failed.is_none() && !job.deleting {
            decision.todo.push(Action::Suspend(job.name.clone()));
        }
        let pods = situation.pods.iter();
        decision.picture.alive |= pods.filter(|pod| pod.job == job.uid).any(|pod| pod.lives());
    }
}

fn jobs<'a>(situation: &'a Situation<'_>) -> impl Iterator<Item = &'a JobView> {
    let jobs = situation.jobs.iter().map(AsRef::as_ref);
    jobs.filter(|job: &&JobView| job.component == names::BUILD)
}

/// The builds that came to their end, as one text that changes with each.
fn done(situation: &Situation<'_>) -> String {
    let done = jobs(situation).filter(|job| job.complete);
    let mut done: Vec<&str> = done.map(|job| job.name.as_str()).collect();
    done.sort_unstable();
    match done.is_empty() {
        true => String::new(),
        false => names::short_hash(&done),
    }
}

/// How far one view is, for people: coarse where it would change all the time.
fn said(output: &Output, view: &ViewStatus) -> String {
    let id = &output.id;
    match (&view.state, &view.step) {
        (ViewState::Building, Some(step)) => format!("{id}: {step}, {} %", view.percent),
        (ViewState::Building, None) => format!("{id}: building"),
        _ => format!("{id}: a pod is about to build it"),
    }
}

#[cfg(test)]
mod tests;
