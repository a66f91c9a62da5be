//! The operator on a real cluster, installed by its chart: streams from `kubectl apply` to their
//! end, and what becomes of them when worlds, gates, workers and the operator itself fail.
//!
//! One test, because the operator is installed for all of it: its cases run beside each other. Those
//! at the end have operators of their own, and the suite's is taken away. `CASES=pace,away` runs
//! only these.

mod away;
mod builds;
mod conflict;
mod crashes;
mod deleted;
mod ends;
mod installed;
mod lanes;
mod leaders;
mod lease;
mod lost;
mod operator;
mod outside;
mod overload;
mod pace;
mod policies;
mod recorded;
mod refusals;
mod repairs;
mod replaced;
mod room;
mod savers;
mod scale;
mod server;
mod space;
mod stores;

use operator::Operator;
use worldstream_tests::cases::Cases;

/// A case: its name, and what it does with the operator.
type Case = worldstream_tests::cases::Case<Operator>;

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
        (
            "deleted",
            deleted::a_deleted_stream_takes_what_it_owned_and_nothing_else,
        ),
        ("taken", deleted::a_name_that_is_taken_is_said_and_heals),
        ("conflict", conflict::a_second_stream_of_an_identity_waits),
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
    ],
    // Alone but for one that waits for a node most of the time: its figures are of the way back, not
    // of what else the machine does.
    &[
        ("workers", crashes::a_killed_worker_is_back_at_its_cursor),
        ("lost", lost::a_lost_node_is_left_and_its_worker_fenced),
    ],
    &[
        (
            "room",
            room::two_streams_with_room_for_one_and_a_half_both_end,
        ),
        (
            "failures",
            policies::a_failed_output_stops_the_others_by_policy,
        ),
        ("lags", policies::an_output_that_lags_fails_by_policy),
        ("lanes", lanes::lanes_share_an_output),
        ("files", lanes::cursors_in_files_on_a_volume),
        (
            "rollout",
            replaced::a_changed_template_replaces_as_the_profile_says,
        ),
        ("nowhere", replaced::a_worker_that_gets_nowhere_is_given_up),
    ],
    &[(
        "server",
        server::an_api_server_that_is_away_holds_nobody_else_up,
    )],
    &[(
        "lease",
        lease::the_lease_is_given_up_at_once_and_its_loss_is_the_end,
    )],
    &[("savers", savers::fifty_streams_save_their_cursors)],
];

/// Cases of the long form, and for who names them.
const LONG: &[&str] = &["savers"];

/// Cases with operators of their own, which look after their namespaces alone.
const APART: &[Case] = &[
    ("operators", crashes::a_killed_operator_makes_nothing_twice),
    ("leaders", leaders::of_several_operators_one_works),
    ("scale", scale::many_streams_get_their_jobs_and_rest),
    (
        "readme",
        installed::readme_leads_from_an_empty_cluster_to_completed_streams,
    ),
];

#[test]
fn streams_on_a_cluster() {
    let asked = Cases::asked_for().with_long(LONG);
    let operator = Operator::install();
    let enter = |operator: &Operator| operator.bed.place().enter().unwrap();
    let beside = |cases: &[Case]| asked.beside(&operator, enter, cases);
    for group in GROUPS {
        beside(group);
    }
    if APART.iter().any(|(name, _)| asked.wants(name)) {
        operator.scale(0);
        beside(APART);
        // One that leads is what is taken away below.
        operator.scale(1);
        operator.until_it_leads();
    }
    asked.end();
    operator.uninstall();
}
