use super::*;
use crate::fixtures::{checkpoint, job, now, output, pod};

fn wanted() -> Wanted {
    Wanted {
        run: true,
        retry: 0,
        retried: 0,
        attempt: String::new(),
        template: Some("t".into()),
        replace: false,
        crash_limit: 3,
        fences: true,
    }
}

struct Case {
    jobs: Vec<Arc<JobView>>,
    pods: Vec<Arc<PodView>>,
    checkpoints: Vec<Arc<CheckpointView>>,
    before: Option<OutputStatus>,
}

fn look(case: &Case, wanted: &Wanted, at: Timestamp) -> Verdict {
    let output = output();
    let facts = Facts {
        output: &output,
        lanes: 1,
        jobs: case.jobs.clone(),
        pods: case.pods.clone(),
        checkpoints: case.checkpoints.clone(),
        before: case.before.as_ref(),
    };
    judge(&facts, wanted, at)
}

fn crashed(crashes: u32, row_at_start: u64, row: u64, exit: i32) -> Case {
    Case {
        jobs: vec![job(1, crashes, row_at_start)],
        pods: vec![pod(1, Life::Failed, Some(exit))],
        checkpoints: vec![checkpoint(WorkerState::Streaming, "pod-1", row)],
        before: None,
    }
}

fn created(verdict: &Verdict) -> Option<&Notes> {
    verdict.todo.iter().find_map(|it| match it {
        Do::Create { notes, .. } => Some(notes),
        _ => None,
    })
}

#[test]
fn nothing_there_makes_the_first_run() {
    let case = Case {
        jobs: vec![],
        pods: vec![],
        checkpoints: vec![checkpoint(WorkerState::Starting, "", 0)],
        before: None,
    };
    assert_eq!(created(&look(&case, &wanted(), now())).unwrap().run, 1);
    let idle = Wanted {
        run: false,
        ..wanted()
    };
    assert!(look(&case, &idle, now()).todo.is_empty());
}

#[test]
fn a_worker_that_holds_its_checkpoint_is_up() {
    let mut case = Case {
        jobs: vec![job(2, 0, 5)],
        pods: vec![pod(2, Life::Running, None)],
        checkpoints: vec![checkpoint(WorkerState::Primed, "pod-2", 5)],
        before: None,
    };
    let verdict = look(&case, &wanted(), now());
    assert!(verdict.up && verdict.todo.is_empty());
    // A report of a pod that is gone is no worker.
    case.checkpoints = vec![checkpoint(WorkerState::Streaming, "pod-1", 5)];
    let verdict = look(&case, &wanted(), now());
    assert!(!verdict.up);
    assert_eq!(verdict.state, WorkerState::Starting);
}

#[test]
fn a_crash_after_progress_is_followed_at_once_however_often() {
    for exit in [101, 137, 139, 13] {
        let verdict = look(&crashed(2, 5, 90, exit), &wanted(), now());
        let notes = created(&verdict).unwrap();
        assert_eq!((notes.run, notes.crashes), (2, 0), "exit {exit}");
        assert_eq!(notes.cursor, "part-000000.parquet:90;");
        assert!(verdict.failure.is_none() && verdict.again.is_none());
        assert!(verdict.todo.contains(&Do::Suspend("owl-river-1".into())));
    }
}

#[test]
fn a_crash_without_progress_waits_longer_each_time_and_then_fails() {
    let mut waits = Vec::new();
    for crashes in [0, 1] {
        let case = crashed(crashes, 5, 5, 137);
        let verdict = look(&case, &wanted(), now());
        assert!(created(&verdict).is_none());
        let wait = verdict.again.unwrap();
        waits.push(wait);
        let verdict = look(&case, &wanted(), now() + wait);
        assert_eq!(created(&verdict).unwrap().crashes, crashes + 1);
    }
    assert_eq!(waits, [1, 4].map(Duration::from_secs));
    let verdict = look(&crashed(2, 5, 5, 137), &wanted(), now());
    let failure = verdict.failure.unwrap();
    assert_eq!(failure.reason, "CrashLoop");
    assert!(failure.message.contains("3 times"), "{}", failure.message);
    assert_eq!(verdict.state, WorkerState::Failed);
}

#[test]
fn what_was_interrupted_or_disrupted_is_no_crash() {
    let verdict = look(&crashed(2, 5, 5, 14), &wanted(), now());
    assert_eq!(created(&verdict).unwrap().crashes, 2);
    let mut case = crashed(2, 5, 5, 137);
    let mut gone = PodView::clone(&case.pods[0]);
    gone.disrupted = true;
    case.pods = vec![Arc::new(gone)];
    assert_eq!(created(&look(&case, &wanted(), now())).unwrap().crashes, 2);
}

#[test]
fn codes_that_fail_for_good_do_and_say_what_the_worker_said() {
    for exit in [2, 10, 11, 12] {
        let mut case = crashed(0, 5, 90, exit);
        let mut told = PodView::clone(&case.pods[0]);
        told.ended = Some(Ended {
            code: exit,
            message: r#"{"reason":"STREAM_VIEW_EMPTY","message":"river_9Z: no parts"}"#.into(),
            ..Ended::default()
        });
        case.pods = vec![Arc::new(told)];
        let verdict = look(&case, &wanted(), now());
        let failure = verdict.failure.clone().unwrap();
        assert_eq!(failure.reason, "STREAM_VIEW_EMPTY");
        assert_eq!(failure.message, "river_9Z: no parts");
        assert_eq!(failure.exit_code, Some(exit as u32));
        assert!(created(&verdict).is_none());
        // The order to try again starts it once more, and only once.
        let again = Wanted {
            retry: 1,
            ..wanted()
        };
        let verdict = look(&case, &again, now());
        assert_eq!(created(&verdict).unwrap().retry, 1);
        assert!(!verdict.unanswered);
        // An order that comes while another of its pods still drains is kept until it can be
        // carried out.
        case.pods.push(pod(1, Life::Running, None));
        let verdict = look(&case, &again, now());
        assert!(created(&verdict).is_none() && verdict.unanswered);
    }
}

#[test]
fn an_end_on_record_counts_whatever_became_of_the_job() {
    for state in [WorkerState::Finished, WorkerState::Failed] {
        let case = Case {
            jobs: vec![],
            pods: vec![],
            checkpoints: vec![checkpoint(WorkerState::Stopped, "", 5)],
            before: Some(OutputStatus {
                output: "river_9Z".into(),
                state,
                ..OutputStatus::default()
            }),
        };
        let verdict = look(&case, &wanted(), now());
        assert!(verdict.todo.is_empty());
        assert_eq!(verdict.state, state);
    }
}

#[test]
fn stopping_drains_and_going_on_is_a_new_run() {
    let mut case = Case {
        jobs: vec![job(4, 0, 5)],
        pods: vec![pod(4, Life::Running, None)],
        checkpoints: vec![checkpoint(WorkerState::Streaming, "pod-4", 50)],
        before: None,
    };
    let idle = Wanted {
        run: false,
        ..wanted()
    };
    let verdict = look(&case, &idle, now());
    assert_eq!(verdict.todo, [Do::Suspend("owl-river-4".into())]);
    assert!(verdict.alive);
    let mut suspended = JobView::clone(&case.jobs[0]);
    suspended.suspended = true;
    case.jobs = vec![Arc::new(suspended)];
    // Its pod still drains: nothing is made beside it.
    assert!(look(&case, &wanted(), now()).todo.is_empty());
    case.pods = vec![];
    let verdict = look(&case, &idle, now());
    assert!(verdict.todo.is_empty() && verdict.state == WorkerState::Stopped);
    let verdict = look(&case, &wanted(), now());
    assert_eq!(created(&verdict).unwrap().run, 5);
}

#[test]
fn a_changed_template_replaces_only_where_that_is_wanted_and_after_the_old_worker() {
    let case = Case {
        jobs: vec![job(1, 0, 5)],
        pods: vec![pod(1, Life::Running, None)],
        checkpoints: vec![checkpoint(WorkerState::Streaming, "pod-1", 50)],
        before: None,
    };
    let changed = Wanted {
        template: Some("u".into()),
        ..wanted()
    };
    assert!(look(&case, &changed, now()).todo.is_empty());
    let at_once = Wanted {
        replace: true,
        ..changed
    };
    let verdict = look(&case, &at_once, now());
    assert_eq!(verdict.todo, [Do::Suspend("owl-river-1".into())]);
}

#[test]
fn a_lost_node_is_given_up_only_where_the_store_fences() {
    let mut lost = PodView::clone(&pod(1, Life::Running, None));
    lost.deleted_by = Some(now() - Duration::from_secs(60));
    let case = Case {
        jobs: vec![job(1, 0, 5)],
        pods: vec![Arc::new(lost)],
        checkpoints: vec![checkpoint(WorkerState::Streaming, "pod-1", 50)],
        before: None,
    };
    let give_up = Do::GiveUp {
        pod: "owl-river-1-0".into(),
        uid: "pod-1".into(),
    };
    assert!(look(&case, &wanted(), now()).todo.contains(&give_up));
    let unfenced = Wanted {
        fences: false,
        ..wanted()
    };
    let verdict = look(&case, &unfenced, now());
    assert!(!verdict.todo.contains(&give_up));
    assert_eq!(verdict.trouble.unwrap().0, ConditionReason::WorkerLost);
}

#[test]
fn holders_that_are_gone_may_be_taken_over_from() {
    let verdict = look(&crashed(0, 5, 90, 137), &wanted(), now());
    let take_over = verdict.todo.iter().find_map(|it| match it {
        Do::Create { take_over, .. } => Some(take_over.clone()),
        _ => None,
    });
    assert_eq!(take_over, Some(vec!["pod-1".into()]));
}

#[test]
fn what_keeps_a_pod_from_starting_has_a_reason() {
    for (reason, message, expected) in [
        (
            "Unschedulable",
            "0/3 nodes: Insufficient cpu",
            ConditionReason::Unschedulable,
        ),
        (
            "Unschedulable",
            "persistentvolumeclaim \"x\" not found",
            ConditionReason::VolumeNotFound,
        ),
        (
            "ErrImagePull",
            "no such host",
            ConditionReason::ImageUnavailable,
        ),
        (
            "FailedMount",
            "secret \"otter\" not found",
            ConditionReason::SecretNotFound,
        ),
        (
            "FailedMount",
            "references non-existent secret key: den",
            ConditionReason::SecretNotFound,
        ),
        (
            "FailedMount",
            "references non-existent config key: bark",
            ConditionReason::ConfigMapNotFound,
        ),
        (
            "FailedMount",
            "configmap \"roots\" not found",
            ConditionReason::ConfigMapNotFound,
        ),
        (
            "FailedCreate",
            "violates PodSecurity",
            ConditionReason::PodRefused,
        ),
    ] {
        assert_eq!(stuck_reason(reason, message), expected, "{message}");
    }
}
