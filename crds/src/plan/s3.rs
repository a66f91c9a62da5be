//! How S3 is reached: of the profile, made part of the plan.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::documents::Document;
use super::error::PlanError;
use super::profile::{check, check_some, secret};
use super::{SecretSource, values};
use crate::{BytesText, S3CredentialsSpec, S3Spec, StreamProfileSpec};

type Result<T, E = PlanError> = std::result::Result<T, E>;

/// How S3 is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Plan {
    /// http or https and a host, without a path; none: the environment's, else AWS's.
    pub endpoint: Option<String>,
    /// None: the environment's.
    pub region: Option<String>,
    /// The bucket is part of the path; none: with an endpoint.
    pub path_style: Option<bool>,
    /// Requests are not signed.
    pub anonymous: bool,
    /// None: those of the environment.
    pub credentials: Option<S3CredentialsPlan>,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Attempts for one request, the first included.
    pub attempts: u32,
    /// How long one request may be tried.
    pub unavailable_for: Duration,
}

impl Default for S3Plan {
    /// As a profile that says nothing of S3.
    fn default() -> Self {
        let spec = S3Spec::default();
        S3Plan {
            endpoint: None,
            region: None,
            path_style: None,
            anonymous: false,
            credentials: None,
            ca_file: None,
            attempts: spec.attempts,
            unavailable_for: spec.unavailable_for.0,
        }
    }
}

/// Credentials of S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3CredentialsPlan {
    /// The access key's id.
    pub access_key_id: SecretSource,
    /// The access key's secret.
    pub secret_access_key: SecretSource,
    /// A session's token.
    pub session_token: Option<SecretSource>,
}

/// How S3 is reached, as a document says it at `base`, such as `spec.world.s3`.
pub fn plan<S>(document: &Document<S>, base: &str, spec: &S3Spec) -> Result<S3Plan> {
    let at = |field: &str| format!("{base}.{field}");
    if spec.anonymous && spec.credentials.is_some() {
        return check(
            document,
            &at("credentials"),
            Err("is given, and anonymous is true; expected either".into()),
        );
    }
    if spec.attempts == 0 {
        let wrong = Err("found 0, expected 1 or more".into());
        return check(document, &at("attempts"), wrong);
    }
    let given = spec.credentials.as_ref();
    let credentials = given.map(|given| credentials(document, &at("credentials"), given));
    let text = |field: &str, value: &Option<String>| {
        check_some(document, &at(field), value.clone(), values::some_text)
    };
    let endpoint = spec.endpoint.clone();
    Ok(S3Plan {
        endpoint: check_some(document, &at("endpoint"), endpoint, values::endpoint)?,
        region: text("region", &spec.region)?,
        path_style: spec.path_style,
        anonymous: spec.anonymous,
        credentials: credentials.transpose()?,
        ca_file: text("caFile", &spec.ca_file)?.map(PathBuf::from),
        attempts: spec.attempts,
        unavailable_for: check(
            document,
            &at("unavailableFor"),
            values::some_time(spec.unavailable_for),
        )?,
    })
}

/// Where credentials are read that a document gives at `base`.
pub fn credentials<S>(
    document: &Document<S>,
    base: &str,
    given: &S3CredentialsSpec,
) -> Result<S3CredentialsPlan> {
    let of = |field: &str, given| secret(document, &format!("{base}.{field}"), given);
    let token = given.session_token.as_ref();
    Ok(S3CredentialsPlan {
        access_key_id: of("accessKeyId", &given.access_key_id)?,
        secret_access_key: of("secretAccessKey", &given.secret_access_key)?,
        session_token: token.map(|token| of("sessionToken", token)).transpose()?,
    })
}

/// Bytes that are read ahead.
pub fn read_ahead(profile: &Document<StreamProfileSpec>) -> Result<u64> {
    let bytes = profile.spec.world.read_ahead;
    let least = BytesText::mib(1);
    let value = match bytes >= least {
        true => Ok(bytes.0),
        false => Err(format!("found {bytes}, expected at least {least}")),
    };
    check(profile, "spec.world.readAhead", value)
}
