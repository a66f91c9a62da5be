//! Profiles, documents and policy files that are found and read.

use super::*;

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
