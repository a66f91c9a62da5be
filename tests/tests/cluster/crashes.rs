//! Workers and operators that end in the middle of things.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::monotonic;

use crate::operator::Operator;
use crate::outside::Outside;
use crate::space::{FRAUD, Space, traffic_alone};

/// How often a worker, and the operator, is killed.
const KILLS: usize = 20;

pub fn a_killed_worker_is_back_at_its_cursor(operator: &Operator) {
    const ROWS: u64 = 6_000;
    let space = Space::new(operator, "workers", |spec| {
        traffic_alone(spec);
        // The other node is lost meanwhile.
        let here = json!({ "kubernetes.io/hostname": operator.node });
        spec["worker"]["podTemplate"] = json!({ "nodeSelector": here });
    });
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 120 });
    space.start(&[space.stream("killed", "a", more)]);
    space.phase("killed", "Running");
    let word = format!("{}/killed", space.namespace);
    let checkpoint = || space.list("sckpt").pop().expect("a checkpoint")["status"].clone();
    let rows = |it: &Value| it["counts"]["rows"].as_u64().unwrap_or_default();
    let nodes = space.bed.nodes().unwrap();
    let mut times = Vec::new();
    let mut last = Value::Null;
    for _ in 0..KILLS {
        // A crash counts only where the cursor has not moved since the last.
        let moved = |it: &Value| {
            it["state"] == "Streaming" && rows(it) > rows(&last) && it["holder"] != last["holder"]
        };
        let mut now = Value::Null;
        space.wait(
            "a cursor that moves",
            || {
                now = checkpoint();
                moved(&now)
            },
            |space| format!("{:#}\n{:#}", checkpoint(), space.status("killed")),
        );
        assert!(
            now["epoch"].as_u64() > last["epoch"].as_u64(),
            "{last:#} {now:#}"
        );
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..1_000)));
        let killed = monotonic();
        let signal = |node: &String| {
            let kill = Signal::Kill;
            space.bed.signal_containers(node, &word, kill).unwrap()
        };
        assert_eq!(nodes.iter().map(signal).sum::<usize>(), 1);
        last = now;
        // What was on its way at the kill comes within a moment, and no pod starts in it.
        let from = killed + 500_000_000;
        let mut back = None;
        space.wait(
            "events of the next worker",
            || {
                let arrivals = space.arrivals();
                back = arrivals.iter().map(|it| it.at).find(|at| *at > from);
                back.is_some()
            },
            |space| format!("{:#}\n{:#}", checkpoint(), space.status("killed")),
        );
        times.push((back.unwrap() - killed) as f64 / 1e9);
    }
    println!("workers: seconds from a kill to the next event: {times:.1?}");
    space.patch("killed", json!({ "speedup": 0 }));
    let status = space.phase("killed", "Completed");
    assert_eq!(status["outputs"][0]["output"], FRAUD);
    space.every_event_once("killed", ROWS);
}

/// Three streams are set up, started and ended by an operator that is killed all the time.
pub fn a_killed_operator_makes_nothing_twice(operator: &Operator) {
    const ROWS: u64 = 600;
    let space = Space::new(operator, "operators", |spec| {
        // Workers that are slow to start are not started again, or there would be more Jobs.
        spec["clock"]["primeTimeout"] = json!("15m");
    });
    space.world("a", ROWS);
    let mut process = Outside::start(operator, &space.namespace, "killed");
    let names = ["first", "second", "third"];
    let stream = |number: usize, name: &str| {
        let more = json!({
            "trafficMode": "fraud",
            "platformRunId": format!("platform_20260101T00000{number}Z"),
            // Set up, run and over while it is killed.
            "speedup": 5_760,
        });
        space.stream(name, "a", more)
    };
    let streams: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(n, name)| stream(n, name))
        .collect();
    space.start(&streams);
    let began = Instant::now();
    for _ in 0..KILLS {
        let wait = rand::rng().random_range(100..4_500);
        std::thread::sleep(Duration::from_millis(wait));
        process.restart();
    }
    println!("operators: killed {KILLS} times in {:.0?}", began.elapsed());
    for name in names {
        space.phase(name, "Completed");
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
    }
    // No worker was ever replaced, nor did two send the same.
    assert_eq!(space.arrivals().len() as u64, 3 * (ROWS + 3 * ROWS / 2));
    let jobs = space.list("jobs");
    let count = |component: &str| {
        let of = |job: &&Value| job["metadata"]["labels"]["worldstream.io/component"] == component;
        jobs.iter().filter(of).count()
    };
    assert_eq!(
        count("worker"),
        3 * 4,
        "{}",
        space.kubectl(&["get", "jobs"])
    );
}
