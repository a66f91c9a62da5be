//! What is missing or failed, and is put right.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{Space, condition, traffic_alone};

const ROWS: u64 = 1_000;

pub fn a_missing_secret_is_said_and_heals(operator: &Operator) {
    let space = Space::without_secret(operator, "secret", traffic_alone);
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 0 });
    space.start(&[space.stream("heals", "a", more)]);
    let said = |status: &Value| {
        let all = status["conditions"].as_array();
        all.into_iter()
            .flatten()
            .any(|it| it["reason"] == "SecretNotFound")
    };
    let status = space.until("heals", "SecretNotFound", said);
    assert!(status["completedAt"].is_null(), "{status:#}");
    for kind in ["WorldVerified", "Ready", "Degraded"] {
        assert_eq!(condition(&status, kind).1, "SecretNotFound", "{status:#}");
    }
    let told = "involvedObject.name=heals,reason=SecretNotFound,type=Warning";
    let events = || space.kubectl(&["get", "events", "--field-selector", told, "-o", "name"]);
    space.wait("an event", || !events().is_empty(), |_| String::new());
    assert_eq!(space.arrivals().len(), 0);
    space.make_secret();
    let status = space.phase("heals", "Completed");
    assert!(!said(&status), "{status:#}");
    space.every_event_once("heals", ROWS);
}

/// The gate refuses the stream's key for a while: the stream ends as failed with the code, and goes
/// on at its cursor when it is told to.
pub fn a_failed_output_goes_on_at_its_cursor(operator: &Operator) {
    let space = Space::new(operator, "retry", traffic_alone);
    space.world("a", ROWS);
    let more = json!({ "trafficMode": "fraud", "speedup": 300 });
    space.start(&[space.stream("again", "a", more)]);
    space.phase("again", "Running");
    space.wait(
        "some events",
        || space.arrivals().len() > 10,
        |_| String::new(),
    );
    space.let_in("another key");
    let status = space.phase("again", "Failed");
    assert_eq!(condition(&status, "Failed").0, "True", "{status:#}");
    let failure = &status["outputs"][0]["failure"]["reason"];
    assert_eq!(condition(&status, "Failed").1, *failure, "{status:#}");
    println!("retry: failed with {failure}");
    space.let_in(crate::space::KEY);
    space.patch("again", json!({ "retry": 1, "speedup": 0 }));
    let status = space.phase("again", "Completed");
    assert_eq!(status["retry"], 1, "{status:#}");
    space.every_event_once("again", ROWS);
}
