//! From `kubectl apply` to the end.

use serde_json::{Value, json};
use worldstream_tests::monotonic;

use crate::operator::Operator;
use crate::space::{KEY, Space, condition};

/// One world, both traffic modes, four outputs each, in platform runs that the operator makes: every
/// event once, the receipts add up, and the gate's key is nowhere but in the Secret.
pub fn two_streams_of_a_world_complete(operator: &Operator) {
    let space = Space::new(operator, "ends", |_| {});
    const ROWS: u64 = 1_000;
    space.world("a", ROWS);
    // Made together, and without a platform run of their own.
    let stream = |name: &str| {
        let more = json!({ "trafficMode": name, "speedup": 8_640 });
        space.stream(name, "a", more)
    };
    let applied = monotonic();
    space.start(&[stream("fraud"), stream("baseline")]);
    for name in ["fraud", "baseline"] {
        let name = format!("ws/{name}");
        space.kubectl(&["wait", "--for=condition=Completed", "--timeout=600s", &name]);
    }
    let first = space.arrivals().iter().map(|it| it.at).min().unwrap();
    let seconds = (first - applied) as f64 / 1e9;
    println!("ends: {seconds:.1} s from apply to the first event, preflight included");
    let [one, other] = ["fraud", "baseline"].map(|name| space.status(name));
    assert_ne!(
        one["platformRunId"], other["platformRunId"],
        "the gate takes the context of one for repeats of the other's"
    );
    assert_eq!(space.arrivals().len(), 2 * 2_500);
    for name in ["fraud", "baseline"] {
        // The traffic has the sample's rows; the three of its context have a row for each flow.
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
        let status = space.status(name);
        assert_eq!(status["phase"], "Completed");
        assert_eq!(status["outputs"].as_array().unwrap().len(), 4, "{status:#}");
        assert_eq!(status["percent"], 100);
        assert_eq!(condition(&status, "WorldVerified").0, "True");
    }
    the_key_is_nowhere(operator, &space);
}

/// Everything that people or programs read.
fn the_key_is_nowhere(operator: &Operator, space: &Space) {
    let pods: Vec<Value> = space.list("pods");
    assert!(!pods.is_empty());
    let mut seen = vec![("the operator's log".to_owned(), operator.log())];
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let log = space.kubectl(&["logs", name, "--tail=-1"]);
        seen.push((format!("the log of {name}"), log));
    }
    for kind in [
        "ws",
        "sckpt",
        "sclk",
        "sp",
        "configmaps",
        "jobs",
        "pods",
        "events",
        "roles",
    ] {
        seen.push((kind.to_owned(), space.kubectl(&["get", kind, "-o", "yaml"])));
    }
    for (what, text) in seen {
        assert!(!text.contains(KEY), "the key is in {what}");
    }
    // It was looked for by the right name: the gate let in nobody without it.
    assert_eq!(
        space.kubectl(&[
            "get",
            "secret",
            "ingestion-gate",
            "-o",
            "go-template={{index .data \"api-key\" | base64decode}}",
        ]),
        KEY
    );
}
