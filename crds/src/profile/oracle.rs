//! What preflight may have done to a world before it is streamed: views built where they are
//! missing, in a cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ResourcesSpec, S3CredentialsSpec, VolumeSpec};
use crate::bytes::BytesText;
use crate::policy::BuildViews;

/// Views that are missing when preflight looks, in a cluster. Without one, `worldstream oracle
/// build-views` makes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OracleSpec {
    /// `Never`: a view that is missing ends the stream with `STREAM_VIEW_MISSING`. `IfMissing`: a
    /// Job a view builds it from the engine's raw parts before anything is sent. Its pods alone
    /// may write to where the world lies.
    pub build_views: BuildViews,
    /// Credentials that may write to the world's store in S3, which the pods that build views
    /// alone have. Left out: those of `world.s3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3CredentialsSpec>,
    /// The same by annotations of their ServiceAccount. Left out: those of `worker`. Example:
    /// `{eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/oracle"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Memory that one build may take, at least `64MiB`; more memory means fewer passes.
    pub memory: BytesText,
    /// What the pod of a build asks for and may use. Left out: 250m CPU and `memory` asked for,
    /// and at most `memory` and 128Mi used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// A volume for rows that are sorted and not yet merged, mounted read-write; they take about
    /// as much as the raw parts. What lies there outlives a pod, so that the next one goes on from
    /// it. Left out: beside the view where the world lies on a volume, else in the pod, and a pod
    /// that is replaced begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<VolumeSpec>,
}

impl Default for OracleSpec {
    fn default() -> Self {
        OracleSpec {
            build_views: BuildViews::Never,
            credentials: None,
            service_account_annotations: BTreeMap::new(),
            memory: BytesText::mib(256),
            resources: None,
            scratch: None,
        }
    }
}
