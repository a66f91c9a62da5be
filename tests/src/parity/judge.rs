//! What a run left, held against what must be: envelopes to the byte, receipts, the record,
//! governance facts, the session log, cursors, and what the resources say. Pure.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use worldstream::validate::Checks;

use super::Options;
use super::expected::{Expected, text};
use super::platform::{Left, SCENARIO, SCENARIO_RUN_ID, WORLD};

/// Everything that one run must leave.
pub fn judge(
    expected: &Expected,
    left: &Left,
    message: &str,
    options: &Options,
    checks: &mut Checks,
) {
    envelopes(expected, left, checks);
    stream(expected, left, checks);
    receipts(expected, left, checks);
    record(expected, left, message, checks);
    facts(expected, left, message, options, checks);
    session(left, checks);
    story(expected, left, checks);
    cursors(expected, left, checks);
    trigger(left, message, checks);
}

/// A repeat of the message changes nothing but what counts messages.
pub fn after_a_repeat(before: &Left, after: &Left, checks: &mut Checks) {
    checks.equal(
        "events at the gate after a repeat",
        after.lines,
        before.lines,
    );
    let streams = |left: &Left| left.gate["pushes"].to_string();
    checks.equal("pushes after a repeat", streams(after), streams(before));
    checks.holds(
        "objects after a repeat",
        before.objects == after.objects,
        format!("{} objects, to the byte as before", after.objects.len()),
    );
}

fn envelopes(expected: &Expected, left: &Left, checks: &mut Checks) {
    checks.equal(
        "events that the gate admitted",
        left.lines,
        expected.envelopes.len(),
    );
    checks.equal(
        "different events among them",
        left.admitted.len(),
        expected.envelopes.len(),
    );
    let count = |field: &str| left.gate[field].as_u64().unwrap_or(u64::MAX);
    checks.equal("events that the gate put aside", count("quarantined"), 0);
    let other = expected
        .envelopes
        .iter()
        .find(|(key, bytes)| left.admitted.get(*key) != Some(bytes));
    let found = match other {
        None => format!("{} envelopes, equal to the byte", left.admitted.len()),
        Some((key, bytes)) => format!(
            "{}: {} is {:?}, in process {bytes}",
            key.0,
            key.1,
            left.admitted.get(key)
        ),
    };
    checks.holds("every envelope as in process", other.is_none(), found);
}

fn stream(expected: &Expected, left: &Left, checks: &mut Checks) {
    let (spec, status) = (&left.stream["spec"], &left.stream["status"]);
    checks.equal(
        "the WorldStream's phase",
        text(&status["phase"]),
        "Completed".into(),
    );
    checks.equal("its percent", status["percent"].to_string(), "100".into());
    checks.equal("its world", text(&spec["engineRunRoot"]), WORLD.into());
    let run = text(&spec["scenarioRunId"]);
    checks.equal("its scenario run", run, SCENARIO_RUN_ID.into());
    let finalizers = &left.stream["metadata"]["finalizers"];
    checks.equal(
        "its finalizers, when its record is written",
        finalizers.to_string(),
        "null".into(),
    );
    for output in status["outputs"].as_array().into_iter().flatten() {
        let (name, receipt) = (text(&output["output"]), &output["receipt"]);
        let own = expected.receipts.get(&name).cloned().unwrap_or_default();
        for field in ["rows", "admitted", "duplicate", "quarantined"] {
            let what = format!("{name}: {field} in the status");
            checks.equal(what, receipt[field].to_string(), own[field].to_string());
        }
        let digest = receipt["digests"][0].to_string();
        checks.equal(
            format!("{name}: chained digest"),
            digest,
            own["digest"].to_string(),
        );
    }
    let outputs = status["outputs"].as_array().map_or(0, Vec::len);
    checks.equal("outputs in its status", outputs, expected.receipts.len());
}

fn receipts(expected: &Expected, left: &Left, checks: &mut Checks) {
    for (output, own) in &expected.receipts {
        let at = format!("wsp/receipts/{output}.json");
        let found: Value = json_of(left.objects.get(&at));
        for field in [
            "rows",
            "admitted",
            "digest",
            "outcome",
            "pack_key",
            "scope_key",
        ] {
            let what = format!("{output}: {field} of the receipt in the store");
            checks.equal(what, found[field].to_string(), own[field].to_string());
        }
    }
}

fn record(expected: &Expected, left: &Left, message: &str, checks: &mut Checks) {
    let at = format!("wsp/ready_runs/{message}.jsonl");
    let text = left.objects.get(&at).cloned().unwrap_or_default();
    checks.equal("records of the message", text.lines().count(), 1);
    let mut found = json_of(text.lines().next().map(str::to_owned).as_ref());
    found["ts_utc"] = json!("*");
    let must = json!({
        "emitted": expected.envelopes.len(),
        "engine_run_root": WORLD,
        "message_id": message,
        "reason": null,
        "run_id": SCENARIO_RUN_ID,
        "scenario_id": SCENARIO,
        "status": "STREAMED",
        "ts_utc": "*",
    });
    checks.equal(
        "the record",
        found.to_string(),
        ordered(&found, must).to_string(),
    );
}

/// The fields of `value` in the order of those of `like`, so that texts can be compared.
fn ordered(like: &Value, value: Value) -> Value {
    let (Some(like), Value::Object(mut fields)) = (like.as_object(), value) else {
        return Value::Null;
    };
    let mut ordered = serde_json::Map::new();
    for name in like.keys() {
        if let Some(value) = fields.shift_remove(name) {
            ordered.insert(name.clone(), value);
        }
    }
    ordered.extend(fields);
    Value::Object(ordered)
}

fn facts(expected: &Expected, left: &Left, message: &str, options: &Options, checks: &mut Checks) {
    let folder = "obs/governance/events/";
    let all = left
        .objects
        .iter()
        .filter(|(name, _)| name.starts_with(folder));
    checks.equal("governance facts", all.count(), 3);
    for (family, key) in [
        ("RUN_READY_SEEN", format!("ready_seen:{message}")),
        ("RUN_STARTED", format!("started:{message}")),
        ("RUN_ENDED", format!("ended:{message}")),
    ] {
        let run = &options.platform_run_id;
        let source = format!("{family}|{run}|{SCENARIO_RUN_ID}|wsp_ready_consumer|{key}");
        let id = const_hex::encode(Sha256::digest(source));
        let fact = json_of(left.objects.get(&format!("{folder}{id}.json")));
        let what = |field: &str| format!("{family}: {field}");
        checks.equal(what("event_id"), text(&fact["event_id"]), id);
        checks.equal(
            what("event_family"),
            text(&fact["event_family"]),
            family.into(),
        );
        checks.equal(
            what("actor"),
            text(&fact["actor"]["actor_id"]),
            "svc:wsp_ready_consumer".into(),
        );
        let pins = &fact["pins"];
        let key = &expected.world;
        for (field, must) in [
            ("platform_run_id", run.clone()),
            ("scenario_run_id", SCENARIO_RUN_ID.into()),
            ("scenario_id", SCENARIO.into()),
            ("manifest_fingerprint", key.manifest_fingerprint.clone()),
            ("parameter_hash", key.parameter_hash.clone()),
            ("seed", key.seed.clone()),
        ] {
            checks.equal(what(&format!("pins.{field}")), text(&pins[field]), must);
        }
        let environment = text(&fact["provenance"]["environment"]);
        checks.equal(
            what("provenance.environment"),
            environment,
            "local_parity".into(),
        );
        if family == "RUN_ENDED" {
            let details = &fact["details"];
            checks.equal(what("status"), text(&details["status"]), "STREAMED".into());
            let emitted = expected.envelopes.len().to_string();
            checks.equal(what("emitted"), details["emitted"].to_string(), emitted);
        }
    }
}

fn session(left: &Left, checks: &mut Checks) {
    let logs = left.objects.iter().filter(|(name, _)| {
        name.starts_with("session") && name.ends_with(".jsonl") && !name.contains('/')
    });
    let kinds: Vec<String> = logs
        .flat_map(|(_, text)| text.lines())
        .map(|line| json_of(Some(&line.to_owned())))
        .map(|event| text(&event["event_kind"]))
        .collect();
    for kind in [
        "ready_received",
        "engine_world_selected",
        "stream_start",
        "checkpoint_saved",
        "engine_world_streamed",
        "stream_complete",
    ] {
        let times = kinds.iter().filter(|it| *it == kind).count();
        checks.holds(
            format!("session log: {kind}"),
            times > 0,
            format!("{times} times"),
        );
    }
}

/// `audit show` tells everything, each thing behind what it follows from.
fn story(expected: &Expected, left: &Left, checks: &mut Checks) {
    let entries = left.story["entries"].as_array();
    let told: Vec<(String, String, String)> = entries
        .into_iter()
        .flatten()
        .map(|it| (text(&it["source"]), text(&it["kind"]), text(&it["ts_utc"])))
        .collect();
    let times: Vec<&String> = told.iter().map(|(_, _, at)| at).collect();
    checks.holds(
        "the run's story is in the order of its times",
        times.is_sorted() && !times.is_empty(),
        format!("{} entries", told.len()),
    );
    let unread = left.story["unreadable"].as_array().map_or(1, Vec::len);
    checks.equal("what of it cannot be read", unread, 0);
    let receipts = told.iter().filter(|it| it.0 == "receipt").count();
    checks.equal("receipts in it", receipts, expected.receipts.len());
    // Each worker says of its own output when it begins and ends.
    let place = |kind: &str| match kind {
        "stream_complete" => told.iter().rposition(|it| it.1 == kind),
        _ => told.iter().position(|it| it.1 == kind),
    };
    let order = [
        "ready_received",
        "RUN_READY_SEEN",
        "RUN_STARTED",
        "engine_world_selected",
        "stream_start",
        "stream_complete",
        "RUN_ENDED",
        "STREAMED",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|kind| place(kind)).collect();
    checks.holds(
        "each step of the run in it, behind the one before",
        places.iter().all(Option::is_some) && places.is_sorted(),
        order
            .iter()
            .zip(&places)
            .map(|(kind, at)| format!("{kind} {}", at.map_or("absent".into(), |at| at.to_string())))
            .collect::<Vec<_>>()
            .join(", "),
    );
}

fn cursors(expected: &Expected, left: &Left, checks: &mut Checks) {
    let must: Vec<String> = expected
        .receipts
        .iter()
        .map(|(output, receipt)| format!("{output}|{}", receipt["cursor"]["last_row_index"]))
        .collect();
    checks.equal(
        "cursors in Postgres",
        left.cursors.join(" "),
        must.join(" "),
    );
}

fn trigger(left: &Left, message: &str, checks: &mut Checks) {
    let status = &left.trigger["status"];
    for (field, must) in [
        ("started", 1),
        ("streamed", 1),
        ("failed", 0),
        ("invalid", 0),
    ] {
        let found = status["counts"][field].as_u64().unwrap_or(0);
        checks.equal(format!("the trigger's count of {field}"), found, must);
    }
    let last = text(&status["last"][0]["messageId"]);
    checks.equal("its newest message", last, message.into());
}

fn json_of(text: Option<&String>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
