//! One output that does not get on.

use std::time::Duration;

use serde_json::json;
use worldstream_tests::bed::cluster::Signal;

use worldstream_tests::on_cluster::{BASELINE, Operator, Space};

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
            "speedup": 1_200,
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
    space.wait("some events", || admitted("holds") > 50, |_| String::new());
    // No other case beside this one sends the baseline.
    let signal = |signal: Signal| -> usize {
        let nodes = space.bed.nodes().unwrap();
        let of = |node: &String| space.bed.signal_containers(node, BASELINE, signal).unwrap();
        nodes.iter().map(of).sum()
    };
    assert_eq!(signal(Signal::Stop), 2);
    space.phase("holds", "Held");
    // The clock stands from a little later on.
    std::thread::sleep(Duration::from_secs(3));
    let (held, going) = (admitted("holds"), admitted("goes-on"));
    space.wait(
        "the other's events",
        || admitted("goes-on") > going + 10,
        |space| format!("{:#}", space.status("goes-on")),
    );
    assert_eq!(admitted("holds"), held);
    assert_eq!(signal(Signal::Continue), 2);
    space.wait(
        "events after it",
        || admitted("holds") > held,
        |space| format!("{:#}", space.status("holds")),
    );
    for name in ["holds", "goes-on"] {
        space.patch(name, json!({ "speedup": 0 }));
        space.phase(name, "Completed");
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
    }
    let clock = space.get("sclk", "holds");
    let ledger = clock["spec"]["ledger"].as_array().unwrap();
    for change in ["Held", "Released"] {
        assert!(ledger.iter().any(|it| it["change"] == change), "{clock:#}");
    }
}
