//! ReadyTriggers: each is kept as one small Deployment that runs `worldstream trigger`. A look at one
//! goes as a look at a stream does: what it points at is read, validated into one struct, its
//! children are built as pure functions of that, applied, and its conditions derived. Messages,
//! stores and buses are the pod's business alone.

mod build;
mod status;
#[cfg(test)]
mod tests;
mod validate;
pub mod views;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use worldstream_crds::{ConditionReason, names};

use self::views::{DeploymentView, TriggerPodView, TriggerView};
use crate::api::ApiError;
use crate::build::{TRIGGER, made_here};
use crate::context::Context;
use crate::invalid::Invalid;
use crate::lower;
use crate::views::{Key, StreamView};

/// A trigger that is not accepted is looked at again so soon: what it lacks, such as a ConfigMap,
/// is not watched.
const AGAIN_UNACCEPTED: Duration = Duration::from_secs(3);
/// A trigger whose pod does not come up is looked at again so soon, for what the node says of it.
const AGAIN_STARTING: Duration = Duration::from_secs(5);

/// The label selector of the Deployments and the pods of triggers.
pub fn made_for_one() -> String {
    format!(
        "{},{}={}",
        made_here(),
        names::LABEL_COMPONENT,
        names::TRIGGER
    )
}

/// Looks at a trigger. Gives when to look again although nothing changed.
///
/// Errors: what the API server refuses, or its absence; the look is repeated.
pub async fn reconcile(context: &Context, key: &Key) -> Result<Option<Duration>, ApiError> {
    let Some(trigger) = context.watched.triggers.get(key, &key.name) else {
        return Ok(None);
    };
    if trigger.deleting {
        return Ok(None);
    }
    let found = dereference(context, &trigger).await?;
    let valid = validate::validate(&trigger, &found, &context.image);
    let deployment = context.watched.deployments.of(key).into_iter();
    let deployment = deployment
        .filter(|it| it.owner == trigger.uid)
        .find(|it| it.name == names::trigger(&key.name));
    let applied = match &valid {
        Ok(valid) => apply(context, &trigger, valid, deployment.as_deref()).await,
        Err(_) => Ok(()),
    };
    let (valid, applied) = match applied {
        // Somebody else has an object of that name: that is to be said, and looked at again.
        Err(error @ ApiError::NotOurs { .. }) => {
            let reason = ConditionReason::NameTaken.as_str();
            (Err(Invalid::new(reason, error.to_string())), Ok(()))
        }
        applied => (valid, applied),
    };
    applied?;
    let pods = context.watched.trigger_pods.of(key);
    let trouble = trouble(context, key, &pods).await?;
    let said = status::derive(
        &trigger,
        valid.as_ref().err(),
        deployment.as_deref(),
        trouble.as_deref(),
        Timestamp::now(),
    );
    if said.news(&trigger.status) {
        let body = json!({
            "apiVersion": TRIGGER.api_version,
            "kind": TRIGGER.kind,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": trigger.uid},
            "status": {"observedGeneration": trigger.generation, "conditions": said.conditions},
        });
        context
            .server
            .apply_status(key, &TRIGGER, &key.name, &body)
            .await?;
    }
    Ok(match (&valid, said.ready) {
        (Err(_), _) => Some(AGAIN_UNACCEPTED),
        (Ok(_), false) => Some(AGAIN_STARTING),
        (Ok(_), true) => None,
    })
}

/// Makes or corrects the children, unless they are there as they are to be.
async fn apply(
    context: &Context,
    trigger: &TriggerView,
    valid: &validate::Valid,
    deployment: Option<&DeploymentView>,
) -> Result<(), ApiError> {
    let key = &trigger.key;
    let children = build::children(trigger, valid);
    let known = deployment.map(|it| it.children.as_str());
    if known == Some(children.hash.as_str()) {
        return Ok(());
    }
    for child in &children.all {
        context.server.apply(key, child, known.is_none()).await?;
    }
    // The pods of the new template have the new plan; nobody reads the old one again.
    let old = deployment.map(|it| it.plan.as_str()).unwrap_or_default();
    if !old.is_empty() && old != children.plan {
        let resource = &crate::build::CONFIG_MAP;
        return context
            .server
            .delete(key, &trigger.uid, resource, old)
            .await;
    }
    Ok(())
}

/// Reads what a trigger points at and is not watched: the texts of its profile, and its scope.
async fn dereference(
    context: &Context,
    trigger: &TriggerView,
) -> Result<validate::Found, ApiError> {
    let namespace = &trigger.key.namespace;
    let name = &trigger.spec.profile;
    let of_profile = Key {
        namespace: namespace.clone(),
        name: name.clone(),
    };
    let profile = context.watched.profiles.get(&of_profile, name);
    let mut entries: Vec<(String, String)> = profile
        .iter()
        .flat_map(|it| lower::config_maps(&it.spec))
        .collect();
    if let Some(scope) = &trigger.spec.scope.config_map {
        entries.push((scope.name.clone(), scope.key.clone()));
    }
    let mut texts = lower::Texts::new();
    for (name, entry) in entries {
        let text = context
            .server
            .config_map_entry(namespace, &name, &entry)
            .await?;
        if let Some(text) = text {
            texts.insert((name, entry), text);
        }
    }
    Ok(validate::Found { profile, texts })
}

/// What keeps the trigger's pod from running, in the words of the scheduler or the node.
async fn trouble(
    context: &Context,
    key: &Key,
    pods: &[Arc<TriggerPodView>],
) -> Result<Option<String>, ApiError> {
    for pod in pods.iter().map(|pod| &pod.0) {
        if let Some(stuck) = &pod.stuck {
            return Ok(Some(format!(
                "pod {}: {}: {}",
                pod.name, stuck.reason, stuck.message
            )));
        }
        // A Secret that cannot be mounted is told by an event alone.
        let waits = pod.life == crate::views::Life::Pending && pod.node.is_some();
        if waits
            && let Some((reason, message)) =
                context.server.warning(&key.namespace, &pod.uid).await?
        {
            return Ok(Some(format!("pod {}: {reason}: {message}", pod.name)));
        }
    }
    Ok(None)
}

/// A stream that is being deleted and that nobody will record any more, as its trigger is gone, is
/// let go. Says whether it is held by a trigger that is there.
pub async fn let_go(context: &Context, stream: &StreamView) -> Result<bool, ApiError> {
    let held = stream
        .finalizers
        .iter()
        .any(|it| it == names::READY_FINALIZER);
    if !held {
        return Ok(!stream.finalizers.is_empty());
    }
    let by = Key {
        namespace: stream.key.namespace.clone(),
        name: stream.trigger.clone(),
    };
    let triggers = &context.watched.triggers;
    let there = triggers.get(&by, &by.name);
    let there = there.is_some_and(|trigger| !trigger.deleting);
    if there || !context.watched.triggers_known.load(Ordering::Relaxed) {
        return Ok(true);
    }
    tracing::warn!(
        namespace = stream.key.namespace,
        stream = stream.key.name,
        trigger = stream.trigger,
        "its trigger is gone: it is let go without a record"
    );
    let rest: Vec<&String> = stream
        .finalizers
        .iter()
        .filter(|it| *it != names::READY_FINALIZER)
        .collect();
    let patch = json!({"metadata": {
        "uid": stream.uid,
        "resourceVersion": stream.version,
        "finalizers": rest,
    }});
    let resource = &crate::build::STREAM;
    let patched = context
        .server
        .patch(&stream.key, resource, &stream.key.name, false, &patch)
        .await;
    match patched {
        Err(error) if error.kind() == "not_found" => Ok(false),
        patched => patched.map(|()| false),
    }
}
