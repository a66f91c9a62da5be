//! The API server away for minutes: a stream whose cursors lie elsewhere goes on, one whose cursor
//! lies there goes on for a while, waits, and goes on by itself; nothing is made twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::bed::stores::{PostgresOptions, PostgresServer};

use crate::operator::Operator;
use crate::space::{Space, traffic_alone};

/// Rows of each stream.
const ROWS: u64 = 6_000;

/// An API server that hangs, with all its connections open, until this is dropped.
struct Away<'a>(&'a Operator);

impl<'a> Away<'a> {
    fn begin(operator: &'a Operator) -> Away<'a> {
        operator.bed.signal_api_server(Signal::Stop).unwrap();
        Away(operator)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let _ = self.0.bed.signal_api_server(Signal::Continue);
    }
}

/// The platform run of a stream: known without asking anybody.
fn run(number: usize) -> String {
    format!("platform_20260101T00000{number}Z")
}

/// The uids of the pods of workers that run, with how often each was restarted, and the address.
fn workers(space: &Space) -> Vec<(String, u64, String)> {
    let pods = space.list("pods");
    let worker = |pod: &&Value| {
        pod["metadata"]["labels"]["worldstream.io/component"] == "worker"
            && pod["status"]["phase"] == "Running"
    };
    let each = pods.iter().filter(worker).map(|pod| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let stream = &pod["metadata"]["labels"]["worldstream.io/stream"];
        (
            format!("{} {}", text(stream), text(&pod["metadata"]["uid"])),
            pod["status"]["containerStatuses"][0]["restartCount"]
                .as_u64()
                .unwrap_or_default(),
            text(&pod["status"]["podIP"]),
        )
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all
}

pub fn an_api_server_that_is_away_holds_nobody_else_up(operator: &Operator) {
    let away_for = match worldstream_tests::long() {
        true => Duration::from_secs(180),
        false => Duration::from_secs(45),
    };
    // How long the cursor that lies there may be behind.
    let unsaved = Duration::from_secs(10);
    let space = Space::new(operator, "server", |spec| {
        traffic_alone(spec);
        spec["clock"]["primeTimeout"] = json!("15m");
        spec["checkpoints"] = json!({ "maxUnsaved": "10s" });
    });
    space.world("a", ROWS);
    space.volume("cursors");
    let postgres =
        PostgresServer::start_at(operator.bed.place(), PostgresOptions::default()).unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "postgres", "namespace": space.namespace },
        "stringData": { "dsn": postgres.dsn() },
    });
    space.bed.apply(&secret.to_string()).unwrap();
    space.profile("filed", |spec| {
        let volume = json!({ "persistentVolumeClaim": "cursors", "mountPath": "/cursors" });
        spec["checkpoints"] = json!({ "file": { "root": "/cursors/kept", "volume": volume } });
    });
    space.profile("tabled", |spec| {
        let dsn = json!({ "secret": { "name": "postgres", "key": "dsn" } });
        spec["checkpoints"] = json!({ "postgres": { "dsn": dsn } });
    });
    let names = ["replay", "filed", "tabled", "new"];
    let stream = |number: usize| {
        let profile = names[number % 3];
        let more = json!({
            "profile": profile,
            "trafficMode": "fraud",
            "platformRunId": run(number),
            "speedup": 240,
        });
        space.stream(names[number], "a", more)
    };
    let so_far = |number: usize| space.admitted_by(&run(number)).len();
    space.start(&[stream(0), stream(1), stream(2)]);
    for (number, name) in names.iter().enumerate().take(3) {
        space.phase(name, "Running");
        let what = format!("events of {name}");
        let state = |space: &Space| format!("{:#}", space.status(name));
        space.wait(&what, || so_far(number) > 30, state);
    }
    let before = workers(&space);
    assert_eq!(before.len(), 3, "{before:#?}");
    let kept = before
        .iter()
        .find(|it| it.0.starts_with("replay "))
        .unwrap();
    let figures = format!("{}:9090", kept.2);
    // In the middle of what the operator does for one more.
    space.start(&[stream(3)]);

    let away = Away::begin(operator);
    let began = Instant::now();
    let asked = |_: &Space| String::new();
    // When something of it arrived last.
    let (mut count, mut last) = (so_far(0), Duration::ZERO);
    let others = [so_far(1), so_far(2)];
    space.wait(
        "the stream whose cursor lies there to wait",
        || {
            let now = so_far(0);
            if now > count {
                (count, last) = (now, began.elapsed());
            }
            began.elapsed() > last + Duration::from_secs(8) && began.elapsed() > unsaved
        },
        asked,
    );
    println!(
        "server: away since {last:.0?} when the last event came of a stream with its cursor there"
    );
    assert!(last > unsaved / 2, "it went on for {last:?} alone");
    assert!(last < away_for, "it did not wait");
    let figures = || {
        space
            .bed
            .pod_page(&figures, "/metrics")
            .expect("the worker's figures")
    };
    let says = || {
        let page = figures();
        let mut lines = page.lines();
        let said = lines.find_map(|line| line.strip_prefix("worldstream_store_away_seconds{"));
        let seconds = said.and_then(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
        seconds.is_some_and(|seconds| seconds > 0.0)
    };
    space.wait("the worker to say so", says, |_| figures());
    if let Some(rest) = away_for.checked_sub(began.elapsed()) {
        std::thread::sleep(rest);
    }
    let stood = so_far(0);
    assert_eq!(stood, count, "it went on although nothing is saved");
    for (number, before) in [(1, others[0]), (2, others[1])] {
        let (now, name) = (so_far(number), names[number]);
        println!("server: {name} sent {} events meanwhile", now - before);
        space.wait(
            "it to go on at the end, too",
            || so_far(number) > now,
            asked,
        );
    }
    drop(away);
    println!("server: away for {:.0?}", began.elapsed());

    space.wait(
        "the waiting stream to go on by itself",
        || so_far(0) > stood,
        |space| format!("{:#}", space.status(names[0])),
    );
    operator.until_it_leads();
    for name in names {
        space.phase(name, "Running");
    }
    let label = format!("worldstream.io/stream={}", names[0]);
    let log = space.kubectl(&["logs", "-l", &label, "--tail=-1"]);
    assert!(log.contains("the cursor could not be saved"), "{log}");
    let after: Vec<_> = workers(&space)
        .into_iter()
        .filter(|it| !it.0.starts_with("new "))
        .collect();
    assert_eq!(after, before, "a worker was replaced");
    for name in names {
        space.patch(name, json!({ "speedup": 0 }));
    }
    for name in names {
        space.phase(name, "Completed");
        space.every_event_once(name, ROWS);
    }
    let jobs = space.list("jobs");
    assert_eq!(jobs.len(), 2 * names.len(), "a Job twice: {jobs:#?}");
    assert_eq!(
        space.arrivals().len() as u64,
        4 * ROWS,
        "events were sent twice"
    );
}
