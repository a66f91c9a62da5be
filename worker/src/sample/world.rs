//! What the world is called: its key, its ids, and the files that say so (contracts section 1).

use std::path::Path;

use serde_json::{Value, json};
use worldstream_crds::Reason;

use super::rhythm::DAY;
use super::table::Table;
use super::{OutputReport, SampleSpec};
use crate::failure::{Failure, Result};
use crate::time::EventTime;
use crate::world::identity::{oracle_pack_id, sha256_hex, stream_view_id};
use crate::world::{WorldKey, root};

/// 2026-01-01T00:00:00Z in microseconds since the Unix epoch.
const START: i64 = 1_767_225_600_000_000;
/// The engine release that sample worlds are of: the `span_id` of their envelopes.
const ENGINE_RELEASE: &str = "sample-1";
/// What the pack's two digests are of.
const CATALOGUE: &str = include_str!("../../../config/catalogue.yaml");
const GATE_MAP: &str = include_str!("../../../config/gate_map.yaml");
/// The version in manifest and seal.
const PACK_VERSION: &str = "v0";

/// The identity of a sample world.
#[derive(Debug)]
pub(super) struct World {
    /// The resolved root's text.
    pub root: String,
    pub key: WorldKey,
    pub run_id: String,
    pub oracle_pack_id: String,
    catalogue_digest: String,
    gate_map_digest: String,
    pub start: EventTime,
    pub end: EventTime,
}

impl World {
    /// The world of `spec`. Its key depends on what its rows are, and not on how they are cut
    /// into files: the same events have the same ids.
    pub(super) fn new(spec: &SampleSpec) -> Self {
        let rows = format!(
            "{}|{}|{}|{}",
            spec.seed, spec.rows, spec.days, spec.scenario
        );
        let digest = |what: &str| sha256_hex(format!("worldstream sample|{what}|{rows}"));
        let key = WorldKey {
            manifest_fingerprint: digest("manifest"),
            parameter_hash: digest("parameters"),
            scenario_id: spec.scenario.clone(),
            seed: spec.seed,
        };
        let catalogue_digest = sha256_hex(CATALOGUE);
        let gate_map_digest = sha256_hex(GATE_MAP);
        let root = match &spec.run_root {
            Some(root) => root::clean(root),
            None => root::clean(&spec.out.to_string_lossy()),
        };
        World {
            root,
            run_id: digest("run").chars().take(32).collect(),
            oracle_pack_id: oracle_pack_id(
                &key,
                ENGINE_RELEASE,
                &catalogue_digest,
                &gate_map_digest,
            ),
            key,
            catalogue_digest,
            gate_map_digest,
            start: EventTime::from_micros(START).unwrap_or_default(),
            end: EventTime::from_micros(START + i64::from(spec.days) * DAY).unwrap_or_default(),
        }
    }

    /// When everything in the world was made, as it says: at its end.
    pub(super) fn created(&self) -> String {
        self.end.to_string().replace('Z', "+00:00")
    }

    /// The world key as the files of section 1 and 3 write it.
    pub(super) fn key_json(&self) -> Value {
        json!({
            "manifest_fingerprint": self.key.manifest_fingerprint,
            "parameter_hash": self.key.parameter_hash,
            "scenario_id": self.key.scenario_id,
            "seed": self.key.seed,
        })
    }

    /// The id of an output's view.
    pub(super) fn view_id(&self, table: Table) -> String {
        stream_view_id(&self.root, &self.key.scenario_id, table.id())
    }

    /// What a path in the world is called.
    pub(super) fn name(&self, relative: &str) -> String {
        format!("{}/{relative}", self.root.trim_end_matches('/'))
    }

    /// The folder of an output's raw parts, the catalogue's `path_template` filled in.
    pub(super) fn raw_folder(&self, table: Table) -> String {
        let WorldKey {
            manifest_fingerprint: manifest,
            parameter_hash: parameters,
            scenario_id: scenario,
            seed,
        } = &self.key;
        match table {
            Table::ArrivalEvents => format!(
                "data/layer2/5B/arrival_events/seed={seed}/manifest_fingerprint={manifest}/\
                 scenario_id={scenario}"
            ),
            table => format!(
                "data/layer3/6B/{table}/seed={seed}/parameter_hash={parameters}/\
                 manifest_fingerprint={manifest}/scenario_id={scenario}"
            ),
        }
    }

    /// The folder of an output's view.
    pub(super) fn view_folder(&self, table: Table) -> String {
        format!("stream_view/ts_utc/output_id={table}")
    }
}

/// Writes receipt, and of a sealed world manifest and seal; and a report below
/// `reports/scenario_id=…`, by which the scenario of a world without raw parts is found.
pub(super) fn write_identity(
    spec: &SampleSpec,
    world: &World,
    outputs: &[OutputReport],
) -> Result<()> {
    let receipt = json!({
        "run_id": world.run_id,
        "manifest_fingerprint": world.key.manifest_fingerprint,
        "parameter_hash": world.key.parameter_hash,
        "seed": world.key.seed,
        "created_utc": world.created(),
    });
    write_json(spec, "run_receipt.json", &receipt)?;
    let report = json!({
        "scenario_id": world.key.scenario_id,
        "rows": row_counts(outputs),
    });
    let folder = format!("reports/scenario_id={}", world.key.scenario_id);
    write_json(spec, &format!("{folder}/summary.json"), &report)?;
    if !spec.sealed {
        return Ok(());
    }
    let manifest = json!({
        "version": PACK_VERSION,
        "oracle_pack_id": world.oracle_pack_id,
        "world_key": world.key_json(),
        "engine_release": ENGINE_RELEASE,
        "catalogue_digest": world.catalogue_digest,
        "gate_map_digest": world.gate_map_digest,
        "created_at_utc": world.created(),
    });
    write_json(spec, "_oracle_pack_manifest.json", &manifest)?;
    let seal = json!({
        "version": PACK_VERSION,
        "oracle_pack_id": world.oracle_pack_id,
        "seal_status": "SEALED_OK",
        "sealed_at_utc": world.created(),
    });
    write_json(spec, "_SEALED.json", &seal)
}

/// Rows by output id.
pub(super) fn row_counts(outputs: &[OutputReport]) -> Value {
    outputs
        .iter()
        .map(|output| (output.output_id.clone(), Value::from(output.rows)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Writes a file of the world with the folders above it. `relative` is below the run root.
pub(super) fn write_file(spec: &SampleSpec, relative: &str, bytes: &[u8]) -> Result<()> {
    let path = spec.out.join(relative);
    let made = match path.parent() {
        Some(folder) => std::fs::create_dir_all(folder),
        None => Ok(()),
    };
    made.and_then(|()| std::fs::write(&path, bytes))
        .map_err(|error| unwritten(&path, &error))
}

/// Writes a JSON file of the world.
pub(super) fn write_json(spec: &SampleSpec, relative: &str, value: &Value) -> Result<()> {
    write_file(spec, relative, format!("{value:#}\n").as_bytes())
}

/// A failure to write `path`.
pub(super) fn unwritten(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}
