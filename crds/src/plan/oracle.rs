//! What is done where a view is missing: of the profile, made part of the plan.

use serde::{Deserialize, Serialize};

use super::documents::Document;
use super::error::PlanError;
use super::profile::check;
use super::s3::{self, S3CredentialsPlan};
use crate::{BuildViews, BytesText, StreamProfileSpec};

/// What is done where a view is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OraclePlan {
    /// Whether it is built.
    pub build_views: BuildViews,
    /// Who may write to the world's store; none: who reads it. Only where views are built.
    pub credentials: Option<S3CredentialsPlan>,
}

impl OraclePlan {
    /// Whether nothing is done.
    pub fn is_nothing(&self) -> bool {
        *self == OraclePlan::default()
    }
}

/// The least memory that a build can be given.
const LEAST_MEMORY: BytesText = BytesText::mib(64);

/// What is done where a view is missing.
pub(super) fn plan(profile: &Document<StreamProfileSpec>) -> Result<OraclePlan, PlanError> {
    let spec = &profile.spec.oracle;
    if spec.memory < LEAST_MEMORY {
        let wrong = Err(format!(
            "found {}, expected at least {LEAST_MEMORY}",
            spec.memory
        ));
        return check(profile, "spec.oracle.memory", wrong);
    }
    if spec.build_views == BuildViews::Never {
        return Ok(OraclePlan::default());
    }
    let credentials = spec.credentials.as_ref();
    let credentials =
        credentials.map(|given| s3::credentials(profile, "spec.oracle.credentials", given));
    Ok(OraclePlan {
        build_views: spec.build_views,
        credentials: credentials.transpose()?,
    })
}
