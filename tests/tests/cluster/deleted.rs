//! A stream that is deleted while it runs, and one of its name after it.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{Space, condition, traffic_alone};

const ROWS: u64 = 1_000;

/// The kinds that a stream owns objects of.
const OWNED: &str = "jobs,pods,sckpt,sclk,configmaps,serviceaccounts,roles,rolebindings";

/// Pods stop and what it owned goes, without a finalizer; what merely looks like it stays, and the
/// next stream of that name is not disturbed by either.
pub fn a_deleted_stream_takes_what_it_owned_and_nothing_else(operator: &Operator) {
    let space = Space::new(operator, "deleted", traffic_alone);
    space.world("a", ROWS);
    let stream = |speedup: u32| {
        let more = json!({ "trafficMode": "fraud", "speedup": speedup });
        space.stream("twice", "a", more)
    };
    space.start(&[stream(100)]);
    space.phase("twice", "Running");
    let first = space.get("ws", "twice")["metadata"].clone();
    assert!(first["finalizers"].is_null(), "{first:#}");
    let owned = |uid: &Value| -> Vec<Value> {
        let by = |it: &Value| {
            let owners = it["metadata"]["ownerReferences"].as_array().cloned();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
        };
        let all = space.kubectl(&["get", OWNED, "-o", "json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let all = all["items"].as_array().unwrap().clone();
        let jobs: Vec<Value> = all.iter().filter(|it| by(it)).cloned().collect();
        let of_jobs = |it: &Value| jobs.iter().any(|job| owned_by(it, job));
        let pods = all.iter().filter(|it| of_jobs(it)).cloned();
        pods.chain(jobs.iter().cloned()).collect()
    };
    let before = owned(&first["uid"]);
    for kind in [
        "Job",
        "Pod",
        "StreamCheckpoint",
        "StreamClock",
        "ConfigMap",
        "ServiceAccount",
        "Role",
        "RoleBinding",
    ] {
        assert!(before.iter().any(|it| it["kind"] == kind), "no {kind}");
    }

    // Somebody else's, with the labels of a worker's Job, of a plan, of a checkpoint.
    let worker = before.iter().find(|it| {
        it["kind"] == "Job" && it["metadata"]["labels"]["worldstream.io/component"] == "worker"
    });
    let labels = &worker.unwrap()["metadata"]["labels"];
    let metadata =
        |name: &str| json!({ "name": name, "namespace": space.namespace, "labels": labels });
    let checkpoint = before.iter().find(|it| it["kind"] == "StreamCheckpoint");
    let foreign = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata("somebody-elses"),
            "spec": { "suspend": true, "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "sleeps", "image": operator.images.worker }],
            }}},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("somebody-elses"),
            "data": { "plan.json": "{}" },
        },
        {
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamCheckpoint",
            "metadata": metadata("somebody-elses"),
            "spec": checkpoint.unwrap()["spec"],
        },
    ]});
    space.bed.apply(&foreign.to_string()).unwrap();
    let uids = || -> Vec<Value> {
        let of = |kind: &&str| space.get(kind, "somebody-elses")["metadata"]["uid"].clone();
        ["jobs", "configmaps", "sckpt"].iter().map(of).collect()
    };
    let others = uids();

    space.kubectl(&["delete", "ws", "twice", "--ignore-not-found", "--wait=true"]);
    let names = |all: &[Value]| -> Vec<String> {
        let name = |it: &Value| format!("{} {}", it["kind"], it["metadata"]["name"]);
        all.iter().map(name).collect()
    };
    space.wait(
        "what it owned to go",
        || owned(&first["uid"]).is_empty(),
        |_| format!("{:?}", names(&owned(&first["uid"]))),
    );
    // Nothing but its pods was there, and they drain before they go.
    space.wait(
        "its pods to go",
        || space.list("pods").is_empty(),
        |_| format!("{:?}", names(&space.list("pods"))),
    );
    assert_eq!(uids(), others);

    // Another of that name begins at the beginning.
    let sent = space.arrivals().len();
    assert!((sent as u64) < ROWS, "it had come to its end");
    space.start(&[stream(0)]);
    space.phase("twice", "Completed");
    assert_ne!(space.get("ws", "twice")["metadata"]["uid"], first["uid"]);
    let receipt = &space.status("twice")["outputs"][0]["receipt"];
    assert_eq!(receipt["rows"], ROWS, "{receipt:#}");
    assert_eq!(uids(), others);
    let suspended = &space.get("jobs", "somebody-elses")["spec"]["suspend"];
    assert_eq!(*suspended, true);
}

/// An object of a name that the stream needs is left alone, and said; the stream goes on without it.
pub fn a_name_that_is_taken_is_said_and_heals(operator: &Operator) {
    let space = Space::new(operator, "taken", traffic_alone);
    space.world("a", ROWS);
    let clock = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamClock",
        "metadata": { "name": "waits", "namespace": space.namespace },
        "spec": { "revision": 0, "speedup": 1, "paused": false, "mode": "Going" },
    });
    space.bed.apply(&clock.to_string()).unwrap();
    let before = space.get("sclk", "waits");
    let more = json!({ "trafficMode": "fraud", "speedup": 0 });
    space.start(&[space.stream("waits", "a", more)]);
    let taken = |status: &Value| condition(status, "Accepted") == ("False", "NameTaken");
    let status = space.until("waits", "NameTaken", taken);
    assert_eq!(condition(&status, "Ready").1, "NameTaken", "{status:#}");
    assert_eq!(space.get("sclk", "waits"), before);
    space.kubectl(&["delete", "sclk", "waits", "--ignore-not-found"]);
    let status = space.phase("waits", "Completed");
    assert_eq!(condition(&status, "Accepted").0, "True", "{status:#}");
    space.every_event_once("waits", ROWS);
}

fn owned_by(object: &Value, owner: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut owners = owners.into_iter().flatten();
    owners.any(|it| it["uid"] == owner["metadata"]["uid"])
}
