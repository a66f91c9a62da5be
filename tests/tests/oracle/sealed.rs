//! A world is sealed once, and shown.

use std::fs;
use std::path::PathBuf;

use worldstream_tests::MadeWorld;

use crate::bed::*;

fn unsealed() -> MadeWorld {
    MadeWorld::sample(2_000, 2, |spec| {
        spec.raw = true;
        spec.sealed = false;
    })
}

fn seal(world: &MadeWorld, release: &str) -> worldstream_tests::Finished {
    oracle(["seal", &world.root(), "--engine-release", release])
}

#[test]
fn a_second_sealing_changes_nothing_and_another_one_is_refused() {
    let world = unsealed();
    let root = PathBuf::from(world.root());
    let files = ["_oracle_pack_manifest.json", "_SEALED.json"].map(|name| root.join(name));
    let plan = |profile: &str| {
        worldstream_tests::run([
            "plan",
            "--profile",
            profile,
            "--engine-run-root",
            &world.root(),
            "--platform-run-id",
            worldstream_tests::PLATFORM_RUN_ID,
        ])
        .finish()
    };
    assert!(plan("dev").stderr.contains("PACK_MANIFEST_MISSING"));
    let first = seal(&world, "2026.1").expect(0);
    assert_eq!(first.stdout.matches("written").count(), 2, "{first:?}");
    let before = files.clone().map(|file| fs::read(file).unwrap());
    let second = seal(&world, "2026.1").expect(0);
    assert_eq!(
        second.stdout.matches("there already").count(),
        2,
        "{second:?}"
    );
    assert!(before == files.clone().map(|file| fs::read(file).unwrap()));

    // It is a seal that a replay takes, with ids as the contract has them.
    let manifest = json(&files[0]);
    let key = &manifest["world_key"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let id = worldstream::world::identity::sha256_hex(format!(
        "{}|{}|{}|{}|2026.1|{}|{}",
        text(&key["manifest_fingerprint"]),
        text(&key["parameter_hash"]),
        text(&key["scenario_id"]),
        key["seed"],
        text(&manifest["catalogue_digest"]),
        text(&manifest["gate_map_digest"]),
    ));
    assert_eq!(text(&manifest["oracle_pack_id"]), id);
    let shown = oracle(["show", &world.root(), "--json"]).expect(0).json();
    assert!(text(&shown["pack"]["text"]).starts_with(&id));
    assert_eq!(shown["seal"]["text"], "sealed");

    let other = seal(&world, "2026.2").expect(10);
    assert!(other.stderr.contains("MANIFEST_MISMATCH"), "{other:?}");
    assert!(other.stderr.contains("engine_release"), "{other:?}");
    let mut changed = json(&files[1]);
    changed["seal_status"] = "SEALED_FAILED".into();
    fs::write(&files[1], changed.to_string()).unwrap();
    let other = seal(&world, "2026.1").expect(10);
    assert!(other.stderr.contains("SEAL_MISMATCH"), "{other:?}");
    // A sealing that ended between the two files goes on.
    fs::remove_file(&files[1]).unwrap();
    let rest = seal(&world, "2026.1").expect(0);
    assert!(rest.stdout.contains("manifest  there already"), "{rest:?}");
    assert!(rest.stdout.contains("seal      written"), "{rest:?}");
    assert!(seal(&world, "").expect(2).stderr.contains("1 to 128"));
}

#[test]
fn a_flag_is_a_seal() {
    let world = unsealed();
    let root = PathBuf::from(world.root());
    fs::write(root.join("_SEALED.flag"), "").unwrap();
    let sealed = seal(&world, "r").expect(0);
    assert!(
        sealed.stdout.contains("seal      there already"),
        "{sealed:?}"
    );
    assert!(!root.join("_SEALED.json").exists());
}

#[test]
fn a_world_is_shown_with_its_outputs_and_their_times() {
    let world = sample(4_000);
    let shown = oracle(["show", &world.root(), "--json"]).expect(0).json();
    let outputs = shown["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 6, "{shown}");
    for output in outputs {
        let rows = if output["output_id"]
            .as_str()
            .unwrap()
            .contains("event_stream")
        {
            4_000
        } else {
            2_000
        };
        assert_eq!(output["rows"], rows, "{output}");
        assert_eq!(output["view"]["text"], "ok");
        assert_eq!(output["raw_parts"], 3);
        let steps = output["histogram"].as_array().unwrap();
        assert_eq!(steps.len(), 60);
        assert_eq!(
            steps.iter().map(|it| it.as_u64().unwrap()).sum::<u64>(),
            rows
        );
        let receipt = world.view(output["output_id"].as_str().unwrap());
        let receipt = json(&receipt.join("_stream_sort_receipt.json"));
        assert_eq!(output["first"], receipt["sorted_stats"]["min_ts_utc"]);
        assert_eq!(output["last"], receipt["sorted_stats"]["max_ts_utc"]);
    }
    let text = oracle(["show", &world.root()]).expect(0).stdout;
    for part in [
        "sealed",
        "passed  gate.layer3.6B.validation",
        "4,000",
        "2026-01-01",
        "█",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // What is wrong is shown, too.
    let part = files(&world.view(EVENTS)).remove(0);
    fs::write(part, "no parquet").unwrap();
    let text = oracle(["show", &world.root(), "--quick"]).expect(0).stdout;
    assert!(
        text.contains("STREAM_FAILED") && !text.contains('█'),
        "{text}"
    );
}
