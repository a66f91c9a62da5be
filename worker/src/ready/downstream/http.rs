//! A part of the platform that answers GET: 2xx says that it is up, a field of the answer for
//! which run.

use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use worldstream_crds::Reason;

use super::{Downstream, same_run};
use crate::failure::{Failure, Result, chain, one_line};
use crate::gate::tls;
use crate::plan::ready::{DownstreamPlan, HeaderPlan, HttpProbe};
use crate::secret;

/// The largest answer that is read.
const LARGEST: usize = 1 << 20;

/// One that is asked over HTTP.
pub struct Http {
    name: String,
    probe: HttpProbe,
    require_run: bool,
    client: reqwest::Client,
}

impl Http {
    /// One that a plan names; nothing is sent yet.
    ///
    /// # Errors
    /// `STREAM_FAILED` for certificates that cannot be read.
    pub fn new(plan: &DownstreamPlan, probe: &HttpProbe) -> Result<Http> {
        let trust = tls::https(probe.ca_file.as_deref(), "ready.downstream.http.caFile")?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust)
            .http1_only()
            .timeout(probe.timeout)
            // An answer of somebody else says nothing of the one that was asked.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Asked seldom, and it may have been replaced since.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| Failure::new(Reason::StreamFailed, "an HTTP client").cause(&error))?;
        Ok(Http {
            name: plan.name.clone(),
            probe: probe.clone(),
            require_run: plan.require_active_run_match,
            client,
        })
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.probe.headers {
            let bytes = match value {
                HeaderPlan::Text(text) => text.clone().into_bytes(),
                HeaderPlan::Secret(source) => {
                    let bad = || Failure::new(Reason::StreamFailed, &self.name).field(name.clone());
                    secret::read(source, bad).map_err(|failure| failure.message())?
                }
            };
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("{name:?} is no header's name"))?;
            let mut value = HeaderValue::from_bytes(&bytes)
                .map_err(|_| format!("the header {name} holds what no header may hold"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    async fn ask(&self, platform_run_id: &str) -> Result<(), String> {
        let url = &self.probe.url;
        let request = self.client.get(url).headers(self.headers()?);
        let failed = |error: reqwest::Error| one_line(&chain(&error.without_url()));
        let failed = |error| format!("{url}: {}", failed(error));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{url}: the answer is {status}, expected 2xx"));
        }
        if !self.require_run {
            return Ok(());
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > LARGEST {
                return Err(format!("{url}: the answer is larger than {LARGEST} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| format!("{url}: the answer is no JSON: {error}"))?;
        let active = body.pointer(&self.probe.pointer).and_then(Value::as_str);
        same_run(true, active, platform_run_id)
    }
}

impl Downstream for Http {
    fn name(&self) -> &str {
        &self.name
    }

    fn look<'a>(&'a self, platform_run_id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        self.ask(platform_run_id).boxed()
    }
}
