//! ReadyTriggers on a real cluster: from a READY message on the bus, a folder or Kinesis, to a
//! WorldStream, its end and its record; and what becomes of them when somebody deletes, kills,
//! suspends or repeats.
//!
//! One test, because the operator is installed for all of it. `CASES=files,latency` runs only these.

mod changes;
mod counted;
mod failures;
mod files;
mod kills;
mod latency;
mod stage;

// The operator and the namespaces of its own suite; not all of what they can do is asked for here.
#[allow(dead_code)]
#[path = "../cluster/operator.rs"]
mod operator;
#[allow(dead_code)]
#[path = "../cluster/space.rs"]
mod space;

use operator::Operator;
use worldstream_tests::cases::Cases;

/// A case: its name, and what it does with the operator.
type Case = worldstream_tests::cases::Case<Operator>;

/// Cases that run beside each other, a group after the other.
const GROUPS: &[&[Case]] = &[
    &[
        ("files", files::a_message_becomes_a_stream_and_a_record),
        ("refusals", failures::what_is_wrong_is_said_and_heals),
        (
            "deleted",
            failures::a_stream_deleted_half_way_is_recorded_once,
        ),
        (
            "absent",
            failures::a_stream_deleted_while_its_trigger_is_away_waits_for_it,
        ),
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
        ("counted", counted::failures_are_counted_by_their_records),
        ("kills", kills::a_killed_trigger_streams_each_message_once),
    ],
    // Alone: its figures are not of what else the machine does.
    &[("latency", latency::from_kinesis_to_the_first_event)],
];

#[test]
fn ready_triggers_on_a_cluster() {
    let asked = Cases::asked_for();
    let operator = Operator::install();
    let enter = |operator: &Operator| operator.bed.place().enter().unwrap();
    for group in GROUPS {
        asked.beside(&operator, enter, group);
    }
    asked.end();
    operator.uninstall();
}
