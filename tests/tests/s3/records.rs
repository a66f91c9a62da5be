//! What runs write, in S3.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use worldstream::audit::Records;
use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::inside;
use worldstream_tests::s3::{Minio, wait};
use worldstream_tests::{MadeWorld, PLATFORM_RUN_ID, golden};

use crate::bed::{self, ARRIVALS, BASELINE, BUCKET, FRAUD, done};

const WORLD: &str = "s3://oracle-store/runs/world-a";
const RUNS: &str = "platform";

fn run_dir() -> String {
    format!("s3://{RUNS}/fraud-platform/{PLATFORM_RUN_ID}")
}

fn key(below: &str) -> String {
    format!("fraud-platform/{PLATFORM_RUN_ID}/{below}")
}

fn lines(minio: &Minio, key: &str) -> Vec<Value> {
    let bytes = minio.get(RUNS, key).unwrap_or_else(|| panic!("no {key}"));
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn two_streams_of_one_run_write_one_session_and_their_receipts() {
    let minio = Minio::start();
    minio.put_folder(BUCKET, "runs/world-a", &golden().join("world-a"));
    minio.bucket(RUNS);
    let replay = |outputs: &[&str]| {
        let mut inside = bed::inside(&minio, WORLD, outputs);
        inside.plan.run_dir = run_dir().into();
        inside.plan.checkpoint.flush_every = 5;
        inside
    };
    let one = replay(&[ARRIVALS, FRAUD]);
    let other = replay(&[BASELINE]);
    let (first, second) = (one.start(), other.start());
    done(&first.end());
    done(&second.end());

    let session = lines(&minio, &key("session.jsonl"));
    let of_kind = |kind: &str| {
        session
            .iter()
            .filter(|line| line["event_kind"] == kind)
            .count()
    };
    for kind in ["engine_world_selected", "stream_start", "stream_complete"] {
        assert_eq!(of_kind(kind), 2, "{kind}");
    }
    let saved: Vec<_> = session
        .iter()
        .filter(|line| line["event_kind"] == "checkpoint_saved")
        .map(|line| &line["details"])
        .collect();
    for (inside, output) in [(&one, ARRIVALS), (&one, FRAUD), (&other, BASELINE)] {
        let events = bed::admitted(inside, output).len() as u64;
        let rows: Vec<_> = saved
            .iter()
            .filter(|it| it["output_id"] == output && it["reason"] == "periodic_flush")
            .collect();
        assert_eq!(rows.len() as u64, events / 5, "{output}");
        let receipt = minio.get(RUNS, &key(&format!("wsp/receipts/{output}.json")));
        let receipt: Value = serde_json::from_slice(&receipt.unwrap()).unwrap();
        assert_eq!(receipt["rows"], events, "{output}");
        assert_eq!(receipt["outcome"], "complete");
    }
}

#[test]
fn lines_and_facts_of_many_writers_are_all_there() {
    let minio = Minio::start();
    minio.bucket(RUNS);
    let records = Records::open(run_dir().as_ref(), &minio.plan()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let records = &records;
            scope.spawn(move || {
                wait(async {
                    for n in 0..15 {
                        let line = format!("{{\"writer\":{writer},\"n\":{n}}}\n");
                        let ready = "wsp/ready_runs/m.jsonl";
                        records.append(ready, line.as_bytes(), false).await.unwrap();
                    }
                    let fact = "obs/governance/events/f.json";
                    records
                        .once(fact, format!("{writer}").as_bytes())
                        .await
                        .unwrap();
                });
            });
        }
    });
    let mut found = BTreeSet::new();
    let mut count = 0;
    for place in minio.keys(RUNS, &key("wsp/ready_runs")) {
        for line in lines(&minio, &place) {
            count += 1;
            found.insert((
                line["writer"].as_u64().unwrap(),
                line["n"].as_u64().unwrap(),
            ));
        }
    }
    assert_eq!((count, found.len()), (90, 90));
    let fact = minio
        .get(RUNS, &key("obs/governance/events/f.json"))
        .unwrap();
    assert_eq!(fact.len(), 1);
}

#[test]
fn a_stop_does_not_wait_for_records_whose_store_is_away() {
    stopped_without_records(|_| true);
}

/// All is sent and saved, and the stream waits for its last records.
#[test]
fn a_stop_while_the_last_records_are_written_is_bounded_too() {
    stopped_without_records(|moving| {
        let lanes = &moving.board.lanes;
        lanes
            .iter()
            .all(|lane| lane.finished.load(Ordering::SeqCst))
    });
}

/// The store of the records goes away early, and the stream is stopped when it is so far.
fn stopped_without_records(so_far: impl Fn(&inside::Moving) -> bool) {
    let mut minio = Minio::start();
    minio.bucket(RUNS);
    let world = MadeWorld::sample(20_000, 1, |_| {});
    let mut inside = inside::Inside::new(&world.root()).outputs(&[FRAUD]);
    inside.plan.world.s3 = minio.plan();
    inside.plan.run_dir = run_dir().into();
    inside.plan.world.s3.unavailable_for = Duration::from_secs(3_600);
    inside.plan.world.s3.attempts = 10_000;
    let moving = inside.start();
    inside::until("events on their way", || {
        inside.gate.summary().pushes >= 300
    });
    minio.minio.server.kill().unwrap();
    inside::until("so far", || so_far(&moving));
    let began = Instant::now();
    moving.remote.stop();
    let end = moving.end();
    // Far less than it would have waited for the store.
    assert!(began.elapsed() < Duration::from_secs(120));
    let failure = end.failure.expect("the records lack the end");
    assert_eq!(end.exit, ExitCode::Unavailable, "{failure}");
    for text in [&run_dir(), "a stream that was stopped", "within 10s"] {
        assert!(failure.message().contains(text), "{failure}");
    }
    // The cursor was saved all the same.
    minio.minio.server.start().unwrap();
    done(&inside.run());
    bed::same(
        &bed::admitted(&inside, FRAUD),
        &bed::from_disk(&world, FRAUD),
        "in two runs",
    );
}

#[test]
fn a_run_that_cannot_be_recorded_sends_nothing() {
    let minio = Minio::start();
    minio.put_folder(BUCKET, "runs/world-a", &golden().join("world-a"));
    let mut inside = bed::inside(&minio, WORLD, &[FRAUD]);
    inside.plan.run_dir = "s3://no-such-bucket/x".into();
    let failure = inside::run(inside.plan.clone()).map(|_| ()).unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamFailed);
    assert_eq!(failure.exit_code(), ExitCode::FailClosed);
    for text in ["s3://no-such-bucket/x/session.jsonl", "NoSuchBucket"] {
        assert!(failure.message().contains(text), "{failure}");
    }
    assert_eq!(inside.gate.summary().pushes, 0);
}
