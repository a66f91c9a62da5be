//! The shortest way through everything: a sample world, a gate, a replay, and what it left.

use std::time::Duration;

use worldstream_tests::{GateProcess, PLATFORM_RUN_ID, run};

#[test]
fn a_sample_world_arrives_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    run([
        "sample",
        "--out",
        &path("world"),
        "--rows",
        "200",
        "--days",
        "2",
    ])
    .finish()
    .expect(0);
    let gate = GateProcess::start(dir.path(), &[]);
    let url = gate.url.clone();
    let args = [
        "run",
        "--json",
        "--profile",
        "local",
        "--engine-run-root",
        &path("world"),
        "--speedup",
        "0",
        "--platform-run-id",
        PLATFORM_RUN_ID,
        "--gate-url",
        &url,
        "--runs-root",
        &path("runs"),
        "--in-flight",
        "1",
    ];
    let summary = run(args)
        .start()
        .finish_within(Duration::from_secs(60))
        .expect(0)
        .json();
    let outputs = summary["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 4);
    for output in outputs {
        assert_eq!(output["outcome"], "complete", "{output:#}");
        assert_eq!(output["rows"], output["admitted"]);
    }
    let admitted = gate.end();
    assert_eq!(admitted.len(), 200 + 3 * 100);
    for output in outputs {
        let times: Vec<_> = admitted
            .iter()
            .filter(|event| event["event_type"] == output["output_id"])
            .map(|event| event["ts_utc"].as_str().unwrap())
            .collect();
        assert!(times.is_sorted());
    }
    // Started again, it has nothing left to do, and says the same.
    let gate = GateProcess::start(dir.path(), &[]);
    let mut args = args;
    let url = gate.url.clone();
    args[args.len() - 5] = &url;
    let again = run(args)
        .start()
        .finish_within(Duration::from_secs(60))
        .expect(0)
        .json();
    assert_eq!(again["outputs"][0]["digest"], outputs[0]["digest"]);
    assert_eq!(gate.end().len(), 500);
}
