//! The canonical event envelope: rows in, bytes out (contracts section 4).

mod column;
mod encoder;
mod event_id;
mod isoformat;
mod json;
mod number;
mod payload_json;
mod pystr;
mod row_plan;
mod timestamp;

pub(crate) use encoder::EVENT_TIME;
pub use encoder::{Encoded, Encoder};
pub use isoformat::parse_event_time;
pub use timestamp::{BadTime, event_times};

use bytes::Bytes;

use crate::plan::Lane;
use crate::time::EventTime;
use crate::view::RowPlace;
use crate::world::WorldKey;

/// What is the same in every envelope of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeContext {
    /// The output's id: `event_type`, and the first part of every event id.
    pub output_id: String,
    /// Columns of the primary key, in order.
    pub primary_key: Vec<String>,
    /// The world key.
    pub key: WorldKey,
    /// The receipt's `run_id`.
    pub run_id: String,
    /// `platform_YYYYMMDDTHHMMSSZ`.
    pub platform_run_id: String,
    /// SR's, or the receipt's `run_id`.
    pub scenario_run_id: String,
    /// The producer id.
    pub producer: String,
    /// The pack key.
    pub trace_id: String,
    /// The manifest's `engine_release`; none without a manifest.
    pub span_id: Option<String>,
    /// Rows of other lanes are not encoded.
    pub lane: Lane,
}

/// Envelopes of consecutive rows of one part, in one buffer. Rows that are not sent (another
/// lane, outside of the time range) leave no trace but in `rows_seen`.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// All envelopes, end to end.
    pub bytes: Bytes,
    /// One entry an envelope, in view order.
    pub events: Vec<EventMeta>,
    /// The place of the last row that was looked at, sent or not; none: no row was.
    pub last_seen: Option<RowPlace>,
    /// Rows whose event time is before that of a row before them, among those that are sent.
    pub disordered: u64,
}

/// One envelope of an [`EventBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMeta {
    /// Offset of the envelope in the buffer.
    pub start: u32,
    /// End of the envelope in the buffer.
    pub end: u32,
    /// Its event time.
    pub ts: EventTime,
    /// Where its row is.
    pub place: RowPlace,
}

/// Every envelope begins with these bytes and then the 64 characters of its event id, so that
/// the id can be had from the envelope without parsing it.
pub const ENVELOPE_PREFIX: &[u8] = br#"{"event_id":""#;

impl EventBatch {
    /// The envelope at `index`, without copying.
    pub fn envelope(&self, index: usize) -> Bytes {
        let event = &self.events[index];
        self.bytes.slice(event.start as usize..event.end as usize)
    }

    /// The event id at `index`: 64 hex characters.
    pub fn event_id(&self, index: usize) -> &[u8] {
        let start = self.events[index].start as usize + ENVELOPE_PREFIX.len();
        &self.bytes[start..start + 64]
    }
}

#[cfg(test)]
mod tests;
