//! The status of a trigger, made of what its consumer says. Pure, but for the time of day, which is
//! handed in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;
use worldstream_crds::{
    ConditionReason as Why, ConditionType as What, MessageStatus, NewestMessage,
    ReadyTriggerStatus, ReasonCount,
};

use super::metrics;
use crate::failure::Failure;
use crate::ready::{Conclusion, News, Status, Wait};

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
    /// Messages that wait, and for what.
    waiting: BTreeMap<String, Wait>,
    /// Messages whose waiting was counted.
    deferred: BTreeSet<String>,
    /// Messages whose streams were begun before a restart, and have no end here: they are counted
    /// as begun, and one may have got its record before that was counted. With their WorldStreams.
    begun: BTreeMap<String, Option<String>>,
    /// Messages whose streams run.
    running: BTreeSet<String>,
    /// The runs of messages that were read and are not done with.
    runs: BTreeMap<String, String>,
}

impl Report {
    /// Goes on from the status that was written last.
    pub fn new(before: ReadyTriggerStatus, bus: String, suspended: bool) -> Self {
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
        // What runs is begun anew here.
        status.last.retain(|it| it.status != STREAMING);
        Report {
            status,
            suspended,
            trouble: None,
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
    }

    /// Whether the bus is read.
    pub fn ready(&self) -> bool {
        self.trouble.is_none()
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
            News::Concluded(conclusion) => self.conclude(conclusion, at),
            // Whoever keeps it says so: not every position is kept here.
            News::Position(_) => {}
        }
    }

    fn conclude(&mut self, conclusion: &Conclusion, at: String) {
        let id = &conclusion.message_id;
        // Recorded before a restart, and not counted: it is counted as what it was.
        let begun = self.begun.remove(id);
        let recorded = conclusion.recorded.filter(|_| begun.is_some());
        let ended = recorded.unwrap_or(conclusion.status);
        self.waiting.remove(id);
        self.deferred.remove(id);
        self.runs.remove(id);
        self.running.remove(id);
        let counts = &mut self.status.counts;
        match ended {
            Status::Streamed => counts.streamed += 1,
            Status::SkippedOutOfScope | Status::SkippedDuplicate => counts.skipped += 1,
            Status::DeferredDownstreamNotReady => {}
            Status::Failed => {
                counts.failed += 1;
                let reason = conclusion.reason.map_or("STREAM_FAILED", |it| it.as_str());
                let all = &mut self.status.failed_by_reason;
                match all.iter_mut().find(|it| it.reason == reason) {
                    Some(known) => known.count += 1,
                    None => all.push(ReasonCount {
                        reason: reason.to_owned(),
                        count: 1,
                    }),
                }
            }
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
        (what, true, Why::DownstreamNotReady.to_string(), message)
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

/// Whole seconds: what the API server keeps of a condition's time.
fn second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use worldstream_crds::Reason;

    fn now() -> Timestamp {
        "2031-05-04T03:02:01.5Z".parse().unwrap()
    }

    fn conclusion(id: &str, status: Status, reason: Option<Reason>) -> Conclusion {
        Conclusion {
            message_id: id.into(),
            run_id: format!("run-{id}"),
            status,
            recorded: None,
            reason,
            emitted: None,
            engine_run_root: None,
            scenario_id: None,
            detail: None,
        }
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
        let all = status["conditions"].as_array().unwrap();
        all.iter().find(|it| it["type"] == kind).unwrap()
    }

    fn take(report: &mut Report, news: &News<'_>) {
        report.take(news, now(), |id| format!("stream-{id}"));
    }

    #[test]
    fn a_message_is_counted_named_and_forgotten_after_ten_others() {
        let mut report = Report::new(ReadyTriggerStatus::default(), "file:/b".into(), false);
        for number in 0..12 {
            let id = format!("m{number}");
            let engine_run_root = "/w";
            take(
                &mut report,
                &News::Started {
                    message_id: &id,
                    engine_run_root,
                },
            );
            assert_eq!(report.status(now())["active"], 1);
            let streamed = conclusion(&id, Status::Streamed, None);
            take(&mut report, &News::Concluded(&streamed));
        }
        let repeat = conclusion("m11", Status::SkippedDuplicate, None);
        take(&mut report, &News::Concluded(&repeat));
        let status = report.status(now());
        assert_eq!(status["counts"]["started"], 12);
        assert_eq!(status["counts"]["streamed"], 12);
        assert_eq!(status["counts"]["skipped"], 1);
        let last = status["last"].as_array().unwrap();
        assert_eq!(last.len(), 10);
        assert_eq!(last[0]["messageId"], "m11");
        assert_eq!(last[0]["status"], "STREAMED");
        assert_eq!(last[0]["worldStream"], "stream-m11");
        assert_eq!(last[9]["messageId"], "m2");
        for (reason, count) in [(Reason::RunFactsInvalid, 2), (Reason::EngineRootMissing, 1)] {
            for _ in 0..count {
                let failed = conclusion("x", Status::Failed, Some(reason));
                take(&mut report, &News::Concluded(&failed));
            }
        }
        let status = report.status(now());
        assert_eq!(status["counts"]["failed"], 3);
        assert_eq!(status["failedByReason"][0]["reason"], "RUN_FACTS_INVALID");
        assert_eq!(status["failedByReason"][0]["count"], 2);
    }

    #[test]
    fn waiting_is_a_condition_that_says_for_what_and_is_counted_once() {
        let mut report = Report::new(ReadyTriggerStatus::default(), "file:/b".into(), false);
        let down = Wait::Downstream("weir: is down".into());
        for _ in 0..3 {
            take(
                &mut report,
                &News::Waiting {
                    message_id: "m",
                    wait: &down,
                },
            );
        }
        let status = report.status(now());
        assert_eq!(
            (&status["waiting"], &status["counts"]["deferred"]),
            (&1.into(), &1.into())
        );
        let deferred = condition(&status, "Deferred");
        assert_eq!(
            (&deferred["status"], &deferred["reason"]),
            (&"True".into(), &"DownstreamNotReady".into())
        );
        assert!(
            deferred["message"]
                .as_str()
                .unwrap()
                .contains("weir: is down"),
            "{deferred}"
        );
        assert_eq!(deferred["lastTransitionTime"], "2031-05-04T03:02:01Z");
        assert_eq!(condition(&status, "Following")["status"], "True");
        // Nobody knows the active run: nothing is followed to any purpose.
        let unknown = Wait::Scope("ConfigMap moon: is not there".into());
        take(
            &mut report,
            &News::Waiting {
                message_id: "m",
                wait: &unknown,
            },
        );
        let status = report.status(now());
        assert_eq!(condition(&status, "Following")["reason"], "NotFollowing");
        take(
            &mut report,
            &News::Started {
                message_id: "m",
                engine_run_root: "/w",
            },
        );
        let status = report.status(now());
        assert_eq!(condition(&status, "Deferred")["status"], "False");
        assert_eq!(status["waiting"], 0);
    }

    #[test]
    fn a_restart_goes_on_from_what_was_written() {
        let mut before = Report::new(ReadyTriggerStatus::default(), "file:/b".into(), true);
        before.moved("shard-0:7");
        before.scope("platform_20310504T030201Z");
        take(
            &mut before,
            &News::Started {
                message_id: "m",
                engine_run_root: "/w",
            },
        );
        before.follows(Some(Failure::new(Reason::ControlBusStreamMissing, "brook")));
        let written = before.status(now());
        assert_eq!(
            condition(&written, "Following")["reason"],
            "CONTROL_BUS_STREAM_MISSING"
        );
        assert_eq!(condition(&written, "Suspended")["status"], "True");
        let read: ReadyTriggerStatus = serde_json::from_value(written).unwrap();
        let mut after = Report::new(read, "file:/b".into(), false);
        assert_eq!(after.position().as_deref(), Some("shard-0:7"));
        let status = after.status(now());
        assert_eq!(
            (&status["active"], &status["counts"]["started"]),
            (&0.into(), &1.into())
        );
        assert!(status.get("last").is_none(), "{status}");
        // Its stream is followed on: it was counted as begun.
        let ended = [
            (Status::SkippedDuplicate, Some(Status::Streamed)),
            (Status::SkippedDuplicate, Some(Status::Streamed)),
        ];
        for (status, recorded) in ended {
            let repeat = Conclusion {
                recorded,
                ..conclusion("m", status, None)
            };
            take(&mut after, &News::Concluded(&repeat));
        }
        let status = after.status(now());
        // It got its record before that was counted; the second time it is a repeat.
        assert_eq!(
            (&status["counts"]["streamed"], &status["counts"]["skipped"]),
            (&1.into(), &1.into())
        );
        assert_eq!(status["last"][0]["status"], "STREAMED");
        assert_eq!(status["scope"], "platform_20310504T030201Z");
    }
}
