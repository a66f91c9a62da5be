//! The status of a WorldStream: one pure function derives phase and conditions together, so that
//! they cannot disagree.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use worldstream_crds::{
    ClockMode, ConditionReason as Why, ConditionType as What, DurationText, FailureStatus, Phase,
    Reason, WorkerState, WorldStreamStatus,
};

use crate::picture::{Picture, Verification};

/// Of a stream whose workers are gone on purpose.
const SUSPENDED: &str =
    "No worker runs, because spec.suspend is set; the stream goes on at its cursors.";

/// A condition as it is to be: true or false (or not known), why, and what there is to say.
pub struct Says(pub What, pub Option<bool>, pub String, pub String);

/// The status that follows from how a stream stands. Transition times move only when a condition's
/// status does.
pub fn derive(
    picture: &Picture,
    before: &WorldStreamStatus,
    generation: i64,
    now: Timestamp,
) -> WorldStreamStatus {
    if picture.keep {
        return WorldStreamStatus {
            observed_generation: Some(generation),
            plan: picture.plan.clone(),
            ..before.clone()
        };
    }
    if picture.reset {
        return WorldStreamStatus {
            platform_run_id: picture.run.clone(),
            attempt: Some(picture.attempt.clone()),
            retry: before.retry,
            conditions: before.conditions.clone(),
            phase: Some(Phase::Pending),
            ..WorldStreamStatus::default()
        };
    }
    let end = end(picture);
    let phase = phase(picture, &end);
    let mut status = WorldStreamStatus {
        observed_generation: Some(generation),
        phase: Some(phase),
        conditions: Vec::new(),
        platform_run_id: picture.run.clone(),
        scenario_run_id: picture.scenario_run_id.clone(),
        attempt: Some(match picture.starting_over {
            true => before.attempt.clone().unwrap_or_default(),
            false => picture.attempt.clone(),
        }),
        retry: picture.retry,
        plan: picture.plan.clone(),
        world: picture.world.clone(),
        started_at: before.started_at.clone(),
        completed_at: before.completed_at.clone(),
        releases: picture.releases.clone(),
        event_time: None,
        speedup: Some(picture.clock.speedup),
        percent: None,
        lag: None,
        outputs_finished: None,
        outputs: picture.outputs.clone(),
    };
    if status.started_at.is_none() && picture.clock.revision > 0 {
        status.started_at = Some(text(now));
    }
    match end {
        End::Open => status.completed_at = None,
        _ if status.completed_at.is_none() => status.completed_at = Some(text(now)),
        _ => {}
    }
    add_up(&mut status);
    status.conditions = conditions(picture, &end, phase)
        .into_iter()
        .map(|says| merge(says, &before.conditions, generation, now))
        .collect();
    status
}

fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether the stream has come to an end, and to which.
enum End {
    Open,
    Completed { quarantined: u64 },
    Failed(FailureStatus),
}

fn end(picture: &Picture) -> End {
    if let Verification::Failed(failure) = &picture.verification {
        return End::Failed(failure.clone());
    }
    if picture.verification != Verification::Verified || picture.outputs.is_empty() {
        return End::Open;
    }
    let failed = picture
        .outputs
        .iter()
        .find(|it| it.state == WorkerState::Failed);
    let over = |state| matches!(state, WorkerState::Finished | WorkerState::Failed);
    let all_over = picture.outputs.iter().all(|it| over(it.state));
    match failed {
        Some(output) if all_over || picture.stopped && !picture.alive => {
            let failure = output.failure.clone().unwrap_or_default();
            End::Failed(failure)
        }
        Some(_) => End::Open,
        None if all_over => End::Completed {
            quarantined: picture.outputs.iter().map(|it| it.quarantined).sum(),
        },
        None => End::Open,
    }
}

fn degraded(picture: &Picture) -> Option<(String, String)> {
    let failed = picture
        .outputs
        .iter()
        .find(|it| it.state == WorkerState::Failed);
    if let Some(output) = failed {
        let failure = output.failure.clone().unwrap_or_default();
        let message = format!("{}: {}: {}", output.output, failure.reason, failure.message);
        return Some((Why::OutputFailed.to_string(), message));
    }
    // The first of a kind says it; all of them make the message.
    let Some(first) = picture.troubles.first() else {
        // A preflight pod that does not start waits for somebody.
        if let Verification::Running(Some((why, message))) = &picture.verification
            && *why != Why::BuildingViews
        {
            return Some((why.to_string(), message.clone()));
        }
        return restarting(picture).then(|| {
            let why = Why::WorkerRestarting;
            (why.to_string(), why.meaning().to_owned())
        });
    };
    let all: Vec<&str> = picture
        .troubles
        .iter()
        .filter(|it| it.0 == first.0)
        .map(|it| it.1.as_str())
        .collect();
    Some((first.0.to_string(), all.join("; ")))
}

/// Whether the clock goes, and a worker that was up is not: it crashed, or was evicted, or is
/// replaced.
fn restarting(picture: &Picture) -> bool {
    let waits = picture.clock.mode == ClockMode::Paused || picture.suspend || picture.released;
    picture.clock.revision > 0 && !picture.all_up && !picture.stopped && !waits
}

fn phase(picture: &Picture, end: &End) -> Phase {
    match end {
        End::Completed { .. } => return Phase::Completed,
        End::Failed(_) => return Phase::Failed,
        End::Open => {}
    }
    if picture.accepted.is_err() {
        return Phase::Pending;
    }
    if picture.suspend || picture.starting_over {
        return match picture.alive {
            true => Phase::Suspending,
            false if picture.starting_over => Phase::Pending,
            false => Phase::Suspended,
        };
    }
    match &picture.verification {
        Verification::Pending => return Phase::Pending,
        Verification::Running(_) => return Phase::Verifying,
        Verification::Verified | Verification::Failed(_) => {}
    }
    if picture.clock.revision == 0 || picture.released {
        return Phase::Starting;
    }
    // That an output is late is why the clock stands.
    let holds =
        |why: &str| picture.clock.mode == ClockMode::Holding && why == Why::OutputLate.as_str();
    if degraded(picture).is_some_and(|(why, _)| !holds(&why)) {
        return Phase::Degraded;
    }
    match picture.clock.mode {
        _ if !picture.all_up => Phase::Starting,
        ClockMode::Paused => Phase::Paused,
        ClockMode::Holding => Phase::Held,
        ClockMode::Going | ClockMode::Settling => Phase::Running,
    }
}

fn conditions(picture: &Picture, end: &End, phase: Phase) -> Vec<Says> {
    let yes =
        |what, why: Why, message: &str| Says(what, Some(true), why.to_string(), message.to_owned());
    let no = |what, why: Why, message: &str| {
        Says(what, Some(false), why.to_string(), message.to_owned())
    };
    let accepted = match &picture.accepted {
        Ok(()) => yes(What::Accepted, Why::Valid, Why::Valid.meaning()),
        Err(invalid) => Says(
            What::Accepted,
            Some(false),
            invalid.reason.clone(),
            invalid.message.clone(),
        ),
    };
    let verified = match &picture.verification {
        Verification::Pending => no(
            What::WorldVerified,
            Why::NotStarted,
            Why::NotStarted.meaning(),
        ),
        Verification::Running(None) => no(
            What::WorldVerified,
            Why::Preflight,
            Why::Preflight.meaning(),
        ),
        Verification::Running(Some((why, message))) => no(What::WorldVerified, *why, message),
        Verification::Verified => yes(What::WorldVerified, Why::Verified, Why::Verified.meaning()),
        Verification::Failed(failure) => Says(
            What::WorldVerified,
            Some(false),
            failure.reason.clone(),
            failure.message.clone(),
        ),
    };
    let over = !matches!(end, End::Open);
    let ready = ready(picture, &accepted, end, phase);
    let progressing = {
        let Says(_, _, why, message) = &ready;
        let stands = matches!(phase, Phase::Paused | Phase::Suspended | Phase::Pending);
        let moving = !over && !stands && picture.accepted.is_ok();
        Says(
            What::Progressing,
            Some(moving),
            why.clone(),
            message.clone(),
        )
    };
    let degraded = match (degraded(picture), over) {
        (Some((why, message)), _) if !matches!(end, End::Completed { .. }) => {
            Says(What::Degraded, Some(true), why, message)
        }
        _ => no(What::Degraded, Why::AsExpected, Why::AsExpected.meaning()),
    };
    let completed = match end {
        End::Completed { quarantined: 0 } => {
            yes(What::Completed, Why::AllSent, Why::AllSent.meaning())
        }
        End::Completed { quarantined } => yes(
            What::Completed,
            Why::CompletedWithQuarantine,
            &format!("every output sent all that it had to; IG put {quarantined} events aside"),
        ),
        _ => no(
            What::Completed,
            Why::NotFinished,
            Why::NotFinished.meaning(),
        ),
    };
    let failed = match end {
        End::Failed(failure) => Says(
            What::Failed,
            Some(true),
            reason(failure),
            failure.message.clone(),
        ),
        _ => no(What::Failed, Why::NoFailure, Why::NoFailure.meaning()),
    };
    let drifted = match &picture.drift {
        Some(message) => yes(What::ProfileDrifted, Why::Drifted, message),
        None => no(What::ProfileDrifted, Why::Current, Why::Current.meaning()),
    };
    let skewed = match &picture.skew {
        Some(message) => yes(What::ClockSkew, Why::ClockSkewed, message),
        None => no(What::ClockSkew, Why::InSync, Why::InSync.meaning()),
    };
    vec![
        accepted,
        verified,
        ready,
        progressing,
        degraded,
        completed,
        failed,
        drifted,
        skewed,
    ]
}

/// Whether the workers of all unfinished outputs really are at it. Its reason is the word that
/// people see first: of a stream that failed or cannot begin it is the code.
fn ready(picture: &Picture, accepted: &Says, end: &End, phase: Phase) -> Says {
    let no = |why: Why, message: &str| {
        Says(
            What::Ready,
            Some(false),
            why.to_string(),
            message.to_owned(),
        )
    };
    match end {
        End::Completed { .. } => return no(Why::Finished, Why::Finished.meaning()),
        End::Failed(failure) => {
            let message = failure.message.clone();
            return Says(What::Ready, Some(false), reason(failure), message);
        }
        End::Open => {}
    }
    if let Says(_, Some(false), why, message) = accepted {
        return Says(What::Ready, Some(false), why.clone(), message.clone());
    }
    match phase {
        Phase::Suspended => return no(Why::Suspended, SUSPENDED),
        Phase::Suspending => return no(Why::Suspending, Why::Suspending.meaning()),
        Phase::Pending => return no(Why::NotStarted, Why::NotStarted.meaning()),
        Phase::Verifying => {
            return match &picture.verification {
                Verification::Running(Some((why, message))) => no(*why, message),
                _ => no(Why::Preflight, Why::Preflight.meaning()),
            };
        }
        _ => {}
    }
    if picture.released {
        let releases = picture.releases.clone().unwrap_or_default();
        let message = format!(
            "{} The next try is at {}. {}",
            Why::PrimeTimeout.meaning(),
            releases.next_at.unwrap_or_default(),
            releases.why.unwrap_or_default()
        );
        return no(Why::PrimeTimeout, message.trim_end());
    }
    if !picture.all_up {
        return match picture.troubles.first() {
            Some((why, message)) => no(*why, message),
            None if restarting(picture) => {
                no(Why::WorkerRestarting, Why::WorkerRestarting.meaning())
            }
            None => no(Why::Priming, Why::Priming.meaning()),
        };
    }
    let yes = |why: Why| {
        Says(
            What::Ready,
            Some(true),
            why.to_string(),
            why.meaning().to_owned(),
        )
    };
    match picture.clock.mode {
        _ if picture.clock.revision == 0 => no(Why::Priming, Why::Priming.meaning()),
        ClockMode::Paused => yes(Why::Paused),
        ClockMode::Holding => no(
            Why::Held,
            &format!(
                "The clock stands at {} for an output that is behind by more than maxLag.",
                picture.clock.held_at.as_deref().unwrap_or("?")
            ),
        ),
        ClockMode::Going | ClockMode::Settling => yes(Why::Streaming),
    }
}

/// A condition's reason must be a word.
fn reason(failure: &FailureStatus) -> String {
    match failure.reason.is_empty() {
        true => Reason::StreamFailed.as_str().to_owned(),
        false => failure.reason.clone(),
    }
}

/// The condition with the time of its last transition.
pub fn merge(says: Says, before: &[Condition], generation: i64, now: Timestamp) -> Condition {
    let Says(what, value, reason, message) = says;
    let status = match value {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let known = before.iter().find(|it| it.type_ == what.as_str());
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let since = known
        .filter(|it| it.status == status)
        .map_or(Time(now), |it| it.last_transition_time.clone());
    Condition {
        type_: what.to_string(),
        status: status.to_owned(),
        reason,
        message: clip(message),
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

/// The API server takes 32 KiB of message; what a person reads is less.
fn clip(mut message: String) -> String {
    let limit = 4_000;
    if let Some((end, _)) = message.char_indices().nth(limit) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// The figures of the whole stream.
fn add_up(status: &mut WorldStreamStatus) {
    let outputs = &status.outputs;
    let rows: u64 = outputs.iter().map(|it| it.rows).sum();
    let sent: u64 = outputs.iter().map(|it| it.sent).sum();
    let finished = outputs
        .iter()
        .filter(|it| it.state == WorkerState::Finished);
    let finished = finished.count();
    let all = !outputs.is_empty() && finished == outputs.len();
    if status.world.is_some() {
        status.percent = Some(match (all, sent.saturating_mul(100).checked_div(rows)) {
            (true, _) => 100,
            (false, percent) => percent.unwrap_or(0).min(99) as u32,
        });
        status.outputs_finished = Some(format!("{finished}/{}", outputs.len()));
    }
    let unfinished = outputs
        .iter()
        .filter(|it| it.state != WorkerState::Finished);
    status.lag = unfinished
        .filter_map(|it| it.lag)
        .max()
        .map(|lag| DurationText::millis(lag.0.as_millis() as u64 / 100 * 100));
    let reached = outputs
        .iter()
        .filter(|it| it.rows > 0 && (all || it.state != WorkerState::Finished));
    let reached: Vec<_> = reached.map(|it| it.event_time.clone()).collect();
    status.event_time = match reached.iter().any(Option::is_none) {
        true => None,
        false if all => reached.into_iter().flatten().max(),
        false => reached.into_iter().flatten().min(),
    };
}

/// Whether two statuses differ in more than progress: such a change is written at once.
pub fn differs(before: &WorldStreamStatus, after: &WorldStreamStatus) -> bool {
    coarse(before) != coarse(after)
}

/// A status without what changes with every event.
fn coarse(status: &WorldStreamStatus) -> WorldStreamStatus {
    let mut status = status.clone();
    status.event_time = None;
    status.percent = None;
    status.lag = None;
    for output in &mut status.outputs {
        output.sent = 0;
        output.admitted = 0;
        output.duplicate = 0;
        output.quarantined = 0;
        output.undecided = 0;
        output.retried = 0;
        output.percent = 0;
        output.event_time = None;
        output.lag = None;
        if let Some(view) = &mut output.view {
            (view.percent, view.rows, view.of) = (0, 0, 0);
        }
    }
    // How far builds are is in the message, and which of many pods found no room so far.
    for condition in &mut status.conditions {
        condition.message = String::new();
    }
    status
}

#[cfg(test)]
mod tests;
