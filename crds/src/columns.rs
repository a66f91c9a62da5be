//! The columns that `kubectl get` prints; those of `wide` come with `-o wide` alone.

use serde_json::{Value, json};

/// The columns of a kind, in their order.
pub fn columns(kind: &str) -> Value {
    let columns = match kind {
        "StreamProfile" => PROFILE,
        "WorldStream" => STREAM,
        "StreamClock" => CLOCK,
        "StreamCheckpoint" => CHECKPOINT,
        "ReadyTrigger" => TRIGGER,
        _ => &[],
    };
    columns.iter().map(Column::value).collect()
}

struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    meaning: &'static str,
    wide: bool,
}

impl Column {
    fn value(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "type": self.kind,
            "jsonPath": self.path,
            "description": self.meaning,
        });
        if self.wide {
            value["priority"] = json!(1);
        }
        value
    }
}

const fn column(
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    meaning: &'static str,
) -> Column {
    Column {
        name,
        kind,
        path,
        meaning,
        wide: false,
    }
}

const fn wide(
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    meaning: &'static str,
) -> Column {
    Column {
        wide: true,
        ..column(name, kind, path, meaning)
    }
}

/// How long ago it was made.
const AGE: Column = column(
    "Age",
    "date",
    ".metadata.creationTimestamp",
    "How long ago it was made",
);

/// Why it is ready, or why not.
const REASON: Column = wide(
    "Reason",
    "string",
    r#".status.conditions[?(@.type=="Ready")].reason"#,
    "Why it is ready, or why not",
);

const PROFILE: &[Column] = &[
    column(
        "Gate",
        "string",
        ".spec.gate.url",
        "The URL of the Ingestion Gate",
    ),
    column(
        "Gates",
        "string",
        ".spec.require.gates",
        "How a world's gates are checked",
    ),
    column(
        "Seal",
        "boolean",
        ".spec.require.seal",
        "Whether a world must be sealed",
    ),
    column(
        "Speed",
        "number",
        ".spec.defaults.speedup",
        "Event seconds a wall-clock second of streams that do not say",
    ),
    AGE,
    wide(
        "Oracle root",
        "string",
        ".spec.world.oracleRoot",
        "What relative run roots are joined to",
    ),
    wide("Producer", "string", ".spec.producer.id", "Who pushes"),
    wide(
        "Image",
        "string",
        ".spec.worker.image",
        "The worker's image, where the profile names one",
    ),
];

const STREAM: &[Column] = &[
    column(
        "Phase",
        "string",
        ".status.phase",
        "What the stream is doing",
    ),
    column(
        "World",
        "string",
        ".spec.engineRunRoot",
        "The engine run root",
    ),
    column(
        "Speed",
        "number",
        ".status.speedup",
        "Event seconds a wall-clock second; 0 is no waiting",
    ),
    column(
        "Event time",
        "string",
        ".status.eventTime",
        "The event time that all outputs have reached",
    ),
    column(
        "Percent",
        "integer",
        ".status.percent",
        "Rows that the gate has taken, of all rows",
    ),
    column(
        "Lag",
        "string",
        ".status.lag",
        "How far the latest output is behind the clock, in wall time",
    ),
    AGE,
    REASON,
    wide(
        "Scenario",
        "string",
        ".status.world.scenario",
        "The scenario that is replayed",
    ),
    wide(
        "Platform run",
        "string",
        ".status.platformRunId",
        "The platform run that the events belong to",
    ),
    wide(
        "Scenario run",
        "string",
        ".status.scenarioRunId",
        "The Scenario Runner's run id",
    ),
    wide(
        "Outputs",
        "string",
        ".status.outputsFinished",
        "Outputs that are finished, of all",
    ),
];

const CLOCK: &[Column] = &[
    column(
        "Revision",
        "integer",
        ".spec.revision",
        "The newest revision; 0 before the start",
    ),
    column("Mode", "string", ".spec.mode", "What the clock is doing"),
    column(
        "Speed",
        "number",
        ".spec.speedup",
        "Event seconds a wall-clock second; 0 is no waiting",
    ),
    column(
        "Effective at",
        "string",
        ".spec.effectiveAt",
        "From when the newest revision counts, wall clock",
    ),
    AGE,
    wide(
        "Event epoch",
        "string",
        ".spec.eventEpoch",
        "The event time that is due at the wall epoch",
    ),
    wide(
        "Wall epoch",
        "string",
        ".spec.wallEpoch",
        "When the event epoch is due, wall clock",
    ),
    wide(
        "Held at",
        "string",
        ".spec.heldAt",
        "The event time at which the clock stands",
    ),
];

const CHECKPOINT: &[Column] = &[
    column("Stream", "string", ".spec.stream", "The WorldStream"),
    column("Output", "string", ".spec.output", "The output's id"),
    column("Lane", "integer", ".spec.lane", "The lane, from 0"),
    column(
        "State",
        "string",
        ".status.state",
        "What its worker is doing",
    ),
    column(
        "Event time",
        "string",
        ".status.cursor.lastTsUtc",
        "The event time of the last event that the gate has taken",
    ),
    column(
        "Rows",
        "integer",
        ".status.plan.rows",
        "Rows of the output, before lanes",
    ),
    column(
        "Taken",
        "integer",
        ".status.counts.rows",
        "Events that the gate has taken",
    ),
    column(
        "Lag",
        "string",
        ".status.lag",
        "How far it is behind the clock, in wall time",
    ),
    AGE,
    wide(
        "Quarantined",
        "integer",
        ".status.counts.quarantined",
        "Events that the gate put aside",
    ),
    wide(
        "Retried",
        "integer",
        ".status.counts.retried",
        "Attempts beyond the first",
    ),
    wide(
        "Attempt",
        "string",
        ".spec.attempt",
        "The attempt; empty is the first",
    ),
    wide(
        "Holder",
        "string",
        ".status.holder",
        "The pod that holds it",
    ),
    wide(
        "Epoch",
        "integer",
        ".status.epoch",
        "How often it was taken",
    ),
];

const TRIGGER: &[Column] = &[
    column(
        "Ready",
        "string",
        r#".status.conditions[?(@.type=="Ready")].status"#,
        "Whether it follows its bus",
    ),
    column("Bus", "string", ".status.bus", "The bus that is followed"),
    column(
        "Scope",
        "string",
        ".status.scope",
        "The platform run that is the active one",
    ),
    column("Active", "integer", ".status.active", "Streams that run"),
    column(
        "Seen",
        "integer",
        ".status.counts.seen",
        "Messages that were read, repeats included",
    ),
    column(
        "Started",
        "integer",
        ".status.counts.started",
        "Messages for which a WorldStream was made or resumed",
    ),
    column(
        "Deferred",
        "integer",
        ".status.waiting",
        "Messages that wait for their downstream now",
    ),
    column(
        "Failed",
        "integer",
        ".status.counts.failed",
        "Messages that failed",
    ),
    column(
        "Newest",
        "date",
        ".status.newest.publishedAt",
        "How long ago the newest message came to the bus",
    ),
    AGE,
    REASON,
    wide(
        "Profile",
        "string",
        ".spec.profile",
        "The profile of its streams",
    ),
    wide("Suspend", "boolean", ".spec.suspend", "Takes no messages"),
    wide(
        "Skipped",
        "integer",
        ".status.counts.skipped",
        "Messages of another run, and repeats",
    ),
    wide(
        "Invalid",
        "integer",
        ".status.counts.invalid",
        "What was no valid message",
    ),
    wide(
        "Last",
        "string",
        ".status.last[0].worldStream",
        "The newest message's WorldStream",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crds;

    /// Whether a schema has the field that a simple path names.
    fn leads_somewhere(schema: &Value, path: &str) -> bool {
        let mut at = schema;
        // A filter, `[?(@.type=="Ready")]`, has a dot of its own.
        let plain = path.replace("@.", "");
        for name in plain.trim_start_matches('.').split('.') {
            let name = name.split('[').next().unwrap_or_default();
            at = &at["properties"][name];
            if at.get("items").is_some() {
                at = &at["items"];
            }
        }
        at.is_object()
    }

    #[test]
    fn columns_lead_to_fields_of_their_type() {
        for crd in crds() {
            let kind = &crd.spec.names.kind;
            let version = serde_json::to_value(&crd.spec.versions[0]).unwrap();
            let schema = &version["schema"]["openAPIV3Schema"];
            let columns = columns(kind);
            let columns = columns.as_array().unwrap();
            assert!(columns.len() > 4, "{kind}");
            for column in columns {
                let path = column["jsonPath"].as_str().unwrap();
                let known = path.starts_with(".metadata") || leads_somewhere(schema, path);
                assert!(known, "{kind}: {path}");
            }
        }
    }
}
