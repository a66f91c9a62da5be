//! Whole worlds: golden ones, and small ones with one thing broken each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use serde_json::{Value, json};
use worldstream_crds::{GateCheck, Reason, TrafficMode};

use super::catalogue::Catalogue;
use super::gatemap::GateMap;
use super::gates::Gates;
use super::identity::fallback_pack_key;
use super::testkit::{self, CATALOGUE, GATE_MAP, PRODUCER, World};
use super::{Role, WorldKey, WorldStore, root, verify::verify_with};
use crate::failure::{Failure, Result};
use crate::plan::{Mount, Named, WorldPlan};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn named(text: impl Into<String>) -> Named {
    Named {
        name: "broken.yaml".into(),
        text: Ok(text.into()),
    }
}

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

fn verified(plan: &WorldPlan) -> Result<super::VerifiedWorld> {
    wait(super::verify(plan))
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
            let digest = super::identity::sha256_hex(text);
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

/// The order of checks: with everything broken, each repair shows the next failure.
#[test]
fn the_first_check_that_fails_gives_the_code() {
    let mut world = World::whole();
    let root = world.plan.engine_run_root.clone();
    let whole = World::whole();
    let copy = |to: &World, file: &str| {
        to.write_bytes(file, &std::fs::read(whole.path(file)).unwrap());
    };
    world.plan.engine_run_root = String::new();
    world.plan.allowed_roots = vec!["/elsewhere".into()];
    world.write_bytes("run_receipt.json", b"{");
    world.plan.scenario = None;
    world.remove("_oracle_pack_manifest.json");
    world.remove("_SEALED.json");
    world.plan.catalogue = named("outputs: 1");
    world.plan.selection.outputs = vec!["nowhere".into()];
    world.plan.producer_id = String::new();
    world.remove(&world.gate("6B", "_passed.flag"));
    let failed = |world: &World| {
        wait(verify_with(&world.plan, async |store, _, output| {
            Err(Failure::new(Reason::StreamViewMissing, store.name(output)))
        }))
        .unwrap_err()
        .reason()
    };
    type Repair<'a> = &'a dyn Fn(&mut World);
    let repairs: [(Reason, Repair); 12] = [
        (Reason::EngineRootMissing, &|w| {
            w.plan.engine_run_root = root.clone()
        }),
        (Reason::RootNotAllowed, &|w| w.plan.allowed_roots.clear()),
        (Reason::RunReceiptUnreadable, &|w| {
            w.write_bytes("run_receipt.json", b"{}")
        }),
        (Reason::WorldKeyMissing, &|w| copy(w, "run_receipt.json")),
        (Reason::ScenarioIdMissing, &|w| {
            w.plan.scenario = Some("calm_v2".into())
        }),
        (Reason::PackManifestMissing, &|w| {
            copy(w, "_oracle_pack_manifest.json")
        }),
        (Reason::PackNotSealed, &|w| copy(w, "_SEALED.json")),
        (Reason::StreamFailed, &|w| {
            w.plan.catalogue = named(CATALOGUE)
        }),
        (Reason::NoTrafficOutputs, &|w| {
            w.plan.selection.outputs.clear()
        }),
        (Reason::GatePassMissing, &|w| {
            copy(w, &w.gate("6B", "_passed.flag"))
        }),
        (Reason::ProducerIdMissing, &|w| {
            w.plan.producer_id = PRODUCER.into()
        }),
        (Reason::StreamViewMissing, &|_| {}),
    ];
    world.plan.compare_digests = false;
    for (expect, repair) in repairs {
        assert_eq!(failed(&world), expect);
        repair(&mut world);
    }
}

struct Broken {
    name: &'static str,
    change: fn(&mut World),
    reason: Reason,
    message: &'static [&'static str],
}

fn broken(
    name: &'static str,
    reason: Reason,
    message: &'static [&'static str],
    change: fn(&mut World),
) -> Broken {
    Broken {
        name,
        change,
        reason,
        message,
    }
}

const RECEIPT: &str = "run_receipt.json";
const MANIFEST: &str = "_oracle_pack_manifest.json";
const SEAL: &str = "_SEALED.json";

fn broken_receipts() -> Vec<Broken> {
    use Reason::{RunReceiptUnreadable as Unreadable, WorldKeyMissing as Missing};
    vec![
        broken(
            "no root at all",
            Unreadable,
            &["run root", "nothing at"],
            |w| w.plan.engine_run_root.push_str("/nowhere"),
        ),
        broken(
            "a file as root",
            Unreadable,
            &["run_receipt.json", "a file at"],
            |w| w.plan.engine_run_root.push_str("/run_receipt.json"),
        ),
        broken(
            "s3 without a bucket",
            Unreadable,
            &["s3:///x", "bucket"],
            |w| w.plan.engine_run_root = "s3:///x".into(),
        ),
        broken(
            "no root given",
            Reason::EngineRootMissing,
            &["engineRunRoot"],
            |w| w.plan.engine_run_root = "  ".into(),
        ),
        broken(
            "not allowed",
            Reason::RootNotAllowed,
            &["/srv/worlds", "run"],
            |w| w.plan.allowed_roots = vec!["/srv/worlds".into()],
        ),
        broken("climbing out", Reason::RootNotAllowed, &["/allowed"], |w| {
            w.plan.allowed_roots = vec!["/allowed".into()];
            w.plan.engine_run_root = format!("/allowed/..{}", w.plan.engine_run_root);
        }),
        broken("no receipt", Unreadable, &[RECEIPT, "no such file"], |w| {
            w.remove(RECEIPT)
        }),
        broken("a folder as receipt", Unreadable, &[RECEIPT], |w| {
            w.make_folder(RECEIPT)
        }),
        broken(
            "an empty receipt",
            Unreadable,
            &[RECEIPT, "an empty file"],
            |w| w.write_bytes(RECEIPT, b""),
        ),
        broken(
            "a truncated receipt",
            Unreadable,
            &[RECEIPT, "not JSON", "EOF"],
            |w| {
                let text = std::fs::read(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, &text[..text.len() / 2]);
            },
        ),
        broken(
            "a receipt and more",
            Unreadable,
            &[RECEIPT, "trailing"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, format!("{text}{text}").as_bytes());
            },
        ),
        broken(
            "a byte order mark",
            Unreadable,
            &[RECEIPT, "byte order mark"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, format!("\u{feff}{text}").as_bytes());
            },
        ),
        broken("not UTF-8", Unreadable, &[RECEIPT, "not UTF-8"], |w| {
            w.write_bytes(RECEIPT, b"{\"run_id\": \"\xff\"}")
        }),
        broken("NaN is not JSON", Unreadable, &[RECEIPT, "not JSON"], |w| {
            w.write_bytes(RECEIPT, b"{\"seed\": NaN}")
        }),
        broken("a list", Missing, &[RECEIPT, "a JSON object"], |w| {
            w.write(RECEIPT, &json!([1]))
        }),
        broken("null", Missing, &[RECEIPT, "found null"], |w| {
            w.write(RECEIPT, &Value::Null)
        }),
        broken(
            "no run id",
            Missing,
            &[RECEIPT, "run_id: found nothing", "32"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r.as_object_mut().unwrap().remove("run_id");
                })
            },
        ),
        broken("a long run id", Missing, &["run_id", "32"], |w| {
            w.edit(RECEIPT, |r| r["run_id"] = json!("a".repeat(64)))
        }),
        broken("a run id in capitals", Missing, &["run_id", "AAAA"], |w| {
            w.edit(RECEIPT, |r| r["run_id"] = json!("A".repeat(32)))
        }),
        broken(
            "no fingerprint",
            Missing,
            &["manifest_fingerprint: found nothing"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r.as_object_mut().unwrap().remove("manifest_fingerprint");
                })
            },
        ),
        broken(
            "a fingerprint with a g",
            Missing,
            &["manifest_fingerprint", "64"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r["manifest_fingerprint"] = json!("g".repeat(64))
                })
            },
        ),
        broken(
            "no parameter hash",
            Missing,
            &["parameter_hash: found null"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = Value::Null),
        ),
        broken(
            "a number as hash",
            Missing,
            &["parameter_hash: found 5"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = json!(5)),
        ),
        broken("no seed", Missing, &["seed: found nothing"], |w| {
            w.edit(RECEIPT, |r| {
                r.as_object_mut().unwrap().remove("seed");
            })
        }),
        broken(
            "a seed of -1",
            Missing,
            &["seed: found -1", "from 0 to"],
            |w| w.edit(RECEIPT, |r| r["seed"] = json!(-1)),
        ),
        broken("a seed of 1.0", Missing, &["seed: found 1.0"], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!(1.0))
        }),
        broken("a seed as text", Missing, &["seed: found \"7\""], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!("7"))
        }),
        broken("a seed of true", Missing, &["seed: found true"], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!(true))
        }),
        broken(
            "a seed of 2^64",
            Missing,
            &["seed: found 1.84", "18446744073709551615"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                let text = text.replace("18446744073709551615", "18446744073709551616");
                w.write_bytes(RECEIPT, text.as_bytes());
            },
        ),
        broken(
            "no scenario",
            Reason::ScenarioIdMissing,
            &["scenario_id="],
            |w| w.plan.scenario = None,
        ),
        broken(
            "scenario without a name",
            Reason::ScenarioIdMissing,
            &["scenario_id="],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/scenario_id=/x", b"");
            },
        ),
        broken(
            "two scenarios",
            Reason::ScenarioIdAmbiguous,
            &["found a, b"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/x/scenario_id=b/y", b"");
                w.write_bytes("config/scenario_id=a/y", b"");
            },
        ),
        broken(
            "nested scenarios",
            Reason::ScenarioIdAmbiguous,
            &["found a, b"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("reports/scenario_id=a/x/scenario_id=b/y", b"");
            },
        ),
        broken(
            "s3 is not searched",
            Reason::ScenarioIdMissing,
            &["s3://b/x"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/scenario_id=calm_v2/x", b"");
                w.plan.mounts = vec![Mount {
                    from: "s3://b/x".into(),
                    to: w.plan.engine_run_root.clone(),
                }];
                w.plan.engine_run_root = "s3://b/x".into();
            },
        ),
    ]
}

fn broken_packs() -> Vec<Broken> {
    use Reason::{
        ManifestMismatch, PackManifestInvalid as Invalid, PackManifestMissing, PackNotSealed,
        SealMismatch, WorldKeyMismatch as Mismatch,
    };
    vec![
        broken(
            "no manifest",
            PackManifestMissing,
            &[MANIFEST, "requires"],
            |w| w.remove(MANIFEST),
        ),
        broken(
            "a folder as manifest",
            Invalid,
            &[MANIFEST, "a folder"],
            |w| {
                w.make_folder(MANIFEST);
                w.plan.require_manifest = false;
            },
        ),
        broken(
            "an empty manifest",
            Invalid,
            &[MANIFEST, "an empty file"],
            |w| w.write_bytes(MANIFEST, b""),
        ),
        broken(
            "a manifest that is a list",
            Invalid,
            &[MANIFEST, "a JSON object"],
            |w| w.write(MANIFEST, &json!([])),
        ),
        broken(
            "one field more",
            Invalid,
            &[MANIFEST, "extra: found 1", "no field but"],
            |w| w.edit(MANIFEST, |m| m["extra"] = json!(1)),
        ),
        broken("one more in the key", Invalid, &["world_key.extra"], |w| {
            w.edit(MANIFEST, |m| m["world_key"]["extra"] = json!(1))
        }),
        broken(
            "no version",
            Invalid,
            &["version: found nothing", "a text"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m.as_object_mut().unwrap().remove("version");
                })
            },
        ),
        broken("a version of 1", Invalid, &["version: found 1"], |w| {
            w.edit(MANIFEST, |m| m["version"] = json!(1))
        }),
        broken(
            "no creation time",
            Invalid,
            &["created_at_utc: found \"\""],
            |w| w.edit(MANIFEST, |m| m["created_at_utc"] = json!("")),
        ),
        broken(
            "no world key",
            Invalid,
            &["world_key: found null", "an object"],
            |w| w.edit(MANIFEST, |m| m["world_key"] = Value::Null),
        ),
        broken(
            "a seed as text",
            Invalid,
            &["world_key.seed: found \"1\""],
            |w| w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!("1")),
        ),
        broken(
            "no scenario",
            Invalid,
            &["world_key.scenario_id: found nothing"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m["world_key"]
                        .as_object_mut()
                        .unwrap()
                        .remove("scenario_id");
                })
            },
        ),
        broken(
            "an empty scenario",
            Invalid,
            &["world_key.scenario_id", "1 to 256"],
            |w| w.edit(MANIFEST, |m| m["world_key"]["scenario_id"] = json!("")),
        ),
        broken(
            "no release",
            Invalid,
            &["engine_release: found \"\"", "1 to 128"],
            |w| w.edit(MANIFEST, |m| m["engine_release"] = json!("")),
        ),
        broken(
            "a short digest",
            Invalid,
            &["catalogue_digest", "64"],
            |w| w.edit(MANIFEST, |m| m["catalogue_digest"] = json!("00")),
        ),
        broken(
            "no digest",
            Invalid,
            &["gate_map_digest: found false"],
            |w| w.edit(MANIFEST, |m| m["gate_map_digest"] = json!(false)),
        ),
        broken(
            "an id that is none",
            Invalid,
            &["oracle_pack_id: found \"x\""],
            |w| w.edit(MANIFEST, |m| m["oracle_pack_id"] = json!("x")),
        ),
        broken(
            "another id",
            Invalid,
            &["oracle_pack_id: found 00", "id of its fields"],
            |w| w.edit(MANIFEST, |m| m["oracle_pack_id"] = json!("0".repeat(64))),
        ),
        broken(
            "an id of other fields",
            Invalid,
            &["oracle_pack_id", "of its fields"],
            |w| w.edit(MANIFEST, |m| m["engine_release"] = json!("rel-10")),
        ),
        broken(
            "another seed",
            Mismatch,
            &["world_key.seed: found 5, expected 1844"],
            |w| {
                w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!(5));
                w.reseal();
            },
        ),
        broken(
            "another seed, not resealed",
            Mismatch,
            &["world_key.seed"],
            |w| w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!(5)),
        ),
        broken(
            "another fingerprint",
            Mismatch,
            &["world_key.manifest_fingerprint"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m["world_key"]["manifest_fingerprint"] = json!("0".repeat(64))
                });
                w.reseal();
            },
        ),
        broken(
            "another hash",
            Mismatch,
            &["world_key.parameter_hash"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = json!("0".repeat(64))),
        ),
        broken(
            "another scenario",
            Mismatch,
            &["found calm_v2, expected stormy"],
            |w| w.plan.scenario = Some("stormy".into()),
        ),
        broken(
            "another catalogue",
            ManifestMismatch,
            &["catalogue_digest", "broken.yaml"],
            |w| w.plan.catalogue = named(format!("{CATALOGUE}# more")),
        ),
        broken(
            "another gate map",
            ManifestMismatch,
            &["gate_map_digest", "broken.yaml"],
            |w| w.plan.gate_map = named(format!("{GATE_MAP}\n")),
        ),
        broken(
            "no seal",
            PackNotSealed,
            &["no seal", SEAL, "_SEALED.flag"],
            |w| w.remove(SEAL),
        ),
        broken(
            "a seal that failed",
            PackNotSealed,
            &[SEAL, "SEALED_FAILED"],
            |w| w.edit(SEAL, |s| s["seal_status"] = json!("SEALED_FAILED")),
        ),
        broken(
            "failed, and a flag",
            PackNotSealed,
            &["SEALED_FAILED"],
            |w| {
                w.edit(SEAL, |s| s["seal_status"] = json!("SEALED_FAILED"));
                w.write_bytes("_SEALED.flag", b"");
                w.plan.require_seal = false;
            },
        ),
        broken(
            "a seal of another pack",
            SealMismatch,
            &[SEAL, "the manifest's"],
            |w| {
                w.edit(SEAL, |s| s["oracle_pack_id"] = json!("0".repeat(64)));
                w.plan.require_seal = false;
            },
        ),
        broken(
            "a seal without id",
            SealMismatch,
            &["oracle_pack_id: found nothing"],
            |w| {
                w.edit(SEAL, |s| {
                    s.as_object_mut().unwrap().remove("oracle_pack_id");
                })
            },
        ),
        broken(
            "a seal of no status",
            SealMismatch,
            &["seal_status: found MAYBE"],
            |w| w.edit(SEAL, |s| s["seal_status"] = json!("MAYBE")),
        ),
        broken(
            "an empty seal",
            SealMismatch,
            &[SEAL, "an empty file"],
            |w| w.write_bytes(SEAL, b""),
        ),
        broken("a folder as seal", SealMismatch, &[SEAL, "a folder"], |w| {
            w.make_folder(SEAL)
        }),
        broken("a folder as flag", PackNotSealed, &["no seal"], |w| {
            w.remove(SEAL);
            std::fs::create_dir(w.path("_SEALED.flag")).unwrap();
        }),
    ]
}

fn broken_policies() -> Vec<Broken> {
    use Reason::{
        NoTrafficOutputs, OutputUnknown, PrimaryKeyMissing, ProducerAllowlistEmpty,
        ProducerAllowlistMissing, ProducerAllowlistUnreadable, ProducerIdMissing,
        ProducerNotAllowed, StreamFailed,
    };
    vec![
        broken(
            "no catalogue",
            StreamFailed,
            &["broken.yaml", "catalogue"],
            |w| {
                w.plan.compare_digests = false;
                w.plan.catalogue = named("");
            },
        ),
        broken(
            "an unreadable catalogue",
            StreamFailed,
            &["c.yaml", "gone away"],
            |w| {
                w.plan.catalogue = Named {
                    name: "c.yaml".into(),
                    text: Err("gone away".into()),
                }
            },
        ),
        broken(
            "no gate map",
            StreamFailed,
            &["broken.yaml", "gates", "line 1"],
            |w| {
                w.plan.compare_digests = false;
                w.plan.gate_map = named("outputs: []");
            },
        ),
        broken(
            "an output not allowed",
            NoTrafficOutputs,
            &["found keyless"],
            |w| w.plan.selection.outputs = vec!["keyless".into()],
        ),
        broken("no allowlist", NoTrafficOutputs, &["empty list"], |w| {
            w.plan.selection.traffic.clear()
        }),
        broken(
            "truth as traffic",
            NoTrafficOutputs,
            &["s4_truth", "truth"],
            |w| w.plan.selection.traffic = vec!["s4_truth".into()],
        ),
        broken(
            "unknown context",
            OutputUnknown,
            &["nowhere", "catalogue.yaml"],
            |w| w.plan.selection.context_fraud = vec!["nowhere".into()],
        ),
        broken("truth as context", OutputUnknown, &["s4_truth"], |w| {
            w.plan.selection.context_fraud = vec!["s4_truth".into()]
        }),
        broken(
            "no primary key",
            PrimaryKeyMissing,
            &["catalogue.yaml", "keyless"],
            |w| w.plan.selection.traffic.push("keyless".into()),
        ),
        broken("no producer", ProducerIdMissing, &["producer.id"], |w| {
            w.plan.producer_id = String::new()
        }),
        broken(
            "a blank producer",
            ProducerIdMissing,
            &["producer.id"],
            |w| w.plan.producer_id = " ".into(),
        ),
        broken(
            "no list of producers",
            ProducerAllowlistMissing,
            &["allowlist"],
            |w| w.plan.producer_allowlist = None,
        ),
        broken(
            "an absent list",
            ProducerAllowlistMissing,
            &["allow.txt", "gone"],
            |w| {
                w.plan.producer_allowlist = Some(Named {
                    name: "/nowhere/allow.txt".into(),
                    text: Err("gone".into()),
                })
            },
        ),
        broken(
            "an unreadable list",
            ProducerAllowlistUnreadable,
            &["stream did"],
            |w| {
                let file = w.path("allow.txt");
                std::fs::write(&file, b"\xff").unwrap();
                w.plan.producer_allowlist = Some(Named {
                    name: file.to_str().unwrap().into(),
                    text: Err("stream did not contain valid UTF-8".into()),
                });
            },
        ),
        broken(
            "an empty list",
            ProducerAllowlistEmpty,
            &["broken.yaml", "no id"],
            |w| w.plan.producer_allowlist = Some(named("\n # nobody\n")),
        ),
        broken(
            "another producer",
            ProducerNotAllowed,
            &["found svc:other", PRODUCER],
            |w| w.plan.producer_id = "svc:other".into(),
        ),
    ]
}

fn broken_gates() -> Vec<Broken> {
    use Reason::{GatePassInvalid as Invalid, GatePassMissing as Missing, StreamFailed};
    const FLAG: &str = "_passed.flag";
    const INDEX: &str = "index.json";
    fn map(w: &mut World, from: &str, to: &str) {
        assert!(GATE_MAP.contains(from));
        w.plan.gate_map = named(GATE_MAP.replace(from, to));
        w.plan.compare_digests = false;
    }
    vec![
        broken(
            "no flag",
            Missing,
            &["6B/validation", FLAG, "gate.layer3.6B"],
            |w| w.remove(&w.gate("6B", FLAG)),
        ),
        broken(
            "no flag, by existence",
            Missing,
            &["5B/validation", "gate.layer2.5B"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.remove(&w.gate("5B", FLAG));
            },
        ),
        broken(
            "no flag upstream, by existence",
            Missing,
            &["gate.layer1.1A"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.remove(&w.gate("1A", FLAG));
            },
        ),
        broken("a folder as flag", Missing, &["gate.layer3.6B"], |w| {
            w.make_folder(&w.gate("6B", FLAG))
        }),
        broken(
            "a folder as flag, by existence",
            Missing,
            &["gate.layer3.6B"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.make_folder(&w.gate("6B", FLAG));
            },
        ),
        broken("a file above the flag", Missing, &["gate.layer3.6B"], |w| {
            w.remove("data/layer3/6B");
            w.write_bytes("data/layer3/6B", b"");
        }),
        broken(
            "an empty flag",
            Invalid,
            &["gate.layer3.6B", "empty flag"],
            |w| w.write_bytes(&w.gate("6B", FLAG), b""),
        ),
        broken(
            "another key",
            Invalid,
            &["other = 00", "sha256_hex = <"],
            |w| w.write_bytes(&w.gate("6B", FLAG), b"other = 00"),
        ),
        broken("a flag that is no text", Invalid, &["UTF-8"], |w| {
            w.write_bytes(&w.gate("6B", FLAG), b"\xff\xfe")
        }),
        broken(
            "an object without the field",
            Invalid,
            &["5B", "bundle_digest_sha256 ="],
            |w| w.write(&w.gate("5B", FLAG), &json!({"sha256_hex": "0"})),
        ),
        broken(
            "a wrong digest",
            Invalid,
            &["6B", "found 0000", "digest of its bundle"],
            |w| {
                let flag = format!("sha256_hex = {}", "0".repeat(64));
                w.write_bytes(&w.gate("6B", FLAG), flag.as_bytes());
            },
        ),
        broken(
            "a file that changed",
            Invalid,
            &["5B", "digest of its bundle"],
            |w| w.write_bytes(&w.gate("5B", "a.json"), b"[2]"),
        ),
        broken(
            "a file more in a whole bundle",
            Invalid,
            &["gate.layer1.1A"],
            |w| w.write_bytes(&w.gate("1A", "new"), b"x"),
        ),
        broken(
            "a file less in a whole bundle",
            Invalid,
            &["gate.layer1.1A"],
            |w| w.remove(&w.gate("1A", "a.json")),
        ),
        broken(
            "a listed file is absent",
            Missing,
            &["b/rows.json", "gate.layer2.5B"],
            |w| w.remove(&w.gate("5B", "b/rows.json")),
        ),
        broken(
            "a listed file is a folder",
            Missing,
            &["a.json", "gate.layer2.5B"],
            |w| w.make_folder(&w.gate("5B", "a.json")),
        ),
        broken("no index", Missing, &["5B", INDEX], |w| {
            w.remove(&w.gate("5B", INDEX))
        }),
        broken("no index of members", Missing, &["3A", INDEX], |w| {
            w.remove(&w.gate("3A", INDEX))
        }),
        broken(
            "an index that is no JSON",
            Invalid,
            &["5B", INDEX, "not JSON"],
            |w| w.write_bytes(&w.gate("5B", INDEX), b"- a"),
        ),
        broken(
            "an index without a list",
            Invalid,
            &[INDEX, "items or members"],
            |w| w.write(&w.gate("5B", INDEX), &json!({"paths": []})),
        ),
        broken(
            "an index of numbers",
            Invalid,
            &["1 in entry 0", "path"],
            |w| w.write(&w.gate("5B", INDEX), &json!({"items": [1]})),
        ),
        broken("an index with a null path", Invalid, &["entry 1"], |w| {
            w.write(
                &w.gate("5B", INDEX),
                &json!([{"path": "a.json"}, {"path": null}]),
            )
        }),
        broken(
            "a path that climbs",
            Invalid,
            &["../../x", "does not leave"],
            |w| {
                w.write(
                    &w.gate("5B", INDEX),
                    &json!([{"path": "b/../../../x"}, {"path": "../../x"}]),
                )
            },
        ),
        broken("an absolute path", Invalid, &["/etc/hostname"], |w| {
            w.write(&w.gate("5B", INDEX), &json!([{"path": "/etc/hostname"}]))
        }),
        broken(
            "a bare list of members",
            Invalid,
            &["3A", "members or items"],
            |w| w.write(&w.gate("3A", INDEX), &json!([{"sha256_hex": "00"}])),
        ),
        broken(
            "a member without digest",
            Invalid,
            &["3A", "entry 0", "sha256_hex"],
            |w| w.write(&w.gate("3A", INDEX), &json!({"members": [{"path": "B"}]})),
        ),
        broken(
            "members in another order",
            Invalid,
            &["gate.layer1.3A"],
            |w| {
                w.edit(&w.gate("3A", INDEX), |i| {
                    i["items"].as_array_mut().unwrap().reverse()
                })
            },
        ),
        broken("no bundle", Missing, &["elsewhere", "bundle"], |w| {
            let root = "bundle_root_template: data/layer2/5B/validation";
            map(w, root, "bundle_root_template: data/elsewhere")
        }),
        broken(
            "a gate that is not in the map",
            Missing,
            &["gate.layer2.5B", "arrival_"],
            |w| {
                map(
                    w,
                    "gate_id: gate.layer2.5B.validation",
                    "gate_id: gate.other",
                )
            },
        ),
        broken(
            "an upstream gate that is not",
            Missing,
            &["gate.layer1.1A", "3A"],
            |w| {
                map(
                    w,
                    "gate_id: gate.layer1.1A.validation",
                    "gate_id: gate.other",
                )
            },
        ),
        broken(
            "an unknown method",
            StreamFailed,
            &["gate.layer1.1A", "md5"],
            |w| map(w, "kind: sha256_bundle_digest", "kind: md5"),
        ),
        broken(
            "an unknown placeholder",
            StreamFailed,
            &["gate.layer2.5B", "{day}"],
            |w| {
                map(
                    w,
                    "path_template: data/layer2",
                    "path_template: data/{day}/layer2",
                )
            },
        ),
        broken(
            "a template that climbs",
            StreamFailed,
            &["leaves the run root"],
            |w| map(w, "path_template: data/layer2", "path_template: ../layer2"),
        ),
        broken(
            "a gate twice",
            StreamFailed,
            &["gates[1].gate_id", "a second time"],
            |w| map(w, "gate_id: gate.layer1.3A", "gate_id: gate.layer1.1A"),
        ),
        broken(
            "as listed is not ASCII order",
            Invalid,
            &["gate.layer2.5B"],
            |w| {
                map(
                    w,
                    "bundle_digest_sha256, ordering: ascii_lex",
                    "bundle_digest_sha256, ordering: index_order",
                )
            },
        ),
        broken(
            "not relative to the run root",
            Missing,
            &["gate.layer2.5B", "run/B"],
            |w| {
                map(
                    w,
                    "digest_field: bundle_digest_sha256",
                    "path_base: run_root, digest_field: bundle_digest_sha256",
                )
            },
        ),
    ]
}

/// One thing broken in each world: the code, and what the message names.
#[test]
fn broken_worlds_are_refused_with_their_code_and_a_message_that_names_what_is_wrong() {
    let tables = [
        broken_receipts(),
        broken_packs(),
        broken_policies(),
        broken_gates(),
    ];
    let mut tried = BTreeMap::new();
    for case in tables.into_iter().flatten() {
        let mut world = World::whole();
        (case.change)(&mut world);
        let failure = match wait(world.verify()) {
            Ok(_) => panic!("{}: verified", case.name),
            Err(failure) => failure,
        };
        assert_eq!(failure.reason(), case.reason, "{}: {failure}", case.name);
        for part in case.message {
            assert!(
                failure.message().contains(part),
                "{}: {part:?} is not in {failure}",
                case.name
            );
        }
        assert!(!failure.to_string().contains('\n'), "{failure}");
        *tried.entry(case.reason).or_insert(0) += 1;
    }
    assert!(tried.values().sum::<i32>() >= 110, "{tried:?}");
    assert!(tried.len() >= 20, "{tried:?}");
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
