//! Several operators at once, of which one leads.

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::{Operator, SYSTEM};
use crate::outside::{Outside, holder};
use crate::space::Space;

const ROWS: u64 = 600;
const ALL: u64 = ROWS + 3 * ROWS / 2;

/// Leaders are killed, frozen, robbed of their Lease and told to stop while streams are set up and
/// run: whoever has lost the Lease ends, another takes over, and nothing is made twice.
pub fn of_several_operators_one_works(operator: &Operator) {
    let space = Space::new(operator, "leaders", |spec| {
        // Workers that are slow to start are not started again, or there would be more Jobs.
        spec["clock"]["primeTimeout"] = json!("15m");
    });
    space.world("a", ROWS);
    let start = |identity: &str| Outside::start(operator, &space.namespace, identity);
    let stream = |name: &str, number: u32| {
        let more = json!({
            "trafficMode": "fraud",
            "platformRunId": format!("platform_20260101T00000{number}Z"),
            "speedup": 1_440,
        });
        space.start(&[space.stream(name, "a", more)]);
    };
    let some_job = |stream: &str| {
        let label = format!("worldstream.io/stream={stream}");
        space.wait(
            "the first Job",
            || {
                !space
                    .kubectl(&["get", "jobs", "-l", &label, "-o", "name"])
                    .is_empty()
            },
            |space| format!("{:#}", space.status(stream)),
        );
    };
    let mut first = start("first");
    first.until_it_leads();
    let mut second = start("second");
    stream("one", 1);
    some_job("one");
    first.kill();
    second.until_it_leads();
    space.phase("one", "Running");

    // One that stands for longer than the Lease lasts has lost it by the time that it goes on.
    let mut third = start("third");
    second.signal(Signal::Stop);
    stream("two", 2);
    third.until_it_leads();
    some_job("two");
    second.signal(Signal::Continue);
    let end = second.end();
    assert_eq!(end.code(), Some(1), "{}", second.log());
    assert!(
        second.log().contains("the lease is lost"),
        "{}",
        second.log()
    );

    // One that another robs of it, too.
    stream("three", 3);
    some_job("three");
    let patch = json!({ "spec": { "holderIdentity": "a robber" } }).to_string();
    let lease = [
        "-n",
        SYSTEM,
        "patch",
        "lease",
        &space.namespace,
        "--type=merge",
        "-p",
        &patch,
    ];
    space.bed.kubectl(lease).unwrap();
    let end = third.end();
    assert_eq!(end.code(), Some(1), "{}", third.log());
    assert!(
        third.log().contains("another process has it"),
        "{}",
        third.log()
    );

    // One that is told to stop gives it up: the next need not wait for its end.
    let mut fourth = start("fourth");
    fourth.until_it_leads();
    fourth.signal(Signal::Terminate);
    let end = fourth.end();
    assert!(end.success(), "{}", fourth.log());
    assert_eq!(holder(operator, &space.namespace), "", "{}", fourth.log());
    let fifth = start("fifth");
    fifth.until_it_leads();

    for name in ["one", "two", "three"] {
        space.phase(name, "Completed");
        space.every_event_once(name, ALL);
    }
    let jobs = space.list("jobs");
    let worker = |job: &&Value| job["metadata"]["labels"]["worldstream.io/component"] == "worker";
    let workers = jobs.iter().filter(worker).count();
    assert_eq!(workers, 3 * 4, "{}", space.kubectl(&["get", "jobs"]));
    assert_eq!(jobs.len(), 3 * 5, "{}", space.kubectl(&["get", "jobs"]));
    // No worker was ever replaced, nor did two send the same.
    assert_eq!(space.arrivals().len() as u64, 3 * ALL);
}
