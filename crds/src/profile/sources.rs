//! Where a profile takes texts, lists and secrets from: files without a cluster, ConfigMaps and
//! Secrets in one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One entry of a ConfigMap or a Secret in the profile's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The object's name. Example: `ig`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of the entry. Example: `api-key`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A text from one of four places. Exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSource {
    /// A file, without a cluster alone; a relative path counts from the working directory. Example:
    /// `/etc/worldstream/catalogue.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of a file that comes with the program. Example: `catalogue.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_in: Option<String>,
    /// The text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A ConfigMap in the profile's namespace, in a cluster alone. Example:
    /// `{name: engine-catalogue, key: catalogue.yaml}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyRef>,
}

impl TextSource {
    /// A file that comes with the program.
    pub fn built_in(name: &str) -> Self {
        TextSource {
            built_in: Some(name.into()),
            ..TextSource::default()
        }
    }
}

/// A list of output ids from one of four places. Exactly one field is given. A file is YAML: a
/// list of ids, or `version` and `output_ids`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputList {
    /// A file, without a cluster alone; a relative path counts from the working directory. Example:
    /// `/etc/worldstream/traffic.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of a file that comes with the program. Example: `outputs/traffic_fraud.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_in: Option<String>,
    /// The ids themselves. Example: `[s3_event_stream_with_fraud_6B]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_ids: Option<Vec<String>>,
    /// A ConfigMap in the profile's namespace, in a cluster alone; its text is as a file's.
    /// Example: `{name: engine-outputs, key: traffic.yaml}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyRef>,
}

impl OutputList {
    /// A file that comes with the program.
    pub fn built_in(name: &str) -> Self {
        OutputList {
            built_in: Some(name.into()),
            ..OutputList::default()
        }
    }
}

/// Where a secret is read, at the start and again when IG answers 401; its value is never part of
/// a document. Exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// A file, without a cluster alone; one line break at its end is not part of the secret. Example:
    /// `/var/run/worldstream/ig/api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of an environment variable, without a cluster alone. Example: `WORLDSTREAM_IG_API_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A Secret in the profile's namespace, in a cluster alone: the workers read it as a file.
    /// Example: `{name: ig, key: api-key}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyRef>,
}
