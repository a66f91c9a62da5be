//! The whole way over a real Kinesis engine, while that is throttled, split, merged and restarted,
//! and the program itself is killed: each READY is streamed once.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use worldstream_tests::bed::stores::KinesisServer;
use worldstream_tests::kinesis::{self, KinesisWay};

use super::bed::{Bed, CAPPED, LONG, Message, said, totals, wait};

const STREAM: &str = "fp-control";
const THROTTLED: &str = "ProvisionedThroughputExceededException";
/// Messages of each part.
const PART: u64 = 4;

/// A bed whose bus is this stream, by this way.
fn bed(endpoint: &str, ca_file: Option<&std::path::Path>) -> Bed {
    let mut bed = Bed::capped();
    let secret = |name: &str| {
        let path = bed.dir.path().join(name);
        std::fs::write(&path, "test\n").unwrap();
        json!({"file": path})
    };
    let credentials = json!({"accessKeyId": secret("id"), "secretAccessKey": secret("secret")});
    bed.trigger["bus"] = json!({"kinesis": {
        "stream": STREAM,
        "region": "us-east-1",
        "endpoint": endpoint,
        "credentials": credentials,
    }});
    if let Some(ca_file) = ca_file {
        bed.trigger["bus"]["kinesis"]["caFile"] = json!(ca_file);
    }
    bed.trigger["maxActive"] = json!(3);
    bed
}

/// Puts a message on the bus; its number there.
fn put(engine: &KinesisServer, message: &Message) -> String {
    let record = json!({
        "StreamName": STREAM,
        "Data": BASE64_STANDARD.encode(message.message.to_string()),
        "PartitionKey": message.id,
    });
    let answer = engine.ask("PutRecord", &record).unwrap();
    answer["SequenceNumber"].as_str().unwrap().to_owned()
}

#[test]
fn each_ready_is_streamed_once_whatever_becomes_of_kinesis() {
    let mut engine = KinesisServer::start().unwrap();
    let way = KinesisWay::start(&engine.endpoint());
    kinesis::make(&engine, STREAM, 2);
    let bed = bed(&way.url, None);
    let mut messages = Vec::new();
    let mut last = String::new();
    // A part of the messages, each twice: the second is a repeat, on whichever shard is there then.
    let announce = |engine: &KinesisServer, messages: &mut Vec<Message>, last: &mut String| {
        let from = messages.len() as u64;
        let part: Vec<_> = (from..from + PART).map(|n| Message::new(n + 1)).collect();
        for message in &part {
            bed.put_facts(message);
            put(engine, message);
        }
        for message in &part {
            *last = put(engine, message);
        }
        messages.extend(part);
    };
    let mut running = bed.ready(&[]).start();
    announce(&engine, &mut messages, &mut last);
    wait("the first part", || {
        let done = |it: &Message| !bed.records(&it.id).is_empty();
        messages.iter().all(done)
    });
    let throttle = || {
        way.rule(|action, nth| {
            let refused = action == "GetRecords" && nth < 16 && nth % 2 == 0;
            refused.then_some(THROTTLED)
        });
    };
    throttle();
    announce(&engine, &mut messages, &mut last);
    kinesis::split(&engine, STREAM, 0);
    announce(&engine, &mut messages, &mut last);
    // Killed with streams under way, it goes on from its position.
    let killed = running.kill();
    assert_eq!(killed.code, None, "{killed:#?}");
    throttle();
    running = bed.ready(&[]).start();
    kinesis::merge(&engine, STREAM, 1);
    announce(&engine, &mut messages, &mut last);
    wait("Kinesis has written it down", || engine.kept(&last));
    engine.server.kill().unwrap();
    engine.server.start().unwrap();
    announce(&engine, &mut messages, &mut last);
    wait("all records", || {
        let done = |it: &Message| !bed.records(&it.id).is_empty();
        messages.iter().all(done)
    });
    running.signal("TERM");
    let ended = running.finish_within(LONG).expect(14);

    assert!(way.answered(THROTTLED) >= 9);
    assert!(kinesis::shards(&engine, STREAM).len() >= 5);
    let all = messages.len() as u64;
    for message in &messages {
        let records = bed.records(&message.id);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0]["status"], "STREAMED", "{records:#?}");
        assert_eq!(records[0]["emitted"], CAPPED, "{records:#?}");
    }
    // Of the streams that were under way when it was killed, what was not saved comes again.
    let sent = bed.arrivals().len() as u64;
    let bound = all * CAPPED..=(all + 3) * CAPPED;
    assert!(bound.contains(&sent), "{sent}, {ended:#?}");
    assert_eq!(bed.facts().len() as u64, all * 3);
    let session = bed.session();
    let received = |it: &&serde_json::Value| it["event_kind"] == "ready_received";
    assert_eq!(session.iter().filter(received).count() as u64, all);
    // What is left on the bus are repeats; once they were read, too, nothing comes again.
    let rest = bed.once().expect(0);
    let repeat = |it: &serde_json::Value| it["status"] == "SKIPPED_DUPLICATE";
    assert!(said(&rest).iter().all(repeat), "{rest:#?}");
    let nothing = bed.once().expect(0);
    assert_eq!(totals(&nothing)["seen"], 0, "{nothing:#?}");
}

/// A position never passes a message that failed or waits; what it passed does not come again.
#[test]
fn what_failed_or_waits_comes_again_at_the_next_start() {
    let engine = KinesisServer::start().unwrap();
    kinesis::make(&engine, STREAM, 1);
    let mut bed = bed(&engine.endpoint(), None);
    let messages: Vec<_> = (1..=4).map(Message::new).collect();
    let [first, failing, behind, waiting] = &messages[..] else {
        unreachable!()
    };
    for message in [first, failing, behind] {
        put(&engine, message);
    }
    bed.put_facts(first);
    bed.put_facts(behind);
    let became = |code: i32, bed: &Bed| -> Vec<(String, String)> {
        let ended = bed.once().expect(code);
        let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
        let mut became: Vec<_> = said(&ended)
            .iter()
            .map(|it| (text(&it["message_id"]), text(&it["status"])))
            .collect();
        became.sort();
        became
    };
    let is = |message: &Message, status: &str| (message.id.clone(), status.to_owned());
    assert_eq!(
        became(10, &bed),
        [
            is(first, "STREAMED"),
            is(failing, "FAILED"),
            is(behind, "STREAMED"),
        ]
    );
    bed.put_facts(failing);
    assert_eq!(
        became(0, &bed),
        [is(failing, "STREAMED"), is(behind, "SKIPPED_DUPLICATE")]
    );
    assert!(became(0, &bed).is_empty());
    let state = bed.dir.path().join("state.json");
    bed.profile["ready"] = json!({"downstream": [{"name": "p", "file": {"path": state}}]});
    bed.put_facts(waiting);
    put(&engine, waiting);
    for _ in 0..2 {
        let deferred = is(waiting, "DEFERRED_DOWNSTREAM_NOT_READY");
        assert_eq!(became(0, &bed), [deferred]);
    }
    let up = json!({
        "active_platform_run_id": worldstream_tests::PLATFORM_RUN_ID,
        "processes": {"ig": {"status": "running"}},
    });
    std::fs::write(&state, up.to_string()).unwrap();
    assert_eq!(became(0, &bed), [is(waiting, "STREAMED")]);
    assert!(became(0, &bed).is_empty());
}

#[test]
fn kinesis_over_tls_with_an_authority_of_ones_own() {
    let engine = KinesisServer::start().unwrap();
    kinesis::make(&engine, STREAM, 1);
    let bed = bed(&engine.tls_endpoint(), Some(&engine.root_file()));
    let message = Message::new(1);
    bed.put_facts(&message);
    put(&engine, &message);
    let ended = bed.once().expect(0);
    assert_eq!(said(&ended)[0]["status"], "STREAMED", "{ended:#?}");
    assert_eq!(bed.records(&message.id).len(), 1);
}
