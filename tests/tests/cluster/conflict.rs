//! Two streams of one identity: their events would be the same.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{Space, condition, traffic_alone};

const ROWS: u64 = 1_000;

/// The second is refused while the first runs and when it has ended, makes nothing, and is let go
/// with an attempt of its own.
pub fn a_second_stream_of_an_identity_waits(operator: &Operator) {
    let space = Space::new(operator, "conflict", traffic_alone);
    space.world("a", ROWS);
    let stream = |name: &str| {
        let more = json!({
            "trafficMode": "fraud", "speedup": 1_000, "platformRunId": "platform_20310504T030000Z",
        });
        space.stream(name, "a", more)
    };
    space.start(&[stream("first")]);
    space.phase("first", "Running");
    space.start(&[stream("second")]);
    let refused = |status: &Value| condition(status, "Accepted") == ("False", "RunConflict");
    space.until("second", "RunConflict", refused);
    let nothing = || -> String {
        let of = "worldstream.io/stream=second";
        space.kubectl(&["get", "jobs,sckpt,sclk,configmaps", "-l", of, "-o", "name"])
    };
    assert_eq!(nothing(), "");

    space.patch("first", json!({ "speedup": 0 }));
    space.phase("first", "Completed");
    // The look after the next: at rest it looks every ten seconds.
    std::thread::sleep(std::time::Duration::from_secs(12));
    let status = space.status("second");
    assert!(refused(&status), "{status:#}");
    assert_eq!(nothing(), "");
    assert_eq!(space.arrivals().len() as u64, ROWS);
    space.every_event_once("first", ROWS);

    space.patch("second", json!({ "attempt": "again", "speedup": 0 }));
    let status = space.phase("second", "Completed");
    assert_eq!(status["outputs"][0]["duplicate"], ROWS, "{status:#}");
}
