//! WorldStream: one replay of one world, as a document.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::policy::{OnOutputFailure, Overload, TrafficMode};

mod status;
mod view;

pub use status::*;
pub use view::*;

/// One replay: which world, from when to when, how fast, and who the events are from. What a
/// stream leaves out, its profile decides.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "worldstream.io",
    version = "v1alpha1",
    kind = "WorldStream",
    plural = "worldstreams",
    namespaced,
    shortname = "ws",
    category = "worldstream-all",
    status = "WorldStreamStatus",
    selectable = ".spec.profile",
    selectable = ".status.phase",
    derive = "PartialEq",
    doc = "One replay of a materialised world to an Ingestion Gate (IG)."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldStreamSpec {
    /// Name of the StreamProfile that holds policy and wiring, in the same namespace. Without a
    /// cluster it may be left out where `--profile` is given or the files hold one profile.
    /// Example: `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub profile: Option<String>,

    /// The engine run root that holds the world: a local path or `s3://bucket/prefix`. Ids are
    /// made from this text, so it must be the root that the world's views were built under; where
    /// it is read is the profile's `world.mounts`. Example: `s3://oracle-store/runs/world-a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub engine_run_root: Option<String>,

    /// The scenario of the world to replay. Left out: the profile's, else the only one in the
    /// world; several are a failure and never a guess. Example: `baseline_v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub scenario: Option<String>,

    /// Which traffic is sent, and with it which context: `fraud` (the default) or `baseline`. Not
    /// together with a profile that gives its traffic allowlist outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TrafficMode")]
    pub traffic_mode: Option<TrafficMode>,

    /// Narrows the traffic to these output ids; left out or empty: all traffic that the profile
    /// allows. Context always follows the traffic. Example: `[s3_event_stream_with_fraud_6B]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub outputs: Vec<String>,

    /// The platform run that the events belong to; IG recognises repeats within it. In a cluster
    /// it may be left out: then it is made once from the stream's creation time, or of the next
    /// second that no other stream has, and kept in the status. Example: `platform_20260101T000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^platform_[0-9]{8}T[0-9]{6}Z$"), length(max = 32))]
    pub platform_run_id: Option<String>,

    /// The Scenario Runner's run id, 32 lower-case hex digits. Left out: the engine's run id from
    /// the world's receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{32}$"), length(max = 32))]
    pub scenario_run_id: Option<String>,

    /// Event seconds a wall-clock second: 1 is real time, 3600 an hour a second, 0 or less no
    /// waiting at all. Left out: the profile's, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,

    /// First event time that is sent, inclusive, RFC 3339. Left out: the world's first. Example:
    /// `2026-01-01T00:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub start_from: Option<String>,

    /// End of the event time that is sent, exclusive, RFC 3339. Left out: the world's end.
    /// Example: `2026-01-02T00:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,

    /// At most so many events for each output and lane, counted from the attempt's start; 1 or
    /// more. An operator's tool, for a short try. Left out: the profile's, else no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_events_per_output: Option<u64>,

    /// Splits each output over several producers. Left out: one lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<LanesSpec>,

    /// Requests in flight for each output and lane, 1 to 256. With 1 the order is strict, with n
    /// an event is displaced by less than n. Left out: the profile's, else 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub in_flight: Option<u32>,

    /// Caps of events a second over time, for each output by itself and shared by its lanes.
    /// Steps are in the order of their start. Left out: no cap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub rate_plan: Vec<RateStepSpec>,

    /// Names the attempt; a new one starts over from the first row with cursors of its own. Left
    /// out: the empty attempt. Example: `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub attempt: Option<String>,

    /// What happens when an output falls behind the clock by more than `maxLag`: with `Hold` the
    /// clock stops for all until it has caught up, with `CatchUp` the clock goes on, with `Fail`
    /// the stream ends with `LAG_LIMIT`. Left out: the profile's, else `Hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Overload")]
    pub overload: Option<Overload>,

    /// How far an output may fall behind the clock, in wall time, before `overload` acts. Left
    /// out: the profile's, else `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<DurationText>,

    /// What one output's failure for good does to the others: `StopAll`, as traffic must not run
    /// without its context, or `Continue`. Left out: the profile's, else `StopAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnOutputFailure")]
    pub on_output_failure: Option<OnOutputFailure>,

    /// Stops the clock of a stream in a cluster: nothing more is sent, the pods stay, and `false`
    /// goes on where it stopped. Takes effect within seconds.
    #[serde(default)]
    pub paused: bool,

    /// Ends the pods of a stream in a cluster: they wait for what is in flight, save and go;
    /// `false` starts them again at their cursors. For hours without replaying, or to let a new
    /// image or profile take effect.
    #[serde(default)]
    pub suspend: bool,

    /// Counts the orders to try again, in a cluster: a higher number than before starts the
    /// outputs that failed once more, at their cursors. Example: `1`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub retry: u32,

    /// How long after its end the stream's Jobs, pods, roles and plan are kept, in a cluster; the
    /// stream itself and its checkpoints stay. Left out: the profile's, else until the stream is
    /// deleted. Example: `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<DurationText>,
}

/// How an output is split over producers: an event belongs to the lane that its id falls into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LanesSpec {
    /// How many lanes there are, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
    /// The one lane that this process sends, from 0 and below `count`. Left out: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 63))]
    pub only: Option<u32>,
}

/// One step of a rate plan. The fields are named as in the rate plan files that exist.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateStepSpec {
    /// When the step begins, in seconds of running (not paused) time since the stream's start; 0
    /// or more, and more than that of the step before. Example: `60`.
    #[schemars(range(min = 0))]
    pub start_offset_seconds: f64,
    /// Events a second from then on, more than 0. Example: `500`.
    #[schemars(range(min = 0))]
    pub target_eps: f64,
    /// How many seconds' worth of events may be sent at once; 0 or more. The bucket holds at
    /// least one event. Example: `1`.
    #[schemars(range(min = 0))]
    pub burst_seconds: f64,
    /// Events that may be sent at once when the step begins, 0 or more. Left out: what the step
    /// before has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_tokens: Option<f64>,
}
