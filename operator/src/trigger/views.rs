//! What is kept of triggers, of their Deployments and of their pods.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use worldstream_crds::{ReadyTrigger, ReadyTriggerSpec, ReadyTriggerStatus, names};

use super::build::{CHILDREN, PLAN};
use crate::views::{Key, PodView, View, label, owner, typed};

/// A ReadyTrigger.
#[derive(Clone, Debug)]
pub struct TriggerView {
    /// Where it is.
    pub key: Key,
    /// Its uid, which its children are owned by.
    pub uid: String,
    /// The spec's generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What is asked for.
    pub spec: ReadyTriggerSpec,
    /// What was said of it last; of what its pod says the conditions alone.
    pub status: ReadyTriggerStatus,
}

impl View for TriggerView {
    type Raw = DynamicObject;

    fn of(raw: DynamicObject) -> Option<(Key, String, Self)> {
        let raw: ReadyTrigger = typed(raw)?;
        let meta = raw.metadata;
        let name = meta.name.clone()?;
        let key = Key {
            namespace: meta.namespace.clone()?,
            name: name.clone(),
        };
        let status = raw.status.unwrap_or_default();
        let view = TriggerView {
            key: key.clone(),
            uid: meta.uid.clone()?,
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            spec: raw.spec,
            status: ReadyTriggerStatus {
                observed_generation: status.observed_generation,
                conditions: status.conditions,
                ..ReadyTriggerStatus::default()
            },
        };
        Some((key, name, view))
    }
}

/// The Deployment of a trigger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentView {
    /// Its name.
    pub name: String,
    /// The uid of the trigger that owns it.
    pub owner: String,
    /// Hash of all that was applied with it.
    pub children: String,
    /// The ConfigMap with its plan.
    pub plan: String,
    /// Whether its controller has seen its newest spec.
    pub observed: bool,
    /// Pods of its newest template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of any template.
    pub replicas: i32,
    /// Why its controller cannot make pods: a quota, an admission policy.
    pub refused: Option<String>,
}

impl View for DeploymentView {
    type Raw = Deployment;

    fn of(raw: Deployment) -> Option<(Key, String, Self)> {
        let (key, name) = of_trigger(&raw.metadata)?;
        let status = raw.status.unwrap_or_default();
        let refused = status
            .conditions
            .iter()
            .flatten()
            .find(|it| {
                let is = |word: &Option<String>, text: &str| word.as_deref() == Some(text);
                is(&it.type_, "ReplicaFailure") && is(&it.status, "True")
            })
            .map(|it| it.message.clone().unwrap_or_default());
        let annotations = raw.metadata.annotations.clone().unwrap_or_default();
        let text = |key: &str| annotations.get(key).cloned().unwrap_or_default();
        let view = DeploymentView {
            name: name.clone(),
            owner: owner(&raw.metadata, "ReadyTrigger"),
            children: text(CHILDREN),
            plan: text(PLAN),
            observed: status.observed_generation >= raw.metadata.generation,
            updated: status.updated_replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            replicas: status.replicas.unwrap_or_default(),
            refused,
        };
        Some((key, name, view))
    }
}

/// A pod of a trigger.
#[derive(Clone, Debug)]
pub struct TriggerPodView(pub PodView);

impl View for TriggerPodView {
    type Raw = Pod;

    fn of(raw: Pod) -> Option<(Key, String, Self)> {
        let (key, name) = of_trigger(&raw.metadata)?;
        let view = PodView::read(raw)?;
        Some((key, name, TriggerPodView(view)))
    }
}

fn of_trigger(meta: &ObjectMeta) -> Option<(Key, String)> {
    let name = label(meta, names::LABEL_TRIGGER);
    let ours = label(meta, names::LABEL_COMPONENT) == names::TRIGGER && !name.is_empty();
    let key = Key {
        namespace: meta.namespace.clone()?,
        name,
    };
    ours.then_some((key, meta.name.clone()?))
}
