//! A part's footer: read with one small request at its end, checked before anything relies on it,
//! and hashed so that another part of the same name is noticed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::guarded::guarded;
use super::object::{Fetched, Object};
use crate::failure::{Failure, Result};

/// The time key of every output that is streamed.
pub(super) const TS_UTC: &str = "ts_utc";

/// Length and magic behind the metadata.
const TAIL: usize = 8;
/// Most footers fit, so one request reads them.
const FIRST_READ: u64 = 64 * 1024;

/// What a part says about itself.
pub(super) struct Footer {
    pub metadata: ParquetMetaData,
    /// sha256 hex of the footer's bytes: the metadata, its length and the magic.
    pub digest: String,
}

/// Bytes of footers that are kept in all.
const KEPT: usize = 4 << 20;

/// Footers of a world's remote parts, kept from when they are checked until they are read, as many
/// as a bound allows: so each is fetched once. What they are of is made sure by its tag at every
/// read.
#[derive(Debug, Clone, Default)]
pub struct Footers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    footers: HashMap<(Path, String), Bytes>,
    held: usize,
}

impl Footers {
    /// The bytes of a part's footer.
    pub(super) async fn fetch(&self, object: &Object) -> Result<Fetched> {
        let (Some(tag), Some(_)) = (&object.etag, object.store.io()) else {
            return fetch(object).await;
        };
        let key = (object.location.clone(), tag.clone());
        if let Some(bytes) = self.kept().footers.get(&key) {
            let bytes = bytes.clone();
            return Ok(Fetched {
                bytes,
                local: false,
            });
        }
        let fetched = fetch(object).await?;
        let mut kept = self.kept();
        if kept.held + fetched.bytes.len() <= KEPT {
            kept.held += fetched.bytes.len();
            // In a buffer of its own: what was read with it is not kept alive.
            let own = Bytes::copy_from_slice(&fetched.bytes);
            kept.footers.insert(key, own);
        }
        Ok(fetched)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is left half done where a panic could happen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the footer, however long it is.
pub(super) async fn fetch(object: &Object) -> Result<Fetched> {
    if object.size < TAIL as u64 {
        return Err(no_parquet(object, &format!("{} bytes", object.size)));
    }
    let start = object.size.saturating_sub(FIRST_READ);
    let first = object.range(start..object.size).await?;
    let length = footer_length(object, &first.bytes)?;
    if length <= first.bytes.len() as u64 {
        let from = first.bytes.len() - length as usize;
        return Ok(Fetched {
            bytes: first.bytes.slice(from..),
            local: first.local,
        });
    }
    object.range(object.size - length..object.size).await
}

/// The footer's length by the part's last bytes; never more than the part has.
fn footer_length(object: &Object, end: &Bytes) -> Result<u64> {
    let tail: &[u8; TAIL] = end
        .last_chunk()
        .ok_or_else(|| no_parquet(object, &format!("{} bytes", object.size)))?;
    let tail = FooterTail::try_new(tail).map_err(|_| {
        no_parquet(
            object,
            &format!("an end of {:?}", String::from_utf8_lossy(&tail[4..])),
        )
    })?;
    if tail.is_encrypted_footer() {
        return Err(no_parquet(object, "an encrypted footer"));
    }
    let length = tail.metadata_length() as u64 + TAIL as u64;
    if length > object.size {
        return Err(no_parquet(
            object,
            &format!("a footer of {length} bytes in {} bytes", object.size),
        ));
    }
    Ok(length)
}

/// Decodes and checks what [`fetch`] read. Takes CPU time.
pub(super) fn decode(object: &Object, fetched: Fetched) -> Result<Footer> {
    let bytes = &fetched.bytes;
    let digest = const_hex::encode(Sha256::digest(bytes));
    let metadata = guarded(|| {
        ParquetMetaDataReader::decode_metadata(&bytes[..bytes.len().saturating_sub(TAIL)])
    })
    .map_err(|error| no_parquet(object, "a footer that cannot be decoded").cause(&error))?;
    check_layout(object, bytes.len() as u64, &metadata)?;
    Ok(Footer { metadata, digest })
}

/// Row groups that add up and lie inside the part: what is cut out of the middle of a file leaves
/// its footer whole.
fn check_layout(object: &Object, footer: u64, metadata: &ParquetMetaData) -> Result<()> {
    let bad = |field: String| Failure::new(Reason::StreamFailed, &object.name).field(field);
    let mut rows = 0i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if group.num_rows() < 0 {
            return Err(bad(format!("row group {index}"))
                .found(format!("{} rows", group.num_rows()))
                .expected("a count"));
        }
        rows = rows.saturating_add(group.num_rows());
        for column in group.columns() {
            let start = column
                .dictionary_page_offset()
                .unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            let room = i64::try_from(object.size - footer).unwrap_or(i64::MAX);
            if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end > room) {
                return Err(bad(format!(
                    "row group {index}, column {}",
                    column.column_path().string()
                ))
                .found(format!(
                    "{} bytes from {start} in a part of {}",
                    column.compressed_size(),
                    object.size
                ))
                .expected("bytes before the footer: the part is truncated or corrupt"));
            }
        }
    }
    if rows != metadata.file_metadata().num_rows() {
        return Err(bad("rows".to_owned())
            .found(metadata.file_metadata().num_rows().to_string())
            .expected(format!("{rows}, the sum of its row groups")));
    }
    Ok(())
}

/// The columns that a part with rows must have: no name twice, and the time key.
pub(super) fn check_columns(object: &Object, metadata: &ParquetMetaData) -> Result<()> {
    let file = metadata.file_metadata();
    let schema =
        guarded(|| parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()))
            .map_err(|error| {
                Failure::new(Reason::StreamFailed, &object.name)
                    .field("schema")
                    .cause(&error)
            })?;
    let mut seen = std::collections::BTreeSet::new();
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            return Err(Failure::new(Reason::StreamFailed, &object.name)
                .field(format!("column {}", field.name()))
                .found("two columns of this name")
                .expected("one"));
        }
    }
    let Ok(field) = schema.field_with_name(TS_UTC) else {
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Failure::new(Reason::StreamFailed, &object.name)
            .field(format!("column {TS_UTC}"))
            .found(format!("no such column, only {}", names.join(", ")))
            .expected("the time key of every row"));
    };
    if !is_time(field.data_type()) {
        return Err(Failure::new(Reason::StreamFailed, &object.name)
            .field(format!("column {TS_UTC}"))
            .found(field.data_type().to_string())
            .expected("a timestamp or a text"));
    }
    Ok(())
}

fn is_time(data_type: &arrow_schema::DataType) -> bool {
    use arrow_schema::DataType::*;
    match data_type {
        Timestamp(..) | Utf8 | LargeUtf8 | Utf8View => true,
        Dictionary(_, values) => is_time(values),
        _ => false,
    }
}

fn no_parquet(object: &Object, found: &str) -> Failure {
    Failure::new(Reason::StreamFailed, &object.name)
        .found(found)
        .expected("a Parquet file: the part is truncated or no Parquet")
}
