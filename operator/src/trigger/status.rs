//! What the operator says of a trigger: whether it is accepted, and whether its pod follows the bus.
//! The rest of the status is the pod's own. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use worldstream_crds::{ConditionReason as Why, ConditionType as What, ReadyTriggerStatus};

use super::views::{DeploymentView, TriggerView};
use crate::invalid::Invalid;
use crate::status::{Says, merge};

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Accepted and Ready.
    pub conditions: Vec<Condition>,
    /// Whether Ready is true.
    pub ready: bool,
    generation: i64,
}

impl Said {
    /// Whether the status does not say so already.
    pub fn news(&self, status: &ReadyTriggerStatus) -> bool {
        status.observed_generation != Some(self.generation)
            || self.conditions.iter().any(|said| {
                let known = status.conditions.iter().find(|it| it.type_ == said.type_);
                known != Some(said)
            })
    }
}

/// Derives.
pub fn derive(
    trigger: &TriggerView,
    invalid: Option<&Invalid>,
    deployment: Option<&DeploymentView>,
    trouble: Option<&str>,
    now: Timestamp,
) -> Said {
    let accepted = match invalid {
        None => Says(
            What::Accepted,
            Some(true),
            Why::Valid.to_string(),
            "Trigger and profile are valid, and what they refer to is there.".to_owned(),
        ),
        Some(invalid) => Says(
            What::Accepted,
            Some(false),
            invalid.reason.clone(),
            invalid.message.clone(),
        ),
    };
    let (why, message) = ready(trigger, invalid, deployment, trouble);
    let ready = why.as_str() == Why::Following.as_str();
    let says = [accepted, Says(What::Ready, Some(ready), why, message)];
    let before = &trigger.status.conditions;
    Said {
        conditions: says
            .map(|it| merge(it, before, trigger.generation, now))
            .into(),
        ready,
        generation: trigger.generation,
    }
}

/// Why the trigger follows its bus, or why not.
fn ready(
    trigger: &TriggerView,
    invalid: Option<&Invalid>,
    deployment: Option<&DeploymentView>,
    trouble: Option<&str>,
) -> (String, String) {
    let say = |why: Why, message: &str| (why.to_string(), message.to_owned());
    let Some(deployment) = deployment else {
        return match invalid {
            Some(_) => say(Why::NotStarted, "The trigger is not accepted."),
            None => say(Why::TriggerStarting, Why::TriggerStarting.meaning()),
        };
    };
    if let Some(refused) = &deployment.refused {
        return say(Why::PodRefused, refused);
    }
    // While the old pod goes, nobody may say that the new plan is followed.
    let current = deployment.observed && deployment.updated == deployment.replicas;
    if current && deployment.ready > 0 {
        return match invalid {
            None => say(Why::Following, Why::Following.meaning()),
            Some(_) => say(
                Why::Following,
                "The pod reads the bus by the last plan that was accepted.",
            ),
        };
    }
    if let Some(trouble) = trouble {
        return say(Why::TriggerAway, trouble);
    }
    // The pod runs and says itself what it lacks.
    let conditions = &trigger.status.conditions;
    let own = conditions
        .iter()
        .find(|it| it.type_ == What::Following.as_str() && it.status == "False");
    match own {
        Some(own) if current && deployment.updated > 0 => (own.reason.clone(), own.message.clone()),
        _ => say(Why::TriggerStarting, Why::TriggerStarting.meaning()),
    }
}
