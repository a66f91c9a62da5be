//! What is to be there for a trigger: a ServiceAccount that gate conditions can be opened to, a Role
//! for what the pod does at the API server, the plan, and the Deployment. Pure.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use worldstream_crds::names;

use super::TriggerView;
use super::validate::Valid;
use crate::build::pod::{self, Claim, Mold};
use crate::build::{
    CONFIG_MAP, Child, DEPLOYMENT, ROLE, ROLE_BINDING, Resource, SERVICE_ACCOUNT, TRIGGER, merge,
};

/// The annotation of the Deployment with the hash of all that was applied with it.
pub const CHILDREN: &str = "worldstream.io/children";
/// The annotation of the Deployment with the name of the plan's ConfigMap.
pub const PLAN: &str = "worldstream.io/plan";

/// How long a trigger's pod has to end: it writes down how far it came.
const GRACE: Duration = Duration::from_secs(30);

/// The children of a trigger.
pub struct Children {
    /// In the order in which they are made; the Deployment is the last.
    pub all: Vec<Child>,
    /// Hash of all of them.
    pub hash: String,
    /// The ConfigMap with the plan.
    pub plan: String,
}

/// Makes them.
pub fn children(trigger: &TriggerView, valid: &Valid) -> Children {
    let name = names::trigger(&trigger.key.name);
    let plan = names::trigger_plan(&trigger.key.name, &valid.hash);
    let mut all = access(trigger, valid, &name);
    all.push(child(
        trigger,
        &CONFIG_MAP,
        &plan,
        json!({"immutable": true, "data": {"plan.json": valid.text}}),
    ));
    let mut deployment = deployment(trigger, valid, &name, &plan);
    let mut hash = Sha256::new();
    for child in all.iter().chain([&deployment]) {
        hash.update(child.body.to_string());
    }
    let hash = const_hex::encode(&hash.finalize()[..8]);
    merge(
        &mut deployment.body,
        json!({"metadata": {"annotations": {CHILDREN: hash, PLAN: plan}}}),
    );
    all.push(deployment);
    Children { all, hash, plan }
}

/// What the pod may do: make, follow, resume, release and clear away WorldStreams of its
/// namespace, read which run is the active one, and write its own status.
fn access(trigger: &TriggerView, valid: &Valid, name: &str) -> Vec<Child> {
    let ours = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["worldstream.io"], "resources": [resource], "verbs": verbs});
    let mut status = ours("readytriggers/status", &["get", "patch"]);
    status["resourceNames"] = json!([trigger.key.name]);
    let verbs = ["get", "list", "watch", "create", "patch", "delete"];
    let mut rules = vec![ours("worldstreams", &verbs), status];
    if let Some(scope) = &valid.scope {
        rules.push(json!({
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get"],
            "resourceNames": [scope],
        }));
    }
    vec![
        child(
            trigger,
            &SERVICE_ACCOUNT,
            name,
            json!({"automountServiceAccountToken": false}),
        ),
        child(trigger, &ROLE, name, json!({"rules": rules})),
        child(
            trigger,
            &ROLE_BINDING,
            name,
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{
                    "kind": "ServiceAccount",
                    "name": name,
                    "namespace": trigger.key.namespace,
                }],
            }),
        ),
    ]
}

/// One pod, and never two: the old one is gone before the new one begins.
fn deployment(trigger: &TriggerView, valid: &Valid, name: &str, plan: &str) -> Child {
    let spec = &trigger.spec;
    let claims = spec
        .volumes
        .iter()
        .enumerate()
        .map(|(index, volume)| Claim {
            name: format!("volume-{index}"),
            claim: &volume.persistent_volume_claim,
            mount_path: &volume.mount_path,
            sub_path: volume.sub_path.as_deref(),
            read_only: volume.read_only,
        });
    let own = vec![
        pod::of_pod("POD_NAME", "metadata.name"),
        pod::of_pod("POD_NAMESPACE", "metadata.namespace"),
    ];
    let mut template = pod::cast(Mold {
        worker: &valid.worker,
        plan,
        mounted: valid.mounted.iter().collect(),
        claims: claims.collect(),
        image: &valid.image,
        arguments: vec![
            names::TRIGGER.to_owned(),
            "--plan".to_owned(),
            format!("{}/plan.json", pod::PLAN),
            "--trigger".to_owned(),
            format!("{}/{}", trigger.key.namespace, trigger.key.name),
        ],
        environment: pod::environment(&valid.worker, own),
        resources: pod::resources(spec.resources.as_ref(), "50m", "64Mi", "256Mi"),
        labels: labels(trigger),
        account: name.to_owned(),
        grace: GRACE,
        restart: "Always",
    });
    let probe = |path: &str, every: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
            "periodSeconds": every,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    let container = &mut template["spec"]["containers"][0];
    container["readinessProbe"] = probe("/readyz", 2, 3);
    container["livenessProbe"] = probe("/healthz", 10, 6);
    child(
        trigger,
        &DEPLOYMENT,
        name,
        json!({"spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(trigger)},
            "template": template,
        }}),
    )
}

fn selector(trigger: &TriggerView) -> Value {
    json!({
        names::LABEL_NAME.0: names::LABEL_NAME.1,
        names::LABEL_TRIGGER: trigger.key.name,
        names::LABEL_COMPONENT: names::TRIGGER,
    })
}

fn labels(trigger: &TriggerView) -> Value {
    let mut labels = selector(trigger);
    labels[names::LABEL_MANAGED_BY.0] = names::LABEL_MANAGED_BY.1.into();
    labels
}

/// A child with name, namespace, labels and owner, and these fields besides.
fn child(trigger: &TriggerView, resource: &'static Resource, name: &str, fields: Value) -> Child {
    let mut body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": trigger.key.namespace,
            "labels": labels(trigger),
            "ownerReferences": [{
                "apiVersion": TRIGGER.api_version,
                "kind": TRIGGER.kind,
                "name": trigger.key.name,
                "uid": trigger.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
    });
    merge(&mut body, fields);
    Child {
        resource,
        name: name.to_owned(),
        body,
    }
}
