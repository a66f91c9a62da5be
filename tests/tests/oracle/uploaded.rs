//! A world that lies in a folder, taken to a bucket: whole, once, and never over another one.

use std::fs;

use serde_json::{Value, json};
use worldstream_tests::s3::Minio;
use worldstream_tests::{Finished, MadeWorld, Relay, run};

const NAME: &str = "s3://made-here/runs/a world";

fn upload(world: &MadeWorld, profile: &str, more: &[&str]) -> Finished {
    run(["--json", "oracle", "upload", &world.root(), NAME])
        .args(["--profile", profile])
        .args(more)
        .finish()
}

#[test]
fn a_world_is_taken_to_a_bucket_that_is_made() {
    let minio = Minio::start();
    let relay = Relay::http(&minio.url);
    let mut s3 = minio.spec();
    s3["endpoint"] = relay.url.clone().into();
    let world = MadeWorld::sample(400, 2, |spec| spec.run_root = Some(NAME.into()));
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("profile.yaml");
    let document = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamProfile",
        "metadata": {"name": "test"},
        "spec": {"world": {"s3": s3, "scenario": "baseline_v1"}},
    });
    fs::write(&profile, document.to_string()).unwrap();
    let profile = profile.display().to_string();

    let nowhere = upload(&world, &profile, &[]).expect(10);
    assert!(nowhere.stderr.contains("NoSuchBucket"), "{nowhere:#?}");
    let buckets = ["--make-bucket", "made-here", "--make-bucket", "beside"];
    let first = upload(&world, &profile, &buckets).expect(0).json();
    assert_eq!(
        first["madeBuckets"],
        json!(["made-here", "beside"]),
        "{first:#}"
    );
    assert_eq!(first["alreadyThere"], false, "{first:#}");
    // A view's receipt comes behind all parts, and the seal behind all receipts.
    // The relay's heads hold the body of the request before, too.
    let written: Vec<String> = relay
        .heads()
        .iter()
        .filter_map(|head| {
            let (_, line) = head.rsplit_once("PUT /made-here/")?;
            Some(line.split_once(" HTTP/1.1")?.0.to_owned())
        })
        .collect();
    let places = |end: &str| -> Vec<usize> {
        let places = written.iter().enumerate();
        let places = places.filter(|(_, name)| name.ends_with(end));
        places.map(|(at, _)| at).collect()
    };
    let (parts, receipts) = (places(".parquet"), places("_stream_sort_receipt.json"));
    let seal = places("_SEALED.json");
    assert!(!parts.is_empty() && receipts.len() == 6, "{written:#?}");
    assert!(parts.last() < receipts.first(), "{written:#?}");
    assert!(receipts.last() < seal.first(), "{written:#?}");
    let keys = minio.keys("made-here", "runs/a world");
    assert_eq!(first["objects"], keys.len(), "{keys:?}");
    for name in [
        "run_receipt.json",
        "_SEALED.json",
        "_oracle_pack_manifest.json",
    ] {
        let found = minio
            .get("made-here", &format!("runs/a world/{name}"))
            .unwrap();
        assert_eq!(found, fs::read(format!("{}/{name}", world.root())).unwrap());
    }
    let check = run(["oracle", "check", NAME, "--deep", "--profile", &profile]).finish();
    check.expect(0);

    let again = upload(&world, &profile, &buckets).expect(0).json();
    assert_eq!(again["alreadyThere"], true, "{again:#}");
    assert_eq!(again["madeBuckets"], json!([]), "{again:#}");

    let other = MadeWorld::sample(400, 3, |spec| {
        spec.run_root = Some(NAME.into());
        spec.seed = 8;
    });
    let refused = upload(&other, &profile, &[]).expect(10);
    assert!(
        refused.stderr.contains("WORLD_KEY_MISMATCH"),
        "{refused:#?}"
    );
    let receipt = minio
        .get("made-here", "runs/a world/run_receipt.json")
        .unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    assert_eq!(receipt["seed"], 7);
}
