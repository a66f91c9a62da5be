//! Events on a WorldStream: one for each step and each failure, told from two statuses that
//! follow each other.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use worldstream_crds::{ConditionReason, Phase, ViewState, WorkerState, WorldStreamStatus, names};

use crate::api::MANAGER;
use crate::build;
use crate::views::StreamView;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it is a warning.
    pub warning: bool,
    /// The reason.
    pub reason: String,
    /// What there is to say.
    pub note: String,
}

/// What happened between two statuses.
pub fn between(before: &WorldStreamStatus, after: &WorldStreamStatus) -> Vec<Told> {
    let mut all = Vec::new();
    for (kind, bad) in [
        ("Accepted", "False"),
        ("WorldVerified", "-"),
        ("Degraded", "True"),
        ("Failed", "True"),
        ("ProfileDrifted", "True"),
        ("ClockSkew", "True"),
    ] {
        let (was, is) = (condition(before, kind), condition(after, kind));
        let Some((status, reason, message)) = is else {
            continue;
        };
        let news = was.is_none_or(|(old, why, _)| old != status || status == bad && why != reason);
        let told = match kind {
            "WorldVerified" | "Accepted" => status == "True" || status == bad,
            _ => status == bad,
        };
        if news && told {
            all.push(Told {
                warning: status == bad,
                reason: reason.to_owned(),
                note: format!("{kind}: {message}"),
            });
        }
    }
    let building = |status| {
        let why = ConditionReason::BuildingViews.as_str();
        condition(status, "WorldVerified").filter(|(_, reason, _)| *reason == why)
    };
    if let (None, Some((_, reason, message))) = (building(before), building(after)) {
        all.push(Told {
            warning: false,
            reason: reason.to_owned(),
            note: message.to_owned(),
        });
    }
    for output in &after.outputs {
        let was = before.outputs.iter().find(|it| it.output == output.output);
        let missing = was
            .and_then(|it| it.view.as_ref())
            .is_some_and(|it| it.state != ViewState::Built);
        if let Some(view) = &output.view
            && view.state == ViewState::Built
            && missing
        {
            all.push(Told {
                warning: false,
                reason: "ViewBuilt".to_owned(),
                note: format!("{}: a view of {} rows", output.output, view.rows),
            });
        }
        let was = was.map(|it| it.state);
        let finished = output.state == WorkerState::Finished && was != Some(WorkerState::Finished);
        if finished {
            all.push(Told {
                warning: false,
                reason: "OutputFinished".to_owned(),
                note: format!("{}: {} rows were taken", output.output, output.sent),
            });
        }
        if let Some(failure) = &output.failure
            && was != Some(WorkerState::Failed)
            && output.state == WorkerState::Failed
        {
            all.push(Told {
                warning: true,
                reason: failure.reason.clone(),
                note: format!("{}: {}", output.output, failure.message),
            });
        }
    }
    let releases = |it: &WorldStreamStatus| it.releases.as_ref().map_or(0, |it| it.count);
    if releases(after) > releases(before) {
        let note = condition(after, "Ready").map(|it| it.2.to_owned());
        all.push(Told {
            warning: true,
            reason: "PrimeTimeout".to_owned(),
            note: note.unwrap_or_default(),
        });
    }
    // What is degraded or has failed is told with its reason, by the condition.
    if before.phase != after.phase
        && let Some(phase) = after.phase
        && !matches!(phase, Phase::Degraded | Phase::Failed)
    {
        let ready = condition(after, "Ready");
        let note = ready.map(|(_, _, message)| message).unwrap_or_default();
        all.push(Told {
            warning: false,
            reason: format!("{phase:?}"),
            note: format!("The stream is {phase:?}. {note}"),
        });
    }
    all
}

fn condition<'a>(status: &'a WorldStreamStatus, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let found = status.conditions.iter().find(|it| it.type_ == kind)?;
    Some((&found.status, &found.reason, &found.message))
}

/// How many events may wait to be written; what is told beyond that is logged and left out.
const WAITING: usize = 1_024;

/// Tells, beside the looks at streams: none of them waits for an event to be written.
pub struct Teller {
    events: mpsc::Sender<(ObjectReference, Event)>,
}

impl Teller {
    /// With a client; `instance` names this process. Must be called on a runtime.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        let recorder = Recorder::new(client, reporter);
        let (events, mut told) = mpsc::channel::<(ObjectReference, Event)>(WAITING);
        tokio::spawn(async move {
            while let Some((reference, event)) = told.recv().await {
                // That it cannot be told is no reason to stop.
                if let Err(error) = recorder.publish(&event, &reference).await {
                    let stream = reference.name.unwrap_or_default();
                    tracing::warn!(%error, stream, "an event could not be written");
                }
            }
        });
        Teller { events }
    }

    /// Tells of a stream, soon.
    pub fn tell(&self, stream: &StreamView, told: &Told) {
        let (namespace, name) = (&stream.key.namespace, &stream.key.name);
        tracing::info!(%namespace, stream = %name, reason = told.reason, "{}", told.note);
        let reference = ObjectReference {
            api_version: Some(build::STREAM.api_version.to_owned()),
            kind: Some(build::STREAM.kind.to_owned()),
            name: Some(stream.key.name.clone()),
            namespace: Some(stream.key.namespace.clone()),
            uid: Some(stream.uid.clone()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: match told.warning {
                true => EventType::Warning,
                false => EventType::Normal,
            },
            reason: told.reason.clone(),
            note: Some(told.note.chars().take(1_000).collect()),
            // Events that differ in nothing but their note are counted as one, with the first one's
            // note: another output, or another cause, is another event.
            action: format!("Reconcile-{}", names::short_hash(&[&told.note])),
            secondary: None,
        };
        if self.events.try_send((reference, event)).is_err() {
            tracing::warn!(
                stream = stream.key.name,
                reason = told.reason,
                "an event was left out: too many wait"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(phase: &str, conditions: &[(&str, &str, &str)]) -> WorldStreamStatus {
        let conditions = conditions.iter().map(|(kind, status, reason)| {
            json!({
                "type": kind, "status": status, "reason": reason,
                "message": format!("{reason} is why."),
                "lastTransitionTime": "2031-05-04T03:02:01Z",
            })
        });
        let conditions: Vec<_> = conditions.collect();
        serde_json::from_value(json!({"phase": phase, "conditions": conditions})).unwrap()
    }

    fn reasons(before: &WorldStreamStatus, after: &WorldStreamStatus) -> Vec<String> {
        between(before, after)
            .into_iter()
            .map(|it| it.reason)
            .collect()
    }

    #[test]
    fn each_step_is_told_once_with_what_led_to_it_first() {
        let ready = |why| ("Ready", "False", why);
        let checked = status(
            "Verifying",
            &[ready("Preflight"), ("WorldVerified", "False", "Preflight")],
        );
        let starts = status(
            "Starting",
            &[ready("Priming"), ("WorldVerified", "True", "Verified")],
        );
        assert_eq!(reasons(&checked, &starts), ["Verified", "Starting"]);
        assert_eq!(reasons(&starts, &starts), [""; 0]);
        let told = between(&checked, &starts).pop().unwrap();
        assert_eq!(told.note, "The stream is Starting. Priming is why.");
        assert!(!told.warning);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_reason_alone() {
        let going = status("Running", &[("Degraded", "False", "AsExpected")]);
        let away = status("Degraded", &[("Degraded", "True", "GateAway")]);
        let late = status("Degraded", &[("Degraded", "True", "OutputLate")]);
        let told = between(&going, &away);
        assert_eq!((told.len(), told[0].reason.as_str()), (1, "GateAway"));
        assert!(told[0].warning, "{told:?}");
        assert_eq!(reasons(&away, &late), ["OutputLate"]);
        assert_eq!(reasons(&away, &going), ["Running"]);
    }
}
