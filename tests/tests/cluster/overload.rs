//! One output that does not get on.

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::Operator;
use crate::space::{BASELINE, Space};

/// Rows of the traffic; each of its three context outputs has half as many.
const ROWS: u64 = 1_200;

/// The worker of the traffic stands still, in two streams: all outputs of the one stand with it,
/// those of the other go on, as each stream's policy says. Nothing is lost in either.
pub fn a_worker_that_stands_holds_the_others_by_policy(operator: &Operator) {
    let space = Space::new(operator, "overload", |_| {});
    space.world("a", ROWS);
    let stream = |name: &str, overload: &str| {
        let more = json!({
            "trafficMode": "baseline",
            "platformRunId": format!("platform_20260101T00000{}Z", name.len()),
            // Slow enough to have something left, however long all of this takes.
            "speedup": 200,
            "overload": overload,
            "maxLag": "2s",
        });
        space.stream(name, "a", more)
    };
    space.start(&[stream("holds", "Hold"), stream("goes-on", "CatchUp")]);
    for name in ["holds", "goes-on"] {
        space.phase(name, "Running");
    }
    let admitted = |name: &str| space.admitted_of(name).len();
    space.wait("some events", || admitted("holds") > 20, |_| String::new());
    // No other case beside this one sends the baseline.
    let signal = |signal: Signal| -> usize {
        let nodes = space.bed.nodes().unwrap();
        let of = |node: &String| space.bed.signal_containers(node, BASELINE, signal).unwrap();
        nodes.iter().map(of).sum()
    };
    assert_eq!(signal(Signal::Stop), 2);
    let explain = |space: &Space| {
        let clock = space.get("sclk", "holds");
        format!("{clock:#}\n{:#}", json!(space.checkpoints("holds")))
    };
    space.wait("a stream that stands", || stands(&space, "holds"), explain);
    space.phase("holds", "Held");
    let (held, going) = (admitted("holds"), admitted("goes-on"));
    space.wait(
        "the other's events",
        || admitted("goes-on") > going + 10,
        |space| format!("{:#}", space.status("goes-on")),
    );
    assert_eq!(admitted("holds"), held);
    assert_eq!(signal(Signal::Continue), 2);
    space.wait("events after it", || admitted("holds") > held, explain);
    // Perhaps before the release is seen, perhaps after it: both are on record.
    for name in ["holds", "goes-on"] {
        space.patch(name, json!({ "speedup": 0 }));
        space.phase(name, "Completed");
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
    }
    let clock = space.get("sclk", "holds");
    let ledger = clock["spec"]["ledger"].as_array().unwrap();
    let count = |change: &str| ledger.iter().filter(|it| it["change"] == change).count();
    assert!(count("Held") > 0, "{clock:#}");
    assert_eq!(count("Held"), count("Released"), "{clock:#}");
    assert_eq!(count("SpeedChanged"), 1, "{clock:#}");
}

/// Whether the clock is held for the traffic, and the others have sent all that is due up to there.
fn stands(space: &Space, stream: &str) -> bool {
    let clock = space.get("sclk", stream);
    let Some(held_at) = clock["spec"]["heldAt"].as_str() else {
        return false;
    };
    let checkpoints = space.checkpoints(stream);
    // Times of one format are in order as texts.
    let beyond = |status: &Value| status["oldest"].as_str().is_some_and(|it| it > held_at);
    checkpoints
        .iter()
        .all(|(output, status)| match output == BASELINE {
            true => !beyond(status),
            false => status["state"] == "Held" && beyond(status),
        })
}
