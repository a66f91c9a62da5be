//! Every golden message: what becomes of it, its records, governance facts and session events, are
//! the reference's but for their times, and world-a is streamed for real.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use worldstream_tests::inside::lines;
use worldstream_tests::{Exact, PLATFORM_RUN_ID, golden};

use super::bed::{ARRIVALS, Bed, FRAUD, WORLD, json_files, said};

fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(golden().join("ready/cases.json")).unwrap();
    serde_json::from_str(&text.replace("$WORLD", WORLD)).unwrap()
}

/// Runs a case from nothing; gives the bed and the results.
fn play(case: &Value) -> (Bed, Vec<Value>) {
    let mut bed = Bed::new();
    match &case["configured_run_root"] {
        Value::Null => drop(bed.trigger.as_object_mut().unwrap().remove("engineRunRoot")),
        root => bed.trigger["engineRunRoot"] = root.clone(),
    }
    if !case["facts"].is_null() {
        let path = bed.store().join(case["facts_ref"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, case["facts"].to_string()).unwrap();
    }
    let message = match &case["message"] {
        Value::String(text) => text.clone(),
        message => message.to_string(),
    };
    let times = case["results"].as_array().unwrap().len().max(1);
    for time in 0..times {
        bed.publish(&format!("{time}"), &message);
    }
    let finished = bed.once();
    let results: Vec<Value> = said(&finished)
        .iter()
        .filter(|it| it["status"] != "INVALID" && it["status"] != "OTHER_TOPIC")
        .map(|it| json!({"status": it["status"], "reason": it["reason"], "emitted": it["emitted"]}))
        .collect();
    let failed = results.iter().any(|it| it["status"] == "FAILED");
    finished.expect(if failed { 10 } else { 0 });
    (bed, results)
}

/// The records below a store, as the golden data has them.
fn records(store: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    for run in runs(store) {
        let folder = format!("fraud-platform/{run}/wsp/ready_runs");
        let Ok(listed) = std::fs::read_dir(store.join(&folder)) else {
            continue;
        };
        for entry in listed {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".jsonl") {
                continue;
            }
            for line in lines(&store.join(&folder).join(&name)) {
                let mut record: Value = serde_json::from_str(&line).unwrap();
                timeless(&mut record);
                record["path"] = json!(format!("{folder}/{name}"));
                found.push(record);
            }
        }
    }
    found
}

fn governance(store: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    for run in runs(store) {
        let folder = format!("fraud-platform/{run}/obs/governance/events");
        for (name, mut fact) in json_files(&store.join(&folder)) {
            assert_eq!(name, format!("{}.json", fact["event_id"].as_str().unwrap()));
            timeless(&mut fact);
            fact["folder"] = json!(folder);
            found.push(fact);
        }
    }
    found
}

fn runs(store: &Path) -> Vec<String> {
    let Ok(listed) = std::fs::read_dir(store.join("fraud-platform")) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = listed
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn timeless(document: &mut Value) {
    let time = document["ts_utc"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 27, "{time}");
    document["ts_utc"] = json!("*");
}

fn by_text(mut values: Vec<Value>) -> Vec<Value> {
    let text = |value: &Value| -> String {
        let sorted: BTreeMap<_, _> = value.as_object().unwrap().iter().collect();
        serde_json::to_string(&sorted).unwrap()
    };
    values.sort_by_key(text);
    values
}

#[test]
fn every_message_becomes_what_the_reference_makes_of_it() {
    let cases = cases();
    assert_eq!(cases.len(), 19);
    std::thread::scope(|scope| {
        for part in 0..3 {
            let cases = &cases;
            scope.spawn(move || {
                for case in cases.iter().skip(part).step_by(3) {
                    check(case);
                }
            });
        }
    });
}

fn check(case: &Value) {
    let name = case["case"].as_str().unwrap();
    let (bed, results) = play(case);
    assert_eq!(json!(results), case["results"], "{name}");
    let listed = |field: &str| case[field].as_array().unwrap().clone();
    let (found, expected) = (records(&bed.store()), listed("records"));
    assert_eq!(by_text(found), by_text(expected), "{name}");
    let (found, expected) = (governance(&bed.store()), listed("governance"));
    assert_eq!(by_text(found), by_text(expected), "{name}");
    let streamed = results.iter().any(|it| it["status"] == "STREAMED");
    let sent = bed.admitted();
    if !streamed {
        assert_eq!(bed.arrivals().len(), 0, "{name}");
        return;
    }
    // All of world-a, once.
    assert_eq!(bed.arrivals().len(), 240, "{name}");
    for output in [ARRIVALS, FRAUD] {
        let expected: Vec<_> = lines(&golden().join(format!("expected/world-a/{output}.jsonl")))
            .iter()
            .map(|line| Exact::parse(line))
            .collect();
        let found: Vec<_> = sent
            .iter()
            .map(|line| Exact::parse(line))
            .filter(|event| event.get("event_type").text() == output)
            .collect();
        assert_eq!(found, expected, "{name} {output}");
    }
    session(&bed, case);
}

/// What a message says of its own provenance is never taken.
#[test]
fn provenance_is_the_consumers_own_and_never_the_messages() {
    let mut bed = Bed::capped();
    let own = json!({
        "service_release_id": "worldstream-7", "environment": "dev", "config_revision": "3f2a91c",
    });
    bed.trigger["provenance"] = json!({
        "serviceReleaseId": "worldstream-7", "environment": "dev", "configRevision": "3f2a91c",
    });
    let mut message = super::bed::Message::new(1);
    let payload = &mut message.message["payload"];
    payload["service_release_id"] = json!("sr-9");
    payload["environment"] = json!("prod");
    payload["provenance"] = json!({"service_release_id": "sr-9", "environment": "prod"});
    bed.announce(&message);
    bed.once().expect(0);
    let facts = bed.facts();
    assert_eq!(facts.len(), 3);
    for fact in facts.values() {
        assert_eq!(fact["provenance"], own, "{fact:#}");
    }
}

fn session(bed: &Bed, case: &Value) {
    let text = std::fs::read_to_string(golden().join("ready/session_events.json")).unwrap();
    let mut golden: Value = serde_json::from_str(&text.replace("$WORLD", WORLD)).unwrap();
    golden["ready_received"]["details"]["message_id"] = case["message"]["message_id"].clone();
    let mut found = bed.session();
    for event in &mut found {
        timeless(event);
        assert_eq!(event["platform_run_id"], PLATFORM_RUN_ID);
    }
    let kinds: Vec<_> = found.iter().map(|it| it["event_kind"].clone()).collect();
    let firsts = ["ready_received", "engine_world_selected", "stream_start"];
    assert_eq!(json!(kinds[..3]), json!(firsts));
    let lasts = ["engine_world_streamed", "stream_complete"];
    assert_eq!(json!(kinds[kinds.len() - 2..]), json!(lasts));
    for (kind, expected) in golden.as_object().unwrap() {
        let same = found.iter().filter(|it| *it == expected).count();
        assert_eq!(same, 1, "{kind}: {found:#?}");
    }
    // Cursors at 50, 100 and the end of each output: not at every event.
    let saves = kinds.iter().filter(|kind| **kind == "checkpoint_saved");
    assert!((4..=8).contains(&saves.count()), "{kinds:?}");
}
