//! What is said of a ReadyTrigger: how it stands by the operator (Accepted, Ready), and the rest
//! by the trigger's own pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a trigger stands. Counts are since the trigger was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ReadyTriggerStatus {
    /// The generation of the spec that the operator has acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted and Ready, by the operator; Following, Deferred and Suspended, by the trigger's
    /// own pod; each with a reason and a message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The bus that is followed, in one word. Example: `kinesis:fp-control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The platform run that is the active one. Example: `platform_20260101T000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How far a Kinesis stream was read: its name and one sequence number a shard. A restart goes
    /// on from there. It never passes a message that waits, runs or has failed. Left out where the
    /// bus is a folder, on a disk or in S3: that position grows with its files, and lies in the
    /// object store, at `wsp/ready_positions/<namespace>.<trigger>.json` beside the runs' folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub position: Option<String>,
    /// WorldStreams of this trigger that run.
    #[schemars(range(min = 0))]
    pub active: u32,
    /// Messages that wait now: for their downstream, for an active run, for another trigger's claim,
    /// or for a store that is away; not those that only wait for a place of `maxActive`.
    #[schemars(range(min = 0))]
    pub waiting: u32,
    /// What became of the messages, since the trigger was made.
    pub counts: ReadyCounts,
    /// Failures by their reason: as many as `counts.failed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["reason"]))]
    pub failed_by_reason: Vec<ReasonCount>,
    /// Records `FAILED` of before this time, wall clock, are in the counts; what a pod recorded
    /// later and could not count any more is counted by the next one. Example:
    /// `2026-01-01T00:00:00.000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub failures_counted_until: Option<String>,
    /// The newest message that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<NewestMessage>,
    /// The last ten messages, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub last: Vec<MessageStatus>,
}

/// What became of the messages, since the trigger was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ReadyCounts {
    /// Messages that were read, repeats included.
    #[schemars(range(min = 0))]
    pub seen: u64,
    /// Messages for which a WorldStream was made or resumed.
    #[schemars(range(min = 0))]
    pub started: u64,
    /// Messages whose stream completed: `STREAMED`.
    #[schemars(range(min = 0))]
    pub streamed: u64,
    /// Messages of another platform run, `SKIPPED_OUT_OF_SCOPE`, and repeats of what was recorded,
    /// `SKIPPED_DUPLICATE`.
    #[schemars(range(min = 0))]
    pub skipped: u64,
    /// Messages that had to wait, as in `waiting`, each once while the trigger's pod lives.
    #[schemars(range(min = 0))]
    pub deferred: u64,
    /// Failures, as many as there are records `FAILED` of this trigger: a message that comes again
    /// and fails again counts again.
    #[schemars(range(min = 0))]
    pub failed: u64,
    /// Messages that are not valid, too large, or of another topic.
    #[schemars(range(min = 0))]
    pub invalid: u64,
}

/// How many messages failed for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReasonCount {
    /// The reason code. Example: `RUN_FACTS_INVALID`.
    pub reason: String,
    /// How many.
    #[schemars(range(min = 0))]
    pub count: u64,
}

/// The newest message that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NewestMessage {
    /// Its id; empty where what was read is no message.
    pub message_id: String,
    /// When it came to the bus, wall clock. Left out: the bus does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub published_at: Option<String>,
    /// When it was read, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub read_at: Option<String>,
}

/// A message, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageStatus {
    /// The message's id.
    pub message_id: String,
    /// The Scenario Runner's run id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The WorldStream that was made for it, in the trigger's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world_stream: Option<String>,
    /// `STREAMING` while its stream runs, then the status of contracts section 8. Example:
    /// `STREAMED`.
    pub status: String,
    /// The reason code. Example: `RUN_FACTS_INVALID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events that were sent. Left out: no stream was begun, or it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub emitted: Option<u64>,
    /// When that was seen, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub at: Option<String>,
}
