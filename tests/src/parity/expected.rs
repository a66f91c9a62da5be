//! What the world gives in this process: the same sample, streamed to a gate of our own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use worldstream::devgate::{GateConfig, spawn};
use worldstream::engine::Replay;
use worldstream::plan::RunFlags;
use worldstream::sample::{self, SampleSpec};

use super::Options;
use super::platform::{SCENARIO, SCENARIO_RUN_ID, SEED, WORLD};

/// What must be admitted, and what must be left.
#[derive(Debug)]
pub struct Expected {
    /// Every envelope, as its bytes, by event type and event id.
    pub envelopes: BTreeMap<(String, String), String>,
    /// The receipts, by output.
    pub receipts: BTreeMap<String, Value>,
    /// What the world says of itself.
    pub world: World,
}

/// The world's key.
#[derive(Debug)]
pub struct World {
    pub manifest_fingerprint: String,
    pub parameter_hash: String,
    pub seed: String,
}

/// Writes the world under the name that it has in the cluster, and streams it.
pub fn in_process(options: &Options) -> Expected {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("world");
    let spec = SampleSpec {
        run_root: Some(WORLD.to_owned()),
        scenario: SCENARIO.to_owned(),
        ..SampleSpec::new(&folder, SEED, options.rows, 1)
    };
    let made = sample::write(&spec, &|_| {}).expect("a sample world");
    let profile = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamProfile",
        "metadata": {"name": "in-process"},
        "spec": {
            "world": {"mounts": [{"from": WORLD, "to": folder}]},
            "gate": {"url": "http://127.0.0.1:1"},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
        },
    });
    let file = dir.path().join("profile.yaml");
    std::fs::write(&file, profile.to_string()).expect("a profile");
    let record = dir.path().join("admitted.jsonl");
    let gate = spawn(GateConfig {
        record: Some(record.clone()),
        ..GateConfig::default()
    })
    .expect("a gate");
    let plan = worldstream::plan::plan(&RunFlags {
        profile: Some(file.display().to_string()),
        engine_run_root: Some(WORLD.to_owned()),
        scenario: Some(SCENARIO.to_owned()),
        platform_run_id: Some(options.platform_run_id.clone()),
        scenario_run_id: Some(SCENARIO_RUN_ID.to_owned()),
        gate_url: Some(gate.url()),
        runs_root: Some(dir.path().join("runs")),
        speedup: Some(0.0),
        ..RunFlags::default()
    })
    .expect("a plan");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let end = runtime.block_on(async {
        let replay = Replay::prepare(plan).await.expect("a sound world");
        replay.run().await
    });
    assert!(end.failure.is_none(), "{:?}", end.failure);
    gate.stop();
    let receipts = serde_json::to_value(&end.summary).expect("a summary");
    let receipts = receipts["outputs"].as_array().expect("receipts").iter();
    Expected {
        envelopes: envelopes(&std::fs::read_to_string(record).expect("a record")),
        receipts: receipts
            .map(|receipt| (text(&receipt["output_id"]), receipt.clone()))
            .collect(),
        world: World {
            manifest_fingerprint: made.manifest_fingerprint,
            parameter_hash: made.parameter_hash,
            seed: made.seed.to_string(),
        },
    }
}

/// Lines of a gate's record by event type and event id.
pub fn envelopes(record: &str) -> BTreeMap<(String, String), String> {
    record
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("an envelope");
            let key = (text(&event["event_type"]), text(&event["event_id"]));
            (key, line.to_owned())
        })
        .collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
