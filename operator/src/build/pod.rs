//! The pod that verifies a world, builds a view, streams an output or follows a control bus: meets the restricted Pod Security Standard,
//! whatever the profile says.

use std::time::Duration;

use serde_json::{Value, json};
use worldstream_crds::{OracleSpec, ResourcesSpec, WorkerSpec, names};

use super::{labels, merge};
use crate::lower::{ENTRY, Mounted, SCRATCH};
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
pub const PLAN: &str = "/etc/worldstream/plan";
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

/// A claim that is mounted.
pub struct Claim<'a> {
    /// The volume's name in the pod.
    pub name: String,
    /// The PersistentVolumeClaim.
    pub claim: &'a str,
    /// Where it is mounted.
    pub mount_path: &'a str,
    /// The folder of it that is.
    pub sub_path: Option<&'a str>,
    /// Nothing is written to it.
    pub read_only: bool,
}

/// What a pod is made of, whatever it is for.
pub struct Mold<'a> {
    /// The profile's `worker`: where it runs, and what it is labelled with.
    pub worker: &'a WorkerSpec,
    /// The ConfigMap with its plan.
    pub plan: &'a str,
    /// Secrets and certificates as files.
    pub mounted: Vec<&'a Mounted>,
    /// Its volumes.
    pub claims: Vec<Claim<'a>>,
    /// Its image.
    pub image: &'a str,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The program's own environment.
    pub environment: Vec<Value>,
    /// What it asks for and may use.
    pub resources: Value,
    /// Its labels, besides those of the profile.
    pub labels: Value,
    /// Its ServiceAccount.
    pub account: String,
    /// How long it has to end.
    pub grace: Duration,
    /// When its container is started again.
    pub restart: &'static str,
}

/// The pod template of a stream. `run` is an environment that differs from start to start and is no
/// part of what decides the pod.
pub fn template(
    stream: &StreamView,
    validated: &Validated,
    kind: Kind,
    output: Option<&str>,
    plan: &str,
    image: &str,
) -> Value {
    let pods = &validated.pods;
    let builds = kind == Kind::Build;
    let volumes = [
        ("worlds", &pods.worlds, !builds, true),
        ("cursors", &pods.cursors, false, !builds),
        ("sorted", &pods.oracle.scratch, false, builds),
    ];
    let claims = volumes.into_iter().filter(|(_, _, _, mounted)| *mounted);
    let claims = claims.filter_map(|(name, volume, read_only, _)| {
        volume.as_ref().map(|volume| Claim {
            name: name.to_owned(),
            claim: &volume.persistent_volume_claim,
            mount_path: &volume.mount_path,
            sub_path: volume.sub_path.as_deref(),
            read_only,
        })
    });
    let mounted = pods.mounted.iter().filter(|file| kind.gets(&file.path));
    let own = own_environment(stream, output);
    cast(Mold {
        worker: &pods.worker,
        plan,
        mounted: mounted.collect(),
        claims: claims.collect(),
        image,
        arguments: arguments(stream, validated, kind, output),
        environment: environment(&pods.worker, own),
        resources: match builds {
            true => resources_of_builds(&pods.oracle),
            false => resources(pods.worker.resources.as_ref(), "100m", "192Mi", "512Mi"),
        },
        labels: labels(stream, Some(kind.component()), output),
        account: names::role(&stream.key.name, kind.component()),
        grace: pods.grace,
        restart: "Never",
    })
}

/// Makes the pod template: whatever the profile says, it meets the restricted standard.
pub fn cast(mold: Mold<'_>) -> Value {
    let worker = mold.worker;
    let mut volumes = vec![
        json!({"name": "plan", "configMap": {"name": mold.plan}}),
        json!({"name": "scratch", "emptyDir": {}}),
    ];
    let mut mounts = vec![
        json!({"name": "plan", "mountPath": PLAN, "readOnly": true}),
        json!({"name": "scratch", "mountPath": SCRATCH}),
    ];
    for (index, file) in mold.mounted.iter().enumerate() {
        let name = format!("file-{index}");
        let items = json!([{"key": file.key, "path": ENTRY}]);
        volumes.push(match file.secret {
            true => json!({"name": name, "secret": {"secretName": file.name, "items": items}}),
            false => json!({"name": name, "configMap": {"name": file.name, "items": items}}),
        });
        mounts.push(json!({"name": name, "mountPath": file.folder, "readOnly": true}));
    }
    for volume in mold.claims {
        let (name, read_only) = (volume.name, volume.read_only);
        let claim = json!({"claimName": volume.claim, "readOnly": read_only});
        volumes.push(json!({"name": name, "persistentVolumeClaim": claim}));
        let mut mount =
            json!({"name": name, "mountPath": volume.mount_path, "readOnly": read_only});
        if let Some(path) = volume.sub_path {
            mount["subPath"] = path.into();
        }
        mounts.push(mount);
    }
    let mut container = json!({
        "name": container(),
        "image": mold.image,
        "args": mold.arguments,
        "env": mold.environment,
        "ports": [{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
        "resources": mold.resources,
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
    merge(&mut pod_labels, mold.labels);
    let mut spec = json!({
        "restartPolicy": mold.restart,
        "serviceAccountName": mold.account,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": mold.grace.as_secs(),
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
        "tolerations": tolerations(worker),
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

/// A variable that the pod itself gives.
pub fn of_pod(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

/// Whose pod it is, from the pod itself.
fn own_environment(stream: &StreamView, output: Option<&str>) -> Vec<Value> {
    vec![
        of_pod("POD_NAME", "metadata.name"),
        of_pod("POD_UID", "metadata.uid"),
        of_pod("POD_NAMESPACE", "metadata.namespace"),
        of_pod(
            "JOB_NAME",
            "metadata.labels['batch.kubernetes.io/job-name']",
        ),
        // The same in every run of an output, of which there is one at a time: a store that keeps
        // a lease by it takes the next run for the replacement that it is.
        json!({
            "name": "JOB_UID",
            "value": names::short_hash(&[&stream.uid, output.unwrap_or_default()]),
        }),
    ]
}

/// What the profile gives, and after it the program's own, which wins: a later entry of a name
/// counts.
pub fn environment(worker: &WorkerSpec, own: Vec<Value>) -> Vec<Value> {
    let named = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let kept: Vec<String> = own.iter().map(named).collect();
    let given = worker.env.iter().map(|it| json!(it));
    given
        .filter(|it| !kept.contains(&named(it)) && named(it) != super::jobs::TAKE_OVER)
        .chain(own)
        .collect()
}

/// What the pod of a build asks for: its own memory, and what the kernel keeps of files.
fn resources_of_builds(oracle: &OracleSpec) -> Value {
    if let Some(given) = &oracle.resources {
        return json!(given);
    }
    let memory = oracle.memory.0;
    json!({
        "requests": {"cpu": "250m", "memory": memory.to_string()},
        "limits": {"memory": (memory + BUILD_MARGIN).to_string()},
    })
}

/// What is asked for, and these where nothing is.
pub fn resources(given: Option<&ResourcesSpec>, cpu: &str, memory: &str, most: &str) -> Value {
    match given {
        Some(resources) => json!(resources),
        None => json!({
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"memory": most},
        }),
    }
}

/// A node that is gone is given up after half a minute, not after the cluster's five: the pod's
/// replacement is what the stream waits for. The profile may say otherwise.
fn tolerations(worker: &WorkerSpec) -> Value {
    let given = &worker.pod_template.tolerations;
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
