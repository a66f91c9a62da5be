//! A control bus that is none. What READY messages are refused with is in [`crate::validate::ready`].

use serde_json::{Value, json};
use worldstream_crds::plan::{Documents, ready};

use super::setup::{Seen, Setup};
use super::{Provocation, before};
use crate::failure::{Failure, Result};
use crate::plan::FileSystem;

pub const ALL: &[Provocation] = &[
    before(
        "CONTROL_BUS_KIND_UNSUPPORTED",
        "the bus is neither a folder nor Kinesis",
        |it| bus(it, json!({"topic": "fp.bus.control.v1"})),
    ),
    before(
        "CONTROL_BUS_STREAM_MISSING",
        "the bus is Kinesis, and no stream is named",
        |it| bus(it, json!({"kinesis": {"region": "us-east-1"}})),
    ),
];

fn bus(it: &Setup, bus: Value) -> Result<Seen> {
    let trigger = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "ReadyTrigger",
        "metadata": {"name": "validation"},
        "spec": {"profile": "local", "bus": bus, "store": {"root": it.dir}},
    });
    let usage = |error: worldstream_crds::plan::UsageError| {
        Failure::new(worldstream_crds::Reason::StreamFailed, error.to_string())
    };
    let mut documents = Documents::default();
    let added = documents.add("trigger.yaml", &trigger.to_string());
    added.map_err(usage)?;
    Ok(match ready::resolve(&documents, None, &FileSystem) {
        Ok(_) => Seen::with(None, 0),
        Err(error) => Seen::planned(error),
    })
}
