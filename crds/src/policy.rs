//! The choices that a document offers, as closed sets: what the words in a StreamProfile or a
//! WorldStream may be. Shared by the documents and by the resolved stream plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which traffic output is streamed, and with it which context (contracts section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrafficMode {
    /// Traffic with fraud in it, `s3_event_stream_with_fraud_6B`.
    #[default]
    Fraud,
    /// Traffic without fraud, `s2_event_stream_baseline_6B`.
    Baseline,
}

/// How the gates of a world are checked before anything is sent (contracts section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateCheck {
    /// A gate has passed when its flag exists: what the reference producer does.
    Existence,
    /// The digest in the flag must be the digest of the bundle.
    #[default]
    Digest,
}

/// What happens when an output cannot keep up with the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overload {
    /// Beyond `maxLag` the clock stops for all outputs until the late one has caught up.
    #[default]
    Hold,
    /// The clock goes on, and the late output catches up as fast as it may.
    CatchUp,
    /// Beyond `maxLag` the stream fails with `LAG_LIMIT`.
    Fail,
}

/// What becomes of a view that preflight does not find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BuildViews {
    /// The stream ends with `STREAM_VIEW_MISSING`.
    #[default]
    Never,
    /// It is built from the engine's raw parts.
    IfMissing,
}

/// What happens to the other outputs when one fails for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnOutputFailure {
    /// All outputs stop: traffic never runs on without its context.
    #[default]
    StopAll,
    /// The others go on to their end.
    Continue,
}

/// What happens when IG quarantines events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnQuarantine {
    /// A quarantined event is counted, and the stream goes on.
    #[default]
    Continue,
    /// Beyond a count or a share the stream ends with `IG_QUARANTINE_LIMIT`.
    Stop,
}
