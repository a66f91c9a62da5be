//! Whether a view may be read at all, before any row of it is (contracts section 3).

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::object::Object;
use super::{PartPlan, ViewFingerprint, ViewPlan, footer};
use crate::failure::{Failure, Result};
use crate::world::WorldStore;
use crate::world::identity::stream_view_id;

pub(super) const MANIFEST: &str = "_stream_view_manifest.json";
pub(crate) const RECEIPT: &str = "_stream_sort_receipt.json";

/// Footers that are read at the same time.
const FOOTERS_AT_ONCE: usize = 8;

/// Checks a view as the contract says, in its order, and reads every part's footer once.
///
/// Fails closed: `STREAM_VIEW_MISSING`, `STREAM_VIEW_RECEIPT_BAD`, `STREAM_VIEW_ID_MISMATCH`,
/// `STREAM_VIEW_OUTPUT_MISMATCH`, `STREAM_VIEW_EMPTY`, and `STREAM_FAILED` naming a part that is
/// no Parquet, has no `ts_utc`, or has two columns of one name. Runs on a Tokio runtime.
pub async fn plan_view(store: &WorldStore, scenario_id: &str, output_id: &str) -> Result<ViewPlan> {
    let folder = format!("stream_view/ts_utc/output_id={output_id}");
    let view_id = stream_view_id(store.root(), scenario_id, output_id);
    let manifest = Document::read(store, &folder, MANIFEST).await?;
    let receipt = Document::read(store, &folder, RECEIPT).await?;

    match receipt.fields.get("status") {
        None | Some(Value::Null) => {}
        Some(Value::String(status)) if status.is_empty() || status == "OK" => {}
        Some(other) => {
            return Err(receipt.wrong(Reason::StreamViewReceiptBad, "status", other, "OK"));
        }
    }
    manifest.must_say("stream_view_id", &view_id, Reason::StreamViewIdMismatch)?;
    manifest.must_say("output_id", output_id, Reason::StreamViewOutputMismatch)?;
    receipt.must_say("output_id", output_id, Reason::StreamViewOutputMismatch)?;

    let parts = read_parts(store, &folder).await?;
    Ok(ViewPlan {
        output_id: output_id.to_owned(),
        view_id,
        folder: store.name(&folder),
        rows: parts.iter().map(|part| part.rows).sum(),
        parts,
    })
}

/// What a cursor remembers of a view, so that a later start notices that it was rebuilt.
pub fn fingerprint(plan: &ViewPlan) -> ViewFingerprint {
    let mut digest = Sha256::new();
    for part in &plan.parts {
        // Not the whole path: the folder follows from the view's id.
        let file = part.name.rsplit('/').next().unwrap_or_default();
        digest.update(format!(
            "{file}|{}|{}|{}\n",
            part.size, part.rows, part.footer
        ));
    }
    ViewFingerprint {
        view_id: plan.view_id.clone(),
        rows: plan.rows,
        digest: const_hex::encode(digest.finalize()),
    }
}

/// A view's manifest or receipt.
struct Document {
    name: String,
    fields: Map<String, Value>,
}

impl Document {
    /// Absent, unreadable or empty: `STREAM_VIEW_MISSING`.
    async fn read(store: &WorldStore, folder: &str, file: &str) -> Result<Self> {
        let relative = format!("{folder}/{file}");
        let name = store.name(&relative);
        let missing =
            || Failure::new(Reason::StreamViewMissing, &name).expected("a JSON object with fields");
        let bytes = match store.read(&relative).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(missing().found("no such file")),
            Err(error) => return Err(error.explain(missing())),
        };
        if bytes.is_empty() {
            return Err(missing().found("an empty file"));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) if !fields.is_empty() => Ok(Document { name, fields }),
            Ok(other) => Err(missing().found(other.to_string())),
            Err(error) => Err(missing().found("no JSON").cause(&error)),
        }
    }

    /// A field that is present must have this text.
    fn must_say(&self, field: &str, expected: &str, reason: Reason) -> Result<()> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(found)) if found == expected => Ok(()),
            Some(other) => Err(self.wrong(reason, field, other, expected)),
        }
    }

    fn wrong(&self, reason: Reason, field: &str, found: &Value, expected: &str) -> Failure {
        let found = match found {
            Value::String(text) if !text.is_empty() => text.clone(),
            other => other.to_string(),
        };
        Failure::new(reason, &self.name)
            .field(field)
            .found(found)
            .expected(expected)
    }
}

/// The parts in the order of their full path as text, each with what its footer says.
async fn read_parts(store: &WorldStore, folder: &str) -> Result<Vec<PartPlan>> {
    let listed = store
        .list(folder)
        .await
        .map_err(|error| error.explain(Failure::new(Reason::StreamFailed, store.name(folder))))?;
    // All lie in one folder, so the order of their names is that of their paths.
    let objects: Vec<Object> = listed
        .into_iter()
        .filter(|(name, _)| is_part(name))
        .map(|(name, meta)| Object {
            store: store.store().clone(),
            name: store.name(&format!("{folder}/{name}")),
            location: meta.location,
            size: meta.size,
            etag: meta.e_tag,
        })
        .collect();
    if objects.is_empty() {
        return Err(Failure::new(Reason::StreamViewEmpty, store.name(folder))
            .found("no part")
            .expected("part-*.parquet"));
    }
    let parts = objects.into_iter().map(|object| read_part(store, object));
    futures::stream::iter(parts)
        .buffered(FOOTERS_AT_ONCE)
        .try_collect()
        .await
}

fn is_part(name: &str) -> bool {
    name.strip_prefix("part-")
        .is_some_and(|rest| rest.ends_with(".parquet"))
}

async fn read_part(store: &WorldStore, object: Object) -> Result<PartPlan> {
    let fetched = store.footers().fetch(&object).await?;
    let decoding = object.clone();
    let (rows, digest) = tokio::task::spawn_blocking(move || {
        let footer = footer::decode(&decoding, fetched)?;
        let rows = footer.metadata.file_metadata().num_rows();
        if rows > 0 {
            footer::check_columns(&decoding, &footer.metadata)?;
        }
        // The layout was checked: the rows are a sum of counts.
        Ok((rows.unsigned_abs(), footer.digest))
    })
    .await
    .unwrap_or_else(|error| Err(Failure::new(Reason::StreamFailed, &object.name).cause(&error)))?;
    Ok(PartPlan {
        name: object.name,
        location: object.location,
        size: object.size,
        rows,
        footer: digest,
        etag: object.etag,
    })
}
