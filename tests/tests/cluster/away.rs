//! What is away comes back, and nothing is lost or sent twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{Space, condition};

/// Rows of the traffic; each of its three context outputs has half as many.
const ROWS: u64 = 1_200;
const ALL: u64 = ROWS + 3 * ROWS / 2;

/// The uids of a namespace's workers that run, each with how often its containers were restarted.
fn running(space: &Space) -> BTreeSet<(String, u64)> {
    let workers = workers(space);
    workers
        .iter()
        .map(|pod| {
            let containers = pod["status"]["containerStatuses"].as_array();
            let restarts = containers.into_iter().flatten();
            let restarts = restarts
                .map(|it| it["restartCount"].as_u64().unwrap())
                .sum();
            (
                pod["metadata"]["uid"].as_str().unwrap().to_owned(),
                restarts,
            )
        })
        .collect()
}

fn workers(space: &Space) -> Vec<Value> {
    let mut pods = space.list("pods");
    pods.retain(|pod| {
        pod["status"]["phase"] == "Running"
            && pod["metadata"]["labels"]["worldstream.io/component"] == "worker"
    });
    pods
}

/// Waits until the workers of all four outputs run, by the word of their nodes: they may send
/// before that.
fn all_running(space: &Space) -> BTreeSet<(String, u64)> {
    space.wait(
        "four workers",
        || running(space).len() == 4,
        |space| space.kubectl(&["get", "pods"]),
    );
    running(space)
}

pub fn a_gate_that_is_away_restarts_nothing(operator: &Operator) {
    let space = Space::new(operator, "away", |_| {});
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 300 });
    space.start(&[space.stream("waits", "a", more)]);
    space.phase("waits", "Running");
    space.wait(
        "some events",
        || space.arrivals().len() > 20,
        |_| String::new(),
    );
    let before = all_running(&space);
    let away = if worldstream_tests::long() { 180 } else { 45 };
    space.gate.set_faults(&[&format!("refuse:for={away}s")]);
    let away_of = |status: &Value| condition(status, "Degraded") == ("True", "GateAway");
    let status = space.until("waits", "Degraded, GateAway", away_of);
    assert!(status["completedAt"].is_null(), "{status:#}");
    space.until("waits", "no longer Degraded", |status| {
        condition(status, "Degraded").0 != "True"
    });
    // Those that have sent all that they had may have gone.
    let after = running(&space);
    assert!(after.is_subset(&before), "{before:?} {after:?}");
    assert!(
        after.iter().all(|(_, restarts)| *restarts == 0),
        "{after:?}"
    );
    space.patch("waits", json!({ "speedup": 0 }));
    space.phase("waits", "Completed");
    space.every_event_once("waits", ALL);
}

/// By the spec, and by eviction as draining a node does it.
pub fn suspend_and_resume_repeat_nothing(operator: &Operator) {
    let space = Space::new(operator, "suspend", |_| {});
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 300 });
    space.start(&[space.stream("rests", "a", more)]);
    space.phase("rests", "Running");
    let so_far = || space.arrivals().len();
    let goes_on = |from: usize| {
        space.wait(
            "more events",
            || so_far() > from + 20,
            |space| format!("{:#}", space.status("rests")),
        );
    };
    goes_on(0);
    space.patch("rests", json!({ "suspend": true }));
    space.phase("rests", "Suspended");
    assert!(running(&space).is_empty());
    let stood = so_far();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(so_far(), stood);
    space.patch("rests", json!({ "suspend": false }));
    goes_on(stood);

    let before = all_running(&space);
    for pod in workers(&space) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": name, "namespace": space.namespace },
        });
        space.create_raw(&format!("pods/{name}/eviction"), &eviction);
    }
    space.wait(
        "other pods",
        || {
            let now = running(&space);
            now.len() == before.len() && now.is_disjoint(&before)
        },
        |space| format!("{:#}", space.status("rests")),
    );
    goes_on(so_far());
    space.patch("rests", json!({ "speedup": 0 }));
    space.phase("rests", "Completed");
    space.every_event_once("rests", ALL);
    assert_eq!(so_far() as u64, ALL, "events were sent twice");
}
