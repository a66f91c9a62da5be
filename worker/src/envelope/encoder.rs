//! Rows of a batch to envelopes (contracts section 4). What is the same in every envelope, and
//! what is the same in every row of a batch, is written once and copied.

use arrow_array::RecordBatch;
use bytes::Bytes;
use worldstream_crds::Reason;

use super::column::{Column, duplicate};
use super::event_id::{PrefixHasher, in_lane, suffix};
use super::number::BadValue;
use super::row_plan::{PAYLOAD, Place, RowPlan};
use super::{BadTime, ENVELOPE_PREFIX, EnvelopeContext, EventBatch, EventMeta, event_times, json};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::view::RowBatch;

/// The column that every event time comes from.
const TIME: &str = "ts_utc";

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
/// What a row's time key must be, for messages.
pub(crate) const EVENT_TIME: &str =
    "an event time: a timestamp, or a text such as 2026-01-01T00:00:00.000000Z";

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
