//! The pod that verifies a world, builds a view or streams an output: meets the restricted Pod Security Standard,
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
    /// Builds the view of an output.
    Build,
    /// Streams an output.
    Worker,
}

impl Kind {
    /// The label's value.
    pub fn component(self) -> &'static str {
        match self {
            Kind::Preflight => names::PREFLIGHT,
            Kind::Build => names::BUILD,
            Kind::Worker => names::WORKER,
        }
    }

    /// Whether its pods get what a field of the profile asks for: who builds a view needs nothing
    /// of the gate or of cursors, and nobody else what may write to worlds.
    fn gets(self, path: &str) -> bool {
        match self {
            Kind::Build => path.starts_with("spec.world.") || path.starts_with("spec.oracle."),
            Kind::Preflight | Kind::Worker => !path.starts_with("spec.oracle."),
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
/// What the pod of a build may use beyond the build's own memory: files that the kernel keeps.
const BUILD_MARGIN: u64 = 128 << 20;
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
    let files = pods.mounted.iter().enumerate();
    for (index, file) in files.filter(|(_, file)| kind.gets(&file.path)) {
        let name = format!("file-{index}");
        let items = json!([{"key": file.key, "path": ENTRY}]);
        volumes.push(match file.secret {
            true => json!({"name": name, "secret": {"secretName": file.name, "items": items}}),
            false => json!({"name": name, "configMap": {"name": file.name, "items": items}}),
        });
        mounts.push(json!({"name": name, "mountPath": file.folder, "readOnly": true}));
    }
    let builds = kind == Kind::Build;
    for (name, volume, read_only, mounted) in [
        ("worlds", &pods.worlds, !builds, true),
        ("cursors", &pods.cursors, false, !builds),
        ("sorted", &pods.oracle.scratch, false, builds),
    ] {
        if let (Some(volume), true) = (volume, mounted) {
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
        "args": arguments(stream, validated, kind, output),
        "env": environment(stream, validated, output),
        "ports": [{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
        "resources": resources(validated, kind),
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

fn arguments(
    stream: &StreamView,
    validated: &Validated,
    kind: Kind,
    output: Option<&str>,
) -> Vec<String> {
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
    if kind == Kind::Build {
        let oracle = &validated.pods.oracle;
        arguments.extend(["--memory".to_owned(), oracle.memory.to_string()]);
        if let Some(scratch) = &oracle.scratch {
            arguments.extend(["--spill-dir".to_owned(), scratch.mount_path.clone()]);
        }
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

fn resources(validated: &Validated, kind: Kind) -> Value {
    let (pods, builds) = (&validated.pods, kind == Kind::Build);
    let given = match builds {
        true => &pods.oracle.resources,
        false => &pods.worker.resources,
    };
    match given {
        Some(resources) => json!(resources),
        None if builds => {
            let memory = pods.oracle.memory.0;
            json!({
                "requests": {"cpu": "250m", "memory": memory.to_string()},
                "limits": {"memory": (memory + BUILD_MARGIN).to_string()},
            })
        }
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
