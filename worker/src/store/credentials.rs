//! Who we say that we are to AWS: a document's own credentials, else the first of AWS's ambient
//! sources that there is. Which one it is, is decided once; what it holds is read again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{CredentialProvider, StaticCredentialProvider};
use worldstream_crds::Reason;

use super::container::Container;
use super::http::Connector;
use super::shared::{self, Settings};
use crate::failure::{Failure, Result, chain};
use crate::plan::{S3CredentialsPlan, SecretSource};
use crate::secret;

/// Credentials, and where they are from, for messages.
pub(super) struct Found {
    pub provider: AwsCredentialProvider,
    pub source: String,
}

/// There are no credentials to send, for now or for good.
#[derive(Debug, Clone)]
pub(super) struct NoCredentials {
    pub text: String,
    /// Worth another try.
    pub passing: bool,
}

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no credentials: {}", self.text)
    }
}

impl Error for NoCredentials {}

impl From<NoCredentials> for object_store::Error {
    fn from(none: NoCredentials) -> Self {
        object_store::Error::Generic {
            store: "S3",
            source: Box::new(none),
        }
    }
}

/// Whether it is worth another try, where credentials were asked for and not given.
pub(crate) fn is_passing(error: &object_store::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(none) = error.downcast_ref::<NoCredentials>() {
            return none.passing;
        }
        link = error.source();
    }
    true
}

/// The environment's variables; empty ones count as unset, as they do for AWS's tools.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// What asks, as documents call it: `world.s3`.
    user: &'static str,
}

impl Environment {
    /// This process's, those of AWS, for a part of a document such as `world.s3`.
    pub fn of_process(user: &'static str) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| {
                (name.starts_with("AWS_") || name == "HOME") && !value.is_empty()
            });
        Environment {
            variables: variables.collect(),
            user,
        }
    }

    #[cfg(test)]
    pub fn of(given: &[(&str, &str)]) -> Self {
        let owned = given
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Environment {
            variables: owned.collect(),
            user: "world.s3",
        }
    }

    /// A variable.
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The first of these that is set.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The region: the one that is given, else the environment's, else that of the shared files,
    /// else `us-east-1`, which stores that have none take.
    pub fn region(&self, given: Option<&str>) -> Result<String> {
        if let Some(region) = given
            .map(str::to_owned)
            .or_else(|| self.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
        {
            return Ok(region);
        }
        let of_profile = self.shared()?.and_then(|(_, mut all)| all.remove("region"));
        Ok(of_profile.unwrap_or_else(|| "us-east-1".to_owned()))
    }

    /// The profile of the shared files that is in force, with its name; none if there is none and
    /// none was asked for.
    fn shared(&self) -> Result<Option<(String, Settings)>> {
        let asked = self.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let name = asked.clone().unwrap_or_else(|| "default".to_owned());
        let file = |variable: &str, below_home: &str| {
            let at_home = || Some(PathBuf::from(self.get("HOME")?).join(below_home));
            self.get(variable).map(PathBuf::from).or_else(at_home)
        };
        let text = |path: Option<PathBuf>| match path {
            None => Ok(String::new()),
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(self
                    .bad(&path.display().to_string())
                    .found("a file of AWS profiles that cannot be read")
                    .cause(&error)),
            },
        };
        let credentials = text(file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"))?;
        let config = text(file("AWS_CONFIG_FILE", ".aws/config"))?;
        match (shared::profile(&credentials, &config, &name), asked) {
            (Some(settings), _) => Ok(Some((name, settings))),
            (None, None) => Ok(None),
            (None, Some(name)) => Err(self
                .bad("AWS_PROFILE")
                .found(format!("{name:?}, which neither file of AWS profiles has"))
                .expected("a profile of ~/.aws/credentials or ~/.aws/config")),
        }
    }

    fn bad(&self, object: &str) -> Failure {
        Failure::new(Reason::StreamFailed, object).field(format!("{}.credentials", self.user))
    }
}

/// A plan's own credentials, else the first of: the environment, a web identity, a
/// profile of the shared files, the container's, the instance's.
///
/// # Errors
/// `STREAM_FAILED` where the source that counts is incomplete or cannot be read.
pub(super) fn find(
    own: Option<&S3CredentialsPlan>,
    environment: &Environment,
    region: &str,
    connector: &Connector,
) -> Result<Found> {
    if let Some(own) = own {
        return own_credentials(own, environment.user);
    }
    let keys = (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
    );
    match keys {
        (Some(key_id), Some(secret_key)) => {
            let token = environment.get("AWS_SESSION_TOKEN");
            return Ok(fixed(
                key_id,
                secret_key,
                token,
                "the variable AWS_ACCESS_KEY_ID",
            ));
        }
        (None, None) => {}
        _ => {
            return Err(environment
                .bad("the environment")
                .found("one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
                .expected("both or neither"));
        }
    }
    let token_file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE");
    let role = environment.get("AWS_ROLE_ARN");
    if let (Some(file), Some(role)) = (token_file, role) {
        let session = environment.get("AWS_ROLE_SESSION_NAME");
        return web_identity(environment, region, connector, &file, &role, session);
    }
    if let Some((name, settings)) = environment.shared()?
        && let Some(found) = of_profile(&name, &settings, environment, region, connector)?
    {
        return Ok(found);
    }
    let container = Container::of(environment, connector.client.clone())
        .map_err(|text| environment.bad("the environment").detail(text))?;
    if let Some(container) = container {
        return Ok(Found {
            provider: Arc::new(FromContainer {
                container: Arc::new(container),
                io: connector.io.clone(),
            }),
            source: "the container (AWS_CONTAINER_CREDENTIALS_…)".to_owned(),
        });
    }
    instance(environment, connector)
}

fn fixed(key_id: String, secret_key: String, token: Option<String>, source: &str) -> Found {
    Found {
        provider: Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id,
            secret_key,
            token,
        })),
        source: source.to_owned(),
    }
}

/// The plan's own, read now, so that a mistake shows early, and again at each request, so that
/// new ones count at once.
fn own_credentials(plan: &S3CredentialsPlan, user: &'static str) -> Result<Found> {
    read_own(plan, user)?;
    Ok(Found {
        provider: Arc::new(Own(plan.clone(), user)),
        source: format!(
            "{} ({user}.credentials)",
            secret::place(&plan.access_key_id)
        ),
    })
}

fn read_own(plan: &S3CredentialsPlan, user: &str) -> Result<AwsCredential> {
    let text = |source: &SecretSource, field: &str| {
        let bad = || Failure::new(Reason::StreamFailed, user).field(format!("credentials.{field}"));
        let bytes = secret::read(source, bad)?;
        let text = String::from_utf8(bytes).ok();
        text.filter(|text| text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)))
            .ok_or_else(|| {
                bad()
                    .found(format!("{} with other characters", secret::place(source)))
                    .expected("visible ASCII characters, one line")
            })
    };
    let token = plan.session_token.as_ref();
    Ok(AwsCredential {
        key_id: text(&plan.access_key_id, "accessKeyId")?,
        secret_key: text(&plan.secret_access_key, "secretAccessKey")?,
        token: token.map(|token| text(token, "sessionToken")).transpose()?,
    })
}

/// What a profile of the shared files holds; none if it is of no use here and was not asked for.
fn of_profile(
    name: &str,
    settings: &Settings,
    environment: &Environment,
    region: &str,
    connector: &Connector,
) -> Result<Option<Found>> {
    let get = |key: &str| settings.get(key).filter(|value| !value.is_empty()).cloned();
    let source = format!("the AWS profile {name}");
    let role = get("role_arn");
    if let (Some(role), Some(file)) = (&role, get("web_identity_token_file")) {
        let session = get("role_session_name");
        return web_identity(environment, region, connector, &file, role, session).map(Some);
    }
    match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(key_id), Some(secret_key)) if role.is_none() => {
            let token = get("aws_session_token");
            return Ok(Some(fixed(key_id, secret_key, token, &source)));
        }
        (Some(_), None) | (None, Some(_)) if role.is_none() => {
            return Err(environment
                .bad(&source)
                .found("one of aws_access_key_id and aws_secret_access_key")
                .expected("both"));
        }
        _ => {}
    }
    let other = [
        "role_arn",
        "credential_process",
        "sso_session",
        "sso_start_url",
    ];
    let other = other.into_iter().find(|key| settings.contains_key(*key));
    let asked = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
    match (other, asked) {
        (Some(key), _) => Err(environment
            .bad(&source)
            .found(format!("{key}, which this program does not follow"))
            .expected("aws_access_key_id and aws_secret_access_key, or role_arn and web_identity_token_file")),
        (None, Some(_)) => Err(environment
            .bad(&source)
            .found("no credentials")
            .expected("aws_access_key_id and aws_secret_access_key")),
        (None, None) => Ok(None),
    }
}

/// The store's own client of AWS's token service.
fn web_identity(
    environment: &Environment,
    region: &str,
    connector: &Connector,
    token_file: &str,
    role: &str,
    session: Option<String>,
) -> Result<Found> {
    let endpoint = environment
        .first(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])
        .unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
    let session = session.unwrap_or_else(|| "worldstream".to_owned());
    let builder = AmazonS3Builder::new()
        .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file)
        .with_config(AmazonS3ConfigKey::RoleArn, role)
        .with_config(AmazonS3ConfigKey::RoleSessionName, session)
        .with_config(AmazonS3ConfigKey::StsEndpoint, endpoint.as_str());
    let source = format!("the web identity of {role} at {endpoint}");
    ambient(builder, connector, environment, source, true)
}

/// The instance's own, the last that is looked for.
fn instance(environment: &Environment, connector: &Connector) -> Result<Found> {
    let off = environment.get("AWS_EC2_METADATA_DISABLED");
    if off.is_some_and(|off| off.eq_ignore_ascii_case("true")) {
        let user = environment.user;
        let anonymous = match user {
            "world.s3" => ", world.s3.anonymous",
            _ => "",
        };
        let expected = format!(
            "{user}.credentials{anonymous}, or one of AWS's sources: the environment, a web \
             identity, a profile, a container"
        );
        return Err(environment
            .bad("the environment")
            .found("no credentials")
            .expected(expected));
    }
    let mut builder = AmazonS3Builder::new();
    if let Some(url) = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_metadata_endpoint(url.trim_end_matches('/'));
    }
    let source = format!(
        "this instance, as no other source has any ({}.credentials, the environment, a web \
         identity, a profile, a container)",
        environment.user
    );
    // Outside of AWS nobody answers, ever.
    ambient(builder, connector, environment, source, false)
}

fn ambient(
    builder: AmazonS3Builder,
    connector: &Connector,
    environment: &Environment,
    source: String,
    patient: bool,
) -> Result<Found> {
    let built = builder
        .with_http_connector(connector.clone())
        .with_bucket_name("none")
        .with_retry(RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        })
        .build();
    let built = built.map_err(|error| environment.bad(&source).cause(&error))?;
    Ok(Found {
        provider: Arc::new(Ambient {
            inner: built.credentials().clone(),
            source: source.clone(),
            patient,
            had: AtomicBool::new(false),
        }),
        source,
    })
}

type Getting<'a> =
    Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>;

#[derive(Debug)]
struct Own(S3CredentialsPlan, &'static str);

impl CredentialProvider for Own {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> Getting<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            // A Secret that is being replaced may be away for a moment.
            read_own(&self.0, self.1).map(Arc::new).map_err(|failure| {
                let (text, passing) = (failure.message(), true);
                NoCredentials { text, passing }.into()
            })
        })
    }
}

#[derive(Debug)]
struct FromContainer {
    container: Arc<Container>,
    io: tokio::runtime::Handle,
}

impl CredentialProvider for FromContainer {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> Getting<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let container = self.container.clone();
        let asked = self.io.spawn(async move { container.credential().await });
        Box::pin(async move {
            match asked.await {
                Ok(given) => given.map_err(Into::into),
                Err(error) => {
                    let (text, passing) = (error.to_string(), false);
                    Err(NoCredentials { text, passing }.into())
                }
            }
        })
    }
}

/// A source of the store's own, which says what it is when it has nothing to give.
#[derive(Debug)]
struct Ambient {
    inner: AwsCredentialProvider,
    source: String,
    /// One that does not answer may do so later.
    patient: bool,
    /// It has given some: it will again.
    had: AtomicBool,
}

impl CredentialProvider for Ambient {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> Getting<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let error = match self.inner.get_credential().await {
                Ok(given) => {
                    self.had.store(true, Ordering::Relaxed);
                    return Ok(given);
                }
                Err(error) => error,
            };
            let passing = (self.patient || self.had.load(Ordering::Relaxed)) && !refused(&error);
            let text = format!("{}: {}", self.source, chain(&error));
            Err(NoCredentials { text, passing }.into())
        })
    }
}

/// Whether an answer, and no outage, is why there are none.
fn refused(error: &object_store::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(answer) = error.downcast_ref::<super::error::Answer>() {
            return !matches!(answer.status, 408 | 429 | 500..=599);
        }
        link = error.source();
    }
    false
}
