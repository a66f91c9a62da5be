//! Small worlds that are whole.

use super::*;

#[test]
fn a_whole_world_verifies_and_says_what_it_is() {
    let world = World::whole();
    let found = wait(world.verify()).unwrap();
    assert_eq!(found.key, world.key());
    assert_eq!(found.receipt.seed, u64::MAX);
    assert_eq!(found.root, world.plan.engine_run_root);
    assert_eq!(found.store.root(), found.root);
    assert!(found.pack.unwrap().sealed);
    assert!(found.warnings.is_empty());
}

/// What is laxer than it looks, on purpose.
#[test]
fn worlds_that_are_odd_and_whole_verify() {
    type Change = fn(&mut World);
    let cases: &[(&str, Change)] = &[
        ("a flag seals as well", |w| {
            w.remove("_SEALED.json");
            w.write_bytes("_SEALED.flag", b"");
        }),
        ("both seals", |w| w.write_bytes("_SEALED.flag", b"anything")),
        ("no pack where none is required", |w| {
            w.remove("_oracle_pack_manifest.json");
            w.remove("_SEALED.json");
            w.plan.require_manifest = false;
            w.plan.require_seal = false;
        }),
        ("more fields in the receipt and the seal", |w| {
            w.edit("run_receipt.json", |r| {
                r["more"] = json!({"a": [1.5, null]})
            });
            w.edit("_SEALED.json", |s| s["more"] = json!(1));
        }),
        ("seed 0", |w| {
            w.edit("run_receipt.json", |r| r["seed"] = json!(0));
            w.edit("_oracle_pack_manifest.json", |m| {
                m["world_key"]["seed"] = json!(0)
            });
            w.reseal();
        }),
        ("a key twice in the receipt: the last counts", |w| {
            let text = std::fs::read_to_string(w.path("run_receipt.json")).unwrap();
            let text = text.replacen('{', "{\"seed\": 3, ", 1);
            w.write_bytes("run_receipt.json", text.as_bytes());
        }),
        ("the only scenario is found, however deep", |w| {
            w.plan.scenario = None;
            w.write_bytes("data/a/b/scenario_id=calm_v2/c/d", b"");
            w.write_bytes("reports/scenario_id=calm_v2/d", b"");
            w.write_bytes("other/scenario_id=elsewhere/d", b"");
            w.write_bytes("data/scenario_id=a_file", b"");
        }),
        ("an empty scenario is none", |w| {
            w.plan.scenario = Some(String::new());
            std::fs::create_dir_all(w.path("config/scenario_id=calm_v2")).unwrap();
        }),
        ("a trailing slash in the root", |w| {
            w.plan.engine_run_root.push_str("//./")
        }),
        ("mounted", |w| {
            w.plan.mounts = vec![Mount {
                from: "s3://b/runs/".into(),
                to: w.plan.engine_run_root.clone(),
            }];
            w.plan.engine_run_root = "s3://b/runs/".into();
        }),
        ("digests that differ, not compared", |w| {
            w.plan.catalogue = named(format!("{CATALOGUE}# more"));
            w.plan.compare_digests = false;
        }),
        ("gates not asked for may be absent", |w| {
            w.plan.gate_upstream = false;
            w.remove(&w.gate("1A", ""));
            w.remove(&w.gate("3A", ""));
        }),
        ("wrong digests where flags need only exist", |w| {
            w.plan.gate_check = GateCheck::Existence;
            w.write_bytes(&w.gate("6B", "_passed.flag"), b"");
            w.remove(&w.gate("6B", "index.json"));
        }),
        ("files beside the listed ones", |w| {
            w.write_bytes(&w.gate("6B", "more.json"), b"x");
        }),
        ("names as they are", |w| {
            let (odd, text) = ("b/r#1 %20é.json", "odd");
            w.write_bytes(&w.gate("6B", odd), text.as_bytes());
            w.write(&w.gate("6B", "index.json"), &json!([{"path": odd}]));
            let digest = super::super::identity::sha256_hex(text);
            w.write_bytes(
                &w.gate("6B", "_passed.flag"),
                format!("sha256_hex={digest}").as_bytes(),
            );
        }),
        ("an output without gates", |w| {
            let text = CATALOGUE.replace("read_requires_gates: [gate.layer2.5B.validation]", "");
            w.plan.catalogue = named(text);
            w.plan.compare_digests = false;
            w.plan.gate_upstream = false;
            w.remove(&w.gate("5B", ""));
        }),
        ("comments in the allowlist", |w| {
            w.plan.producer_allowlist = Some(named(format!("# who\n\n{PRODUCER} # us\r\nx")));
        }),
        ("below an allowed root", |w| {
            w.plan.allowed_roots = vec![w.path("..").to_str().unwrap().into()];
        }),
    ];
    for (name, change) in cases {
        let mut world = World::whole();
        change(&mut world);
        if let Err(failure) = wait(world.verify()) {
            panic!("{name}: {failure}");
        }
    }
}

#[test]
fn both_traffic_outputs_are_warned_about() {
    let mut world = World::whole();
    world
        .plan
        .selection
        .traffic
        .push("s2_event_stream_baseline_6B".into());
    world.plan.selection.mode = None;
    let found = wait(world.verify()).unwrap();
    assert_eq!((found.outputs.len(), found.warnings.len()), (5, 1));
    assert!(found.warnings[0].contains("s2_event_stream_baseline_6B"));
}

#[test]
fn a_world_reads_its_files_by_their_names() {
    let world = World::whole();
    let store = root::open(&world.plan).unwrap();
    for name in ["a#b", "%2e%2e", "100%", "ü x", "{a}", "a\\b", "[x]*?"] {
        world.write_bytes(&format!("odd/{name}"), name.as_bytes());
        let read = wait(store.read(&format!("odd/{name}"))).unwrap();
        assert_eq!(read.as_deref(), Some(name.as_bytes()), "{name}");
    }
    let walked = wait(store.walk("odd")).unwrap();
    assert_eq!(walked.len(), 7);
    for (name, meta) in walked {
        assert_eq!(
            store.location(&format!("odd/{name}")),
            meta.location,
            "{name}"
        );
    }
    std::fs::write(world.path("../outside"), b"x").unwrap();
    for name in [
        "../outside",
        "odd/../../outside",
        "%2e%2e/outside",
        "odd/./a#b",
    ] {
        assert!(wait(store.read(name)).unwrap().is_none(), "{name}");
    }
}
