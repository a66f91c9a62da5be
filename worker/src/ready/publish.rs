//! Makes READY messages with their run facts, as the Scenario Runner does: for tests, and by hand.

use bytes::Bytes;
use serde_json::{Value, json};
use worldstream_crds::Reason;

use super::place::Place;
use super::schema::Schemas;
use crate::bus;
use crate::failure::{Failure, Result};
use crate::plan::ready::BusPlan;
use crate::time::EventTime;
use crate::world::WorldKey;
use crate::world::identity::sha256_hex;

/// A run that is to be announced.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The platform run.
    pub platform_run_id: String,
    /// SR's scenario run; none: made of the platform run, the root and the scenario.
    pub scenario_run_id: Option<String>,
    /// SR's run; none: the scenario run's id.
    pub run_id: Option<String>,
    /// The message's id; none: made of what it says, so that the same message is a repeat.
    pub message_id: Option<String>,
    /// The engine run root.
    pub engine_run_root: String,
    /// The world key of what lies there.
    pub key: WorldKey,
    /// The outputs that are traffic.
    pub outputs: Vec<String>,
}

/// A message and its facts, both valid.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The message's id.
    pub message_id: String,
    /// SR's run.
    pub run_id: String,
    /// The scenario run.
    pub scenario_run_id: String,
    /// Where the facts go, below the object store's root.
    pub facts_view_ref: String,
    /// The run facts.
    pub facts: Value,
    /// The message.
    pub message: Value,
}

/// Makes a message and its facts; writes nothing.
///
/// # Errors
/// `STREAM_FAILED` where an id is none: what is made holds against the schemas.
pub fn make(place: &Place, topic: &str, run: &Announcement) -> Result<Ready> {
    let WorldKey {
        manifest_fingerprint,
        parameter_hash,
        scenario_id,
        seed,
    } = &run.key;
    let (platform, root) = (&run.platform_run_id, &run.engine_run_root);
    let scenario_run_id = run.scenario_run_id.clone().unwrap_or_else(|| {
        let mut id = sha256_hex(format!("{platform}|{root}|{scenario_id}"));
        id.truncate(32);
        id
    });
    let run_id = run
        .run_id
        .clone()
        .unwrap_or_else(|| scenario_run_id.clone());
    let config = sha256_hex(format!("worldstream ready publish|{root}|{scenario_id}"));
    let locator = |id: &String| {
        let path = format!("stream_view/ts_utc/output_id={id}");
        json!({"output_id": id, "path": path})
    };
    let mut facts = json!({
        "run_id": run_id,
        "platform_run_id": platform,
        "scenario_run_id": scenario_run_id,
        "pins": {
            "manifest_fingerprint": manifest_fingerprint,
            "parameter_hash": parameter_hash,
            "seed": seed,
            "scenario_id": scenario_id,
            "run_id": run_id,
            "platform_run_id": platform,
            "scenario_run_id": scenario_run_id,
        },
        "locators": run.outputs.iter().map(locator).collect::<Vec<_>>(),
        "gate_receipts": [],
        "policy_rev": {
            "policy_id": "worldstream_ready_publish",
            "revision": "v1",
            "content_digest": config,
        },
        "plan_ref": format!("sr/run_plan/{run_id}.json"),
        "record_ref": format!("sr/run_record/{run_id}.jsonl"),
        "status_ref": format!("sr/run_status/{run_id}.json"),
        "run_config_digest": config,
        "oracle_pack_ref": {"engine_run_root": root, "scenario_id": scenario_id},
    });
    let bundle_hash = sha256_hex(facts.to_string());
    facts["bundle_hash"] = json!(bundle_hash);
    let message_id = run
        .message_id
        .clone()
        .unwrap_or_else(|| sha256_hex(format!("ready|{platform}|{scenario_run_id}|{bundle_hash}")));
    let prefix = place.prefix(platform);
    let facts_view_ref = format!("{prefix}/sr/run_facts_view/{message_id}.json");
    let now = EventTime::wall_now();
    let message = json!({
        "topic": topic,
        "message_id": message_id,
        "partition_key": scenario_run_id,
        "published_at_utc": now,
        "attributes": {"kind": "READY"},
        "payload": {
            "run_id": run_id,
            "platform_run_id": platform,
            "scenario_run_id": scenario_run_id,
            "facts_view_ref": facts_view_ref,
            "bundle_hash": bundle_hash,
            "message_id": message_id,
            "run_config_digest": config,
            "manifest_fingerprint": manifest_fingerprint,
            "parameter_hash": parameter_hash,
            "scenario_id": scenario_id,
            "oracle_pack_ref": {"engine_run_root": root, "scenario_id": scenario_id},
            "emitted_at_utc": now,
        },
    });
    let schemas = Schemas::new()?;
    let bad = |what: &'static str| {
        move |why: String| Failure::new(Reason::StreamFailed, what).detail(why)
    };
    schemas.facts.check(&facts).map_err(bad("the run facts"))?;
    schemas
        .message
        .check(&message)
        .map_err(bad("the message"))?;
    let payload = &message["payload"];
    schemas.signal.check(payload).map_err(bad("the message"))?;
    Ok(Ready {
        message_id,
        run_id,
        scenario_run_id,
        facts_view_ref,
        facts,
        message,
    })
}

/// Writes the facts into the object store, and then the message to the bus.
///
/// # Errors
/// `STREAM_FAILED` where either cannot be written, and as [`bus::publish`].
pub async fn publish(place: &Place, plan: &BusPlan, ready: &Ready) -> Result<bus::Place> {
    let facts = pretty(&ready.facts);
    let root = place.root();
    root.replace(&ready.facts_view_ref, facts.as_bytes(), |_| false)
        .await?;
    let message = Bytes::from(pretty(&ready.message));
    bus::publish(plan, message, &ready.scenario_run_id).await
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::S3Plan;
    use crate::ready::message::{self, Read};
    use worldstream_crds::CONTROL_TOPIC;

    #[test]
    fn a_message_is_valid_and_the_same_each_time() {
        let place = Place::open("/store", &S3Plan::default()).unwrap();
        let run = Announcement {
            platform_run_id: "platform_20260101T000000Z".into(),
            scenario_run_id: None,
            run_id: None,
            message_id: None,
            engine_run_root: "s3://oracle-store/runs/world-a".into(),
            key: WorldKey {
                manifest_fingerprint: "a".repeat(64),
                parameter_hash: "b".repeat(64),
                scenario_id: "baseline_v1".into(),
                seed: u64::MAX,
            },
            outputs: vec!["x".into()],
        };
        let made = make(&place, CONTROL_TOPIC, &run).unwrap();
        let schemas = Schemas::new().unwrap();
        let bytes = made.message.to_string();
        let Read::Ready(ready) = message::read(&schemas, CONTROL_TOPIC, bytes.as_bytes()) else {
            panic!("{bytes}")
        };
        assert_eq!(ready.facts_view_ref, made.facts_view_ref);
        assert!(
            made.facts_view_ref
                .starts_with("fraud-platform/platform_2026")
        );
        let again = make(&place, CONTROL_TOPIC, &run).unwrap();
        assert_eq!(made.message_id, again.message_id);
        let bad = Announcement {
            message_id: Some("7".into()),
            ..run
        };
        assert!(make(&place, CONTROL_TOPIC, &bad).is_err());
    }
}
