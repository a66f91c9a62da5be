//! The requests of a trigger to the API server: each with a deadline, and with what a refusal means.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Resource};
use serde_json::Value;
use worldstream_crds::failure::chain;
use worldstream_crds::{ExitCode, ReadyTrigger, Reason, WorldStream};

use crate::cluster::access::StreamRef;
use crate::failure::{Failure, Result};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Our name as a field manager.
pub const MANAGER: &str = "worldstream-trigger";

/// Why the API server did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is one already.
    Exists,
    /// It was written to since we read it.
    Conflict,
    /// There is none.
    Gone,
    /// It is not what the API server takes, however often it is asked.
    Invalid(String),
    /// It will not do it for us, now.
    Refused(String),
    /// It was not reached.
    Away(String),
}

impl Refusal {
    fn of(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Refusal::Away(chain(&error));
        };
        let why = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Refusal::Exists,
            (409, _) => Refusal::Conflict,
            (404, _) => Refusal::Gone,
            (400 | 422, _) => Refusal::Invalid(why),
            (429 | 500.., _) => Refusal::Away(why),
            _ => Refusal::Refused(why),
        }
    }

    /// As a failure about an object.
    pub fn about(self, object: impl Into<String>) -> Failure {
        let failure = Failure::new(Reason::StreamFailed, object);
        match self {
            Refusal::Invalid(why) => failure.detail(why),
            other => failure
                .detail(other.to_string())
                .exits(ExitCode::Unavailable),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Exists => f.write_str("is there already"),
            Refusal::Conflict => f.write_str("somebody else writes it"),
            Refusal::Gone => f.write_str("is not there"),
            Refusal::Invalid(why) | Refusal::Refused(why) | Refusal::Away(why) => f.write_str(why),
        }
    }
}

/// The objects of the trigger's namespace. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The trigger: namespace and name.
    pub trigger: StreamRef,
}

impl Cluster {
    /// By `KUBECONFIG`, `~/.kube/config` or the pod's service account, in that order. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// `STREAM_FAILED` where none of them is there.
    pub async fn new(trigger: StreamRef) -> Result<Self> {
        let object = "access to the API server";
        let config = kube::Config::infer()
            .await
            .map_err(|error| Failure::new(Reason::StreamFailed, object).cause(&error))?;
        let client = Client::try_from(config)
            .map_err(|error| Failure::new(Reason::StreamFailed, object).cause(&error))?;
        Ok(Cluster { client, trigger })
    }

    /// A client of its own for what is found by its kind.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The WorldStreams of the namespace. They are read without their type, so that a field that
    /// is newer than this program hides none.
    pub fn streams(&self) -> Api<DynamicObject> {
        self.of::<WorldStream>()
    }

    fn of<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(&K::group(&()), &K::version(&()), &K::kind(&()));
        let resource = ApiResource::from_gvk_with_plural(&kind, &K::plural(&()));
        Api::namespaced_with(self.client.clone(), &self.trigger.namespace, &resource)
    }

    /// Reads a WorldStream; none if there is none.
    pub async fn stream(&self, name: &str) -> Result<Option<DynamicObject>, Refusal> {
        bounded(self.streams().get_opt(name)).await
    }

    /// Makes a WorldStream.
    pub async fn create(&self, body: Value) -> Result<DynamicObject, Refusal> {
        let object: DynamicObject =
            serde_json::from_value(body).map_err(|error| Refusal::Invalid(chain(&error)))?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        bounded(self.streams().create(&params, &object)).await
    }

    /// Changes a WorldStream by a JSON merge patch, which names the resource version that it is
    /// made for.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<DynamicObject, Refusal> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        bounded(self.streams().patch(name, &params, &Patch::Merge(patch))).await
    }

    /// Deletes a WorldStream, if it is still the one of this uid.
    pub async fn delete(&self, name: &str, uid: &str) -> Result<(), Refusal> {
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        bounded(self.streams().delete(name, &params))
            .await
            .map(|_| ())
    }

    /// Reads the trigger's status, with the whole object.
    pub async fn status(&self) -> Result<DynamicObject, Refusal> {
        let api = self.of::<ReadyTrigger>();
        bounded(api.get_status(&self.trigger.name)).await
    }

    /// Applies what is ours of the trigger's status, by server-side apply: what the operator says
    /// there stays.
    pub async fn apply_status(&self, status: &Value) -> Result<(), Refusal> {
        let body = serde_json::json!({
            "apiVersion": worldstream_crds::API_VERSION,
            "kind": "ReadyTrigger",
            "metadata": {"name": self.trigger.name, "namespace": self.trigger.namespace},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let api = self.of::<ReadyTrigger>();
        let patch = Patch::Apply(&body);
        bounded(api.patch_status(&self.trigger.name, &params, &patch))
            .await
            .map(|_| ())
    }

    /// The text of a ConfigMap's entry; none if either is not there.
    pub async fn config_map_entry(&self, name: &str, key: &str) -> Result<Option<String>, Refusal> {
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(self.client.clone(), &self.trigger.namespace);
        let found = bounded(api.get_opt(name)).await?;
        Ok(found.and_then(|map| map.data?.remove(key)))
    }
}

/// Waits for an answer for as long as one may take.
pub async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(Refusal::of),
        Err(_) => Err(Refusal::Away(format!("no answer within {PATIENCE:?}"))),
    }
}
