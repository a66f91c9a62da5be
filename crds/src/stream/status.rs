//! What the operator says of a WorldStream: folded from its checkpoints, written by nobody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ViewStatus;
use crate::duration::DurationText;

/// How a stream stands. Event times are RFC 3339 with microseconds; counts are of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct WorldStreamStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the stream is doing, in one word; the conditions say why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Phase")]
    pub phase: Option<Phase>,
    /// Accepted, WorldVerified, Ready, Progressing, Degraded, Completed, Failed, ProfileDrifted and
    /// ClockSkew, each with a reason and a message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The platform run that the events belong to: the spec's, or one made from the creation time,
    /// or of the next second that no other stream has, before anything else was made. Example:
    /// `platform_20260101T000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_run_id: Option<String>,
    /// The Scenario Runner's run id that the events carry, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario_run_id: Option<String>,
    /// The attempt that this status speaks of; empty is the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The highest `spec.retry` that was acted upon.
    #[schemars(range(min = 0))]
    pub retry: u32,
    /// The plan that is carried out, frozen when the stream was set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRef>,
    /// The world, once it was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<VerifiedWorld>,
    /// When the clock was published and what decides the bytes became immutable, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When the stream completed or failed, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub completed_at: Option<String>,
    /// How often the outputs gave their places back because not all were ready in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<Releases>,
    /// The event time that all outputs have reached. Example: `2026-01-01T12:00:00.000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_time: Option<String>,
    /// Event seconds a wall-clock second, as the clock has it; 0 is no waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,
    /// Rows that the gate has taken, of all rows, 0 to 100, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<u32>,
    /// How far the output that is furthest behind is behind the clock, in wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<DurationText>,
    /// Outputs that are finished, of all. Example: `2/4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs_finished: Option<String>,
    /// What becomes of each output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["output"]))]
    pub outputs: Vec<OutputStatus>,
}

/// What a stream is doing.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Phase {
    /// What it refers to is not all there, or not right; heals by itself.
    #[default]
    Pending,
    /// A preflight pod checks the world.
    Verifying,
    /// The workers start and fill their buffers; the clock has not begun.
    Starting,
    /// Events are sent by the clock.
    Running,
    /// The clock stands because the spec says so.
    Paused,
    /// The clock stands for an output that is behind.
    Held,
    /// The workers wait for what is in flight, save, and go.
    Suspending,
    /// No worker runs because the spec says so.
    Suspended,
    /// It goes on, and something is wrong with it.
    Degraded,
    /// Every output sent all that it had to.
    Completed,
    /// It ended before that.
    Failed,
}

/// The plan that is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PlanRef {
    /// The immutable ConfigMap that holds it.
    pub name: String,
    /// sha256 of its text, hex.
    pub hash: String,
    /// The same without what may be changed while the stream runs (speed, lag, what a failure does):
    /// an edited profile that gives another one shows as `ProfileDrifted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_hash: Option<String>,
    /// The image that the workers run.
    pub worker_image: String,
    /// The generation of the profile that it was made from.
    pub profile_generation: i64,
}

/// What preflight found a world to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct VerifiedWorld {
    /// The world's pack key, 64 hex digits.
    pub pack_key: String,
    /// The engine's run id from the world's receipt.
    pub engine_run_id: String,
    /// The scenario that is replayed.
    pub scenario: String,
    /// The resolved run root, from which ids are made.
    pub root: String,
}

/// How often the outputs gave their places back because not all were ready in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Releases {
    /// How often.
    #[schemars(range(min = 0))]
    pub count: u32,
    /// The last time, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_at: Option<String>,
    /// When they try again, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_at: Option<String>,
    /// What was in the way the last time: pods that found no room, in the scheduler's words, and
    /// outputs that were not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One output, its lanes added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatus {
    /// The output's id. Example: `arrival_events_5B`.
    pub output: String,
    /// Why it is sent.
    #[serde(default)]
    pub role: OutputRole,
    /// How many lanes it is split over.
    #[serde(default)]
    #[schemars(range(min = 0, max = 64))]
    pub lanes: u32,
    /// The least advanced state of its lanes.
    #[serde(default)]
    pub state: WorkerState,
    /// Rows to be sent, all lanes added up.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// Events that the gate has taken: admitted + duplicate + quarantined + undecided.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub sent: u64,
    /// Events that the gate let in.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub admitted: u64,
    /// Events that the gate knew already.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub duplicate: u64,
    /// Events that the gate put aside.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub quarantined: u64,
    /// Events that were taken without a decision, where the profile allows that.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub undecided: u64,
    /// Attempts beyond the first.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub retried: u64,
    /// Rows that the gate has taken, of all, 0 to 100, rounded down.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// The event time that all its lanes have reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_time: Option<String>,
    /// How far it is behind the clock, in wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<DurationText>,
    /// Why it failed, or what holds it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
    /// Crashes in a row after which its cursor had not moved.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub crashes: u32,
    /// What became of its events, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<OutputReceiptStatus>,
    /// How far its view is, where preflight found none and `oracle.buildViews` lets it be built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewStatus>,
}

/// Why an output is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutputRole {
    /// It goes with the traffic.
    Context,
    /// It is the traffic.
    #[default]
    Traffic,
}

/// What a worker is doing, from the least advanced on.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum WorkerState {
    /// It has not reported, or opens its view and takes its checkpoint.
    #[default]
    Starting,
    /// Its buffer is full; it waits for the clock.
    Primed,
    /// It sends by the clock.
    Streaming,
    /// The clock is paused.
    Paused,
    /// The clock stands for an output that is behind.
    Held,
    /// It waits for the gate or for a store that is away.
    Waiting,
    /// It was told to stop, and saved.
    Stopped,
    /// It sent all that it had to.
    Finished,
    /// It failed for good.
    Failed,
}

/// Why something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct FailureStatus {
    /// The reason code. Example: `STREAM_VIEW_MISSING`.
    pub reason: String,
    /// What was found and what was expected, with the whole chain of causes; one line.
    pub message: String,
    /// The worker's exit code. Left out: it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub exit_code: Option<u32>,
}

/// What became of an output's events: rows = admitted + duplicate + quarantined + undecided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OutputReceiptStatus {
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
    /// The chained digest over the event ids in order, 64 hex digits; one a lane, in their order.
    pub digests: Vec<String>,
    /// Every row of the range is among them.
    pub complete: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
