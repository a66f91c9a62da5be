//! What may change when: before a stream has started everything, afterwards nothing that decides
//! what is sent; clocks, epochs and cursors only grow.

use serde_json::{Value, json};
use worldstream_crds::rules::IMMUTABLE;

use crate::cluster::{create, document, for_each, patch};

/// Every field that is immutable once the stream has started: a value, and another one.
fn fields() -> Vec<(&'static str, Value, Value)> {
    let step =
        |eps: f64| json!([{ "start_offset_seconds": 0, "target_eps": eps, "burst_seconds": 1 }]);
    vec![
        ("profile", json!("there"), json!("elsewhere")),
        (
            "engineRunRoot",
            json!("s3://bucket/world"),
            json!("s3://bucket/world/"),
        ),
        ("scenario", json!("baseline_v1"), json!("stress_v3")),
        ("trafficMode", json!("fraud"), json!("baseline")),
        ("outputs", json!(["a", "b"]), json!(["a"])),
        (
            "platformRunId",
            json!("platform_20260101T000000Z"),
            json!("platform_20260101T000001Z"),
        ),
        (
            "scenarioRunId",
            json!("ab".repeat(16)),
            json!("ac".repeat(16)),
        ),
        (
            "startFrom",
            json!("2026-01-01T00:00:00Z"),
            json!("2026-01-01T00:00:00.000001Z"),
        ),
        (
            "until",
            json!("2026-01-02T00:00:00Z"),
            json!("2026-01-03T00:00:00Z"),
        ),
        ("maxEventsPerOutput", json!(10), json!(11)),
        ("lanes", json!({ "count": 2 }), json!({ "count": 3 })),
        ("inFlight", json!(16), json!(1)),
        ("ratePlan", step(10.0), step(20.0)),
    ]
}

/// A stream with all of these fields, and one with no more than it must have.
fn two_streams(prefix: &str) -> (String, String) {
    let mut all = json!({});
    let mut least = json!({});
    for (field, value, _) in fields() {
        all[field] = value.clone();
        if field == "profile" || field == "engineRunRoot" {
            least[field] = value;
        }
    }
    let (full, bare) = (format!("{prefix}-full"), format!("{prefix}-bare"));
    create(&document("WorldStream", &full, all));
    create(&document("WorldStream", &bare, least));
    (format!("ws/{full}"), format!("ws/{bare}"))
}

/// Each field added, changed and removed: (object, patch, field).
fn attempts(full: &str, bare: &str) -> Vec<(String, Value, &'static str)> {
    let mut attempts = Vec::new();
    for (field, value, other) in fields() {
        attempts.push((full.to_owned(), json!({ "spec": { field: other } }), field));
        if field != "profile" && field != "engineRunRoot" {
            attempts.push((full.to_owned(), json!({ "spec": { field: null } }), field));
            attempts.push((bare.to_owned(), json!({ "spec": { field: value } }), field));
        }
    }
    attempts
}

#[test]
fn before_the_start_everything_may_change() {
    let known: Vec<&str> = fields().iter().map(|(field, ..)| *field).collect();
    assert_eq!(known, IMMUTABLE, "every immutable field is tried");
    let (full, bare) = two_streams("before");
    // A stream whose world is being verified has a status, and has not started.
    let verifying =
        json!({ "status": { "phase": "Verifying", "platformRunId": "platform_20260101T000000Z" } });
    patch(&full, true, false, &verifying).unwrap();
    for_each(&attempts(&full, &bare), |(object, change, _)| {
        patch(object, false, true, change).map(drop)
    });
}

#[test]
fn once_started_what_decides_the_bytes_is_immutable() {
    let (full, bare) = two_streams("after");
    let started = json!({ "status": { "startedAt": "2026-02-01T09:00:00Z" } });
    for object in [&full, &bare] {
        patch(object, true, false, &started).unwrap();
    }
    for_each(&attempts(&full, &bare), |(object, change, field)| {
        let said = match patch(object, false, true, change) {
            Ok(_) => return Err(format!("{change} was taken")),
            Err(said) => said,
        };
        let expected = [
            format!("spec.{field}: Invalid value"),
            format!(
                "spec.{field} decides what is sent and cannot change once the stream has started"
            ),
        ];
        match expected.iter().find(|part| !said.contains(*part)) {
            Some(part) => Err(format!("{change}: expected {part:?} in: {said}")),
            None => Ok(()),
        }
    });
    let mutable = [
        json!({ "speedup": 7 }),
        json!({ "paused": true }),
        json!({ "suspend": true }),
        json!({ "retry": 1 }),
        json!({ "attempt": "2" }),
        json!({ "overload": "CatchUp" }),
        json!({ "maxLag": "10s" }),
        json!({ "onOutputFailure": "Continue" }),
        json!({ "ttlAfterFinished": "1h" }),
    ];
    for_each(&mutable, |spec| {
        patch(&full, false, true, &json!({ "spec": spec })).map(drop)
    });
    // The operator goes on writing the status of a started stream.
    patch(
        &full,
        true,
        false,
        &json!({ "status": { "percent": 40, "phase": "Running" } }),
    )
    .unwrap();
}

#[test]
fn the_orders_to_try_again_are_counted_upwards() {
    create(&document(
        "WorldStream",
        "counted",
        json!({ "profile": "there", "engineRunRoot": "x", "retry": 2 }),
    ));
    for change in [json!(1), json!(0), json!(null)] {
        let said = patch(
            "ws/counted",
            false,
            true,
            &json!({ "spec": { "retry": change } }),
        );
        let said = said.unwrap_err();
        assert!(
            said.contains("spec.retry counts the orders to try again"),
            "{said}"
        );
    }
    patch(
        "ws/counted",
        false,
        true,
        &json!({ "spec": { "retry": 3 } }),
    )
    .unwrap();
}

#[test]
fn a_clock_goes_forward_and_a_published_revision_stays_as_it_is() {
    let at = |minute: u32| format!("2026-02-01T09:{minute:02}:00.000000Z");
    let event = "2026-01-01T00:00:00.000000Z";
    create(&document(
        "StreamClock",
        "ticking",
        json!({ "revision": 0 }),
    ));
    let set = |dry: bool, spec: Value| patch("sclk/ticking", false, dry, &json!({ "spec": spec }));
    let published = json!({
        "revision": 3, "effectiveAt": at(1), "eventEpoch": event, "wallEpoch": at(1),
        "speedup": 60, "mode": "Going",
    });
    set(false, published).unwrap();
    for back in [
        json!({ "revision": 2 }),
        json!({ "revision": 0 }),
        json!({ "revision": null }),
    ] {
        let said = set(true, back).unwrap_err();
        assert!(said.contains("spec.revision"), "{said}");
    }
    for change in [
        json!({ "effectiveAt": at(2) }),
        json!({ "eventEpoch": at(2) }),
        json!({ "wallEpoch": at(2) }),
        json!({ "speedup": 61 }),
        json!({ "paused": true }),
        json!({ "heldAt": event }),
    ] {
        let said = set(true, change.clone()).unwrap_err();
        assert!(
            said.contains("a revision that was published never changes"),
            "{change}: {said}"
        );
        let mut next = change;
        next["revision"] = json!(4);
        set(true, next).unwrap();
    }
    // What the operator is doing, and what was changed, is no part of the revision.
    set(true, json!({ "mode": "Settling" })).unwrap();
    let entry = json!({ "revision": 3, "change": "Started", "speedup": 60, "by": "x" });
    set(true, json!({ "ledger": [entry] })).unwrap();
}

#[test]
fn a_checkpoint_is_whose_it_is_and_only_goes_forward() {
    let spec = json!({
        "stream": "there", "output": "out_5B", "role": "Traffic", "lane": 0, "lanes": 2,
        "attempt": "", "platformRunId": "platform_20260101T000000Z",
    });
    create(&document("StreamCheckpoint", "forward", spec));
    for change in [
        json!({ "stream": "other" }),
        json!({ "output": "out_6B" }),
        json!({ "role": "Context" }),
        json!({ "lane": 1 }),
        json!({ "lanes": 3 }),
        json!({ "attempt": "2" }),
        json!({ "platformRunId": "platform_20260101T000001Z" }),
    ] {
        let said = patch("sckpt/forward", false, true, &json!({ "spec": change }));
        let said = said.unwrap_err();
        assert!(
            said.contains("a checkpoint's spec never changes"),
            "{change}: {said}"
        );
    }
    let report =
        |dry: bool, status: Value| patch("sckpt/forward", true, dry, &json!({ "status": status }));
    let cursor = |file: &str, row: u64| {
        json!({ "cursor": {
            "lastFile": file, "lastRowIndex": row, "lastTsUtc": "2026-01-01T00:00:00.000000Z",
        } })
    };
    // The first writes: preflight's plan, then a holder, and a cursor beyond what a float holds.
    report(
        false,
        json!({ "plan": { "viewId": "v", "rows": 7, "files": [{ "name": "p", "rows": 7 }] } }),
    )
    .unwrap();
    report(
        false,
        json!({ "epoch": 2, "holder": "pod-1", "holderUid": "u" }),
    )
    .unwrap();
    let far = (1u64 << 53) + 1;
    report(false, cursor("part-2", far)).unwrap();
    let rows = crate::cluster::kubectl(
        &[
            "get",
            "sckpt/forward",
            "-o",
            "jsonpath={.status.cursor.lastRowIndex}",
        ],
        None,
    );
    assert_eq!(rows.unwrap(), far.to_string());
    for (change, expected) in [
        (json!({ "epoch": 1 }), "status.epoch only grows"),
        (json!({ "epoch": null }), "status.epoch only grows"),
        (cursor("part-1", far + 9), "status.cursor never goes back"),
        (cursor("part-2", far - 1), "status.cursor never goes back"),
        // As text, part-10 comes before part-2.
        (cursor("part-10", 0), "status.cursor never goes back"),
        (json!({ "cursor": null }), "status.cursor never goes back"),
        (
            json!({ "counts": { "rows": 2, "sent": 2, "admitted": 1, "duplicate": 0, "quarantined": 0,
            "undecided": 0, "retried": 0 } }),
            "expected rows = admitted",
        ),
        (json!({ "state": "Sleeping" }), "status.state"),
    ] {
        let said = report(true, change.clone()).unwrap_err();
        assert!(said.contains(expected), "{change}: {said}");
    }
    for change in [
        json!({ "epoch": 3, "holder": null, "holderUid": null }),
        cursor("part-2", far),
        cursor("part-2", far + 1),
        cursor("part-3", 0),
        json!({ "counts": { "rows": 6, "sent": 9, "admitted": 1, "duplicate": 2, "quarantined": 3,
            "undecided": 0, "retried": 4 } }),
    ] {
        report(true, change.clone()).unwrap_or_else(|said| panic!("{change}: {said}"));
    }
    let said = patch("sckpt/forward", true, true, &json!({ "status": null })).unwrap_err();
    assert!(
        said.contains("only grows") || said.contains("never goes back"),
        "{said}"
    );
}
