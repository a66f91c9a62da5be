//! What holds messages back: a gate that is not up or is up for another run, a scope that nobody
//! gives, a suspended trigger.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::condition;
use crate::stage::{RUN, Stage};

const ROWS: u64 = 200;

pub fn suspend_scope_and_gate_hold_messages_back(operator: &Operator) {
    let stage = Stage::folders(operator, "changes", |spec| {
        spec["ready"] = json!({"downstream": [{
            "name": "weir",
            "condition": {
                "apiVersion": "v1",
                "kind": "Service",
                "name": "weir",
                "type": "Available",
                "runIdPath": ".metadata.annotations.active-run",
            },
        }]});
    });
    let space = &stage.space;
    for world in 0..4u64 {
        stage.world(&format!("w{world}"), 40 + world, ROWS);
    }
    let message = |number: u32| stage.message(&format!("w{number}"), number);
    space.kubectl(&[
        "create",
        "configmap",
        "moon",
        &format!("--from-literal=phase={RUN}"),
    ]);
    let scope = json!({"configMap": {"name": "moon", "key": "phase"}});
    let spec = |suspend: bool| json!({"scope": scope, "suspend": suspend, "maxActive": 4});
    stage.trigger("crane", spec(false));
    stage.follows("crane");

    // The gate: nobody gave the right to read it; then it is not there; it is not up; it is up for
    // another run; and then the message goes on by itself.
    let deferred = |words: &'static str| {
        move |status: &Value| {
            let all = status["conditions"].as_array();
            let mut all = all.into_iter().flatten();
            let said = |it: &Value| it["message"].as_str().unwrap_or_default().contains(words);
            all.any(|it| it["type"] == "Deferred" && it["status"] == "True" && said(it))
        }
    };
    let first = message(0);
    stage.publish(&first);
    stage.until(
        "crane",
        "no right",
        deferred("give the trigger's ServiceAccount"),
    );
    let binding = "--serviceaccount=".to_owned() + &space.namespace + ":crane-trigger";
    let role = [
        "create",
        "role",
        "gates",
        "--verb=get",
        "--resource=services",
    ];
    space.kubectl(&role);
    space.kubectl(&["create", "rolebinding", "gates", "--role=gates", &binding]);
    let status = stage.until("crane", "no gate", deferred("is not there"));
    assert_eq!(condition(&status, "Deferred").1, "DownstreamNotReady");
    assert_eq!(
        (&status["waiting"], &status["counts"]["deferred"]),
        (&json!(1), &json!(1))
    );
    space
        .bed
        .apply(&gate(&space.namespace, "platform_20270101T000000Z"))
        .unwrap();
    stage.until(
        "crane",
        "not available",
        deferred("found no condition Available"),
    );
    available(&stage, "False");
    stage.until("crane", "down", deferred("found Available False"));
    available(&stage, "True");
    stage.until(
        "crane",
        "another run",
        deferred("platform_20270101T000000Z"),
    );
    assert!(space.list("ws").is_empty());
    assert!(stage.records(&first.message_id).is_empty());
    space.bed.apply(&gate(&space.namespace, RUN)).unwrap();
    stage.streamed_once(&first, ROWS);
    stage.until("crane", "nobody waits", |status| {
        condition(status, "Deferred").0 == "False"
    });

    // Suspended, it takes nothing; then it goes on.
    stage.trigger("crane", spec(true));
    stage.until("crane", "Suspended", |status| {
        condition(status, "Suspended").0 == "True"
    });
    let second = message(1);
    stage.publish(&second);
    // Its record's place is known once a run may be active: those that are done with wait, too.
    stage.until("crane", "a message that waits", |status| {
        status["newest"]["messageId"] == *second.message_id && status["waiting"] != 0
    });
    assert_eq!(space.list("ws").len(), 1);
    stage.trigger("crane", spec(false));
    stage.streamed_once(&second, ROWS);

    // Nobody says which run is the active one.
    space.kubectl(&["delete", "configmap", "moon"]);
    let third = message(2);
    stage.publish(&third);
    stage.until("crane", "no scope", |status| {
        condition(status, "Following") == ("False", "NotFollowing")
    });
    space.kubectl(&[
        "create",
        "configmap",
        "moon",
        &format!("--from-literal=phase={RUN}"),
    ]);
    stage.streamed_once(&third, ROWS);
    // A change of it counts for the very next message.
    let next = r#"{"data": {"phase": "platform_20270101T000000Z"}}"#;
    space.kubectl(&["patch", "configmap", "moon", "--type=merge", "-p", next]);
    let fourth = message(3);
    stage.publish(&fourth);
    stage.until("crane", "one out of scope", |status| {
        let last = status["last"].as_array();
        let mut last = last.into_iter().flatten();
        last.any(|it| {
            it["messageId"] == *fourth.message_id && it["status"] == "SKIPPED_OUT_OF_SCOPE"
        })
    });
    assert_eq!(space.list("ws").len(), 3);
}

/// A Service, whose conditions nobody but the test writes.
fn gate(namespace: &str, run: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "weir",
            "namespace": namespace,
            "annotations": {"active-run": run},
        },
        "spec": {"ports": [{"port": 80}]},
    })
    .to_string()
}

fn available(stage: &Stage, status: &str) {
    let condition = json!({
        "type": "Available",
        "status": status,
        "reason": "Tried",
        "message": "as the test says",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let args = [
        "patch",
        "service",
        "weir",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    stage.space.kubectl(&args);
}
