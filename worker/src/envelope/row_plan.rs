//! How the rows of one batch become event ids and payloads: what does not vary within the batch
//! is written, and hashed, once (contracts section 4).

use worldstream_crds::Reason;

use super::column::{Column, Values};
use super::event_id::{PrefixHasher, prefix};
use super::number::BadValue;
use super::{EnvelopeContext, json, payload_json, pystr};
use crate::failure::{Failure, Result};
use crate::view::RowPlace;

/// The column that is the payload, where there is one.
pub(super) const PAYLOAD: &str = "payload_json";

/// Where the rows at hand are.
pub(super) struct Place<'a> {
    pub(super) part: &'a str,
    pub(super) first: RowPlace,
}

impl Place<'_> {
    pub(super) fn of(&self, row: usize) -> RowPlace {
        RowPlace {
            part: self.first.part,
            row: self.first.row + row as u64,
        }
    }

    fn failure(&self, reason: Reason, row: usize, column: &str) -> Failure {
        let row = self.of(row).row;
        Failure::new(reason, self.part).field(format!("row {row}, column {column}"))
    }

    pub(super) fn bad(&self, row: usize, column: &str, value: &BadValue) -> Failure {
        self.failure(Reason::StreamFailed, row, column)
            .found(value.found.as_str())
            .expected(value.expected)
    }

    fn no_key(&self, row: usize, column: &str, found: &str) -> Failure {
        self.failure(Reason::PrimaryKeyMissing, row, column)
            .found(found)
            .expected("a value of the primary key")
    }
}

/// How the rows of one batch become event ids and payloads.
pub(super) struct RowPlan<'a> {
    hasher: PrefixHasher,
    /// What ends the text of every event id.
    suffix: &'a [u8],
    payload: Payload<'a>,
}

enum Payload<'a> {
    /// The row's own columns.
    Columns {
        /// The values of the primary key that follow the hasher's beginning.
        keys: Vec<(&'a str, Option<&'a Column<'a>>)>,
        cells: Vec<Varying<'a>>,
        /// The bytes after the last of them.
        tail: Vec<u8>,
    },
    /// A JSON object of its own, and the names of the primary key in it.
    Json(&'a Column<'a>, &'a [String]),
}

/// A column that varies: the bytes before it, its name, and how it is written.
type Varying<'a> = (Vec<u8>, &'a str, Cell<'a>);

enum Cell<'a> {
    Column(&'a Column<'a>),
    /// A dictionary whose values are written once a batch.
    Written {
        column: &'a Column<'a>,
        keys: &'a [usize],
        values: Vec<Vec<u8>>,
    },
}

impl<'a> RowPlan<'a> {
    pub(super) fn new(
        context: &'a EnvelopeContext,
        suffix: &'a [u8],
        columns: &'a [(&'a str, Column<'a>)],
        rows: usize,
    ) -> Self {
        let named = |name: &str| {
            columns
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, column)| column)
        };
        let mut beginning = prefix(context);
        let payload = match named(PAYLOAD) {
            Some(column) => Payload::Json(column, &context.primary_key),
            None => {
                let mut keys: Vec<(&str, Option<&Column<'_>>)> = Vec::new();
                for name in &context.primary_key {
                    let column = named(name);
                    let before = beginning.len();
                    // Values that lead the key and never change in this batch are hashed once.
                    let merged = keys.is_empty()
                        && column.is_some_and(|column| {
                            !column.is_null(0)
                                && column.is_constant(rows)
                                && pystr::value(column, 0, &mut beginning).is_ok()
                        });
                    if merged {
                        beginning.push(b'|');
                    } else {
                        beginning.truncate(before);
                        keys.push((name, column));
                    }
                }
                let (cells, tail) = cells(columns, rows);
                Payload::Columns { keys, cells, tail }
            }
        };
        RowPlan {
            hasher: PrefixHasher::new(&beginning),
            suffix,
            payload,
        }
    }

    /// Writes the event id of a row, in hex.
    pub(super) fn event_id(
        &mut self,
        row: usize,
        place: &Place<'_>,
        id: &mut [u8; 64],
    ) -> Result<()> {
        let message = self.hasher.message();
        match &self.payload {
            Payload::Columns { keys, .. } => {
                for (name, column) in keys {
                    let Some(column) = column else {
                        return Err(place.no_key(row, name, "no such column"));
                    };
                    if column.is_null(row) {
                        return Err(place.no_key(row, name, "null"));
                    }
                    pystr::value(column, row, message).map_err(|bad| place.bad(row, name, &bad))?;
                    message.push(b'|');
                }
            }
            Payload::Json(column, keys) => {
                let text = payload_text(column, row, place)?;
                let fields = payload_json::fields(text, keys)
                    .map_err(|bad| place.bad(row, PAYLOAD, &bad))?;
                for (name, value) in keys.iter().zip(fields) {
                    let name = format!("{PAYLOAD}, field {name}");
                    let Some(value) = value else {
                        return Err(place.no_key(row, &name, "no such field"));
                    };
                    if !payload_json::python_text(value, message)
                        .map_err(|bad| place.bad(row, &name, &bad))?
                    {
                        return Err(place.no_key(row, &name, "null"));
                    }
                    message.push(b'|');
                }
            }
        }
        message.extend_from_slice(self.suffix);
        let digest = self.hasher.finish();
        // 32 bytes are 64 digits.
        let _ = const_hex::encode_to_slice(digest, id);
        Ok(())
    }

    /// Writes what comes after an envelope's event time.
    pub(super) fn payload(&self, row: usize, place: &Place<'_>, out: &mut Vec<u8>) -> Result<()> {
        match &self.payload {
            Payload::Columns { cells, tail, .. } => {
                for (before, name, cell) in cells {
                    out.extend_from_slice(before);
                    match cell {
                        Cell::Written {
                            column,
                            keys,
                            values,
                        } => match column.is_null(row) {
                            true => out.extend_from_slice(b"null"),
                            false => out.extend_from_slice(&values[keys[row]]),
                        },
                        Cell::Column(column) => json::value(column, row, out)
                            .map_err(|bad| place.bad(row, name, &bad))?,
                    }
                }
                out.extend_from_slice(tail);
            }
            Payload::Json(column, _) => {
                // Checked to be an object when the event id was made of it.
                let text = payload_text(column, row, place)?;
                out.extend_from_slice(b"Z\",\"payload\":");
                out.extend_from_slice(text.as_bytes());
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn payload_text<'a>(column: &Column<'a>, row: usize, place: &Place<'_>) -> Result<&'a str> {
    if column.is_null(row) {
        return Err(place
            .failure(Reason::StreamViewPayloadMissing, row, PAYLOAD)
            .found("null")
            .expected("a JSON object"));
    }
    column.text(row).ok_or_else(|| {
        let found = "a column that is no text";
        place.bad(row, PAYLOAD, &BadValue::new(found, "a JSON object"))
    })
}

/// The columns that vary, each after the bytes before it, and the bytes after the last. Columns
/// keep the order of the table, so that an event's bytes do not depend on its batch.
fn cells<'a>(columns: &'a [(&'a str, Column<'a>)], rows: usize) -> (Vec<Varying<'a>>, Vec<u8>) {
    let mut cells = Vec::new();
    let mut literal = b"Z\",\"payload\":{".to_vec();
    for (index, (name, column)) in columns.iter().enumerate() {
        if index > 0 {
            literal.push(b',');
        }
        json::text(name, &mut literal);
        literal.push(b':');
        let before = literal.len();
        // A value that cannot be written fails in its own row.
        if column.is_constant(rows) && json::value(column, 0, &mut literal).is_ok() {
            continue;
        }
        literal.truncate(before);
        let cell = written(column, rows).unwrap_or(Cell::Column(column));
        cells.push((std::mem::take(&mut literal), *name, cell));
    }
    literal.extend_from_slice(b"}}");
    (cells, literal)
}

/// A dictionary with few values and many rows, its values written; none: it is none, or it has
/// values that cannot be written.
fn written<'a>(column: &'a Column<'a>, rows: usize) -> Option<Cell<'a>> {
    let Values::Dictionary(keys, values) = &column.values else {
        return None;
    };
    let used = keys.iter().max()? + 1;
    if used * 4 > rows {
        return None;
    }
    let values = (0..used)
        .map(|index| {
            let mut out = Vec::new();
            json::value(values, index, &mut out).ok().map(|()| out)
        })
        .collect::<Option<_>>()?;
    Some(Cell::Written {
        column,
        keys,
        values,
    })
}
