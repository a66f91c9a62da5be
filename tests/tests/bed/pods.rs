//! Pods as the tests here need them: one container of a small image, under the restricted standard.

use std::sync::{OnceLock, RwLock};

use worldstream_tests::bed::{Bed, Kit};

/// The image of a program that looks at the cluster from inside.
const PROBE: &str = "docker.io/worldstream-bed/probe:1";

/// Held for writing by the test that takes a node away.
pub static NODES: RwLock<()> = RwLock::new(());

/// The bed of this suite, which knows the probe.
pub fn bed() -> &'static dyn Bed {
    static LOADED: OnceLock<()> = OnceLock::new();
    let bed = worldstream_tests::cluster(2);
    LOADED.get_or_init(|| {
        let archive = Kit::Kubernetes.program("probe.tar").unwrap();
        bed.load(&[archive]).unwrap();
    });
    bed
}

/// A namespace of a test, under the restricted standard, without what an earlier run left.
pub fn namespace(bed: &dyn Bed, name: &str) -> String {
    let name = format!("{name}-{}", std::process::id());
    bed.restricted_namespace(&name).unwrap();
    name
}

/// A pod to be made.
pub struct Pod<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub image: &'a str,
    pub args: &'a [&'a str],
    pub node: Option<&'a str>,
    /// A claim that is mounted at `/shared`.
    pub claim: Option<&'a str>,
}

impl<'a> Pod<'a> {
    pub fn probe(namespace: &'a str, name: &'a str, args: &'a [&'a str]) -> Pod<'a> {
        Pod {
            namespace,
            name,
            image: PROBE,
            args,
            node: None,
            claim: None,
        }
    }

    pub fn start(&self, bed: &dyn Bed) {
        let mut pod = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {"app": self.name},
            },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "securityContext": {
                    "runAsNonRoot": true,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "main",
                    "image": self.image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": self.args,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        });
        if let Some(node) = self.node {
            pod["spec"]["nodeSelector"] = serde_json::json!({"kubernetes.io/hostname": node});
        }
        if let Some(claim) = self.claim {
            pod["spec"]["volumes"] = serde_json::json!([
                {"name": "shared", "persistentVolumeClaim": {"claimName": claim}}
            ]);
            pod["spec"]["containers"][0]["volumeMounts"] =
                serde_json::json!([{"name": "shared", "mountPath": "/shared"}]);
        }
        bed.apply(&pod.to_string()).unwrap();
    }

    /// Waits for a phase.
    pub fn wait(&self, bed: &dyn Bed, phase: &str) {
        let done = bed.kubectl([
            "-n",
            self.namespace,
            "wait",
            "--timeout=120s",
            &format!("--for=jsonpath={{.status.phase}}={phase}"),
            &format!("pod/{}", self.name),
        ]);
        if let Err(error) = done {
            let what = bed.kubectl(["-n", self.namespace, "describe", "pod", self.name]);
            panic!("{error}\n{}\n{what:?}", self.logs(bed));
        }
    }

    pub fn logs(&self, bed: &dyn Bed) -> String {
        bed.kubectl(["-n", self.namespace, "logs", self.name])
            .unwrap_or_else(|error| error.to_string())
    }

    /// Runs it to its end; what it printed.
    pub fn finish(&self, bed: &dyn Bed) -> String {
        self.start(bed);
        self.wait(bed, "Succeeded");
        self.logs(bed)
    }
}
