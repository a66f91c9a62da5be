//! StreamCheckpoint: one output, lane and attempt of a stream. The operator makes it, preflight
//! writes its plan, and its worker the rest.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::stream::{FailureStatus, OutputRole, ViewStatus, WorkerState};

/// Whose checkpoint it is; never changes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "worldstream.io",
    version = "v1alpha1",
    kind = "StreamCheckpoint",
    plural = "streamcheckpoints",
    namespaced,
    shortname = "sckpt",
    category = "worldstream-all",
    derive = "PartialEq",
    status = "StreamCheckpointStatus",
    selectable = ".spec.stream",
    selectable = ".status.state",
    doc = "How far one output (and lane and attempt) of a WorldStream is: its plan, cursor and counts."
)]
#[serde(rename_all = "camelCase")]
pub struct StreamCheckpointSpec {
    /// The WorldStream's name, in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub stream: String,
    /// The output's exact id. Example: `s3_event_stream_with_fraud_6B`.
    #[schemars(length(min = 1, max = 256))]
    pub output: String,
    /// Why the output is sent.
    pub role: OutputRole,
    /// The lane, from 0 and below `lanes`.
    #[schemars(range(min = 0, max = 63))]
    pub lane: u32,
    /// How many lanes the output is split over, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub lanes: u32,
    /// The attempt; empty is the first.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub attempt: String,
    /// The platform run. Example: `platform_20260101T000000Z`.
    #[schemars(regex(pattern = r"^platform_[0-9]{8}T[0-9]{6}Z$"), length(max = 32))]
    pub platform_run_id: String,
}

/// What preflight planned, and how far the worker is. Event times are RFC 3339 with microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamCheckpointStatus {
    /// What is to be sent, as preflight found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<OutputPlan>,
    /// The output's view, where preflight found none and it may be built; on the checkpoint of the
    /// first lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewStatus>,
    /// The pod that holds the checkpoint. Left out: nobody has yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// That pod's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_uid: Option<String>,
    /// How often the checkpoint was taken: a write of an older epoch is refused. It only grows.
    #[schemars(range(min = 0))]
    pub epoch: u64,
    /// What the worker is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WorkerState")]
    pub state: Option<WorkerState>,
    /// The newest revision of the clock that the worker knows.
    #[schemars(range(min = 0))]
    pub clock_revision: u64,
    /// What the worker had done before it learned of a revision that counted already. Left out:
    /// it learned of all in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overshoot: Option<Overshoot>,
    /// The event time of the next event that it will send. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next: Option<String>,
    /// The event time of the oldest event that the gate has not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub oldest: Option<String>,
    /// The last event that the gate has taken with everything before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<CursorStatus>,
    /// The worker's own figures at the cursor, as JSON, from which it goes on; not meant to be
    /// read, the counts say the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What became of the events since the attempt's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// How far it is behind the clock, in wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<DurationText>,
    /// Event seconds a wall-clock second that it reached of late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved_speedup: Option<f64>,
    /// How many milliseconds the worker's wall clock is ahead of the API server's; less than 0:
    /// behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew_millis: Option<i64>,
    /// Since when the gate has not been reached, wall clock. Left out: it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub gate_away_since: Option<String>,
    /// Since when nothing could be saved, wall clock. Left out: it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub store_away_since: Option<String>,
    /// Why it failed, or what holds it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
    /// What became of the events, once all were sent or it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<LaneReceipt>,
    /// When the worker wrote this, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub reported_at: Option<String>,
}

/// What is to be sent of an output, as preflight found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OutputPlan {
    /// The world's pack key, 64 hex digits.
    pub pack_key: String,
    /// The engine's run id from the world's receipt, 32 hex digits.
    pub engine_run_id: String,
    /// The scenario.
    pub scenario: String,
    /// The scenario run id that the events carry, 32 hex digits.
    pub scenario_run_id: String,
    /// The resolved run root, from which ids are made. Example: `s3://oracle-store/runs/world-a`.
    pub root: String,
    /// The view's id, 64 hex digits.
    pub view_id: String,
    /// Rows of the output within the range, before lanes.
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// The first event time. Left out: there are no rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub first_event_time: Option<String>,
    /// The last event time. Left out: there are no rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_event_time: Option<String>,
    /// The view's parts in the order in which they are read. A part that is found changed later
    /// ends the output with `STREAM_VIEW_CHANGED`.
    pub files: Vec<PlannedFile>,
}

/// One part of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PlannedFile {
    /// Its name in the view's folder. Example: `part-000000.parquet`.
    pub name: String,
    /// Its rows.
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// Its size in bytes.
    #[schemars(range(min = 0))]
    pub size: u64,
    /// Its ETag, where the store has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// The last event that the gate has taken with everything before it. Named as in cursor files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CursorStatus {
    /// Full path of the part, below the resolved run root.
    #[schemars(length(max = 4096))]
    pub last_file: String,
    /// The row in it, from 0, counted before lanes.
    #[schemars(range(min = 0))]
    pub last_row_index: u64,
    /// The row's event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_ts_utc: Option<String>,
}

/// What became of events since the attempt's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Counts {
    /// Events up to the cursor: admitted + duplicate + quarantined + undecided.
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// Events that were sent, those in flight included; one that is tried again counts once.
    #[schemars(range(min = 0))]
    pub sent: u64,
    /// Events that the gate let in.
    #[schemars(range(min = 0))]
    pub admitted: u64,
    /// Events that the gate knew already.
    #[schemars(range(min = 0))]
    pub duplicate: u64,
    /// Events that the gate put aside.
    #[schemars(range(min = 0))]
    pub quarantined: u64,
    /// Events that were taken without a decision, where the profile allows that.
    #[schemars(range(min = 0))]
    pub undecided: u64,
    /// Attempts beyond the first.
    #[schemars(range(min = 0))]
    pub retried: u64,
}

/// What a worker had done before it learned of a revision that counted already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Overshoot {
    /// The revision.
    #[schemars(range(min = 0))]
    pub revision: u64,
    /// How long after its effect the worker learned of it, in wall time.
    pub late: DurationText,
    /// Events that it had sent and that were not due by it.
    #[schemars(range(min = 0))]
    pub events: u64,
    /// The latest event time among them. Left out: there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_time: Option<String>,
}

/// What became of the events of an output and lane: rows = admitted + duplicate + quarantined +
/// undecided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LaneReceipt {
    /// Events that the gate has taken.
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// Events that the gate let in.
    #[schemars(range(min = 0))]
    pub admitted: u64,
    /// Events that the gate knew already.
    #[schemars(range(min = 0))]
    pub duplicate: u64,
    /// Events that the gate put aside.
    #[schemars(range(min = 0))]
    pub quarantined: u64,
    /// Events that were taken without a decision.
    #[schemars(range(min = 0))]
    pub undecided: u64,
    /// The chained digest over the event ids in order, 64 hex digits.
    pub digest: String,
    /// Every row of the range (and lane) is among them.
    pub complete: bool,
    /// The cursor after which rows are counted, where another producer began the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<CursorStatus>,
}
