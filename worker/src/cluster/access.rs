//! Talking to the API server: the few requests that a worker makes, what their failures mean, and
//! how far our wall clock is from the server's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::api::{Api, GetParams, Patch, PatchParams};
use kube::client::Body;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use worldstream_crds::{ExitCode, Reason, StreamCheckpoint, StreamClock};

use crate::failure::{Failure, Result};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Our name as a field manager.
const MANAGER: &str = "worldstream-worker";
/// No answer had a date yet.
const UNKNOWN: i64 = i64::MIN;

/// A WorldStream by namespace and name, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRef {
    /// The namespace, of all its objects.
    pub namespace: String,
    /// The WorldStream's name.
    pub name: String,
}

impl FromStr for StreamRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(StreamRef {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(format!("{text:?} is no stream: write namespace/name")),
        }
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why the API server did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The object was written to since we read it.
    Conflict,
    /// There is no such object.
    Gone,
    /// It will not do it, however often it is asked.
    Refused(String),
    /// It was not reached, or cannot for now: asking again may help.
    Away(String),
}

impl Refusal {
    /// As a failure about an object.
    pub fn about(self, object: impl Into<String>) -> Failure {
        let failure = Failure::new(Reason::StreamFailed, object);
        match self {
            Refusal::Conflict => failure
                .detail("somebody else writes it")
                .exits(ExitCode::Unavailable),
            Refusal::Gone => failure.found("no such object"),
            Refusal::Refused(why) => failure.detail(why),
            Refusal::Away(why) => failure.detail(why).exits(ExitCode::Unavailable),
        }
    }

    /// As a failure about a StreamCheckpoint, which the operator made.
    pub fn about_checkpoint(self, name: &str) -> Failure {
        let object = format!("StreamCheckpoint {name}");
        match self {
            Refusal::Gone => Failure::new(Reason::CheckpointUnreadable, object)
                .found("no such object")
                .expected("one that the operator made"),
            other => other.about(object),
        }
    }
}

/// The objects of one namespace. Cheap to clone; clones share what is known of the clock's skew.
#[derive(Clone)]
pub struct Access {
    client: Client,
    namespace: String,
    skew: Arc<AtomicI64>,
}

impl Access {
    /// By `KUBECONFIG`, `~/.kube/config` or the pod's service account, in that order. Reads files;
    /// connects to nothing. Must be called on the runtime that stays for as long as it is used.
    pub async fn new(namespace: &str) -> Result<Self> {
        let object = "access to the API server";
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Reason::StreamFailed, object).cause(error)
        };
        let config = kube::Config::infer()
            .await
            .map_err(|error| failed(&error))?;
        let client = Client::try_from(config).map_err(|error| failed(&error))?;
        Ok(Access::of(client, namespace))
    }

    /// By a client that is there already.
    pub fn of(client: Client, namespace: &str) -> Self {
        Access {
            client,
            namespace: namespace.to_owned(),
            skew: Arc::new(AtomicI64::new(UNKNOWN)),
        }
    }

    /// The StreamClocks of the namespace, to be watched.
    pub fn clocks(&self) -> Api<StreamClock> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// How many milliseconds our wall clock is ahead of the API server's for certain; less than
    /// zero: behind. None before the first answer.
    pub fn skew_millis(&self) -> Option<i64> {
        Some(self.skew.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
    }

    /// Reads a StreamCheckpoint.
    pub async fn checkpoint(&self, name: &str) -> Result<StreamCheckpoint, Refusal> {
        let request = self.requests().get(name, &GetParams::default());
        self.exchange(request).await
    }

    /// Writes to the status of a StreamCheckpoint by a JSON merge patch, which names the uid and
    /// the resource version that it is made for; gives the object as it is then.
    pub async fn patch_status(
        &self,
        name: &str,
        patch: &Value,
    ) -> Result<StreamCheckpoint, Refusal> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request =
            self.requests()
                .patch_subresource("status", name, &params, &Patch::Merge(patch));
        self.exchange(request).await
    }

    fn requests(&self) -> kube::core::Request {
        kube::core::Request::new(StreamCheckpoint::url_path(&(), Some(&self.namespace)))
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Refusal> {
        let request = request.map_err(|error| Refusal::Refused(chain(&error)))?;
        let answered = tokio::time::timeout(PATIENCE, self.answer(request)).await;
        let (status, body) = answered
            .unwrap_or_else(|_| Err(Refusal::Away(format!("no answer within {PATIENCE:?}"))))?;
        if let Some(refusal) = refusal(status, &body) {
            return Err(refusal);
        }
        serde_json::from_slice(&body).map_err(|error| Refusal::Refused(chain(&error)))
    }

    async fn answer(&self, request: Request<Vec<u8>>) -> Result<(StatusCode, Vec<u8>), Refusal> {
        let asked = SystemTime::now();
        let answer = self.client.send(request.map(Body::from)).await;
        let answer = answer.map_err(|error| Refusal::Away(chain(&error)))?;
        let date = answer.headers().get(header::DATE);
        if let Some(date) =
            date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok())
        {
            let skew = skew_millis(date, asked, SystemTime::now());
            self.skew.store(skew, Ordering::Relaxed);
        }
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| Refusal::Away(chain(&error)))?;
        Ok((status, body.to_bytes().to_vec()))
    }
}

/// What an answer means; none for one that carries what was asked for.
fn refusal(status: StatusCode, body: &[u8]) -> Option<Refusal> {
    if status.is_success() {
        return None;
    }
    let said = serde_json::from_slice::<Value>(body).ok();
    let said = said
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    let why = match said {
        Some(message) => format!("the API server answers {status}: {message}"),
        None => format!("the API server answers {status}"),
    };
    Some(match status {
        StatusCode::CONFLICT => Refusal::Conflict,
        StatusCode::NOT_FOUND => Refusal::Gone,
        // Rights and tokens are renewed behind our back; a webhook or a quota may be short-lived.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            Refusal::Away(why)
        }
        status if status.is_client_error() => Refusal::Refused(why),
        _ => Refusal::Away(why),
    })
}

/// How far our clock is ahead of one that showed `date`, cut to a second, at some moment between
/// `asked` and `answered`: the smallest distance that explains it.
fn skew_millis(date: SystemTime, asked: SystemTime, answered: SystemTime) -> i64 {
    let ahead = |ours: SystemTime, theirs: SystemTime| match ours.duration_since(theirs) {
        Ok(ahead) => ahead.as_millis() as i64,
        Err(behind) => -(behind.duration().as_millis() as i64),
    };
    // Their clock showed from `date` to a second later.
    let least = ahead(asked, date + Duration::from_secs(1));
    let most = ahead(answered, date);
    0.clamp(least.min(most), most.max(least))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let failure = Failure::new(Reason::StreamFailed, "").cause(error);
    failure.message().trim_start_matches(": ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_namespace_and_name() {
        let stream: StreamRef = "team-a/january".parse().unwrap();
        assert_eq!(stream.to_string(), "team-a/january");
        for text in ["january", "/january", "team-a/", "a/b/c", ""] {
            assert!(text.parse::<StreamRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn skew_is_what_the_answer_proves() {
        let at = |millis: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis);
        // The server's second and the time of the exchange overlap: no skew is proven.
        assert_eq!(skew_millis(at(0), at(400), at(420)), 0);
        assert_eq!(skew_millis(at(0), at(990), at(1_500)), 0);
        assert_eq!(skew_millis(at(0), at(5_400), at(5_420)), 4_400);
        assert_eq!(skew_millis(at(9_000), at(5_400), at(5_420)), -3_580);
    }

    #[test]
    fn an_answer_is_final_or_may_be_asked_for_again() {
        let message = br#"{"kind":"Status","message":"quota is exceeded"}"#;
        let of = |code: u16| refusal(StatusCode::from_u16(code).unwrap(), message);
        assert_eq!(of(200), None);
        assert_eq!(of(409), Some(Refusal::Conflict));
        assert_eq!(of(404), Some(Refusal::Gone));
        let why = |code: &str| format!("the API server answers {code}: quota is exceeded");
        assert_eq!(of(503), Some(Refusal::Away(why("503 Service Unavailable"))));
        assert_eq!(of(403), Some(Refusal::Away(why("403 Forbidden"))));
        let invalid = Refusal::Refused(why("422 Unprocessable Entity"));
        assert_eq!(of(422), Some(invalid));
    }
}
