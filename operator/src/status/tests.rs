use super::*;
use crate::fixtures::now;
use crate::invalid::Invalid;
use worldstream_crds::{OutputStatus, StreamClockSpec};

fn outputs(states: &[WorkerState]) -> Vec<OutputStatus> {
    states
        .iter()
        .enumerate()
        .map(|(index, state)| OutputStatus {
            output: format!("river_{index}"),
            state: *state,
            rows: 10,
            sent: 5,
            failure: (*state == WorkerState::Failed).then(|| FailureStatus {
                reason: "STREAM_VIEW_EMPTY".into(),
                message: "no parts".into(),
                exit_code: Some(10),
            }),
            ..OutputStatus::default()
        })
        .collect()
}

fn picture(states: &[WorkerState], mode: ClockMode) -> Picture {
    Picture {
        verification: Verification::Verified,
        outputs: outputs(states),
        all_up: true,
        alive: true,
        clock: StreamClockSpec {
            revision: 1,
            mode,
            paused: mode == ClockMode::Paused,
            ..StreamClockSpec::default()
        },
        ..Picture::default()
    }
}

fn says<'a>(status: &'a WorldStreamStatus, kind: &str) -> (&'a str, &'a str) {
    let found = status
        .conditions
        .iter()
        .find(|it| it.type_ == kind)
        .unwrap();
    (&found.status, &found.reason)
}

#[test]
fn phase_and_conditions_follow_from_the_picture_together() {
    use WorkerState::{Failed, Finished, Starting, Streaming};
    let streaming = || picture(&[Streaming, Finished], ClockMode::Going);
    let pending = Picture {
        verification: Verification::Pending,
        ..Picture::default()
    };
    let with = |change: &dyn Fn(&mut Picture)| {
        let mut picture = streaming();
        change(&mut picture);
        picture
    };
    let cases: Vec<(&str, Picture, Phase, &str, &str)> = vec![
        (
            "nothing yet",
            pending.clone(),
            Phase::Pending,
            "False",
            "NotStarted",
        ),
        (
            "refused",
            Picture {
                accepted: Err(Invalid::new("ProfileNotFound", "found no pond")),
                ..pending.clone()
            },
            Phase::Pending,
            "False",
            "ProfileNotFound",
        ),
        (
            "preflight",
            Picture {
                verification: Verification::Running(None),
                ..pending.clone()
            },
            Phase::Verifying,
            "False",
            "Preflight",
        ),
        (
            "world refused",
            Picture {
                verification: Verification::Failed(FailureStatus {
                    reason: "PACK_NOT_SEALED".into(),
                    ..FailureStatus::default()
                }),
                ..pending
            },
            Phase::Failed,
            "False",
            "PACK_NOT_SEALED",
        ),
        (
            "priming",
            with(&|it| {
                it.clock.revision = 0;
                it.all_up = false;
            }),
            Phase::Starting,
            "False",
            "Priming",
        ),
        (
            "streaming",
            streaming(),
            Phase::Running,
            "True",
            "Streaming",
        ),
        (
            "paused",
            picture(&[Streaming], ClockMode::Paused),
            Phase::Paused,
            "True",
            "Paused",
        ),
        (
            "held",
            picture(&[Streaming], ClockMode::Holding),
            Phase::Held,
            "False",
            "Held",
        ),
        (
            "held for an output that says that it is late",
            {
                let mut it = picture(&[Streaming], ClockMode::Holding);
                it.troubles.push((Why::OutputLate, "behind".into()));
                it
            },
            Phase::Held,
            "False",
            "Held",
        ),
        (
            "gate away",
            with(&|it| it.troubles.push((Why::GateAway, "no answer".into()))),
            Phase::Degraded,
            "True",
            "Streaming",
        ),
        (
            "a crash",
            with(&|it| {
                it.outputs[0].state = Starting;
                it.all_up = false;
                it.troubles.push((Why::WorkerRestarting, "exit 137".into()));
            }),
            Phase::Degraded,
            "False",
            "WorkerRestarting",
        ),
        (
            "a crash, and the next worker starts",
            with(&|it| {
                it.outputs[0].state = Starting;
                it.all_up = false;
            }),
            Phase::Degraded,
            "False",
            "WorkerRestarting",
        ),
        (
            "resumed, and the workers start",
            with(&|it| {
                it.clock.mode = ClockMode::Paused;
                it.all_up = false;
            }),
            Phase::Starting,
            "False",
            "Priming",
        ),
        (
            "released",
            with(&|it| {
                it.released = true;
                it.all_up = false;
            }),
            Phase::Starting,
            "False",
            "PrimeTimeout",
        ),
        (
            "draining",
            with(&|it| it.suspend = true),
            Phase::Suspending,
            "False",
            "Suspending",
        ),
        (
            "a preflight pod that finds no secret",
            with(&|it| {
                let why = (Why::SecretNotFound, "secret \"otter\" not found".into());
                it.verification = Verification::Running(Some(why));
            }),
            Phase::Verifying,
            "False",
            "SecretNotFound",
        ),
        (
            "suspended",
            with(&|it| {
                it.suspend = true;
                it.alive = false;
            }),
            Phase::Suspended,
            "False",
            "Suspended",
        ),
        (
            "one failed, the others stop",
            {
                let mut it = picture(&[Failed, Streaming], ClockMode::Paused);
                it.stopped = true;
                it
            },
            Phase::Degraded,
            "True",
            "Paused",
        ),
        (
            "one failed, the others stopped",
            {
                let mut it = picture(&[Failed, Streaming], ClockMode::Paused);
                it.stopped = true;
                it.alive = false;
                it
            },
            Phase::Failed,
            "False",
            "STREAM_VIEW_EMPTY",
        ),
        (
            "one failed, the others go on",
            picture(&[Failed, Streaming], ClockMode::Going),
            Phase::Degraded,
            "True",
            "Streaming",
        ),
        (
            "all over, one failed",
            picture(&[Failed, Finished], ClockMode::Going),
            Phase::Failed,
            "False",
            "STREAM_VIEW_EMPTY",
        ),
        (
            "all sent",
            picture(&[Finished, Finished], ClockMode::Going),
            Phase::Completed,
            "False",
            "Finished",
        ),
    ];
    for (name, picture, phase, ready, why) in cases {
        let status = derive(&picture, &WorldStreamStatus::default(), 2, now());
        assert_eq!(status.phase, Some(phase), "{name}");
        assert_eq!(says(&status, "Ready"), (ready, why), "{name}");
        let (completed, failed) = (says(&status, "Completed").0, says(&status, "Failed").0);
        let over = matches!(phase, Phase::Completed | Phase::Failed);
        assert_eq!(completed == "True", phase == Phase::Completed, "{name}");
        assert_eq!(failed == "True", phase == Phase::Failed, "{name}");
        assert_eq!(status.completed_at.is_some(), over, "{name}");
        // All but those of triggers.
        let triggers = [What::Following, What::Deferred, What::Suspended];
        let streams = What::ALL.iter().filter(|(it, _)| !triggers.contains(it));
        assert_eq!(status.conditions.len(), streams.count(), "{name}");
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, Some(2));
            assert!(!condition.reason.is_empty(), "{name}: {}", condition.type_);
        }
    }
}

#[test]
fn what_keeps_preflight_is_what_is_wrong_and_a_build_is_not() {
    let with = |why| {
        let mut it = picture(&[WorkerState::Starting], ClockMode::Going);
        it.verification = Verification::Running(Some((why, "pod otter".into())));
        derive(&it, &WorldStreamStatus::default(), 1, now())
    };
    let stuck = with(Why::Unschedulable);
    assert_eq!(says(&stuck, "Degraded"), ("True", "Unschedulable"));
    let building = with(Why::BuildingViews);
    assert_eq!(says(&building, "Degraded"), ("False", "AsExpected"));
}

#[test]
fn quarantined_events_are_told_at_the_end() {
    let mut picture = picture(&[WorkerState::Finished], ClockMode::Going);
    picture.outputs[0].quarantined = 3;
    let status = derive(&picture, &WorldStreamStatus::default(), 1, now());
    assert_eq!(
        says(&status, "Completed"),
        ("True", "CompletedWithQuarantine")
    );
}

#[test]
fn deriving_again_changes_nothing_and_times_move_with_a_status_alone() {
    let going = picture(&[WorkerState::Streaming], ClockMode::Going);
    let first = derive(&going, &WorldStreamStatus::default(), 1, now());
    let later = now() + std::time::Duration::from_secs(90);
    assert_eq!(derive(&going, &first, 1, later), first);
    let held = picture(&[WorkerState::Streaming], ClockMode::Holding);
    let second = derive(&held, &first, 1, later);
    for (before, after) in first.conditions.iter().zip(&second.conditions) {
        let moved = before.last_transition_time != after.last_transition_time;
        assert_eq!(moved, before.status != after.status, "{}", after.type_);
    }
    assert!(differs(&first, &second));
    let mut progress = first.clone();
    progress.outputs[0].sent = 9;
    progress.percent = Some(90);
    progress.conditions[0].message = "the second of four pods finds no room, too".into();
    assert!(!differs(&first, &progress));
    progress.conditions[0].reason = "Unschedulable".into();
    assert!(differs(&first, &progress));
}

#[test]
fn an_end_stays_on_record() {
    let ended = derive(
        &picture(&[WorkerState::Finished], ClockMode::Going),
        &WorldStreamStatus::default(),
        1,
        now(),
    );
    let keep = Picture {
        keep: true,
        plan: ended.plan.clone(),
        ..Picture::default()
    };
    let later = now() + std::time::Duration::from_secs(9_000);
    assert_eq!(derive(&keep, &ended, 1, later), ended);
}
