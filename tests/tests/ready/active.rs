//! How many streams run at once.

use serde_json::{Value, json};

use super::bed::{Bed, Message};

/// The most streams that ran at once, by the facts of their starts and ends.
fn most(bed: &Bed) -> usize {
    let mut moments: Vec<(String, i32)> = Vec::new();
    for fact in bed.facts().values() {
        let change = match fact["event_family"].as_str().unwrap() {
            "RUN_STARTED" => 1,
            "RUN_ENDED" => -1,
            _ => continue,
        };
        moments.push((fact["ts_utc"].as_str().unwrap().to_owned(), change));
    }
    moments.sort();
    let (mut now, mut most) = (0, 0);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    most as usize
}

fn streamed(trigger: Value, messages: u64) -> Bed {
    let mut bed = Bed::capped();
    for (name, value) in trigger.as_object().unwrap() {
        bed.trigger[name] = value.clone();
    }
    bed.faults(&["latency=50ms"]);
    for n in 1..=messages {
        bed.announce(&Message::new(n));
    }
    bed.once().expect(0);
    for n in 1..=messages {
        let records = bed.records(&Message::new(n).id);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["status"], "STREAMED");
    }
    bed
}

#[test]
fn as_many_streams_run_at_once_as_may() {
    for (trigger, messages, expect) in [
        (json!({"maxActive": 3}), 7, 3),
        (json!({}), 3, 1),
        (json!({"concurrencyPolicy": "Forbid", "maxActive": 3}), 3, 1),
    ] {
        let bed = streamed(trigger.clone(), messages);
        assert_eq!(most(&bed), expect, "{trigger}");
    }
}
