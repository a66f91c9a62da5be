//! The same in a bucket: raw parts are read there and views are put there, the receipt last.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::plan::Mount;
use worldstream::sample::SampleSpec;
use worldstream_crds::ExitCode;
use worldstream_tests::Relay;
use worldstream_tests::inside::{Inside, until};
use worldstream_tests::s3::Minio;
use worldstream_tests::{Finished, MadeWorld, Program};

use crate::bed::*;

const BUCKET: &str = "oracle-store";
const NAME: &str = "s3://oracle-store/runs/made";
const ARRIVALS: &str = "arrival_events_5B";

/// A world whose views are on this machine alone, and the rest of it in MinIO, too.
struct Remote {
    minio: Minio,
    /// The way to MinIO that the program takes.
    relay: Relay,
    world: MadeWorld,
    dir: TempDir,
}

impl Remote {
    fn new(rows: u64, change: impl FnOnce(&mut SampleSpec)) -> Remote {
        let world = MadeWorld::sample(rows, 30, |spec| {
            spec.raw = true;
            spec.run_root = Some(NAME.into());
            change(spec);
        });
        let minio = Minio::start();
        let views = PathBuf::from(world.root()).join("stream_view");
        let aside = PathBuf::from(world.root()).with_file_name("aside");
        fs::rename(&views, &aside).unwrap();
        minio.put_folder(BUCKET, "runs/made", world.root().as_ref());
        fs::rename(&aside, &views).unwrap();
        let relay = Relay::http(&minio.url);
        let dir = tempfile::tempdir().unwrap();
        let mut s3 = minio.spec();
        s3["endpoint"] = relay.url.clone().into();
        let profile = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "test"},
            "spec": {
                "world": {"s3": s3, "scenario": "baseline_v1"},
                "gate": {"url": "http://127.0.0.1:1"},
                "producer": {
                    "id": "svc:world_stream_producer",
                    "allowlist": {"builtIn": "producer_allowlist.txt"},
                },
            },
        });
        fs::write(dir.path().join("profile.yaml"), profile.to_string()).unwrap();
        Remote {
            minio,
            relay,
            world,
            dir,
        }
    }

    /// `worldstream oracle` of this world.
    fn command(&self, name: &str, more: &[&str]) -> Program {
        let profile = self.dir.path().join("profile.yaml");
        worldstream_tests::run(["oracle", name, NAME, "--profile"])
            .args([profile.display().to_string()])
            .args(more)
    }

    fn oracle(&self, name: &str, more: &[&str]) -> Finished {
        self.command(name, more).finish()
    }

    /// The keys of a view, without what they have in common.
    fn keys(&self, output: &str) -> Vec<String> {
        let folder = format!("runs/made/stream_view/ts_utc/output_id={output}");
        let keys = self.minio.keys(BUCKET, &folder);
        let names = keys.iter().filter_map(|key| key.rsplit('/').next());
        names.map(str::to_owned).collect()
    }

    fn get(&self, below: &str) -> Vec<u8> {
        let found = self.minio.get(BUCKET, &format!("runs/made/{below}"));
        found.unwrap_or_else(|| panic!("no {below}")).to_vec()
    }

    /// Fetches a view's parts.
    fn fetch(&self, output: &str, to: &Path) {
        for name in self.keys(output) {
            let bytes = self.get(&format!("stream_view/ts_utc/output_id={output}/{name}"));
            fs::write(to.join(name), bytes).unwrap();
        }
    }

    /// A replay of it, from MinIO or from this machine, under the same name.
    fn replay(&self, local: bool) -> Vec<String> {
        let mut inside = Inside::new(NAME).outputs(&[ARRIVALS, EVENTS]);
        inside.plan.world.s3 = self.minio.plan();
        inside.plan.world.scenario = Some("baseline_v1".into());
        if local {
            inside.plan.world.mounts = vec![Mount {
                from: NAME.into(),
                to: self.world.root(),
            }];
        }
        let end = inside.run();
        assert_eq!(end.exit, ExitCode::Done, "{:?}", end.failure);
        let mut admitted = inside.admitted();
        // Outputs are sent beside each other; of each, the order is that of its rows.
        admitted.sort_by_key(|line| line.contains(&format!("\"event_type\":\"{EVENTS}\"")));
        admitted
    }
}

fn ok(report: &Finished) -> Value {
    let report = report.json();
    assert_eq!(report["ok"], true, "{report:#}");
    report
}

#[test]
fn a_world_in_a_bucket_is_built_sealed_checked_shown_and_streamed() {
    let remote = Remote::new(3_000, |spec| {
        spec.sealed = false;
        spec.outputs = vec![EVENTS.parse().unwrap(), ARRIVALS.parse().unwrap()];
    });
    let outputs = ["--json", "--output", EVENTS, "--output", ARRIVALS];
    let built = remote.oracle("build-views", &outputs).expect(0).json();
    assert_eq!(built[0]["rows"], 3_000, "{built:#}");
    assert_eq!(built[1]["rows"], 1_500, "{built:#}");
    for output in [EVENTS, ARRIVALS] {
        let fetched = tempfile::tempdir().unwrap();
        remote.fetch(output, fetched.path());
        same_rows(fetched.path(), &remote.world.view(output));
        let keys = remote.keys(output);
        assert_eq!(keys.len(), 3, "a part, a manifest, a receipt: {keys:?}");
    }
    let again = remote.oracle("build-views", &outputs).expect(0).json();
    assert!(
        again
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["already_there"] == true),
        "{again:#}"
    );

    let seal = ["--engine-release", "2026.1"];
    let sealed = remote.oracle("seal", &seal).expect(0);
    assert_eq!(sealed.stdout.matches("written").count(), 2, "{sealed:?}");
    let sealed = remote.oracle("seal", &seal).expect(0);
    assert_eq!(
        sealed.stdout.matches("there already").count(),
        2,
        "{sealed:?}"
    );
    let other = remote.oracle("seal", &["--engine-release", "other"]);
    assert!(other.expect(10).stderr.contains("MANIFEST_MISMATCH"));

    let deep = [&["--deep"], &outputs[..]].concat();
    let report = ok(&remote.oracle("check", &deep).expect(0));
    assert_eq!(report["engine_run_root"], NAME);
    let shown = remote.oracle("show", &["--json"]).expect(0).json();
    assert_eq!(shown["seal"]["text"], "sealed", "{shown:#}");
    let of_events = shown["outputs"].as_array().unwrap().iter();
    let mut of_events = of_events.filter(|it| it["output_id"] == EVENTS);
    let of_events = of_events.next().unwrap_or_else(|| panic!("{shown:#}"));
    assert_eq!(of_events["rows"], 3_000, "{shown:#}");

    // The sample's own views are sealed as these are: they stream the same.
    for name in ["_oracle_pack_manifest.json", "_SEALED.json"] {
        let place = PathBuf::from(remote.world.root()).join(name);
        fs::write(place, remote.get(name)).unwrap();
    }
    let (found, expected) = (remote.replay(false), remote.replay(true));
    assert_eq!(found.len(), 4_500);
    assert!(found == expected, "other events than from disk");

    // A row that was changed in the bucket is found.
    let changed = MadeWorld::sample(3_000, 30, |spec| {
        spec.seed += 1;
        spec.raw = false;
        spec.outputs = vec![EVENTS.parse().unwrap()];
        spec.parts = worldstream::sample::Parts::Number(1);
    });
    let part = fs::read(changed.view(EVENTS).join("part-000000.parquet")).unwrap();
    let key = format!("runs/made/stream_view/ts_utc/output_id={EVENTS}/part-000000.parquet");
    remote.minio.put(BUCKET, &key, part);
    let report = remote.oracle("check", &deep).expect(10);
    assert_eq!(report.json()["ok"], false, "{report:?}");
}

#[test]
fn a_build_that_is_killed_while_it_sends_sends_anew_and_the_receipt_last() {
    let rows = 260_000;
    let remote = Remote::new(rows, |spec| spec.outputs = vec![EVENTS.parse().unwrap()]);
    let spill = remote.dir.path().join("spill");
    let spill_dir = spill.display().to_string();
    // A part of each row group.
    let args = ["--json", "--output", EVENTS, "--part-size", "1"];
    let args = [&args[..], &["--spill-dir", &spill_dir]].concat();
    let building = remote.command("build-views", &args).start();
    // Raw parts have been read when merging begins: what is slow from here on is sending.
    until("the view's first part", || !merged(&spill).is_empty());
    remote.relay.slow(2_000);
    let first = || remote.keys(EVENTS).iter().any(|it| it.ends_with("parquet"));
    until("the first part in the bucket", first);
    building.kill();
    remote.relay.slow(0);
    let keys = remote.keys(EVENTS);
    assert!(
        !keys.contains(&"_stream_sort_receipt.json".to_owned()),
        "{keys:?}"
    );
    // Nobody takes it for a view.
    let report = remote.oracle("check", &["--json", "--output", EVENTS]);
    let report = report.expect(10).json();
    let checks = report["checks"].as_array().unwrap();
    let missing = |it: &&Value| it["what"] == "view" && it["reason"] == "STREAM_VIEW_MISSING";
    assert!(checks.iter().any(|it| missing(&it)), "{report:#}");

    let before = remote.relay.heads().len();
    let built = remote.oracle("build-views", &args).expect(0).json();
    assert_eq!(built[0]["already_there"], false, "{built:#}");
    assert_eq!(built[0]["resumed_rows"], rows, "{built:#}");
    assert_eq!(built[0]["parts"], 3, "{built:#}");
    let heads = remote.relay.heads().split_off(before);
    let writes = |name: &str| -> Vec<usize> {
        let written = |head: &str| {
            let of_it = head.lines().filter(|line| line.contains(name));
            let mut of_it = of_it.filter(|it| it.contains("HTTP/1.1"));
            of_it.any(|it| it.contains("PUT /") || it.contains("POST /"))
        };
        let found = heads.iter().enumerate();
        found
            .filter(|(_, head)| written(head))
            .map(|(at, _)| at)
            .collect()
    };
    let receipt = writes("_stream_sort_receipt.json");
    assert_eq!(receipt.len(), 1, "{heads:#?}");
    for name in [
        "part-000000.parquet",
        "part-000001.parquet",
        "part-000002.parquet",
        "_stream_view_manifest.json",
    ] {
        let written = writes(name);
        assert!(!written.is_empty(), "{name}: {heads:#?}");
        assert!(written.iter().all(|at| *at < receipt[0]), "{name}");
    }
    assert_eq!(remote.keys(EVENTS).len(), 5, "{:?}", remote.keys(EVENTS));
    let left: Vec<_> = fs::read_dir(&spill).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let fetched = tempfile::tempdir().unwrap();
    remote.fetch(EVENTS, fetched.path());
    assert_eq!(same_rows(fetched.path(), &remote.world.view(EVENTS)), rows);
    let deep = ["--deep", "--json", "--output", EVENTS];
    ok(&remote.oracle("check", &deep).expect(0));
}

#[test]
fn of_two_builds_with_other_parts_one_view_comes() {
    let rows = 260_000;
    let remote = Remote::new(rows, |spec| spec.outputs = vec![EVENTS.parse().unwrap()]);
    let spill = remote.dir.path().join("first");
    let spill_dir = spill.display().to_string();
    let three = ["--json", "--output", EVENTS, "--part-size", "1"];
    let three = [&three[..], &["--spill-dir", &spill_dir]].concat();
    // One that is slow to send its first part of three.
    let held = || {
        let building = remote.command("build-views", &three).start();
        until("the view's first part", || !merged(&spill).is_empty());
        remote.relay.slow(2_000);
        let first = || remote.keys(EVENTS).iter().any(|it| it.ends_with("parquet"));
        until("the first part in the bucket", first);
        // It hears the end of no answer any more, until it is let go.
        remote.relay.slow(2);
        building
    };
    let first = held();
    // Another one takes over, as from another machine: it has not finished, and the first one stops.
    let folder = format!("runs/made/stream_view/ts_utc/output_id={EVENTS}");
    let marker = format!("{folder}/_worldstream_build.json");
    remote
        .minio
        .put(BUCKET, &marker, json!({ "part_bytes": 7 }).to_string());
    remote.relay.slow(0);
    let stopped = first.finish().expect(10);
    for part in ["STREAM_VIEW_PARTIAL_EXISTS", "parts of 7 bytes"] {
        assert!(stopped.stderr.contains(part), "{part} in {stopped:#?}");
    }
    let keys = remote.keys(EVENTS);
    assert!(
        !keys.contains(&"_stream_sort_receipt.json".to_owned()),
        "{keys:?}"
    );
    for key in keys {
        remote.minio.delete(BUCKET, &format!("{folder}/{key}"));
    }

    // Another one comes to its end meanwhile: the first one finds its view and leaves it alone.
    let first = held();
    let way = remote.dir.path().join("profile.yaml");
    let held_up = fs::read_to_string(&way).unwrap();
    fs::write(&way, held_up.replace(&remote.relay.url, &remote.minio.url)).unwrap();
    let spill = remote.dir.path().join("second").display().to_string();
    let one = ["--json", "--output", EVENTS, "--spill-dir", &spill];
    let built = remote.oracle("build-views", &one).expect(0).json();
    assert_eq!(built[0]["parts"], 1, "{built:#}");
    let keys = remote.keys(EVENTS);
    assert_eq!(keys.len(), 3, "{keys:?}");
    remote.relay.slow(0);
    let found = first.finish().expect(0).json();
    assert_eq!(found[0]["already_there"], true, "{found:#}");
    assert_eq!(remote.keys(EVENTS), keys);
    ok(&remote.oracle("check", &["--deep", "--json", "--output", EVENTS]));
}

#[test]
fn a_store_that_is_away_says_nothing_of_the_world() {
    let remote = Remote::new(400, |spec| spec.outputs = vec![EVENTS.parse().unwrap()]);
    let profile = remote.dir.path().join("profile.yaml");
    let mut document: Value = serde_json::from_slice(&fs::read(&profile).unwrap()).unwrap();
    document["spec"]["world"]["s3"]["attempts"] = 3.into();
    fs::write(&profile, document.to_string()).unwrap();
    remote
        .oracle("build-views", &["--output", EVENTS])
        .expect(0);
    remote.relay.refuse(true);
    remote.relay.cut();
    let report = remote.oracle("check", &["--json", "--output", EVENTS]);
    let report = report.expect(13).json();
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["checks"][0]["unavailable"], true, "{report:#}");
    for more in [&["show"][..], &["seal", "--engine-release", "x"]] {
        let ended = remote.oracle(more[0], &more[1..]).expect(13);
        assert!(ended.stderr.contains("3 of at most 3"), "{ended:#?}");
    }
}

/// Parts that were merged and are not in the bucket yet.
fn merged(spill: &Path) -> Vec<PathBuf> {
    let builds = fs::read_dir(spill).into_iter().flatten();
    let views = builds.map(|it| it.unwrap().path().join("view"));
    views
        .filter(|it| it.is_dir())
        .flat_map(|it| files(&it))
        .collect()
}
