//! The control bus: where READY messages come from (contracts section 8). A bus is one file behind
//! the trait [`Bus`]: a folder with one JSON file a message, on this machine or in S3, or a Kinesis
//! stream. What a message says is not looked at here.

mod backoff;
mod feed;
mod file;
mod folder;
mod kinesis;
mod settled;
mod troubles;
mod watch;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::failure::Result;
use crate::plan::ready::{BusKind, BusPlan};
use crate::time::EventTime;

/// Where a message lies on its bus, for [`Bus::settle`] and for the log: a file and a version of
/// it, or a shard and a sequence number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    source: Arc<str>,
    at: Arc<str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.source, self.at)
    }
}

/// A message as it was published, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it lies.
    pub place: Place,
    /// All of its bytes, at most [`BusPlan::max_message_bytes`].
    pub bytes: Bytes,
    /// When the bus got it, by the bus's own clock: a record's approximate arrival, a file's last
    /// change.
    pub published: Option<EventTime>,
}

/// What a bus gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A message.
    Message(Message),
    /// A message that is larger than any may be, and was not kept.
    TooLarge {
        /// Where it lies.
        place: Place,
        /// Its bytes.
        bytes: u64,
        /// [`BusPlan::max_message_bytes`].
        limit: u64,
        /// When the bus got it.
        published: Option<EventTime>,
    },
    /// Everything that was on the bus when it was opened has been given. Comes once.
    CaughtUp,
}

/// A bus that is read.
///
/// Each message is given once for as long as the bus is open; but one that is published again is
/// given again. A bus that is opened again gives everything that its position does not pass.
pub trait Bus: Send {
    /// The next arrival; waits for one. A future that is dropped loses nothing.
    ///
    /// What passes (outages, throttling, iterators that expire, a folder that is not there yet) is
    /// waited for, tried again with growing pauses, and told in the log; it never ends a bus.
    ///
    /// # Errors
    /// `CONTROL_BUS_STREAM_MISSING` where there is no such stream, `STREAM_FAILED` where the bus
    /// says no when it is first asked: a folder that may not be read, a bucket that is not there,
    /// credentials that are refused. Every later call says so again.
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival>>;

    /// This arrival needs never come again. What is never settled comes again when the bus is
    /// opened again, and holds the position back.
    fn settle(&mut self, place: &Place);

    /// From where to read on when the bus is opened again: for each shard the last message before
    /// which all are settled, or of a folder the files that are. A text that only the same bus reads,
    /// short for a stream, some ten bytes a file for a folder; none while there is nothing to tell.
    fn position(&self) -> Option<String>;

    /// Why the bus has given nothing for some seconds, where that is an outage that is waited for.
    fn trouble(&self) -> Option<String>;
}

/// Opens a bus for reading, from a position or from its beginning. Nothing is asked yet. A position
/// that is of another bus, or of none, is passed over with a warning.
///
/// # Errors
/// `STREAM_FAILED` where the plan names what is not there: credentials, certificates.
pub fn open(plan: &BusPlan, position: Option<&str>) -> Result<Box<dyn Bus>> {
    match &plan.kind {
        BusKind::File(file) => Ok(Box::new(file::FileBus::open(plan, file, position)?)),
        BusKind::Kinesis(kinesis) => {
            let limit = plan.max_message_bytes;
            let bus = kinesis::KinesisBus::open(kinesis, limit, position)?;
            Ok(Box::new(bus))
        }
    }
}

/// Publishes one message: a file that appears whole under a new name, or a record. `partition_key`
/// chooses the shard; a folder has none.
///
/// # Errors
/// `STREAM_FAILED` where it could not be published, `CONTROL_BUS_STREAM_MISSING` where there is no
/// such stream.
pub async fn publish(plan: &BusPlan, bytes: Bytes, partition_key: &str) -> Result<Place> {
    match &plan.kind {
        BusKind::File(file) => folder::publish(plan, file, bytes).await,
        BusKind::Kinesis(kinesis) => kinesis::publish(kinesis, bytes, partition_key).await,
    }
}
