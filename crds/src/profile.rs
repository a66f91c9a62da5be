//! StreamProfile: policy and wiring, written by whoever runs the platform. Everything has a
//! default but the URL of IG and the producer; the defaults check the most.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::BytesText;
use crate::duration::DurationText;
use crate::policy::{GateCheck, OnOutputFailure, Overload};

mod checkpoints;
mod gate;
mod oracle;
mod ready;
mod sources;
mod worker;

pub use checkpoints::*;
pub use gate::*;
pub use oracle::*;
pub use ready::*;
pub use sources::*;
pub use worker::*;

/// What holds for all streams that name this profile: where worlds are and what must hold of
/// them, where events are sent, where cursors are kept, and what a stream may leave out.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "worldstream.io",
    version = "v1alpha1",
    kind = "StreamProfile",
    plural = "streamprofiles",
    namespaced,
    shortname = "sp",
    category = "worldstream-all",
    derive = "PartialEq",
    doc = "Policy and wiring of the streams that name it: worlds, checks, IG, checkpoints, defaults."
)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamProfileSpec {
    /// Where worlds are, and where they are read.
    pub world: WorldSpec,
    /// The catalogue of outputs: YAML, the engine's or our own.
    pub catalogue: TextSource,
    /// The map of validation gates: YAML, the engine's or our own.
    pub gate_map: TextSource,
    /// Which outputs may be sent as traffic.
    pub traffic_outputs: TrafficOutputs,
    /// Which outputs are sent as context of the traffic.
    pub context_outputs: ContextOutputs,
    /// What must hold of a world before its first event is sent.
    pub require: RequireSpec,
    /// Views that are missing: whether they are built before the stream begins, in a cluster.
    pub oracle: OracleSpec,
    /// The Ingestion Gate (IG) that events are pushed to.
    pub gate: GateSpec,
    /// Who pushes.
    pub producer: ProducerSpec,
    /// Where cursors are kept, and how often they are saved.
    pub checkpoints: CheckpointsSpec,
    /// The clock that all outputs of a stream follow.
    pub clock: ClockSpec,
    /// The pods that stream, in a cluster: image, resources, where they run.
    pub worker: WorkerSpec,
    /// What must be up before a stream of a READY message begins.
    pub ready: ReadySpec,
    /// What a WorldStream may leave out.
    pub defaults: DefaultsSpec,
    /// The folder below which each platform run has its own, with everything that the run writes:
    /// of this machine, or `s3://bucket/prefix`, reached as `world.s3` says. In a cluster a folder
    /// lies in the pod and goes with it.
    /// Example: `runs/fraud-platform`, with `runs/fraud-platform/platform_20260101T000000Z` in it.
    #[schemars(length(min = 1, max = 1024))]
    pub runs_root: String,
}

impl Default for StreamProfileSpec {
    fn default() -> Self {
        StreamProfileSpec {
            world: WorldSpec::default(),
            catalogue: TextSource::built_in("catalogue.yaml"),
            gate_map: TextSource::built_in("gate_map.yaml"),
            traffic_outputs: TrafficOutputs::default(),
            context_outputs: ContextOutputs::default(),
            require: RequireSpec::default(),
            oracle: OracleSpec::default(),
            gate: GateSpec::default(),
            producer: ProducerSpec::default(),
            checkpoints: CheckpointsSpec::default(),
            clock: ClockSpec::default(),
            worker: WorkerSpec::default(),
            ready: ReadySpec::default(),
            defaults: DefaultsSpec::default(),
            runs_root: "runs/fraud-platform".into(),
        }
    }
}

/// Where worlds are, and where they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldSpec {
    /// What a relative engine run root that does not exist as given is joined to: a local path or
    /// `s3://bucket/prefix`. Example: `s3://oracle-store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub oracle_root: Option<String>,
    /// Roots below which a world must lie. Left out or empty: below `oracleRoot`, or anywhere if
    /// there is none. Example: `[s3://oracle-store/runs]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub allowed_roots: Vec<String>,
    /// Where worlds are read that are named otherwise: the first entry whose `from` is the
    /// beginning of a world's root counts. Ids are always made from the name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub mounts: Vec<MountSpec>,
    /// A volume with worlds that is mounted read-only into the pods that read them; in a cluster
    /// alone. A `mounts` entry says which worlds lie there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSpec>,
    /// The scenario of streams that name none. Example: `baseline_v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub scenario: Option<String>,
    /// How S3 is reached, for all that begins with `s3://`: worlds, and what runs write.
    pub s3: S3Spec,
    /// Bytes of a view that are read ahead for each output, where it lies in S3.
    pub read_ahead: BytesText,
}

impl Default for WorldSpec {
    fn default() -> Self {
        WorldSpec {
            oracle_root: None,
            allowed_roots: Vec::new(),
            mounts: Vec::new(),
            volume: None,
            scenario: None,
            s3: S3Spec::default(),
            read_ahead: BytesText::mib(32),
        }
    }
}

/// How S3, or a store that speaks its language, is reached. Without `credentials`, those of the
/// environment count, as for AWS's own tools: variables, a web identity, a profile of the shared
/// files, the container's, the instance's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Spec {
    /// The store's URL, http or https, without a bucket. Left out: `AWS_ENDPOINT_URL_S3` or
    /// `AWS_ENDPOINT_URL` of the environment, else AWS's own of the region. Example:
    /// `https://minio.example.net:9000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for. Left out: that of the environment, else
    /// `us-east-1`. Example: `eu-west-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket is the first part of a URL's path, and not of its host's name. Left out: with an
    /// endpoint, and for buckets with a dot in their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Requests are not signed: for buckets that are open to all.
    pub anonymous: bool,
    /// Who we say that we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3CredentialsSpec>,
    /// A file of PEM certificates to trust instead of the built-in roots, for https; without a
    /// cluster alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The same from a ConfigMap in the profile's namespace, in a cluster alone. Example:
    /// `{name: minio-ca, key: ca.pem}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<KeyRef>,
    /// Attempts for one request, the first included, when the store is away; 1 or more. Between
    /// them it is waited for 100 ms, doubled each time up to 2 s, and a random part of up to the
    /// same length.
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// How long one request may be tried before the stream ends as unavailable, if `attempts`
    /// last so long.
    pub unavailable_for: DurationText,
}

impl Default for S3Spec {
    fn default() -> Self {
        S3Spec {
            endpoint: None,
            region: None,
            path_style: None,
            anonymous: false,
            credentials: None,
            ca_file: None,
            ca_config_map: None,
            attempts: 50,
            unavailable_for: DurationText::secs(60),
        }
    }
}

/// Credentials of S3, each read again at every request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3CredentialsSpec {
    /// The access key's id.
    pub access_key_id: SecretRef,
    /// The access key's secret.
    pub secret_access_key: SecretRef,
    /// The token of a session, for credentials that expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
}

/// A world's name, and where it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountSpec {
    /// The beginning of the names of worlds, ending at a slash. Example:
    /// `s3://oracle-store/runs`.
    #[schemars(length(min = 1, max = 2048))]
    pub from: String,
    /// What takes its place when the world is read. Example: `/mnt/worlds`.
    #[schemars(length(min = 1, max = 2048))]
    pub to: String,
}

/// Which outputs may be sent as traffic: by mode, or one allowlist outright.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficOutputs {
    /// Traffic of streams in mode `fraud`. Left out: the built-in list,
    /// `outputs/traffic_fraud.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraud: Option<OutputList>,
    /// Traffic of streams in mode `baseline`. Left out: the built-in list,
    /// `outputs/traffic_baseline.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<OutputList>,
    /// Traffic of all streams, whatever the mode; then `fraud` and `baseline` are left out, and
    /// streams choose no mode. May hold the traffic of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<OutputList>,
}

/// Which outputs are sent as context. The traffic decides which list: with baseline traffic and
/// no fraud traffic `baseline`, otherwise `fraud`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ContextOutputs {
    /// Context of fraud traffic. Left out: the built-in list, `outputs/context_fraud.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraud: Option<OutputList>,
    /// Context of baseline traffic. Left out: the built-in list, `outputs/context_baseline.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<OutputList>,
}

/// What must hold of a world before its first event is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RequireSpec {
    /// A world without a pack manifest fails with `PACK_MANIFEST_MISSING`.
    pub manifest: bool,
    /// A world without a seal fails with `PACK_NOT_SEALED`.
    pub seal: bool,
    /// How the gates of all selected outputs are checked: `Existence` of their flag, or the
    /// `Digest` that the flag carries.
    pub gates: GateCheck,
    /// The gates that those depend on are checked as well.
    pub upstream: bool,
    /// The manifest's digests must be those of this profile's catalogue and gate map, byte for
    /// byte, else `MANIFEST_MISMATCH`. Only where these are the files that the world was sealed
    /// with.
    pub pack_digests: bool,
}

impl Default for RequireSpec {
    fn default() -> Self {
        RequireSpec {
            manifest: true,
            seal: true,
            gates: GateCheck::Digest,
            upstream: false,
            pack_digests: false,
        }
    }
}

/// Who pushes, and who may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ProducerSpec {
    /// The producer id that goes into every event. Example: `svc:world_stream_producer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub id: Option<String>,
    /// Who may push: a text with an id a line and `#` for comments. The producer must be on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<TextSource>,
}

/// The clock that all outputs of a stream follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockSpec {
    /// How far ahead a change of the clock becomes effective, so that all know it before it
    /// counts; at most `1m`. A start and a resume take half of it: who learns late that event time
    /// runs is late, never early.
    pub lead: DurationText,
    /// How long the outputs of a stream may take until all are ready to send, in a cluster; then
    /// those that wait give their places back and try again later, so that two streams never
    /// hold half of a cluster each.
    pub prime_timeout: DurationText,
    /// How far a worker's wall clock may be from the API server's before the stream says
    /// `ClockSkew`. The server tells its time in whole seconds, so `2s` is the least that tells
    /// anything.
    pub max_skew: DurationText,
}

impl Default for ClockSpec {
    fn default() -> Self {
        ClockSpec {
            lead: DurationText::secs(2),
            prime_timeout: DurationText::secs(120),
            max_skew: DurationText::secs(3),
        }
    }
}

/// What a WorldStream may leave out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultsSpec {
    /// Event seconds a wall-clock second: 1 is real time, 0 or less no waiting at all.
    pub speedup: f64,
    /// At most so many events for each output and lane; 1 or more. Left out: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_events_per_output: Option<u64>,
    /// What happens when an output falls behind the clock by more than `maxLag`: with `Hold` the
    /// clock stops for all until it has caught up, with `CatchUp` the clock goes on, with `Fail`
    /// the stream ends with `LAG_LIMIT`.
    pub overload: Overload,
    /// How far an output may fall behind the clock, in wall time.
    pub max_lag: DurationText,
    /// Events a second that an output may send while it catches up, more than 0. Left out: as
    /// fast as it can. Example: `5000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub catch_up_eps: Option<f64>,
    /// What one output's failure for good does to the others: `StopAll`, as traffic must not run
    /// without its context, or `Continue`.
    pub on_output_failure: OnOutputFailure,
    /// How long after its end a stream's Jobs, pods, roles and plan are kept, in a cluster; the
    /// stream and its checkpoints stay. Left out: until the stream is deleted. Example: `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<DurationText>,
}

impl Default for DefaultsSpec {
    fn default() -> Self {
        DefaultsSpec {
            speedup: 1.0,
            max_events_per_output: None,
            overload: Overload::Hold,
            max_lag: DurationText::secs(5),
            catch_up_eps: None,
            on_output_failure: OnOutputFailure::StopAll,
            ttl_after_finished: None,
        }
    }
}
