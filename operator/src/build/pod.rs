//! The pod that verifies a world or streams an output: meets the restricted Pod Security Standard,
//! whatever the profile says.

use serde_json::{Value, json};
use worldstream_crds::names;

use super::{labels, merge};
use crate::lower::{ENTRY, SCRATCH};
use crate::validate::Validated;
use crate::views::StreamView;

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Verifies the world and writes the plans.
    Preflight,
    /// Streams an output.
    Worker,
}

impl Kind {
    /// The label's value.
    pub fn component(self) -> &'static str {
        match self {
            Kind::Preflight => names::PREFLIGHT,
            Kind::Worker => names::WORKER,
        }
    }
}

/// Where the plan is mounted.
const PLAN: &str = "/etc/worldstream/plan";
/// The name of the one container.
pub fn container() -> &'static str {
    "worldstream"
}
/// The user that the process runs as: nobody in particular.
const USER: u32 = 65_532;
/// How long a pod stays on a node that does not answer before it is given up.
const NODE_PATIENCE_SECONDS: u32 = 30;

/// The pod template. `run` is an environment that differs from start to start and is no part of
/// what decides the pod.
pub fn template(
    stream: &StreamView,
    validated: &Validated,
    kind: Kind,
    output: Option<&str>,
    plan: &str,
    image: &str,
) -> Value {
    let (pods, worker) = (&validated.pods, &validated.pods.worker);
    let mut volumes = vec![
        json!({"name": "plan", "configMap": {"name": plan}}),
        json!({"name": "scratch", "emptyDir": {}}),
    ];
    let mut mounts = vec![
        json!({"name": "plan", "mountPath": PLAN, "readOnly": true}),
        json!({"name": "scratch", "mountPath": SCRATCH}),
    ];
    for (index, file) in pods.mounted.iter().enumerate() {
        let name = format!("file-{index}");
        let items = json!([{"key": file.key, "path": ENTRY}]);
        volumes.push(match file.secret {
            true => json!({"name": name, "secret": {"secretName": file.name, "items": items}}),
            false => json!({"name": name, "configMap": {"name": file.name, "items": items}}),
        });
        mounts.push(json!({"name": name, "mountPath": file.folder, "readOnly": true}));
    }
    for (name, volume, read_only) in [
        ("worlds", &pods.worlds, true),
        ("cursors", &pods.cursors, false),
    ] {
        if let Some(volume) = volume {
            let claim = json!({"claimName": volume.persistent_volume_claim, "readOnly": read_only});
            volumes.push(json!({"name": name, "persistentVolumeClaim": claim}));
            let mut mount =
                json!({"name": name, "mountPath": volume.mount_path, "readOnly": read_only});
            if let Some(path) = &volume.sub_path {
                mount["subPath"] = path.as_str().into();
            }
            mounts.push(mount);
        }
    }
    let mut container = json!({
        "name": container(),
        "image": image,
        "args": arguments(stream, kind, output),
        "env": environment(stream, validated, output),
        "ports": [{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
        "resources": resources(validated),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    });
    if let Some(policy) = &worker.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    let extra = &worker.pod_template;
    let mut pod_labels = json!(extra.labels);
    merge(
        &mut pod_labels,
        labels(stream, Some(kind.component()), output),
    );
    let mut spec = json!({
        "restartPolicy": "Never",
        "serviceAccountName": names::role(&stream.key.name, kind.component()),
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pods.grace.as_secs(),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        "tolerations": tolerations(validated),
    });
    for (field, value) in [
        ("imagePullSecrets", json!(worker.image_pull_secrets)),
        ("nodeSelector", json!(extra.node_selector)),
        ("affinity", json!(extra.affinity)),
        (
            "topologySpreadConstraints",
            json!(extra.topology_spread_constraints),
        ),
        ("priorityClassName", json!(extra.priority_class_name)),
    ] {
        let empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !empty {
            spec[field] = value;
        }
    }
    json!({
        "metadata": {"labels": pod_labels, "annotations": extra.annotations},
        "spec": spec,
    })
}

fn arguments(stream: &StreamView, kind: Kind, output: Option<&str>) -> Vec<String> {
    let mut arguments = vec![
        kind.component().to_owned(),
        "--plan".to_owned(),
        format!("{PLAN}/plan.json"),
        "--stream".to_owned(),
        format!("{}/{}", stream.key.namespace, stream.key.name),
    ];
    if let Some(output) = output {
        arguments.extend(["--output".to_owned(), output.to_owned()]);
    }
    arguments
}

/// Whose pod it is, from the pod itself, after what the profile adds: a later entry of a name
/// counts.
fn environment(stream: &StreamView, validated: &Validated, output: Option<&str>) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let own = [
        field("POD_NAME", "metadata.name"),
        field("POD_UID", "metadata.uid"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field(
            "JOB_NAME",
            "metadata.labels['batch.kubernetes.io/job-name']",
        ),
        // The same in every run of an output, of which there is one at a time: a store that keeps
        // a lease by it takes the next run for the replacement that it is.
        json!({
            "name": "JOB_UID",
            "value": names::short_hash(&[&stream.uid, output.unwrap_or_default()]),
        }),
    ];
    let named = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let kept: Vec<String> = own.iter().map(named).collect();
    let given = validated.pods.worker.env.iter().map(|it| json!(it));
    given
        .filter(|it| !kept.contains(&named(it)) && named(it) != super::jobs::TAKE_OVER)
        .chain(own.iter().cloned())
        .collect()
}

fn resources(validated: &Validated) -> Value {
    match &validated.pods.worker.resources {
        Some(resources) => json!(resources),
        None => json!({
            "requests": {"cpu": "100m", "memory": "192Mi"},
            "limits": {"memory": "512Mi"},
        }),
    }
}

/// A node that is gone is given up after half a minute, not after the cluster's five: the pod's
/// replacement is what the stream waits for. The profile may say otherwise.
fn tolerations(validated: &Validated) -> Value {
    let given = &validated.pods.worker.pod_template.tolerations;
    let mut all: Vec<Value> = given.iter().map(|it| json!(it)).collect();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if !given.iter().any(|it| it.key.as_deref() == Some(key)) {
            all.push(json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": NODE_PATIENCE_SECONDS,
            }));
        }
    }
    all.into()
}
