//! What a person sees: samples that are taken, columns, short names, `kubectl explain`.

use serde_json::{Value, json};
use worldstream_tests::repository;

use crate::cluster::{create, document, kubectl, patch};

/// Every YAML file below a folder.
fn yaml_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(yaml_files(&path)),
            false if path.extension().is_some_and(|it| it == "yaml") => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

#[test]
fn samples_and_profiles_are_taken_as_they_are() {
    let mut kinds = std::collections::BTreeSet::new();
    for folder in ["config/samples", "config/profiles"] {
        let files = yaml_files(&repository().join(folder));
        assert!(files.len() > 3, "{folder}");
        for file in files {
            let file = file.display().to_string();
            // With a server that knows the types there is nothing to warn of.
            let args = [
                "apply",
                "--server-side",
                "--validate=strict",
                "--warnings-as-errors",
                "-f",
                &file,
                "-o",
                "jsonpath={.kind} ",
            ];
            let said = kubectl(&args, None).unwrap_or_else(|said| panic!("{file}: {said}"));
            kinds.extend(said.split_whitespace().map(str::to_owned));
            // The second time there is nothing to change.
            kubectl(&args, None).unwrap_or_else(|said| panic!("{file} again: {said}"));
        }
    }
    let expected = [
        "ReadyTrigger",
        "StreamCheckpoint",
        "StreamClock",
        "StreamProfile",
        "WorldStream",
    ];
    assert!(
        expected.iter().all(|kind| kinds.contains(*kind)),
        "{kinds:?}"
    );
}

#[test]
fn definitions_are_established_and_warn_of_nothing() {
    let said = kubectl(&["get", "crd", "-o", "json"], None).unwrap();
    let list: Value = serde_json::from_str(&said).unwrap();
    let ours: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|crd| crd["spec"]["group"] == "worldstream.io")
        .collect();
    assert_eq!(ours.len(), 5);
    for crd in ours {
        for condition in crd["status"]["conditions"].as_array().unwrap() {
            let bad = ["NonStructuralSchema", "NamesAccepted", "Established"]
                .iter()
                .find(|known| condition["type"] == **known)
                .map(|known| *known == "NonStructuralSchema");
            if let Some(bad) = bad {
                let expected = if bad { "False" } else { "True" };
                assert_eq!(condition["status"], expected, "{condition:#}");
            }
        }
    }
    for file in yaml_files(&repository().join("crds")) {
        let file = file.display().to_string();
        kubectl(
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--warnings-as-errors",
                "-f",
                &file,
            ],
            None,
        )
        .unwrap_or_else(|said| panic!("{file}: {said}"));
    }
}

#[test]
fn columns_show_a_stream_as_it_is() {
    create(&document(
        "WorldStream",
        "shown",
        json!({ "profile": "replay", "engineRunRoot": "s3://bucket/world-q" }),
    ));
    let condition = |kind: &str, reason: &str| {
        json!({ "type": kind, "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-02-01T09:00:00Z" })
    };
    let status = json!({ "status": {
        "phase": "Running",
        "conditions": [condition("Accepted", "Valid"), condition("Ready", "Streaming")],
        "speedup": 3600,
        "eventTime": "2026-01-03T04:05:06.000000Z",
        "percent": 42,
        "lag": "1s250ms",
        "outputsFinished": "1/4",
        "platformRunId": "platform_20260101T000000Z",
        "scenarioRunId": "ab".repeat(16),
        "world": { "scenario": "stress_v3", "packKey": "k", "engineRunId": "r", "root": "x" },
        "outputs": [{ "output": "a" }, { "output": "b" }],
    } });
    patch("ws/shown", true, false, &status).unwrap();
    let narrow = kubectl(&["get", "worldstreams", "shown"], None).unwrap();
    let wide = kubectl(&["get", "ws", "shown", "-o", "wide"], None).unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<&str> = narrow.lines().collect();
    assert_eq!(
        words(lines[0]).join(" "),
        "NAME PHASE WORLD SPEED EVENT TIME PERCENT LAG AGE"
    );
    let row = words(lines[1]);
    assert_eq!(
        row[..7],
        [
            "shown",
            "Running",
            "s3://bucket/world-q",
            "3600",
            "2026-01-03T04:05:06.000000Z",
            "42",
            "1s250ms"
        ]
    );
    let lines: Vec<&str> = wide.lines().collect();
    assert!(
        words(lines[0])
            .join(" ")
            .ends_with("AGE REASON SCENARIO PLATFORM RUN SCENARIO RUN OUTPUTS"),
        "{wide}"
    );
    let scenario_run = "ab".repeat(16);
    assert_eq!(
        words(lines[1])[8..],
        [
            "Streaming",
            "stress_v3",
            "platform_20260101T000000Z",
            &scenario_run,
            "1/4"
        ]
    );
    // By phase and profile, without a label.
    for selector in ["status.phase=Running", "spec.profile=replay"] {
        let found = kubectl(
            &["get", "ws", "-o", "name", "--field-selector", selector],
            None,
        );
        assert!(found.unwrap().contains("/shown"), "{selector}");
    }
    // An output that is there twice is no report.
    let twice = json!({ "status": { "outputs": [{ "output": "a" }, { "output": "a" }] } });
    let said = patch("ws/shown", true, true, &twice).unwrap_err();
    assert!(
        said.contains("status.outputs[1]: Duplicate value"),
        "{said}"
    );
}

#[test]
fn columns_show_a_trigger_as_it_is() {
    create(&document(
        "ReadyTrigger",
        "shown",
        crate::refused::good("ReadyTrigger"),
    ));
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Following", "message": "",
        "lastTransitionTime": "2026-02-01T09:00:00Z" });
    let status = json!({ "status": {
        "conditions": [ready],
        "bus": "kinesis:control",
        "scope": "platform_20260101T000000Z",
        "position": "{\"shard-0\": \"42\"}",
        "active": 2,
        "waiting": 3,
        "counts": { "seen": 70, "started": 41, "streamed": 39, "skipped": 9, "deferred": 8,
            "failed": 6, "invalid": 5 },
        "newest": { "messageId": "m", "publishedAt": "2026-01-03T04:05:06Z" },
        "last": [{ "messageId": "m", "status": "STREAMED", "worldStream": "shown-m-1" }],
    } });
    patch("rt/shown", true, false, &status).unwrap();
    let narrow = kubectl(&["get", "readytriggers", "shown"], None).unwrap();
    let wide = kubectl(&["get", "rt", "shown", "-o", "wide"], None).unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<&str> = narrow.lines().collect();
    assert_eq!(
        words(lines[0]).join(" "),
        "NAME READY BUS SCOPE ACTIVE SEEN STARTED DEFERRED FAILED NEWEST AGE"
    );
    assert_eq!(
        words(lines[1])[..9],
        [
            "shown",
            "True",
            "kinesis:control",
            "platform_20260101T000000Z",
            "2",
            "70",
            "41",
            "3",
            "6"
        ]
    );
    let lines: Vec<&str> = wide.lines().collect();
    let row = words(lines[1]);
    assert_eq!(
        row[row.len() - 6..],
        ["Following", "there", "false", "9", "5", "shown-m-1"],
        "{wide}"
    );
    // The eleventh message is one too many, and one reason has one count.
    let many: Vec<Value> = (0..11)
        .map(|it| json!({ "messageId": it.to_string() }))
        .collect();
    let said = patch(
        "rt/shown",
        true,
        true,
        &json!({ "status": { "last": many } }),
    )
    .unwrap_err();
    assert!(said.contains("status.last"), "{said}");
    let twice = json!({ "reason": "RUN_FACTS_INVALID", "count": 1 });
    let twice = json!({ "status": { "failedByReason": [twice, twice] } });
    let said = patch("rt/shown", true, true, &twice).unwrap_err();
    assert!(said.contains("Duplicate value"), "{said}");
}

#[test]
fn short_names_and_the_category_lead_to_each_kind() {
    let said = kubectl(
        &["api-resources", "--api-group=worldstream.io", "-o", "wide"],
        None,
    )
    .unwrap();
    for (short, kind) in [
        ("ws", "WorldStream"),
        ("sp", "StreamProfile"),
        ("sclk", "StreamClock"),
        ("sckpt", "StreamCheckpoint"),
        ("rt", "ReadyTrigger"),
    ] {
        let line = said
            .lines()
            .find(|line| line.split_whitespace().any(|word| word == kind));
        let line = line.unwrap_or_else(|| panic!("no {kind} in {said}"));
        assert!(line.split_whitespace().any(|word| word == short), "{line}");
        assert!(line.ends_with("worldstream-all"), "{line}");
        // Each form of its name means this kind alone, with the name of an object behind it, too.
        for form in [
            kind.to_lowercase(),
            format!("{}s", kind.to_lowercase()),
            short.to_owned(),
        ] {
            let refused = kubectl(&["get", &form, "nobody"], None)
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("\"nobody\" not found"),
                "{form}: {refused}"
            );
        }
    }
    let all = kubectl(&["get", "worldstream-all"], None);
    assert!(all.is_ok(), "{all:?}");
}

/// Every field that there is, however deep: named, with its type and a sentence.
#[test]
fn explain_teaches_every_field() {
    for (kind, known) in [
        (
            "worldstream.spec",
            vec![
                "engineRunRoot",
                "-required-",
                "3600 an hour a second",
                "`platform_20260101T000000Z`",
            ],
        ),
        (
            "worldstream.spec.ratePlan",
            vec!["target_eps", "Events a second"],
        ),
        (
            "worldstream.status.outputs",
            vec!["quarantined", "put aside"],
        ),
        (
            "streamprofile.spec.gate",
            vec!["no header", "unavailableFor"],
        ),
        (
            "streamprofile.spec.worker.podTemplate",
            vec!["tolerations", "priority class"],
        ),
        (
            "streamclock.spec",
            vec!["effectiveAt", "RFC 3339", "ledger"],
        ),
        (
            "streamcheckpoint.status",
            vec!["cursor", "epoch", "holderUid"],
        ),
        (
            "readytrigger.spec",
            vec![
                "concurrencyPolicy",
                "historyLimit",
                "control bus",
                "-required-",
            ],
        ),
        (
            "readytrigger.status.counts",
            vec!["SKIPPED_OUT_OF_SCOPE", "deferred"],
        ),
        (
            "streamprofile.spec.ready.downstream",
            vec!["requireActiveRunMatch", "condition", "state.json"],
        ),
    ] {
        // Explained in full, so that what is below is there as well.
        let parts: Vec<&str> = kind.split('.').collect();
        let said = kubectl(&["explain", &parts.join(".")], None).unwrap();
        let one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in known {
            assert!(
                one_line.contains(word),
                "{kind}: expected {word:?} in {said}"
            );
        }
        assert!(!said.contains("<no description>"), "{said}");
    }
    for kind in [
        "worldstream",
        "streamprofile",
        "streamclock",
        "streamcheckpoint",
        "readytrigger",
    ] {
        let said = kubectl(&["explain", kind, "--recursive"], None).unwrap();
        assert!(
            said.contains("spec\t<") && said.lines().count() > 20,
            "{said}"
        );
    }
}
