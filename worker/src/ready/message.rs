//! What a message of the control bus is: READY, something for others, or nothing that can be read
//! (contracts section 8).

use serde::Deserialize;
use serde_json::Value;

use super::schema::Schemas;

/// A message, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// A run may begin.
    Ready(Box<Ready>),
    /// A message of another topic: not for us.
    OtherTopic(String),
    /// Not valid, and why, in one line.
    Invalid(Invalid),
}

/// A message that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Its id, if it has one that can be read.
    pub message_id: Option<String>,
    /// What was found and what was expected.
    pub why: String,
}

/// The payload of a READY message, as far as it decides anything. It holds against the schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// What repeats are recognised by, 64 hex.
    pub message_id: String,
    /// SR's run, 32 hex.
    pub run_id: String,
    /// The platform run.
    pub platform_run_id: Option<String>,
    /// What goes into every event, 32 hex.
    pub scenario_run_id: Option<String>,
    /// Where the run facts are.
    pub facts_view_ref: String,
    /// The world, if the message names one.
    pub oracle_pack_ref: Option<PackRef>,
}

/// A world as messages and facts name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct PackRef {
    /// The engine run root.
    pub engine_run_root: Option<String>,
}

impl Ready {
    /// The engine run root that the message names.
    pub fn engine_run_root(&self) -> Option<&str> {
        self.oracle_pack_ref.as_ref()?.engine_run_root.as_deref()
    }
}

/// Reads a message of the bus. What is for another topic is not looked at any further.
pub fn read(schemas: &Schemas, topic: &str, bytes: &[u8]) -> Read {
    let invalid = |message_id: Option<&str>, why: String| {
        Read::Invalid(Invalid {
            message_id: message_id.map(str::to_owned),
            why,
        })
    };
    let message: Value = match serde_json::from_slice(bytes) {
        Ok(message) => message,
        Err(error) => return invalid(None, format!("no JSON: {error}")),
    };
    let message_id = message["message_id"].as_str();
    if let Some(other) = message["topic"].as_str()
        && other != topic
    {
        return Read::OtherTopic(other.to_owned());
    }
    if let Err(why) = schemas.message.check(&message) {
        return invalid(message_id, why);
    }
    let payload = &message["payload"];
    if let Err(why) = schemas.signal.check(payload) {
        return invalid(message_id, format!("payload: {why}"));
    }
    let ready = match Ready::deserialize(payload) {
        Ok(ready) => ready,
        Err(error) => return invalid(message_id, format!("payload: {error}")),
    };
    if message_id != Some(ready.message_id.as_str()) {
        let found = message_id.unwrap_or_default();
        let why = format!(
            "message_id: found {found:?}, expected the payload's, {:?}",
            ready.message_id
        );
        return invalid(message_id, why);
    }
    Read::Ready(Box::new(ready))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use worldstream_crds::CONTROL_TOPIC;

    fn message() -> Value {
        let (a, b) = ("a".repeat(64), "b".repeat(32));
        json!({
            "topic": CONTROL_TOPIC, "message_id": a,
            "payload": {
                "run_id": b, "platform_run_id": "platform_20260101T000000Z",
                "scenario_run_id": b, "facts_view_ref": "x", "bundle_hash": a, "message_id": a,
                "run_config_digest": a, "manifest_fingerprint": a, "parameter_hash": a,
                "scenario_id": "baseline_v1",
            },
        })
    }

    fn read(change: impl FnOnce(&mut Value)) -> Read {
        let mut message = message();
        change(&mut message);
        let schemas = Schemas::new().unwrap();
        super::read(&schemas, CONTROL_TOPIC, message.to_string().as_bytes())
    }

    fn why(change: impl FnOnce(&mut Value)) -> String {
        match read(change) {
            Read::Invalid(invalid) => invalid.why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_may_have_more_around_its_payload_and_nothing_more_in_it() {
        let Read::Ready(ready) = read(|it| it["attributes"] = json!({"kind": "READY"})) else {
            panic!("it is valid")
        };
        assert_eq!(ready.message_id, "a".repeat(64));
        assert_eq!(ready.engine_run_root(), None);
        assert!(why(|it| it["payload"]["colour"] = json!("red")).contains("colour"));
    }

    #[test]
    fn another_topic_is_not_looked_at() {
        let other = read(|it| {
            it["topic"] = json!("fp.bus.other.v1");
            it["payload"] = json!(7);
        });
        assert_eq!(other, Read::OtherTopic("fp.bus.other.v1".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (change, expect) in [
            (json!({"topic": null}), "topic"),
            (json!({"message_id": 7}), "message_id"),
            (
                json!({"message_id": "c".repeat(64)}),
                "expected the payload's",
            ),
            (json!({"payload": []}), "payload"),
        ] {
            let why = why(|it| {
                for (name, value) in change.as_object().unwrap() {
                    it[name] = value.clone();
                }
            });
            assert!(why.contains(expect), "{why}");
        }
        let schemas = Schemas::new().unwrap();
        for bytes in [&b"{nope"[..], b"", b"\xff", b"[1]", b"null"] {
            let read = super::read(&schemas, CONTROL_TOPIC, bytes);
            assert!(matches!(read, Read::Invalid(_)), "{read:?}");
        }
    }
}
