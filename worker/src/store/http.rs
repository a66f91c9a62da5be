//! HTTP for stores: a thread of its own for their I/O, and a client with our own roots whose
//! answers keep their status and code when they become errors.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    SpawnService,
};
use tokio::runtime::{Builder, Handle};
use worldstream_crds::Reason;

use super::error::Answer;
use crate::failure::{Failure, Result};
use crate::gate::tls;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent: a slow store is read on, one that is stuck is not.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The thread on which all stores' requests are sent and their answers read. Callers come and go
/// with runtimes of their own; connections that are kept must not depend on any of them.
pub(crate) fn io() -> Result<Handle> {
    static IO: OnceLock<std::result::Result<Handle, String>> = OnceLock::new();
    let started = IO.get_or_init(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("stores".to_owned())
            // Lives as long as the process.
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(|error| error.to_string())?;
        Ok(handle)
    });
    started.clone().map_err(|error| {
        Failure::new(Reason::StreamFailed, "the stores' thread")
            .expected("a thread with a runtime")
            .detail(error)
    })
}

/// A client that trusts the certificates of `ca_file`, which `field` names, or without one the
/// built-in roots.
///
/// # Errors
/// `STREAM_FAILED` for `field` where the file is no list of certificates.
pub(super) fn client(ca_file: Option<&Path>, field: &str) -> Result<reqwest::Client> {
    let tls = tls::https(ca_file, field)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .pool_idle_timeout(IDLE)
        // A signed request cannot be sent elsewhere; and the environment's proxy is not asked for.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "an HTTP client").cause(&error))
}

/// Gives every part of a store the same client, on the stores' thread.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub client: reqwest::Client,
    pub io: Handle,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let service = Answers {
            client: self.client.clone(),
        };
        Ok(HttpClient::new(SpawnService::new(service, self.io.clone())))
    }
}

/// Turns answers that are no outcome into errors that keep status, code and message.
#[derive(Debug, Clone)]
struct Answers {
    client: reqwest::Client,
}

impl HttpService for Answers {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let response = HttpService::call(&self.client, request).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let body = body.bytes().await?;
            let mut answer = Answer::new(status.as_u16(), &String::from_utf8_lossy(&body));
            // No such object, not modified, exists already, another one: the caller's to judge.
            if matches!(answer.status, 304 | 404 | 409 | 412) && answer.code != "NoSuchBucket" {
                return Ok(HttpResponse::from_parts(parts, body.into()));
            }
            if let Some(region) = parts.headers.get("x-amz-bucket-region") {
                let region = String::from_utf8_lossy(region.as_bytes());
                answer.message += &format!(" [the bucket's region is {region}]");
            }
            Err(HttpError::new(HttpErrorKind::Unknown, answer))
        })
    }
}
