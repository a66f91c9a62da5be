//! The pods that stream, in a cluster. What would let a pod reach beyond its stream (service
//! account, host namespaces, host paths, security context) is not here on purpose.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A volume by its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Name of the PersistentVolumeClaim, in the profile's namespace. Example: `worlds`.
    #[schemars(length(min = 1, max = 253))]
    pub persistent_volume_claim: String,
    /// Where it is mounted in the pods: an absolute path. Example: `/mnt/worlds`.
    #[schemars(length(min = 2, max = 1024))]
    pub mount_path: String,
    /// The folder of the volume that is mounted, relative and without `..`. Left out: all of it.
    /// Example: `oracle/runs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub sub_path: Option<String>,
}

/// The pods that stream, and those that verify a world beforehand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerSpec {
    /// The worker's image. Left out: the one that the operator was installed with. A stream that
    /// runs keeps the image that it began with until it is suspended, or `rollout` says otherwise.
    /// Example: `registry.example.net/worldstream:0.1.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// When the node pulls the image: `Always`, `IfNotPresent` or `Never`. Left out: as the
    /// operator was installed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ImagePullPolicy")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with the registry's credentials, in the profile's namespace. Example:
    /// `[{name: registry}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<NameRef>,
    /// What one worker asks for and may use. Left out: 100m CPU and 192Mi asked for, and at most
    /// 512Mi of memory used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// More environment variables of the workers, such as those of a proxy; secrets do not belong
    /// here. Example: `[{name: HTTPS_PROXY, value: "http://proxy.example.net:3128"}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvSpec>,
    /// Annotations of the pods' ServiceAccounts, by which a cloud knows who they are: for worlds in
    /// S3 without `credentials`. Example:
    /// `{eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/replays"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Where the pods run, and what they are labelled with.
    pub pod_template: PodTemplateSpec,
    /// When a change of image, resources or pod template reaches the workers of streams that run:
    /// `WhenSuspended`, the next time that the stream is suspended or tried again, or
    /// `Immediately`, each worker draining and saving before it is replaced.
    pub rollout: Rollout,
    /// How many times in a row a worker may crash without its cursor moving before its output
    /// fails for good; 1 to 100. A crash after which the cursor has moved starts the count anew.
    #[schemars(range(min = 1, max = 100))]
    pub crash_limit: u32,
}

impl Default for WorkerSpec {
    fn default() -> Self {
        WorkerSpec {
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            env: Vec::new(),
            service_account_annotations: BTreeMap::new(),
            pod_template: PodTemplateSpec::default(),
            rollout: Rollout::default(),
            crash_limit: 5,
        }
    }
}

/// When a node pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: the node has it.
    Never,
}

/// When a change of the workers' image, resources or pod template reaches streams that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rollout {
    /// The next time that the stream is suspended or tried again.
    #[default]
    WhenSuspended,
    /// At once: each worker drains, saves, and is replaced; the clock holds meanwhile.
    Immediately,
}

/// An object in the same namespace, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameRef {
    /// The object's name. Example: `registry`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvSpec {
    /// The variable's name. Example: `HTTPS_PROXY`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its value. Example: `http://proxy.example.net:3128`.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// What a container asks for and may use, by resource: `cpu`, `memory`, `ephemeral-storage`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcesSpec {
    /// What is kept free for it. Example: `{cpu: 250m, memory: 256Mi}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most. Example: `{memory: 512Mi}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Where pods run, and what they are labelled with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PodTemplateSpec {
    /// More labels of the pods. Example: `{team: fraud}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// More annotations of the pods. Example: `{sidecar.istio.io/inject: "false"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Only nodes with these labels. Example: `{disk: fast}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods bear. Example: `[{key: replay, operator: Exists}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Nodes and pods that they keep near to or away from, as in a pod's own `affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How they spread over the cluster, as in a pod's own `topologySpreadConstraints`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The pods' priority class. Example: `replays`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// How many seconds a worker has to wait for what is in flight and to save, 5 to 3600. Left
    /// out: the time that an answer of IG may take, and half a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub termination_grace_period_seconds: Option<u32>,
}
