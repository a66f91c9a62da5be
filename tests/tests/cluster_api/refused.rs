//! Documents that the API server refuses, each with the words that name the mistake.

use serde_json::{Value, json};

use crate::cluster::{check, document, for_each};

/// What is laid over a good spec, and what the server must say of it.
pub struct Case {
    pub kind: &'static str,
    /// Laid over the spec; null takes a field away.
    pub change: Value,
    /// Parts of the message.
    pub says: &'static [&'static str],
}

pub fn case(kind: &'static str, change: Value, says: &'static [&'static str]) -> Case {
    Case { kind, change, says }
}

/// A spec that is accepted.
pub fn good(kind: &str) -> Value {
    match kind {
        "WorldStream" => json!({
            "profile": "there",
            "engineRunRoot": "s3://bucket/world",
            "startFrom": "2026-01-01T00:00:00Z",
        }),
        "StreamProfile" => json!({ "gate": { "url": "http://ig" } }),
        "ReadyTrigger" => json!({
            "profile": "there",
            "bus": { "kinesis": { "stream": "control" } },
            "store": { "root": "s3://bucket" },
            "scope": { "platformRunId": "platform_20260101T000000Z" },
        }),
        "StreamClock" => json!({
            "revision": 2,
            "effectiveAt": "2026-01-01T09:00:00.000000Z",
            "eventEpoch": "2026-01-01T00:00:00.000000Z",
            "wallEpoch": "2026-01-01T09:00:00.000000Z",
            "speedup": 60,
            "paused": false,
            "mode": "Going",
        }),
        _ => json!({
            "stream": "there",
            "output": "out_5B",
            "role": "Context",
            "lane": 0,
            "lanes": 1,
            "platformRunId": "platform_20260101T000000Z",
        }),
    }
}

/// Lays one value over another, as a merge patch does.
pub fn lay_over(base: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *base = change.clone();
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    for (name, value) in change {
        match value.is_null() {
            true => drop(base.as_object_mut().unwrap().shift_remove(name)),
            false => lay_over(&mut base[name.as_str()], value),
        }
    }
}

/// Tries each case, and the spec that it was made from.
pub fn refuse(cases: &[Case]) {
    for_each(cases, |case| {
        let mut spec = good(case.kind);
        lay_over(&mut spec, &case.change);
        let said = match check(&document(case.kind, "tried", spec)) {
            Ok(_) => return Err(format!("{} with {} was taken", case.kind, case.change)),
            Err(said) => said,
        };
        match case.says.iter().find(|part| !said.contains(**part)) {
            Some(part) => Err(format!("{}: expected {part:?} in: {said}", case.change)),
            None => Ok(()),
        }
    });
}

#[test]
fn what_the_cases_are_made_from_is_taken() {
    for kind in [
        "WorldStream",
        "StreamProfile",
        "StreamClock",
        "StreamCheckpoint",
        "ReadyTrigger",
    ] {
        let taken = check(&document(kind, "tried", good(kind)));
        taken.unwrap_or_else(|said| panic!("{kind}: {said}"));
    }
}

#[test]
fn streams() {
    let stream = |change, says| case("WorldStream", change, says);
    let step = |start: f64, eps: f64| json!({ "start_offset_seconds": start, "target_eps": eps, "burst_seconds": 1 });
    let mut cases = vec![
        stream(
            json!({ "profile": null }),
            &["spec.profile: Required value"],
        ),
        stream(
            json!({ "profile": "" }),
            &["spec.profile", "at least 1 chars"],
        ),
        stream(
            json!({ "engineRunRoot": null }),
            &["spec.engineRunRoot: Required value"],
        ),
        stream(
            json!({ "engineRunRoot": "" }),
            &["spec.engineRunRoot", "at least 1 chars"],
        ),
        stream(
            json!({ "engineRunRoot": "x".repeat(3000) }),
            &["spec.engineRunRoot", "2048"],
        ),
        stream(
            json!({ "engineRoot": "x" }),
            &["unknown field \"spec.engineRoot\""],
        ),
        stream(
            json!({ "lanes": { "number": 2 } }),
            &["unknown field \"spec.lanes.number\""],
        ),
        stream(json!({ "scenario": "" }), &["spec.scenario"]),
        stream(
            json!({ "scenario": "a/b" }),
            &["spec.scenario", "without slashes"],
        ),
        stream(
            json!({ "scenario": "a\\b" }),
            &["spec.scenario", "without slashes"],
        ),
        stream(
            json!({ "trafficMode": "both" }),
            &["spec.trafficMode", "\"fraud\", \"baseline\""],
        ),
        stream(json!({ "outputs": "out" }), &["spec.outputs", "array"]),
        stream(
            json!({ "outputs": ["a", "a"] }),
            &["spec.outputs[1]: Duplicate value"],
        ),
        stream(
            json!({ "outputs": ["a b"] }),
            &["spec.outputs[0]", "letters, digits"],
        ),
        stream(json!({ "outputs": [""] }), &["spec.outputs[0]"]),
        stream(json!({ "outputs": vec!["a"; 65] }), &["spec.outputs", "64"]),
        stream(
            json!({ "platformRunId": "platform_2026" }),
            &["spec.platformRunId", "^platform_[0-9]{8}T[0-9]{6}Z$"],
        ),
        stream(
            json!({ "scenarioRunId": "AB".repeat(16) }),
            &["spec.scenarioRunId", "^[0-9a-f]{32}$"],
        ),
        stream(json!({ "speedup": "fast" }), &["spec.speedup", "number"]),
        stream(
            json!({ "startFrom": "yesterday" }),
            &["spec.startFrom", "date-time"],
        ),
        stream(
            json!({ "until": "2026-01-01T00:00:00Z" }),
            &["spec.until", "expected a time after startFrom"],
        ),
        stream(
            // Earlier, although its text is greater.
            json!({ "until": "2026-01-01T01:00:00+02:00" }),
            &["spec.until", "expected a time after startFrom"],
        ),
        stream(
            json!({ "maxEventsPerOutput": 0 }),
            &["spec.maxEventsPerOutput", "greater than or equal to 1"],
        ),
        stream(
            json!({ "maxEventsPerOutput": 1.5 }),
            &["spec.maxEventsPerOutput", "integer"],
        ),
        stream(
            json!({ "lanes": {} }),
            &["spec.lanes.count: Required value"],
        ),
        stream(
            json!({ "lanes": { "count": 0 } }),
            &["spec.lanes.count", "equal to 1"],
        ),
        stream(
            json!({ "lanes": { "count": 65 } }),
            &["spec.lanes.count", "equal to 64"],
        ),
        stream(
            json!({ "lanes": { "count": 2, "only": 2 } }),
            &["spec.lanes.only", "from 0 and below count"],
        ),
        stream(json!({ "inFlight": 0 }), &["spec.inFlight", "equal to 1"]),
        stream(
            json!({ "inFlight": 257 }),
            &["spec.inFlight", "equal to 256"],
        ),
        stream(
            json!({ "ratePlan": [{ "start_offset_seconds": 0, "burst_seconds": 1 }] }),
            &["spec.ratePlan[0].target_eps: Required value"],
        ),
        stream(
            json!({ "ratePlan": [step(0.0, 0.0)] }),
            &["ratePlan[0].target_eps", "more than 0"],
        ),
        stream(
            json!({ "ratePlan": [step(0.0, -1.0)] }),
            &["ratePlan[0].target_eps", "equal to 0"],
        ),
        stream(
            json!({ "ratePlan": [step(-1.0, 1.0)] }),
            &["ratePlan[0].start_offset_seconds", "equal to 0"],
        ),
        stream(
            json!({ "ratePlan": [step(60.0, 1.0), step(0.0, 1.0)] }),
            &["spec.ratePlan", "start after the one before it"],
        ),
        stream(
            json!({ "ratePlan": [step(0.0, 1.0), step(0.0, 2.0)] }),
            &["spec.ratePlan", "start after the one before it"],
        ),
        stream(
            json!({ "attempt": "a|b" }),
            &["spec.attempt", "without a bar"],
        ),
        stream(
            json!({ "attempt": "x".repeat(129) }),
            &["spec.attempt", "128"],
        ),
        stream(
            json!({ "overload": "Drop" }),
            &["spec.overload", "\"Hold\", \"CatchUp\", \"Fail\""],
        ),
        stream(json!({ "maxLag": "5" }), &["spec.maxLag", "(ms|s|m|h)"]),
        stream(json!({ "maxLag": "0s" }), &["spec.maxLag", "more than 0"]),
        stream(
            json!({ "onOutputFailure": "Stop" }),
            &["spec.onOutputFailure", "StopAll"],
        ),
        stream(json!({ "paused": "yes" }), &["spec.paused", "boolean"]),
        stream(json!({ "retry": -1 }), &["spec.retry", "equal to 0"]),
        stream(
            json!({ "ttlAfterFinished": "1 day" }),
            &["spec.ttlAfterFinished", "(ms|s|m|h)"],
        ),
    ];
    // A text where there should be another for each field that is no text.
    for field in ["lanes", "ratePlan", "inFlight", "suspend"] {
        cases.push(stream(
            json!({ field: "text" }),
            &["spec.", "must be of type"],
        ));
    }
    refuse(&cases);
}

#[test]
fn a_stream_with_a_name_that_is_no_label() {
    let long = "a".repeat(64);
    let said = check(&document("WorldStream", &long, good("WorldStream"))).unwrap_err();
    assert!(
        said.contains("metadata.name: expected at most 63 characters"),
        "{said}"
    );
    let most = "a".repeat(63);
    check(&document("WorldStream", &most, good("WorldStream"))).unwrap();
}

#[test]
fn clocks_and_checkpoints() {
    let clock = |change, says| case("StreamClock", change, says);
    let checkpoint = |change, says| case("StreamCheckpoint", change, says);
    let entry = json!({ "revision": 1, "change": "Started", "speedup": 1, "by": "me" });
    refuse(&[
        clock(json!({ "revision": -1 }), &["spec.revision", "equal to 0"]),
        clock(
            json!({ "effectiveAt": null }),
            &["spec.effectiveAt", "is missing"],
        ),
        clock(
            json!({ "wallEpoch": null }),
            &["spec.eventEpoch", "needs eventEpoch and wallEpoch"],
        ),
        clock(json!({ "speedup": -1 }), &["spec.speedup", "equal to 0"]),
        clock(json!({ "mode": "Running" }), &["spec.mode", "Settling"]),
        clock(
            json!({ "previous": { "revision": 2 } }),
            &["spec.previous", "an earlier revision"],
        ),
        clock(
            json!({ "ledger": vec![entry; 33] }),
            &["spec.ledger", "at most 32"],
        ),
        clock(
            json!({ "ledger": [{ "change": "Jumped" }] }),
            &["spec.ledger[0].change", "Released"],
        ),
        checkpoint(json!({ "lane": 1 }), &["spec.lane", "a lane below lanes"]),
        checkpoint(json!({ "lanes": 65 }), &["spec.lanes", "equal to 64"]),
        checkpoint(json!({ "output": null }), &["spec.output: Required value"]),
        checkpoint(
            json!({ "role": "Truth" }),
            &["spec.role", "\"Context\", \"Traffic\""],
        ),
        checkpoint(
            json!({ "platformRunId": "run-1" }),
            &["spec.platformRunId", "^platform_"],
        ),
    ]);
}
