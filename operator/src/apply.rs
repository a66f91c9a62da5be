//! Carries out what was decided, in order; then writes the status, if it says something new.

use futures::{FutureExt, StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use worldstream_crds::WorldStreamStatus;

use crate::api::{ApiError, Server};
use crate::build;
use crate::decide::Action;
use crate::views::{Key, StreamView};

/// How many children of one stream are made at the same time: a stream starts as soon as all are
/// there.
const AT_ONCE: usize = 8;

/// Carries out one action.
pub async fn carry_out(
    server: &Server,
    stream: &StreamView,
    action: &Action,
) -> Result<(), ApiError> {
    let key = &stream.key;
    match action {
        Action::Apply(children) => {
            let new = stream.status.plan.is_none();
            // A binding is refused as long as its role is not there; all else may come in any order.
            let (bindings, others): (Vec<_>, Vec<_>) = children
                .iter()
                .partition(|child| child.resource.kind == build::ROLE_BINDING.kind);
            for part in [others, bindings] {
                let requests = part.into_iter();
                let requests: Vec<_> = requests
                    .map(|child| server.apply(key, child, new).boxed())
                    .collect();
                futures::stream::iter(requests)
                    .buffer_unordered(AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
            Ok(())
        }
        Action::Create(child) => server.create(key, child).await,
        Action::Suspend(job) => {
            let patch = json!({"spec": {"suspend": true}});
            ignore_missing(server.patch(key, &build::JOB, job, false, &patch).await)
        }
        Action::Delete(resource, name) => server.delete(key, &stream.uid, resource, name).await,
        Action::GiveUp { pod, uid } => give_up(server, key, pod, uid).await,
        Action::Publish { version, spec } => {
            let mut spec = json!(spec);
            // A merge patch keeps what it does not name.
            for field in [
                "effectiveAt",
                "eventEpoch",
                "wallEpoch",
                "heldAt",
                "previous",
            ] {
                let fields = spec.as_object_mut();
                fields.map(|fields| fields.entry(field).or_insert(Value::Null));
            }
            if let Some(previous) = spec["previous"].as_object_mut() {
                for field in ["effectiveAt", "eventEpoch", "wallEpoch", "heldAt"] {
                    previous.entry(field).or_insert(Value::Null);
                }
            }
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
            let name = worldstream_crds::names::clock(&key.name);
            server.patch(key, &build::CLOCK, name, false, &patch).await
        }
    }
}

fn ignore_missing(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.kind() == "not_found" => Ok(()),
        result => result,
    }
}

/// A node that does not answer cannot say that a pod has ended, and a Job with a failure policy
/// waits for just that: its phase must be terminal. That the node is the cause keeps it from
/// counting.
async fn give_up(server: &Server, key: &Key, pod: &str, uid: &str) -> Result<(), ApiError> {
    let patch = json!({
        "metadata": {"uid": uid},
        "status": {
            "phase": "Failed",
            "reason": "NodeLost",
            "message": "given up by worldstream-operator: its node does not answer",
            "conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "NodeLost",
                "message": "given up by worldstream-operator: its node does not answer",
            }],
        },
    });
    ignore_missing(server.patch(key, &build::POD, pod, true, &patch).await)
}

/// Writes the status if it differs, on condition that nobody wrote the stream since it was read.
pub async fn write_status(
    server: &Server,
    stream: &StreamView,
    status: &WorldStreamStatus,
) -> Result<(), ApiError> {
    let (before, after) = (json!(stream.status), json!(status));
    let Some(change) = difference(&before, &after) else {
        return Ok(());
    };
    let patch = json!({
        "metadata": {"resourceVersion": stream.version, "uid": stream.uid},
        "status": change,
    });
    let name = &stream.key.name;
    server
        .patch(&stream.key, &build::STREAM, name, true, &patch)
        .await
}

/// The merge patch that leads from one value to another; none if they are equal.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (before, after) if before == after => None,
        (Value::Object(before), Value::Object(after)) => {
            let mut change = Map::new();
            for (name, value) in after {
                match before.get(name) {
                    Some(known) => {
                        if let Some(inner) = difference(known, value) {
                            change.insert(name.clone(), inner);
                        }
                    }
                    None => {
                        change.insert(name.clone(), value.clone());
                    }
                }
            }
            for name in before.keys().filter(|name| !after.contains_key(*name)) {
                change.insert(name.clone(), Value::Null);
            }
            Some(Value::Object(change))
        }
        (_, after) => Some(after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_least_that_leads_there() {
        let before = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1], "f": 1});
        let after = json!({"a": 1, "b": {"c": 5}, "e": [1, 2]});
        let change = difference(&before, &after).unwrap();
        assert_eq!(
            change,
            json!({"b": {"c": 5, "d": null}, "e": [1, 2], "f": null})
        );
        assert_eq!(difference(&after, &after), None);
    }
}
