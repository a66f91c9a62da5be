//! Many streams at once: all Jobs are made, what the operator needs for it is measured, and then
//! nobody writes anything.
//!
//! `make cluster-scale` runs it with a thousand streams of four outputs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worldstream_crds::OutputPlan;

use crate::operator::Operator;
use crate::outside::Outside;
use crate::space::Space;

/// How much memory the operator may use at most, in KiB.
const MEMORY: u64 = 100 * 1024;
/// For how long nothing is written.
const REST: Duration = Duration::from_secs(60);
/// The kinds of the case's objects that somebody could write.
const KINDS: [&str; 10] = [
    "ws",
    "sp",
    "sclk",
    "sckpt",
    "jobs",
    "pods",
    "configmaps",
    "serviceaccounts",
    "roles",
    "rolebindings",
];

/// How many streams, and how many outputs each: of the environment, such as `1000x4`.
fn size() -> (usize, usize) {
    let Ok(text) = std::env::var("WORLDSTREAM_SCALE") else {
        return (200, 2);
    };
    let size = text
        .split_once('x')
        .and_then(|(streams, outputs)| Some((streams.parse().ok()?, outputs.parse().ok()?)));
    size.unwrap_or_else(|| panic!("WORLDSTREAM_SCALE={text}: STREAMSxOUTPUTS"))
}

/// Streams whose worlds are verified, as the test wrote their plans, and whose pods no node takes.
pub fn many_streams_get_their_jobs_and_rest(operator: &Operator) {
    let (streams, outputs) = size();
    let space = Space::new(operator, "scale", |spec| {
        let context = [
            "arrival_events_5B",
            "s1_arrival_entities_6B",
            "s3_flow_anchor_with_fraud_6B",
        ];
        spec["contextOutputs"]["fraud"] = json!({ "outputIds": context[..outputs - 1] });
        spec["worker"]["podTemplate"]["nodeSelector"] =
            json!({ "tests.worldstream.io/nowhere": "" });
        spec["clock"]["primeTimeout"] = json!("2h");
    });
    let all: Vec<Value> = (0..streams)
        .map(|number| {
            // Nobody looks for the worlds.
            let more = json!({ "trafficMode": "fraud", "suspend": true });
            space.stream(&format!("s{number:04}"), &format!("w{number:04}"), more)
        })
        .collect();
    let began = Instant::now();
    for some in all.chunks(100) {
        space.start(some);
    }
    let said = |took: Duration| took.as_secs_f64();
    println!(
        "scale: {streams} streams applied in {:.1} s",
        said(began.elapsed())
    );
    let began = Instant::now();
    let first = Outside::start(operator, &space.namespace, "first");
    let jobs = streams * outputs;
    patiently("a checkpoint for each output", || {
        space.count("sckpt") >= jobs
    });
    let (reads, writes) = first.requests();
    println!(
        "scale: {jobs} checkpoints, with plan, clock and roles of each stream, after {:.1} s: \
         {reads} reads, {writes} writes, {:.1} s of a core",
        said(began.elapsed()),
        first.processor()
    );
    // Whether all was made is known by the statuses alone.
    patiently("all streams to be suspended", || {
        let all = space.list("ws");
        all.iter()
            .filter(|it| it["status"]["phase"] == "Suspended")
            .count()
            == streams
    });
    drop(first);
    write_plans(&space);
    resume(&space, &all);

    // An operator that has just started finds all of it to be done.
    let began = Instant::now();
    let second = Outside::start(operator, &space.namespace, "second");
    second.until_it_leads();
    let led = began.elapsed();
    patiently("a Job for each output", || space.count("jobs") >= jobs);
    let made = began.elapsed();
    let (now, most) = second.memory();
    println!(
        "scale: {jobs} Jobs {:.1} s after the operator led ({:.1} s after its start); \
         memory {} MiB, at most {} MiB; {:.1} s of a core",
        said(made - led),
        said(made),
        now / 1024,
        most / 1024,
        second.processor()
    );
    patiently("a pod for each Job", || space.count("pods") >= jobs);
    patiently("all streams to say so", || {
        let stuck = |it: &Value| it.to_string().contains("\"Unschedulable\"");
        let all = space.list("ws");
        all.iter()
            .filter(|it| stuck(&it["status"]["conditions"]))
            .count()
            == streams
    });
    assert_eq!(space.count("jobs"), jobs, "a Job twice");
    let mut before = (versions(&space), second.requests().1);
    patiently("nothing to change any more", || {
        std::thread::sleep(Duration::from_secs(5));
        let now = (versions(&space), second.requests().1);
        let same = now == before;
        before = now;
        same
    });
    let (reads, writes) = second.requests();
    println!("scale: {reads} reads and {writes} writes for {jobs} Jobs and their statuses");
    let audited = audited(operator, &space);
    std::thread::sleep(REST);
    assert_eq!(
        second.requests().1,
        writes,
        "the operator wrote something at rest"
    );
    let after = versions(&space);
    let changed: Vec<_> = after
        .iter()
        .filter(|it| before.0.get(it.0) != Some(it.1))
        .collect();
    assert!(
        changed.is_empty() && after.len() == before.0.len(),
        "{changed:#?}"
    );
    assert_eq!(
        self::audited(operator, &space),
        audited,
        "something was written at rest"
    );
    let (now, most) = second.memory();
    println!(
        "scale: no write in {REST:?} of rest; memory {} MiB, at most {} MiB, with {} pods watched; \
         {} reads meanwhile",
        now / 1024,
        most / 1024,
        jobs,
        second.requests().0 - reads
    );
    assert!(most <= MEMORY, "{most} KiB");
}

/// As preflight writes them.
fn write_plans(space: &Space) {
    let checkpoints = space.list("sckpt");
    let share = checkpoints.len().div_ceil(4);
    std::thread::scope(|scope| {
        for some in checkpoints.chunks(share) {
            scope.spawn(move || {
                space.bed.place().enter().unwrap();
                for checkpoint in some {
                    write_plan(space, checkpoint);
                }
            });
        }
    });
}

fn write_plan(space: &Space, checkpoint: &Value) {
    let stream = checkpoint["spec"]["stream"].as_str().unwrap();
    let plan = OutputPlan {
        pack_key: "0".repeat(64),
        engine_run_id: format!("run-of-{stream}"),
        scenario: "baseline_v1".into(),
        scenario_run_id: "ab".repeat(16),
        root: format!("/worlds/{stream}"),
        view_id: "cd".repeat(32),
        rows: 1_000_000,
        first_event_time: Some("2026-01-01T00:00:00.000000Z".into()),
        last_event_time: Some("2026-01-31T00:00:00.000000Z".into()),
        files: Vec::new(),
    };
    let name = checkpoint["metadata"]["name"].as_str().unwrap();
    let status = json!({ "status": { "plan": plan } });
    space.patch_raw("sckpt", &format!("{name}/status"), &status);
}

/// They are not to be suspended any more.
fn resume(space: &Space, streams: &[Value]) {
    for stream in streams {
        let name = stream["metadata"]["name"].as_str().unwrap();
        space.patch_raw("ws", name, &json!({ "spec": { "suspend": false } }));
    }
}

/// The resource versions of all of the case's objects.
fn versions(space: &Space) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for kind in KINDS {
        for object in space.list(kind) {
            let meta = &object["metadata"];
            all.insert(
                format!("{kind}/{}", meta["name"]),
                meta["resourceVersion"].to_string(),
            );
        }
    }
    all
}

/// How many changes of the case's objects the API server was asked for, by whomever; 0 where the
/// bed cannot know.
fn audited(operator: &Operator, space: &Space) -> usize {
    let Some(log) = operator.bed.audit_log() else {
        return 0;
    };
    let namespace = format!("\"namespace\":\"{}\"", space.namespace);
    let text = std::fs::read_to_string(log).unwrap();
    text.lines()
        .filter(|line| line.contains(&namespace))
        .count()
}

/// Waits, however long it takes on a busy machine.
#[track_caller]
fn patiently(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(1_800);
    while !so() {
        assert!(Instant::now() < end, "{what}: not within half an hour");
        std::thread::sleep(Duration::from_millis(250));
    }
}
