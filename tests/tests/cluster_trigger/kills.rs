//! The trigger's pod is killed again and again, on Kinesis and MinIO, while messages flow.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::json;

use crate::operator::Operator;
use crate::space::{KEY, condition};
use crate::stage::Stage;

const ROWS: u64 = 120;
const KILLS: usize = 10;

pub fn a_killed_trigger_streams_each_message_once(operator: &Operator) {
    let mut stage = Stage::stores(operator, "kills");
    all_once(operator, &stage);
    // An outage of the bus is a condition, and so is its end.
    stage.engine(false);
    let status = stage.until("viper", "an outage", |status| {
        condition(status, "Following") == ("False", "NotFollowing")
            && condition(status, "Ready") == ("False", "NotFollowing")
    });
    let said = status["conditions"].to_string();
    assert!(said.contains("the bus gives nothing"), "{said}");
    stage.engine(true);
    stage.until("viper", "the end of it", |status| {
        condition(status, "Following").0 == "True" && condition(status, "Ready").0 == "True"
    });
}

fn all_once(operator: &Operator, stage: &Stage) {
    let space = &stage.space;
    stage.trigger("viper", json!({"maxActive": 2}));
    stage.follows("viper");
    let mut messages = Vec::new();
    let mut random = rand::rng();
    for kill in 0..KILLS {
        let number = kill as u32;
        let world = format!("w{number}");
        stage.world(&world, 60 + u64::from(number), ROWS);
        let message = stage.message(&world, number);
        stage.publish(&message);
        messages.push(message);
        // Anywhere between reading a message and its record.
        std::thread::sleep(Duration::from_millis(random.random_range(0..4_000)));
        let selector = "worldstream.io/trigger=viper";
        let now = [
            "delete",
            "pods",
            "-l",
            selector,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ];
        space.kubectl(&now);
    }
    for message in &messages {
        stage.streamed_once(message, ROWS);
    }
    stage.follows("viper");
    assert_eq!(space.list("ws").len(), KILLS);
    // Where the bus was left is written down, and goes on from there: nothing is read again.
    let status = stage.until("viper", "rest", |status| {
        status["position"].is_string() && status["active"] == 0 && status["waiting"] == 0
    });
    println!("kills: {KILLS}, counts {}", status["counts"]);
    let logs = ["logs", "deployment/viper-trigger", "--tail=-1"];
    for (what, text) in [
        (
            "objects",
            space.kubectl(&["get", "rt,ws,deploy,cm,pods,events", "-o", "yaml"]),
        ),
        ("the log", space.kubectl(&logs)),
        ("the operator's log", operator.log()),
    ] {
        for key in [KEY, stage.store_key()] {
            assert!(!text.contains(key), "a key is in {what}");
        }
    }
}
