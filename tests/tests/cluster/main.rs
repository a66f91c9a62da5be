//! The operator on a real cluster, installed by its chart: streams from `kubectl apply` to their
//! end, and what becomes of them when worlds, gates, workers and the operator itself fail.
//!
//! One test, because the operator is installed for all of it: its cases run beside each other, and
//! those that take the operator away run at the end. `CASES=pace,away` runs only these.

mod away;
mod builds;
mod crashes;
mod ends;
mod lost;
mod operator;
mod overload;
mod pace;
mod refusals;
mod repairs;
mod space;
mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use operator::Operator;

/// A case: its name, and what it does with the operator.
type Case = (&'static str, fn(&Operator));

/// Cases that run beside each other, a group after the other.
const GROUPS: &[&[Case]] = &[
    &[("ends", ends::two_streams_of_a_world_complete)],
    &[
        (
            "refusals",
            refusals::a_world_that_fails_closed_sends_nothing,
        ),
        ("repairs", repairs::a_missing_secret_is_said_and_heals),
        ("retry", repairs::a_failed_output_goes_on_at_its_cursor),
    ],
    &[
        ("builds", builds::missing_views_are_built_and_streamed),
        (
            "unbuilt",
            builds::a_view_that_cannot_be_built_is_said_and_mended,
        ),
        ("rebuilt", builds::a_killed_build_goes_on),
        (
            "stores",
            stores::worlds_in_s3_with_cursors_in_postgres_stream_as_from_disk,
        ),
    ],
    &[
        ("pace", pace::all_outputs_follow_the_published_clock),
        ("away", away::a_gate_that_is_away_restarts_nothing),
        (
            "overload",
            overload::a_worker_that_stands_holds_the_others_by_policy,
        ),
        ("suspend", away::suspend_and_resume_repeat_nothing),
        ("workers", crashes::a_killed_worker_is_back_at_its_cursor),
    ],
    &[("lost", lost::a_lost_node_is_left_and_its_worker_fenced)],
    &[("operators", crashes::a_killed_operator_makes_nothing_twice)],
];

#[test]
fn streams_on_a_cluster() {
    let only = std::env::var("CASES").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|it| it == name);
    let operator = Operator::install();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    for group in GROUPS {
        std::thread::scope(|scope| {
            for (name, case) in group.iter().filter(|(name, _)| wanted(name)) {
                let (operator, wrong) = (&operator, &wrong);
                let work = move || {
                    let began = Instant::now();
                    operator.bed.place().enter().unwrap();
                    let end = catch_unwind(AssertUnwindSafe(|| case(operator)));
                    let took = began.elapsed().as_secs();
                    println!(
                        "{name}: {} after {took} s",
                        if end.is_ok() { "ok" } else { "FAILED" }
                    );
                    if let Err(panic) = end {
                        let text = panic
                            .downcast_ref::<String>()
                            .map(String::as_str)
                            .or_else(|| panic.downcast_ref::<&str>().copied())
                            .unwrap_or("a panic without words");
                        wrong.lock().unwrap().push(format!("{name}: {text}"));
                    }
                };
                scope.spawn(work);
            }
        });
    }
    drop(operator);
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
