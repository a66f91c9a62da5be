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

// The operator and the namespaces of its own suite; not all of what they can do is asked for here.
#[allow(dead_code)]
#[path = "../cluster/operator.rs"]
mod operator;
#[allow(dead_code)]
#[path = "../cluster/space.rs"]
mod space;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use operator::Operator;

/// A case: its name, and what it does with the operator.
type Case = (&'static str, fn(&Operator));

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
        ("kills", kills::a_killed_trigger_streams_each_message_once),
    ],
    // Alone: its figures are not of what else the machine does.
    &[("latency", latency::from_kinesis_to_the_first_event)],
];

#[test]
fn ready_triggers_on_a_cluster() {
    let only = std::env::var("CASES").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|it| it == name);
    let operator = Operator::install();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    for group in GROUPS {
        std::thread::scope(|scope| {
            for (name, case) in group.iter().filter(|(name, _)| wanted(name)) {
                let (operator, wrong) = (&operator, &wrong);
                scope.spawn(move || try_it(operator, name, *case, wrong));
            }
        });
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    operator.uninstall();
}

fn try_it(operator: &Operator, name: &str, case: fn(&Operator), wrong: &Mutex<Vec<String>>) {
    let began = Instant::now();
    operator.bed.place().enter().unwrap();
    let end = catch_unwind(AssertUnwindSafe(|| case(operator)));
    let took = began.elapsed().as_secs();
    let said = if end.is_ok() { "ok" } else { "FAILED" };
    println!("{name}: {said} after {took} s");
    if let Err(panic) = end {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        wrong.lock().unwrap().push(format!("{name}: {text}"));
    }
}
