//! Preflight and workers as processes against a bare API server, the test playing the operator: it
//! makes the StreamCheckpoints, publishes revisions of the StreamClock, and starts the processes
//! that pods would run.

mod clock;
mod failures;
mod stage;
mod store;
mod streams;

use worldstream_tests::apiserver::ApiServer;
use worldstream_tests::stream::side_by_side;

#[test]
fn a_worker_streams_by_what_the_api_server_says() {
    let server = ApiServer::start();
    let server = &server;
    type Case = fn(&ApiServer);
    let cases: Vec<(&str, Case)> = vec![
        ("parity", streams::what_arrives_is_what_a_run_sends),
        ("drain", streams::a_drained_worker_repeats_nothing),
        (
            "takeover",
            streams::a_worker_that_was_followed_writes_nothing_more,
        ),
        ("crash", streams::a_crash_repeats_little_and_loses_nothing),
        ("lanes", streams::lanes_are_workers_of_their_own),
        ("pacing", clock::nothing_is_early_and_a_pause_stands),
        (
            "late",
            clock::a_revision_that_is_learned_late_is_overshot_and_obeyed,
        ),
        (
            "preflight",
            failures::a_world_that_does_not_hold_is_not_planned,
        ),
        ("changed", failures::a_view_that_changed_since_is_not_sent),
        ("endings", failures::every_ending_leaves_its_reason),
        ("held", failures::a_checkpoint_of_another_job_is_not_taken),
        ("away", failures::a_gate_that_is_away_is_waited_for),
        (
            "conformance",
            store::stream_checkpoints_are_a_store_like_any_other,
        ),
    ];
    let cases = cases.into_iter().map(|(name, case)| {
        let run: Box<dyn FnOnce() + Send> = Box::new(move || case(server));
        (name.to_owned(), run)
    });
    side_by_side(cases.collect());
}

#[test]
fn a_stream_outlives_its_api_server_for_a_while() {
    store::an_api_server_that_is_away_is_waited_for();
}
