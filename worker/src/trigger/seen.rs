//! What counts of a WorldStream for who made it. Pure.

use kube::api::DynamicObject;
use serde_json::Value;
use worldstream_crds::{Reason, names};

use crate::failure::Failure;

/// A WorldStream as it was seen last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What a write is conditional on.
    pub version: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The trigger that made it, and the message that asked for it.
    pub trigger: String,
    /// The message.
    pub message_id: String,
    /// What holds it until it is deleted.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `spec.retry`.
    pub retry: u64,
    /// The highest that was acted upon.
    pub retried: u64,
    /// `status.phase`; empty where nobody looked at it yet.
    pub phase: String,
    /// Events that the gate has taken, of all outputs.
    pub sent: u64,
    /// Why it failed.
    pub(super) failure: Option<(String, String)>,
}

/// How far a WorldStream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It goes on.
    Going,
    /// Every output sent all that it had to.
    Completed,
    /// It failed.
    Failed,
    /// It is being deleted, and none of its pods runs any more.
    Deleted,
}

impl Seen {
    /// Reads an object; what it lacks is empty.
    pub fn of(object: &DynamicObject) -> Seen {
        let meta = &object.metadata;
        let noted = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
            let found = map.as_ref().and_then(|map| map.get(key));
            found.cloned().unwrap_or_default()
        };
        let status = &object.data["status"];
        let outputs = || status["outputs"].as_array().into_iter().flatten();
        Seen {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            created: meta
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.to_string())
                .unwrap_or_default(),
            trigger: noted(&meta.labels, names::LABEL_TRIGGER),
            message_id: noted(&meta.annotations, names::READY_MESSAGE),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            retry: number(&object.data["spec"]["retry"]),
            retried: number(&status["retry"]),
            phase: status["phase"].as_str().unwrap_or_default().to_owned(),
            sent: outputs().map(|output| number(&output["sent"])).sum(),
            failure: failure(status, outputs()),
        }
    }

    /// How far it is. One that failed and is to be tried again goes on, although nobody has acted
    /// upon that yet.
    pub fn stage(&self) -> Stage {
        match self.phase.as_str() {
            "Completed" => Stage::Completed,
            "Failed" if self.retry <= self.retried => Stage::Failed,
            "Failed" | "Suspended" | "Pending" | "" if self.deleting => Stage::Deleted,
            _ => Stage::Going,
        }
    }

    /// Why it failed, with the code that the stream gives, or `STREAM_FAILED` where that is none
    /// of the contract's.
    pub fn failure(&self) -> Failure {
        let object = format!("WorldStream {}", self.name);
        let Some((code, message)) = &self.failure else {
            return Failure::new(Reason::StreamFailed, object).detail("it failed");
        };
        match Reason::ALL.iter().find(|it| it.as_str() == code) {
            Some(reason) => Failure::new(*reason, object).detail(message),
            None => Failure::new(Reason::StreamFailed, object).detail(format!("{code}: {message}")),
        }
    }

    /// Whether its end is still to be recorded.
    pub fn held(&self) -> bool {
        self.finalizers
            .iter()
            .any(|it| it == names::READY_FINALIZER)
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// The condition's reason and message; of an output, where it says no more than that one failed.
fn failure<'a>(
    status: &Value,
    mut outputs: impl Iterator<Item = &'a Value>,
) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let condition = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|it| it["type"] == "Failed" && it["status"] == "True")
        .map(|it| (text(&it["reason"]), text(&it["message"])));
    let known = |it: &(String, String)| Reason::ALL.iter().any(|code| code.as_str() == it.0);
    let of_output = outputs.find_map(|output| {
        let failure = &output["failure"];
        failure
            .is_object()
            .then(|| (text(&failure["reason"]), text(&failure["message"])))
    });
    match condition {
        Some(found) if known(&found) => Some(found),
        found => of_output.filter(known).or(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(more: Value) -> Seen {
        let mut object = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "WorldStream",
            "metadata": {
                "name": "owl-1",
                "uid": "u1",
                "resourceVersion": "7",
                "finalizers": ["worldstream.io/ready-record"],
                "labels": {"worldstream.io/trigger": "owl"},
                "annotations": {"worldstream.io/ready-message": "m1"},
            },
            "spec": {"retry": 1},
        });
        for (field, value) in more.as_object().unwrap() {
            match field.as_str() {
                "deleted" => object["metadata"]["deletionTimestamp"] = value.clone(),
                field => object[field] = value.clone(),
            }
        }
        Seen::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_stream_has_ended_when_nothing_will_be_tried_any_more() {
        let deleted = "2026-01-01T00:00:00Z";
        for (object, stage) in [
            (json!({}), Stage::Going),
            (json!({"status": {"phase": "Running"}}), Stage::Going),
            (json!({"status": {"phase": "Completed"}}), Stage::Completed),
            (
                json!({"status": {"phase": "Failed", "retry": 1}}),
                Stage::Failed,
            ),
            (
                json!({"status": {"phase": "Failed", "retry": 0}}),
                Stage::Going,
            ),
            (json!({"deleted": deleted}), Stage::Deleted),
            (
                json!({"deleted": deleted, "status": {"phase": "Running"}}),
                Stage::Going,
            ),
            (
                json!({"deleted": deleted, "status": {"phase": "Suspending"}}),
                Stage::Going,
            ),
            (
                json!({"deleted": deleted, "status": {"phase": "Suspended"}}),
                Stage::Deleted,
            ),
            (
                json!({"deleted": deleted, "status": {"phase": "Completed"}}),
                Stage::Completed,
            ),
            (
                json!({"deleted": deleted, "status": {"phase": "Failed"}}),
                Stage::Deleted,
            ),
        ] {
            assert_eq!(seen(object.clone()).stage(), stage, "{object}");
        }
    }

    #[test]
    fn what_it_sent_and_why_it_failed_are_its_outputs() {
        let found = seen(json!({"status": {
            "phase": "Failed",
            "retry": 1,
            "outputs": [
                {"output": "a", "sent": 40},
                {"output": "b", "sent": 2, "failure": {
                    "reason": "IG_PUSH_REJECTED", "message": "found 401",
                }},
            ],
            "conditions": [{
                "type": "Failed", "status": "True", "reason": "OutputFailed", "message": "b failed",
            }],
        }}));
        assert_eq!(found.sent, 42);
        assert!(found.held());
        assert_eq!(
            (found.trigger.as_str(), found.message_id.as_str()),
            ("owl", "m1")
        );
        let failure = found.failure();
        assert_eq!(failure.reason(), Reason::IgPushRejected);
        assert!(failure.message().contains("found 401"), "{failure}");
        let found = seen(json!({"status": {"phase": "Failed", "conditions": [{
            "type": "Failed", "status": "True", "reason": "CrashLoop", "message": "5 crashes",
        }]}}));
        let failure = found.failure();
        assert_eq!(failure.reason(), Reason::StreamFailed);
        assert!(
            failure.message().contains("CrashLoop: 5 crashes"),
            "{failure}"
        );
    }
}
