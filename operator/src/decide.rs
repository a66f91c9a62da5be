//! What is to be done for a stream, and how it stands: the middle of a reconcile. Pure.

mod ends;
mod jobs;
mod verify;
mod views;

use std::time::Duration;

use jiff::Timestamp;
use worldstream_crds::{
    ClockMode, FailureStatus, OnOutputFailure, OutputStatus, Phase, PlanRef, Reason, Releases,
    StreamClockSpec, VerifiedWorld, WorkerState, names,
};

use self::ends::{clean_up, start_over};
use self::verify::verify;
use crate::build::{self, Child, JobOrder, Kind, Resource};
use crate::conduct::{self, Report, conduct};
use crate::fold;
use crate::outputs::{self, Do, Facts, Verdict, Wanted, judge};
use crate::picture::{Picture, Verification};
use crate::runs;
use crate::situation::Situation;
use crate::validate::Output;
use crate::views::{JobView, Notes, PodView, StreamView};

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make or correct children.
    Apply(Vec<Child>),
    /// Make a child that is never changed.
    Create(Child),
    /// End a Job's pods.
    Suspend(String),
    /// Remove a child of the stream.
    Delete(&'static Resource, String),
    /// Give up a pod whose node is gone.
    GiveUp {
        /// The pod.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Publish the clock.
    Publish {
        /// What the write is conditional on.
        version: String,
        /// The clock.
        spec: Box<StreamClockSpec>,
    },
}

/// What follows.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// To be done, in order; if one fails, the rest and the status wait.
    pub todo: Vec<Action>,
    /// How the stream stands once that is done.
    pub picture: Picture,
    /// When to look again although nothing changed.
    pub again: Option<Duration>,
}

impl Decision {
    fn look_again(&mut self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            self.again = Some(self.again.map_or(wait, |known| known.min(wait)));
        }
    }
}

/// Decides.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let stream = situation.stream;
    let attempt = stream.spec.attempt.clone().unwrap_or_default();
    let mut decision = Decision {
        picture: Picture::before(stream, situation.live),
        ..Decision::default()
    };
    if let (Err(invalid), None) = (situation.validated, &stream.status.world) {
        decision.picture.accepted = Err(invalid.clone());
    }
    // The platform run is recorded before anything else exists.
    if stream.status.platform_run_id.is_none() {
        return decision;
    }
    if stream
        .status
        .attempt
        .as_ref()
        .is_some_and(|it| *it != attempt)
    {
        start_over(situation, &mut decision);
        return decision;
    }
    if let Some(rival) = &situation.rival
        && stream.status.started_at.is_none()
    {
        decision.picture.conflict(rival);
        // Nobody says here that the other has ended.
        decision.look_again(Some(Duration::from_secs(10)));
        return decision;
    }
    let completed = stream.status.phase == Some(Phase::Completed);
    if ended(stream) && (completed || stream.spec.retry <= stream.status.retry) {
        clean_up(situation, &mut decision);
        return decision;
    }
    if !freeze(situation, &mut decision) {
        return decision;
    }
    let outputs = fold::outputs_of(&stream.status.outputs, situation.validated);
    let lanes = stream
        .status
        .outputs
        .first()
        .map_or(1, |output| output.lanes.max(1));
    let checkpoints = fold::by_lane(situation, &outputs, lanes);
    if checkpoints.iter().any(fold::Lanes::is_empty_lane) {
        if let Ok(validated) = situation.validated {
            let run = runs::known(stream).unwrap_or_default();
            decision.todo.push(Action::Apply(build::checkpoints(
                stream,
                run,
                &validated.outputs,
                lanes,
            )));
        }
        decision.look_again(Some(Duration::from_secs(2)));
    }
    let planned = checkpoints.iter().all(|it| it.planned(lanes));
    if !planned {
        verify(situation, &outputs, &checkpoints, &mut decision);
        return decision;
    }
    decision.picture.verification = Verification::Verified;
    let plan = checkpoints
        .iter()
        .flat_map(|it| it.lanes.iter().flatten())
        .find_map(|it| it.status.plan.clone());
    if let Some(plan) = plan {
        decision.picture.scenario_run_id = Some(plan.scenario_run_id);
        decision.picture.world = Some(VerifiedWorld {
            pack_key: plan.pack_key,
            engine_run_id: plan.engine_run_id,
            scenario: plan.scenario,
            root: plan.root,
        });
    }
    stream_outputs(situation, &outputs, lanes, &checkpoints, &mut decision);
    decision
}

/// Whether the stream has come to an end.
pub fn ended(stream: &StreamView) -> bool {
    stream.status.completed_at.is_some()
        && matches!(stream.status.phase, Some(Phase::Completed | Phase::Failed))
}

/// Freezes the plan, anew as long as no world was verified by it. Whether there is a plan to go
/// on with.
fn freeze(situation: &Situation<'_>, decision: &mut Decision) -> bool {
    let stream = situation.stream;
    let picture = &mut decision.picture;
    let frozen = stream
        .status
        .plan
        .as_ref()
        .filter(|plan| !plan.name.is_empty());
    let fixed = stream.status.world.is_some();
    let validated = match situation.validated {
        Ok(validated) => validated,
        Err(invalid) => {
            match (frozen, fixed) {
                (Some(_), true) => picture.drift = Some(invalid.message.clone()),
                _ => picture.accepted = Err(invalid.clone()),
            }
            return frozen.is_some() && fixed;
        }
    };
    picture.accepted = Ok(());
    if let Some(plan) = frozen {
        if plan.hash == validated.hash {
            return true;
        }
        if fixed {
            // Speed and the like are the stream's own to change: they are no drift of the profile.
            if plan.profile_generation == validated.profile_generation
                || plan.fixed_hash.as_ref() == Some(&validated.fixed_hash)
            {
                return true;
            }
            picture.drift = Some(format!(
                "StreamProfile {} (generation {}) would give another plan than the one that was frozen \
                 (generation {}); credentials, retry, resources and image take effect when a worker is \
                 replaced, the rest with a new attempt",
                validated.plan.profile, validated.profile_generation, plan.profile_generation
            ));
            return true;
        }
    }
    let run = runs::known(stream).unwrap_or_default();
    let plan = build::plan(stream, validated);
    picture.plan = Some(PlanRef {
        name: plan.name.clone(),
        hash: validated.hash.clone(),
        fixed_hash: Some(validated.fixed_hash.clone()),
        worker_image: validated.image.clone(),
        profile_generation: validated.profile_generation,
    });
    let lanes = validated.lanes;
    let checkpoints = build::checkpoints(stream, run, &validated.outputs, lanes);
    let names: Vec<String> = checkpoints.iter().map(|it| it.name.clone()).collect();
    let mut children = vec![plan];
    for kind in [Kind::Preflight, Kind::Worker] {
        children.extend(build::roles(stream, &validated.pods, kind, &names));
    }
    children.extend(checkpoints);
    decision.todo.push(Action::Apply(children));
    if situation.clock.is_none() {
        decision
            .todo
            .push(Action::Create(build::clock(stream, validated.live.speedup)));
    }
    if !fixed {
        let outputs = validated.outputs.iter().map(|output| OutputStatus {
            output: output.id.clone(),
            role: output.role,
            lanes,
            ..OutputStatus::default()
        });
        decision.picture.outputs = outputs.collect();
    }
    decision.picture.verification = Verification::Pending;
    // What comes next reads the plan from the status.
    false
}

/// Has the outputs streamed, and conducts the clock.
fn stream_outputs(
    situation: &Situation<'_>,
    outputs: &[Output],
    lanes: u32,
    checkpoints: &[fold::Lanes],
    decision: &mut Decision,
) {
    let (stream, live, now) = (situation.stream, situation.live, situation.now);
    let status = &stream.status;
    let order = situation.validated.as_ref().ok().and_then(|validated| {
        let plan = status.plan.as_ref()?;
        Some(JobOrder {
            validated,
            plan: &plan.name,
            image: &plan.worker_image,
        })
    });
    let released = status
        .releases
        .as_ref()
        .and_then(|it| it.next_at.as_deref());
    let released = released
        .and_then(|at| at.parse::<Timestamp>().ok())
        .filter(|at| *at > now);
    let facts: Vec<Facts<'_>> = outputs
        .iter()
        .zip(checkpoints)
        .map(|(output, checkpoints)| fold::facts(situation, output, lanes, checkpoints))
        .collect();
    let alive = situation.pods.iter().any(|pod| pod.lives());
    let new_image = order
        .as_ref()
        .map(|order| order.validated.image.clone())
        .filter(|image| Some(image) != status.plan.as_ref().map(|plan| &plan.worker_image));
    if let (Some(image), Some(plan)) = (new_image, &status.plan)
        && (live.rollout == worldstream_crds::Rollout::Immediately
            || !alive && (stream.spec.suspend || situation.jobs.is_empty()))
    {
        decision.picture.plan = Some(PlanRef {
            worker_image: image,
            ..plan.clone()
        });
    }
    let wanted = |run: bool, output: &Output| Wanted {
        run,
        retry: stream.spec.retry,
        retried: status.retry,
        attempt: stream.spec.attempt.clone().unwrap_or_default(),
        template: order.as_ref().map(|order| {
            let output = Some(output.id.as_str());
            build::template(stream, order, Kind::Worker, output).1
        }),
        replace: live.rollout == worldstream_crds::Rollout::Immediately,
        crash_limit: live.crash_limit,
        fences: live.fences,
    };
    let judge_all = |run: bool| -> Vec<Verdict> {
        let each = facts.iter();
        each.map(|facts| judge(facts, &wanted(run, facts.output), now))
            .collect()
    };
    let go = !stream.spec.suspend && released.is_none();
    let mut verdicts = judge_all(go);
    let failed = verdicts.iter().any(|it| it.failure.is_some());
    let stopped = failed && live.on_output_failure == OnOutputFailure::StopAll;
    if stopped {
        verdicts = judge_all(false);
    }
    let done = |it: &Verdict| it.state == WorkerState::Finished || it.failure.is_some();
    let all_up = verdicts.iter().all(|it| done(it) || it.up);
    let unfinished = verdicts.iter().any(|it| !done(it));
    let clock = situation
        .clock
        .as_ref()
        .map(|clock| clock.spec.clone())
        .unwrap_or_default();
    // Primed too late: all give their places back, so that others can have them.
    let waits = clock.revision == 0 || clock.paused && !stream.spec.paused;
    let since = verdicts
        .iter()
        .filter(|it| !done(it) && !it.up)
        .filter_map(|it| it.since)
        .max();
    let picture = &mut decision.picture;
    if go
        && !stopped
        && waits
        && !all_up
        && let Some(since) = since
    {
        let due = since + live.prime_timeout;
        if due <= now {
            let releases = release(stream, status.releases.as_ref(), now);
            picture.releases = Some(Releases {
                why: Some(in_the_way(&facts, &verdicts)),
                ..releases
            });
            verdicts = judge_all(false);
            picture.released = true;
        } else {
            let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            picture.priming_until = Some(due);
            decision.again = Some(wait + Duration::from_millis(50));
        }
    }
    if let Some(next) = released {
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        decision.look_again(Some(wait + Duration::from_millis(50)));
    }
    let picture = &mut decision.picture;
    picture.released |= released.is_some();
    picture.stopped = stopped;
    picture.all_up = all_up && go;
    picture.alive = verdicts.iter().any(|it| it.alive);
    let reports = fold::reports(situation, &facts, &verdicts, &clock, live);
    let conditions = conduct::Conditions {
        clock: &clock,
        started: status.started_at.is_some(),
        live,
        stand: stream.spec.paused || !go || stopped || picture.released,
        asked: stream.spec.paused || stream.spec.suspend,
        all_up: all_up && go && !stopped && !picture.released,
        reports: &reports.iter().map(|it| it.report).collect::<Vec<Report>>(),
        by: &|field: &str| {
            let writer = stream.writers.get(field);
            writer.map_or(situation.manager, String::as_str).to_owned()
        },
    };
    let mut step = match unfinished || clock.revision == 0 {
        true => conduct(now, &conditions),
        false => conduct::Step::default(),
    };
    if let Some((index, lag)) = step.overdue
        && let Some(report) = reports.get(index)
    {
        let failure = FailureStatus {
            reason: Reason::LagLimit.as_str().to_owned(),
            message: format!(
                "{}: found {lag:.1?} behind the clock, expected at most {:?}",
                outputs[report.output].id, live.max_lag
            ),
            exit_code: None,
        };
        verdicts[report.output].failure = Some(failure);
        verdicts[report.output].state = WorkerState::Failed;
        // The next look sees the failure in the status, and stops what is to be stopped.
        step.again = Some(Duration::from_millis(100));
    }
    match (&situation.clock, step.publish) {
        (Some(view), Some(spec)) => {
            decision.picture.clock = spec.clone();
            decision.todo.push(Action::Publish {
                version: view.version.clone(),
                spec: Box::new(spec),
            });
        }
        (None, _) => {
            decision
                .todo
                .push(Action::Create(build::clock(stream, live.speedup)));
            decision.picture.clock = clock;
        }
        (Some(_), None) => decision.picture.clock = clock,
    }
    if decision.picture.clock.revision == 0 {
        // Nothing moves yet: what is told is the speed that it is to start with.
        decision.picture.clock.speedup = live.speedup;
    }
    decision.look_again(step.again);
    let checkpoints: Vec<String> = checkpoints
        .iter()
        .flat_map(|it| it.lanes.iter().flatten())
        .map(|it| it.name.clone())
        .collect();
    let creates = verdicts
        .iter()
        .flat_map(|it| &it.todo)
        .any(|it| matches!(it, Do::Create { .. }));
    let answered = verdicts.iter().all(|it| !it.unanswered);
    if answered && (creates || verdicts.iter().all(|it| it.failure.is_none())) {
        decision.picture.retry = stream.spec.retry;
    }
    for verdict in &verdicts {
        decision.look_again(verdict.again);
        for todo in &verdict.todo {
            decision.todo.extend(action(stream, order.as_ref(), todo));
        }
    }
    if let (true, Some(order)) = (creates, &order) {
        // Made when the plan was frozen; if somebody took them away a Job waits for them, and a
        // worker's replacement need not.
        let pods = &order.validated.pods;
        let roles = build::roles(stream, pods, Kind::Worker, &checkpoints);
        decision.todo.push(Action::Apply(roles));
    }
    if decision.picture.clock.mode == ClockMode::Settling {
        decision.look_again(Some(Duration::from_secs(2)));
    }
    fold::picture(situation, &facts, &verdicts, &mut decision.picture);
}

fn action(stream: &StreamView, order: Option<&JobOrder<'_>>, todo: &Do) -> Option<Action> {
    Some(match todo {
        Do::Create { notes, take_over } => {
            Action::Create(build::worker(stream, order?, notes, take_over))
        }
        Do::Suspend(job) => Action::Suspend(job.clone()),
        Do::Delete(job) => Action::Delete(&build::JOB, job.clone()),
        Do::GiveUp { pod, uid } => Action::GiveUp {
            pod: pod.clone(),
            uid: uid.clone(),
        },
    })
}

/// When the outputs try again: later each time, and not at the same moment as another stream.
fn release(stream: &StreamView, before: Option<&Releases>, now: Timestamp) -> Releases {
    let count = before.map_or(0, |it| it.count) + 1;
    let hash = names::short_hash(&[&stream.uid, &count.to_string()]);
    let share = u64::from_str_radix(&hash[..6], 16).unwrap_or_default() % 1_000;
    let base = 10_000u64 << (count - 1).min(5);
    let wait = Duration::from_millis(base / 2 + base * share / 1_000);
    Releases {
        count,
        last_at: Some(now.to_string()),
        next_at: Some((now + wait).to_string()),
        why: None,
    }
}

/// What kept the outputs from being ready: the pods that found no room, by name.
fn in_the_way(facts: &[Facts<'_>], verdicts: &[Verdict]) -> String {
    let waiting = facts.iter().zip(verdicts).filter(|(_, verdict)| {
        !verdict.up && verdict.failure.is_none() && verdict.state != WorkerState::Finished
    });
    let each = waiting.map(|(facts, verdict)| match &verdict.trouble {
        Some((_, message)) => message.clone(),
        None => format!("{} was not ready", facts.output.id),
    });
    each.collect::<Vec<_>>().join("; ")
}
