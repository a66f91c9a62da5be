//! `worldstream validate`: each run passes where the platform works, leaves its report and its two
//! session events, and says what does not hold where it does not.

use std::path::Path;

use serde_json::Value;
use worldstream::devgate::{GateConfig, spawn};
use worldstream_tests::{Finished, json_lines, run};

const RUN: &str = "platform_20260304T050607Z";

fn validate(dir: &Path, args: &[&str]) -> Finished {
    let dir = dir.display().to_string();
    run(["--json", "validate"])
        .args(args)
        .args(["--dir", &dir, "--platform-run-id", RUN])
        .finish()
}

/// The run's own folder in the store.
fn place(dir: &Path) -> std::path::PathBuf {
    dir.join(RUN).join("store/fraud-platform").join(RUN)
}

/// A validation that must pass; its report, which must be that in the store, too.
fn passes(dir: &Path, args: &[&str]) -> Value {
    let ended = validate(dir, args);
    let report: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    assert_eq!(ended.code, Some(0), "{report:#}\n{}", ended.stderr);
    assert_eq!(report["ok"], true);
    let kept = place(dir)
        .join("wsp/validation")
        .join(format!("{}.json", args[0]));
    let kept: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    assert_eq!(kept, report);
    let text = place(dir)
        .join("wsp/validation")
        .join(format!("{}.txt", args[0]));
    let text = std::fs::read_to_string(text).unwrap();
    assert!(text.contains("\nPASSED: "), "{text}");
    let events: Vec<Value> = json_lines(&place(dir).join("session.jsonl"));
    let kinds: Vec<&str> = events
        .iter()
        .map(|it| it["event_kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"validation_start"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"validation_complete"), "{kinds:?}");
    let details = &events.last().unwrap()["details"];
    assert_eq!(details["reason"], Value::Null, "{details}");
    report
}

#[test]
fn smoke_and_completion_pass_with_everything_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let smoke = passes(&dir.path().join("smoke"), &["smoke", "--events", "50"]);
    let completion = passes(&dir.path().join("completion"), &["completion"]);
    let of = |report: &Value, name: &str| {
        let all = report["checks"].as_array().unwrap();
        let found = all.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {report:#}"))["found"].clone()
    };
    // Four outputs; the sample has 2,000 rows of traffic and 1,000 of each context.
    assert_eq!(of(&smoke, "events that were sent"), "200");
    assert_eq!(of(&completion, "events that were sent"), "5000");
}

#[test]
fn every_reason_code_that_can_be_reached_is_provoked() {
    let dir = tempfile::tempdir().unwrap();
    let report = passes(dir.path(), &["failures"]);
    let names: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    let left: Vec<&str> = report["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["name"].as_str().unwrap())
        .collect();
    for reason in worldstream_crds::Reason::ALL {
        let code = reason.as_str();
        let provoked = names
            .iter()
            .any(|name| name.starts_with(&format!("{code}: ")));
        assert!(provoked != left.contains(&code), "{code}");
    }
    assert!(names.len() >= 50, "{}", names.len());
}

/// What does not hold is in the report, in the exit code and in the session's last event.
#[test]
fn a_gate_that_lets_nobody_in_fails_the_smoke_run() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "the-only-key\n").unwrap();
    let gate = spawn(GateConfig {
        api_keys: Some(keys),
        ..GateConfig::default()
    })
    .unwrap();
    let ended = validate(dir.path(), &["smoke", "--gate-url", &gate.url()]);
    assert_eq!(ended.code, Some(10), "{ended:#?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let said = report.to_string();
    assert!(said.contains("IG_PUSH_REJECTED"), "{said}");
    let events: Vec<Value> = json_lines(&place(dir.path()).join("session.jsonl"));
    let last = events.last().unwrap();
    assert_eq!(last["event_kind"], "validation_complete");
    assert_eq!(last["details"]["reason"], "STREAM_FAILED", "{last}");
}

#[test]
fn a_run_that_is_none_is_a_mistake_of_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().display().to_string();
    let ended = run([
        "validate",
        "smoke",
        "--platform-run-id",
        "today",
        "--dir",
        &dir,
    ])
    .finish();
    let ended = ended.expect(2);
    assert!(
        ended.stderr.contains("platform_YYYYMMDDTHHMMSSZ"),
        "{ended:#?}"
    );
    let ended = run(["validate", "smoke", "--profile", "staging", "--dir", &dir]).finish();
    assert!(ended.expect(2).stderr.contains("staging"));
}
