//! How a part's columns are read: as its own schema says, but strings that repeat as
//! dictionaries, which are encoded once and not once a row.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::guarded::guarded;

/// A row group must have this many values for its dictionary to be worth keeping, unless the
/// part has only one.
const LEAST_VALUES: i64 = 16 * 1024;
/// A dictionary page of at most so many bytes on disk holds few values.
const DICTIONARY_BYTES: i64 = 32 * 1024;

/// How the part is read.
pub(super) fn plan(metadata: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, ParquetError> {
    let own =
        guarded(|| ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new()))?;
    let fields: Vec<Arc<Field>> = own
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let wanted = match string_type(field.data_type()) {
                Some(_) if repeats(&metadata, field.name()) => {
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
                }
                // Whatever the writer's hint says of keys: a dictionary of many values is only
                // a detour, and its keys may not suffice.
                Some(plain) => plain,
                None => return field.clone(),
            };
            Arc::new(field.as_ref().clone().with_data_type(wanted))
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(
        fields,
        own.schema().metadata().clone(),
    ));
    if schema == *own.schema() {
        return Ok(own);
    }
    let options = ArrowReaderOptions::new().with_schema(schema);
    // The part's own schema always works; the other is only faster.
    Ok(guarded(|| ArrowReaderMetadata::try_new(metadata, options)).unwrap_or(own))
}

/// How the part is read where all parts of a table must come out as the same types.
pub(super) fn plan_as(
    metadata: Arc<ParquetMetaData>,
    schema: SchemaRef,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_schema(schema);
    guarded(|| ArrowReaderMetadata::try_new(metadata, options))
}

/// The type without its dictionary, if it is a string.
pub(super) fn string_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(data_type.clone()),
        DataType::Dictionary(_, values) => string_type(values),
        _ => None,
    }
}

/// Whether every row group holds the column as a small dictionary and keys into it.
pub(super) fn repeats(metadata: &ParquetMetaData, name: &str) -> bool {
    let Some(leaf) = leaf(metadata, name) else {
        return false;
    };
    let mut groups = metadata
        .row_groups()
        .iter()
        .filter(|group| group.num_rows() > 0)
        .peekable();
    groups.peek().is_some()
        && groups.all(|group| {
            let column = group.column(leaf);
            let dictionary = column
                .dictionary_page_offset()
                .map(|start| column.data_page_offset() - start);
            column.num_values() >= LEAST_VALUES
                && dictionary.is_some_and(|bytes| (1..=DICTIONARY_BYTES).contains(&bytes))
                && all_keys(column)
        })
}

/// Whether all data pages are keys into the dictionary, as far as the footer says.
fn all_keys(column: &ColumnChunkMetaData) -> bool {
    let keys = [Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
    match column.page_encoding_stats_mask() {
        Some(mask) => keys.iter().any(|key| mask.is_only(*key)),
        // Without them a plain page would be listed as plain, but so may the dictionary be.
        None => {
            let mask = column.encodings_mask();
            keys.iter().any(|key| mask.is_set(*key)) && !mask.is_set(Encoding::PLAIN)
        }
    }
}

/// The index of a column that is no list and no struct among the part's leaves.
pub(super) fn leaf(metadata: &ParquetMetaData, name: &str) -> Option<usize> {
    metadata
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .position(|column| matches!(column.path().parts(), [only] if only == name))
}
