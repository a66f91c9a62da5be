//! The bodies that pushes are answered with. The real IG's receipts have more fields than anyone
//! reads and are about 2 kB; ours carry enough of the event to be as long.

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::auth::Actor;
use super::books::Arrival;
use super::check::{Event, Refusal};
use crate::gate::Decision;
use crate::time::EventTime;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// One answer, before it is put into HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body's type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The header `Allow`.
    pub allow: Option<&'static str>,
}

impl Reply {
    /// A body of JSON.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Reply {
            status,
            content_type: JSON,
            body: body.into(),
            retry_after: None,
            allow: None,
        }
    }

    /// Lines of JSON.
    pub fn lines(body: Vec<u8>) -> Self {
        Reply {
            content_type: "application/x-ndjson",
            ..Reply::json(200, body)
        }
    }

    /// The metrics.
    pub fn metrics(text: String) -> Self {
        Reply {
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ..Reply::json(200, text)
        }
    }

    fn page(status: u16, title: &str, text: &str) -> Self {
        let body = format!(
            "<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n\
             <p>{text}</p>\n"
        );
        Reply {
            content_type: HTML,
            ..Reply::json(status, body)
        }
    }

    /// The body is no JSON.
    pub fn bad_request() -> Self {
        let text = "The browser (or proxy) sent a request that this server could not understand.";
        Reply::page(400, "Bad Request", text)
    }

    /// There is no such route.
    pub fn not_found() -> Self {
        Reply::page(404, "Not Found", "There is nothing at this URL.")
    }

    /// The route knows other methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Reply {
            allow: Some(allow),
            ..Reply::page(
                405,
                "Method Not Allowed",
                "This URL does not know the method.",
            )
        }
    }

    /// The body is longer than allowed.
    pub fn too_large() -> Self {
        Reply::page(
            413,
            "Request Entity Too Large",
            "The body is longer than this gate allows.",
        )
    }

    /// Neither a known key nor a valid token.
    pub fn unauthorized() -> Self {
        Reply::json(401, &br#"{"detail":null,"error":"UNAUTHORIZED"}"#[..])
    }

    /// Too many pushes.
    pub fn rate_limited(retry_after: Option<u64>) -> Self {
        Reply {
            retry_after,
            ..Reply::json(429, &br#"{"detail":null,"error":"RATE_LIMITED"}"#[..])
        }
    }

    /// What the real IG says when it crashes.
    pub fn internal_error() -> Self {
        Reply::json(500, &br#"{"error":"INTERNAL_ERROR"}"#[..])
    }

    /// A failing status from 500 on.
    pub fn failing(status: u16) -> Self {
        match status {
            500 => Reply::internal_error(),
            _ => Reply::json(status, &br#"{"error":"SERVICE_UNAVAILABLE"}"#[..]),
        }
    }
}

#[derive(Serialize)]
struct Taken<'a> {
    decision: Decision,
    receipt: Receipt<'a>,
    receipt_ref: String,
}

#[derive(Serialize)]
struct Receipt<'a> {
    receipt_id: &'a str,
    decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_codes: Option<[&'static str; 1]>,
    event_id: &'a str,
    event_type: &'a str,
    event_class: &'static str,
    dedupe_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hash: Option<PayloadHash>,
    actor: ReceiptActor<'a>,
    received_at_utc: Option<EventTime>,
    envelope: &'a Map<String, Value>,
    pins: Map<String, Value>,
    policy: Policy<'a>,
    partition: Partition<'a>,
    evidence_refs: Vec<Evidence>,
}

#[derive(Serialize)]
struct PayloadHash {
    algo: &'static str,
    hex: String,
}

#[derive(Serialize)]
struct ReceiptActor<'a> {
    actor_id: String,
    auth_mode: &'static str,
    principal: &'a str,
    source_type: &'static str,
}

#[derive(Serialize)]
struct Policy<'a> {
    policy_id: &'static str,
    schema: &'static str,
    schema_digest: &'a str,
    required_columns: &'static [&'static str],
}

#[derive(Serialize)]
struct Partition<'a> {
    profile: &'static str,
    topic: String,
    key: &'a str,
}

#[derive(Serialize)]
struct Evidence {
    kind: &'static str,
    r#ref: String,
}

/// Writes the answers of pushes that were taken.
#[derive(Debug)]
pub struct Receipts {
    schema_digest: String,
}

impl Receipts {
    /// For a gate that checks against this schema.
    pub fn new(schema: &str) -> Self {
        Receipts {
            schema_digest: const_hex::encode(Sha256::digest(schema)),
        }
    }

    /// The answer to an event that was decided upon.
    pub fn answer(
        &self,
        event: &Event,
        actor: &Actor,
        arrival: Arrival,
        decision: Decision,
        refusal: Option<Refusal>,
    ) -> Reply {
        let class = event.class();
        let run = &event.platform_run_id;
        let dedupe_key = hex_of(&[run, class, &event.event_id]);
        let receipt_id = &hex_of(&[word(decision), &event.event_id])[..32];
        // The real one names receipts of duplicates below another root than the others.
        let root = match decision {
            Decision::Duplicate => "fraud-platform",
            Decision::Admit | Decision::Quarantine => "runs/fraud-platform",
        };
        let pin = |name: &str| Some((name.to_string(), event.fields.get(name)?.clone()));
        let receipt = Receipt {
            receipt_id,
            decision,
            reason_codes: match decision {
                Decision::Duplicate => Some(["DUPLICATE"]),
                Decision::Admit | Decision::Quarantine => refusal.map(|code| [code.as_str()]),
            },
            event_id: &event.event_id,
            event_type: &event.event_type,
            event_class: class,
            dedupe_key: &dedupe_key,
            payload_hash: match (&event.verdict, decision) {
                (Ok(hash), Decision::Admit | Decision::Duplicate) => Some(PayloadHash {
                    algo: "sha256",
                    hex: const_hex::encode(hash),
                }),
                _ => None,
            },
            actor: ReceiptActor {
                actor_id: format!("SYSTEM::{}", actor.principal),
                auth_mode: actor.mode,
                principal: &actor.principal,
                source_type: "SYSTEM",
            },
            received_at_utc: EventTime::from_micros(arrival.wall_micros),
            envelope: &event.fields,
            pins: ["platform_run_id", "scenario_run_id", "scenario_id", "seed"]
                .into_iter()
                .filter_map(pin)
                .collect(),
            policy: Policy {
                policy_id: "dev-gate",
                schema: "envelope.schema.yaml",
                schema_digest: &self.schema_digest,
                required_columns: event.output.map_or(&[], |output| output.primary_key),
            },
            partition: Partition {
                profile: "dev-gate.by-event-id",
                topic: format!("fp.bus.{class}.v1"),
                key: &event.event_id,
            },
            evidence_refs: vec![Evidence {
                kind: "receipt",
                r#ref: format!("{root}/{run}/ig/receipts/{receipt_id}.json"),
            }],
        };
        let taken = Taken {
            decision,
            receipt_ref: format!("{root}/{run}/ig/receipts/{receipt_id}.json"),
            receipt,
        };
        let mut body = Vec::with_capacity(2560);
        match serde_json::to_writer(&mut body, &taken) {
            Ok(()) => Reply::json(200, body),
            // Texts, numbers and maps with text keys: there is nothing that JSON lacks.
            Err(_) => Reply::internal_error(),
        }
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Admit => "ADMIT",
        Decision::Duplicate => "DUPLICATE",
        Decision::Quarantine => "QUARANTINE",
    }
}

/// sha256 of the parts joined by colons, in hex.
fn hex_of(parts: &[&str]) -> String {
    const_hex::encode(Sha256::digest(parts.join(":")))
}
