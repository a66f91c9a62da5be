//! What is to be there for a stream, as pure functions of the validated struct: names from
//! [`worldstream_crds::names`], labels and owner from here, so that no child is without.

mod jobs;
pub mod pod;
mod records;
mod roles;

pub use jobs::{JobOrder, TAKE_OVER, preflight, template, view, worker};
pub use pod::{Kind, container};
pub use records::{checkpoint_name, checkpoints, clock, plan};
pub use roles::roles;

use serde_json::{Value, json};
use worldstream_crds::names;

use crate::views::StreamView;

/// The label selector of everything that the operator made.
pub fn made_here() -> String {
    let (name, value) = names::LABEL_MANAGED_BY;
    format!("{name}={value}")
}

/// Annotations in which the operator writes down what it needs to know of a Job later.
pub mod note {
    /// The exact id of the output.
    pub const OUTPUT: &str = "worldstream.io/output-id";
    /// Hash of what decides the pod.
    pub const TEMPLATE: &str = "worldstream.io/template";
    /// How often a Job was made for this output before.
    pub const RUN: &str = "worldstream.io/run";
    /// Crashes in a row before it, without progress.
    pub const CRASHES: &str = "worldstream.io/crashes";
    /// Where the cursors stood when it was made; of preflight and of builds, what they followed.
    pub const CURSOR: &str = "worldstream.io/cursor";
    /// The `spec.retry` that it answers.
    pub const RETRY: &str = "worldstream.io/retry";
    /// The attempt.
    pub const ATTEMPT: &str = "worldstream.io/attempt";
}

/// A child as it is to be, for the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// What it is.
    pub resource: &'static Resource,
    /// Its name.
    pub name: String,
    /// The whole object.
    pub body: Value,
}

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// `apiVersion`.
    pub api_version: &'static str,
    /// `kind`.
    pub kind: &'static str,
    /// The plural, as in a path.
    pub plural: &'static str,
}

macro_rules! resources {
    ($($name:ident: $version:literal $kind:literal $plural:literal;)*) => {
        $(#[doc = $kind]
        pub const $name: Resource =
            Resource { api_version: $version, kind: $kind, plural: $plural };)*
    };
}

resources! {
    CONFIG_MAP: "v1" "ConfigMap" "configmaps";
    SERVICE_ACCOUNT: "v1" "ServiceAccount" "serviceaccounts";
    ROLE: "rbac.authorization.k8s.io/v1" "Role" "roles";
    ROLE_BINDING: "rbac.authorization.k8s.io/v1" "RoleBinding" "rolebindings";
    JOB: "batch/v1" "Job" "jobs";
    DEPLOYMENT: "apps/v1" "Deployment" "deployments";
    POD: "v1" "Pod" "pods";
    STREAM: "worldstream.io/v1alpha1" "WorldStream" "worldstreams";
    CLOCK: "worldstream.io/v1alpha1" "StreamClock" "streamclocks";
    CHECKPOINT: "worldstream.io/v1alpha1" "StreamCheckpoint" "streamcheckpoints";
    TRIGGER: "worldstream.io/v1alpha1" "ReadyTrigger" "readytriggers";
}

/// Labels of a child; for an output with its label.
pub fn labels(stream: &StreamView, component: Option<&str>, output: Option<&str>) -> Value {
    let mut labels = json!({
        names::LABEL_NAME.0: names::LABEL_NAME.1,
        names::LABEL_MANAGED_BY.0: names::LABEL_MANAGED_BY.1,
        names::LABEL_STREAM: stream.key.name,
    });
    if let Some(component) = component {
        labels[names::LABEL_COMPONENT] = component.into();
    }
    if let Some(output) = output {
        labels[names::LABEL_OUTPUT] = names::dns(output).into();
    }
    labels
}

/// A child with name, namespace, labels and owner, and these fields besides.
pub fn child(
    stream: &StreamView,
    resource: &'static Resource,
    name: String,
    labels: Value,
    fields: Value,
) -> Child {
    let mut body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": stream.key.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": STREAM.api_version,
                "kind": STREAM.kind,
                "name": stream.key.name,
                "uid": stream.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
    });
    merge(&mut body, fields);
    Child {
        resource,
        name,
        body,
    }
}

/// Puts fields into an object, field by field where both have one.
pub fn merge(into: &mut Value, fields: Value) {
    match (into, fields) {
        (Value::Object(into), Value::Object(fields)) => {
            for (name, field) in fields {
                merge(into.entry(name).or_insert(Value::Null), field);
            }
        }
        (into, fields) => *into = fields,
    }
}

#[cfg(test)]
mod tests;
