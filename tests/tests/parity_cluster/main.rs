//! The run in parity: the chart worldstream-parity on a real cluster, with MinIO, Kinesis and
//! Postgres as processes behind its Services, a READY message on the control bus, and everything
//! that comes of it compared with what the same world gives in this process.

use worldstream_tests::parity::{self, Options, Where};

#[test]
fn a_run_in_parity_leaves_what_the_same_world_gives_in_process() {
    // Built before threads and networks are entered.
    worldstream_tests::program();
    let bed = worldstream_tests::cluster(2);
    bed.place().enter().unwrap();
    let options = Options {
        namespace: format!("parity-{}", std::process::id()),
        stores: Where::Outside,
        rows: 600,
        platform_run_id: "platform_20260203T040506Z".into(),
        keep: false,
    };
    let outcome = parity::run(bed, &options, &|line| println!("{line}"));
    let report = &outcome.report;
    println!("{}", outcome.story);
    println!("{}", report.text());
    assert!(report.ok, "{}", report.text());
    // Four outputs, each with its receipt, three facts, the record and all envelopes.
    assert!(report.checks.len() > 80, "{} checks", report.checks.len());
}
