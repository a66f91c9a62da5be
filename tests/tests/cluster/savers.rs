//! Fifty streams that send at once and keep their cursors in StreamCheckpoints: what their saves
//! are to the API server, and that none loses or repeats anything.
//!
//! Part of `make cluster-scale` and of the long form of the suite.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use worldstream_crds::time::EventTime;

use crate::operator::Operator;
use crate::space::{Space, traffic_alone};

/// How many streams, each with one output.
const STREAMS: usize = 50;
/// Rows of each, about twenty a second.
const ROWS: u64 = 3_600;
/// Event seconds a wall second: a day in three minutes.
const SPEEDUP: u64 = 480;
/// For how long saves are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// One write of a checkpoint's status, as the API server noted it.
struct Save {
    checkpoint: String,
    /// When it was asked for, and for how long it took, in seconds.
    at: f64,
    took: f64,
}

pub fn fifty_streams_save_their_cursors(operator: &Operator) {
    let Some(log) = operator.bed.audit_log() else {
        println!("savers: this bed keeps no audit log to count by");
        return;
    };
    let space = Space::new(operator, "savers", |spec| {
        traffic_alone(spec);
        let little = json!({ "cpu": "10m", "memory": "32Mi" });
        spec["worker"]["resources"] = json!({ "requests": little });
        spec["clock"]["primeTimeout"] = json!("2h");
    });
    space.world("a", ROWS);
    let names: Vec<String> = (0..STREAMS).map(|number| format!("s{number:02}")).collect();
    let paused = json!({ "trafficMode": "fraud", "paused": true, "speedup": SPEEDUP });
    let stream = |name: &String| space.stream(name, "a", paused.clone());
    space.start(&names.iter().map(stream).collect::<Vec<_>>());
    for name in &names {
        space.phase(name, "Paused");
    }
    // A pause writes nothing.
    for name in &names {
        space.patch_raw("ws", name, &json!({ "spec": { "paused": false } }));
    }
    for name in &names {
        space.phase(name, "Running");
    }
    let from = seconds(EventTime::wall_now()) + 5.0;
    std::thread::sleep(WINDOW + Duration::from_secs(6));
    let sent = space.arrivals().len();
    let text = std::fs::read_to_string(log).unwrap();
    let saves = saves(&text, &space.namespace, from);
    let statuses = space.list("ws");
    let sending = statuses
        .iter()
        .filter(|it| it["status"]["phase"] == "Running")
        .count();
    let mut by_checkpoint: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for save in &saves {
        by_checkpoint
            .entry(&save.checkpoint)
            .or_default()
            .push(save.at);
    }
    let mut times: Vec<f64> = saves.iter().map(|it| it.took * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |sorted: &[f64], share: f64| {
        let index = (sorted.len() as f64 * share) as usize;
        sorted
            .get(index.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let mut apart: Vec<f64> = by_checkpoint
        .values_mut()
        .flat_map(|times| {
            times.sort_by(f64::total_cmp);
            let pairs = times.windows(2).map(|pair| pair[1] - pair[0]);
            pairs.collect::<Vec<f64>>()
        })
        .collect();
    apart.sort_by(f64::total_cmp);
    println!(
        "savers: {sending} of {STREAMS} streams send; {:.1} saves a second by {} checkpoints, {:.1} s apart \
         (p99 {:.1} s, most {:.1} s); a save takes the API server {:.0} ms (p99 {:.0} ms); {sent} events so far",
        saves.len() as f64 / WINDOW.as_secs_f64(),
        by_checkpoint.len(),
        at(&apart, 0.5),
        at(&apart, 0.99),
        at(&apart, 1.0),
        at(&times, 0.5),
        at(&times, 0.99),
    );
    assert_eq!(by_checkpoint.len(), STREAMS, "not all of them save");
    // Once a second is the most that a stream saves; its reports are the same writes.
    let most = 2 * STREAMS * WINDOW.as_secs() as usize;
    assert!(saves.len() <= most, "{} saves", saves.len());
    for name in &names {
        space.patch_raw("ws", name, &json!({ "spec": { "speedup": 0 } }));
    }
    for name in &names {
        space.phase(name, "Completed");
    }
    let ids = space.ids_by_run();
    for name in &names {
        let run = space.status(name)["platformRunId"].clone();
        let ids = &ids[run.as_str().unwrap()];
        space.each_once(name, ROWS, ids);
    }
    assert_eq!(space.arrivals().len(), STREAMS * ROWS as usize);
}

fn seconds(time: EventTime) -> f64 {
    time.micros() as f64 / 1e6
}

/// What the audit log has of a namespace's checkpoints in the window from a moment on.
fn saves(log: &str, namespace: &str, from: f64) -> Vec<Save> {
    let window = from..from + WINDOW.as_secs_f64();
    let read = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        let object = &event["objectRef"];
        let ours = object["namespace"] == namespace
            && object["resource"] == "streamcheckpoints"
            && object["subresource"] == "status";
        let time = |field: &str| {
            EventTime::parse_rfc3339(event[field].as_str()?)
                .ok()
                .map(seconds)
        };
        let (at, done) = (time("requestReceivedTimestamp")?, time("stageTimestamp")?);
        (ours && window.contains(&at)).then(|| Save {
            checkpoint: object["name"].as_str().unwrap_or_default().to_owned(),
            at,
            took: done - at,
        })
    };
    log.lines().filter_map(read).collect()
}
