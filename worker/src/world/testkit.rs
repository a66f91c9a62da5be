//! Small worlds in temporary folders, to break one thing at a time: a receipt, a manifest, a
//! seal, gates of all three kinds of digest, and no rows. Views are not written: see
//! [`World::verify`].

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream_crds::{GateCheck, TrafficMode};

use super::identity::{oracle_pack_id, sha256_hex};
use super::verify::verify_with;
use super::{VerifiedWorld, WorldKey, WorldStore};
use crate::failure::Result;
use crate::plan::{Named, SelectionPlan, WorldPlan};
use crate::view::ViewPlan;

pub(crate) const RUN_ID: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SCENARIO: &str = "calm_v2";
pub(crate) const PRODUCER: &str = "svc:world_stream_producer";

/// The six outputs that are streamed, and one of each kind that is not.
pub(crate) const CATALOGUE: &str = "
version: test
outputs:
- output_id: s3_event_stream_with_fraud_6B
  path_template: data/layer3/6B/events/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, flow_id, event_seq]
  read_requires_gates: [gate.layer3.6B.validation]
- output_id: s2_event_stream_baseline_6B
  path_template: data/layer3/6B/base/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, flow_id, event_seq]
  read_requires_gates: [gate.layer3.6B.validation]
- output_id: arrival_events_5B
  path_template: data/layer2/5B/arrivals/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, merchant_id, arrival_seq]
  read_requires_gates: [gate.layer2.5B.validation]
- output_id: s1_arrival_entities_6B
  path_template: data/layer3/6B/entities/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, merchant_id, arrival_seq]
  read_requires_gates: [gate.layer3.6B.validation]
- output_id: s3_flow_anchor_with_fraud_6B
  path_template: data/layer3/6B/anchors/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, flow_id]
  read_requires_gates: [gate.layer3.6B.validation]
- output_id: s2_flow_anchor_baseline_6B
  path_template: data/layer3/6B/base_anchors/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  primary_key: [seed, manifest_fingerprint, scenario_id, flow_id]
  read_requires_gates: [gate.layer3.6B.validation]
- {output_id: keyless, path_template: data/keyless/, primary_key: []}
- {output_id: s4_truth, path_template: data/truth/, primary_key: [flow_id]}
";

/// Gates of all three kinds: 6B depends on 5B and 3A, 3A on 1A, and 1A on 6B, a circle.
pub(crate) const GATE_MAP: &str = "
version: test
gates:
- gate_id: gate.layer1.1A.validation
  passed_flag_path_template: data/layer1/1A/validation/manifest_fingerprint={manifest_fingerprint}/_passed.flag
  bundle_root_template: data/layer1/1A/validation/manifest_fingerprint={manifest_fingerprint}/
  index_path_template: data/layer1/1A/validation/manifest_fingerprint={manifest_fingerprint}/index.json
  verification_method: {kind: sha256_bundle_digest, digest_field: sha256_hex, ordering: ascii_lex, exclude_filenames: [_passed.flag]}
  upstream_gate_dependencies: [gate.layer3.6B.validation]
- gate_id: gate.layer1.3A.validation
  passed_flag_path_template: data/layer1/3A/validation/manifest_fingerprint={manifest_fingerprint}/_passed.flag
  bundle_root_template: data/layer1/3A/validation/manifest_fingerprint={manifest_fingerprint}/
  index_path_template: data/layer1/3A/validation/manifest_fingerprint={manifest_fingerprint}/index.json
  verification_method: {kind: sha256_member_digest_concat, digest_field: sha256_hex, ordering: members_array_order}
  upstream_gate_dependencies: [gate.layer1.1A.validation]
- gate_id: gate.layer2.5B.validation
  passed_flag_path_template: data/layer2/5B/validation/manifest_fingerprint={manifest_fingerprint}/_passed.flag
  bundle_root_template: data/layer2/5B/validation/manifest_fingerprint={manifest_fingerprint}/
  index_path_template: data/layer2/5B/validation/manifest_fingerprint={manifest_fingerprint}/index.json
  verification_method: {kind: sha256_index_json_ascii_lex_raw_bytes, digest_field: bundle_digest_sha256, ordering: ascii_lex, exclude_filenames: [_passed.flag]}
- gate_id: gate.layer3.6B.validation
  passed_flag_path_template: data/layer3/6B/validation/manifest_fingerprint={manifest_fingerprint}/_passed.flag
  bundle_root_template: data/layer3/6B/validation/manifest_fingerprint={manifest_fingerprint}/
  index_path_template: data/layer3/6B/validation/manifest_fingerprint={manifest_fingerprint}/index.json
  verification_method: {kind: sha256_index_json_ascii_lex_raw_bytes, digest_field: sha256_hex, ordering: ascii_lex, exclude_filenames: [_passed.flag, index.json]}
  upstream_gate_dependencies: [gate.layer2.5B.validation, gate.layer1.3A.validation]
";

/// The plan of a world with the strictest policy: everything is required and compared.
pub(crate) fn plan(root: &str) -> WorldPlan {
    let list = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect();
    let named = |name: &str, text: &str| Named {
        name: name.into(),
        text: Ok(text.into()),
    };
    WorldPlan {
        engine_run_root: root.into(),
        oracle_root: None,
        allowed_roots: Vec::new(),
        mounts: Vec::new(),
        scenario: Some(SCENARIO.into()),
        catalogue: named("catalogue.yaml", CATALOGUE),
        gate_map: named("gates.yaml", GATE_MAP),
        selection: SelectionPlan {
            traffic: list(&["s3_event_stream_with_fraud_6B"]),
            context_fraud: list(&[
                "arrival_events_5B",
                "s1_arrival_entities_6B",
                "s3_flow_anchor_with_fraud_6B",
            ]),
            context_baseline: list(&[
                "arrival_events_5B",
                "s1_arrival_entities_6B",
                "s2_flow_anchor_baseline_6B",
            ]),
            mode: Some(TrafficMode::Fraud),
            outputs: Vec::new(),
        },
        require_manifest: true,
        require_seal: true,
        compare_digests: true,
        gate_check: GateCheck::Digest,
        gate_upstream: true,
        producer_id: PRODUCER.into(),
        producer_allowlist: Some(named("allowlist.txt", PRODUCER)),
        s3: Default::default(),
        read_ahead: 32 << 20,
    }
}

/// A world in a temporary folder, which goes when it is dropped, and its plan.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) plan: WorldPlan,
}

impl World {
    /// A whole world: sealed, with a manifest, with gates that pass.
    pub(crate) fn whole() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("run");
        let world = World {
            plan: plan(root.to_str().unwrap()),
            folder,
        };
        let key = world.key();
        world.write(
            "run_receipt.json",
            &json!({
                "run_id": RUN_ID,
                "manifest_fingerprint": key.manifest_fingerprint,
                "parameter_hash": key.parameter_hash,
                "seed": key.seed,
                "created_utc": "2026-01-01T00:00:00Z",
            }),
        );
        let digests = [CATALOGUE, GATE_MAP].map(sha256_hex);
        let id = oracle_pack_id(&key, "rel-9", &digests[0], &digests[1]);
        world.write(
            "_oracle_pack_manifest.json",
            &json!({
                "version": "v0",
                "oracle_pack_id": id,
                "world_key": {
                    "manifest_fingerprint": key.manifest_fingerprint,
                    "parameter_hash": key.parameter_hash,
                    "scenario_id": key.scenario_id,
                    "seed": key.seed,
                },
                "engine_release": "rel-9",
                "catalogue_digest": digests[0],
                "gate_map_digest": digests[1],
                "created_at_utc": "2026-01-01T00:00:00Z",
            }),
        );
        world.write(
            "_SEALED.json",
            &json!({
                "version": "v0",
                "oracle_pack_id": id,
                "seal_status": "SEALED_OK",
                "sealed_at_utc": "2026-01-01T00:00:00Z",
            }),
        );
        world.write_gates();
        world
    }

    fn write_gates(&self) {
        let files = [("b/rows.json", "{}"), ("a.json", "[1]"), ("B", "x")];
        for gate in ["1A", "3A", "5B", "6B"] {
            for (path, text) in files {
                self.write_bytes(&self.gate(gate, path), text.as_bytes());
            }
            let entries: Vec<Value> = files
                .iter()
                .map(|(path, text)| json!({"path": path, "sha256_hex": sha256_hex(text)}))
                .collect();
            self.write(&self.gate(gate, "index.json"), &json!({"items": entries}));
        }
        // In ASCII order: B, a.json, b/rows.json; in 1A, where all files count, then index.json.
        let index = std::fs::read_to_string(self.path(&self.gate("1A", "index.json"))).unwrap();
        let flag = |digest: String| format!("sha256_hex = {digest}\n");
        let listed = sha256_hex("x[1]{}");
        let members = files.map(|(_, text)| sha256_hex(text)).concat();
        for (gate, flag) in [
            ("1A", flag(sha256_hex(format!("x[1]{{}}{index}")))),
            ("3A", flag(sha256_hex(members))),
            ("5B", json!({"bundle_digest_sha256": &listed}).to_string()),
            ("6B", flag(listed)),
        ] {
            self.write_bytes(&self.gate(gate, "_passed.flag"), flag.as_bytes());
        }
    }

    /// The world key that it is built with.
    pub(crate) fn key(&self) -> WorldKey {
        WorldKey {
            manifest_fingerprint: "f1".repeat(32),
            parameter_hash: "a0".repeat(32),
            scenario_id: SCENARIO.into(),
            seed: u64::MAX,
        }
    }

    /// A path below a gate's bundle root; `gate` is a segment, such as `6B`.
    pub(crate) fn gate(&self, gate: &str, path: &str) -> String {
        let layer = match gate {
            "5B" => "layer2",
            "6B" => "layer3",
            _ => "layer1",
        };
        format!(
            "data/{layer}/{gate}/validation/manifest_fingerprint={}/{path}",
            self.key().manifest_fingerprint
        )
    }

    /// Where a file of the world is.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join("run").join(relative)
    }

    /// Writes a JSON file, and the folders above it.
    pub(crate) fn write(&self, relative: &str, value: &Value) {
        self.write_bytes(relative, value.to_string().as_bytes());
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write_bytes(&self, relative: &str, bytes: &[u8]) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, relative: &str, change: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(self.path(relative)).unwrap();
        let mut value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        self.write(relative, &value);
    }

    /// Removes a file or a whole folder.
    pub(crate) fn remove(&self, relative: &str) {
        let path = self.path(relative);
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }

    /// Puts an empty folder where a file was.
    pub(crate) fn make_folder(&self, relative: &str) {
        self.remove(relative);
        std::fs::create_dir(self.path(relative)).unwrap();
    }

    /// Gives the manifest the id of its fields, and the seal the manifest's id.
    pub(crate) fn reseal(&self) {
        let text = std::fs::read_to_string(self.path("_oracle_pack_manifest.json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = &manifest["world_key"];
        let id = oracle_pack_id(
            &WorldKey {
                manifest_fingerprint: text(&of["manifest_fingerprint"]),
                parameter_hash: text(&of["parameter_hash"]),
                scenario_id: text(&of["scenario_id"]),
                seed: of["seed"].as_u64().unwrap(),
            },
            &text(&manifest["engine_release"]),
            &text(&manifest["catalogue_digest"]),
            &text(&manifest["gate_map_digest"]),
        );
        manifest["oracle_pack_id"] = json!(id);
        self.write("_oracle_pack_manifest.json", &manifest);
        self.edit("_SEALED.json", |seal| seal["oracle_pack_id"] = json!(id));
    }

    /// Verifies the world, taking every view as empty and good.
    pub(crate) async fn verify(&self) -> Result<VerifiedWorld> {
        verify_with(&self.plan, empty_view).await
    }
}

/// A view that was checked and has no rows.
pub(crate) async fn empty_view(
    store: &WorldStore,
    scenario_id: &str,
    output_id: &str,
) -> Result<ViewPlan> {
    Ok(ViewPlan {
        output_id: output_id.into(),
        view_id: super::identity::stream_view_id(store.root(), scenario_id, output_id),
        folder: store.name(&format!("stream_view/ts_utc/output_id={output_id}")),
        parts: Vec::new(),
        rows: 0,
    })
}
