//! The Ingestion Gate (IG) in a profile: its URL, how we say who we are, how often an event is
//! tried, and when events that it quarantines end the stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, SecretRef};
use crate::duration::DurationText;
use crate::policy::OnQuarantine;

/// The Ingestion Gate (IG), and how hard it is tried to reach it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GateSpec {
    /// IG's URL, http or https, with or without the path `/v1/ingest/push`. Example:
    /// `https://ig.example.net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// How we say who we are. Left out: no header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSpec>,
    /// A file of PEM certificates to trust instead of the built-in roots, for https; without a
    /// cluster alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The same from a ConfigMap in the profile's namespace, in a cluster alone. Example:
    /// `{name: ig-ca, key: ca.pem}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<KeyRef>,
    /// Requests in flight for each output and lane, 1 to 256, for streams that do not say.
    #[schemars(range(min = 1, max = 256))]
    pub in_flight: u32,
    /// An answer without a known decision is not taken but tried again.
    pub require_decision: bool,
    /// How long an answer may take.
    pub timeout: DurationText,
    /// How often an event is tried, and how long is waited in between.
    pub retry: RetrySpec,
    /// Bounds trying in time instead of attempts: how long one event may be tried before the
    /// stream ends as unavailable. Left out: `1h` in a cluster, else `retry.attempts` counts.
    /// Example: `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_for: Option<DurationText>,
    /// When events that IG quarantines end the stream.
    pub quarantine: QuarantineSpec,
}

impl Default for GateSpec {
    fn default() -> Self {
        GateSpec {
            url: None,
            auth: None,
            ca_file: None,
            ca_config_map: None,
            in_flight: 16,
            require_decision: true,
            timeout: DurationText::secs(30),
            retry: RetrySpec::default(),
            unavailable_for: None,
            quarantine: QuarantineSpec::default(),
        }
    }
}

/// How we say who we are, as a header of each request. Exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthSpec {
    /// A key, sent as `X-IG-Api-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretRef>,
    /// A finished service token, sent as `X-IG-Service-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_token: Option<SecretRef>,
    /// A service token that is signed here, sent as `X-IG-Service-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_token: Option<SignedTokenSpec>,
}

/// A service token that is signed here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedTokenSpec {
    /// Whom the token is for. Example: `svc:world_stream_producer`.
    #[schemars(length(min = 1, max = 1024))]
    pub principal: String,
    /// The key that it is signed with.
    pub secret: SecretRef,
}

/// How often an event is tried: before attempt n+1 it is waited for `base` × 2^(n-1), at most
/// `max`, and a random part of up to the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts for one event, the first included; 1 or more. Not used with `unavailableFor`.
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// The first wait, more than 0.
    pub base: DurationText,
    /// The longest wait, at least `base`.
    pub max: DurationText,
}

impl Default for RetrySpec {
    fn default() -> Self {
        RetrySpec {
            attempts: 5,
            base: DurationText::millis(250),
            max: DurationText::secs(5),
        }
    }
}

/// When events that IG quarantines end the stream. A quarantined event counts as taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct QuarantineSpec {
    /// `Continue` counts them; `Stop` ends the stream beyond `maxCount` or `maxShare`, whichever
    /// is passed first.
    pub policy: OnQuarantine,
    /// Stop beyond so many events of one output and lane since the attempt's start. Example:
    /// `100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_count: Option<u64>,
    /// Stop when more than this share of the last `window` events was quarantined, 0 to 1.
    /// Example: `0.01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_share: Option<f64>,
    /// Events that the share is taken of, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub window: u64,
}

impl Default for QuarantineSpec {
    fn default() -> Self {
        QuarantineSpec {
            policy: OnQuarantine::Continue,
            max_count: None,
            max_share: None,
            window: 1_000,
        }
    }
}
