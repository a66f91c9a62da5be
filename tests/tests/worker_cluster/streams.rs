//! Whole streams: what arrives, what is left in the StreamCheckpoints, and what restarts repeat.

use serde_json::Value;
use worldstream::plan::StreamPlan;
use worldstream_crds::WorkerState;
use worldstream_tests::Repeats;
use worldstream_tests::apiserver::ApiServer;
use worldstream_tests::inside::{self, whole_lines};
use worldstream_tests::stream::until;

use crate::stage::{LONG, STREAM, Stage, TRAFFIC};

/// Every output's envelopes in order are those of a run in one process, and each checkpoint tells
/// the end.
pub fn what_arrives_is_what_a_run_sends(server: &ApiServer) {
    let stage = Stage::new(server, "parity", 300, &[], |_| {});
    stage.preflight().expect(0);
    let outputs = stage.outputs();
    assert_eq!(outputs.len(), 4);
    let workers: Vec<_> = outputs.iter().map(|output| stage.worker(output)).collect();
    for output in &outputs {
        let primed = stage.until_state(output, WorkerState::Primed);
        assert!(primed.plan.is_some() && primed.next.is_some(), "{primed:?}");
        assert_eq!((primed.clock_revision, primed.epoch), (0, 1));
        assert!(
            primed
                .holder
                .is_some_and(|holder| holder.starts_with(STREAM))
        );
    }
    assert_eq!(
        stage.gate.pushes(),
        0,
        "something was sent before the clock started"
    );
    stage.start_unpaced();
    for worker in workers {
        worker.finish_within(LONG).expect(0);
    }
    let mut plan = stage.plan.clone();
    let dir = tempfile::tempdir().unwrap();
    let gate = inside::gate(dir.path());
    plan.gate.url = format!("{}/v1/ingest/push", gate.url());
    plan.run_dir = dir.path().join("run");
    plan.checkpoint.store = worldstream::plan::CheckpointStorePlan::File {
        root: dir.path().join("checkpoints"),
    };
    let end = inside::run(plan).unwrap();
    gate.summary();
    let of = |file: &std::path::Path, output: &str| -> Vec<String> {
        let kind = |line: &String| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["event_type"] == output
        };
        whole_lines(file).into_iter().filter(kind).collect()
    };
    stage.gate.summary();
    for output in &outputs {
        let expected = of(&dir.path().join("admitted.jsonl"), output);
        assert!(!expected.is_empty());
        assert_eq!(of(&stage.gate.record, output), expected, "{output}");
        let status = stage.status(output);
        assert_eq!(status.state, Some(WorkerState::Finished));
        assert_eq!(
            (status.holder, status.next, status.failure),
            (None, None, None)
        );
        let receipt = status.receipt.unwrap();
        let run = end
            .summary
            .outputs
            .iter()
            .find(|it| it.output_id == *output)
            .unwrap();
        assert_eq!((receipt.rows, &receipt.digest), (run.rows, &run.digest));
        assert!(receipt.complete);
        assert_eq!(
            receipt.rows,
            receipt.admitted + receipt.duplicate + receipt.quarantined
        );
        let plan = status.plan.unwrap();
        assert_eq!(plan.rows, receipt.rows);
        let cursor = status.cursor.unwrap();
        assert_eq!(cursor.last_ts_utc, plan.last_event_time);
        let counts = status.counts.unwrap();
        assert_eq!((counts.rows, counts.sent), (receipt.rows, receipt.rows));
    }
    // A worker of a finished output has nothing to do, and waits for nothing.
    let before = stage.gate.pushes();
    stage.worker(TRAFFIC).finish_within(LONG).expect(0);
    assert_eq!(stage.gate.pushes(), before);
    assert_eq!(stage.status(TRAFFIC).epoch, 2);
}

/// A gate that answers a little later, so that a stream lasts.
const SLOW: &[&str] = &["--fault", "latency=4ms"];

fn slow<'a>(server: &'a ApiServer, namespace: &str, rows: u64) -> Stage<'a> {
    let stage = Stage::new(server, namespace, rows, SLOW, |plan: &mut StreamPlan| {
        Stage::only_traffic(plan);
        plan.gate.in_flight = 4;
    });
    stage.preflight().expect(0);
    stage.start_unpaced();
    stage
}

fn until_arrived(stage: &Stage, count: usize) {
    until("events arrive", || stage.arrivals(TRAFFIC).len() >= count);
}

/// SIGTERM saves all that was sent: whoever goes on repeats nothing.
pub fn a_drained_worker_repeats_nothing(server: &ApiServer) {
    let stage = slow(server, "drain", 2_000);
    for round in 1..=3 {
        let worker = stage.worker(TRAFFIC);
        until_arrived(&stage, round * 300);
        worker.signal("TERM");
        worker.finish_within(LONG).expect(14);
        let ending = stage.ending();
        assert_eq!(ending["reason"], "Interrupted");
        assert_eq!(
            (&ending["exitCode"], &ending["lane"]),
            (&14.into(), &0.into())
        );
        let status = stage.status(TRAFFIC);
        assert_eq!(status.state, Some(WorkerState::Stopped));
        assert_eq!((status.holder, status.epoch), (None, round as u64));
        assert!(status.next.is_some(), "it has something left");
        let arrived = stage.arrivals(TRAFFIC).len() as u64;
        assert_eq!(status.counts.unwrap().rows, arrived);
    }
    stage.worker(TRAFFIC).finish_within(LONG).expect(0);
    let pushes = stage.pushes_by_event(TRAFFIC);
    assert_eq!(pushes.len(), 2_000);
    assert!(pushes.values().all(|count| *count == 1));
    assert_eq!(stage.status(TRAFFIC).receipt.unwrap().admitted, 2_000);
}

/// A worker that froze, was followed, and goes on later: its write is refused, it ends as fenced,
/// the cursor never goes back, and nothing is lost.
pub fn a_worker_that_was_followed_writes_nothing_more(server: &ApiServer) {
    let stage = slow(server, "takeover", 3_000);
    let frozen = stage.worker(TRAFFIC);
    until("a cursor is saved", || {
        stage.status(TRAFFIC).cursor.is_some()
    });
    frozen.signal("STOP");
    let before = stage.status(TRAFFIC);
    let next = stage.worker(TRAFFIC);
    until("it was followed", || {
        let now = stage.status(TRAFFIC);
        now.epoch == before.epoch + 1 && cursor_row(&now) > cursor_row(&before)
    });
    frozen.signal("CONT");
    let mut last = cursor_row(&stage.status(TRAFFIC));
    let mut frozen = frozen;
    until("the older one ends", || {
        let row = cursor_row(&stage.status(TRAFFIC));
        assert!(row >= last, "the cursor went back from {last:?} to {row:?}");
        last = row;
        frozen.ended()
    });
    frozen.finish().expect(12);
    assert_eq!(stage.ending()["reason"], "CHECKPOINT_CONFLICT");
    next.finish_within(LONG).expect(0);
    let status = stage.status(TRAFFIC);
    assert_eq!(
        (status.state, status.epoch),
        (Some(WorkerState::Finished), 2)
    );
    let repeats = Repeats::of(&stage.arrivals(TRAFFIC));
    println!(
        "two workers on one checkpoint in Kubernetes: {}",
        repeats.told(3_000)
    );
    assert_eq!(repeats.events, 3_000, "nothing is lost");
    // Once by each of the two.
    assert!(repeats.most <= 2, "{repeats:?}");
    let receipt = status.receipt.unwrap();
    assert_eq!(receipt.rows, 3_000);
}

fn cursor_row(status: &worldstream_crds::StreamCheckpointStatus) -> Option<(String, u64)> {
    let cursor = status.cursor.as_ref()?;
    Some((cursor.last_file.clone(), cursor.last_row_index))
}

/// A worker that is killed is followed by a pod of its Job, without anybody's word; what is sent
/// again is what was not saved.
pub fn a_crash_repeats_little_and_loses_nothing(server: &ApiServer) {
    let stage = slow(server, "crash", 3_000);
    for round in 1..=4 {
        let worker = stage.worker(TRAFFIC);
        let begun = cursor_row(&stage.status(TRAFFIC));
        until("the cursor moves", || {
            cursor_row(&stage.status(TRAFFIC)) > begun
        });
        worker.kill();
        assert_eq!(stage.status(TRAFFIC).epoch, round);
        assert!(stage.status(TRAFFIC).holder.is_some());
    }
    stage.worker(TRAFFIC).finish_within(LONG).expect(0);
    let pushes = stage.pushes_by_event(TRAFFIC);
    assert_eq!(pushes.len(), 3_000);
    let receipt = stage.status(TRAFFIC).receipt.unwrap();
    assert_eq!((receipt.rows, receipt.complete), (3_000, true));
    assert_eq!(receipt.admitted + receipt.duplicate, 3_000);
}

/// Two lanes, two workers, two checkpoints: together every event once.
pub fn lanes_are_workers_of_their_own(server: &ApiServer) {
    let stage = Stage::new(server, "lanes", 400, &[], |plan| {
        Stage::only_traffic(plan);
        plan.identity.lanes.count = 2;
    });
    stage.preflight().expect(0);
    stage.start_unpaced();
    let workers = [0, 1].map(|lane| stage.lane(lane).start());
    for worker in workers {
        worker.finish_within(LONG).expect(0);
    }
    let receipts = [0, 1].map(|lane| {
        let status = stage.checkpoint(TRAFFIC, lane).status.unwrap();
        assert_eq!(status.plan.unwrap().rows, 400);
        status.receipt.unwrap().rows
    });
    assert_eq!(receipts.iter().sum::<u64>(), 400);
    assert!(receipts.iter().all(|rows| *rows > 0), "{receipts:?}");
    assert_eq!(stage.pushes_by_event(TRAFFIC).len(), 400);
    // A lane that there is none of.
    let end = stage.lane(2).start().finish_within(LONG);
    end.expect(10);
    assert_eq!(stage.ending()["reason"], "WSP_LANE_CONFIG_INVALID");
}
