//! Bus, facts, records and claims in S3: a real MinIO.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use worldstream::ready::Place;
use worldstream::ready::record::{ReadyRuns, Record, Status};
use worldstream::time::EventTime;
use worldstream_tests::s3::{self, Minio};
use worldstream_tests::{Finished, PLATFORM_RUN_ID};

use super::bed::{Bed, CAPPED, LONG, Message, TOPIC, said, totals};

const STORE: &str = "platform";

/// A bed whose bus and store are in a bucket.
fn remote(minio: &Minio) -> Bed {
    let mut bed = Bed::capped();
    bed.trigger["bus"]["file"] =
        json!({"root": format!("s3://{STORE}/bus"), "pollInterval": "100ms"});
    bed.trigger["store"] = json!({"root": format!("s3://{STORE}"), "s3": minio.spec()});
    let cursors = bed.dir.path().join("cursors");
    bed.profile["checkpoints"]["file"] = json!({"root": cursors});
    bed
}

fn announce(minio: &Minio, n: u64) -> Message {
    let mut message = Message::new(n);
    let facts = format!("{PLATFORM_RUN_ID}/sr/run_facts_view/{n}.json");
    message.message["payload"]["facts_view_ref"] = match n % 2 {
        0 => json!(facts),
        _ => json!(format!("s3://{STORE}/{facts}")),
    };
    minio.put(STORE, &facts, message.facts.to_string());
    let key = format!("bus/{TOPIC}/{n:04}.json");
    minio.put(STORE, &key, message.message.to_string());
    message
}

fn records(minio: &Minio, id: &str) -> Vec<Value> {
    let key = format!("{PLATFORM_RUN_ID}/wsp/ready_runs/{id}.jsonl");
    let bytes = minio.get(STORE, &key).unwrap_or_default();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[test]
fn in_a_bucket_each_message_is_streamed_once_by_whoever_is_alive() {
    let minio = Minio::start();
    minio.bucket(STORE);
    two_triggers(&minio, 1..=6);
    killed_at_each_write(&minio);
    racing_records(&minio);
}

fn two_triggers(minio: &Minio, messages: std::ops::RangeInclusive<u64>) {
    let bed = remote(minio);
    let count = messages.clone().count();
    let all = count.to_string();
    let starts = [(); 2].map(|()| bed.ready(&["--max-messages", &all]).start());
    let ids: Vec<_> = messages.map(|n| announce(minio, n).id).collect();
    let ends: Vec<Finished> = starts
        .into_iter()
        .map(|running| running.finish_within(LONG).expect(0))
        .collect();
    let streamed = |end: &Finished| totals(end)["streamed"].as_u64().unwrap();
    assert_eq!(ends.iter().map(streamed).sum::<u64>(), count as u64);
    for id in &ids {
        let records = records(minio, id);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0]["emitted"], CAPPED);
    }
    assert_eq!(bed.arrivals().len() as u64, CAPPED * count as u64);
    let facts = minio.keys(STORE, &format!("{PLATFORM_RUN_ID}/obs/governance/events"));
    assert_eq!(facts.len(), count * 3);
    let session = minio
        .get(STORE, &format!("{PLATFORM_RUN_ID}/session.jsonl"))
        .unwrap();
    let received = String::from_utf8(session.to_vec()).unwrap();
    assert_eq!(received.matches("ready_received").count(), count);
    // The story is told from there as well.
    let documents = bed.documents();
    let story =
        worldstream_tests::run(["audit", "show", PLATFORM_RUN_ID, "-f", &documents, "--json"])
            .finish()
            .expect(0)
            .json();
    let entries = story["entries"].as_array().unwrap().iter();
    let kinds: BTreeSet<_> = entries.map(|it| it["kind"].as_str().unwrap()).collect();
    assert!(kinds.is_superset(&BTreeSet::from([
        "STREAMED",
        "RUN_ENDED",
        "stream_complete"
    ])));
}

/// Killed at every moment at which something was written to the bucket; the claim of who was
/// killed expires, and the next one goes on.
fn killed_at_each_write(minio: &Minio) {
    let moments = [
        "claimed",
        "claim_open",
        "started",
        "streamed",
        "ended",
        "noted",
        "recorded",
    ];
    let term = ["--claim-term", "2s"];
    for (index, moment) in moments.iter().enumerate() {
        let bed = remote(minio);
        // All messages so far are on the bus, and those that are recorded are passed over: one is left.
        let message = announce(minio, 100 + index as u64);
        let killed = bed
            .ready(&["--once"])
            .args(term)
            .env("KILL_WORLDSTREAM_AT", moment)
            .start()
            .finish_within(LONG);
        assert_eq!(killed.code, None, "{moment}: {killed:#?}");
        let next = bed.ready(&["--max-messages", "1"]).args(term).start();
        next.finish_within(LONG).expect(0);
        let records = records(minio, &message.id);
        assert_eq!(records.len(), 1, "{moment}: {records:?}");
        assert_eq!(records[0]["status"], "STREAMED", "{moment}");
        assert_eq!(records[0]["emitted"], CAPPED, "{moment}");
        assert_eq!(bed.arrivals().len() as u64, CAPPED, "{moment}");
        let session = minio
            .get(STORE, &format!("{PLATFORM_RUN_ID}/session.jsonl"))
            .unwrap();
        let session = String::from_utf8(session.to_vec()).unwrap();
        let received = session
            .lines()
            .filter(|line| line.contains("ready_received") && line.contains(&message.id));
        assert_eq!(received.count(), 1, "{moment}");
        let end = bed.once().expect(0);
        assert_eq!(totals(&end)["seen"], 0, "{moment}: {end:#?}");
    }
    // Without the position all come again, and are repeats.
    let bed = remote(minio);
    let position = format!("{PLATFORM_RUN_ID}/wsp/ready_positions/golden.json");
    minio.put(STORE, &position, "{}");
    let end = bed.once().expect(0);
    let said = said(&end);
    assert_eq!(said.len(), 6 + moments.len(), "{said:#?}");
    assert!(
        said.iter().all(|it| it["status"] == "SKIPPED_DUPLICATE"),
        "{said:#?}"
    );
}

/// Many append to one message's records at once: as many as failed are there, and one that
/// streamed.
fn racing_records(minio: &Minio) {
    let place = Place::open(&format!("s3://{STORE}"), &minio.plan()).unwrap();
    let runs = ReadyRuns::of(place.run(PLATFORM_RUN_ID));
    let record = |status: Status, n: u64| Record {
        emitted: Some(n),
        engine_run_root: None,
        message_id: "race".into(),
        reason: None,
        run_id: "r".into(),
        scenario_id: None,
        status,
        ts_utc: EventTime::wall_now(),
    };
    let append = |status: Status, n: u64| {
        let (runs, line) = (runs.clone(), record(status, n).line().unwrap());
        async move { runs.append("race", line.as_bytes()).await.unwrap() }
    };
    let failed = s3::wait(futures::future::join_all(
        (0..10).map(|n| append(Status::Failed, n)),
    ));
    assert!(failed.iter().all(|added| *added));
    let streamed = s3::wait(futures::future::join_all(
        (10..20).map(|n| append(Status::Streamed, n)),
    ));
    assert_eq!(streamed.iter().filter(|added| **added).count(), 1);
    let found = records(minio, "race");
    assert_eq!(found.len(), 11);
    let emitted: BTreeSet<_> = found.iter().map(|it| it["emitted"].as_u64()).collect();
    assert_eq!(emitted.len(), 11);
}
