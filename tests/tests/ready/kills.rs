//! The trigger is killed between each two of the steps, and in the midst of a stream: after the
//! next start each message was streamed once, and its records are right.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use worldstream::ready::failpoint::MOMENTS;
use worldstream_tests::inside::until;

use super::bed::{Bed, CAPPED, LONG, Message, said, totals};

/// Killed with SIGKILL at this moment.
fn killed_at(bed: &Bed, moment: &str) {
    let finished = bed
        .ready(&["--once"])
        .env("KILL_WORLDSTREAM_AT", moment)
        .start()
        .finish_within(LONG);
    assert_eq!(finished.code, None, "{moment}: {finished:#?}");
    assert!(said(&finished).is_empty(), "{moment}: {finished:#?}");
}

fn count(events: &[Value], kind: &str) -> usize {
    let events = events.iter();
    events.filter(|event| event["event_kind"] == kind).count()
}

fn dies_and_goes_on(moment: &str) {
    let bed = Bed::capped();
    let message = Message::new(7);
    bed.announce(&message);
    killed_at(&bed, moment);
    // Killed again where it comes by that moment again, and then not.
    let again = bed
        .ready(&["--once"])
        .env("KILL_WORLDSTREAM_AT", moment)
        .start()
        .finish_within(LONG);
    assert!(matches!(again.code, None | Some(0)), "{moment}: {again:#?}");
    let last = bed.once().expect(0);

    let records = bed.records(&message.id);
    let [record] = &records[..] else {
        panic!("{moment}: {records:#?}")
    };
    assert_eq!(record["status"], "STREAMED", "{moment}: {record}");
    assert_eq!(record["emitted"], CAPPED, "{moment}: {record}");
    assert_eq!(record["reason"], json!(null), "{moment}: {record}");
    assert_eq!(bed.arrivals().len() as u64, CAPPED, "{moment}");
    let facts = bed.facts();
    let families: BTreeSet<_> = facts
        .values()
        .map(|fact| fact["event_family"].as_str().unwrap())
        .collect();
    let all = BTreeSet::from(["RUN_READY_SEEN", "RUN_STARTED", "RUN_ENDED"]);
    assert_eq!((facts.len(), families), (3, all), "{moment}");
    let ended = facts
        .values()
        .find(|fact| fact["event_family"] == "RUN_ENDED");
    assert_eq!(ended.unwrap()["details"]["emitted"], CAPPED, "{moment}");
    let session = bed.session();
    assert_eq!(
        count(&session, "ready_received"),
        1,
        "{moment}: {session:#?}"
    );
    let said = said(&last);
    // Nothing, where the run before it went to the end.
    let done = |it: &Value| it["status"] == "STREAMED" || it["status"] == "SKIPPED_DUPLICATE";
    assert!(said.iter().all(done), "{moment}: {said:?}");
    assert_eq!(said.is_empty(), again.code == Some(0), "{moment}");
    // From now on a restart passes it over; published again it is a repeat, and nothing is written.
    let nothing = bed.once().expect(0);
    assert_eq!(totals(&nothing)["seen"], 0, "{moment}: {nothing:#?}");
    bed.publish("again", message.message.to_string());
    let again = bed.once().expect(0);
    assert_eq!(super::bed::said(&again)[0]["status"], "SKIPPED_DUPLICATE");
    assert_eq!(bed.records(&message.id).len(), 1);
    assert_eq!(bed.session(), session);
}

#[test]
fn killed_between_each_two_steps_it_streams_once() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(moment) = MOMENTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    dies_and_goes_on(moment);
                }
            });
        }
    });
}

#[test]
fn killed_in_the_midst_of_a_stream_it_goes_on_at_its_cursors_and_counts_all() {
    let mut bed = Bed::new();
    bed.profile["checkpoints"]["flushEvery"] = json!(10);
    bed.faults(&["latency=20ms"]);
    let message = Message::new(7);
    bed.announce(&message);
    for part in 1..=3u64 {
        let before = bed.gate.summary().pushes;
        let running = bed.ready(&[]).start();
        until("pushes", || bed.gate.summary().pushes >= before + 40);
        let killed = running.kill();
        assert_eq!(killed.code, None, "{part}: {killed:#?}");
        assert!(bed.records(&message.id).is_empty());
    }
    bed.faults(&[]);
    bed.once().expect(0);
    let records = bed.records(&message.id);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["status"], "STREAMED");
    assert_eq!(records[0]["emitted"], 240);
    // Everything once, and of what was not saved a bounded number again.
    assert_eq!(bed.admitted().len(), 240);
    let pushed = bed.arrivals().len();
    assert!((240..=240 + 3 * 2 * (10 + 1)).contains(&pushed), "{pushed}");
    let session = bed.session();
    assert_eq!(count(&session, "ready_received"), 1);
    assert_eq!(bed.facts().len(), 3);
}

#[test]
fn stopped_by_a_person_it_records_nothing_and_goes_on() {
    let bed = Bed::new();
    bed.faults(&["latency=20ms"]);
    let message = Message::new(7);
    bed.announce(&message);
    let running = bed.ready(&[]).start();
    until("pushes", || bed.gate.summary().pushes >= 30);
    running.signal("TERM");
    let stopped = running.finish_within(LONG).expect(14);
    let counted = totals(&stopped);
    assert_eq!((&counted["seen"], &counted["left"]), (&json!(1), &json!(1)));
    assert!(bed.records(&message.id).is_empty());
    bed.faults(&[]);
    bed.once().expect(0);
    let records = bed.records(&message.id);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["emitted"], 240);
    assert_eq!(bed.arrivals().len(), 240);
}

#[test]
fn a_failed_message_comes_again_and_goes_on_where_it_failed() {
    let mut bed = Bed::new();
    bed.profile["gate"]["retry"] = json!({"attempts": 1});
    bed.profile["checkpoints"]["flushEvery"] = json!(1);
    // The hundredth push is refused, and those after it.
    bed.faults(&["5xx=503:events=100..1000000"]);
    let message = Message::new(7);
    bed.announce(&message);
    let failed = bed.once().expect(10);
    let first = &bed.records(&message.id)[0];
    assert_eq!(first["status"], "FAILED");
    assert_eq!(first["reason"], "IG_PUSH_RETRY_EXHAUSTED");
    let sent = first["emitted"].as_u64().unwrap();
    assert!((80..=100).contains(&sent), "{failed:#?}");
    bed.faults(&[]);
    bed.once().expect(0);
    let records = bed.records(&message.id);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["status"], "STREAMED");
    // Each attempt counts its own.
    assert_eq!(records[1]["emitted"], 240 - sent);
    assert_eq!(bed.admitted().len(), 240);
    // The first end is the one that is told of.
    assert_eq!(bed.facts().len(), 3);
}
