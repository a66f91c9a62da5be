//! One stream's requests, by AWS's own client, over the stores' HTTP client and with their
//! credentials. Nothing is tried again here.

use std::future::Future;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{
    BehaviorVersion, Config, HttpClient, IdentityCache, Region, RuntimeComponents,
    StalledStreamProtectionConfig,
};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{Record, Shard, ShardIteratorType};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use object_store::aws::AwsCredentialProvider;

use super::ledger::{Seq, ShardId};
use super::trouble::KinesisError;
use crate::failure::{Failure, Result};
use crate::plan::ready::KinesisBusPlan;
use crate::store::service::Service;
use crate::time::EventTime;

/// No answer within this is none.
const LATE: Duration = Duration::from_secs(30);
/// Records of one answer; more come with the next.
const RECORDS: i32 = 500;

type Asked<T> = std::result::Result<T, KinesisError>;

/// A stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    client: Client,
    /// Its name.
    pub name: String,
    place: String,
    credentials: String,
}

/// A shard as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its id.
    pub id: ShardId,
    /// Those that it was split or merged from.
    pub parents: Vec<ShardId>,
    /// The lowest number that its records have.
    pub first: Seq,
    /// The highest one that they can have; none: more may come.
    pub last: Option<Seq>,
}

/// Where reading a shard begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// With the oldest record that there is.
    Beginning,
    /// Behind this one.
    After(Seq),
}

/// What was read of a shard at once.
#[derive(Debug)]
pub(super) struct Batch {
    /// The records, in order.
    pub records: Vec<Record>,
    /// The iterator of the next read; none: the shard has ended.
    pub next: Option<String>,
    /// Nothing was left to be read.
    pub at_the_tip: bool,
}

impl Stream {
    /// A stream of a region's or an endpoint's Kinesis; nothing is asked yet.
    pub fn open(plan: &KinesisBusPlan) -> Result<Stream> {
        let name = &plan.stream;
        let access = Service {
            user: "bus.kinesis",
            endpoint_variable: "AWS_ENDPOINT_URL_KINESIS",
            region: plan.region.as_deref(),
            endpoint: plan.endpoint.as_deref(),
            credentials: plan.credentials.as_ref(),
            ca_file: plan.ca_file.as_deref(),
        }
        .access()?;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(Http {
                client: access.client,
            })
            .credentials_provider(Given(access.credentials))
            // They are kept, and fetched anew in time, where they come from.
            .identity_cache(IdentityCache::no_cache())
            .region(Region::new(access.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let (config, place) = match access.endpoint {
            None => (config, format!("AWS Kinesis in {}", access.region)),
            Some(url) => (config.endpoint_url(&url), url),
        };
        Ok(Stream {
            client: Client::from_conf(config.build()),
            name: name.to_owned(),
            place,
            credentials: access.source,
        })
    }

    /// What it is called in the log.
    pub fn title(&self) -> String {
        format!("kinesis:{} at {}", self.name, self.place)
    }

    /// The failure that an error is.
    pub fn failure(&self, error: &KinesisError) -> Failure {
        error.failure(&self.name, &self.place, &self.credentials)
    }

    /// All shards, those that have ended included.
    pub async fn shards(&self) -> Asked<Vec<Listed>> {
        let mut shards = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let request = match next.take() {
                // A token stands for the stream's name, too.
                Some(token) => self.client.list_shards().next_token(token),
                None => self.client.list_shards().stream_name(&self.name),
            };
            let answer = in_time(request.send()).await?;
            shards.extend(answer.shards().iter().map(listed));
            match answer.next_token {
                Some(token) => next = Some(token),
                None => return Ok(shards),
            }
        }
    }

    /// An iterator, which is good for five minutes.
    pub async fn iterator(&self, shard: &str, start: &Start) -> Asked<String> {
        let request = self
            .client
            .get_shard_iterator()
            .stream_name(&self.name)
            .shard_id(shard);
        let request = match start {
            Start::Beginning => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::After(seq) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(&*seq.0),
        };
        let answer = in_time(request.send()).await?;
        Ok(answer.shard_iterator.unwrap_or_default())
    }

    /// What comes next.
    pub async fn records(&self, iterator: &str) -> Asked<Batch> {
        let request = self.client.get_records().shard_iterator(iterator);
        let answer = in_time(request.limit(RECORDS).send()).await?;
        Ok(Batch {
            at_the_tip: match answer.millis_behind_latest {
                Some(behind) => behind == 0,
                None => answer.records.is_empty(),
            },
            records: answer.records,
            next: answer.next_shard_iterator,
        })
    }

    /// Publishes a record: its shard and its number.
    pub async fn put(&self, bytes: &Bytes, partition_key: &str) -> Asked<(String, String)> {
        let request = self
            .client
            .put_record()
            .stream_name(&self.name)
            .partition_key(partition_key)
            .data(Blob::new(bytes.to_vec()));
        let answer = in_time(request.send()).await?;
        Ok((answer.shard_id, answer.sequence_number))
    }
}

async fn in_time<T, E, R>(
    request: impl Future<Output = std::result::Result<T, SdkError<E, R>>>,
) -> Asked<T>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
    SdkError<E, R>: std::error::Error + 'static,
{
    match tokio::time::timeout(LATE, request).await {
        Ok(answer) => answer.map_err(|error| KinesisError::of(&error)),
        Err(_) => Err(KinesisError::late(LATE.as_secs())),
    }
}

fn listed(shard: &Shard) -> Listed {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    let range = shard.sequence_number_range();
    Listed {
        id: shard.shard_id().into(),
        parents: parents.into_iter().flatten().map(ShardId::from).collect(),
        first: range
            .map_or("0", |range| range.starting_sequence_number())
            .into(),
        last: range
            .and_then(|range| range.ending_sequence_number())
            .map(Seq::from),
    }
}

/// When a record came, by Kinesis' clock.
pub(super) fn arrival(record: &Record) -> Option<EventTime> {
    let nanos = record.approximate_arrival_timestamp()?.as_nanos();
    EventTime::from_micros(i64::try_from(nanos.div_euclid(1000)).ok()?)
}

/// The stores' credentials, in the form that AWS's client asks for them.
#[derive(Debug)]
struct Given(AwsCredentialProvider);

impl ProvideCredentials for Given {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match self.0.get_credential().await {
                Ok(given) => Ok(Credentials::new(
                    given.key_id.clone(),
                    given.secret_key.clone(),
                    given.token.clone(),
                    None,
                    "worldstream",
                )),
                Err(error) if crate::store::is_passing(&error) => {
                    Err(CredentialsError::provider_error(error))
                }
                Err(error) => Err(CredentialsError::invalid_configuration(error)),
            }
        })
    }
}

/// The stores' HTTP client, in the form that AWS's client sends requests by.
#[derive(Debug, Clone)]
struct Http {
    client: reqwest::Client,
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            // What Kinesis is sent is never a stream.
            let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or(&[])));
            let request = reqwest::Request::try_from(request)
                .map_err(|error| ConnectorError::user(error.into()))?;
            let answer = client.execute(request).await.map_err(trouble)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(trouble)?;
            let mut answer = http::Response::new(SdkBody::from(body));
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            HttpResponse::try_from(answer)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn trouble(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}
