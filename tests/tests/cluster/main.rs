//! The operator on a real cluster, installed by its chart: streams from `kubectl apply` to their
//! end, and what becomes of them when worlds, gates, workers and the operator itself fail.
//!
//! One test, because the operator is installed for all of it: its cases run beside each other, and
//! those that take the operator away run at the end. `CASES=pace,away` runs only these.

mod away;
mod crashes;
mod ends;
mod lost;
mod overload;
mod pace;
mod refusals;
mod repairs;

use worldstream_tests::on_cluster::Case;

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
    worldstream_tests::on_cluster::run(GROUPS);
}
