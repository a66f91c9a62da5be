//! ReadyTrigger: follows a control bus and makes a WorldStream for each READY message (contracts
//! sections 8 and 9). The same document runs without a cluster: `worldstream ready -f`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::BytesText;
use crate::duration::DurationText;
use crate::policy::{OnOutputFailure, Overload, TrafficMode};
use crate::{KeyRef, LanesSpec, ResourcesSpec, S3CredentialsSpec, S3Spec};

mod status;

pub use status::*;

/// The topic of READY messages (contracts section 8).
pub const CONTROL_TOPIC: &str = "fp.bus.control.v1";

/// Which bus is followed, where facts are read and records are written, which platform run is the
/// active one, and what the streams are like that are made for its messages.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "worldstream.io",
    version = "v1alpha1",
    kind = "ReadyTrigger",
    plural = "readytriggers",
    namespaced,
    shortname = "rt",
    category = "worldstream-all",
    status = "ReadyTriggerStatus",
    derive = "PartialEq",
    doc = "Follows a control bus and makes a WorldStream for each READY message."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadyTriggerSpec {
    /// Name of the StreamProfile of the streams, in the same namespace; its `ready.downstream`
    /// says what must be up before a stream begins. Example: `replay`.
    #[schemars(length(min = 1, max = 253))]
    pub profile: String,
    /// The control bus that is followed: a topic of it, and where it is. Exactly one of `file` and
    /// `kinesis` is given.
    pub bus: BusSpec,
    /// The object store: run facts are read there, and records and governance facts are written.
    pub store: ReadyStoreSpec,
    /// Where run facts may lie; left out, below `store.root`. What lies elsewhere is never opened:
    /// `RUN_FACTS_INVALID`.
    #[serde(default)]
    pub facts: FactsSpec,
    /// The platform run that is the active one: messages of another are `SKIPPED_OUT_OF_SCOPE`.
    /// Exactly one of `platformRunId` and `configMap` is given; without a cluster a flag may give it
    /// instead.
    #[serde(default)]
    pub scope: ScopeSpec,
    /// The engine run root of every stream, whatever messages and facts say. Left out: the
    /// message's `oracle_pack_ref`, else that of the facts. Example:
    /// `s3://oracle-store/runs/world-a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub engine_run_root: Option<String>,
    /// What the streams are like where they differ from the profile's defaults.
    #[serde(default)]
    pub stream: StreamOverridesSpec,
    /// What governance facts say of where they come from.
    #[serde(default)]
    pub provenance: ProvenanceSpec,
    /// Whether streams of several messages may run at once: `Allow` (the default), up to
    /// `maxActive`, or `Forbid`, one after the other. The messages that wait stay in the bus.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// How many streams may run at once with `Allow`, 1 to 256.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub max_active: u32,
    /// How often a message is tried again whose downstream is not ready: first after `minInterval`,
    /// each time twice as long, up to `maxInterval`.
    #[serde(default)]
    pub deferral: DeferralSpec,
    /// How many WorldStreams of messages that are done with are kept, the newest ones, in a
    /// cluster; 0 to 1000. Those that failed count, and are kept before those that completed.
    #[serde(default = "history_limit")]
    #[schemars(range(min = 0, max = 1000))]
    pub history_limit: u32,
    /// `true`: takes no more messages, in a cluster. What runs goes on to its end and is recorded,
    /// and `false` (the default) goes on where the bus was left.
    #[serde(default)]
    pub suspend: bool,
    /// What the trigger's own pod asks for and may use. Left out: 50m CPU and 64Mi asked for, and
    /// at most 256Mi of memory used. Image, pull secrets, environment and pod template are those
    /// of the profile's `worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Volumes of the trigger's own pod, in a cluster: where the bus or the store is a folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volumes: Vec<TriggerVolumeSpec>,
}

fn one() -> u32 {
    1
}

fn history_limit() -> u32 {
    10
}

/// The control bus: a topic of it, and where it is. Exactly one of `file` and `kinesis` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BusSpec {
    /// The topic that is followed; messages of others are passed over.
    #[schemars(length(min = 1, max = 256))]
    pub topic: String,
    /// The largest message that is read; a larger one is counted as invalid and
    /// passed over. Example: `512KiB`.
    pub max_message_bytes: BytesText,
    /// A folder with a JSON file a message, at `<root>/<topic>/*.json`, on a volume or in S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBusSpec>,
    /// A Kinesis stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinesis: Option<KinesisBusSpec>,
}

impl Default for BusSpec {
    fn default() -> Self {
        BusSpec {
            topic: CONTROL_TOPIC.into(),
            max_message_bytes: BytesText::mib(1),
            file: None,
            kinesis: None,
        }
    }
}

/// A folder with a JSON file a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FileBusSpec {
    /// The folder above the topics: an absolute path, or `s3://bucket/prefix`, reached as
    /// `store.s3` says. `CONTROL_BUS_STREAM_MISSING` without it. Example: `/mnt/bus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub root: Option<String>,
    /// How often it is looked for new files, where the system does not tell of them at once, such
    /// as in S3 or on a network's file system; more than 0. Example: `500ms`.
    pub poll_interval: DurationText,
}

impl Default for FileBusSpec {
    fn default() -> Self {
        FileBusSpec {
            root: None,
            poll_interval: DurationText::secs(2),
        }
    }
}

/// A Kinesis stream. Without `credentials`, those of the environment count, as for AWS's own
/// tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct KinesisBusSpec {
    /// The stream's name. `CONTROL_BUS_STREAM_MISSING` without it. Example: `fp-control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub stream: Option<String>,
    /// The stream's region. Left out: that of the environment, else `us-east-1`. Example:
    /// `eu-west-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// The URL of the service, http or https, without a path. Left out: `AWS_ENDPOINT_URL_KINESIS`
    /// or `AWS_ENDPOINT_URL` of the environment, else AWS's own of the region. Example:
    /// `http://kinesis.platform.svc:4567`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub endpoint: Option<String>,
    /// The access key that requests are signed with. Left out: that of the environment, as for AWS's
    /// own tools; in a cluster the ServiceAccount is `<trigger>-trigger`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3CredentialsSpec>,
    /// A file of PEM certificates to trust instead of the built-in roots, for https; without a
    /// cluster alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub ca_file: Option<String>,
    /// The same from a ConfigMap in the trigger's namespace, in a cluster alone. Example:
    /// `{name: kinesis-ca, key: ca.pem}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<KeyRef>,
}

/// The object store. The run prefix is `<platform_run_id>` in a bucket, and
/// `fraud-platform/<platform_run_id>` below a local root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadyStoreSpec {
    /// An absolute path, or `s3://bucket` with or without a prefix. Example: `s3://fraud-platform`.
    #[schemars(length(min = 1, max = 2048))]
    pub root: String,
    /// How S3 is reached, for all that begins with `s3://`: bus, facts and records.
    #[serde(default)]
    pub s3: S3Spec,
}

/// Where run facts may lie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FactsSpec {
    /// Roots below which facts must lie, checked after normalisation. Left out or empty: below
    /// `store.root`. Example: `[s3://fraud-platform]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub allowed_roots: Vec<String>,
}

/// The platform run that is the active one. Exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeSpec {
    /// The platform run's id. Example: `platform_20260101T000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^platform_[0-9]{8}T[0-9]{6}Z$"), length(max = 32))]
    pub platform_run_id: Option<String>,
    /// An entry of a ConfigMap in the trigger's namespace that holds it, in a cluster alone; a
    /// change of it takes effect at once. Example: `{name: active-run, key: platform_run_id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyRef>,
}

/// What the streams are like where they differ from the profile's defaults; each field is as in a
/// WorldStream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamOverridesSpec {
    /// Which traffic is sent: `fraud` (the default) or `baseline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TrafficMode")]
    pub traffic_mode: Option<TrafficMode>,
    /// Narrows the traffic to these output ids. Example: `[s3_event_stream_with_fraud_6B]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub outputs: Vec<String>,
    /// Event seconds a wall-clock second: 1 is real time, 0 or less no waiting at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,
    /// At most so many events for each output and lane; 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_events_per_output: Option<u64>,
    /// Splits each output over several producers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<LanesSpec>,
    /// Requests in flight for each output and lane, 1 to 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub in_flight: Option<u32>,
    /// What happens when an output falls behind the clock: `Hold`, `CatchUp` or `Fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Overload")]
    pub overload: Option<Overload>,
    /// What one output's failure for good does to the others: `StopAll` or `Continue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnOutputFailure")]
    pub on_output_failure: Option<OnOutputFailure>,
    /// How long after its end a stream's Jobs, pods, roles and plan are kept, in a cluster.
    /// Example: `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<DurationText>,
}

/// What governance facts say of where they come from; never taken from a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ProvenanceSpec {
    /// The release of this service. Example: `worldstream-0.1.0`.
    #[schemars(length(min = 1, max = 256))]
    pub service_release_id: String,
    /// The environment. Example: `dev`.
    #[schemars(length(min = 1, max = 256))]
    pub environment: String,
    /// The revision of the configuration. Left out: facts do not have it. Example: `3f2a91c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub config_revision: Option<String>,
}

impl Default for ProvenanceSpec {
    fn default() -> Self {
        ProvenanceSpec {
            service_release_id: "dev-local".into(),
            environment: "unknown".into(),
            config_revision: None,
        }
    }
}

/// Whether streams of several messages may run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Up to `maxActive` of them.
    #[default]
    Allow,
    /// One after the other.
    Forbid,
}

/// How often a message is tried again whose downstream is not ready: first after `minInterval`,
/// each time twice as long, up to `maxInterval`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeferralSpec {
    /// The first wait, more than 0. Example: `500ms`.
    pub min_interval: DurationText,
    /// The longest wait, at least `minInterval`. Example: `1m`.
    pub max_interval: DurationText,
}

impl Default for DeferralSpec {
    fn default() -> Self {
        DeferralSpec {
            min_interval: DurationText::secs(1),
            max_interval: DurationText::secs(20),
        }
    }
}

/// A volume of the trigger's own pod, by its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TriggerVolumeSpec {
    /// Name of the PersistentVolumeClaim, in the trigger's namespace. Example: `platform`.
    #[schemars(length(min = 1, max = 253))]
    pub persistent_volume_claim: String,
    /// Where it is mounted in the pod: an absolute path. Example: `/mnt/platform`.
    #[schemars(length(min = 2, max = 1024))]
    pub mount_path: String,
    /// The folder of the volume that is mounted, relative and without `..`. Left out: all of it.
    /// Example: `bus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub sub_path: Option<String>,
    /// Nothing is written to it: for a bus that is only read. The store is written to.
    #[serde(default)]
    pub read_only: bool,
}

impl ReadyTriggerSpec {
    /// How many streams may run at once.
    pub fn most_active(&self) -> u32 {
        match self.concurrency_policy {
            ConcurrencyPolicy::Allow => self.max_active,
            ConcurrencyPolicy::Forbid => 1,
        }
    }
}
