//! The trigger's pod dies just behind a record `FAILED`, before its status counts it.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::stage::Stage;

/// What the pod dies of, in the profile's environment; nothing.
fn dies_at(stage: &Stage, moment: Option<&str>) {
    let env = moment.map(|at| json!([{"name": "KILL_WORLDSTREAM_AT", "value": at}]));
    let worker = json!({"env": env.unwrap_or_else(|| json!([]))});
    stage
        .space
        .profile("replay", |spec| spec["worker"] = worker.clone());
}

/// One message fails before a stream could begin, and one with its stream: however often the pod is
/// killed behind their records, the status counts each record once.
pub fn failures_are_counted_by_their_records(operator: &Operator) {
    let stage = Stage::folders(operator, "counted", |_| {});
    let space = &stage.space;
    space.world("a", 60);
    let unread = stage.message("a", 1);
    let failing = stage.message("a", 2);
    stage.write_facts(&failing);
    // Its world goes before it is streamed.
    std::fs::remove_dir_all(space.path("a")).unwrap();
    dies_at(&stage, Some("recorded"));
    stage.trigger("asp", json!({"maxActive": 2}));
    stage.follows("asp");
    // No facts were written for it.
    stage.put(&unread.message.to_string(), "unread");
    let records = stage.recorded(&unread.message_id, 2);
    assert_eq!(records[1]["reason"], "RUN_FACTS_INVALID", "{records:#?}");
    dies_at(&stage, Some("closed"));
    stage.put(&failing.message.to_string(), "failing");
    let records = stage.recorded(&failing.message_id, 2);
    assert_eq!(records[1]["status"], "FAILED", "{records:#?}");
    let reason = records[1]["reason"].as_str().unwrap().to_owned();
    dies_at(&stage, None);
    // Each comes once more in the pod that goes on, and fails once more.
    let of = |message: &str| stage.records(message).len() as u64;
    let counted = |status: &Value, reason: &str| {
        let all = status["failedByReason"].as_array();
        let mut all = all.into_iter().flatten();
        let found = all.find(|it| it["reason"] == reason);
        found.map_or(0, |it| it["count"].as_u64().unwrap())
    };
    let status = stage.until("asp", "each failure counted", |status| {
        let (first, second) = (of(&unread.message_id), of(&failing.message_id));
        status["active"] == 0
            && status["counts"]["failed"] == first + second
            && counted(status, "RUN_FACTS_INVALID") == first
            && counted(status, &reason) == second
    });
    println!(
        "counted: {} failures over kills, {} streams begun",
        status["counts"]["failed"], status["counts"]["started"]
    );
    stage.follows("asp");
}
