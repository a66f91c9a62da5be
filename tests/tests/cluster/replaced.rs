//! Workers that are replaced on purpose, and one that crashes without getting anywhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::Operator;
use crate::space::{Space, condition, traffic_alone};

const ROWS: u64 = 1_200;
const ALL: u64 = ROWS + 3 * ROWS / 2;

/// The pods of a stream's workers that live: their label `round`, by uid.
fn rounds(space: &Space, stream: &str) -> BTreeMap<String, String> {
    let label = format!("worldstream.io/stream={stream},worldstream.io/component=worker");
    let pods = space.kubectl(&["get", "pods", "-l", &label, "-o", "json"]);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let alive =
        |pod: &&Value| pod["status"]["phase"] == "Running" || pod["status"]["phase"] == "Pending";
    let all = pods["items"].as_array().unwrap().iter().filter(alive);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|pod| {
        let round = text(&pod["metadata"]["labels"]["round"]);
        (text(&pod["metadata"]["uid"]), round)
    })
    .collect()
}

/// A changed pod template reaches the workers of a profile that says `Immediately`, each after the
/// one before it has drained; those of another wait for the stream's suspension. Nothing is sent
/// twice by either.
pub fn a_changed_template_replaces_as_the_profile_says(operator: &Operator) {
    let space = Space::new(operator, "rollout", |spec| {
        spec["worker"]["podTemplate"]["labels"] = json!({ "round": "1" });
    });
    space.world("a", ROWS);
    space.profile("now", |spec| {
        spec["worker"]["rollout"] = json!("Immediately")
    });
    let stream = |name: &str, number: u32, profile: &str| {
        let more = json!({
            "profile": profile,
            "trafficMode": "fraud",
            "platformRunId": format!("platform_20260101T00000{number}Z"),
            "speedup": 960,
        });
        space.stream(name, "a", more)
    };
    space.start(&[stream("at-once", 1, "now"), stream("later", 2, "replay")]);
    let names = ["at-once", "later"];
    for name in names {
        space.phase(name, "Running");
    }
    let all_of = |stream: &str, round: &str| {
        let rounds = rounds(&space, stream);
        rounds.len() == 4 && rounds.values().all(|it| it == round)
    };
    let [at_once, later] = names.map(|name| rounds(&space, name));
    assert!(all_of("at-once", "1") && all_of("later", "1"));
    for profile in ["now", "replay"] {
        let patch =
            json!({ "spec": { "worker": { "podTemplate": { "labels": { "round": "2" } } } } });
        let patch = patch.to_string();
        space.kubectl(&["patch", "sp", profile, "--type=merge", "-p", &patch]);
    }
    let explain = |space: &Space| space.kubectl(&["get", "pods,jobs", "-o", "wide"]);
    space.wait(
        "workers of the new template",
        || all_of("at-once", "2"),
        explain,
    );
    space.until("at-once", "going on", |status| status["phase"] == "Running");
    let now = rounds(&space, "at-once");
    assert!(now.keys().all(|uid| !at_once.contains_key(uid)));
    assert_eq!(rounds(&space, "later"), later, "it was not suspended");

    space.patch("later", json!({ "suspend": true }));
    space.phase("later", "Suspended");
    space.patch("later", json!({ "suspend": false }));
    space.wait(
        "the new template after it",
        || all_of("later", "2"),
        explain,
    );
    for name in names {
        space.patch(name, json!({ "speedup": 0 }));
        let status = space.phase(name, "Completed");
        // The plan is as it was, whoever changed the speed since.
        assert_eq!(
            condition(&status, "ProfileDrifted").0,
            "False",
            "{status:#}"
        );
        space.every_event_once(name, ALL);
    }
    assert_eq!(
        space.arrivals().len() as u64,
        2 * ALL,
        "events were sent twice"
    );
}

/// The gate takes nothing and the worker is killed each time: its cursor never moves, and after
/// the limit its output fails. Mended and tried again, it goes through.
pub fn a_worker_that_gets_nowhere_is_given_up(operator: &Operator) {
    const LIMIT: usize = 3;
    let space = Space::new(operator, "nowhere", |spec| {
        traffic_alone(spec);
        spec["worker"]["crashLimit"] = json!(LIMIT);
    });
    space.world("a", ROWS);
    space.gate.set_faults(&["5xx"]);
    let more = json!({ "trafficMode": "fraud", "speedup": 0 });
    space.start(&[space.stream("loops", "a", more)]);
    let words = format!("{}/loops --output", space.namespace);
    let nodes = space.bed.nodes().unwrap();
    let kill = |node: &String| {
        let bed = space.bed;
        bed.signal_containers(node, &words, Signal::Kill).unwrap()
    };
    space.until("loops", "CrashLoop", |status| {
        let killed: usize = nodes.iter().map(kill).sum();
        killed == 0 && condition(status, "Failed").1 == "CrashLoop"
    });
    let status = space.phase("loops", "Failed");
    assert_eq!(
        condition(&status, "Failed"),
        ("True", "CrashLoop"),
        "{status:#}"
    );
    let message = status["outputs"][0]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("137"), "{message}");
    println!("nowhere: {message}");
    // Given up means that no further worker comes.
    let jobs = space.list("jobs");
    let run = |job: &Value| job["metadata"]["annotations"]["worldstream.io/run"].clone();
    let last = jobs.iter().map(run).max_by_key(Value::to_string).unwrap();
    assert_eq!(last, LIMIT.to_string(), "{jobs:#?}");
    space.gate.set_faults(&[]);
    space.patch("loops", json!({ "retry": 1 }));
    space.phase("loops", "Completed");
    space.every_event_once("loops", ROWS);
}
