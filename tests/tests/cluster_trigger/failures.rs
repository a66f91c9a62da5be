//! What goes wrong, and how it is put right.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{KEY, condition};
use crate::stage::Stage;

const ROWS: u64 = 600;

/// References and policy that are wrong are conditions, and heal when their cause goes; a Secret
/// that is not there is told in the node's words.
pub fn what_is_wrong_is_said_and_heals(operator: &Operator) {
    let stage = Stage::folders(operator, "refusals", |_| {});
    let space = &stage.space;
    let missing = json!({"configMap": {"name": "moon", "key": "phase"}});
    stage.trigger("newt", json!({"profile": "nobodys", "scope": missing}));
    let accepted =
        |reason: &'static str| move |status: &Value| condition(status, "Accepted").1 == reason;
    stage.until("newt", "no profile", accepted("ProfileNotFound"));
    assert_eq!(condition(&stage.status("newt"), "Ready").0, "False");
    stage.trigger("newt", json!({"scope": missing}));
    stage.until("newt", "no ConfigMap", accepted("ConfigMapNotFound"));
    space.kubectl(&["create", "configmap", "moon", "--from-literal=phase=full"]);
    stage.until("newt", "no run's id", accepted("InvalidSpec"));
    let run = r#"{"data": {"phase": "platform_20260101T000000Z"}}"#;
    space.kubectl(&["patch", "configmap", "moon", "--type=merge", "-p", run]);
    stage.until("newt", "Accepted", accepted("Valid"));
    stage.follows("newt");
    // What has a code of the contract has it as its reason.
    for (bus, code) in [
        (json!({}), "CONTROL_BUS_KIND_UNSUPPORTED"),
        (json!({"kinesis": {}}), "CONTROL_BUS_STREAM_MISSING"),
        (json!({"file": {}}), "CONTROL_BUS_STREAM_MISSING"),
    ] {
        let patch = json!([{"op": "replace", "path": "/spec/bus", "value": bus}]).to_string();
        space.kubectl(&["patch", "rt", "newt", "--type=json", "-p", &patch]);
        stage.until("newt", code, accepted(code));
    }
    // What was followed before is followed on.
    assert_eq!(condition(&stage.status("newt"), "Ready").0, "True");
    let key = json!({"secret": {"name": "gone", "key": "k"}});
    let credentials = json!({"accessKeyId": key, "secretAccessKey": key});
    let store = json!({"root": "/platform/store", "s3": {"credentials": credentials}});
    stage.trigger("toad", json!({"store": store}));
    stage.until("toad", "the Secret's name", |status| {
        let all = status["conditions"].as_array();
        let mut all = all.into_iter().flatten();
        let said = |it: &Value| it["message"].as_str().unwrap_or_default().contains("gone");
        all.any(|it| it["type"] == "Ready" && it["status"] == "False" && said(it))
    });
    space.kubectl(&["create", "secret", "generic", "gone", "--from-literal=k=v"]);
    stage.follows("toad");
}

/// Somebody deletes the WorldStream: its workers drain, the message has one record, with the number
/// of events that were sent, and it is not streamed again.
pub fn a_stream_deleted_half_way_is_recorded_once(operator: &Operator) {
    let stage = Stage::folders(operator, "deleted", |_| {});
    let space = &stage.space;
    space.world("a", 4 * ROWS);
    stage.trigger("mole", json!({"stream": {"speedup": 600}}));
    stage.follows("mole");
    let message = stage.message("a", 1);
    stage.publish(&message);
    let stream = stage.stream_of("mole", &message);
    space.wait(
        "some events",
        || stage.admitted(&message).len() > 20,
        |_| stage.story(),
    );
    space.kubectl(&["delete", "ws", &stream, "--wait=false"]);
    let records = stage.recorded(&message.message_id, 1);
    let record = &records[0];
    assert_eq!(record["status"], "FAILED", "{record:#}");
    assert_eq!(record["reason"], "STREAM_FAILED", "{record:#}");
    space.wait(
        "the stream to be gone",
        || space.list("ws").is_empty(),
        |_| stage.story(),
    );
    space.wait(
        "its pods to be gone",
        || {
            let args = ["get", "pods", "-l", "worldstream.io/stream", "-o", "name"];
            space.kubectl(&args).trim().is_empty()
        },
        |_| stage.story(),
    );
    let sent = stage.admitted(&message).len() as u64;
    assert_eq!(record["emitted"], sent, "{record:#}");
    assert!(sent > 20 && sent < 4 * ROWS, "{sent}");
    // Neither a restart nor the same message again streams it again.
    space.kubectl(&["rollout", "restart", "deployment/mole-trigger"]);
    stage.put(&message.message.to_string(), "again");
    stage.until("mole", "two repeats", |status| {
        status["counts"]["skipped"].as_u64() >= Some(2)
    });
    assert_eq!(stage.records(&message.message_id).len(), 1);
    assert!(space.list("ws").is_empty());
    assert_eq!(stage.admitted(&message).len() as u64, sent);
    // Without its trigger nobody will record a stream: it goes all the same.
    let message = stage.message("a", 2);
    stage.publish(&message);
    let stream = stage.stream_of("mole", &message);
    stage.space.wait(
        "another stream",
        || space.list("ws").len() == 1,
        |_| stage.story(),
    );
    space.kubectl(&["delete", "rt", "mole"]);
    space.kubectl(&["delete", "ws", &stream, "--timeout=120s"]);
    assert!(space.list("ws").is_empty());
}

/// Somebody deletes the WorldStream while no pod of its trigger runs: it drains and stays until the
/// next pod has recorded it. With the namespace all goes, and nothing is left waiting for a record.
pub fn a_stream_deleted_while_its_trigger_is_away_waits_for_it(operator: &Operator) {
    let stage = Stage::folders(operator, "absent", |_| {});
    let space = &stage.space;
    space.world("a", 8 * ROWS);
    stage.trigger("wren", json!({"stream": {"speedup": 300}}));
    stage.follows("wren");
    let begun = |number: u32| {
        let message = stage.message("a", number);
        stage.publish(&message);
        space.wait(
            "some events",
            || stage.admitted(&message).len() > 5,
            |_| stage.story(),
        );
        (stage.stream_of("wren", &message), message)
    };
    let (stream, message) = begun(1);
    let scale = |replicas: &str| space.kubectl(&["scale", "deployment/wren-trigger", replicas]);
    scale("--replicas=0");
    space.wait(
        "no pod of the trigger",
        || {
            let of_trigger = "worldstream.io/component=trigger";
            let args = ["get", "pods", "-l", of_trigger, "-o", "name"];
            space.kubectl(&args).trim().is_empty()
        },
        |_| stage.story(),
    );
    space.kubectl(&["delete", "ws", &stream, "--wait=false"]);
    space.phase(&stream, "Suspended");
    assert!(stage.records(&message.message_id).is_empty());
    scale("--replicas=1");
    let records = stage.recorded(&message.message_id, 1);
    assert_eq!(records[0]["status"], "FAILED", "{records:#?}");
    let sent = stage.admitted(&message).len() as u64;
    assert_eq!(records[0]["emitted"], sent, "{records:#?}");
    space.wait(
        "the stream to be gone",
        || space.list("ws").is_empty(),
        |_| stage.story(),
    );

    begun(2);
    let namespace = ["delete", "namespace", &space.namespace, "--wait=false"];
    space.kubectl(&namespace);
    space.wait(
        "the namespace to be gone",
        || {
            let args = ["get", "namespace", &space.namespace, "--ignore-not-found"];
            space.kubectl(&args).trim().is_empty()
        },
        |_| stage.story(),
    );
}

/// The gate refuses the stream for a while: its message fails, and when it comes again the same
/// WorldStream goes on at its cursor.
pub fn a_failed_message_that_comes_again_is_resumed(operator: &Operator) {
    let stage = Stage::folders(operator, "again", |_| {});
    let space = &stage.space;
    space.world("a", ROWS);
    stage.trigger("hare", json!({"stream": {"speedup": 1_800}}));
    stage.follows("hare");
    let message = stage.message("a", 1);
    stage.publish(&message);
    let stream = stage.stream_of("hare", &message);
    space.wait(
        "some events",
        || stage.admitted(&message).len() > 20,
        |_| stage.story(),
    );
    let uid = space.get("ws", &stream)["metadata"]["uid"].clone();
    space.let_in("another key");
    let records = stage.recorded(&message.message_id, 1);
    let first = &records[0];
    assert_eq!(first["status"], "FAILED", "{first:#}");
    assert_eq!(first["reason"], "IG_PUSH_REJECTED", "{first:#}");
    let status = stage.until("hare", "the failure", |status| {
        status["counts"]["failed"] == 1
    });
    assert_eq!(status["failedByReason"][0]["reason"], "IG_PUSH_REJECTED");
    // Nothing is tried again by itself.
    assert_eq!(space.get("ws", &stream)["spec"]["retry"], 0);
    space.let_in(KEY);
    stage.put(&message.message.to_string(), "again");
    let records = stage.recorded(&message.message_id, 2);
    let second = &records[1];
    assert_eq!(second["status"], "STREAMED", "{second:#}");
    let emitted = |record: &Value| record["emitted"].as_u64().unwrap();
    assert_eq!(emitted(first) + emitted(second), ROWS, "{records:#?}");
    let object = space.get("ws", &stream);
    assert_eq!(
        (&object["metadata"]["uid"], &object["spec"]["retry"]),
        (&uid, &json!(1))
    );
    assert_eq!(stage.admitted(&message).len() as u64, ROWS);
}
