//! The preflight Job: when it is made, and what it came to.

use super::*;
use worldstream_crds::ConditionReason;

/// Has the world verified.
pub(super) fn verify(situation: &Situation<'_>, decision: &mut Decision) {
    let stream = situation.stream;
    let Ok(validated) = situation.validated else {
        decision.picture.verification = Verification::Pending;
        return;
    };
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
    let again = stream.spec.retry > stream.status.retry;
    let next = match newest {
        None => Some(1),
        Some(job) if job.notes.template != template => Some(job.notes.run + 1),
        Some(job) if job.failed.is_some() && again && job.notes.retry < stream.spec.retry => {
            Some(job.notes.run + 1)
        }
        // It wrote the plans, and one is gone again.
        Some(job) if job.complete && job.created + Duration::from_secs(60) < situation.now => {
            Some(job.notes.run + 1)
        }
        Some(_) => None,
    };
    if let Some(run) = next {
        let notes = Notes {
            run,
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
    let pods: Vec<_> = situation
        .pods
        .iter()
        .filter(|pod| pod.job == job.uid)
        .collect();
    if let Some(told) = &job.failed {
        let nobody = Output {
            id: "preflight".to_owned(),
            role: Default::default(),
        };
        let facts = Facts {
            output: &nobody,
            lanes: 1,
            jobs: Vec::new(),
            pods: Vec::new(),
            checkpoints: Vec::new(),
            before: None,
        };
        let ended = pods.iter().filter_map(|pod| pod.ended.as_ref());
        let ended = ended.max_by_key(|it| it.at).filter(|it| it.code != 0);
        if ended.is_none() && pods.iter().any(|pod| pod.lives()) {
            // The Job controller saw the pod's end first: its word comes in a moment.
            decision.picture.verification = Verification::Running(None);
            decision.look_again(Some(Duration::from_secs(1)));
            return;
        }
        let before = stream
            .status
            .conditions
            .iter()
            .find(|it| it.type_ == "Failed" && it.status == "True" && ended.is_none());
        let failure = match before {
            Some(before) => FailureStatus {
                reason: before.reason.clone(),
                message: before.message.clone(),
                exit_code: None,
            },
            None => outputs::explain(&facts, ended, Some(told)),
        };
        decision.picture.verification = Verification::Failed(failure);
        return;
    }
    let stuck = pods.iter().filter(|pod| pod.lives()).find_map(|pod| {
        let stuck = pod.stuck.as_ref()?;
        let reason = outputs::stuck_reason(&stuck.reason, &stuck.message);
        Some((
            reason,
            format!("pod {}: {}: {}", pod.name, stuck.reason, stuck.message),
        ))
    });
    let refused = job
        .refused
        .clone()
        .map(|told| (ConditionReason::PodRefused, told));
    decision.picture.verification = Verification::Running(stuck.or(refused));
    decision.look_again(Some(Duration::from_secs(10)));
}
