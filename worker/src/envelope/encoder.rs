//! Rows of a batch to envelopes (contracts section 4). What is the same in every envelope, and
//! what is the same in every row of a batch, is written once and copied.

use arrow_array::RecordBatch;
use bytes::Bytes;
use worldstream_crds::Reason;

use super::column::{Column, Values, duplicate};
use super::event_id::{PrefixHasher, in_lane, prefix, suffix};
use super::number::BadValue;
use super::{
    BadTime, ENVELOPE_PREFIX, EnvelopeContext, EventBatch, EventMeta, event_times, json,
    payload_json, pystr,
};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::view::{RowBatch, RowPlace};

/// The column that every event time comes from.
const TIME: &str = "ts_utc";
/// The column that is the payload, where there is one.
const PAYLOAD: &str = "payload_json";

/// Makes envelopes of the rows of one output (and lane), batch after batch in view order.
#[derive(Debug)]
pub struct Encoder {
    context: EnvelopeContext,
    /// Everything between an envelope's event id and its event time.
    head: Vec<u8>,
    /// What every event id's text ends with.
    suffix: Vec<u8>,
    /// Hashes event ids for their lane.
    lanes: PrefixHasher,
    /// The latest event time of the rows so far that are sent.
    latest: Option<EventTime>,
    /// Bytes an envelope, by the last batch that had any: what room the next one needs.
    usual: usize,
    /// Event times of the batch at hand, kept for its allocation.
    times: Vec<i64>,
}

/// What became of a batch: the envelopes of all rows up to the first that cannot be sent, and
/// why that one cannot.
#[derive(Debug)]
pub struct Encoded {
    /// To be sent, also where a failure follows.
    pub batch: EventBatch,
    /// Ends the output's stream after `batch`. Names the file, the row in it, and the column.
    pub failure: Option<Failure>,
}

impl Encoder {
    /// An encoder for one output (and lane). One that goes on after a cursor begins anew: only
    /// [`EventBatch::disordered`] depends on rows before.
    ///
    /// # Errors
    ///
    /// `PRIMARY_KEY_MISSING` without a primary key; `STREAM_FAILED` if the trace id or span id is
    /// not 1 to 128 characters.
    pub fn new(context: EnvelopeContext) -> Result<Self> {
        if context.primary_key.is_empty() {
            return Err(
                Failure::new(Reason::PrimaryKeyMissing, context.output_id.as_str())
                    .field("primary_key")
                    .found("no columns")
                    .expected("at least one"),
            );
        }
        let span = context.span_id.as_deref().map(|id| ("span_id", id));
        for (field, id) in [("trace_id", context.trace_id.as_str())]
            .into_iter()
            .chain(span)
        {
            let length = id.chars().count();
            if !(1..=128).contains(&length) {
                return Err(
                    Failure::new(Reason::StreamFailed, context.output_id.as_str())
                        .field(field)
                        .found(format!("{length} characters"))
                        .expected("1 to 128 characters"),
                );
            }
        }
        Ok(Encoder {
            head: head(&context),
            suffix: suffix(&context),
            lanes: PrefixHasher::new(b""),
            latest: None,
            usual: 1024,
            times: Vec::new(),
            context,
        })
    }

    /// Encodes the rows of a batch that are of this lane and within `range`. `part_name` is the
    /// part's full path, for messages. The cap of `range` is not looked at: the stream counts.
    pub fn encode(&mut self, rows: &RowBatch, part_name: &str, range: &RangePlan) -> Encoded {
        let mut batch = EventBatch {
            bytes: Bytes::new(),
            events: Vec::new(),
            last_seen: None,
            disordered: 0,
        };
        if rows.rows.num_rows() == 0 {
            return Encoded {
                batch,
                failure: None,
            };
        }
        let place = Place {
            part: part_name,
            first: rows.first,
        };
        let failure = self.fill(&rows.rows, place, range, &mut batch).err();
        Encoded { batch, failure }
    }

    fn fill(
        &mut self,
        rows: &RecordBatch,
        place: Place<'_>,
        range: &RangePlan,
        batch: &mut EventBatch,
    ) -> Result<()> {
        let schema = rows.schema_ref();
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        if let Some(name) = duplicate(names()) {
            return Err(place.bad(0, name, &BadValue::new("two columns of that name", ONE)));
        }
        let columns: Vec<(&str, Column<'_>)> = names()
            .zip(rows.columns())
            .map(|(name, array)| (name, Column::new(array)))
            .collect();
        for (name, column) in &columns {
            if let Some(field) = column.duplicate_field() {
                let found = format!("two fields {field:?} in a struct");
                return Err(place.bad(0, name, &BadValue::new(found, ONE)));
            }
        }
        let Some(time_column) = rows.column_by_name(TIME) else {
            return Err(place.bad(0, TIME, &BadValue::new("no such column", EVENT_TIME)));
        };
        self.times.clear();
        let times_end = event_times(time_column, &mut self.times);

        let mut row_plan = RowPlan::new(&self.context, &self.suffix, &columns, rows.num_rows());
        let head = &self.head;
        let mut out = Vec::with_capacity((self.usual + self.usual / 8) * self.times.len());
        let mut failed = None;
        let mut stamp = Stamp::new();
        for (row, &micros) in self.times.iter().enumerate() {
            // Times that were read are of the years 1 to 9999.
            let ts = EventTime::from_micros(micros).unwrap_or_default();
            let seen = place.of(row);
            if !range.holds(ts) {
                batch.last_seen = Some(seen);
                continue;
            }
            let mut id = [0; 64];
            if let Err(failure) = row_plan.event_id(row, &place, &mut id) {
                failed = Some(failure);
                break;
            }
            if !in_lane(&mut self.lanes, &id, self.context.lane) {
                batch.last_seen = Some(seen);
                continue;
            }
            let start = out.len();
            out.extend_from_slice(ENVELOPE_PREFIX);
            out.extend_from_slice(&id);
            out.extend_from_slice(head);
            out.extend_from_slice(stamp.write(ts));
            let written = row_plan.payload(row, &place, &mut out);
            let span = u32::try_from(start).ok().zip(u32::try_from(out.len()).ok());
            let (start, end) = match (written, span) {
                (Ok(()), Some(span)) => span,
                (Err(failure), _) => {
                    out.truncate(start);
                    failed = Some(failure);
                    break;
                }
                (Ok(()), None) => {
                    out.truncate(start);
                    failed = Some(place.bad(
                        row,
                        PAYLOAD,
                        &BadValue::new("a batch of more than 4 GiB", "smaller rows"),
                    ));
                    break;
                }
            };
            match self.latest {
                Some(latest) if ts < latest => batch.disordered += 1,
                _ => self.latest = Some(ts),
            }
            batch.last_seen = Some(seen);
            batch.events.push(EventMeta {
                start,
                end,
                ts,
                place: seen,
            });
        }
        if !batch.events.is_empty() {
            self.usual = out.len() / batch.events.len();
        }
        batch.bytes = Bytes::from(out);
        match (failed, times_end) {
            (Some(failure), _) => Err(failure),
            (None, Err(BadTime { row, found })) => {
                Err(place.bad(row, TIME, &BadValue::new(found, EVENT_TIME)))
            }
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Writes event times; the date, which takes most of the work, only when it changes.
struct Stamp {
    day: i64,
    text: [u8; 26],
}

impl Stamp {
    fn new() -> Self {
        let time = EventTime::default();
        Stamp {
            day: 0,
            text: time.write(),
        }
    }

    fn write(&mut self, time: EventTime) -> &[u8; 26] {
        const DAY: i64 = 86_400_000_000;
        let day = time.micros().div_euclid(DAY);
        if day != self.day {
            self.day = day;
            self.text = time.write();
            return &self.text;
        }
        // Below a day, so that both parts fit.
        let micros = time.micros().rem_euclid(DAY);
        let seconds = (micros / 1_000_000) as u32;
        let fraction = (micros % 1_000_000) as u32;
        let mut two = |at: usize, value: u32| {
            self.text[at] = b'0' + (value / 10) as u8;
            self.text[at + 1] = b'0' + (value % 10) as u8;
        };
        two(11, seconds / 3600);
        two(14, seconds / 60 % 60);
        two(17, seconds % 60);
        two(20, fraction / 10_000);
        two(22, fraction / 100 % 100);
        two(24, fraction % 100);
        &self.text
    }
}

const ONE: &str = "names that occur once";
const EVENT_TIME: &str =
    "an event time: a timestamp, or a text such as 2026-01-01T00:00:00.000000Z";

/// Where the rows at hand are.
struct Place<'a> {
    part: &'a str,
    first: RowPlace,
}

impl Place<'_> {
    fn of(&self, row: usize) -> RowPlace {
        RowPlace {
            part: self.first.part,
            row: self.first.row + row as u64,
        }
    }

    fn failure(&self, reason: Reason, row: usize, column: &str) -> Failure {
        let row = self.of(row).row;
        Failure::new(reason, self.part).field(format!("row {row}, column {column}"))
    }

    fn bad(&self, row: usize, column: &str, value: &BadValue) -> Failure {
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

/// Everything between an envelope's event id and its event time.
fn head(context: &EnvelopeContext) -> Vec<u8> {
    let mut out = b"\"".to_vec();
    let key = &context.key;
    for (name, value) in [
        ("event_type", Some(context.output_id.as_str())),
        ("schema_version", Some("v1")),
        ("manifest_fingerprint", Some(&key.manifest_fingerprint)),
        ("parameter_hash", Some(&key.parameter_hash)),
        ("scenario_id", Some(&key.scenario_id)),
        ("run_id", Some(&context.run_id)),
        ("platform_run_id", Some(&context.platform_run_id)),
        ("scenario_run_id", Some(&context.scenario_run_id)),
        ("producer", Some(&context.producer)),
        ("trace_id", Some(&context.trace_id)),
        ("span_id", context.span_id.as_deref()),
    ] {
        if let Some(value) = value {
            out.push(b',');
            json::text(name, &mut out);
            out.push(b':');
            json::text(value, &mut out);
        }
    }
    out.extend_from_slice(format!(",\"seed\":{},\"ts_utc\":\"", key.seed).as_bytes());
    out
}

/// How the rows of one batch become event ids and payloads.
struct RowPlan<'a> {
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
        /// Each column that varies, after the bytes before it.
        cells: Vec<(Vec<u8>, &'a str, Cell<'a>)>,
        /// The bytes after the last of them.
        tail: Vec<u8>,
    },
    /// A JSON object of its own, and the names of the primary key in it.
    Json(&'a Column<'a>, &'a [String]),
}

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
    fn new(
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
    fn event_id(&mut self, row: usize, place: &Place<'_>, id: &mut [u8; 64]) -> Result<()> {
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
    fn payload(&self, row: usize, place: &Place<'_>, out: &mut Vec<u8>) -> Result<()> {
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
fn cells<'a>(
    columns: &'a [(&'a str, Column<'a>)],
    rows: usize,
) -> (Vec<(Vec<u8>, &'a str, Cell<'a>)>, Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_as_event_times_are() {
        let mut stamp = Stamp::new();
        for micros in [
            0,
            86_399_999_999,
            86_400_000_000,
            123_456_789_012,
            -1,
            -86_400_000_000,
            -86_399_999_999,
            EventTime::MAX.micros(),
            EventTime::MIN.micros(),
            1_767_225_602_456_162,
            1_767_225_660_000_001,
        ] {
            let time = EventTime::from_micros(micros).unwrap();
            assert_eq!(stamp.write(time), &time.write());
        }
    }
}
