//! What the clients of AWS's other services are made of, so that they trust, ask and sign as S3's
//! does: an HTTP client, a region, an endpoint, credentials.

use std::path::Path;

use object_store::aws::AwsCredentialProvider;

use super::credentials::{self, Environment};
use super::http::{self, Connector};
use crate::failure::Result;
use crate::plan::S3CredentialsPlan;

/// A service of AWS, as a document names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    /// The part of the document, such as `bus.kinesis`.
    pub user: &'static str,
    /// The variable of the environment that names its endpoint.
    pub endpoint_variable: &'a str,
    /// None: the environment's.
    pub region: Option<&'a str>,
    /// None: the environment's, else AWS's own.
    pub endpoint: Option<&'a str>,
    /// None: the first of AWS's sources that has any.
    pub credentials: Option<&'a S3CredentialsPlan>,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<&'a Path>,
}

/// How it is asked.
#[derive(Debug)]
pub(crate) struct Access {
    /// For requests on the stores' thread ([`super::io`]).
    pub client: reqwest::Client,
    /// The region.
    pub region: String,
    /// None: AWS's own of the region.
    pub endpoint: Option<String>,
    /// Asked at each request.
    pub credentials: AwsCredentialProvider,
    /// Where they are from, for messages.
    pub source: String,
}

impl Service<'_> {
    /// How the service is asked; nothing is sent yet.
    ///
    /// # Errors
    /// `STREAM_FAILED` where no credentials are to be found, or those that count cannot be read, and
    /// where the file of certificates is none.
    pub fn access(&self) -> Result<Access> {
        let connector = Connector {
            client: http::client(self.ca_file, &format!("{}.caFile", self.user))?,
            io: http::io()?,
        };
        let environment = Environment::of_process(self.user);
        let region = environment.region(self.region)?;
        let found = credentials::find(self.credentials, &environment, &region, &connector)?;
        let endpoint = self
            .endpoint
            .map(str::to_owned)
            .or_else(|| environment.first(&[self.endpoint_variable, "AWS_ENDPOINT_URL"]));
        Ok(Access {
            client: connector.client,
            region,
            endpoint,
            credentials: found.provider,
            source: found.source,
        })
    }
}
