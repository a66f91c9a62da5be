//! The stream plan: everything that decides a replay, resolved and validated. Built from
//! documents, a profile and flags; the only thing that the rooms behind it read.
//!
//! The one place where this is done, for a run without a cluster and for the operator: what they
//! do not share is handed in, flags as [`Overrides`] and what documents name as [`Files`]. A
//! relative path counts from the working directory of whoever reads it.

pub mod built_in;
mod choose;
mod cluster_only;
pub mod documents;
pub mod error;
mod files;
mod oracle;
mod overrides;
pub mod policy_files;
mod profile;
pub mod ready;
mod resolve;
pub mod s3;
mod sending;
pub mod values;
pub mod yaml;

pub use documents::{Document, Documents};
pub use error::{PlanError, UsageError};
pub use files::{Files, NoFiles};
pub use oracle::OraclePlan;
pub use overrides::Overrides;
pub use ready::ReadyPlan;
pub use resolve::{resolve, world};
pub use s3::{S3CredentialsPlan, S3Plan};

use std::path::PathBuf;
use std::time::Duration;

use crate::{GateCheck, OnOutputFailure, OnQuarantine, Overload, Reason, TrafficMode};
use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// The version of [`StreamPlan`] that this program reads and writes. A plan of another version
/// is a usage error (exit code 2), never a guess.
pub const PLAN_VERSION: u32 = 1;

/// One replay, resolved: profile, documents and flags made one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamPlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The profile's name, for people.
    pub profile: String,
    /// What world, and what must hold of it.
    pub world: WorldPlan,
    /// What is done where a view is missing. Left out of the text where it is nothing.
    #[serde(default, skip_serializing_if = "OraclePlan::is_nothing")]
    pub oracle: OraclePlan,
    /// Who the events are from and for.
    pub identity: IdentityPlan,
    /// When events are sent.
    pub pace: PacePlan,
    /// Which rows are sent.
    pub range: RangePlan,
    /// Where events are sent, and how hard it is tried.
    pub gate: GatePlan,
    /// Where cursors are kept, and how often they are saved.
    pub checkpoint: CheckpointPlan,
    /// The folder of everything that this run writes, or `s3://bucket/prefix`:
    /// `runs/fraud-platform/<platform_run_id>` by default (contracts section 7 and 9).
    pub run_dir: PathBuf,
}

/// The world and the policy that it is verified by (contracts sections 1 to 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldPlan {
    /// The run root as it was given.
    pub engine_run_root: String,
    /// What a relative run root that does not exist is joined to.
    pub oracle_root: Option<String>,
    /// Roots below which a world must lie, compared with the resolved root's text after
    /// normalisation; empty: everywhere.
    pub allowed_roots: Vec<String>,
    /// Where a world's name is read: the first entry whose `from` is a prefix at a path boundary.
    pub mounts: Vec<Mount>,
    /// The scenario asked for, else the configured one; none: the only one in the world.
    pub scenario: Option<String>,
    /// The catalogue's text (YAML).
    pub catalogue: Named,
    /// The gate map's text (YAML).
    pub gate_map: Named,
    /// Outputs that may be traffic, by mode, and the context of each.
    pub selection: SelectionPlan,
    /// `PACK_MANIFEST_MISSING` without one.
    pub require_manifest: bool,
    /// `PACK_NOT_SEALED` without one.
    pub require_seal: bool,
    /// `MANIFEST_MISMATCH` if the manifest's digests are not those of our catalogue and gate map.
    pub compare_digests: bool,
    /// How gates are checked.
    pub gate_check: GateCheck,
    /// Whether the gates that a gate depends on are checked too.
    pub gate_upstream: bool,
    /// The producer id, empty if the profile has none.
    pub producer_id: String,
    /// The producer allowlist's text: an id a line, `#` for comments; none if none is named.
    pub producer_allowlist: Option<Named>,
    /// How S3 is reached.
    pub s3: S3Plan,
    /// Bytes that are read ahead for each output, where a world lies in S3.
    pub read_ahead: u64,
}

/// A text with the name of the file it came from (or `built in`), for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// A path, or `built-in:catalogue.yaml`.
    pub name: String,
    /// The file's bytes; a file that is not UTF-8 or cannot be read is `Err` with the cause, so
    /// that the check that needs it can give its own code.
    pub text: Result<String, String>,
}

/// A world's name, and where it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// A prefix of resolved roots, such as `s3://oracle-store/runs`.
    pub from: String,
    /// What is put in its place to read, such as `/mnt/worlds`.
    pub to: String,
}

/// The policy lists and the narrowing (contracts section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectionPlan {
    /// The traffic allowlist in force (by mode, or as the profile has it).
    pub traffic: Vec<String>,
    /// Context with fraud traffic.
    pub context_fraud: Vec<String>,
    /// Context with baseline traffic.
    pub context_baseline: Vec<String>,
    /// The mode that was asked for; none when the traffic list was given outright.
    pub mode: Option<TrafficMode>,
    /// Narrowing of the traffic; empty: none.
    pub outputs: Vec<String>,
}

/// Ids that go into every envelope and every key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityPlan {
    /// `platform_YYYYMMDDTHHMMSSZ`.
    pub platform_run_id: String,
    /// SR's run id, 32 hex; none: the receipt's `run_id`.
    pub scenario_run_id: Option<String>,
    /// The attempt, empty by default; a new one starts over.
    pub attempt: String,
    /// How an output is split.
    pub lanes: Lanes,
}

/// The lanes that an output is split over, and which of them this process sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lanes {
    /// 1 to 64.
    pub count: u32,
    /// One lane of them; none: all, as tasks of this process.
    pub only: Option<u32>,
}

impl Lanes {
    /// The lanes of this process.
    pub fn here(&self) -> std::ops::Range<u32> {
        match self.only {
            Some(lane) => lane..lane + 1,
            None => 0..self.count,
        }
    }
}

/// One lane of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// How many there are, at least 1.
    pub count: u32,
    /// Which one, below `count`.
    pub index: u32,
}

impl Lane {
    /// The only lane of an output that is not split.
    pub const WHOLE: Lane = Lane { count: 1, index: 0 };
}

/// When events are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PacePlan {
    /// Event seconds a wall second; 0: no waiting. Never negative, never NaN.
    pub speedup: f64,
    /// How far ahead a revision of the clock becomes effective.
    pub lead: Duration,
    /// What happens beyond `max_lag`.
    pub overload: Overload,
    /// How far an output may fall behind the clock, in wall time.
    pub max_lag: Duration,
    /// Events a second that an output may send while it catches up under `CatchUp`: from the
    /// moment on at which it is behind by more than `max_lag`, until an event comes that is not
    /// due yet. None: as fast as it can.
    pub catch_up_eps: Option<f64>,
    /// What one output's failure does to the others.
    pub on_output_failure: OnOutputFailure,
    /// Caps of events a second over time, for each output by itself (contracts section 6).
    pub rate_plan: Vec<RateStep>,
}

/// One step of a rate plan (contracts section 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateStep {
    /// When the step begins, seconds of running (not paused) time since the stream's start.
    pub start_offset_seconds: f64,
    /// Events a second.
    pub target_eps: f64,
    /// The bucket holds `target_eps * burst_seconds` tokens, and at least one.
    pub burst_seconds: f64,
    /// Tokens in the bucket when the step begins; none: what the last step left.
    pub initial_tokens: Option<f64>,
}

/// Which rows are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RangePlan {
    /// First event time, inclusive.
    pub start_from: Option<EventTime>,
    /// End of event time, exclusive.
    pub until: Option<EventTime>,
    /// At most so many events for each output and lane, from the attempt's start.
    pub max_events_per_output: Option<u64>,
}

impl RangePlan {
    /// Whether a row of this event time is sent: start ≤ ts < until.
    pub fn holds(&self, ts: EventTime) -> bool {
        self.start_from.is_none_or(|start| start <= ts) && self.until.is_none_or(|end| ts < end)
    }
}

/// Where events are sent, and how hard it is tried (contracts section 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatePlan {
    /// The push URL, already ending in `/v1/ingest/push`; http or https.
    pub url: String,
    /// How we say who we are.
    pub auth: AuthPlan,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Requests in flight for each output (and lane), 1 to 256.
    pub in_flight: u16,
    /// An answer without a known decision is not taken.
    pub require_decision: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often and how long it is tried.
    pub retry: RetryPlan,
    /// What happens when events are quarantined.
    pub quarantine: QuarantinePlan,
}

/// A secret, and never its value: where it is read, at the start and again after a 401.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretSource {
    /// A file; one trailing newline is not part of the secret.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

/// How we say who we are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum AuthPlan {
    /// No header.
    None,
    /// `X-IG-Api-Key`.
    ApiKey(SecretSource),
    /// `X-IG-Service-Token`, read whole.
    ServiceToken(SecretSource),
    /// `X-IG-Service-Token`, signed here.
    SignedToken {
        /// The principal that the token is for.
        principal: String,
        /// The key that it is signed with.
        secret: SecretSource,
    },
}

/// Backoff before attempt n+1: `min(max, base * 2^(n-1))` plus a random part of up to the same
/// length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPlan {
    /// Attempts for one event, the first included. Not used with `unavailable_for`.
    pub attempts: u32,
    /// 250 ms.
    pub base: Duration,
    /// 5 s.
    pub max: Duration,
    /// Bounded in time instead of attempts: how long one event may be tried.
    pub unavailable_for: Option<Duration>,
}

/// When quarantined events end the stream. Both bounds may be set; the first that is passed ends
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuarantinePlan {
    /// Continue, or stop.
    pub policy: OnQuarantine,
    /// Stop when more than so many events of an output (and lane) were quarantined since the
    /// attempt's start.
    pub max_count: Option<u64>,
    /// Stop when more than this share (0 to 1) of the last `window` events was quarantined, once
    /// the window is full.
    pub max_share: Option<f64>,
    /// Events that the share is taken of.
    pub window: u64,
}

/// Where cursors are kept, and how often they are saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointPlan {
    /// The store.
    pub store: CheckpointStorePlan,
    /// At most so many events are taken and not yet saved; 1 or more.
    pub flush_every: u64,
    /// A taken event is saved after at most this long.
    pub flush_interval: Duration,
    /// How long a save may fail before the stream ends as unavailable; it waits meanwhile.
    pub unavailable_for: Duration,
    /// Where a store takes a save at most so often (Kubernetes): how long an event may be taken
    /// and not be saved before the stream waits. It bounds what a crash repeats, in place of
    /// `flush_every`.
    pub max_unsaved: Duration,
}

/// Where cursors are kept. A new store is a new variant here and a file in `checkpoint/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum CheckpointStorePlan {
    /// `<root>/<scope key>/output_id=<output id>/cursor.json` (contracts section 7).
    File {
        /// The root folder.
        root: PathBuf,
    },
    /// The table `wsp_checkpoint` (contracts section 7).
    Postgres(PostgresPlan),
    /// In the status of the output's StreamCheckpoint; in a cluster alone.
    Kubernetes {},
}

/// A database of checkpoints, and how long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresPlan {
    /// Where the connection string is read.
    pub dsn: SecretSource,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// How long a lease holds unless it is renewed, 1 s to 1 h.
    pub lease_term: Duration,
    /// How long connecting may take, and the answer to a statement.
    pub timeout: Duration,
}

impl StreamPlan {
    /// The reason that a plan of another version is refused with.
    pub const VERSION_REASON: Reason = Reason::StreamFailed;
}
