//! Several triggers on one bus: each message is streamed by one of them.

use serde_json::json;
use worldstream_tests::Finished;

use super::bed::{Bed, CAPPED, LONG, Message, said, totals};

const MESSAGES: u64 = 12;

#[test]
fn two_triggers_on_one_bus_stream_each_message_once() {
    let mut bed = Bed::capped();
    bed.trigger["maxActive"] = json!(3);
    let all = MESSAGES.to_string();
    let starts = [(); 2].map(|()| bed.ready(&["--max-messages", &all]).start());
    for n in 1..=MESSAGES {
        bed.announce(&Message::new(n));
    }
    let ends: Vec<Finished> = starts
        .into_iter()
        .map(|running| running.finish_within(LONG).expect(0))
        .collect();
    let streamed = |end: &Finished| totals(end)["streamed"].as_u64().unwrap();
    assert_eq!(ends.iter().map(streamed).sum::<u64>(), MESSAGES);
    for end in &ends {
        let said = said(end);
        assert_eq!(said.len() as u64, MESSAGES, "{end:#?}");
        for it in said {
            let status = it["status"].as_str().unwrap();
            assert!(["STREAMED", "SKIPPED_DUPLICATE"].contains(&status), "{it}");
        }
    }
    for n in 1..=MESSAGES {
        let records = bed.records(&Message::new(n).id);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0]["emitted"], CAPPED);
    }
    assert_eq!(bed.arrivals().len() as u64, MESSAGES * CAPPED);
    assert_eq!(bed.facts().len() as u64, MESSAGES * 3);
}

#[test]
fn one_that_is_killed_leaves_its_message_to_the_other() {
    let bed = Bed::new();
    bed.faults(&["latency=20ms"]);
    let message = Message::new(1);
    let first = bed.ready(&["--max-messages", "1"]).start();
    bed.announce(&message);
    worldstream_tests::inside::until("pushes", || bed.gate.summary().pushes >= 30);
    let second = bed.ready(&["--max-messages", "1"]).start();
    worldstream_tests::inside::until("the other to wait", || {
        second.stderr().contains("READY is deferred")
    });
    first.kill();
    bed.faults(&[]);
    let end = second.finish_within(LONG).expect(0);
    assert_eq!(said(&end)[0]["status"], "STREAMED", "{end:#?}");
    let records = bed.records(&message.id);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["emitted"], 240);
    assert_eq!(bed.admitted().len(), 240);
}
