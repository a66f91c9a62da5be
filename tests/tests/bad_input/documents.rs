//! Documents, flags, files that they name, and credentials.

use std::fs;

use serde_json::json;

use super::bed::*;

const USAGE: &str = "USAGE";

pub fn add(cases: &mut Cases) {
    identities(cases);
    flags(cases);
    profiles(cases);
    streams(cases);
    credentials(cases);
    places(cases);
}

fn identities(cases: &mut Cases) {
    cases.add(
        "no platform run id",
        "PLATFORM_RUN_ID_MISSING",
        &["platformRunId", "platform_Y"],
        |it| {
            it.unflag("platform-run-id");
        },
    );
    for (name, flag, value) in [
        (
            "a platform run id of another form",
            "platform-run-id",
            "platform_2026",
        ),
        ("a platform run id that climbs", "platform-run-id", "../x"),
        ("a scenario run id that is no hex", "scenario-run-id", "xyz"),
        (
            "a scenario run id in capitals",
            "scenario-run-id",
            "ABABABABABABABABABABABABABABABAB",
        ),
        ("a scenario that climbs", "scenario", "../x"),
        ("an attempt with a bar", "attempt", "a|b"),
        ("an output with a slash", "output", "a/b"),
    ] {
        cases.add(name, USAGE, &[flag, "found", "expected"], move |it| {
            it.flag(flag, value)
        });
    }
    for (name, lanes, lane, words) in [
        ("no lanes", "0", None, "1 to 64"),
        ("too many lanes", "65", None, "1 to 64"),
        ("a lane beyond", "2", Some("2"), "from 0 to 1"),
    ] {
        cases.add(
            name,
            "WSP_LANE_CONFIG_INVALID",
            &["--lane", "found", words],
            move |it| {
                it.flag("lanes", lanes);
                if let Some(lane) = lane {
                    it.flag("lane", lane);
                }
            },
        );
    }
}

fn flags(cases: &mut Cases) {
    for (name, flag, value, words) in [
        (
            "a gate that is no URL",
            "gate-url",
            "ig.example.net",
            "http://",
        ),
        ("a gate by ftp", "gate-url", "ftp://ig", "http://"),
        (
            "a gate at port 0",
            "gate-url",
            "http://127.0.0.1:0",
            "http://",
        ),
        (
            "a password in the gate's URL",
            "gate-url",
            "http://me:hunter2@ig",
            "spec.gate.auth",
        ),
        ("no request in flight", "in-flight", "0", "1 to 256"),
        ("too many in flight", "in-flight", "257", "1 to 256"),
        (
            "a cap of nothing",
            "max-events-per-output",
            "0",
            "1 or more",
        ),
        ("no lag at all", "max-lag", "0s", "more than 0"),
        ("an endless speedup", "speedup", "inf", "finite"),
    ] {
        cases.add(name, USAGE, &[&format!("--{flag}"), words], move |it| {
            it.flag(flag, value)
        });
    }
    cases.add(
        "an end before the start",
        USAGE,
        &["--until", "after the start"],
        |it| {
            it.flag("start-from", "2026-01-02T00:00:00Z");
            it.flag("until", "2026-01-01T00:00:00Z");
        },
    );
    for (name, text, words) in [
        ("a rate plan that is empty", "", "documents"),
        ("a rate plan that is no list", "a: 1\n", "rate.yaml:1"),
        (
            "a rate plan of another field",
            "- {start_offset_seconds: 0, target_eps: 1, burst: 1}\n",
            "burst",
        ),
        (
            "a rate of nothing",
            "- {start_offset_seconds: 0, target_eps: 0, burst_seconds: 1}\n",
            "target_eps",
        ),
        (
            "a rate that is not finite",
            "- {start_offset_seconds: 0, target_eps: .nan, burst_seconds: 1}\n",
            "target_eps",
        ),
        (
            "rate steps in no order",
            "- {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}\n- {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}\n",
            "[1].start_offset_seconds",
        ),
    ] {
        cases.add(name, USAGE, &["rate.yaml", words], move |it| {
            let file = it.side("rate.yaml", text);
            it.flag("rate-plan", &file);
        });
    }
    cases.add(
        "no such rate plan",
        USAGE,
        &["absent.yaml", "cannot be read"],
        |it| {
            it.flag("rate-plan", "absent.yaml");
        },
    );
}

fn profiles(cases: &mut Cases) {
    for (name, path, value, words) in [
        (
            "an unknown field of the profile",
            "gatez",
            json!({}),
            "spec.gatez: unknown field",
        ),
        (
            "an unknown field deep in it",
            "gate/retry",
            json!({"atempts": 3}),
            "spec.gate.retry.atempts: unknown field",
        ),
        (
            "a text for a number",
            "gate/inFlight",
            json!("many"),
            "spec.gate.inFlight",
        ),
        (
            "a number for a text",
            "producer/id",
            json!([1]),
            "spec.producer.id",
        ),
        (
            "a wrong choice",
            "require/gates",
            json!("Maybe"),
            "expected one of Existence, Digest",
        ),
        (
            "a duration without a unit",
            "gate/timeout",
            json!("30"),
            "spec.gate.timeout",
        ),
        ("no time at all", "gate/timeout", json!("0s"), "more than 0"),
        (
            "no attempts",
            "gate/retry",
            json!({"attempts": 0}),
            "spec.gate.retry.attempts",
        ),
        (
            "a stop without a bound",
            "gate/quarantine",
            json!({"policy": "Stop"}),
            "needs a bound",
        ),
        (
            "a share of more than all",
            "gate/quarantine",
            json!({"policy": "Stop", "maxShare": 1.5}),
            "0 to 1",
        ),
        (
            "flushes of nothing",
            "checkpoints",
            json!({"flushEvery": 0}),
            "spec.checkpoints.flushEvery",
        ),
        (
            "two catalogues",
            "catalogue",
            json!({"builtIn": "catalogue.yaml", "inline": "x"}),
            "exactly one of",
        ),
        (
            "a catalogue of no source",
            "catalogue",
            json!({}),
            "none of its fields",
        ),
        (
            "a ConfigMap without a cluster",
            "catalogue",
            json!({"configMap": {"name": "texts", "key": "catalogue"}}),
            "spec.catalogue.configMap: means something in a cluster alone, expected a file, builtIn or inline",
        ),
        (
            "a Secret without a cluster",
            "gate/auth",
            json!({"apiKey": {"secret": {"name": "ig", "key": "key"}}}),
            "spec.gate.auth.apiKey.secret: means something in a cluster alone, expected a file or env",
        ),
        (
            "a store that only a cluster has",
            "checkpoints",
            json!({"kubernetes": {}}),
            "spec.checkpoints.kubernetes: means something in a cluster alone",
        ),
        (
            "an unknown built-in",
            "catalogue",
            json!({"builtIn": "moon.yaml"}),
            "moon.yaml",
        ),
        (
            "an absent list of outputs",
            "trafficOutputs",
            json!({"fraud": {"file": "absent.yaml"}}),
            "cannot be read",
        ),
        (
            "lists and an allowlist",
            "trafficOutputs",
            json!({
                "fraud": {"outputIds": [TRAFFIC]}, "allowlist": {"outputIds": [TRAFFIC]},
            }),
            "expected either",
        ),
        (
            "two credentials",
            "gate/auth",
            json!({
                "apiKey": {"env": "A"}, "serviceToken": {"env": "B"},
            }),
            "exactly one of",
        ),
        (
            "a runs root of nothing",
            "runsRoot",
            json!(""),
            "spec.runsRoot",
        ),
    ] {
        let file = "profile.yaml:";
        cases.add(name, USAGE, &[file, words], move |it| {
            it.set(path, value.clone())
        });
    }
    let head = "apiVersion: worldstream.io/v1alpha1\nkind: StreamProfile\nmetadata: {name: p}\n";
    for (name, text, words) in [
        ("an empty profile", String::new(), "holds no document"),
        (
            "a profile of comments",
            "# nothing\n---\n# yet\n".into(),
            "holds no document",
        ),
        ("a profile that is a list", "- a\n".into(), "is no document"),
        (
            "a profile that is no YAML",
            format!("{head}spec: [\n"),
            "profile.yaml:",
        ),
        (
            "a profile of another kind",
            head.replace("StreamProfile", "Pod"),
            "found \"Pod\"",
        ),
        (
            "a profile of another version",
            head.replace("v1alpha1", "v9"),
            "worldstream.io/v9",
        ),
        ("a profile without a spec", head.into(), "`spec` is missing"),
        (
            "a profile without a name",
            head.replace("name: p", ""),
            "`name` is missing",
        ),
        (
            "a profile with capitals in its name",
            head.replace("name: p", "name: Prod") + "spec: {}\n",
            "\"Prod\"",
        ),
        (
            "a key twice",
            format!("{head}spec:\n  runsRoot: a\n  runsRoot: b\n"),
            "is there twice",
        ),
        (
            "two profiles",
            format!("{head}spec: {{}}\n---\n{head}spec: {{}}\n"),
            "a second StreamProfile",
        ),
        (
            "an endless alias",
            format!("{head}spec: &a [*a]\n"),
            "profile.yaml:",
        ),
        (
            "a tab for spaces",
            format!("{head}spec:\n\trunsRoot: a\n"),
            "profile.yaml:",
        ),
    ] {
        cases.add(name, USAGE, &["profile.yaml", words], move |it| {
            it.profile_text = Some(text.clone());
        });
    }
}

fn streams(cases: &mut Cases) {
    let head = "apiVersion: worldstream.io/v1alpha1\nkind: WorldStream\nmetadata: {name: s}\n";
    for (name, text, words) in [
        (
            "a stream with an unknown field",
            format!("{head}spec:\n  speedup: 1\n  sped: 2\n"),
            "stream.yaml:6: spec.sped: unknown field",
        ),
        (
            "a stream that is to be paused",
            format!("{head}spec:\n  speedup: 1\n  paused: true\n"),
            "stream.yaml:6: spec.paused: found true, which means something in a cluster alone",
        ),
        (
            "a stream that is to be suspended",
            format!("{head}spec:\n  suspend: true\n"),
            "stream.yaml:5: spec.suspend",
        ),
        (
            "a stream with a wrong value",
            format!("{head}spec:\n  speedup: fast\n"),
            "stream.yaml:5: spec.speedup",
        ),
        (
            "a stream with a wrong time",
            format!("{head}spec:\n  startFrom: monday\n"),
            "spec.startFrom",
        ),
        (
            "a stream with a wrong list",
            format!("{head}spec:\n  outputs: {TRAFFIC}\n"),
            "spec.outputs",
        ),
        (
            "a stream with a wrong rate",
            format!(
                "{head}spec:\n  ratePlan:\n  - {{start_offset_seconds: -1, target_eps: 1, burst_seconds: 1}}\n"
            ),
            "spec.ratePlan[0].start_offset_seconds",
        ),
        (
            "a stream of too many lanes",
            format!("{head}spec:\n  inFlight: 1000\n"),
            "spec.inFlight",
        ),
        (
            "two streams",
            format!("{head}spec: {{}}\n---\n{head}spec: {{}}\n"),
            "a second WorldStream",
        ),
        (
            "a stream without metadata",
            head.replace("metadata: {name: s}\n", "spec: {}\n"),
            "`metadata` is missing",
        ),
        (
            "a stream that is JSON cut short",
            "{\"apiVersion\": \"worldstream.io/v1alpha1\", \"kind\"".into(),
            "stream.yaml:",
        ),
        (
            "a stream that is no text",
            "\u{0}\u{1}".into(),
            "stream.yaml",
        ),
    ] {
        cases.add(name, USAGE, &["stream.yaml", words], move |it| {
            let file = it.side("stream.yaml", &text);
            it.args.push(format!("--file={file}"));
        });
    }
    cases.add(
        "no such stream",
        USAGE,
        &["absent.yaml", "cannot be read"],
        |it| {
            it.args.push("--file=absent.yaml".into());
        },
    );
    cases.add(
        "a stream that is a folder",
        USAGE,
        &["world", "cannot be read"],
        |it| {
            it.args.push(format!("--file={}", it.world().display()));
        },
    );
    cases.add(
        "a stream in another encoding",
        USAGE,
        &["stream.yaml", "cannot be read"],
        |it| {
            let file = it.side("stream.yaml", b"\xff\xfea\0");
            it.args.push(format!("--file={file}"));
        },
    );
}

fn credentials(cases: &mut Cases) {
    let failed = "STREAM_FAILED";
    cases.add(
        "no file of the key",
        failed,
        &["gate.auth", "absent.key"],
        |it| {
            it.set("gate/auth", json!({"apiKey": {"file": "absent.key"}}));
        },
    );
    cases.add(
        "a key that is not set",
        failed,
        &["gate.auth", "WS_NO_SUCH_KEY"],
        |it| {
            it.set("gate/auth", json!({"apiKey": {"env": "WS_NO_SUCH_KEY"}}));
        },
    );
    for (name, bytes, words) in [
        ("an empty key", &b""[..], "which is empty"),
        ("a key of a line end", b"\n", "which is empty"),
        ("a key of two lines", b"one\ntwo\n", "several lines"),
        ("a key of bytes", b"\xff\x01", "visible ASCII"),
        ("a key with a space behind", b"hunter2 ", "white space"),
    ] {
        for auth in ["apiKey", "serviceToken"] {
            cases.add(
                &format!("{name}: {auth}"),
                failed,
                &["gate.auth", words],
                move |it| {
                    let file = it.side("key", bytes);
                    it.set("gate/auth", json!({auth: {"file": file}}));
                },
            );
        }
    }
    cases.add(
        "a signing secret that is absent",
        failed,
        &["gate.auth", "absent.key"],
        |it| {
            it.set(
                "gate/auth",
                json!({"signedToken": {"principal": "svc", "secret": {"file": "absent.key"}}}),
            );
        },
    );
    for (name, text) in [
        ("no CA file", None),
        ("an empty CA file", Some("")),
        (
            "a CA file that is none",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ),
    ] {
        cases.add(name, failed, &["gate.caFile"], move |it| {
            let file = match text {
                Some(text) => it.side("ca.pem", text),
                None => "absent.pem".into(),
            };
            it.set("gate/caFile", json!(file));
            it.flag("gate-url", &it.gate.replace("http://", "https://"));
        });
    }
}

/// Places where a run writes, that are taken.
fn places(cases: &mut Cases) {
    let failed = "STREAM_FAILED";
    let case = cases.add("a runs root that is a file", failed, &["runs"], |it| {
        it.side("runs", "x");
    });
    case.sent = Sent::NothingButPlanned;
    let case = cases.add(
        "a session log that is a folder",
        failed,
        &["session.jsonl"],
        |it| {
            let run = it.dir.join("runs/platform_20260101T000000Z");
            fs::create_dir_all(run.join("session.jsonl")).unwrap();
        },
    );
    case.sent = Sent::NothingButPlanned;
    let case = cases.add(
        "a checkpoint root that is a file",
        failed,
        &["cursors"],
        |it| {
            let file = it.side("cursors", "x");
            it.flag("checkpoint-root", &file);
        },
    );
    case.sent = Sent::NothingButPlanned;
}
