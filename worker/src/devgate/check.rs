//! What the gate makes of the bytes of a push: an event that may be admitted, an event that is
//! put aside and why, or nothing that it can read (contracts sections 4 and 5).

use hyper::body::Bytes;
use jsonschema::Validator;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::canonical::{self, Members};
use super::outputs::{self, Output, UNKNOWN_CLASS};
use crate::failure::{Failure, Result};

/// The schema of the envelope, as text.
pub const ENVELOPE_SCHEMA: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../config/schemas/canonical_event_envelope.schema.yaml"
));

/// What every class of events must carry, beyond what the schema requires.
const PINS: &[&str] = &[
    "platform_run_id",
    "scenario_run_id",
    "manifest_fingerprint",
    "parameter_hash",
    "seed",
    "scenario_id",
];

/// Why an event is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The envelope does not hold against its schema.
    EnvelopeInvalid,
    /// A field that says which world or run the event belongs to is absent.
    PinsMissing,
    /// No policy knows the event type.
    SchemaPolicyMissing,
    /// The payload lacks a column of the primary key.
    SchemaFail,
    /// The event id was admitted before with another payload.
    PayloadHashMismatch,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: &'static [Refusal] = &[
        Refusal::EnvelopeInvalid,
        Refusal::PinsMissing,
        Refusal::SchemaPolicyMissing,
        Refusal::SchemaFail,
        Refusal::PayloadHashMismatch,
    ];

    /// The reason code in a receipt.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::EnvelopeInvalid => "ENVELOPE_INVALID",
            Refusal::PinsMissing => "PINS_MISSING",
            Refusal::SchemaPolicyMissing => "SCHEMA_POLICY_MISSING",
            Refusal::SchemaFail => "SCHEMA_FAIL",
            Refusal::PayloadHashMismatch => "PAYLOAD_HASH_MISMATCH",
        }
    }
}

/// What a push's bytes are.
#[derive(Debug)]
pub enum Push {
    /// No JSON: a 400.
    Unreadable,
    /// JSON that the real IG crashes on: a 500, again and again.
    Crash,
    /// An envelope, good or bad.
    Event(Event),
}

/// An envelope, read and judged by itself: whether it is a repeat is not known here.
#[derive(Debug)]
pub struct Event {
    /// The envelope without its payload.
    pub fields: Map<String, Value>,
    /// Its id; empty if absent.
    pub event_id: String,
    /// Its type; empty if absent.
    pub event_type: String,
    /// The platform run that it is sent for, never empty.
    pub platform_run_id: String,
    /// The policy of its type.
    pub output: Option<&'static Output>,
    /// The payload's hash, or why it is put aside.
    pub verdict: Result<[u8; 32], Refusal>,
}

impl Event {
    /// The class of its type.
    pub fn class(&self) -> &'static str {
        self.output.map_or(UNKNOWN_CLASS, |output| output.class)
    }

    /// What repeats are recognised by: platform run, type and event id, hashed so that an event
    /// costs 16 bytes whatever its ids are.
    pub fn identity(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        for part in [&self.platform_run_id, &self.event_type, &self.event_id] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        first_half(&hash.finalize().into())
    }
}

/// The first 16 of 32 bytes.
pub fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// Judges envelopes.
#[derive(Debug)]
pub struct Checker {
    schema: Validator,
}

impl Checker {
    /// Compiles the envelope's schema.
    ///
    /// Errors: the schema in the binary is no schema.
    pub fn new() -> Result<Self> {
        let object = "built-in:schemas/canonical_event_envelope.schema.yaml";
        let schema: Value = serde_saphyr::from_str(ENVELOPE_SCHEMA)
            .map_err(|error| Failure::new(Reason::StreamFailed, object).cause(&error))?;
        let schema = jsonschema::validator_for(&schema).map_err(|error| {
            Failure::new(Reason::StreamFailed, object).detail(error.to_string())
        })?;
        Ok(Checker { schema })
    }

    /// Judges a push.
    pub fn examine(&self, body: &Bytes) -> Push {
        let Ok(text) = std::str::from_utf8(body) else {
            return Push::Unreadable;
        };
        if !text.trim_ascii_start().starts_with('{') {
            return match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => Push::Crash,
                Err(_) => Push::Unreadable,
            };
        }
        self.envelope(text).unwrap_or(Push::Unreadable)
    }

    fn envelope(&self, text: &str) -> Result<Push, serde_json::Error> {
        let mut members: Members<'_> = serde_json::from_str(text)?;
        let payload = members.remove("payload");
        let payload: Option<Option<Members<'_>>> = match payload.map(|raw| raw.get()) {
            None => None,
            Some(raw) if raw.starts_with('{') => Some(Some(serde_json::from_str(raw)?)),
            Some(_) => Some(None),
        };
        let mut fields = Map::new();
        for (name, raw) in members {
            fields.insert(name, serde_json::from_str(raw.get())?);
        }
        let text_of = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let platform_run_id = text_of("platform_run_id");
        if platform_run_id.is_empty() {
            return Ok(Push::Crash);
        }
        let event_type = text_of("event_type");
        let event_id = text_of("event_id");
        let output = outputs::find(&event_type);
        let (fields, valid) = self.holds(fields, payload.as_ref().map(Option::is_some));
        let verdict = if !valid {
            Err(Refusal::EnvelopeInvalid)
        } else if PINS.iter().any(|pin| !fields.contains_key(*pin)) {
            Err(Refusal::PinsMissing)
        } else {
            match (output, payload.flatten()) {
                (None, _) => Err(Refusal::SchemaPolicyMissing),
                (Some(output), Some(payload)) if has_key(&payload, output) => {
                    let version = fields.get("schema_version").and_then(Value::as_str);
                    Ok(payload_hash(&event_type, &payload, version)?)
                }
                _ => Err(Refusal::SchemaFail),
            }
        };
        Ok(Push::Event(Event {
            fields,
            event_id,
            event_type,
            platform_run_id,
            output,
            verdict,
        }))
    }

    /// Whether the envelope holds against the schema, which asks of the payload only whether it
    /// is an object (none: it is absent).
    fn holds(
        &self,
        mut fields: Map<String, Value>,
        payload_is_object: Option<bool>,
    ) -> (Map<String, Value>, bool) {
        match payload_is_object {
            None => {}
            Some(true) => drop(fields.insert("payload".into(), Value::Object(Map::new()))),
            Some(false) => drop(fields.insert("payload".into(), Value::Null)),
        }
        let value = Value::Object(fields);
        let valid = self.schema.is_valid(&value);
        let mut fields = match value {
            Value::Object(fields) => fields,
            // It was made an object above.
            _ => Map::new(),
        };
        fields.shift_remove("payload");
        (fields, valid)
    }
}

fn has_key(payload: &Members<'_>, output: &Output) -> bool {
    output
        .primary_key
        .iter()
        .all(|column| payload.get(*column).is_some_and(|raw| raw.get() != "null"))
}

/// sha256 over the canonical text of event type, payload and schema version (`null` if absent).
fn payload_hash(
    event_type: &str,
    payload: &Members<'_>,
    schema_version: Option<&str>,
) -> Result<[u8; 32], serde_json::Error> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(br#"{"event_type":"#);
    canonical::write_string(event_type, &mut text);
    text.extend_from_slice(br#","payload":"#);
    canonical::write_members(payload, &mut text)?;
    text.extend_from_slice(br#","schema_version":"#);
    match schema_version {
        Some(version) => canonical::write_string(version, &mut text),
        None => text.extend_from_slice(b"null"),
    }
    text.push(b'}');
    Ok(Sha256::digest(&text).into())
}
