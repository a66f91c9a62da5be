//! How a view's parts are laid out: the table's own schema, row groups, pages with their indexes,
//! and a dictionary where it pays.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

use super::coding::{Coder, Coding};
use super::parts::RawParts;
use super::stats::hashes;

/// Rows of a row group (the same as the engine's other tools write).
pub const ROW_GROUP_ROWS: usize = 122_880;
/// What a part's footer says of who wrote it; the number goes up with the hashes of `stats`.
pub const CREATED_BY: &str = "worldstream oracle 1";

/// Encoded bytes that a row group should not exceed by far: it is in memory until it is whole.
const ROW_GROUP_BYTES: u64 = 64 * 1024 * 1024;
/// Rows that are encoded at a time, and their bytes.
const CHUNK_ROWS: usize = 8_192;
const CHUNK_BYTES: u64 = 1024 * 1024;
/// A dictionary pays where the first rows have at most this share of different values.
const DISTINCT_SHARE: usize = 4;

/// The layout of a view.
#[derive(Debug)]
pub(super) struct Layout {
    /// The types that columns are encoded from.
    pub schema: SchemaRef,
    /// The types that they have in the file: the table's own.
    pub root: TypePtr,
    pub properties: WriterPropertiesPtr,
    /// What goes into the footer besides.
    pub notes: Vec<KeyValue>,
    /// Rows that are encoded at a time; a row group is a multiple of it.
    pub chunk_rows: usize,
    pub group_rows: usize,
}

impl Layout {
    /// Depends on the raw parts alone: the same parts give the same bytes.
    pub fn of(raw: &RawParts, coder: &Coder, pays: &[bool]) -> Result<Layout, ParquetError> {
        let codings = coder.codings();
        let fields = raw.schema.fields().iter().zip(&codings);
        let fields = fields.map(|(field, coding)| {
            let wanted = match (coding, field.data_type()) {
                (Coding::Codes, dictionary) => dictionary.clone(),
                (_, DataType::Dictionary(_, values)) => values.as_ref().clone(),
                (_, other) => other.clone(),
            };
            Field::new(field.name(), wanted, field.is_nullable())
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (root, own) = root(&raw.root, &schema)?;

        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(Default::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(None)
            // Statistics of pages are what a column index is made of.
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_dictionary_enabled(false);
        let descriptor = SchemaDescriptor::new(root.clone());
        for (leaf, column) in descriptor.columns().iter().enumerate() {
            let index = descriptor.get_column_root_idx(leaf);
            let pays = match codings.get(index) {
                Some(Coding::Constant | Coding::Codes) => true,
                Some(Coding::TimeText) => false,
                _ => pays.get(index).copied().unwrap_or_default(),
            };
            let path = ColumnPath::new(column.path().parts().to_vec());
            properties = properties.set_column_dictionary_enabled(path, pays);
        }
        let average = |bytes: u64| (bytes / raw.rows.max(1)).max(1);
        let fitting = usize::try_from(CHUNK_BYTES / average(raw.plain_bytes)).unwrap_or(CHUNK_ROWS);
        // A power of two divides a row group without rest.
        let chunk_rows = 1 << fitting.clamp(16, CHUNK_ROWS).ilog2();
        let fitting = usize::try_from(ROW_GROUP_BYTES / average(raw.bytes)).unwrap_or(usize::MAX);
        let group_rows = match fitting >= ROW_GROUP_ROWS {
            true => ROW_GROUP_ROWS,
            false => fitting.next_multiple_of(chunk_rows),
        };
        Ok(Layout {
            schema,
            root,
            properties: Arc::new(properties.build()),
            notes: match (&raw.hint, own) {
                (Some(hint), true) => vec![KeyValue::new("ARROW:schema".into(), hint.clone())],
                _ => Vec::new(),
            },
            chunk_rows,
            group_rows,
        })
    }
}

/// For which columns a dictionary pays, by the table's first rows.
pub(super) fn pays(rows: &RecordBatch) -> Vec<bool> {
    let columns = rows.columns().iter();
    columns
        .map(|column| {
            let nested = column.data_type().is_nested();
            let different: HashSet<u64> = hashes(column.as_ref()).into_iter().collect();
            nested || different.len() * DISTINCT_SHARE <= column.len()
        })
        .collect()
}

/// The file's schema: each column as the raw parts have it, if that is a form that our encoder
/// writes, else as Arrow's types say. And whether all are as the raw parts have them.
fn root(raw: &TypePtr, schema: &Schema) -> Result<(TypePtr, bool), ParquetError> {
    let ours = ArrowSchemaConverter::new()
        .convert(schema)?
        .root_schema_ptr();
    let mut own = true;
    let pairs = raw.get_fields().iter().zip(ours.get_fields());
    let fields: Vec<TypePtr> = pairs
        .map(|(raw, ours)| {
            if same_form(raw, ours) {
                return raw.clone();
            }
            own = false;
            ours.clone()
        })
        .collect();
    let root = Type::group_type_builder(raw.name())
        .with_fields(fields)
        .build()?;
    Ok((Arc::new(root), own))
}

/// Whether two columns have the same leaves: physical types, lengths and levels.
fn same_form(a: &TypePtr, b: &TypePtr) -> bool {
    let leaves = |field: &TypePtr| {
        let root = Type::group_type_builder("root").with_fields(vec![field.clone()]);
        let descriptor = root
            .build()
            .map(|root| SchemaDescriptor::new(Arc::new(root)));
        descriptor.ok().map(|descriptor| {
            let columns = descriptor.columns().iter();
            let form = columns.map(|column| {
                let length = column.self_type_ptr();
                let length = match length.get_physical_type() {
                    parquet::basic::Type::FIXED_LEN_BYTE_ARRAY => column.type_length(),
                    _ => 0,
                };
                let levels = (column.max_def_level(), column.max_rep_level());
                (column.physical_type(), length, levels)
            });
            form.collect::<Vec<_>>()
        })
    };
    let (a, b) = (leaves(a), leaves(b));
    a.is_some() && a == b
}
