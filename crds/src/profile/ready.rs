//! What must be up before a stream of a READY message begins, in a profile (contracts section 8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::duration::DurationText;

/// What holds for streams that READY messages ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadySpec {
    /// What must be up before a stream begins, and for which run; until then the message is
    /// `DEFERRED_DOWNSTREAM_NOT_READY`. Left out or empty: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub downstream: Vec<DownstreamSpec>,
}

/// A part of the platform that must be up. Exactly one of `http`, `file` and `condition` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DownstreamSpec {
    /// What it is called in messages. Example: `ingestion-gate`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// A GET request: an answer 2xx says that it is up, a field of its JSON for which run. Redirects
    /// are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDownstream>,
    /// A `state.json` that an operator of processes keeps, with `active_platform_run_id` and
    /// `processes`, by their ids or as a list: at least one, and each must run. One does with
    /// `running: true`, with a `status` or `state` of running, up, ready, healthy, started or ok; else
    /// by its `pid`, which is looked for where the trigger runs, and its `pid_create_time` (seconds
    /// since 1970), if that is given; and not with `stopped_at_utc`. Of a file in S3 a `pid` alone is
    /// taken for one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileDownstream>,
    /// A condition of a Kubernetes object, in a cluster alone. The trigger reads the object with its
    /// ServiceAccount, `<trigger>-trigger`: whoever writes the trigger gives that the right to `get`
    /// it, by a Role and a RoleBinding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionDownstream>,
    /// It must be up for the message's platform run: one that is up for another, or does not say
    /// for which, is not ready. Left out: `true`.
    #[serde(default = "yes")]
    pub require_active_run_match: bool,
}

fn yes() -> bool {
    true
}

/// A GET request: an answer 2xx says that it is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpDownstream {
    /// The URL, http or https. Example: `http://ingestion-gate:8080/v1/state`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Where the active platform run id stands in the answer, which is JSON: a JSON pointer.
    #[serde(default = "active_run")]
    #[schemars(length(min = 1, max = 1024))]
    pub pointer: String,
    /// More headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HeaderSpec>,
    /// A file of PEM certificates to trust instead of the built-in roots, for https; without a
    /// cluster alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How long the answer may take, more than 0. Example: `500ms`.
    #[serde(default = "five_seconds")]
    pub timeout: DurationText,
}

fn active_run() -> String {
    "/active_platform_run_id".into()
}

fn five_seconds() -> DurationText {
    DurationText::secs(5)
}

/// A header of a request. Exactly one of `value` and `secret` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderSpec {
    /// The header's name. Example: `Authorization`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its value, which is no secret. Example: `worldstream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// Where its value is read, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// A `state.json` that an operator of processes keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileDownstream {
    /// The file: an absolute path, or `s3://bucket/key`, reached as the trigger's `store.s3` says.
    /// Example: `/mnt/platform/operate/local_parity/state.json`.
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,
}

/// A condition of a Kubernetes object. The trigger reads it with its own service account,
/// `<trigger>-trigger`, which whoever writes the trigger must give the right to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionDownstream {
    /// The object's apiVersion. Example: `apps/v1`.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// The object's kind. Example: `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The object's name. Example: `ingestion-gate`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The object's namespace. Left out: the trigger's own, or none for a kind without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The condition's type. Example: `Available`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub condition_type: String,
    /// What the condition's status must be: `True`, `False` or `Unknown`.
    #[serde(default = "condition_true")]
    #[schemars(length(min = 1, max = 16))]
    pub status: String,
    /// Where the active platform run id stands in the object: field names with dots in between, or
    /// a JSON pointer where a name has a dot itself. Example:
    /// `/metadata/annotations/platform.example.net~1active-run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub run_id_path: Option<String>,
}

fn condition_true() -> String {
    "True".into()
}
