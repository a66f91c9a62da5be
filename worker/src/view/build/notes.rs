//! A view's manifest and receipt, and what a folder that has some of them means for a build
//! (contracts section 3).

use object_store::ObjectMeta;
use serde_json::{Map, Value, json};
use worldstream_crds::Reason;

use super::super::check::{MANIFEST, RECEIPT};
use super::stats::Stats;
use super::{Target, parts::RawParts};
use crate::failure::{Failure, Result};
use crate::time::EventTime;
use crate::world::identity::{PARTITION_GRANULARITY, SORT_KEYS, stream_view_id};

/// The folder of an output's view, below the run root.
pub(crate) fn view_folder(output_id: &str) -> String {
    format!("stream_view/ts_utc/output_id={output_id}")
}

/// The view's manifest.
pub(super) fn manifest(target: &Target<'_>, output_id: &str) -> Value {
    let key = target.key;
    json!({
        "stream_view_id": stream_view_id(target.store.root(), &key.scenario_id, output_id),
        "engine_run_root": target.store.root(),
        "stream_view_root": target.store.name(&view_folder(output_id)),
        "engine_run_id": target.run_id,
        "scenario_id": key.scenario_id,
        "output_id": output_id,
        "output_ids": [output_id],
        "world_key": {
            "manifest_fingerprint": key.manifest_fingerprint,
            "parameter_hash": key.parameter_hash,
            "scenario_id": key.scenario_id,
            "seed": key.seed,
        },
        "sort_keys": SORT_KEYS,
        "partition_granularity": PARTITION_GRANULARITY,
        "created_utc": now(),
    })
}

/// The view's receipt.
pub(super) fn receipt(
    target: &Target<'_>,
    output_id: &str,
    raw: &RawParts,
    read: &Stats,
    written: &Stats,
) -> Value {
    json!({
        "stream_view_id": stream_view_id(target.store.root(), &target.key.scenario_id, output_id),
        "engine_run_root": target.store.root(),
        "stream_view_root": target.store.name(&view_folder(output_id)),
        "output_id": output_id,
        "output_ids": [output_id],
        "sort_keys": SORT_KEYS,
        "partition_granularity": PARTITION_GRANULARITY,
        "source_locator_digest": raw.locator_digest(),
        "raw_stats": read.json(raw.time.unit),
        "sorted_stats": written.json(raw.time.unit),
        "created_utc": now(),
        "status": "OK",
    })
}

fn now() -> String {
    EventTime::wall_now().to_string().replace('Z', "+00:00")
}

/// What is in a view's folder before a build.
#[derive(Debug)]
pub(super) enum There {
    /// Nothing: the view can be built.
    Nothing,
    /// The view of these very raw parts.
    TheView(Map<String, Value>),
}

/// Looks at a view's folder; `listed` are its objects by name.
///
/// # Errors
/// `STREAM_RECEIPT_MISMATCH`, `STREAM_VIEW_PARTIAL_EXISTS`, `STREAM_RECEIPT_MISSING`.
pub(super) async fn look(
    target: &Target<'_>,
    output_id: &str,
    locator_digest: &str,
    listed: &[(String, ObjectMeta)],
) -> Result<There> {
    let folder = view_folder(output_id);
    let has = |name: &str| listed.iter().any(|(found, _)| found == name);
    if has(RECEIPT) {
        let receipt = format!("{folder}/{RECEIPT}");
        let fields = read_receipt(target, &receipt).await?;
        let view_id = stream_view_id(target.store.root(), &target.key.scenario_id, output_id);
        for (field, expected) in [
            ("status", "OK"),
            ("stream_view_id", &view_id),
            ("output_id", output_id),
            ("source_locator_digest", locator_digest),
            ("partition_granularity", PARTITION_GRANULARITY),
        ] {
            let found = fields.get(field);
            if found.and_then(Value::as_str) != Some(expected) {
                return Err(mismatch(target, &receipt)
                    .field(field)
                    .found(found.map_or("nothing".to_owned(), Value::to_string))
                    .expected(expected));
            }
        }
        return Ok(There::TheView(fields));
    }
    if let Some((part, _)) = listed.iter().find(|(name, _)| name.ends_with(".parquet")) {
        let part = target.store.name(&format!("{folder}/{part}"));
        return Err(Failure::new(Reason::StreamViewPartialExists, part)
            .found("a part without a receipt")
            .expected("no part, or a whole view"));
    }
    if has(MANIFEST) {
        let manifest = target.store.name(&format!("{folder}/{MANIFEST}"));
        return Err(Failure::new(Reason::StreamReceiptMissing, manifest)
            .found("a manifest without a receipt")
            .expected("no manifest, or a whole view"));
    }
    Ok(There::Nothing)
}

async fn read_receipt(target: &Target<'_>, receipt: &str) -> Result<Map<String, Value>> {
    let failure = || mismatch(target, receipt).expected("the receipt of this view");
    let bytes = target.store.read(receipt).await;
    let bytes = bytes.map_err(|error| error.explain(failure()))?;
    match serde_json::from_slice(&bytes.unwrap_or_default()) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(failure().found(other.to_string())),
        Err(error) => Err(failure().found("no JSON").cause(&error)),
    }
}

fn mismatch(target: &Target<'_>, receipt: &str) -> Failure {
    Failure::new(Reason::StreamReceiptMismatch, target.store.name(receipt))
}
