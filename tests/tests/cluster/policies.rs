//! One output that fails for good, or lags behind for too long: what becomes of the others is the
//! stream's policy, and what was mended goes on at its cursor.

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::Operator;
use crate::space::{FRAUD, Space, condition};

/// Rows of the traffic; each of its three context outputs has half as many.
const ROWS: u64 = 1_200;
const ALL: u64 = ROWS + 3 * ROWS / 2;

/// A stream of the world of its name, with a platform run of its own.
fn stream(space: &Space, name: &str, number: u32, more: Value) -> Value {
    let mut spec = json!({
        "trafficMode": "fraud",
        "platformRunId": format!("platform_20260101T00000{number}Z"),
        "speedup": 1_200,
    });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    space.world(name, ROWS);
    space.stream(name, name, spec)
}

/// Sends a signal to the workers of a stream's output; how many there were.
fn signal(space: &Space, stream: &str, output: &str, signal: Signal) -> usize {
    let words = format!("{}/{stream} --output {output}", space.namespace);
    let nodes = space.bed.nodes().unwrap();
    let of = |node: &String| space.bed.signal_containers(node, &words, signal).unwrap();
    nodes.iter().map(of).sum()
}

/// Waits for some events of each.
fn going(space: &Space, names: &[&str]) {
    for name in names {
        space.phase(name, "Running");
        space.wait(
            "some events",
            || space.admitted_of(name).len() > 50,
            |space| format!("{:#}", space.status(name)),
        );
    }
}

fn output<'a>(status: &'a Value, id: &str) -> &'a Value {
    let all = status["outputs"].as_array();
    let mut all = all.into_iter().flatten();
    all.find(|it| it["output"] == id).unwrap_or(&Value::Null)
}

/// The states of all outputs but one.
fn others<'a>(status: &'a Value, id: &str) -> Vec<&'a str> {
    let all = status["outputs"].as_array().into_iter().flatten();
    all.filter(|it| it["output"] != id)
        .map(|it| it["state"].as_str().unwrap())
        .collect()
}

/// A file of the traffic's view is another one by the time that its worker starts again.
pub fn a_failed_output_stops_the_others_by_policy(operator: &Operator) {
    let space = Space::new(operator, "failures", |_| {});
    let policy = |policy: &str| json!({ "onOutputFailure": policy });
    space.start(&[
        stream(&space, "stops", 1, policy("StopAll")),
        stream(&space, "goes-on", 2, policy("Continue")),
    ]);
    let names = ["stops", "goes-on"];
    going(&space, &names);
    let part = |world: &str| {
        let view = format!("stream_view/ts_utc/output_id={FRAUD}/part-000000.parquet");
        space.path(world).join(view)
    };
    let kept = |world: &str| space.path(world).join("kept.parquet");
    for name in names {
        // Whoever has the file open has the old one.
        std::fs::rename(part(name), kept(name)).unwrap();
        let mut bytes = std::fs::read(kept(name)).unwrap();
        let inner = bytes.split_off(4);
        bytes.extend([0; 64]);
        bytes.extend(inner);
        std::fs::write(part(name), bytes).unwrap();
        assert_eq!(signal(&space, name, FRAUD, Signal::Kill), 1);
    }
    let failed = |status: &Value| output(status, FRAUD)["state"] == "Failed";
    // The one stops as a whole, and says why.
    let status = space.until("stops", "Failed", |status| status["phase"] == "Failed");
    let code = output(&status, FRAUD)["failure"]["reason"].clone();
    // Of a part that was opened before it is another code than of one that is compared first.
    let codes = ["STREAM_VIEW_CHANGED", "STREAM_FAILED"];
    assert!(codes.iter().any(|it| code == *it), "{status:#}");
    assert_eq!(
        condition(&status, "Failed"),
        ("True", code.as_str().unwrap())
    );
    assert_eq!(others(&status, FRAUD), ["Stopped"; 3], "{status:#}");
    // The other goes on without its traffic, and says so.
    let status = space.until("goes-on", "its output's failure", failed);
    assert_eq!(
        condition(&status, "Degraded"),
        ("True", "OutputFailed"),
        "{status:#}"
    );
    assert!(status["completedAt"].is_null(), "{status:#}");
    let so_far = space.admitted_of("goes-on").len();
    space.wait(
        "its other outputs",
        || space.admitted_of("goes-on").len() > so_far + 20,
        |space| format!("{:#}", space.status("goes-on")),
    );
    space.patch("goes-on", json!({ "speedup": 0 }));
    let status = space.phase("goes-on", "Failed");
    assert_eq!(others(&status, FRAUD), ["Finished"; 3], "{status:#}");
    let failure = &output(&status, FRAUD)["failure"]["reason"];
    assert_eq!(
        condition(&status, "Failed"),
        ("True", failure.as_str().unwrap())
    );
    // Mended, both go on where they stood.
    for name in names {
        std::fs::rename(kept(name), part(name)).unwrap();
        space.patch(name, json!({ "retry": 1, "speedup": 0 }));
    }
    for name in names {
        space.phase(name, "Completed");
        space.every_event_once(name, ALL);
    }
}

/// With `overload: Fail` an output that is too late has failed.
pub fn an_output_that_lags_fails_by_policy(operator: &Operator) {
    let space = Space::new(operator, "lags", |_| {});
    let more = json!({ "overload": "Fail", "maxLag": "15s" });
    space.start(&[stream(&space, "late", 3, more)]);
    going(&space, &["late"]);
    assert_eq!(signal(&space, "late", FRAUD, Signal::Stop), 1);
    let status = space.until("late", "the failure of its traffic", |status| {
        output(status, FRAUD)["state"] == "Failed"
    });
    let reason = "LAG_LIMIT";
    assert_eq!(output(&status, FRAUD)["failure"]["reason"], reason);
    // It is asked to stop, and stops when it goes on.
    assert_eq!(signal(&space, "late", FRAUD, Signal::Continue), 1);
    let status = space.phase("late", "Failed");
    assert_eq!(condition(&status, "Failed"), ("True", reason), "{status:#}");
    assert_eq!(others(&status, FRAUD), ["Stopped"; 3], "{status:#}");
    let stood = space.arrivals().len();
    space.patch("late", json!({ "retry": 1, "speedup": 0 }));
    space.phase("late", "Completed");
    space.every_event_once("late", ALL);
    assert!(space.arrivals().len() > stood);
}
