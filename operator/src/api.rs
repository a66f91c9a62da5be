//! The API server, for those steps of a reconcile that have a client: every call with a deadline
//! and counted, every error with its kind.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::build::{self, Child, Resource};
use crate::metrics::Metrics;
use crate::views::Key;

/// The field manager of everything that the operator applies.
pub const MANAGER: &str = "worldstream-operator";

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What went wrong at the API server.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It answered with an error.
    #[error("{verb} {what}: {source}")]
    Refused {
        /// The verb.
        verb: &'static str,
        /// The object.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// It did not answer in time.
    #[error("{verb} {what}: no answer within {PATIENCE:?}")]
    Timeout {
        /// The verb.
        verb: &'static str,
        /// The object.
        what: String,
    },
    /// An object of that name belongs to somebody else, or to a stream of this name before.
    #[error("{what} is there already and belongs to another owner; it is left alone")]
    NotOurs {
        /// The object.
        what: String,
    },
}

impl ApiError {
    /// The kind, for metrics: few values.
    pub fn kind(&self) -> &'static str {
        match self {
            ApiError::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => match status.code {
                    409 => "conflict",
                    403 => "forbidden",
                    404 => "not_found",
                    422 => "invalid",
                    429 => "throttled",
                    code if code >= 500 => "server",
                    _ => "refused",
                },
                _ => "unreachable",
            },
            ApiError::Timeout { .. } => "timeout",
            ApiError::NotOurs { .. } => "not_ours",
        }
    }

    fn code(&self) -> Option<u16> {
        match self {
            ApiError::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A client that counts.
#[derive(Clone)]
pub struct Server {
    client: Client,
    metrics: Metrics,
}

impl Server {
    /// With a client.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Server { client, metrics }
    }

    fn api(&self, resource: &Resource, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &api_resource(resource))
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        resource: &Resource,
        name: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        self.metrics.request(verb, resource.plural);
        let what = || format!("{} {name}", resource.kind);
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(ApiError::Refused {
                verb,
                what: what(),
                source: Box::new(source),
            }),
            Err(_) => Err(ApiError::Timeout { verb, what: what() }),
        }
    }

    /// Makes a child; that it is there already, and ours, is as well.
    pub async fn create(&self, key: &Key, child: &Child) -> Result<(), ApiError> {
        match self.post(key, child).await {
            Err(error) if error.code() == Some(409) => self.check_owner(key, child).await,
            made => made,
        }
    }

    async fn post(&self, key: &Key, child: &Child) -> Result<(), ApiError> {
        let api = self.api(child.resource, &key.namespace);
        let object = object(child)?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let call = api.create(&params, &object);
        self.call("create", child.resource, &child.name, call)
            .await
            .map(|_| ())
    }

    /// Makes or corrects a child by server-side apply; one that belongs to another owner is left
    /// alone. `new`: it is likely not there yet, so that to look first would be a request for
    /// nothing.
    pub async fn apply(&self, key: &Key, child: &Child, new: bool) -> Result<(), ApiError> {
        if new {
            match self.post(key, child).await {
                Err(error) if error.code() == Some(409) => {}
                made => return made,
            }
        }
        let api = self.api(child.resource, &key.namespace);
        let found = self
            .call("get", child.resource, &child.name, api.get_opt(&child.name))
            .await?;
        match found {
            None => return self.create(key, child).await,
            Some(found) => {
                ours(child, &found)?;
                if holds(&serde_json::json!(found), &child.body) {
                    return Ok(());
                }
            }
        }
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&child.body);
        self.call(
            "apply",
            child.resource,
            &child.name,
            api.patch(&child.name, &params, &patch),
        )
        .await
        .map(|_| ())
    }

    async fn check_owner(&self, key: &Key, child: &Child) -> Result<(), ApiError> {
        let api = self.api(child.resource, &key.namespace);
        let found = self
            .call("get", child.resource, &child.name, api.get(&child.name))
            .await?;
        ours(child, &found)
    }

    /// Patches an object, or its status.
    pub async fn patch(
        &self,
        key: &Key,
        resource: &'static Resource,
        name: &str,
        status: bool,
        patch: &Value,
    ) -> Result<(), ApiError> {
        let api = self.api(resource, &key.namespace);
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let merge = Patch::Merge(patch);
        let strategic = Patch::Strategic(patch);
        // Conditions of a pod are merged by their type.
        let patch = match *resource == build::POD {
            true => &strategic,
            false => &merge,
        };
        let patched = match status {
            true => {
                let call = api.patch_status(name, &params, patch);
                self.call("patch_status", resource, name, call).await
            }
            false => {
                let call = api.patch(name, &params, patch);
                self.call("patch", resource, name, call).await
            }
        };
        patched.map(|_| ())
    }

    /// Applies what is ours of a status, by server-side apply: what others say of it stays.
    pub async fn apply_status(
        &self,
        key: &Key,
        resource: &'static Resource,
        name: &str,
        body: &Value,
    ) -> Result<(), ApiError> {
        let api = self.api(resource, &key.namespace);
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(body);
        let call = api.patch_status(name, &params, &patch);
        self.call("apply_status", resource, name, call)
            .await
            .map(|_| ())
    }

    /// Removes a child that this stream owns; that it is gone already is as well.
    pub async fn delete(
        &self,
        key: &Key,
        owner: &str,
        resource: &'static Resource,
        name: &str,
    ) -> Result<(), ApiError> {
        let api = self.api(resource, &key.namespace);
        let found = self.call("get", resource, name, api.get_opt(name)).await?;
        let Some(found) = found.filter(|found| owned_by(found, owner)) else {
            return Ok(());
        };
        let uid = found.uid().unwrap_or_default();
        let params = DeleteParams::background().preconditions(kube::api::Preconditions {
            uid: Some(uid),
            resource_version: None,
        });
        match self
            .call("delete", resource, name, api.delete(name, &params))
            .await
        {
            Err(error) if error.code() == Some(404) => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }

    /// The text of a ConfigMap's entry.
    pub async fn config_map_entry(
        &self,
        namespace: &str,
        name: &str,
        entry: &str,
    ) -> Result<Option<String>, ApiError> {
        let resource = &build::CONFIG_MAP;
        let api = self.api(resource, namespace);
        let found = self.call("get", resource, name, api.get_opt(name)).await?;
        Ok(found.and_then(|map| Some(map.data["data"].get(entry)?.as_str()?.to_owned())))
    }

    /// The newest warning about an object, such as a volume that cannot be mounted.
    pub async fn warning(
        &self,
        namespace: &str,
        uid: &str,
    ) -> Result<Option<(String, String)>, ApiError> {
        let resource = &EVENT;
        let api = self.api(resource, namespace);
        let fields = format!("involvedObject.uid={uid},type=Warning");
        let found = self
            .call(
                "list",
                resource,
                uid,
                api.list(&ListParams::default().fields(&fields)),
            )
            .await?;
        let newest = found.items.into_iter().max_by_key(|event| {
            let time = event.data["lastTimestamp"].as_str();
            time.or(event.data["eventTime"].as_str())
                .unwrap_or_default()
                .to_owned()
        });
        Ok(newest.map(|event| {
            let text = |field: &str| event.data[field].as_str().unwrap_or_default().to_owned();
            (text("reason"), text("message"))
        }))
    }
}

const EVENT: Resource = Resource {
    api_version: "v1",
    kind: "Event",
    plural: "events",
};

/// The resource as kube names it.
pub fn api_resource(resource: &Resource) -> ApiResource {
    let (group, version) = resource
        .api_version
        .split_once('/')
        .unwrap_or(("", resource.api_version));
    let kind = GroupVersionKind::gvk(group, version, resource.kind);
    ApiResource::from_gvk_with_plural(&kind, resource.plural)
}

fn object(child: &Child) -> Result<DynamicObject, ApiError> {
    serde_json::from_value(child.body.clone()).map_err(|error| ApiError::Refused {
        verb: "create",
        what: format!("{} {}", child.resource.kind, child.name),
        source: Box::new(kube::Error::SerdeError(error)),
    })
}

/// Whether an object has all that is wanted of it. What it has besides is others': defaults of the
/// API server, and what controllers wrote.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| holds(found.get(name).unwrap_or(&Value::Null), wanted)),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| holds(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

fn owned_by(found: &DynamicObject, owner: &str) -> bool {
    found.owner_references().iter().any(|it| it.uid == owner)
}

fn ours(child: &Child, found: &DynamicObject) -> Result<(), ApiError> {
    let owner = &child.body["metadata"]["ownerReferences"][0]["uid"];
    match owner.as_str().is_some_and(|owner| owned_by(found, owner)) {
        true => Ok(()),
        false => Err(ApiError::NotOurs {
            what: format!("{} {}", child.resource.kind, child.name),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let found = json!({"a": 1, "b": [{"c": 2, "more": 3}], "more": {}});
        for wanted in [json!({}), json!({"a": 1}), json!({"b": [{"c": 2}]})] {
            assert!(holds(&found, &wanted), "{wanted}");
        }
        for wanted in [
            json!({"a": 2}),
            json!({"b": []}),
            json!({"b": [{"d": 2}]}),
            json!({"z": 1}),
        ] {
            assert!(!holds(&found, &wanted), "{wanted}");
        }
    }
}
