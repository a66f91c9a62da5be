//! What the world is called: its key, its ids, and the files that say so (contracts section 1).

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::rhythm::DAY;
use super::table::Table;
use super::{OutputReport, SampleSpec};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

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
    pub seed: u64,
    pub scenario: String,
    pub manifest_fingerprint: String,
    pub parameter_hash: String,
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
        let SampleSpec {
            seed,
            rows,
            days,
            scenario,
            ..
        } = spec;
        let digest = |what: &str| {
            hex_digest(
                format!("worldstream sample|{what}|{seed}|{rows}|{days}|{scenario}").as_bytes(),
            )
        };
        let manifest_fingerprint = digest("manifest");
        let parameter_hash = digest("parameters");
        let run_id = digest("run").chars().take(32).collect();
        let catalogue_digest = hex_digest(CATALOGUE.as_bytes());
        let gate_map_digest = hex_digest(GATE_MAP.as_bytes());
        let pack = [
            &manifest_fingerprint,
            &parameter_hash,
            scenario.as_str(),
            &seed.to_string(),
            ENGINE_RELEASE,
            &catalogue_digest,
            &gate_map_digest,
        ];
        World {
            root: match &spec.run_root {
                Some(root) => root.clone(),
                None => root_text(&spec.out),
            },
            seed: *seed,
            scenario: scenario.clone(),
            oracle_pack_id: hex_digest(pack.join("|").as_bytes()),
            manifest_fingerprint,
            parameter_hash,
            run_id,
            catalogue_digest,
            gate_map_digest,
            start: EventTime::from_micros(START).unwrap_or_default(),
            end: EventTime::from_micros(START + i64::from(*days) * DAY).unwrap_or_default(),
        }
    }

    /// When everything in the world was made, as it says: at its end.
    pub(super) fn created(&self) -> String {
        self.end.to_string().replace('Z', "+00:00")
    }

    /// The world key as the files of section 1 and 3 write it.
    pub(super) fn key(&self) -> Value {
        json!({
            "manifest_fingerprint": self.manifest_fingerprint,
            "parameter_hash": self.parameter_hash,
            "scenario_id": self.scenario,
            "seed": self.seed,
        })
    }

    /// What a path in the world is called.
    pub(super) fn name(&self, relative: &str) -> String {
        format!("{}/{relative}", self.root.trim_end_matches('/'))
    }

    /// The folder of an output's raw parts, the catalogue's `path_template` filled in.
    pub(super) fn raw_folder(&self, table: Table) -> String {
        let World {
            seed,
            scenario,
            manifest_fingerprint: manifest,
            parameter_hash: parameters,
            ..
        } = self;
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
        "manifest_fingerprint": world.manifest_fingerprint,
        "parameter_hash": world.parameter_hash,
        "seed": world.seed,
        "created_utc": world.created(),
    });
    write_json(spec, "run_receipt.json", &receipt)?;
    let report = json!({
        "scenario_id": world.scenario,
        "rows": row_counts(outputs),
    });
    let folder = format!("reports/scenario_id={}", world.scenario);
    write_json(spec, &format!("{folder}/summary.json"), &report)?;
    if !spec.sealed {
        return Ok(());
    }
    let manifest = json!({
        "version": PACK_VERSION,
        "oracle_pack_id": world.oracle_pack_id,
        "world_key": world.key(),
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

/// The text of a local root as the contract (section 1) resolves it: without trailing or doubled
/// slashes and `./`, but not made absolute.
fn root_text(out: &Path) -> String {
    let path: PathBuf = out
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    match path.to_string_lossy() {
        text if text.is_empty() => ".".to_owned(),
        text => text.into_owned(),
    }
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

/// sha256 as 64 hex digits.
pub(super) fn hex_digest(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

/// `stream_view_id` of section 3.
pub(super) fn view_id(world: &World, table: Table) -> String {
    fn quoted(text: &str) -> String {
        let mut out = String::from("\"");
        for unit in text.encode_utf16() {
            match unit {
                0x22 => out.push_str("\\\""),
                0x5c => out.push_str("\\\\"),
                0x20..=0x7e => out.push(unit as u8 as char),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
        out + "\""
    }
    let text = format!(
        "{{\"engine_run_root\":{},\"output_id\":{},\"partition_granularity\":\"flat\",\
         \"scenario_id\":{},\"sort_keys\":[\"ts_utc\",\"filename\",\"file_row_number\"]}}",
        quoted(&world.root),
        quoted(table.id()),
        quoted(&world.scenario),
    );
    hex_digest(text.as_bytes())
}
