//! A bus that is a folder of a volume.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{KEY, condition};
use crate::stage::Stage;

const ROWS: u64 = 300;

/// The whole way, with what does not concern the trigger in between: an unreadable message, one of
/// another topic, one of another run, a repeat. Everything is counted, and seen in the columns.
pub fn a_message_becomes_a_stream_and_a_record(operator: &Operator) {
    let stage = Stage::folders(operator, "files", |_| {});
    let space = &stage.space;
    space.world("a", ROWS);
    stage.trigger("otter", json!({"historyLimit": 1, "maxActive": 2}));
    stage.follows("otter");
    the_pod_may_do_what_it_must_and_no_more(&stage);
    let first = stage.message("a", 1);
    stage.put("{\"topic\": ", "0-broken");
    let mut other = first.message.clone();
    other["topic"] = json!("fp.bus.other.v1");
    stage.put(&other.to_string(), "1-other");
    stage.publish(&first);
    stage.streamed_once(&first, ROWS);
    let name = stage.stream_of("otter", &first);
    let status = space.phase(&name, "Completed");
    assert_eq!(status["scenarioRunId"], first.scenario_run_id, "{status:#}");
    // The record is written: nothing holds the WorldStream any more.
    space.wait(
        "a stream without a finalizer",
        || space.get("ws", &name)["metadata"]["finalizers"].is_null(),
        |_| stage.story(),
    );
    let object = space.get("ws", &name);
    let noted = &object["metadata"]["annotations"];
    assert_eq!(noted["worldstream.io/ready-message"], first.message_id);
    assert_eq!(noted["worldstream.io/ready-record"], "STREAMED");

    // A run that is not the active one, a repeat, and another one.
    let away = stage.message_of("platform_20260202T000000Z", "a", 2);
    stage.publish(&away);
    let records = stage.recorded(&away.message_id, 1);
    assert_eq!(records[0]["status"], "SKIPPED_OUT_OF_SCOPE");
    assert_eq!(records[0]["reason"], "PLATFORM_RUN_SCOPE_MISMATCH");
    stage.put(&first.message.to_string(), "2-repeat");
    stage.world("b", 8, ROWS);
    let second = stage.message("b", 3);
    stage.publish(&second);
    stage.streamed_once(&second, ROWS);
    let status = stage.until("otter", "what was counted", |status| {
        status["counts"]["streamed"] == 2 && status["counts"]["skipped"] == 2
    });
    assert_eq!(status["counts"]["seen"], 6, "{status:#}");
    assert_eq!(status["counts"]["invalid"], 2, "{status:#}");
    assert_eq!(status["counts"]["started"], 2, "{status:#}");
    assert_eq!(status["counts"]["failed"], 0, "{status:#}");
    assert_eq!(status["bus"], "file:/platform/bus");
    let last = status["last"].as_array().unwrap();
    let of = |id: &str| last.iter().find(|it| it["messageId"] == id).unwrap();
    assert_eq!(of(&second.message_id)["emitted"], ROWS);
    assert_eq!(
        of(&second.message_id)["worldStream"],
        stage.stream_of("otter", &second)
    );
    assert_eq!(of(&first.message_id)["status"], "STREAMED");
    assert_eq!(condition(&status, "Accepted"), ("True", "Valid"));
    assert_eq!(condition(&status, "Following"), ("True", "Following"));
    assert_eq!(condition(&status, "Deferred"), ("False", "NothingWaits"));
    // One is kept.
    space.wait(
        "one stream to be left",
        || space.list("ws").len() == 1,
        |_| stage.story(),
    );
    let columns = space.kubectl(&["get", "rt", "otter"]);
    let row: Vec<&str> = columns.lines().nth(1).unwrap().split_whitespace().collect();
    let shown = [
        "otter",
        "True",
        "file:/platform/bus",
        "platform_20260101T000000Z",
        "0",
        "6",
        "2",
    ];
    assert_eq!(row[..7], shown, "{columns}");
    // A restart goes on behind what is settled, and counts nothing twice.
    space.kubectl(&["rollout", "restart", "deployment/otter-trigger"]);
    space.kubectl(&["rollout", "status", "deployment/otter-trigger"]);
    stage.world("c", 9, ROWS);
    let third = stage.message("c", 4);
    stage.publish(&third);
    stage.streamed_once(&third, ROWS);
    let status = stage.until("otter", "the third message", |status| {
        status["counts"]["streamed"] == 3
    });
    assert_eq!(status["counts"]["seen"], 7, "{status:#}");
    assert_eq!(status["counts"]["skipped"], 2, "{status:#}");
    space.wait(
        "one stream to be left",
        || space.list("ws").len() == 1,
        |_| stage.story(),
    );
    let kept: Vec<Value> = space.list("ws");
    assert_eq!(
        kept[0]["metadata"]["name"],
        stage.stream_of("otter", &third)
    );
    for (what, text) in [
        (
            "objects",
            space.kubectl(&["get", "rt,ws,deploy,cm,pods,events", "-o", "yaml"]),
        ),
        (
            "the log",
            space.kubectl(&["logs", "deployment/otter-trigger", "--tail=-1"]),
        ),
        ("the operator's log", operator.log()),
    ] {
        assert!(!text.contains(KEY), "the gate's key is in {what}");
    }
}

/// The rights of the pod's ServiceAccount, as the API server has them.
fn the_pod_may_do_what_it_must_and_no_more(stage: &Stage) {
    let space = &stage.space;
    let account = format!("system:serviceaccount:{}:otter-trigger", space.namespace);
    let may = |verb: &str, what: &str| {
        // It says no with an exit code.
        let args = [
            "auth",
            "can-i",
            verb,
            what,
            "--as",
            &account,
            "-n",
            &space.namespace,
        ];
        space
            .bed
            .kubectl(args)
            .is_ok_and(|said| said.trim() == "yes")
    };
    for (verb, what) in [
        ("create", "worldstreams"),
        ("patch", "worldstreams"),
        ("watch", "worldstreams"),
        ("patch", "readytriggers/otter --subresource=status"),
    ] {
        let mut words = what.split(' ');
        let object = words.next().unwrap();
        let mut args = vec!["auth", "can-i", verb, object, "--as", &account];
        args.extend(words);
        assert_eq!(space.kubectl(&args).trim(), "yes", "{verb} {what}");
    }
    for (verb, what) in [
        ("get", "secrets"),
        ("get", "configmaps"),
        ("get", "pods"),
        ("create", "pods"),
        ("create", "jobs"),
        ("get", "deployments"),
        ("patch", "streamprofiles"),
        ("patch", "readytriggers"),
        ("create", "readytriggers"),
        ("patch", "worldstreams --subresource=status"),
    ] {
        assert!(!may(verb, what), "{verb} {what}");
    }
}

/// Two triggers follow one bus: each message is streamed by one of them.
pub fn two_triggers_on_one_bus_stream_each_message_once(operator: &Operator) {
    let stage = Stage::folders(operator, "two", |_| {});
    let space = &stage.space;
    let mut messages = Vec::new();
    for number in 0..4u32 {
        let world = format!("w{number}");
        stage.world(&world, 20 + u64::from(number), ROWS);
        messages.push(stage.message(&world, number));
    }
    for name in ["heron", "stork"] {
        stage.trigger(name, json!({"maxActive": 2}));
    }
    for message in &messages {
        stage.publish(message);
    }
    for name in ["heron", "stork"] {
        stage.follows(name);
    }
    for message in &messages {
        stage.streamed_once(message, ROWS);
    }
    // Who was second has seen it, too, and made nothing.
    for name in ["heron", "stork"] {
        stage.until(name, "all messages", |status| {
            let count = |what: &str| status["counts"][what].as_u64().unwrap_or_default();
            count("streamed") + count("skipped") >= 4 && status["waiting"] == 0
        });
    }
    assert_eq!(space.list("ws").len(), 4);
    let of = |name: &str| stage.status(name)["counts"]["started"].as_u64().unwrap();
    println!("two: heron started {}, stork {}", of("heron"), of("stork"));
    assert_eq!(of("heron") + of("stork"), 4);
}
