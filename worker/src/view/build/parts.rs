//! The raw parts of a table (contracts sections 1 to 3): found by the catalogue's template, put in
//! the order of their full path, and seen to be parts of one table with a time key.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::{Type, TypePtr};
use worldstream_crds::Reason;

use super::super::footer::TS_UTC;
use super::super::guarded::guarded;
use super::super::object::Object;
use super::super::{PartPlan, RowPlace, columns, footer};
use super::Target;
use crate::envelope::{EVENT_TIME, event_times};
use crate::failure::{Failure, Result};
use crate::store::Trouble;
use crate::world::catalogue::CatalogueOutput;
use crate::world::identity::sha256_hex;
use crate::world::template::render;

/// The time key of tables that are not streamed.
const SESSION_START: &str = "session_start_utc";
/// Footers that are read at the same time.
const FOOTERS_AT_ONCE: usize = 8;

/// What one step of a time key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds since 1970: of texts, and of timestamps of that unit and coarser ones.
    Micros,
    /// Nanoseconds since 1970: of timestamps of that unit.
    Nanos,
}

impl Unit {
    /// A key in microseconds, cut towards the past.
    pub fn micros(self, key: i64) -> i64 {
        match self {
            Unit::Micros => key,
            Unit::Nanos => key.div_euclid(1_000),
        }
    }
}

/// The column that a table is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeKey {
    /// Its name.
    pub name: String,
    /// Its index among the table's columns.
    pub column: usize,
    /// The unit of the keys.
    pub unit: Unit,
}

impl TimeKey {
    /// Finds the time key of a table.
    fn of(schema: &Schema) -> Result<TimeKey, String> {
        let found = [TS_UTC, SESSION_START]
            .into_iter()
            .find_map(|name| Some((name, schema.index_of(name).ok()?)));
        let Some((name, column)) = found else {
            let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(format!("no such column, only {}", names.join(", ")));
        };
        let unit = match schema.field(column).data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Unit::Nanos,
            DataType::Timestamp(_, _) | DataType::Utf8 | DataType::LargeUtf8 => Unit::Micros,
            other => return Err(format!("a column {name} of type {other}")),
        };
        Ok(TimeKey {
            name: name.to_owned(),
            column,
            unit,
        })
    }

    /// The keys of rows. `file` and `first` say where they are, for messages.
    ///
    /// # Errors
    /// `STREAM_FAILED` naming file and row of a null or unreadable time.
    pub fn keys(&self, rows: &RecordBatch, file: &str, first: RowPlace) -> Result<Vec<i64>> {
        let column = rows.column(self.column);
        let mut keys = Vec::with_capacity(rows.num_rows());
        event_times(column, &mut keys).map_err(|bad| {
            Failure::new(Reason::StreamFailed, file)
                .field(format!(
                    "row {}, column {}",
                    first.row + bad.row as u64,
                    self.name
                ))
                .found(bad.found)
                .expected(EVENT_TIME)
        })?;
        if self.unit == Unit::Nanos {
            // Seen to have no null; the rest of a nanosecond counts in the order.
            let data = column.to_data();
            let values: &[i64] = data.buffers().first().map_or(&[], |it| it.typed_data());
            keys.clear();
            keys.extend(values.iter().skip(data.offset()).take(data.len()));
        }
        Ok(keys)
    }
}

/// The raw parts of a table.
#[derive(Debug)]
pub struct RawParts {
    /// In the order of their full path as text.
    pub parts: Vec<PartPlan>,
    /// Rows of all parts.
    pub rows: u64,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Bytes of all columns once decompressed, as the footers say.
    pub plain_bytes: u64,
    /// What they are sorted by.
    pub time: TimeKey,
    /// The types that rows are read as: the same for all parts.
    pub schema: SchemaRef,
    /// The schema as Parquet has it.
    pub root: TypePtr,
    /// The Arrow schema that the writer of the first part left in it, for readers that heed it.
    pub hint: Option<String>,
    /// Who wrote them, if all say the same.
    pub created_by: Option<String>,
}

impl RawParts {
    /// sha256 of the full paths, sorted, joined by newlines (contracts section 3).
    pub fn locator_digest(&self) -> String {
        locator_digest(self.parts.iter().map(|part| part.name.as_str()))
    }
}

fn locator_digest<'a>(sorted: impl Iterator<Item = &'a str>) -> String {
    sha256_hex(sorted.collect::<Vec<_>>().join("\n"))
}

/// Finds the raw parts' names without opening any.
///
/// # Errors
/// `STREAM_FAILED` for a template that has no value for this world, and where there is no part.
pub(in crate::view) async fn find(
    target: &Target<'_>,
    output: &CatalogueOutput,
) -> Result<Vec<Object>> {
    let relative = render(&output.path_template, target.key, target.run_id).map_err(|found| {
        Failure::new(Reason::StreamFailed, &output.id)
            .field("path_template")
            .found(found)
            .expected("a template of raw parts of this world")
    })?;
    let found = list(target, &relative).await?;
    if found.is_empty() {
        return Err(
            Failure::new(Reason::StreamFailed, target.store.name(&relative))
                .field(format!("raw parts of {}", output.id))
                .found("none")
                .expected("Parquet files of this pattern"),
        );
    }
    Ok(found)
}

/// The same for a look at a world, where it is no failure that there are none.
///
/// # Errors
/// Those of the store.
pub(in crate::view) async fn find_any(
    target: &Target<'_>,
    output: &CatalogueOutput,
) -> Result<Vec<Object>> {
    match render(&output.path_template, target.key, target.run_id) {
        Ok(relative) => list(target, &relative).await,
        Err(_) => Ok(Vec::new()),
    }
}

/// The parts of a rendered template, in the order of their full path as text.
async fn list(target: &Target<'_>, relative: &str) -> Result<Vec<Object>> {
    let (folder, pattern) = match relative.rsplit_once('/') {
        Some((folder, "")) => (folder.to_owned(), "*.parquet"),
        Some((folder, last)) if last.contains('*') || last.ends_with(".parquet") => {
            (folder.to_owned(), last)
        }
        None if relative.contains('*') => (String::new(), relative),
        _ => (relative.to_owned(), "*.parquet"),
    };
    // The folders before the first one that is a pattern are certain.
    let certain: Vec<&str> = folder
        .split('/')
        .take_while(|segment| !segment.contains('*'))
        .collect();
    let certain = certain.join("/");
    let failure = || Failure::new(Reason::StreamFailed, target.store.name(relative));
    let listed = match certain == folder {
        true => target.store.list(&folder).await,
        false => target.store.walk(&certain).await,
    };
    let whole = format!("{folder}/{pattern}");
    let listed = match listed {
        Err(error) if error.trouble() == Trouble::Missing => Vec::new(),
        listed => listed.map_err(|error| error.explain(failure()))?,
    };
    let mut found: Vec<Object> = listed
        .into_iter()
        .map(|(name, meta)| (join(&certain, &name), meta))
        .filter(|(path, _)| matches(whole.trim_start_matches('/'), path))
        .map(|(path, meta)| Object {
            store: target.store.store().clone(),
            name: target.store.name(&path),
            location: meta.location,
            size: meta.size,
            etag: meta.e_tag,
        })
        .collect();
    found.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    Ok(found)
}

/// The digest of what [`find`] found.
pub(in crate::view) fn digest_of(found: &[Object]) -> String {
    locator_digest(found.iter().map(|object| object.name.as_str()))
}

fn join(folder: &str, name: &str) -> String {
    match folder.is_empty() {
        true => name.to_owned(),
        false => format!("{folder}/{name}"),
    }
}

/// Whether a path is one of a pattern, segment by segment; `*` stands for anything in a segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if segment_matches(pattern, segment) => {}
            _ => return false,
        }
    }
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    let Some(after) = segment.strip_prefix(head) else {
        return false;
    };
    if rest.is_empty() {
        return true;
    }
    let mut ends = after.char_indices().map(|(at, _)| at);
    ends.any(|at| segment_matches(rest, after.get(at..).unwrap_or_default()))
}

/// Opens the footers of what [`find`] found.
///
/// # Errors
/// `STREAM_FAILED` naming the part that is no Parquet, has another schema than the first one,
/// has no time key, or has two columns of one name.
pub(in crate::view) async fn open(found: Vec<Object>) -> Result<RawParts> {
    let footers: Vec<(PartPlan, Arc<ParquetMetaData>)> = futures::stream::iter(found)
        .map(|object| async move {
            let fetched = footer::fetch(&object).await?;
            let decoding = object.clone();
            let footer = tokio::task::spawn_blocking(move || footer::decode(&decoding, fetched))
                .await
                .unwrap_or_else(|error| {
                    Err(Failure::new(Reason::StreamFailed, &object.name).cause(&error))
                })?;
            let rows = footer.metadata.file_metadata().num_rows().unsigned_abs();
            let plan = PartPlan {
                name: object.name,
                location: object.location,
                size: object.size,
                rows,
                footer: footer.digest,
                etag: object.etag,
            };
            Ok::<_, Failure>((plan, Arc::new(footer.metadata)))
        })
        .buffered(FOOTERS_AT_ONCE)
        .try_collect()
        .await?;
    let Some((first, metadata)) = footers.first() else {
        return Err(Failure::new(Reason::StreamFailed, "raw parts").found("none"));
    };
    for (part, other) in &footers {
        same_schema(part, other, first, metadata)?;
    }
    let file = metadata.file_metadata();
    let bad = |error| {
        Failure::new(Reason::StreamFailed, &first.name)
            .field("schema")
            .cause(&error)
    };
    let own = guarded(|| ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new()))
        .map_err(bad)?;
    let schema = Arc::new(read_as(own.schema(), &footers));
    let time = TimeKey::of(&schema).map_err(|found| {
        Failure::new(Reason::StreamFailed, &first.name)
            .field(format!("column {TS_UTC}"))
            .found(found)
            .expected("the time key: a timestamp or a text")
    })?;
    let names: std::collections::BTreeSet<_> = schema.fields().iter().map(|f| f.name()).collect();
    if names.len() != schema.fields().len() {
        return Err(Failure::new(Reason::StreamFailed, &first.name)
            .field("schema")
            .found("two columns of one name")
            .expected("each name once"));
    }
    let hint = file.key_value_metadata().and_then(|pairs| {
        let pair = pairs.iter().find(|pair| pair.key == "ARROW:schema")?;
        pair.value.clone()
    });
    let plain = |metadata: &ParquetMetaData| -> u64 {
        let groups = metadata.row_groups().iter();
        groups.map(|it| it.total_byte_size().unsigned_abs()).sum()
    };
    let by = |metadata: &ParquetMetaData| metadata.file_metadata().created_by().map(str::to_owned);
    let same_hand = footers.iter().all(|(_, it)| by(it) == by(metadata));
    Ok(RawParts {
        created_by: by(metadata).filter(|_| same_hand),
        rows: footers.iter().map(|(part, _)| part.rows).sum(),
        bytes: footers.iter().map(|(part, _)| part.size).sum(),
        plain_bytes: footers.iter().map(|(_, metadata)| plain(metadata)).sum(),
        time,
        root: file.schema_descr().root_schema_ptr(),
        hint,
        schema,
        parts: footers.into_iter().map(|(part, _)| part).collect(),
    })
}

/// All parts have the columns of the first, in order, of the same types.
fn same_schema(
    part: &PartPlan,
    metadata: &ParquetMetaData,
    first: &PartPlan,
    expected: &ParquetMetaData,
) -> Result<()> {
    let fields = |metadata: &ParquetMetaData| -> Vec<TypePtr> {
        let root = metadata.file_metadata().schema_descr().root_schema_ptr();
        root.get_fields().to_vec()
    };
    let (found, expected) = (fields(metadata), fields(expected));
    for index in 0..found.len().max(expected.len()) {
        let (found, expected) = (found.get(index), expected.get(index));
        if found == expected {
            continue;
        }
        let name = expected.or(found).map_or("", |field| field.name());
        let shown = |field: Option<&TypePtr>| field.map_or("no column".to_owned(), |it| text(it));
        return Err(Failure::new(Reason::StreamFailed, &part.name)
            .field(format!("row 0, column {name}"))
            .found(shown(found))
            .expected(format!("{}, as in {}", shown(expected), first.name))
            .detail("the raw parts of a table must have one schema"));
    }
    Ok(())
}

/// A Parquet type in one line.
fn text(field: &Type) -> String {
    let mut out = Vec::new();
    parquet::schema::printer::print_schema(&mut out, field);
    let text = String::from_utf8_lossy(&out);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The types that rows are read as. Texts that every part holds as a small dictionary come as
/// dictionaries; views, which hold on to whole pages, and other dictionaries come as plain values.
fn read_as(own: &Schema, footers: &[(PartPlan, Arc<ParquetMetaData>)]) -> Schema {
    let repeats = |name: &str| {
        let mut with_rows = footers.iter().filter(|(part, _)| part.rows > 0).peekable();
        with_rows.peek().is_some()
            && with_rows.all(|(_, metadata)| columns::repeats(metadata, name))
    };
    let fields = own.fields().iter().map(|field| {
        let is_time = field.name() == TS_UTC || field.name() == SESSION_START;
        let wanted = match columns::string_type(field.data_type()) {
            Some(_) if !is_time && repeats(field.name()) => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Some(DataType::LargeUtf8) => DataType::LargeUtf8,
            Some(_) => DataType::Utf8,
            None => match field.data_type() {
                DataType::BinaryView => DataType::Binary,
                DataType::Dictionary(_, values) => values.as_ref().clone(),
                other => other.clone(),
            },
        };
        Field::new(field.name(), wanted, field.is_nullable())
    });
    Schema::new(fields.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_within_a_segment() {
        for (pattern, path, expected) in [
            ("a/part-*.parquet", "a/part-0.parquet", true),
            ("a/part-*.parquet", "a/part-.parquet", true),
            ("a/part-*.parquet", "a/b/part-0.parquet", false),
            ("a/part-*.parquet", "a/part-0.parquet.tmp", false),
            ("a/*/x-*-y", "a/b/x-1-y-2-y", true),
            ("a/*/x-*-y", "a/b/x-1-z", false),
            ("*", "ä", true),
            ("a", "a", true),
            ("a*é*", "a1é", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
