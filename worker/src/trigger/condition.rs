//! A part of the platform that is up when a condition of a Kubernetes object says so. The object is
//! read with the trigger's own service account; who wrote the gate gives it the right to.

use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{Api, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use serde_json::Value;
use worldstream_crds::ConditionDownstream;

use super::cluster::{Cluster, Refusal, bounded};
use crate::ready::downstream::{Downstream, same_run};

/// A gate condition.
pub struct Condition {
    cluster: Cluster,
    name: String,
    gate: ConditionDownstream,
    same_run: bool,
    /// What the API server calls the kind, once it was asked.
    kind: Mutex<Option<(ApiResource, bool)>>,
}

impl Condition {
    /// As the plan has it; nothing is asked yet.
    pub fn new(cluster: &Cluster, name: &str, gate: &ConditionDownstream, same_run: bool) -> Self {
        Condition {
            cluster: cluster.clone(),
            name: name.to_owned(),
            gate: gate.clone(),
            same_run,
            kind: Mutex::default(),
        }
    }

    /// The kind's name in a path, and whether it is namespaced.
    async fn kind(&self) -> Result<(ApiResource, bool), String> {
        let lock = || self.kind.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(known) = lock().clone() {
            return Ok(known);
        }
        let gate = &self.gate;
        let (group, version) = gate
            .api_version
            .split_once('/')
            .unwrap_or(("", &gate.api_version));
        let kind = GroupVersionKind::gvk(group, version, &gate.kind);
        let found: (ApiResource, ApiCapabilities) =
            bounded(pinned_kind(&self.cluster.client(), &kind))
                .await
                .map_err(|refusal| format!("{} {}: {refusal}", gate.api_version, gate.kind))?;
        let known = (found.0, found.1.scope == Scope::Namespaced);
        *lock() = Some(known.clone());
        Ok(known)
    }

    async fn read(&self) -> Result<Value, String> {
        let (resource, namespaced) = self.kind().await?;
        let (client, gate) = (self.cluster.client(), &self.gate);
        let own = &self.cluster.trigger.namespace;
        let api: Api<DynamicObject> = match namespaced {
            true => {
                let namespace = gate.namespace.as_ref().unwrap_or(own);
                Api::namespaced_with(client, namespace, &resource)
            }
            false => Api::all_with(client, &resource),
        };
        let found = bounded(api.get(&gate.name)).await.map_err(|refusal| {
            let hint = match &refusal {
                Refusal::Refused(_) => "; give the trigger's ServiceAccount the right to get it",
                _ => "",
            };
            format!("{} {}: {refusal}{hint}", gate.kind, gate.name)
        })?;
        serde_json::to_value(found).map_err(|error| error.to_string())
    }
}

impl Downstream for Condition {
    fn name(&self) -> &str {
        &self.name
    }

    fn look<'a>(&'a self, platform_run_id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let object = self.read().await?;
            let what = format!("{} {}", self.gate.kind, self.gate.name);
            met(&object, &self.gate).map_err(|why| format!("{what}: {why}"))?;
            let active = self.gate.run_id_path.as_deref();
            let active = active.and_then(|path| field(&object, path)?.as_str());
            same_run(self.same_run, active, platform_run_id).map_err(|why| format!("{what} {why}"))
        }
        .boxed()
    }
}

/// Whether an object's condition is as it must be.
fn met(object: &Value, gate: &ConditionDownstream) -> Result<(), String> {
    let (kind, expected) = (&gate.condition_type, &gate.status);
    let all = object["status"]["conditions"].as_array();
    let found = all
        .into_iter()
        .flatten()
        .find(|it| it["type"] == kind.as_str());
    let Some(found) = found else {
        return Err(format!(
            "found no condition {kind}, expected {kind} {expected}"
        ));
    };
    let status = found["status"].as_str().unwrap_or_default();
    if status == expected {
        return Ok(());
    }
    let message = found["message"].as_str().unwrap_or_default();
    Err(format!(
        "found {kind} {status}, expected {expected}: {message}"
    ))
}

/// A field of an object: names with dots in between, the first of which may be left out, or a JSON
/// pointer.
fn field<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if path.starts_with('/') {
        return object.pointer(path);
    }
    let names = path.trim_start_matches('.').split('.');
    names.into_iter().try_fold(object, |at, name| at.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_and_a_field_are_found_where_the_gate_says() {
        let object = json!({
            "metadata": {"annotations": {"active-run": "p1", "platform.example.net/run": "p2"}},
            "status": {"run": {"id": "p3"}, "conditions": [
                {"type": "Progressing", "status": "True"},
                {"type": "Available", "status": "False", "message": "0 of 1"},
            ]},
        });
        for (path, found) in [
            ("metadata.annotations.active-run", Some("p1")),
            (".metadata.annotations.active-run", Some("p1")),
            (
                "/metadata/annotations/platform.example.net~1run",
                Some("p2"),
            ),
            ("status.run.id", Some("p3")),
            ("status.run.name", None),
            ("status.conditions.type", None),
        ] {
            assert_eq!(
                field(&object, path).and_then(Value::as_str),
                found,
                "{path}"
            );
        }
        let gate = |kind: &str, status: &str| ConditionDownstream {
            condition_type: kind.into(),
            status: status.into(),
            ..ConditionDownstream::default()
        };
        assert_eq!(met(&object, &gate("Progressing", "True")), Ok(()));
        assert_eq!(met(&object, &gate("Available", "False")), Ok(()));
        let why = met(&object, &gate("Available", "True")).unwrap_err();
        assert!(why.contains("0 of 1"), "{why}");
        let why = met(&object, &gate("Ready", "True")).unwrap_err();
        assert!(why.contains("no condition Ready"), "{why}");
    }
}
