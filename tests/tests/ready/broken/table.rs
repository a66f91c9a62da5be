//! Messages and facts that are broken, and what becomes of each.

use serde_json::{Value, json};

use crate::bed::{Message, WORLD};

/// What becomes of a message.
#[derive(Clone, Copy)]
pub enum Becomes {
    /// Passed over; its id, if any, cannot be relied on.
    Invalid,
    /// Passed over: for others.
    OtherTopic,
    /// Recorded as failed with this reason; the number of events is there or not.
    Failed(&'static str, Option<u64>),
    /// Recorded as skipped.
    Skipped,
}

use Becomes::*;

/// A change of a message or its facts.
pub type Change = fn(&mut Message);

fn payload(message: &mut Message) -> &mut Value {
    &mut message.message["payload"]
}

pub fn drop_field(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name).unwrap();
}

/// Bytes that are no message at all.
pub const BYTES: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("white space", b" \n"),
    ("no JSON", b"{nope"),
    ("null", b"null"),
    ("a list", b"[]"),
    ("a number", b"7"),
    ("a text", b"\"READY\""),
    ("no UTF-8", b"{\"topic\": \"\xff\xfe\"}"),
    ("two documents", b"{} {}"),
    ("an empty object", b"{}"),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    (
        "half of one",
        b"{\"topic\": \"fp.bus.control.v1\", \"message_id\": \"00",
    ),
];

pub const CHANGES: &[(&str, Becomes, &str, Change)] = &[
    // The envelope.
    ("no topic", Invalid, "topic", |it| {
        drop_field(&mut it.message, "topic")
    }),
    ("topic 7", Invalid, "topic", |it| {
        it.message["topic"] = json!(7)
    }),
    ("another topic", OtherTopic, "fp.bus.other", |it| {
        it.message["topic"] = json!("fp.bus.other.v1");
    }),
    ("the empty topic", OtherTopic, "", |it| {
        it.message["topic"] = json!("")
    }),
    ("no message id", Invalid, "message_id", |it| {
        drop_field(&mut it.message, "message_id");
    }),
    ("message id 7", Invalid, "message_id", |it| {
        it.message["message_id"] = json!(7)
    }),
    ("the empty message id", Invalid, "message_id", |it| {
        it.message["message_id"] = json!("");
    }),
    ("two message ids", Invalid, "expected the payload's", |it| {
        it.message["message_id"] = json!("f".repeat(64));
    }),
    ("no payload", Invalid, "payload", |it| {
        drop_field(&mut it.message, "payload")
    }),
    ("payload null", Invalid, "payload", |it| {
        it.message["payload"] = json!(null)
    }),
    ("payload a list", Invalid, "payload", |it| {
        it.message["payload"] = json!([])
    }),
    ("payload as text", Invalid, "payload", |it| {
        it.message["payload"] = json!(it.message["payload"].to_string());
    }),
    ("too large", Invalid, "at most", |it| {
        it.message["padding"] = json!("x".repeat(70_000));
    }),
    // The payload.
    ("a field too many", Invalid, "colour", |it| {
        payload(it)["colour"] = json!("red")
    }),
    ("no run_id", Invalid, "run_id", |it| {
        drop_field(payload(it), "run_id")
    }),
    ("no platform_run_id", Invalid, "platform_run_id", |it| {
        drop_field(payload(it), "platform_run_id");
    }),
    ("no scenario_run_id", Invalid, "scenario_run_id", |it| {
        drop_field(payload(it), "scenario_run_id");
    }),
    ("no facts_view_ref", Invalid, "facts_view_ref", |it| {
        drop_field(payload(it), "facts_view_ref");
    }),
    ("no bundle_hash", Invalid, "bundle_hash", |it| {
        drop_field(payload(it), "bundle_hash")
    }),
    ("no inner message_id", Invalid, "message_id", |it| {
        drop_field(payload(it), "message_id");
    }),
    ("no run_config_digest", Invalid, "run_config_digest", |it| {
        drop_field(payload(it), "run_config_digest");
    }),
    (
        "no manifest_fingerprint",
        Invalid,
        "manifest_fingerprint",
        |it| {
            drop_field(payload(it), "manifest_fingerprint");
        },
    ),
    ("no parameter_hash", Invalid, "parameter_hash", |it| {
        drop_field(payload(it), "parameter_hash");
    }),
    ("no scenario_id", Invalid, "scenario_id", |it| {
        drop_field(payload(it), "scenario_id")
    }),
    ("the empty scenario_id", Invalid, "scenario_id", |it| {
        payload(it)["scenario_id"] = json!("");
    }),
    ("a run_id in capitals", Invalid, "run_id", |it| {
        payload(it)["run_id"] = json!("AB".repeat(16));
    }),
    (
        "a platform_run_id of another form",
        Invalid,
        "platform_run_id",
        |it| {
            payload(it)["platform_run_id"] = json!("platform_20260101");
        },
    ),
    (
        "a scenario_run_id too short",
        Invalid,
        "scenario_run_id",
        |it| {
            payload(it)["scenario_run_id"] = json!("ab".repeat(15));
        },
    ),
    (
        "a scenario_run_id with a line end",
        Invalid,
        "scenario_run_id",
        |it| {
            payload(it)["scenario_run_id"] = json!(format!("{}\n", "ab".repeat(16)));
        },
    ),
    (
        "the empty facts_view_ref",
        Invalid,
        "facts_view_ref",
        |it| {
            payload(it)["facts_view_ref"] = json!("");
        },
    ),
    ("an empty pack", Invalid, "oracle_pack_ref", |it| {
        payload(it)["oracle_pack_ref"] = json!({});
    }),
    ("a pack with a field too many", Invalid, "latest", |it| {
        payload(it)["oracle_pack_ref"] = json!({"latest": true});
    }),
    ("half a provenance", Invalid, "provenance", |it| {
        payload(it)["provenance"] = json!({"service_release_id": "x"});
    }),
    ("a time that is a number", Invalid, "emitted_at_utc", |it| {
        payload(it)["emitted_at_utc"] = json!(7);
    }),
    // The facts.
    (
        "facts that are not there",
        Failed("RUN_FACTS_INVALID", None),
        "none.json",
        |it| {
            payload(it)["facts_view_ref"] = json!("none.json");
        },
    ),
    (
        "facts that are a folder",
        Failed("RUN_FACTS_INVALID", None),
        "no file",
        |it| {
            payload(it)["facts_view_ref"] = json!("fraud-platform");
        },
    ),
    (
        "facts that are a list",
        Failed("RUN_FACTS_INVALID", None),
        "",
        |it| {
            it.facts = json!([]);
        },
    ),
    (
        "facts that are a text",
        Failed("RUN_FACTS_INVALID", None),
        "",
        |it| {
            it.facts = json!("facts");
        },
    ),
    (
        "facts with a field too many",
        Failed("RUN_FACTS_INVALID", None),
        "colour",
        |it| {
            it.facts["colour"] = json!("red");
        },
    ),
    (
        "facts without pins",
        Failed("RUN_FACTS_INVALID", None),
        "pins",
        |it| {
            drop_field(&mut it.facts, "pins");
        },
    ),
    (
        "facts without a platform run",
        Failed("RUN_FACTS_INVALID", None),
        "platform",
        |it| {
            drop_field(&mut it.facts, "platform_run_id");
        },
    ),
    (
        "facts without a scenario",
        Failed("RUN_FACTS_INVALID", None),
        "scenario_id",
        |it| {
            drop_field(&mut it.facts["pins"], "scenario_id");
        },
    ),
    (
        "a seed that is a text",
        Failed("RUN_FACTS_INVALID", None),
        "seed",
        |it| {
            it.facts["pins"]["seed"] = json!("7");
        },
    ),
    (
        "a negative seed",
        Failed("RUN_FACTS_INVALID", None),
        "seed",
        |it| {
            it.facts["pins"]["seed"] = json!(-7);
        },
    ),
    (
        "a seed that is a fraction",
        Failed("RUN_FACTS_INVALID", None),
        "seed",
        |it| {
            it.facts["pins"]["seed"] = json!(7.5);
        },
    ),
    (
        "a gate that may have passed",
        Failed("RUN_FACTS_INVALID", None),
        "MAYBE",
        |it| {
            it.facts["gate_receipts"][0]["status"] = json!("MAYBE");
        },
    ),
    (
        "a locator without a path",
        Failed("RUN_FACTS_INVALID", None),
        "path",
        |it| {
            drop_field(&mut it.facts["locators"][0], "path");
        },
    ),
    (
        "a digest of another kind",
        Failed("RUN_FACTS_INVALID", None),
        "md5",
        |it| {
            it.facts["gate_receipts"][0]["digest"] = json!({"algo": "md5", "hex": "0".repeat(64)});
        },
    ),
    (
        "no status_ref",
        Failed("RUN_FACTS_INVALID", None),
        "status_ref",
        |it| {
            drop_field(&mut it.facts, "status_ref");
        },
    ),
    // Facts outside of the allowed roots.
    (
        "facts above the store",
        Failed("RUN_FACTS_INVALID", None),
        "..",
        |it| {
            payload(it)["facts_view_ref"] = json!("../outside.json");
        },
    ),
    (
        "facts around a corner",
        Failed("RUN_FACTS_INVALID", None),
        "..",
        |it| {
            payload(it)["facts_view_ref"] = json!("fraud-platform/../../outside.json");
        },
    ),
    (
        "facts in percent forms",
        Failed("RUN_FACTS_INVALID", None),
        "%2e",
        |it| {
            payload(it)["facts_view_ref"] = json!("%2e%2e/outside.json");
        },
    ),
    (
        "facts in doubled percent forms",
        Failed("RUN_FACTS_INVALID", None),
        "%25",
        |it| {
            payload(it)["facts_view_ref"] = json!("%252e%252e%252foutside.json");
        },
    ),
    (
        "facts behind a link",
        Failed("RUN_FACTS_INVALID", None),
        "outside",
        |it| {
            payload(it)["facts_view_ref"] = json!("link.json");
        },
    ),
    (
        "facts behind a folder's link",
        Failed("RUN_FACTS_INVALID", None),
        "outside",
        |it| {
            payload(it)["facts_view_ref"] = json!("up/outside.json");
        },
    ),
    (
        "a file of the system",
        Failed("RUN_FACTS_INVALID", None),
        "outside",
        |it| {
            payload(it)["facts_view_ref"] = json!("/etc/passwd");
        },
    ),
    (
        "a device",
        Failed("RUN_FACTS_INVALID", None),
        "outside",
        |it| {
            payload(it)["facts_view_ref"] = json!("/dev/zero");
        },
    ),
    (
        "a bucket of others",
        Failed("RUN_FACTS_INVALID", None),
        "outside",
        |it| {
            payload(it)["facts_view_ref"] = json!("s3://elsewhere/facts.json");
        },
    ),
    // Message and facts together.
    (
        "two platform runs",
        Failed("PLATFORM_RUN_ID_MISMATCH", None),
        "",
        |it| {
            it.facts["platform_run_id"] = json!("platform_20260202T000000Z");
        },
    ),
    (
        "two scenario runs",
        Failed("SCENARIO_RUN_ID_MISMATCH", None),
        "",
        |it| {
            it.facts["scenario_run_id"] = json!("cd".repeat(16));
        },
    ),
    ("another platform run", Skipped, "", |it| {
        payload(it)["platform_run_id"] = json!("platform_20260202T000000Z");
        it.facts["platform_run_id"] = json!("platform_20260202T000000Z");
    }),
    ("no world", Failed("ENGINE_ROOT_MISSING", None), "", |it| {
        drop_field(&mut it.facts, "oracle_pack_ref");
    }),
    (
        "a pack without a root",
        Failed("ENGINE_ROOT_MISSING", None),
        "",
        |it| {
            it.facts["oracle_pack_ref"] = json!({"scenario_id": "baseline_v1"});
        },
    ),
    (
        "a world that is nowhere",
        Failed("RUN_RECEIPT_UNREADABLE", Some(0)),
        "",
        |it| {
            payload(it)["oracle_pack_ref"] = json!({"engine_run_root": format!("{WORLD}-x")});
        },
    ),
    (
        "a world that is not allowed",
        Failed("ROOT_NOT_ALLOWED", Some(0)),
        "",
        |it| {
            payload(it)["oracle_pack_ref"] = json!({"engine_run_root": "/somewhere"});
        },
    ),
    (
        "the scenario of another world",
        Failed("WORLD_KEY_MISMATCH", Some(0)),
        "",
        |it| {
            it.facts["pins"]["scenario_id"] = json!("other_v1");
        },
    ),
];
