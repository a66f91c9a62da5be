use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use worldstream_crds::{ExitCode, GateCheck, OnOutputFailure, OnQuarantine, Overload, TrafficMode};

use super::policy_files::output_ids;
use super::*;
use crate::time::EventTime;

#[derive(Parser, Debug)]
struct Command {
    #[command(flatten)]
    flags: RunFlags,
}

fn parse(args: &[&str]) -> Result<RunFlags, clap::Error> {
    let args = std::iter::once("run").chain(args.iter().copied());
    Command::try_parse_from(args).map(|command| command.flags)
}

/// A stream that resolves, with more lines in its spec.
fn stream(lines: &[&str]) -> String {
    let mut text = "apiVersion: worldstream.io/v1alpha1\nkind: WorldStream\nmetadata:\n  name: a\nspec:\n  profile: mine\n  engineRunRoot: w\n  platformRunId: platform_20260101T000000Z\n".to_owned();
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// A profile that resolves, with more lines in its spec.
fn profile(lines: &[&str]) -> String {
    let mut text = "apiVersion: worldstream.io/v1alpha1\nkind: StreamProfile\nmetadata:\n  name: mine\nspec:\n  producer: {id: p}\n".to_owned();
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

const GATE: &str = "gate: {url: \"http://ig\"}";

/// One wrong input: files (a name that begins with `_` is written and not given with `-f`),
/// arguments, the code or `usage`, and what the message must hold. `$DIR` is the files' folder.
struct Case {
    files: Vec<(&'static str, String)>,
    args: Vec<&'static str>,
    code: &'static str,
    parts: Vec<&'static str>,
}

/// A stream with these lines, and a sound profile.
fn bad_stream(lines: &[&str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", stream(lines)), ("p.yaml", profile(&[GATE]))],
        args: vec![],
        code,
        parts: parts.to_vec(),
    }
}

/// A profile with these lines, and a sound stream.
fn bad_profile(lines: &[&str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", stream(&[])), ("p.yaml", profile(lines))],
        args: vec![],
        code,
        parts: parts.to_vec(),
    }
}

/// Sound documents, and these arguments.
fn bad_args(args: &[&'static str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        args: args.to_vec(),
        ..bad_stream(&[], code, parts)
    }
}

/// One file as it is.
fn bad_file(text: &str, code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", text.to_owned())],
        args: vec!["--profile", "local"],
        code,
        parts: parts.to_vec(),
    }
}

/// A profile whose traffic list is this file.
fn bad_list(text: &str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![
            ("s.yaml", stream(&[])),
            (
                "p.yaml",
                profile(&[GATE, "trafficOutputs: {fraud: {file: $DIR/_list.yaml}}"]),
            ),
            ("_list.yaml", text.to_owned()),
        ],
        args: vec![],
        code: "usage",
        parts: parts.to_vec(),
    }
}

/// A rate plan file.
fn bad_rate_plan(text: &str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![
            ("s.yaml", stream(&[])),
            ("p.yaml", profile(&[GATE])),
            ("_rate.yaml", text.to_owned()),
        ],
        args: vec!["--rate-plan", "$DIR/_rate.yaml"],
        code: "usage",
        parts: parts.to_vec(),
    }
}

/// What the input comes to: the plan, or code and message.
fn run(case: &Case) -> Result<StreamPlan, (String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let mut args: Vec<String> = Vec::new();
    for (name, text) in &case.files {
        let file = folder.path().join(name);
        std::fs::write(&file, text.replace("$DIR", dir)).unwrap();
        if !name.starts_with('_') {
            args.extend(["-f".to_owned(), file.to_str().unwrap().to_owned()]);
        }
    }
    args.extend(case.args.iter().map(|arg| arg.replace("$DIR", dir)));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let flags = parse(&args).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        ("usage".to_owned(), error.to_string())
    })?;
    plan(&flags).map_err(|error| {
        let code = match &error {
            PlanError::Usage(_) => {
                assert_eq!(error.exit_code(), ExitCode::Usage);
                "usage".to_owned()
            }
            PlanError::Failure(failure) => {
                assert_eq!(error.exit_code(), ExitCode::FailClosed);
                failure.reason().to_string()
            }
        };
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text:?} is more than a line");
        (code, text.replace(&format!("{dir}/"), ""))
    })
}

fn broken() -> Vec<Case> {
    let usage = "usage";
    let lane = "WSP_LANE_CONFIG_INVALID";
    let ok = stream(&[]);
    let but = |from: &str, to: &str| {
        assert!(ok.contains(from));
        ok.replacen(from, to, 1)
    };
    let mut cases = vec![
        // What is no document.
        bad_file("", usage, &["s.yaml: holds no document"]),
        bad_file("# nothing\n---\n", usage, &["s.yaml: holds no document"]),
        bad_file("hello", usage, &["s.yaml:1: is no document"]),
        bad_file("- a\n- b\n", usage, &["s.yaml:1: is no document"]),
        bad_file("a: [1, 2\nb: 3\n", usage, &["s.yaml:"]),
        bad_file("a: 1\n\tb: 2\n", usage, &["s.yaml:1: while", "a tab"]),
        bad_file("kind: \"WorldStream\n", usage, &["s.yaml:"]),
        bad_file(
            "spec: {}\n",
            usage,
            &[
                "kind: found \"\"",
                "WorldStream, StreamProfile or ReadyTrigger",
            ],
        ),
        bad_file(
            &but("kind: WorldStream", "kind: Worldstream"),
            usage,
            &["s.yaml:2: kind: found \"Worldstream\""],
        ),
        bad_file(
            &but("kind: WorldStream", "kind: Pod"),
            usage,
            &["s.yaml:2: kind: found \"Pod\""],
        ),
        bad_file(
            &but("v1alpha1", "v1"),
            usage,
            &[
                "s.yaml:1: apiVersion: found \"worldstream.io/v1\"",
                "v1alpha1",
            ],
        ),
        bad_file(
            &but("apiVersion: worldstream.io/v1alpha1\n", ""),
            usage,
            &["apiVersion: found \"\""],
        ),
        bad_file(
            &but("metadata:\n  name: a\n", ""),
            usage,
            &["the field `metadata` is missing"],
        ),
        bad_file(
            &but("  name: a", "  nam: a"),
            usage,
            &["s.yaml:4: metadata.nam: unknown field", "name"],
        ),
        bad_file(
            &but("  name: a", "  name: A_b"),
            usage,
            &["s.yaml:4: metadata.name: found \"A_b\""],
        ),
        bad_file(
            "apiVersion: worldstream.io/v1alpha1\nkind: WorldStream\nmetadata: {name: a}\n",
            usage,
            &["the field `spec` is missing"],
        ),
        bad_file(
            &format!("{ok}extra: 1\n"),
            usage,
            &["s.yaml:9: extra: unknown field"],
        ),
        bad_file(
            &format!("{ok}kind: WorldStream\n"),
            usage,
            &["s.yaml:9", "kind"],
        ),
        bad_file(
            &format!("{ok}---\n{ok}"),
            usage,
            &["s.yaml:13: metadata.name: a second WorldStream"],
        ),
        bad_file(
            &format!("{ok}---\n{}---\n{}", profile(&[GATE]), profile(&[GATE])),
            usage,
            &["metadata.name: a second StreamProfile \"mine\""],
        ),
        bad_file(
            &format!("{ok}---\n{}", profile(&["gates: {}"])),
            usage,
            &["s.yaml:16: spec.gates: unknown field"],
        ),
        // A stream's fields.
        bad_stream(
            &["sped: 3"],
            usage,
            &["s.yaml:9: spec.sped: unknown field", "speedup"],
        ),
        bad_stream(
            &["engine_run_root: x"],
            usage,
            &[
                "s.yaml:9: spec.engine_run_root: unknown field",
                "engineRunRoot",
            ],
        ),
        bad_stream(
            &["speedup: fast"],
            usage,
            &["s.yaml:9: spec.speedup: found `fast`, expected a number"],
        ),
        bad_stream(
            &["speedup: .nan"],
            usage,
            &["s.yaml:9: spec.speedup", "finite"],
        ),
        bad_stream(
            &["speedup: .inf"],
            usage,
            &["s.yaml:9: spec.speedup", "finite"],
        ),
        bad_stream(&["speedup: [1]"], usage, &["s.yaml:9: spec.speedup"]),
        bad_stream(
            &["inFlight: 0"],
            usage,
            &["s.yaml:9: spec.inFlight: found 0, expected 1 to 256"],
        ),
        bad_stream(
            &["speedup: 1", "inFlight: 257"],
            usage,
            &["s.yaml:10: spec.inFlight: found 257"],
        ),
        bad_stream(
            &["inFlight: -1"],
            usage,
            &["s.yaml:9: spec.inFlight", "`-1`"],
        ),
        bad_stream(
            &["inFlight: 1.5"],
            usage,
            &["s.yaml:9: spec.inFlight", "`1.5`"],
        ),
        bad_stream(
            &["trafficMode: Fraud"],
            usage,
            &["s.yaml:9: spec.trafficMode", "fraud, baseline"],
        ),
        bad_stream(
            &["overload: hold"],
            usage,
            &["s.yaml:9: spec.overload", "Hold, CatchUp, Fail"],
        ),
        bad_stream(
            &["onOutputFailure: Stop"],
            usage,
            &["s.yaml:9: spec.onOutputFailure", "StopAll, Continue"],
        ),
        bad_stream(
            &["maxLag: 5"],
            usage,
            &["s.yaml:9: spec.maxLag", "\"5\" is no duration"],
        ),
        bad_stream(
            &["maxLag: 0s"],
            usage,
            &["s.yaml:9: spec.maxLag: found 0s, expected more than 0"],
        ),
        bad_stream(
            &["maxLag: 5 minutes"],
            usage,
            &[
                "s.yaml:9: spec.maxLag",
                "is no duration",
                "250ms, 5s, 2m or 1h",
            ],
        ),
        bad_stream(
            &["startFrom: yesterday"],
            usage,
            &["s.yaml:9: spec.startFrom", "RFC 3339"],
        ),
        bad_stream(
            &["startFrom: 2026-01-01"],
            usage,
            &["s.yaml:9: spec.startFrom", "RFC 3339"],
        ),
        bad_stream(
            &["until: 2026-13-01T00:00:00Z"],
            usage,
            &["s.yaml:9: spec.until", "RFC 3339"],
        ),
        bad_stream(
            &[
                "startFrom: 2026-01-02T00:00:00Z",
                "until: 2026-01-01T00:00:00Z",
            ],
            usage,
            &[
                "s.yaml:10: spec.until",
                "after the start, 2026-01-02T00:00:00.000000Z",
            ],
        ),
        bad_stream(
            &[
                "startFrom: 2026-01-01T00:00:00Z",
                "until: 2026-01-01T00:00:00Z",
            ],
            usage,
            &["spec.until"],
        ),
        bad_stream(
            &["maxEventsPerOutput: 0"],
            usage,
            &["s.yaml:9: spec.maxEventsPerOutput: found 0"],
        ),
        bad_stream(
            &["scenarioRunId: abc"],
            usage,
            &[
                "s.yaml:9: spec.scenarioRunId: found \"abc\"",
                "32 lower-case hex",
            ],
        ),
        bad_stream(
            &["scenarioRunId: ABABABABABABABABABABABABABABABAB"],
            usage,
            &["s.yaml:9: spec.scenarioRunId"],
        ),
        bad_stream(
            &["scenario: ../x"],
            usage,
            &["s.yaml:9: spec.scenario: found \"../x\""],
        ),
        bad_stream(
            &["scenario: ''"],
            usage,
            &["s.yaml:9: spec.scenario: found \"\""],
        ),
        bad_stream(
            &["attempt: a|b"],
            usage,
            &["s.yaml:9: spec.attempt: found \"a|b\""],
        ),
        bad_stream(
            &["outputs: [a b]"],
            usage,
            &["s.yaml:9: spec.outputs[0]: found \"a b\""],
        ),
        bad_stream(
            &["outputs:", "  - fine", "  - ''"],
            usage,
            &["s.yaml:11: spec.outputs[1]: found \"\""],
        ),
        bad_stream(
            &["outputs: s3_event_stream_with_fraud_6B"],
            usage,
            &["s.yaml:9: spec.outputs"],
        ),
        bad_stream(
            &["lanes: {count: 0}"],
            lane,
            &["s.yaml:9: spec.lanes: count: found 0, expected 1 to 64"],
        ),
        bad_stream(&["lanes: {count: 65}"], lane, &["count: found 65"]),
        bad_stream(
            &["lanes: {count: 4, only: 4}"],
            lane,
            &["only: found 4, expected a lane from 0 to 3"],
        ),
        bad_stream(&["lanes: 4"], usage, &["s.yaml:9: spec.lanes"]),
        bad_stream(
            &["lanes: {only: 0}"],
            usage,
            &["spec.lanes", "the field `count` is missing"],
        ),
        bad_stream(
            &[
                "ratePlan:",
                "  - {start_offset_seconds: 0, target_eps: 0, burst_seconds: 1}",
            ],
            usage,
            &["s.yaml:10: spec.ratePlan[0].target_eps: found 0, expected more than 0"],
        ),
        bad_stream(
            &[
                "ratePlan:",
                "  - {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}",
                "  - {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}",
            ],
            usage,
            &[
                "s.yaml:11: spec.ratePlan[1].start_offset_seconds",
                "more than 5",
            ],
        ),
        bad_stream(
            &["ratePlan: [{start_offset_seconds: 0, targetEps: 1}]"],
            usage,
            &["spec.ratePlan[0].targetEps: unknown field", "target_eps"],
        ),
        bad_stream(
            &["profile: other"],
            usage,
            &["s.yaml:9: spec.profile: is there twice"],
        ),
        Case {
            files: vec![("s.yaml", but("profile: mine", "profile: other"))],
            args: vec![],
            code: usage,
            parts: vec![
                "s.yaml:6: spec.profile: found no StreamProfile \"other\"",
                "local, local_parity",
            ],
        },
        bad_file(
            &but("platform_20260101T000000Z", "platform_20260101"),
            usage,
            &[
                "s.yaml:8: spec.platformRunId: found \"platform_20260101\"",
                "platform_YYYYMMDDTHHMMSSZ",
            ],
        ),
        bad_file(
            &but("platform_20260101T000000Z", "platform_20260101t000000z"),
            usage,
            &["spec.platformRunId"],
        ),
        bad_file(
            &but("  platformRunId: platform_20260101T000000Z\n", ""),
            "PLATFORM_RUN_ID_MISSING",
            &["spec.platformRunId", "--platform-run-id"],
        ),
        bad_file(
            &but("platform_20260101T000000Z", "''"),
            "PLATFORM_RUN_ID_MISSING",
            &["spec.platformRunId"],
        ),
        bad_file(
            &but("  engineRunRoot: w\n", ""),
            "ENGINE_ROOT_MISSING",
            &["spec.engineRunRoot", "--engine-run-root"],
        ),
        bad_file(
            &but("engineRunRoot: w", "engineRunRoot: ' '"),
            "ENGINE_ROOT_MISSING",
            &["s.yaml: WorldStream a"],
        ),
        // A profile's fields.
        bad_profile(
            &[],
            usage,
            &["p.yaml:6: spec.gate.url: is missing", "--gate-url"],
        ),
        bad_profile(
            &["gate: {url: ig}"],
            usage,
            &["p.yaml:7: spec.gate.url: found \"ig\""],
        ),
        bad_profile(
            &["gate: {url: \"ftp://ig\"}"],
            usage,
            &["spec.gate.url", "http:// or https://"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig/?a=b\"}"],
            usage,
            &["spec.gate.url", "no query"],
        ),
        bad_profile(
            &["gate: {url: \"http://a:b@ig\"}"],
            usage,
            &["spec.gate.url", "spec.gate.auth"],
        ),
        bad_profile(
            &[GATE, "wold: {}"],
            usage,
            &["p.yaml:8: spec.wold: unknown field", "world"],
        ),
        bad_profile(
            &[GATE, "require: {manifest: yep}"],
            usage,
            &["p.yaml:8: spec.require.manifest", "true"],
        ),
        bad_profile(
            &[GATE, "require: {gates: digest}"],
            usage,
            &["p.yaml:8: spec.require.gates", "Existence, Digest"],
        ),
        bad_profile(
            &[GATE, "require:", "  seals: true"],
            usage,
            &["p.yaml:9: spec.require.seals: unknown field"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", inFlight: 300}"],
            usage,
            &["spec.gate.inFlight: found 300"],
        ),
        bad_profile(
            &["gate:", "  url: http://ig", "  timeout: 0s"],
            usage,
            &["p.yaml:9: spec.gate.timeout: found 0s"],
        ),
        bad_profile(
            &["gate:", "  url: http://ig", "  timeout: -1s"],
            usage,
            &["p.yaml:9: spec.gate.timeout", "\"-1s\" is no duration"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {attempts: 0}}"],
            usage,
            &["spec.gate.retry.attempts: found 0"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {base: 0ms}}"],
            usage,
            &["spec.gate.retry.base"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {base: 10s}}"],
            usage,
            &["spec.gate.retry.max: found 5s, expected at least spec.gate.retry.base, 10s"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", unavailableFor: 0s}"],
            usage,
            &["spec.gate.unavailableFor"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", caFile: ''}"],
            usage,
            &["spec.gate.caFile: is empty"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {}}"],
            usage,
            &[
                "spec.gate.auth: found none of its fields",
                "apiKey, serviceToken, signedToken",
            ],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {file: a, env: B}}}"],
            usage,
            &["spec.gate.auth.apiKey: found file and env"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {env: A}, serviceToken: {env: B}}}"],
            usage,
            &["spec.gate.auth: found apiKey and serviceToken"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: secret}}"],
            usage,
            &["spec.gate.auth.apiKey"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {signedToken: {principal: '', secret: {env: A}}}}"],
            usage,
            &["spec.gate.auth.signedToken.principal: is empty"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {signedToken: {principal: p}}}"],
            usage,
            &["spec.gate.auth.signedToken", "`secret` is missing"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {env: A=b}}}"],
            usage,
            &["spec.gate.auth.apiKey.env"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop}}"],
            usage,
            &["spec.gate.quarantine.policy", "maxCount, maxShare"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {maxCount: 3}}"],
            usage,
            &["spec.gate.quarantine.maxCount", "Stop"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop, maxShare: 1.5}}"],
            usage,
            &["spec.gate.quarantine.maxShare: found 1.5, expected 0 to 1"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop, maxShare: 0.5, window: 0}}"],
            usage,
            &["spec.gate.quarantine.window: found 0"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {flushEvery: 0}"],
            usage,
            &["p.yaml:8: spec.checkpoints.flushEvery: found 0"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {flushInterval: 0s}"],
            usage,
            &["spec.checkpoints.flushInterval"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {file: {root: ''}}"],
            usage,
            &["spec.checkpoints.file.root: is empty"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {redis: {}}"],
            usage,
            &["spec.checkpoints.redis: unknown field"],
        ),
        bad_profile(
            &[GATE, "clock: {lead: 2m}"],
            usage,
            &["spec.clock.lead: found 2m, expected at most 1m"],
        ),
        bad_profile(
            &[GATE, "defaults: {speedup: .nan}"],
            usage,
            &["spec.defaults.speedup"],
        ),
        bad_profile(
            &[GATE, "defaults: {catchUpEps: 0}"],
            usage,
            &["spec.defaults.catchUpEps: found 0"],
        ),
        bad_profile(
            &[GATE, "defaults: {maxLag: 0s}"],
            usage,
            &["spec.defaults.maxLag"],
        ),
        bad_profile(
            &[GATE, "defaults: {maxEventsPerOutput: 0}"],
            usage,
            &["spec.defaults.maxEventsPerOutput"],
        ),
        bad_profile(
            &[GATE, "runsRoot: ''"],
            usage,
            &["p.yaml:8: spec.runsRoot: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {mounts: [{from: a}]}"],
            usage,
            &["spec.world.mounts[0]", "`to` is missing"],
        ),
        bad_profile(
            &[GATE, "world: {mounts: [{from: '', to: b}]}"],
            usage,
            &["spec.world.mounts[0].from: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {allowedRoots: ['']}"],
            usage,
            &["spec.world.allowedRoots[0]: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {oracleRoot: ''}"],
            usage,
            &["spec.world.oracleRoot: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {scenario: a/b}"],
            usage,
            &["spec.world.scenario"],
        ),
        bad_profile(
            &[GATE, "catalogue: {}"],
            usage,
            &["spec.catalogue: found none", "file, builtIn, inline"],
        ),
        bad_profile(
            &[GATE, "catalogue: {builtIn: nope.yaml}"],
            usage,
            &[
                "spec.catalogue.builtIn: found \"nope.yaml\"",
                "catalogue.yaml",
            ],
        ),
        bad_profile(
            &[GATE, "gateMap: {file: a, inline: b}"],
            usage,
            &["spec.gateMap: found file and inline"],
        ),
        bad_profile(
            &[GATE, "catalogue: {file: ''}"],
            usage,
            &["spec.catalogue.file: is empty"],
        ),
        bad_profile(
            &[GATE, "trafficOutputs: {fraud: {}}"],
            usage,
            &["spec.trafficOutputs.fraud: found none"],
        ),
        bad_profile(
            &[GATE, "trafficOutputs: {fraud: {outputIds: ['a/b']}}"],
            usage,
            &["spec.trafficOutputs.fraud.outputIds[0]: found \"a/b\""],
        ),
        bad_profile(
            &[
                GATE,
                "trafficOutputs: {allowlist: {outputIds: [a]}, fraud: {outputIds: [a]}}",
            ],
            usage,
            &["spec.trafficOutputs.allowlist", "either"],
        ),
        bad_profile(
            &[
                GATE,
                "contextOutputs: {fraud: {builtIn: outputs/none.yaml}}",
            ],
            usage,
            &["spec.contextOutputs.fraud.builtIn"],
        ),
        bad_profile(
            &[GATE, "contextOutputs: {baseline: {file: $DIR/absent.yaml}}"],
            usage,
            &[
                "p.yaml:8: spec.contextOutputs.baseline.file: ",
                "absent.yaml cannot be read",
            ],
        ),
        bad_profile(
            &[GATE, "status: 1", "runsRoot: x"],
            usage,
            &["spec.status: unknown field"],
        ),
        // The producer.
        Case {
            files: vec![
                ("s.yaml", stream(&[])),
                (
                    "p.yaml",
                    profile(&[GATE]).replace("{id: p}", "{id: \"a\\tb\"}"),
                ),
            ],
            args: vec![],
            code: usage,
            parts: vec!["spec.producer.id"],
        },
        // Policy files.
        bad_list("", &["_list.yaml: holds 0 documents"]),
        bad_list("a", &["_list.yaml:1: expected a list of output ids"]),
        bad_list("version: 1\n", &["_list.yaml:1", "`output_ids` is missing"]),
        bad_list(
            "version: 1\noutputs: [a]\n",
            &["_list.yaml:2: outputs: unknown field"],
        ),
        bad_list("version: 1\noutput_ids: a\n", &["_list.yaml:2: output_ids"]),
        bad_list("- a\n- [b]\n", &["_list.yaml:2: [1]"]),
        bad_list("- a\n- 'b c'\n", &["_list.yaml:2: [1]: found \"b c\""]),
        bad_list("- a\n---\n- b\n", &["holds 2 documents"]),
        // Rate plan files.
        bad_rate_plan("", &["_rate.yaml: holds 0 documents"]),
        bad_rate_plan("rate: 5", &["_rate.yaml:1"]),
        bad_rate_plan(
            "- {start_offset_seconds: 0, burst_seconds: 1}",
            &["_rate.yaml:1: [0]", "`target_eps` is missing"],
        ),
        bad_rate_plan(
            "- start_offset_seconds: 0\n  target_eps: -5\n  burst_seconds: 1\n",
            &["_rate.yaml:2: [0].target_eps: found -5"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: -1, target_eps: 5, burst_seconds: 1}",
            &["[0].start_offset_seconds: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: 5, burst_seconds: -1}",
            &["[0].burst_seconds: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: 5, burst_seconds: 1, initial_tokens: -1}",
            &["[0].initial_tokens: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: .inf, burst_seconds: 1}",
            &["target_eps"],
        ),
        // Flags.
        bad_args(
            &["--rate-plan", "$DIR/absent"],
            usage,
            &["absent: cannot be read"],
        ),
        bad_args(
            &["-f", "$DIR/absent.yaml"],
            usage,
            &["absent.yaml: cannot be read"],
        ),
        bad_args(
            &["--profile", "$DIR/absent.yaml"],
            usage,
            &["absent.yaml: cannot be read"],
        ),
        bad_args(
            &["--profile", "nope"],
            usage,
            &[
                "--profile: found no StreamProfile \"nope\"",
                "mine, local, local_parity, dev, prod",
            ],
        ),
        bad_args(
            &["--profile", "$DIR/s.yaml"],
            usage,
            &["--profile", "holds 0 StreamProfiles"],
        ),
        bad_args(&["--speedup", "fast"], usage, &["--speedup"]),
        bad_args(&["--speedup", "NaN"], usage, &["--speedup: found NaN"]),
        bad_args(&["--speedup", "inf"], usage, &["--speedup: found inf"]),
        bad_args(
            &["--in-flight", "0"],
            usage,
            &["--in-flight: found 0, expected 1 to 256"],
        ),
        bad_args(&["--in-flight", "many"], usage, &["--in-flight"]),
        bad_args(&["--lanes", "0"], lane, &["count: found 0"]),
        bad_args(&["--lanes", "65"], lane, &["count: found 65"]),
        bad_args(
            &["--lanes", "3", "--lane", "3"],
            lane,
            &["only: found 3, expected a lane from 0 to 2"],
        ),
        bad_args(&["--lane", "1"], lane, &["only: found 1"]),
        bad_args(
            &["--traffic-mode", "both"],
            usage,
            &["--traffic-mode", "fraud, baseline"],
        ),
        bad_args(
            &["--overload", "wait"],
            usage,
            &["--overload", "hold, catch-up, fail"],
        ),
        bad_args(
            &["--on-output-failure", "stop"],
            usage,
            &["--on-output-failure", "stop-all, continue"],
        ),
        bad_args(&["--max-lag", "5"], usage, &["--max-lag", "is no duration"]),
        bad_args(&["--max-lag", "0s"], usage, &["--max-lag: found 0s"]),
        bad_args(
            &["--start-from", "now"],
            usage,
            &["--start-from", "RFC 3339"],
        ),
        bad_args(
            &[
                "--start-from",
                "2026-01-02T00:00:00Z",
                "--until",
                "2026-01-01T00:00:00Z",
            ],
            usage,
            &["--until: found 2026-01-01"],
        ),
        bad_args(
            &["--max-events-per-output", "0"],
            usage,
            &["--max-events-per-output: found 0"],
        ),
        bad_args(
            &["--platform-run-id", "run1"],
            usage,
            &[
                "--platform-run-id: found \"run1\"",
                "platform_YYYYMMDDTHHMMSSZ",
            ],
        ),
        bad_args(
            &["--scenario-run-id", "x"],
            usage,
            &["--scenario-run-id: found \"x\""],
        ),
        bad_args(
            &["--gate-url", "localhost:8080"],
            usage,
            &["--gate-url: found \"localhost:8080\""],
        ),
        bad_args(
            &["--gate-url", "http://u:hunter2@ig"],
            usage,
            &["--gate-url: found a user or a password"],
        ),
        bad_args(&["--attempt", "a|b"], usage, &["--attempt"]),
        bad_args(&["--scenario", ""], usage, &["--scenario: found \"\""]),
        bad_args(&["--output", "a b"], usage, &["--output: found \"a b\""]),
        bad_args(&["--checkpoint-root", ""], usage, &["--checkpoint-root"]),
        bad_args(&["--sped", "3"], usage, &["--sped"]),
        bad_args(&["stray"], usage, &["stray"]),
        Case {
            files: vec![],
            args: vec!["--engine-run-root", "w"],
            code: usage,
            parts: vec![
                "--profile: no profile is named",
                "local, local_parity, dev, prod",
            ],
        },
        Case {
            files: vec![],
            args: vec!["--profile", "local"],
            code: "ENGINE_ROOT_MISSING",
            parts: vec!["the command line"],
        },
        Case {
            files: vec![],
            args: vec!["--profile", "local", "--engine-run-root", "w"],
            code: "PLATFORM_RUN_ID_MISSING",
            parts: vec!["the command line"],
        },
        Case {
            files: vec![],
            args: vec![
                "--profile",
                "local",
                "--engine-run-root",
                "w",
                "--platform-run-id",
                "",
            ],
            code: "PLATFORM_RUN_ID_MISSING",
            parts: vec![],
        },
        // What a document says is checked even where a flag wins.
        Case {
            args: vec!["--speedup", "5"],
            ..bad_stream(&["speedup: .nan"], usage, &["s.yaml:9: spec.speedup"])
        },
        Case {
            args: vec!["--lanes", "2"],
            ..bad_stream(&["lanes: {count: 99}"], lane, &["count: found 99"])
        },
    ];
    let outright = profile(&[GATE, "trafficOutputs: {allowlist: {outputIds: [a, b]}}"]);
    cases.push(Case {
        files: vec![
            ("s.yaml", stream(&["trafficMode: baseline"])),
            ("p.yaml", outright.clone()),
        ],
        args: vec![],
        code: usage,
        parts: vec!["s.yaml:9: spec.trafficMode", "outright"],
    });
    cases.push(Case {
        files: vec![("s.yaml", stream(&[])), ("p.yaml", outright)],
        args: vec!["--traffic-mode", "fraud"],
        code: usage,
        parts: vec!["--traffic-mode: the profile mine"],
    });
    cases
}

#[test]
fn broken_input_is_refused_by_place_and_cause() {
    let cases = broken();
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let input = format!("case {index}: {:?} {:?}", case.args, case.files.first());
        match run(case) {
            Ok(_) => wrong.push(format!("{input}\n   is accepted")),
            Err((code, text)) => {
                let missing: Vec<_> = case
                    .parts
                    .iter()
                    .filter(|part| !text.contains(**part))
                    .collect();
                if code != case.code || !missing.is_empty() {
                    wrong.push(format!(
                        "{input}\n   {code} {text}\n   without {missing:?}, wanted {}",
                        case.code
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The plan of flags alone.
fn plain(args: &[&str]) -> StreamPlan {
    let mut all = vec![
        "--engine-run-root",
        "w",
        "--platform-run-id",
        "platform_20260101T000000Z",
    ];
    all.extend(args);
    plan(&parse(&all).unwrap()).unwrap()
}

fn config(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config")).join(path)
}

#[test]
fn flags_alone_make_a_plan_with_the_defaults_of_the_design() {
    let plan = plain(&["--profile", "local"]);
    assert_eq!(plan.version, PLAN_VERSION);
    assert_eq!(plan.world.engine_run_root, "w");
    assert_eq!(plan.world.scenario, None);
    assert!(plan.world.allowed_roots.is_empty());
    assert_eq!(plan.identity.scenario_run_id, None);
    assert_eq!(plan.identity.attempt, "");
    assert_eq!(
        plan.identity.lanes,
        Lanes {
            count: 1,
            only: None
        }
    );
    assert_eq!(plan.pace.speedup, 1.0);
    assert_eq!(plan.pace.lead, Duration::from_secs(2));
    assert_eq!(plan.pace.overload, Overload::Hold);
    assert_eq!(plan.pace.max_lag, Duration::from_secs(5));
    assert_eq!(plan.pace.on_output_failure, OnOutputFailure::StopAll);
    assert_eq!(plan.gate.in_flight, 16);
    assert!(plan.gate.require_decision);
    assert_eq!(plan.gate.auth, AuthPlan::None);
    assert_eq!(plan.gate.timeout, Duration::from_secs(30));
    assert_eq!(
        plan.gate.retry,
        RetryPlan {
            attempts: 5,
            base: Duration::from_millis(250),
            max: Duration::from_secs(5),
            unavailable_for: None,
        }
    );
    assert_eq!(plan.gate.quarantine.policy, OnQuarantine::Continue);
    assert_eq!(plan.checkpoint.flush_every, 500);
    assert_eq!(plan.checkpoint.flush_interval, Duration::from_secs(1));
    let run_dir = "runs/fraud-platform/platform_20260101T000000Z";
    assert_eq!(plan.run_dir, Path::new(run_dir));
    assert_eq!(
        plan.checkpoint.store,
        CheckpointStorePlan::File {
            root: Path::new(run_dir).join("wsp/checkpoints")
        }
    );
    assert_eq!(plan.world.selection.mode, Some(TrafficMode::Fraud));
    assert_eq!(
        plan.world.selection.traffic,
        ["s3_event_stream_with_fraud_6B"]
    );
    assert_eq!(
        plan.world.selection.context_baseline,
        [
            "arrival_events_5B",
            "s1_arrival_entities_6B",
            "s2_flow_anchor_baseline_6B"
        ]
    );
    assert_eq!(plan.world.producer_id, "svc:world_stream_producer");
    let allowlist = plan.world.producer_allowlist.unwrap();
    assert_eq!(allowlist.name, "built-in:producer_allowlist.txt");
    assert!(
        allowlist
            .text
            .unwrap()
            .lines()
            .any(|line| line == "svc:world_stream_producer")
    );
}

#[test]
fn profiles_differ_as_they_should() {
    let plans = ["local", "local_parity", "local-parity", "dev", "prod"]
        .map(|name| (name, plain(&["--profile", name])));
    for (name, plan) in &plans {
        let strict = matches!(*name, "dev" | "prod");
        assert_eq!(plan.profile, name.replace('_', "-"));
        assert_eq!(plan.world.require_manifest, strict, "{name}");
        assert_eq!(plan.world.require_seal, strict, "{name}");
        let gates = if strict {
            GateCheck::Digest
        } else {
            GateCheck::Existence
        };
        assert_eq!(plan.world.gate_check, gates, "{name}");
        assert_eq!(plan.gate.retry.unavailable_for.is_some(), strict, "{name}");
        assert_eq!(
            plan.world.catalogue.name, "built-in:catalogue.yaml",
            "{name}"
        );
        assert_eq!(plan.world.gate_map.name, "built-in:gate_map.yaml", "{name}");
        assert!(plan.gate.url.ends_with("/v1/ingest/push"), "{name}");
        let database = matches!(plan.checkpoint.store, CheckpointStorePlan::Postgres(_));
        assert_eq!(database, strict, "{name}");
        let stops = plan.gate.quarantine.policy == OnQuarantine::Stop;
        assert_eq!(stops, *name == "prod", "{name}");
        assert_eq!(
            plan.gate.url.starts_with("https://"),
            *name == "prod",
            "{name}"
        );
    }
    // A profile that says nothing of them checks what prod checks.
    let spec = worldstream_crds::StreamProfileSpec::default();
    assert!(spec.require.manifest && spec.require.seal);
    assert_eq!(spec.require.gates, GateCheck::Digest);
}

#[test]
fn built_in_profiles_come_back_as_they_were_written() {
    let documents = Documents::built_in().unwrap();
    assert_eq!(documents.profiles.len(), built_in::PROFILES.len());
    for profile in documents.profiles {
        let text = serde_saphyr::to_string(&profile.spec).unwrap();
        let again: worldstream_crds::StreamProfileSpec = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(again, profile.spec, "{}", profile.name);
    }
}

#[test]
fn a_plan_comes_back_as_it_was_written() {
    let flags = RunFlags {
        files: vec![config("samples/worldstream_full.yaml")],
        ..RunFlags::default()
    };
    let plan = plan(&flags).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<StreamPlan>(&text).unwrap(), plan);
}

#[test]
fn every_sample_resolves() {
    let mut seen = 0;
    for entry in std::fs::read_dir(config("samples")).unwrap() {
        let file = entry.unwrap().path();
        // Those for a cluster alone are in a folder of their own.
        if file.is_dir() {
            continue;
        }
        seen += 1;
        let flags = RunFlags {
            files: vec![file.clone()],
            ..RunFlags::default()
        };
        let resolved = if file.ends_with("ready_trigger.yaml") {
            let documents = read_documents(&flags.files).unwrap();
            ready::resolve(&documents, None, &FileSystem)
                .map(drop)
                .map_err(|error| error.to_string())
        } else {
            plan(&flags).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(resolved, Ok(()), "{}", file.display());
    }
    assert!(seen >= 3);
}

#[test]
fn every_field_of_a_stream_reaches_the_plan() {
    let flags = RunFlags {
        files: vec![config("samples/worldstream_full.yaml")],
        ..RunFlags::default()
    };
    let plan = plan(&flags).unwrap();
    assert_eq!(plan.world.scenario.as_deref(), Some("baseline_v1"));
    assert_eq!(plan.world.selection.mode, Some(TrafficMode::Baseline));
    assert_eq!(
        plan.world.selection.traffic,
        ["s2_event_stream_baseline_6B"]
    );
    assert_eq!(
        plan.world.selection.outputs,
        ["s2_event_stream_baseline_6B"]
    );
    assert_eq!(
        plan.identity.scenario_run_id.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
    assert_eq!(plan.identity.attempt, "2");
    assert_eq!(
        plan.identity.lanes,
        Lanes {
            count: 2,
            only: None
        }
    );
    assert_eq!(plan.pace.speedup, 600.0);
    assert_eq!(plan.pace.overload, Overload::CatchUp);
    assert_eq!(plan.pace.max_lag, Duration::from_secs(10));
    assert_eq!(plan.pace.on_output_failure, OnOutputFailure::Continue);
    assert_eq!(plan.pace.rate_plan.len(), 2);
    assert_eq!(plan.pace.rate_plan[0].initial_tokens, Some(0.0));
    assert_eq!(plan.pace.rate_plan[1].initial_tokens, None);
    assert_eq!(plan.pace.rate_plan[1].burst_seconds, 0.5);
    assert_eq!(plan.gate.in_flight, 32);
    assert_eq!(plan.range.max_events_per_output, Some(10_000));
    let day = |text| EventTime::parse_rfc3339(text).ok();
    assert_eq!(plan.range.start_from, day("2026-01-01T00:00:00Z"));
    assert_eq!(plan.range.until, day("2026-01-02T00:00:00Z"));
}

#[test]
fn a_profile_of_ones_own_reaches_the_plan() {
    let flags = RunFlags {
        files: vec![config("samples/profile_and_stream.yaml")],
        ..RunFlags::default()
    };
    let plan = plan(&flags).unwrap();
    assert_eq!(plan.profile, "both-modes");
    assert_eq!(plan.world.oracle_root.as_deref(), Some("/data/worlds"));
    assert_eq!(
        plan.world.allowed_roots,
        ["/data/worlds", "s3://oracle-store/runs"]
    );
    assert_eq!(plan.world.mounts.len(), 1);
    assert_eq!(plan.world.mounts[0].to, "/mnt/worlds");
    assert_eq!(plan.world.selection.mode, None);
    assert_eq!(
        plan.world.selection.traffic,
        [
            "s3_event_stream_with_fraud_6B",
            "s2_event_stream_baseline_6B"
        ]
    );
    assert_eq!(
        plan.gate.auth,
        AuthPlan::SignedToken {
            principal: "svc:world_stream_producer".into(),
            secret: SecretSource::File("/run/secrets/ig-token-key".into()),
        }
    );
    assert_eq!(
        plan.gate.ca_file.as_deref(),
        Some(Path::new("/etc/ssl/ig-ca.pem"))
    );
    assert_eq!(plan.gate.retry.attempts, 8);
    assert_eq!(plan.gate.quarantine.max_count, Some(100));
    assert_eq!(plan.checkpoint.flush_every, 1000);
    assert_eq!(
        plan.checkpoint.store,
        CheckpointStorePlan::File {
            root: "/var/lib/worldstream/checkpoints".into()
        }
    );
    assert_eq!(plan.pace.catch_up_eps, Some(2000.0));
    assert_eq!(plan.pace.speedup, 60.0);
    assert!(plan.world.require_seal && plan.world.require_manifest);
}

#[test]
fn flags_win_over_the_stream_and_the_stream_over_the_profile() {
    let case = |args: &[&'static str]| Case {
        files: vec![
            (
                "s.yaml",
                stream(&[
                    "speedup: 20",
                    "inFlight: 3",
                    "lanes: {count: 4, only: 2}",
                    "outputs: [a]",
                ]),
            ),
            (
                "p.yaml",
                profile(&[
                    "gate: {url: \"http://profile\", inFlight: 2}",
                    "defaults: {speedup: 10, overload: Fail, maxLag: 1s, maxEventsPerOutput: 9}",
                    "checkpoints: {file: {root: cursors}}",
                    "world: {oracleRoot: /worlds, scenario: configured}",
                    "runsRoot: elsewhere",
                ]),
            ),
        ],
        args: args.to_vec(),
        code: "",
        parts: vec![],
    };
    let plan = run(&case(&[])).unwrap();
    assert_eq!(plan.pace.speedup, 20.0);
    assert_eq!(plan.gate.in_flight, 3);
    assert_eq!(
        plan.identity.lanes,
        Lanes {
            count: 4,
            only: Some(2)
        }
    );
    assert_eq!(plan.pace.overload, Overload::Fail);
    assert_eq!(plan.pace.max_lag, Duration::from_secs(1));
    assert_eq!(plan.range.max_events_per_output, Some(9));
    assert_eq!(plan.world.scenario.as_deref(), Some("configured"));
    assert_eq!(plan.world.allowed_roots, ["/worlds"]);
    assert_eq!(plan.world.selection.outputs, ["a"]);
    assert_eq!(plan.gate.url, "http://profile/v1/ingest/push");
    assert_eq!(
        plan.run_dir,
        Path::new("elsewhere/platform_20260101T000000Z")
    );
    assert_eq!(
        plan.checkpoint.store,
        CheckpointStorePlan::File {
            root: "cursors".into()
        }
    );

    let plan = run(&case(&[
        "--speedup",
        "-1",
        "--in-flight",
        "256",
        "--lanes",
        "8",
        "--output",
        "b",
        "--output",
        "c",
        "--gate-url",
        "http://flag/v1/ingest/push",
        "--checkpoint-root",
        "there",
        "--overload",
        "catch-up",
        "--max-lag",
        "1m30s",
        "--scenario",
        "asked",
        "--on-output-failure",
        "continue",
        "--max-events-per-output",
        "7",
        "--attempt",
        "again",
        "--engine-run-root",
        "s3://b/w/",
        "--traffic-mode",
        "baseline",
        "--scenario-run-id",
        "abababababababababababababababab",
        "--platform-run-id",
        "platform_20270101T000000Z",
        "--until",
        "2026-01-01T00:00:00+01:00",
    ]))
    .unwrap();
    assert_eq!(plan.pace.speedup, 0.0);
    assert_eq!(plan.gate.in_flight, 256);
    assert_eq!(
        plan.identity.lanes,
        Lanes {
            count: 8,
            only: None
        }
    );
    assert_eq!(plan.world.selection.outputs, ["b", "c"]);
    assert_eq!(plan.gate.url, "http://flag/v1/ingest/push");
    assert_eq!(
        plan.checkpoint.store,
        CheckpointStorePlan::File {
            root: "there".into()
        }
    );
    assert_eq!(plan.pace.overload, Overload::CatchUp);
    assert_eq!(plan.pace.max_lag, Duration::from_secs(90));
    assert_eq!(plan.pace.on_output_failure, OnOutputFailure::Continue);
    assert_eq!(plan.world.scenario.as_deref(), Some("asked"));
    assert_eq!(plan.range.max_events_per_output, Some(7));
    assert_eq!(plan.identity.attempt, "again");
    assert_eq!(plan.world.engine_run_root, "s3://b/w/");
    assert_eq!(plan.world.selection.mode, Some(TrafficMode::Baseline));
    assert_eq!(
        plan.world.selection.traffic,
        ["s2_event_stream_baseline_6B"]
    );
    assert_eq!(plan.identity.platform_run_id, "platform_20270101T000000Z");
    assert_eq!(
        plan.run_dir,
        Path::new("elsewhere/platform_20270101T000000Z")
    );
    assert_eq!(
        plan.range.until,
        EventTime::parse_rfc3339("2025-12-31T23:00:00Z").ok()
    );
}

#[test]
fn a_profile_is_found_by_file_by_name_in_the_files_and_built_in() {
    let own_local = profile(&["gate: {url: \"http://own\"}"]).replace("name: mine", "name: local");
    let case = |files: Vec<(&'static str, String)>, args: &[&'static str]| Case {
        files,
        args: args.to_vec(),
        code: "",
        parts: vec![],
    };
    let named = |name: &str| stream(&[]).replace("profile: mine", &format!("profile: {name}"));
    let none = stream(&[]).replace("  profile: mine\n", "");
    // Documents come before what is built in.
    let plan = run(&case(
        vec![("s.yaml", named("local")), ("p.yaml", own_local.clone())],
        &[],
    ))
    .unwrap();
    assert_eq!(plan.gate.url, "http://own/v1/ingest/push");
    let plan = run(&case(vec![("s.yaml", named("local"))], &[])).unwrap();
    assert_eq!(plan.gate.url, "http://127.0.0.1:8081/v1/ingest/push");
    // The flag wins over the stream, by file and by name.
    let files = vec![("s.yaml", named("dev")), ("_p.yaml", own_local.clone())];
    let plan = run(&case(files, &["--profile", "$DIR/_p.yaml"])).unwrap();
    assert_eq!(plan.gate.url, "http://own/v1/ingest/push");
    let plan = run(&case(
        vec![("s.yaml", named("dev"))],
        &["--profile", "prod"],
    ))
    .unwrap();
    assert_eq!(plan.profile, "prod");
    // The only one in the files needs no name.
    let plan = run(&case(vec![("s.yaml", none), ("p.yaml", own_local)], &[])).unwrap();
    assert_eq!(plan.profile, "local");
}

#[test]
fn files_that_a_profile_names_are_read_and_kept_with_their_names() {
    let lines = [
        GATE,
        "catalogue: {file: $DIR/_catalogue.yaml}",
        "gateMap: {inline: \"gates: []\"}",
        "trafficOutputs: {fraud: {file: $DIR/_bare.yaml}}",
        "contextOutputs: {fraud: {outputIds: []}}",
    ];
    let mut case = bad_profile(&lines, "", &[]);
    case.files.push(("_catalogue.yaml", "outputs: []\n".into()));
    case.files.push(("_bare.yaml", "[\"x\", \"y\"]\n".into()));
    let plan = run(&case).unwrap();
    assert!(plan.world.catalogue.name.ends_with("/_catalogue.yaml"));
    assert_eq!(plan.world.catalogue.text.as_deref(), Ok("outputs: []\n"));
    assert_eq!(plan.world.gate_map.text.as_deref(), Ok("gates: []"));
    assert!(
        plan.world
            .gate_map
            .name
            .ends_with("p.yaml: spec.gateMap.inline")
    );
    assert_eq!(plan.world.selection.traffic, ["x", "y"]);
    assert!(plan.world.selection.context_fraud.is_empty());

    // A catalogue that is not there is the world's to refuse, with its own code.
    let plan = run(&bad_profile(
        &[GATE, "catalogue: {file: $DIR/absent.yaml}"],
        "",
        &[],
    ))
    .unwrap();
    assert!(plan.world.catalogue.text.is_err());
}

#[test]
fn documents_of_a_cluster_are_taken_as_they_are() {
    let text = stream(&[]).replace(
        "  name: a\n",
        "  name: a\n  namespace: n\n  uid: u\n  resourceVersion: \"1\"\n  generation: 1\n  creationTimestamp: 2026-01-01T00:00:00Z\n  managedFields: [{manager: kubectl}]\n",
    ) + "status: {phase: Running}\n";
    let mut documents = Documents::default();
    assert_eq!(
        documents.add("s.yaml", &format!("%YAML 1.2\n---\n{text}...\n")),
        Ok(1)
    );
    assert_eq!(documents.stream.unwrap().name, "a");
}

#[test]
fn the_built_in_catalogue_and_gate_map_fit_the_golden_worlds() {
    let yaml = |name| -> serde_json::Value {
        serde_saphyr::from_str(built_in::text(name).unwrap()).unwrap()
    };
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
    let (catalogue, gate_map) = (yaml("catalogue.yaml"), yaml("gate_map.yaml"));
    let outputs = catalogue["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 6);
    for world in ["world-a", "world-b"] {
        let text = std::fs::read_to_string(golden.join(world).join("run_receipt.json")).unwrap();
        let receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
        let scenario = if world == "world-b" {
            "stress_v3"
        } else {
            "baseline_v1"
        };
        let filled = |template: &serde_json::Value| {
            let mut text = template.as_str().unwrap().trim().to_owned();
            for field in ["seed", "manifest_fingerprint", "parameter_hash"] {
                let value = receipt[field].to_string();
                text = text.replace(&format!("{{{field}}}"), value.trim_matches('"'));
            }
            golden
                .join(world)
                .join(text.replace("{scenario_id}", scenario))
        };
        for output in outputs {
            let parts = filled(&output["path_template"]);
            assert_eq!(parts.file_name().unwrap(), "part-*.parquet");
            let found = std::fs::read_dir(parts.parent().unwrap()).unwrap().count();
            assert!(found > 0, "{world}: {}", output["output_id"]);
            assert!(!output["primary_key"].as_array().unwrap().is_empty());
            for gate in output["read_requires_gates"].as_array().unwrap() {
                let gates = gate_map["gates"].as_array().unwrap();
                let gate = gates.iter().find(|it| it["gate_id"] == *gate).unwrap();
                let flag =
                    std::fs::read_to_string(filled(&gate["passed_flag_path_template"])).unwrap();
                let method = &gate["verification_method"];
                let (field, digest) = flag.trim().split_once(" = ").unwrap();
                assert_eq!(method["digest_field"], field, "{world}");
                assert!(filled(&gate["bundle_root_template"]).is_dir());
                let index = std::fs::read_to_string(filled(&gate["index_path_template"])).unwrap();
                let index: serde_json::Value = serde_json::from_str(&index).unwrap();
                let mut paths: Vec<&str> = index["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["path"].as_str().unwrap())
                    .collect();
                paths.sort_unstable();
                let excluded = method["exclude_filenames"].as_array().unwrap();
                let mut hash = sha2::Sha256::default();
                for path in paths {
                    let name = path.rsplit('/').next().unwrap();
                    if excluded.iter().all(|it| it != name) {
                        let file = filled(&gate["bundle_root_template"]).join(path);
                        sha2::Digest::update(&mut hash, std::fs::read(file).unwrap());
                    }
                }
                assert_eq!(
                    const_hex::encode(sha2::Digest::finalize(hash)),
                    digest,
                    "{world}"
                );
            }
        }
    }
    // Every gate that another depends on is in the map.
    let gates = gate_map["gates"].as_array().unwrap();
    for gate in gates {
        for upstream in gate["upstream_gate_dependencies"].as_array().unwrap() {
            assert!(
                gates.iter().any(|it| it["gate_id"] == *upstream),
                "{upstream}"
            );
        }
    }
}

#[test]
fn the_schemas_take_what_the_golden_worlds_and_events_hold() {
    let schema = |name: &str| {
        let schema: serde_json::Value =
            serde_saphyr::from_str(built_in::text(&format!("schemas/{name}.schema.yaml")).unwrap())
                .unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
    let json = |path: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(golden.join(path)).unwrap()).unwrap()
    };
    for (name, file) in [
        ("run_receipt", "world-a/run_receipt.json"),
        ("run_receipt", "world-b/run_receipt.json"),
        ("pack_manifest", "world-a/_oracle_pack_manifest.json"),
        ("seal", "world-a/_SEALED.json"),
    ] {
        let value = json(file);
        assert!(schema(name).is_valid(&value), "{file}");
        for field in value.as_object().unwrap().keys() {
            let mut less = value.clone();
            less.as_object_mut().unwrap().remove(field);
            let needed = ["run_id", "manifest_fingerprint", "parameter_hash", "seed"];
            if name != "run_receipt" || needed.contains(&field.as_str()) {
                assert!(!schema(name).is_valid(&less), "{file} without {field}");
            }
        }
        let mut more = value.clone();
        more["more"] = 1.into();
        assert_eq!(
            schema(name).is_valid(&more),
            name == "run_receipt",
            "{file}"
        );
    }
    // What the real IG calls an invalid envelope is invalid here, and what it takes is valid.
    let envelope = schema("envelope");
    let mut seen = [0, 0];
    for case in json("ig/cases.json").as_array().unwrap() {
        let (body, codes) = (
            &case["request_body"],
            &case["response"]["receipt"]["reason_codes"],
        );
        let invalid = codes == &serde_json::json!(["ENVELOPE_INVALID"]);
        if invalid || case["response"]["decision"] == "ADMIT" {
            assert_eq!(envelope.is_valid(body), !invalid, "{}", case["case"]);
            seen[usize::from(invalid)] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count >= 3), "{seen:?}");
}

#[test]
fn policy_files_are_bare_lists_or_have_a_version() {
    for text in [
        "- a\n- b\n",
        "[a, b]",
        "version: 3\noutput_ids: [a, b]\n",
        "output_ids:\n- a\n- b\n",
    ] {
        assert_eq!(output_ids("list.yaml", text).unwrap(), ["a", "b"], "{text}");
    }
    assert!(output_ids("list.yaml", "[]").unwrap().is_empty());
    for (name, text) in built_in::FILES {
        if name.starts_with("outputs/") {
            assert!(!output_ids(name, text).unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn a_document_that_is_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    let error = read_documents(&[file]).unwrap_err().to_string();
    assert!(error.contains("s.yaml: cannot be read"), "{error}");
}

#[test]
fn a_database_of_checkpoints() {
    let with = |checkpoints: &'static str, args: &[&'static str]| {
        run(&Case {
            files: vec![
                ("s.yaml", stream(&[])),
                ("p.yaml", profile(&[GATE, checkpoints])),
            ],
            args: args.to_vec(),
            code: "",
            parts: Vec::new(),
        })
    };
    let least = "checkpoints: {postgres: {dsn: {env: DSN}}}";
    let CheckpointStorePlan::Postgres(plan) = with(least, &[]).unwrap().checkpoint.store else {
        panic!("another store");
    };
    assert_eq!(plan.dsn, SecretSource::Env("DSN".into()));
    assert_eq!(plan.lease_term, Duration::from_secs(15));
    assert_eq!(plan.timeout, Duration::from_secs(10));
    // The flag's folder wins.
    let files = with(least, &["--checkpoint-root", "here"]).unwrap();
    let here = CheckpointStorePlan::File {
        root: "here".into(),
    };
    assert_eq!(files.checkpoint.store, here);
    for (wrong, part) in [
        (
            "checkpoints: {postgres: {}}",
            "spec.checkpoints.postgres.dsn",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN}}, file: {}}",
            "spec.checkpoints.postgres",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN}, leaseTerm: 999ms}}",
            "expected 1s to 1h",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN}, leaseTerm: 61m}}",
            "expected 1s to 1h",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN}, timeout: 0s}}",
            "spec.checkpoints.postgres.timeout",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN, file: f}}}",
            "spec.checkpoints.postgres.dsn",
        ),
        (
            "checkpoints: {postgres: {dsn: {env: DSN}, caFile: \"\"}}",
            "spec.checkpoints.postgres.caFile",
        ),
    ] {
        let (code, message) = with(wrong, &[]).unwrap_err();
        assert!(message.contains(part), "{wrong}: {code}: {message}");
        let missing = wrong == "checkpoints: {postgres: {}}";
        assert_eq!(code == "CHECKPOINT_DSN_MISSING", missing, "{wrong}: {code}");
    }
}
