//! A gate that refuses, is away, puts aside or is slow, and rows that no event can be made of.

use std::sync::Arc;

use arrow_array::{Int64Array, StringArray};
use serde_json::json;

use super::setup::{Columns, Seen, Setup};
use super::{Provocation, before, behind};
use crate::devgate::{self, FaultSpec};
use crate::failure::{Failure, Result};
use worldstream_crds::Reason;

const FIRST: &str = "part-000000.parquet";

pub const ALL: &[Provocation] = &[
    behind(
        "IG_PUSH_REJECTED",
        "the gate lets in nobody without a key",
        |it| {
            let keys = it.dir.join("keys");
            it.write(&keys, "the-only-key\n")?;
            it.gate.api_keys = Some(keys);
            it.traffic_only();
            it.stream()
        },
    ),
    behind(
        "IG_PUSH_RETRY_EXHAUSTED",
        "the gate answers 503, for as long as it is tried",
        |it| {
            it.gate.faults = vec![fault("5xx")?];
            it.traffic_only();
            it.stream()
        },
    ),
    behind(
        "IG_QUARANTINE_LIMIT",
        "events come again with other payloads",
        quarantined,
    ),
    behind(
        "LAG_LIMIT",
        "the gate takes longer than the clock gives",
        |it| {
            it.gate.faults = vec![fault("latency=100ms")?];
            it.traffic_only();
            it.set("defaults/speedup", json!(8_640_000));
            it.set("defaults/overload", json!("Fail"));
            it.set("defaults/maxLag", json!("20ms"));
            it.stream()
        },
    ),
    before(
        "STREAM_VIEW_PAYLOAD_MISSING",
        "the first row's payload_json is null",
        |it| {
            it.traffic_only();
            it.rewrite(FIRST, |columns| {
                let rows = rows(columns);
                let texts = (0..rows).map(|row| (row > 0).then_some("{}"));
                columns.push((
                    "payload_json".into(),
                    Arc::new(StringArray::from_iter(texts)),
                ));
            })?;
            it.stream()
        },
    ),
    before("STREAM_FAILED", "the first row's time is no time", |it| {
        it.traffic_only();
        it.rewrite(FIRST, |columns| {
            let rows = rows(columns);
            let texts = StringArray::from_iter_values((0..rows).map(|_| "yesterday"));
            for (name, column) in columns {
                if name == "ts_utc" {
                    *column = Arc::new(texts.clone());
                }
            }
        })?;
        it.stream()
    }),
];

fn rows(columns: &Columns) -> usize {
    columns.first().map_or(0, |(_, column)| column.len())
}

fn fault(text: &str) -> Result<FaultSpec> {
    text.parse().map_err(|error: String| {
        Failure::new(Reason::StreamFailed, format!("fault {text}")).detail(error)
    })
}

/// The same events once more, as a new attempt, each with a column that it did not have.
fn quarantined(it: &mut Setup) -> Result<Seen> {
    it.traffic_only();
    let gate = devgate::spawn(it.gate.clone())?;
    let first = it.stream_to(&gate)?;
    if first.code.is_some() || first.pushed == 0 {
        return Ok(first);
    }
    for part in [FIRST, "part-000001.parquet"] {
        it.rewrite(part, |columns| {
            let numbers = Int64Array::from_iter_values(0..rows(columns) as i64);
            columns.push(("added".into(), Arc::new(numbers)));
        })?;
    }
    it.set("gate/quarantine", json!({"policy": "Stop", "maxCount": 3}));
    it.flags.attempt = Some("again".into());
    let seen = it.stream_to(&gate);
    gate.stop();
    seen
}
