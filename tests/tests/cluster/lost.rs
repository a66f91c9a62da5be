//! A node that is gone with its worker, and comes back.

use std::time::Duration;

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::Operator;
use crate::space::{Space, traffic_alone};

/// A node whose kubelet stands, until this is dropped.
struct Lost<'a> {
    operator: &'a Operator,
    node: String,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        let _ = self
            .operator
            .bed
            .signal_kubelet(&self.node, Signal::Continue);
        let ready = ["wait", "--for=condition=Ready", "--timeout=600s"];
        let node = format!("node/{}", self.node);
        let _ = self
            .operator
            .bed
            .kubectl(ready.into_iter().chain([node.as_str()]));
    }
}

/// The worker stands and its kubelet, too: its pod is given up, the next one goes on elsewhere, and
/// when the old one goes on nothing that it writes counts.
pub fn a_lost_node_is_left_and_its_worker_fenced(operator: &Operator) {
    const ROWS: u64 = 4_000;
    let node = operator.bed.nodes().unwrap().pop().expect("a second node");
    assert_ne!(node, operator.node, "the operator must be elsewhere");
    let space = Space::new(operator, "lost", |spec| {
        traffic_alone(spec);
        // A pod that should be gone is given up after its grace, which is longer than this.
        spec["gate"]["timeout"] = json!("3s");
        let gone = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2 });
        let there = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] });
        let prefer = json!({ "weight": 100, "preference": { "matchExpressions": [there] } });
        spec["worker"]["podTemplate"] = json!({
            "terminationGracePeriodSeconds": 5,
            "tolerations": [gone("node.kubernetes.io/unreachable"), gone("node.kubernetes.io/not-ready")],
            "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [prefer] } },
        });
    });
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 300 });
    space.start(&[space.stream("moves", "a", more)]);
    space.phase("moves", "Running");
    space.wait(
        "some events",
        || space.arrivals().len() > 20,
        |_| String::new(),
    );
    let pods = space.list("pods");
    let worker = pods
        .iter()
        .find(|pod| pod["metadata"]["labels"]["worldstream.io/component"] == "worker")
        .unwrap();
    assert_eq!(worker["spec"]["nodeName"], node.as_str());

    let checkpoint = || space.list("sckpt").pop().expect("a checkpoint")["status"].clone();
    let rows = |it: &Value| it["counts"]["rows"].as_u64().unwrap_or_default();
    let word = format!("{}/moves", space.namespace);
    let lost = Lost { operator, node };
    operator
        .bed
        .signal_kubelet(&lost.node, Signal::Stop)
        .unwrap();
    let signal = |signal: Signal| {
        operator
            .bed
            .signal_containers(&lost.node, &word, signal)
            .unwrap()
    };
    assert_eq!(signal(Signal::Stop), 1);
    let before = checkpoint();
    let mut after = Value::Null;
    space.wait(
        "a worker on the other node",
        || {
            after = checkpoint();
            after["epoch"].as_u64() > before["epoch"].as_u64() && rows(&after) > rows(&before)
        },
        |space| {
            format!(
                "{:#}\n{}",
                space.status("moves"),
                space.kubectl(&["get", "pods", "-o", "wide"])
            )
        },
    );
    assert_eq!(signal(Signal::Continue), 1);
    for _ in 0..20 {
        let now = checkpoint();
        assert!(
            rows(&now) >= rows(&after),
            "the cursor went back: {after:#} {now:#}"
        );
        assert_eq!(now["epoch"], after["epoch"], "{now:#}");
        assert_eq!(now["holderUid"], after["holderUid"], "{now:#}");
        after = now;
        std::thread::sleep(Duration::from_millis(250));
    }
    drop(lost);
    space.patch("moves", json!({ "speedup": 0 }));
    space.phase("moves", "Completed");
    space.every_event_once("moves", ROWS);
}
