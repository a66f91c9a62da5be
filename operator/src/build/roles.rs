//! What a pod may do at the API server: a ServiceAccount, a Role and a RoleBinding for the workers
//! of a stream and for its preflight, each by the names of the stream's own objects.

use serde_json::{Value, json};
use worldstream_crds::names;

use super::{Child, Kind, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, child, labels};
use crate::validate::Pods;
use crate::views::StreamView;

/// The ServiceAccount, the Role and the RoleBinding of a kind of pod. `checkpoints` are the names
/// of all checkpoints of the stream's attempt.
pub fn roles(stream: &StreamView, pods: &Pods, kind: Kind, checkpoints: &[String]) -> Vec<Child> {
    let name = names::role(&stream.key.name, kind.component());
    let labels = labels(stream, Some(kind.component()), None);
    let rule = |resource: &str, verbs: &[&str], names: Value| {
        json!({
            "apiGroups": ["worldstream.io"],
            "resources": [resource],
            "verbs": verbs,
            "resourceNames": names,
        })
    };
    let mut rules = vec![
        rule("streamcheckpoints", &["get"], json!(checkpoints)),
        rule(
            "streamcheckpoints/status",
            &["get", "patch", "update"],
            json!(checkpoints),
        ),
    ];
    if kind == Kind::Worker {
        let clock = json!([names::clock(&stream.key.name)]);
        rules.push(rule("streamclocks", &["get", "list", "watch"], clock));
    }
    let of = |resource, fields| child(stream, resource, name.clone(), labels.clone(), fields);
    vec![
        of(
            &SERVICE_ACCOUNT,
            json!({
                "automountServiceAccountToken": false,
                "metadata": {"annotations": pods.identity(kind)},
            }),
        ),
        of(&ROLE, json!({"rules": rules})),
        of(
            &ROLE_BINDING,
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{
                    "kind": "ServiceAccount",
                    "name": name,
                    "namespace": stream.key.namespace,
                }],
            }),
        ),
    ]
}
