//! What the gate knows of each output: its class and the columns that a payload must have.

/// One output that the gate has a policy for.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// The output id, which is the event type.
    pub id: &'static str,
    /// The class that repeats are recognised within and receipts name.
    pub class: &'static str,
    /// Columns of the primary key (contracts section 2).
    pub primary_key: &'static [&'static str],
}

/// The class of an event type that no policy knows.
pub const UNKNOWN_CLASS: &str = "traffic";

const EVENT_KEY: &[&str] = &[
    "seed",
    "manifest_fingerprint",
    "scenario_id",
    "flow_id",
    "event_seq",
];
const ARRIVAL_KEY: &[&str] = &[
    "seed",
    "manifest_fingerprint",
    "scenario_id",
    "merchant_id",
    "arrival_seq",
];
const FLOW_KEY: &[&str] = &["seed", "manifest_fingerprint", "scenario_id", "flow_id"];

/// Every output that is ever streamed (contracts section 2).
pub const OUTPUTS: &[Output] = &[
    Output {
        id: "s3_event_stream_with_fraud_6B",
        class: "traffic_fraud",
        primary_key: EVENT_KEY,
    },
    Output {
        id: "s2_event_stream_baseline_6B",
        class: "traffic_baseline",
        primary_key: EVENT_KEY,
    },
    Output {
        id: "arrival_events_5B",
        class: "context_arrival",
        primary_key: ARRIVAL_KEY,
    },
    Output {
        id: "s1_arrival_entities_6B",
        class: "context_arrival_entities",
        primary_key: ARRIVAL_KEY,
    },
    Output {
        id: "s3_flow_anchor_with_fraud_6B",
        class: "context_flow_fraud",
        primary_key: FLOW_KEY,
    },
    Output {
        id: "s2_flow_anchor_baseline_6B",
        class: "context_flow_baseline",
        primary_key: FLOW_KEY,
    },
];

/// The output of an event type; none: there is no policy for it.
pub fn find(event_type: &str) -> Option<&'static Output> {
    OUTPUTS.iter().find(|output| output.id == event_type)
}
