//! What flags, streams and profiles come to.

use super::*;

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
