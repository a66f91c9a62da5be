//! What a consumer says while it works: for reports, for a status, for people.

use worldstream_crds::Reason;

use super::record::{FailedBefore, Status};
use crate::bus::Place;
use crate::failure::Failure;
use crate::time::EventTime;

/// Hears what happens. Called on the consumer's own task: must not wait.
pub trait Observer {
    /// Something happened.
    fn tell(&self, news: &News<'_>);
}

/// Something that happened.
#[derive(Debug)]
pub enum News<'a> {
    /// A message came from the bus, whatever it is.
    Arrived {
        /// Where it lies.
        place: &'a Place,
        /// When the bus got it.
        published: Option<EventTime>,
    },
    /// It is READY.
    Read {
        /// Its id.
        message_id: &'a str,
        /// SR's run.
        run_id: &'a str,
        /// When the bus got it.
        published: Option<EventTime>,
    },
    /// It is not valid, and is passed over.
    Invalid {
        /// Where it lies.
        place: &'a Place,
        /// Its id, if it has one that can be read.
        message_id: Option<&'a str>,
        /// What was found and what was expected.
        why: &'a str,
    },
    /// It is of another topic, and is passed over.
    OtherTopic {
        /// Where it lies.
        place: &'a Place,
        /// The topic.
        topic: &'a str,
    },
    /// A message waits, and is tried again: told each time that it is.
    Waiting {
        /// Its id.
        message_id: &'a str,
        /// What it waits for.
        wait: &'a Wait,
    },
    /// A stream begins, or is followed on.
    Started {
        /// Its id.
        message_id: &'a str,
        /// The engine run root.
        engine_run_root: &'a str,
    },
    /// A message has records of failures: told each time that it is looked at, before anything
    /// else is decided of it.
    FailedBefore {
        /// Its id.
        message_id: &'a str,
        /// The records, in their order.
        records: &'a [FailedBefore],
    },
    /// The record of a message is to be written now, with this time; a conclusion follows it.
    Recording {
        /// Its id.
        message_id: &'a str,
        /// The record's time.
        at: EventTime,
    },
    /// A message is done with, for now or for good.
    Concluded(&'a Conclusion),
    /// From where the bus would be read on.
    Position(&'a str),
    /// The bus is away, and why; none: it is back. It is tried on.
    Away(Option<&'a str>),
}

/// What a message waits for.
#[derive(Debug, Clone)]
pub enum Wait {
    /// Step 5: a part of the platform is not up, or is up for another run.
    Downstream(String),
    /// Nobody says which platform run is the active one.
    Scope(String),
    /// Another trigger has its claim: who.
    Claim(String),
    /// `maxActive` streams run.
    Slot,
    /// Something of ours did not work, such as a store that is away.
    Trouble(Failure),
}

impl Wait {
    /// What is waited for, in one line.
    pub fn why(&self) -> String {
        match self {
            Wait::Downstream(why) => format!("downstream not ready: {why}"),
            Wait::Scope(why) => format!("no active platform run: {why}"),
            Wait::Claim(who) => format!("claimed by {who}"),
            Wait::Slot => "other streams run, as many as may".to_owned(),
            Wait::Trouble(failure) => failure.to_string(),
        }
    }
}

/// What became of a READY message.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// Its id.
    pub message_id: String,
    /// SR's run.
    pub run_id: String,
    /// What became of it.
    pub status: Status,
    /// Of a repeat: what its record says, where that was read.
    pub recorded: Option<Status>,
    /// The time of the record that was written for this, if one was.
    pub recorded_at: Option<EventTime>,
    /// Why it was skipped or failed.
    pub reason: Option<Reason>,
    /// Events that were sent; none where no stream began.
    pub emitted: Option<u64>,
    /// The engine run root, where it was found out.
    pub engine_run_root: Option<String>,
    /// The scenario, where it was found out.
    pub scenario_id: Option<String>,
    /// More to know, in one line: the failure, or what it waits for.
    pub detail: Option<String>,
}

/// How many messages of each kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Messages that came from the bus.
    pub seen: u64,
    /// Not valid, or too large.
    pub invalid: u64,
    /// Of another topic.
    pub other_topic: u64,
    /// Streams that were begun.
    pub started: u64,
    /// Streamed to the end.
    pub streamed: u64,
    /// Of another platform run.
    pub skipped: u64,
    /// Recorded before.
    pub duplicate: u64,
    /// Left to a later run.
    pub deferred: u64,
    /// Failed.
    pub failed: u64,
}

impl Totals {
    /// Messages that were neither finished nor passed over: the next start goes on with them.
    pub fn left(&self) -> u64 {
        let done = [
            self.invalid,
            self.other_topic,
            self.streamed,
            self.skipped,
            self.duplicate,
            self.deferred,
            self.failed,
        ];
        self.seen.saturating_sub(done.iter().sum())
    }

    /// Counts what became of a message.
    pub fn count(&mut self, status: Status) {
        *match status {
            Status::Streamed => &mut self.streamed,
            Status::SkippedOutOfScope => &mut self.skipped,
            Status::SkippedDuplicate => &mut self.duplicate,
            Status::DeferredDownstreamNotReady => &mut self.deferred,
            Status::Failed => &mut self.failed,
        } += 1;
    }
}
