//! What the connections to one gate share: where it is, how it is trusted, the credential of the
//! moment, and the counters.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Scheme;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use worldstream_crds::Reason;

use super::auth;
use super::connection::Connection;
use super::counters::{Counters, GateCounts};
use super::tls;
use crate::failure::{Failure, Result};
use crate::plan::{AuthPlan, GatePlan, RetryPlan};

/// How long a resolved name is used for new connections, unless one of them fails: a gate that
/// closes after each answer must not cost a look-up an event.
const RESOLVED_FOR: Duration = Duration::from_secs(10);

/// A client of one gate. Cheap to clone; clones and connections share credential and counters.
#[derive(Clone)]
pub struct GateClient(Arc<Shared>);

/// What every connection reads.
pub(super) struct Shared {
    /// The URL without its query, for messages.
    pub url: String,
    /// The name or address that is connected to, an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    pub timeout: Duration,
    pub retry: RetryPlan,
    pub require_decision: bool,
    pub counters: Counters,
    auth: AuthPlan,
    /// A request's head up to the credential.
    head: String,
    resolved: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
    /// Of `headers`; grows with every reading of the credential.
    generation: AtomicU64,
    headers: Mutex<Arc<Headers>>,
    /// Held while the credential is read again, so that many refused connections read it once.
    reading: tokio::sync::Mutex<()>,
}

/// The head of every request, with one reading of the credential.
pub(super) struct Headers {
    pub generation: u64,
    /// All of a request's head up to the length of its body.
    pub head: Vec<u8>,
    secret: Option<String>,
}

impl Headers {
    /// The credential's value, to keep it out of messages.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }
}

impl GateClient {
    /// A client of the plan's gate. Reads the credential and the CA file; does not connect.
    ///
    /// # Errors
    /// `STREAM_FAILED`: `gate.url` is no http or https URL, `gate.auth` has no usable secret, or
    /// `gate.caFile` no usable certificates. Never with a secret in the message.
    pub fn new(plan: &GatePlan) -> Result<GateClient> {
        let uri: Uri = plan.url.parse().map_err(|error: http::uri::InvalidUri| {
            bad_url(&shown(&plan.url)).detail(error.to_string())
        })?;
        let url = shown(&plan.url);
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(bad_url(&url).expected("http:// or https://")),
        };
        let authority = uri.authority().filter(|it| !it.host().is_empty());
        let Some(authority) = authority else {
            return Err(bad_url(&url).expected("a host"));
        };
        if authority.as_str().contains('@') {
            return Err(bad_url(&url)
                .found("user or password before the host")
                .expected("a credential in gate.auth"));
        }
        let port = match (authority.port(), tls) {
            (Some(port), _) if port.as_u16() > 0 => port.as_u16(),
            // What follows the host, if anything, is no port then.
            (None, tls) if authority.as_str().len() == authority.host().len() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(bad_url(&url).expected("a port from 1 to 65535")),
        };
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        let tls = if tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| {
                bad_url(&url)
                    .found(&host)
                    .expected("a host name or an address")
            })?;
            Some((tls::config(plan.ca_file.as_deref())?.into(), name))
        } else {
            None
        };

        let target = match uri.path_and_query() {
            Some(path) if path.as_str().starts_with('/') => path.as_str(),
            _ => "/",
        };
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
             user-agent: worldstream/{}\r\n",
            env!("CARGO_PKG_VERSION")
        );
        let headers = headers(&plan.auth, &url, 0, &head)?;

        Ok(GateClient(Arc::new(Shared {
            url,
            host,
            port,
            tls,
            // A moment that far ahead can still be written down.
            timeout: plan.timeout.min(Duration::from_secs(86_400 * 365)),
            retry: plan.retry,
            require_decision: plan.require_decision,
            counters: Counters::new(),
            auth: plan.auth.clone(),
            head,
            resolved: Mutex::new(None),
            generation: AtomicU64::new(0),
            headers: Mutex::new(Arc::new(headers)),
            reading: tokio::sync::Mutex::new(()),
        })))
    }

    /// A connection of this client, which connects when it first pushes.
    pub fn connection(&self) -> Connection {
        Connection::new(self.0.clone())
    }

    /// What all connections of this client counted up to now.
    pub fn counts(&self) -> GateCounts {
        self.0.counters.snapshot()
    }

    /// The gate's URL without its query, for people.
    pub fn url(&self) -> &str {
        &self.0.url
    }
}

impl Shared {
    /// The headers of the credential's last reading.
    pub fn headers(&self) -> Arc<Headers> {
        self.headers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether headers of this generation are the last ones.
    pub fn current(&self, headers: &Headers) -> bool {
        self.generation.load(Ordering::Relaxed) == headers.generation
    }

    /// Reads the credential again after headers of `generation` were refused with a 401; not if
    /// somebody else has done so since.
    pub async fn read_again(self: &Arc<Self>, refused: u64) -> Result<Arc<Headers>> {
        let _one = self.reading.lock().await;
        let last = self.headers();
        if last.generation != refused {
            return Ok(last);
        }
        Counters::add(&self.counters.credential_reads);
        // A secret's file may lie on a slow mount, and this thread has other connections.
        let shared = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            headers(&shared.auth, &shared.url, refused + 1, &shared.head)
        });
        let unreadable = |detail: String| {
            Failure::new(Reason::StreamFailed, &self.url)
                .field("gate.auth")
                .detail(detail)
        };
        let fresh = tokio::time::timeout(self.timeout, reading)
            .await
            .map_err(|_| unreadable("the credential could not be read in time".to_owned()))?
            .map_err(|error| unreadable(error.to_string()))??;
        let fresh = Arc::new(fresh);
        *self.headers.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        self.generation.store(fresh.generation, Ordering::Relaxed);
        Ok(fresh)
    }

    /// The gate's addresses, resolved or remembered.
    pub async fn addresses(&self) -> std::io::Result<Arc<[SocketAddr]>> {
        if let Some((when, addresses)) = &*self.remembered()
            && when.elapsed() < RESOLVED_FOR
        {
            return Ok(addresses.clone());
        }
        let addresses: Arc<[SocketAddr]> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await?
            .collect();
        if addresses.is_empty() {
            return Err(std::io::Error::other("the name has no address"));
        }
        *self.remembered() = Some((Instant::now(), addresses.clone()));
        Ok(addresses)
    }

    /// Forgets the addresses: none of them could be connected to.
    pub fn forget_addresses(&self) {
        *self.remembered() = None;
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<[SocketAddr]>)>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's head: `start`, and the credential as it is read now.
fn headers(auth: &AuthPlan, url: &str, generation: u64, start: &str) -> Result<Headers> {
    let credential = auth::credential(auth, url)?;
    let mut head = start.as_bytes().to_vec();
    let mut secret = None;
    if let Some(credential) = credential {
        head.extend_from_slice(credential.name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(credential.value.as_bytes());
        head.extend_from_slice(b"\r\n");
        secret = credential.value.to_str().ok().map(str::to_owned);
    }
    head.extend_from_slice(b"content-length: ");
    Ok(Headers {
        generation,
        head,
        secret,
    })
}

fn bad_url(url: &str) -> Failure {
    Failure::new(Reason::StreamFailed, url).field("gate.url")
}

/// A URL without what may be secret in it: user, password and query.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    let mark = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{mark}{host}{path}")
}
