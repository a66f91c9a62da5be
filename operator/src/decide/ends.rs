//! What is done after the end of a stream, and of an attempt.

use super::*;

/// A new attempt: what the old one made is ended, and then everything is as at the beginning.
pub(super) fn start_over(situation: &Situation<'_>, decision: &mut Decision) {
    let alive = situation.pods.iter().any(|pod| pod.lives());
    for job in &situation.jobs {
        if !job.suspended && !job.complete && job.failed.is_none() {
            decision.todo.push(Action::Suspend(job.name.clone()));
        } else if !alive && !job.deleting {
            decision
                .todo
                .push(Action::Delete(&build::JOB, job.name.clone()));
        }
    }
    decision.picture.starting_over = true;
    if alive {
        decision.look_again(Some(Duration::from_secs(5)));
        return;
    }
    if let Some(clock) = &situation.clock {
        decision
            .todo
            .push(Action::Delete(&build::CLOCK, clock.name.clone()));
    }
    decision.picture.reset = situation
        .jobs
        .iter()
        .all(|job| job.suspended || job.complete || job.failed.is_some());
    decision.look_again(Some(Duration::from_secs(1)));
}

/// After the end: children go when their time has come, and only once.
pub(super) fn clean_up(situation: &Situation<'_>, decision: &mut Decision) {
    let (stream, now) = (situation.stream, situation.now);
    decision.picture.keep = true;
    let at = stream.status.completed_at.as_deref();
    let (Some(ttl), Some(Ok(at))) = (situation.live.ttl, at.map(str::parse::<Timestamp>)) else {
        return;
    };
    let due = at + ttl;
    if due > now {
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        decision.look_again(Some(wait + Duration::from_millis(100)));
        return;
    }
    for job in situation.jobs.iter().filter(|job| !job.deleting) {
        decision
            .todo
            .push(Action::Delete(&build::JOB, job.name.clone()));
    }
    let Some(plan) = stream
        .status
        .plan
        .as_ref()
        .filter(|plan| !plan.name.is_empty())
    else {
        return;
    };
    for kind in [Kind::Preflight, Kind::Build, Kind::Worker] {
        let name = names::role(&stream.key.name, kind.component());
        for resource in [&build::ROLE_BINDING, &build::ROLE, &build::SERVICE_ACCOUNT] {
            decision.todo.push(Action::Delete(resource, name.clone()));
        }
    }
    decision
        .todo
        .push(Action::Delete(&build::CONFIG_MAP, plan.name.clone()));
    decision.picture.plan = Some(PlanRef {
        name: String::new(),
        ..plan.clone()
    });
}
