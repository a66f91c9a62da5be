//! The status of a trigger, made of what its consumer says. Pure, but for the time of day, which is
//! handed in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;
use worldstream_crds::{
    ConditionReason as Why, ConditionType as What, MessageStatus, NewestMessage,
    ReadyTriggerStatus, Reason, ReasonCount,
};

use super::failures::Failures;
use super::metrics;
use crate::failure::Failure;
use crate::ready::record::FailedBefore;
use crate::ready::{Conclusion, News, Status, Wait};
use crate::time::EventTime;

/// How many messages the status names.
const LAST: usize = 10;
/// While a message's stream runs.
const STREAMING: &str = "STREAMING";

/// What is known of a trigger.
pub struct Report {
    /// What we say of it; the operator's conditions are not among it.
    status: ReadyTriggerStatus,
    suspended: bool,
    /// Why the bus is not followed.
    trouble: Option<Failure>,
    /// Why the bus gives nothing, while it is tried on.
    away: Option<String>,
    /// Messages that wait, and for what.
    waiting: BTreeMap<String, Wait>,
    /// Messages whose waiting was counted.
    deferred: BTreeSet<String>,
    /// Messages whose streams were begun before a restart, and have no end here: they are counted
    /// as begun, and one may have got its record before that was counted. With their WorldStreams.
    begun: BTreeMap<String, Option<String>>,
    /// Which failures are counted.
    failures: Failures,
    /// Messages whose streams run.
    running: BTreeSet<String>,
    /// The runs of messages that were read and are not done with.
    runs: BTreeMap<String, String>,
}

impl Report {
    /// Goes on, from now, from the status that was written last.
    pub fn new(before: ReadyTriggerStatus, bus: String, suspended: bool, now: Timestamp) -> Self {
        let ours = [What::Following, What::Deferred, What::Suspended].map(What::as_str);
        let mut status = ReadyTriggerStatus {
            // The operator's own.
            observed_generation: None,
            bus: Some(bus),
            ..before
        };
        status
            .conditions
            .retain(|it| ours.contains(&it.type_.as_str()));
        let streams = status.last.iter().filter(|it| it.status == STREAMING);
        let begun = streams
            .map(|it| (it.message_id.clone(), it.world_stream.clone()))
            .collect();
        let since = status.failures_counted_until.as_deref();
        let since = since.and_then(|text| EventTime::parse_rfc3339(text).ok());
        let failures = Failures::new(since, moment(now));
        status.failures_counted_until = Some(since.unwrap_or(moment(now)).to_string());
        Report {
            failures,
            status,
            suspended,
            trouble: None,
            away: None,
            waiting: BTreeMap::new(),
            deferred: BTreeSet::new(),
            begun,
            running: BTreeSet::new(),
            runs: BTreeMap::new(),
        }
    }

    /// The position from which the bus is read.
    pub fn position(&self) -> Option<String> {
        self.status.position.clone()
    }

    /// The bus is read, or why it is not.
    pub fn follows(&mut self, trouble: Option<Failure>) {
        self.trouble = trouble;
        // One that was opened anew says so itself.
        self.away = None;
    }

    /// Whether the bus is read.
    pub fn ready(&self) -> bool {
        self.trouble.is_none() && self.away.is_none()
    }

    /// The platform run that is the active one, as it was seen last.
    pub fn active_run(&self) -> Option<String> {
        self.status.scope.clone()
    }

    /// What a scraper gets.
    pub fn metrics(&self) -> String {
        metrics::text(&self.status.counts, self.running.len(), self.waiting.len())
    }

    /// The platform run that is the active one.
    pub fn scope(&mut self, active: &str) {
        self.status.scope = Some(active.to_owned());
    }

    /// How far the bus was read.
    pub fn moved(&mut self, position: &str) {
        self.status.position = Some(position.to_owned());
    }

    /// Takes what a consumer says. `stream` names the WorldStream of a message.
    pub fn take(&mut self, news: &News<'_>, now: Timestamp, stream: impl Fn(&str) -> String) {
        let at = second(now).to_string();
        match news {
            News::Arrived { published, .. } => {
                self.status.counts.seen += 1;
                self.status.newest = Some(NewestMessage {
                    message_id: String::new(),
                    published_at: published.map(|time| time.to_string()),
                    read_at: Some(at),
                });
            }
            News::Read {
                message_id, run_id, ..
            } => {
                if let Some(newest) = &mut self.status.newest {
                    newest.message_id = (*message_id).to_owned();
                }
                self.runs
                    .insert((*message_id).to_owned(), (*run_id).to_owned());
            }
            News::Invalid { .. } | News::OtherTopic { .. } => self.status.counts.invalid += 1,
            News::Waiting { message_id, wait } => {
                // Whoever waits for a place in the row waits for nothing that is missing.
                if matches!(wait, Wait::Slot) {
                    self.waiting.remove(*message_id);
                    return;
                }
                if self.deferred.insert((*message_id).to_owned()) {
                    self.status.counts.deferred += 1;
                }
                let id = (*message_id).to_owned();
                self.waiting.insert(id, (*wait).clone());
            }
            News::Started { message_id, .. } => {
                self.waiting.remove(*message_id);
                if self.begun.remove(*message_id).is_none() {
                    self.status.counts.started += 1;
                }
                self.running.insert((*message_id).to_owned());
                self.note(MessageStatus {
                    message_id: (*message_id).to_owned(),
                    run_id: self.runs.get(*message_id).cloned(),
                    world_stream: Some(stream(message_id)),
                    status: STREAMING.to_owned(),
                    at: Some(at),
                    ..MessageStatus::default()
                });
            }
            News::FailedBefore {
                message_id,
                records,
            } => self.count_late(message_id, records),
            News::Recording { message_id, at } => self.failures.recording(message_id, *at),
            News::Concluded(conclusion) => {
                self.conclude(conclusion, at);
                if conclusion.status == Status::Failed {
                    let until = self.failures.until(moment(now)).to_string();
                    self.status.failures_counted_until = Some(until);
                }
            }
            // Whoever keeps it says so: not every position is kept here.
            News::Position(_) => {}
            News::Away(why) => self.away = why.map(str::to_owned),
        }
    }

    fn conclude(&mut self, conclusion: &Conclusion, at: String) {
        let id = &conclusion.message_id;
        let repeat = conclusion.recorded == Some(Status::Failed);
        let counted = self.failures.concluded(id, conclusion.recorded_at, repeat);
        // Recorded before a restart, and not counted: it is counted as what it was.
        let begun = self.begun.remove(id);
        let recorded = conclusion.recorded.filter(|_| begun.is_some());
        let ended = recorded.unwrap_or(conclusion.status);
        self.waiting.remove(id);
        self.deferred.remove(id);
        self.runs.remove(id);
        self.running.remove(id);
        if counted && repeat {
            return;
        }
        let counts = &mut self.status.counts;
        match ended {
            Status::Streamed => counts.streamed += 1,
            Status::SkippedOutOfScope | Status::SkippedDuplicate => counts.skipped += 1,
            Status::DeferredDownstreamNotReady => {}
            Status::Failed if counted => {}
            Status::Failed => self.count_failed(conclusion.reason),
        }
        let known = self.status.last.iter().find(|it| it.message_id == *id);
        // What a repeat says of it is less than what is known.
        if known.is_some() && ended == Status::SkippedDuplicate {
            return;
        }
        let world_stream = known.and_then(|it| it.world_stream.clone());
        let world_stream = world_stream.or(begun.flatten());
        self.note(MessageStatus {
            message_id: id.clone(),
            run_id: Some(conclusion.run_id.clone()),
            world_stream,
            status: ended.as_str().to_owned(),
            reason: conclusion.reason.map(|it| it.as_str().to_owned()),
            emitted: conclusion.emitted,
            at: Some(at),
        });
    }

    fn count_failed(&mut self, reason: Option<Reason>) {
        self.status.counts.failed += 1;
        let reason = reason.unwrap_or(Reason::StreamFailed).as_str();
        let all = &mut self.status.failed_by_reason;
        match all.iter_mut().find(|it| it.reason == reason) {
            Some(known) => known.count += 1,
            None => all.push(ReasonCount {
                reason: reason.to_owned(),
                count: 1,
            }),
        }
    }

    /// Counts what a pod that was killed recorded and could not count.
    fn count_late(&mut self, id: &str, records: &[FailedBefore]) {
        for record in self.failures.late(id, records) {
            self.count_failed(record.reason);
            // That was the end of what was begun.
            let begun = self.begun.remove(id);
            self.note(MessageStatus {
                message_id: id.to_owned(),
                run_id: self.runs.get(id).cloned(),
                world_stream: begun.flatten(),
                status: Status::Failed.as_str().to_owned(),
                reason: record.reason.map(|it| it.as_str().to_owned()),
                emitted: record.emitted,
                at: Some(record.at.to_string()),
            });
        }
    }

    fn note(&mut self, message: MessageStatus) {
        let last = &mut self.status.last;
        last.retain(|it| it.message_id != message.message_id);
        last.insert(0, message);
        last.truncate(LAST);
    }

    /// The status as it is to be written.
    pub fn status(&mut self, now: Timestamp) -> Value {
        self.status.active = self.running.len() as u32;
        self.status.waiting = self.waiting.len() as u32;
        let conditions = [self.following(), self.deferral(), self.suspension()];
        let conditions = conditions.map(|(what, value, why, message)| {
            let status = if value { "True" } else { "False" };
            let known = self.status.conditions.iter();
            let known = known
                .filter(|it| it.type_ == what.as_str() && it.status == status)
                .map(|it| it.last_transition_time.clone())
                .next();
            Condition {
                type_: what.to_string(),
                status: status.to_owned(),
                reason: why,
                message,
                observed_generation: None,
                last_transition_time: known.unwrap_or(Time(second(now))),
            }
        });
        self.status.conditions = conditions.into();
        serde_json::to_value(&self.status).unwrap_or_default()
    }

    fn following(&self) -> (What, bool, String, String) {
        let what = What::Following;
        // Where nobody knows the active run every message waits, the first that came says why.
        let unknown = self.waiting.values().find_map(|wait| match wait {
            Wait::Scope(why) if !self.suspended => Some(why),
            _ => None,
        });
        if let (None, Some(why)) = (&self.trouble, &self.away) {
            let message = format!("the bus gives nothing, and is tried on: {why}");
            return (what, false, Why::NotFollowing.to_string(), message);
        }
        match (&self.trouble, unknown) {
            (Some(failure), _) => {
                let message = failure.message();
                (what, false, failure.reason().as_str().to_owned(), message)
            }
            (None, Some(why)) => {
                let message = format!("the active platform run is not known: {why}");
                (what, false, Why::NotFollowing.to_string(), message)
            }
            (None, None) => {
                let why = Why::Following;
                (what, true, why.to_string(), why.meaning().to_owned())
            }
        }
    }

    fn deferral(&self) -> (What, bool, String, String) {
        let what = What::Deferred;
        let Some((id, wait)) = self.waiting.iter().next() else {
            let why = Why::NothingWaits;
            return (what, false, why.to_string(), why.meaning().to_owned());
        };
        if self.suspended {
            let why = Why::Suspended;
            let message = format!("{} messages wait for the end of it", self.waiting.len());
            return (what, true, why.to_string(), message);
        }
        let count = self.waiting.len();
        let messages = if count == 1 {
            "message waits"
        } else {
            "messages wait"
        };
        let message = format!("{count} {messages}; {id}: {}", wait.why());
        let why = match wait {
            Wait::Downstream(_) | Wait::Slot => Why::DownstreamNotReady,
            Wait::Scope(_) => Why::ActiveRunUnknown,
            Wait::Claim(_) => Why::ClaimedElsewhere,
            Wait::Trouble(_) => Why::StoreNotReached,
        };
        (what, true, why.to_string(), message)
    }

    fn suspension(&self) -> (What, bool, String, String) {
        let why = match self.suspended {
            true => Why::Suspended,
            false => Why::NotSuspended,
        };
        let message = why.meaning().to_owned();
        (What::Suspended, self.suspended, why.to_string(), message)
    }
}

/// A time as records have it.
fn moment(now: Timestamp) -> EventTime {
    EventTime::from_micros(now.as_microsecond()).unwrap_or(EventTime::MIN)
}

/// Whole seconds: what the API server keeps of a condition's time.
fn second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
