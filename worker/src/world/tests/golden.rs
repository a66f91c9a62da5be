//! Golden worlds.

use super::*;

/// The verdict of a gate case: what `golden/gates/cases.json` calls it.
fn verdict(result: &Result<()>) -> String {
    match result.as_ref().map_err(Failure::reason) {
        Ok(()) => "PASS".into(),
        Err(Reason::GatePassInvalid) => "FAIL".into(),
        Err(Reason::GatePassMissing) => "MISSING".into(),
        Err(other) => other.to_string(),
    }
}

#[test]
fn golden_gates_have_the_references_verdict() {
    let cases = std::fs::read_to_string(format!("{GOLDEN}/gates/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), 16);
    let catalogue = Catalogue::parse(&named(
        "outputs: [{output_id: o, path_template: x, read_requires_gates: [gate.g]}]",
    ))
    .unwrap();
    let key = WorldKey {
        manifest_fingerprint: "f".repeat(64),
        parameter_hash: "e".repeat(64),
        scenario_id: "s".into(),
        seed: 1,
    };
    for case in cases {
        let place = Path::new(GOLDEN)
            .join("gates")
            .join(case["root"].as_str().unwrap());
        let store = WorldStore::new(
            Arc::new(LocalFileSystem::new_with_prefix(place).unwrap()),
            object_store::path::Path::default(),
            "s3://gates/w",
        );
        // JSON is YAML.
        let map = GateMap::parse(&named(json!({"gates": [case["gate"]]}).to_string())).unwrap();
        let gates = Gates {
            store: &store,
            map: &map,
            key: &key,
            run_id: "r",
        };
        let outputs = [catalogue.get("o").unwrap()];
        let digest = wait(gates.check(outputs, GateCheck::Digest, false));
        assert_eq!(verdict(&digest), case["expect"], "{case}: {digest:?}");
        if let Err(failure) = digest {
            let message = failure.message();
            assert!(message.contains("gate gate.g"), "{message}");
            assert!(
                message.contains("s3://gates/w/data/g/validation/"),
                "{message}"
            );
        }
        let existence = wait(gates.check(outputs, GateCheck::Existence, false));
        assert_eq!(existence.is_ok(), case["root"] != "no-flag", "{case}");
    }
}

/// A golden world's plan: its name, mounted; of the gates it holds 5B and 6B alone.
fn golden(world: &str, name: &str) -> WorldPlan {
    let mut plan = testkit::plan(name);
    plan.mounts = vec![Mount {
        from: name.into(),
        to: format!("{GOLDEN}/{world}"),
    }];
    plan.compare_digests = false;
    plan.gate_upstream = false;
    plan
}

#[test]
fn world_a_verifies_with_all_that_can_be_required() {
    let mut plan = golden("world-a", "s3://oracle-store/runs/world-a");
    plan.scenario = Some("baseline_v1".into());
    let world = verified(&plan).unwrap();
    let pack = world.pack.unwrap();
    assert!(pack.sealed);
    assert_eq!(pack.engine_release, "rel-1");
    assert_eq!(world.pack_key, pack.oracle_pack_id);
    assert_eq!(world.root, "s3://oracle-store/runs/world-a");
    assert_eq!(world.key.seed, 7);
    assert_eq!(world.receipt.run_id, "20d40f25e9592e3bb85af130218248ce");
    let outputs: Vec<_> = world
        .outputs
        .iter()
        .map(|o| (o.id.as_str(), o.role))
        .collect();
    assert_eq!(
        outputs,
        [
            ("arrival_events_5B", Role::Context),
            ("s1_arrival_entities_6B", Role::Context),
            ("s3_flow_anchor_with_fraud_6B", Role::Context),
            ("s3_event_stream_with_fraud_6B", Role::Traffic),
        ]
    );
    assert_eq!(world.mode, TrafficMode::Fraud);
    assert!(world.outputs.iter().all(|output| output.view.rows > 0));

    plan.selection.traffic = vec!["s2_event_stream_baseline_6B".into()];
    plan.selection.mode = Some(TrafficMode::Baseline);
    let baseline = verified(&plan).unwrap();
    assert_eq!(baseline.mode, TrafficMode::Baseline);
    assert_eq!(baseline.outputs[2].id, "s2_flow_anchor_baseline_6B");
    assert!(baseline.warnings.is_empty());

    // The same world by the name of the place where it is read has other view ids.
    let mut renamed = plan.clone();
    renamed.engine_run_root = format!("{GOLDEN}/world-a");
    assert_eq!(
        verified(&renamed).unwrap_err().reason(),
        Reason::StreamViewIdMismatch
    );

    plan.compare_digests = true;
    let failure = verified(&plan).unwrap_err();
    assert_eq!(failure.reason(), Reason::ManifestMismatch);
    assert!(
        failure.message().contains("catalogue_digest: found 0000"),
        "{failure}"
    );
    plan.compare_digests = false;
    plan.gate_upstream = true;
    let failure = verified(&plan).unwrap_err();
    assert_eq!(failure.reason(), Reason::GatePassMissing);
    assert!(
        failure.message().contains("gate.layer1.3A.validation"),
        "{failure}"
    );
    plan.gate_upstream = false;
    plan.scenario = Some("stress_v3".into());
    assert_eq!(
        verified(&plan).unwrap_err().reason(),
        Reason::WorldKeyMismatch
    );
    plan.scenario = None;
    assert_eq!(
        verified(&plan).unwrap_err().reason(),
        Reason::ScenarioIdMissing
    );
}

#[test]
fn world_b_verifies_where_neither_manifest_nor_seal_is_required() {
    let mut plan = golden("world-b", "/data/worlds/world b");
    plan.scenario = None;
    plan.require_seal = false;
    let failure = verified(&plan).unwrap_err();
    assert_eq!(failure.reason(), Reason::PackManifestMissing);
    plan.require_manifest = false;
    plan.require_seal = true;
    assert_eq!(verified(&plan).unwrap_err().reason(), Reason::PackNotSealed);
    plan.require_seal = false;
    let world = verified(&plan).unwrap();
    assert_eq!(
        world.key.scenario_id, "stress_v3",
        "the only one in the world"
    );
    assert_eq!(world.key.seed, 4294967311);
    assert!(world.pack.is_none());
    assert_eq!(world.pack_key, fallback_pack_key("/data/worlds/world b"));
    assert_eq!(world.outputs.len(), 4);
    for output in &world.outputs {
        assert!(output.view.rows > 0 && !output.view.parts.is_empty());
        let folder = format!(
            "{GOLDEN}/world-b/stream_view/ts_utc/output_id={}",
            output.id
        );
        let manifest = std::fs::read(format!("{folder}/_stream_view_manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(output.view.view_id, manifest["stream_view_id"]);
    }
}

#[test]
fn world_c_verifies_by_its_name_outside_ascii() {
    let mut plan = golden("world-c", "s3://oracle-store/runs/wörld-c");
    plan.require_manifest = false;
    plan.require_seal = false;
    plan.scenario = Some("baseline_v1".into());
    let failure = verified(&plan).unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamViewMissing, "{failure}");
    let view =
        "s3://oracle-store/runs/wörld-c/stream_view/ts_utc/output_id=s1_arrival_entities_6B/";
    assert!(failure.message().contains(view), "{failure}");

    plan.selection.context_fraud.truncate(1);
    let world = verified(&plan).unwrap();
    assert_eq!(world.outputs.len(), 2);
    assert_eq!(world.key.seed, 11);
    assert_eq!(
        world.pack_key,
        fallback_pack_key("s3://oracle-store/runs/wörld-c")
    );
}
