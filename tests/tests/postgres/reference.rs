//! The reference producer and we on one table: a stream that either began, the other goes on with.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use worldstream_tests::GateProcess;
use worldstream_tests::stream::{receipt, receipts};

use crate::bed::{Bed, EVENTS, ROWS, TRAFFIC, assert_whole};

/// What one of our runs says of its checkpoints: output, scope key, cursor.
fn checkpoints(summary: &Value) -> Vec<(String, String, Value)> {
    receipts(summary)
        .iter()
        .map(|receipt| {
            let text = |field: &str| receipt[field].as_str().unwrap().to_owned();
            (
                text("output_id"),
                text("scope_key"),
                receipt["cursor"].clone(),
            )
        })
        .collect()
}

/// The events of a whole run by output, in view order.
fn in_order(bed: &Bed) -> BTreeMap<String, Vec<Value>> {
    let dir = bed.path().join("whole");
    let gate = GateProcess::start(&dir, &[]);
    let whole = worldstream_tests::stream::Stream::new(&dir, &bed.world, &gate.url)
        .args(["--in-flight", "1"])
        .finish(0);
    assert_whole(&whole.json());
    let mut order: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for envelope in gate.end() {
        let output = envelope["event_type"].as_str().unwrap().to_owned();
        order.entry(output).or_default().push(envelope);
    }
    order
}

#[test]
fn the_reference_goes_on_with_ours_and_we_with_its() {
    let bed = Bed::new();
    let order = in_order(&bed);
    let gate = GateProcess::start(&bed.path().join("both"), &[]);
    let stream = bed.stream(&gate.url);
    let capped = stream.clone().args(["--max-events-per-output", "100"]);
    let first = capped.finish(0).json();
    for (output, scope, cursor) in checkpoints(&first) {
        assert_eq!(cursor["last_row_index"], 99, "{output}");
        let found = bed.server.reference_reads(&scope, &output).unwrap();
        assert_eq!(found, cursor, "the reference reads what we saved");
        // It sends fifty more, and saves as it does.
        let further = json!({
            "last_file": cursor["last_file"],
            "last_row_index": 149,
            "last_ts_utc": order[&output][149]["ts_utc"],
        });
        bed.server.reference_writes(&scope, &output, &further);
    }
    let last = stream.finish(0).json();
    for (output, scope, cursor) in checkpoints(&last) {
        let whole = if output == TRAFFIC { ROWS } else { ROWS / 2 };
        let ours = receipt(&last, &output);
        // Figures of the cursor that it moved do not count: the receipt says from where they do.
        assert_eq!(ours["counts_from"]["last_row_index"], 149, "{ours:#}");
        assert_eq!(ours["rows"], whole - 150, "{ours:#}");
        assert_eq!(ours["outcome"], "complete");
        let found = bed.server.reference_reads(&scope, &output).unwrap();
        assert_eq!(found, cursor);
        assert_eq!(
            found["last_ts_utc"],
            order[&output].last().unwrap()["ts_utc"]
        );
    }
    // Ours but for those that the reference sent, each once.
    let sent = gate.end();
    assert_eq!(sent.len() as u64, EVENTS - 4 * 50);
}

#[test]
fn we_go_on_with_a_stream_that_the_reference_began() {
    let bed = Bed::new();
    let order = in_order(&bed);
    // Its own table, as it makes it, before we were ever there.
    bed.server.reference_table();
    let gate = GateProcess::start(&bed.path().join("ours"), &[]);
    let stream = bed.stream(&gate.url);
    // Where things are is asked of a run elsewhere.
    let elsewhere = bed
        .stream(&gate.url)
        .args(["--max-events-per-output", "1", "--checkpoint-root"])
        .args([bed.path().join("elsewhere").display().to_string()]);
    let known = checkpoints(&elsewhere.finish(0).json());
    for (row, (output, scope, cursor)) in (40..).zip(&known) {
        let ts = match row % 2 {
            0 => order[output][row]["ts_utc"].clone(),
            _ => Value::Null,
        };
        let began =
            json!({"last_file": cursor["last_file"], "last_row_index": row, "last_ts_utc": ts});
        bed.server.reference_writes(scope, output, &began);
    }
    let plan = worldstream_tests::run(["plan", "--json", "--profile"])
        .args([bed.path().join("profile.yaml").display().to_string()])
        .args(["--engine-run-root", &bed.world.display().to_string()])
        .args(["--platform-run-id", worldstream_tests::PLATFORM_RUN_ID]);
    stream.command();
    let plan = plan.finish().expect(0).json();
    let summary = stream.finish(0).json();
    for (row, (output, scope, _)) in (40..).zip(&known) {
        let planned = plan["outputs"].as_array().unwrap();
        let planned = planned.iter().find(|it| it["output_id"] == **output);
        assert_eq!(
            planned.unwrap()["cursors"][0]["last_row_index"],
            row,
            "{plan:#}"
        );
        let whole = order[output].len() as u64;
        let ours = receipt(&summary, output);
        assert_eq!(ours["rows"], whole - row - 1, "{ours:#}");
        assert_eq!(ours["counts_from"]["last_row_index"], row, "{ours:#}");
        // It goes on with what we left, its way: at its end nothing is left to send.
        let found = bed.server.reference_reads(scope, output).unwrap();
        assert_eq!(
            found["last_ts_utc"],
            order[output].last().unwrap()["ts_utc"]
        );
        bed.server.reference_writes(scope, output, &found);
    }
    // The same cursor again is no other cursor: nothing is sent, the figures stand.
    let again = stream.finish(0).json();
    for receipt in receipts(&again) {
        assert_eq!(receipt["outcome"], "complete", "{receipt:#}");
    }
    let rows = |summary: &Value| -> u64 {
        receipts(summary)
            .iter()
            .map(|receipt| receipt["rows"].as_u64().unwrap())
            .sum()
    };
    assert_eq!(rows(&again), rows(&summary));
}
