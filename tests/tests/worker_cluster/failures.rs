//! What ends a pod otherwise than well: nothing is sent that should not be, and the reason is in
//! the termination message and on the StreamCheckpoint.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use worldstream::plan::{AuthPlan, SecretSource};
use worldstream_crds::WorkerState;
use worldstream_tests::apiserver::ApiServer;
use worldstream_tests::stream::until;

use crate::stage::{LONG, Stage, TRAFFIC};

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];
const SECRET: &str = "planted-key-4Q";

/// Preflight of a world that does not hold: the code, and no plan anywhere.
pub fn a_world_that_does_not_hold_is_not_planned(server: &ApiServer) {
    let mut stage = Stage::new(server, "preflight", 20, &[], Stage::only_traffic);
    let outputs = stage.outputs();
    let root = stage.world.root();
    let refused = |stage: &Stage, code: &str| {
        stage.preflight().expect(10);
        let ending = stage.ending();
        assert_eq!(ending["reason"], code, "{ending}");
        assert_eq!(ending["exitCode"], 10);
        assert!(ending.get("output").is_none(), "{ending}");
        for output in &outputs {
            assert_eq!(stage.status(output).plan, None);
        }
    };
    let receipt = format!("{root}/run_receipt.json");
    let text = fs::read(&receipt).unwrap();
    fs::remove_file(&receipt).unwrap();
    refused(&stage, "RUN_RECEIPT_UNREADABLE");
    fs::write(&receipt, text).unwrap();

    let allowed = std::mem::replace(&mut stage.plan.world.allowed_roots, vec!["/nowhere".into()]);
    stage.write_plan();
    refused(&stage, "ROOT_NOT_ALLOWED");
    stage.plan.world.allowed_roots = allowed;

    stage.plan.world.scenario = Some("another".into());
    stage.write_plan();
    refused(&stage, "WORLD_KEY_MISMATCH");
    stage.plan.world.scenario = None;

    let producer = std::mem::take(&mut stage.plan.world.producer_id);
    stage.write_plan();
    refused(&stage, "PRODUCER_ID_MISSING");
    stage.plan.world.producer_id = producer;
    stage.write_plan();

    let view = stage.world.view(TRAFFIC);
    let hidden = view.with_file_name("hidden");
    fs::rename(&view, &hidden).unwrap();
    refused(&stage, "STREAM_VIEW_MISSING");
    fs::rename(&hidden, &view).unwrap();
    // Mended, it holds, and a second time writes nothing.
    stage.preflight().expect(0);
    let planned = stage.checkpoint(TRAFFIC, 0);
    assert!(planned.status.unwrap().plan.is_some());
    stage.preflight().expect(0);
    let again = stage.checkpoint(TRAFFIC, 0);
    assert_eq!(
        again.metadata.resource_version,
        planned.metadata.resource_version
    );
    assert_eq!(stage.gate.pushes(), 0);
}

/// A part that was replaced between preflight and the worker.
pub fn a_view_that_changed_since_is_not_sent(server: &ApiServer) {
    let stage = Stage::new(server, "changed", 50, &[], Stage::only_traffic);
    // Without a plan nothing is sent either.
    stage.worker(TRAFFIC).finish_within(LONG).expect(10);
    let ending = stage.ending();
    assert_eq!(
        (&ending["reason"], &ending["output"]),
        (&"STREAM_FAILED".into(), &TRAFFIC.into())
    );
    stage.preflight().expect(0);
    stage.start_unpaced();
    let part = fs::read_dir(stage.world.view(TRAFFIC))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "parquet"))
        .unwrap();
    let copy = part.with_extension("copy");
    fs::copy(&part, &copy).unwrap();
    fs::rename(&copy, &part).unwrap();
    stage.worker(TRAFFIC).finish_within(LONG).expect(10);
    assert_eq!(stage.ending()["reason"], "STREAM_VIEW_CHANGED");
    let status = stage.status(TRAFFIC);
    assert_eq!(
        (status.state, status.holder),
        (Some(WorkerState::Failed), None)
    );
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.reason.as_str(), failure.exit_code),
        ("STREAM_VIEW_CHANGED", Some(10))
    );
    assert!(failure.message.contains("etag"), "{failure:?}");
    assert_eq!(stage.gate.pushes(), 0);
}

/// Exit codes of the design's table, and the same on the StreamCheckpoint.
pub fn every_ending_leaves_its_reason(server: &ApiServer) {
    let secrets = tempfile::tempdir().unwrap();
    let (keys, key) = (secrets.path().join("keys"), secrets.path().join("key"));
    fs::write(&keys, format!("{SECRET}\n")).unwrap();
    fs::write(&key, "out-of-date-key-9Z\n").unwrap();
    let gate = ["--api-keys", keys.to_str().unwrap()];
    let mut stage = Stage::new(server, "endings", 60, &gate, |plan| {
        Stage::only_traffic(plan);
        plan.gate.retry.unavailable_for = Some(Duration::from_secs(2));
        plan.gate.auth = AuthPlan::ApiKey(SecretSource::File(key.clone()));
    });
    stage.preflight().expect(0);
    stage.start_unpaced();

    let refused = stage.worker(TRAFFIC).finish_within(LONG).expect(11);
    let ending = stage.ending();
    assert_eq!(ending["reason"], "IG_PUSH_REJECTED");
    let checkpoint = stage.checkpoint(TRAFFIC, 0);
    let said = format!("{} {ending} {checkpoint:?}", refused.stderr);
    assert!(
        !said.contains("out-of-date-key-9Z"),
        "the secret is told: {said}"
    );
    let failure = checkpoint.status.unwrap().failure.unwrap();
    assert_eq!(failure.exit_code, Some(11));
    // The Secret's file is renewed, as the kubelet does it.
    fs::write(&key, SECRET).unwrap();

    stage.gate.set_faults(&["5xx"]);
    stage.worker(TRAFFIC).finish_within(LONG).expect(13);
    assert_eq!(stage.ending()["reason"], "IG_PUSH_RETRY_EXHAUSTED");
    assert_eq!(stage.status(TRAFFIC).state, Some(WorkerState::Failed));

    stage.gate.set_faults(&[]);
    let version = std::mem::replace(&mut stage.plan.version, 99);
    stage.write_plan();
    stage.worker(TRAFFIC).finish_within(LONG).expect(2);
    assert_eq!(stage.ending()["reason"], "Usage");
    stage.plan.version = version;
    stage.write_plan();

    // The failure is gone with its cause.
    let done = stage.worker(TRAFFIC).finish_within(LONG).expect(0);
    assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
    let status = stage.status(TRAFFIC);
    assert_eq!(
        (status.state, status.failure),
        (Some(WorkerState::Finished), None)
    );
    assert_eq!(stage.pushes_by_event(TRAFFIC).len(), 60);
}

/// A checkpoint that a pod of another Job holds is left alone, until the operator vouches for that
/// pod's end.
pub fn a_checkpoint_of_another_job_is_not_taken(server: &ApiServer) {
    let stage = Stage::new(server, "held", 60, &[], Stage::only_traffic);
    stage.preflight().expect(0);
    let holder = stage
        .worker_of(TRAFFIC, 0, "job-one")
        .args(ANY_PORT)
        .start();
    stage.until_state(TRAFFIC, WorkerState::Primed);
    let other = stage.worker_of(TRAFFIC, 0, "job-two").args(ANY_PORT);
    let other = other.start().finish_within(LONG).expect(12);
    assert!(
        other.stderr.contains("CHECKPOINT_CONFLICT"),
        "{}",
        other.stderr
    );
    assert_eq!(stage.ending()["reason"], "CHECKPOINT_CONFLICT");
    let status = stage.status(TRAFFIC);
    assert_eq!((status.epoch, status.state), (1, Some(WorkerState::Primed)));
    holder.kill();
    let uid = stage.status(TRAFFIC).holder_uid.unwrap();
    let follower = stage
        .worker_of(TRAFFIC, 0, "job-two")
        .args(ANY_PORT)
        .env("WORLDSTREAM_TAKE_OVER_FROM", &format!("someone,{uid}"))
        .start();
    until("it was followed", || stage.status(TRAFFIC).epoch == 2);
    stage.start_unpaced();
    follower.finish_within(LONG).expect(0);
    assert_eq!(stage.pushes_by_event(TRAFFIC).len(), 60);
}

/// A gate that answers nothing for a while: the worker says so, waits, and goes on by itself.
pub fn a_gate_that_is_away_is_waited_for(server: &ApiServer) {
    let stage = Stage::new(
        server,
        "away",
        500,
        &["--fault", "latency=3ms"],
        Stage::only_traffic,
    );
    stage.preflight().expect(0);
    stage.start_unpaced();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let worker = stage
        .worker_of(TRAFFIC, 0, "job-a")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .start();
    until("events arrive", || stage.arrivals(TRAFFIC).len() > 100);
    stage.gate.set_faults(&["5xx"]);
    let waiting = stage.until_state(TRAFFIC, WorkerState::Waiting);
    assert!(waiting.gate_away_since.is_some());
    let failure = waiting.failure.unwrap();
    assert_eq!(
        (failure.reason.as_str(), failure.exit_code),
        ("IG_PUSH_RETRY_EXHAUSTED", None)
    );
    assert!(get(port, "/healthz").ends_with("ok\n"));
    let metrics = get(port, "/metrics");
    let value = |sample: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(sample));
        let line = line.unwrap_or_else(|| panic!("no {sample} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let of = |name: &str, label: &str| {
        value(&format!(
            "worldstream_{name}{{output=\"{TRAFFIC}\",{label}}}"
        ))
    };
    assert!(of("gate_retries_total", "reason=\"status_5xx\"") > 0.0);
    assert!(of("gate_away_seconds", "lane=\"0\"") >= 3.0);
    assert!(of("events_total", "lane=\"0\",decision=\"admitted\"") > 100.0);
    assert_eq!(of("in_flight", "lane=\"0\""), 1.0);
    assert_eq!(value("worldstream_clock_revision "), 1.0);
    stage.gate.set_faults(&[]);
    worker.finish_within(LONG).expect(0);
    let status = stage.status(TRAFFIC);
    assert_eq!((status.gate_away_since, status.failure), (None, None));
    let receipt = status.receipt.unwrap();
    assert_eq!((receipt.rows, receipt.admitted), (500, 500));
}

/// An answer, head and body.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}
