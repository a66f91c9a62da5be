//! The engine's receipt, `run_receipt.json` (contracts section 1).

use worldstream_crds::Reason;

use super::json::Document;
use super::{Receipt, WorldStore};
use crate::failure::{Failure, Result};

/// The receipt's file name below the run root.
pub const RECEIPT: &str = "run_receipt.json";

/// Reads the receipt.
///
/// # Errors
/// `RUN_RECEIPT_UNREADABLE` when it is absent or not JSON; `WORLD_KEY_MISSING` when it lacks a
/// field or its seed is no unsigned 64-bit integer. More fields are allowed.
pub async fn read(store: &WorldStore) -> Result<Receipt> {
    let file = store.name(RECEIPT);
    let bytes = store
        .read(RECEIPT)
        .await
        .map_err(|error| error.explain(Failure::new(Reason::RunReceiptUnreadable, &file)))?
        .ok_or_else(|| {
            Failure::new(Reason::RunReceiptUnreadable, &file)
                .found("no such file")
                .expected("the engine's receipt")
        })?;
    parse(&file, &bytes)
}

/// The receipt in these bytes; `file` is what messages call it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Receipt> {
    let receipt = Document::parse(
        file,
        bytes,
        Reason::RunReceiptUnreadable,
        Reason::WorldKeyMissing,
    )?;
    Ok(Receipt {
        run_id: receipt.hex("run_id", 32)?.to_owned(),
        manifest_fingerprint: receipt.hex("manifest_fingerprint", 64)?.to_owned(),
        parameter_hash: receipt.hex("parameter_hash", 64)?.to_owned(),
        seed: receipt.u64("seed")?,
    })
}
