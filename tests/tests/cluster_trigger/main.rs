//! ReadyTriggers on a real cluster: from a READY message on the bus, a folder or Kinesis, to a
//! WorldStream, its end and its record; and what becomes of them when somebody deletes, kills,
//! suspends or repeats.
//!
//! One test, because the operator is installed for all of it. `CASES=files,latency` runs only these.

mod changes;
mod failures;
mod files;
mod kills;
mod latency;
mod stage;

use worldstream_tests::on_cluster::Case;

/// Cases that run beside each other, a group after the other.
const GROUPS: &[&[Case]] = &[
    &[
        ("files", files::a_message_becomes_a_stream_and_a_record),
        ("refusals", failures::what_is_wrong_is_said_and_heals),
        (
            "deleted",
            failures::a_stream_deleted_half_way_is_recorded_once,
        ),
    ],
    &[
        (
            "two",
            files::two_triggers_on_one_bus_stream_each_message_once,
        ),
        (
            "again",
            failures::a_failed_message_that_comes_again_is_resumed,
        ),
        (
            "changes",
            changes::suspend_scope_and_gate_hold_messages_back,
        ),
    ],
    &[("kills", kills::a_killed_trigger_streams_each_message_once)],
    &[("latency", latency::from_kinesis_to_the_first_event)],
];

#[test]
fn ready_triggers_on_a_cluster() {
    worldstream_tests::on_cluster::run(GROUPS);
}
