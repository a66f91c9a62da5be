//! Governance facts: what was done about a run, each written once (contracts section 9).

use serde::Serialize;
use sha2::{Digest, Sha256};
use worldstream_crds::{ProvenanceSpec, Reason};

use super::facts::RunFacts;
use super::message::Ready;
use super::place::Place;
use super::record::Status;
use super::steps::Ids;
use crate::checkpoint::json;
use crate::failure::{Failure, Result};
use crate::time::EventTime;

const COMPONENT: &str = "wsp_ready_consumer";

/// Writes facts.
#[derive(Debug, Clone)]
pub struct Governance {
    place: Place,
    provenance: ProvenanceSpec,
}

/// Whom a fact is about: ids and world key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactPins {
    manifest_fingerprint: String,
    parameter_hash: String,
    platform_run_id: String,
    scenario_id: Option<String>,
    scenario_run_id: String,
    seed: String,
}

impl FactPins {
    /// Those of a message's facts.
    pub fn of(ids: &Ids, facts: &RunFacts) -> FactPins {
        FactPins {
            manifest_fingerprint: facts.pins.manifest_fingerprint.clone(),
            parameter_hash: facts.pins.parameter_hash.clone(),
            platform_run_id: ids.platform_run_id.clone(),
            scenario_id: facts.pins.scenario_id.clone(),
            scenario_run_id: ids.scenario_run_id.clone(),
            seed: facts.pins.seed.to_string(),
        }
    }
}

/// What is said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<'a> {
    /// It was read, and a stream follows.
    ReadySeen(&'a Ready),
    /// The stream begins.
    Started {
        /// The message.
        message_id: &'a str,
        /// The engine run root.
        engine_run_root: &'a str,
    },
    /// The stream has ended.
    Ended {
        /// The message.
        message_id: &'a str,
        /// The engine run root.
        engine_run_root: &'a str,
        /// How.
        status: Status,
        /// Why, if it failed.
        reason: Option<Reason>,
        /// Events that were sent.
        emitted: u64,
    },
    /// It will not be streamed.
    Cancelled {
        /// The message.
        message_id: &'a str,
        /// Why.
        why: Cancelled<'a>,
    },
}

/// Why a message is not streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled<'a> {
    /// Another platform run is the active one: this one.
    ScopeMismatch(&'a str),
    /// The facts name no scenario.
    ScenarioMissing,
    /// Nobody names an engine run root.
    EngineRootMissing,
}

impl Cancelled<'_> {
    /// The reason code.
    pub fn reason(self) -> Reason {
        match self {
            Cancelled::ScopeMismatch(_) => Reason::PlatformRunScopeMismatch,
            Cancelled::ScenarioMissing => Reason::ScenarioIdMissing,
            Cancelled::EngineRootMissing => Reason::EngineRootMissing,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Cancelled::ScopeMismatch(_) => "scope_mismatch",
            Cancelled::ScenarioMissing => "scenario_missing",
            Cancelled::EngineRootMissing => "engine_root_missing",
        }
    }
}

impl Fact<'_> {
    fn family(&self) -> &'static str {
        match self {
            Fact::ReadySeen(_) => "RUN_READY_SEEN",
            Fact::Started { .. } => "RUN_STARTED",
            Fact::Ended { .. } => "RUN_ENDED",
            Fact::Cancelled { .. } => "RUN_CANCELLED",
        }
    }

    fn dedupe_key(&self) -> String {
        match self {
            Fact::ReadySeen(ready) => format!("ready_seen:{}", ready.message_id),
            Fact::Started { message_id, .. } => format!("started:{message_id}"),
            Fact::Ended { message_id, .. } => format!("ended:{message_id}"),
            Fact::Cancelled { message_id, why } => format!("cancelled:{message_id}:{}", why.key()),
        }
    }

    fn details(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Fact::ReadySeen(ready) => json!({
                "facts_view_ref": ready.facts_view_ref,
                "message_id": ready.message_id,
                "run_id": ready.run_id,
            }),
            Fact::Started {
                message_id,
                engine_run_root,
            } => json!({
                "engine_run_root": engine_run_root,
                "message_id": message_id,
            }),
            Fact::Ended {
                message_id,
                engine_run_root,
                status,
                reason,
                emitted,
            } => json!({
                "emitted": emitted,
                "engine_run_root": engine_run_root,
                "message_id": message_id,
                "reason": reason,
                "status": status,
            }),
            Fact::Cancelled {
                message_id,
                why: why @ Cancelled::ScopeMismatch(active),
            } => json!({
                "active_platform_run_id": active,
                "message_id": message_id,
                "reason": why.reason(),
            }),
            Fact::Cancelled { message_id, why } => json!({
                "message_id": message_id,
                "reason": why.reason(),
            }),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    actor: Actor,
    details: serde_json::Value,
    event_family: &'static str,
    event_id: &'a str,
    pins: &'a FactPins,
    provenance: Provenance<'a>,
    ts_utc: EventTime,
}

#[derive(Serialize)]
struct Actor {
    actor_id: &'static str,
    source_component: &'static str,
    source_type: &'static str,
}

#[derive(Serialize)]
struct Provenance<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    config_revision: Option<&'a str>,
    environment: &'a str,
    service_release_id: &'a str,
}

impl Governance {
    /// Facts below the run prefixes of a store. `provenance` is our own configuration's.
    pub fn new(place: &Place, provenance: &ProvenanceSpec) -> Governance {
        Governance {
            place: place.clone(),
            provenance: provenance.clone(),
        }
    }

    /// Writes a fact below its run's prefix, unless it is there.
    ///
    /// # Errors
    /// `STREAM_FAILED` where it cannot be written.
    pub async fn write(&self, pins: &FactPins, fact: &Fact<'_>) -> Result<()> {
        let event_id = event_id(
            fact.family(),
            &pins.platform_run_id,
            &pins.scenario_run_id,
            &fact.dedupe_key(),
        );
        let relative = format!("obs/governance/events/{event_id}.json");
        let run = self.place.run(&pins.platform_run_id);
        let document = Document {
            actor: Actor {
                actor_id: "svc:wsp_ready_consumer",
                source_component: COMPONENT,
                source_type: "SYSTEM",
            },
            details: fact.details(),
            event_family: fact.family(),
            event_id: &event_id,
            pins,
            provenance: Provenance {
                config_revision: self.provenance.config_revision.as_deref(),
                environment: &self.provenance.environment,
                service_release_id: &self.provenance.service_release_id,
            },
            ts_utc: EventTime::wall_now(),
        };
        let bytes = json::line(&document).map_err(|error| {
            Failure::new(Reason::StreamFailed, run.name(&relative)).cause(&error)
        })?;
        // One that is there is the first attempt's, with its time.
        run.once(&relative, &bytes).await.map(drop)
    }
}

/// sha256 hex of `family|platform_run_id|scenario_run_id|source_component|dedupe_key`.
fn event_id(family: &str, platform_run_id: &str, scenario_run_id: &str, dedupe: &str) -> String {
    let text = format!("{family}|{platform_run_id}|{scenario_run_id}|{COMPONENT}|{dedupe}");
    const_hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn ids_are_the_references() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/golden/ready/cases.json"
        );
        let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut seen = 0;
        for case in cases.as_array().unwrap() {
            for fact in case["governance"].as_array().unwrap() {
                let text = |pointer: &str| fact.pointer(pointer).unwrap().as_str().unwrap();
                let message_id = text("/details/message_id");
                let family = text("/event_family");
                let engine_run_root = "";
                let written = match family {
                    "RUN_READY_SEEN" => None,
                    "RUN_STARTED" => Some(Fact::Started {
                        message_id,
                        engine_run_root,
                    }),
                    "RUN_ENDED" => Some(Fact::Ended {
                        message_id,
                        engine_run_root,
                        status: Status::Streamed,
                        reason: None,
                        emitted: 0,
                    }),
                    _ => Some(Fact::Cancelled {
                        message_id,
                        why: match text("/details/reason") {
                            "ENGINE_ROOT_MISSING" => Cancelled::EngineRootMissing,
                            _ => Cancelled::ScopeMismatch(""),
                        },
                    }),
                };
                let dedupe = match written {
                    Some(fact) => {
                        assert_eq!(fact.family(), family);
                        fact.dedupe_key()
                    }
                    None => format!("ready_seen:{message_id}"),
                };
                let id = event_id(
                    family,
                    text("/pins/platform_run_id"),
                    text("/pins/scenario_run_id"),
                    &dedupe,
                );
                assert_eq!(id, text("/event_id"));
                seen += 1;
            }
        }
        assert!(seen > 20);
    }
}
