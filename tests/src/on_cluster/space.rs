//! A namespace of a case: worlds on a volume, a gate that records, a profile and streams.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::sample::{self, SampleSpec};

use super::operator::Operator;
use crate::bed::{Bed, SharedFolder};
use crate::{Arrival, GateProcess};

/// The key that the gate lets in, which must be seen nowhere.
pub const KEY: &str = "planted-a1b2c3d4e5f60718";
/// The traffic with fraud.
pub const FRAUD: &str = "s3_event_stream_with_fraud_6B";
/// The traffic without.
pub const BASELINE: &str = "s2_event_stream_baseline_6B";
/// Long enough for anything on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A namespace of a case. It goes with this, unless the case failed.
pub struct Space {
    /// The cluster.
    pub bed: &'static dyn Bed,
    /// Its name.
    pub namespace: String,
    /// The gate that its streams push to.
    pub gate: GateProcess,
    port: u16,
    worlds: SharedFolder,
    dir: TempDir,
}

impl Space {
    /// A namespace with profile `replay`, whose spec `change` changes, and its Secret.
    pub fn new(operator: &Operator, name: &str, change: impl FnOnce(&mut Value)) -> Space {
        let space = Space::without_secret(operator, name, change);
        space.make_secret();
        space
    }

    /// The same without its Secret.
    pub fn without_secret(
        operator: &Operator,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Space {
        let bed = operator.bed;
        let namespace = format!("{name}-{}", std::process::id());
        bed.restricted_namespace(&namespace).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        std::fs::write(&keys, KEY).unwrap();
        let place = bed.place();
        let port = place.free_port().unwrap();
        let listen = format!("{}:{port}", place.address);
        let keys = keys.display().to_string();
        let gate = GateProcess::start_at(&listen, dir.path(), &["--api-keys", &keys]);
        bed.serve_host_port(&namespace, "ingestion-gate", port)
            .unwrap();
        let worlds = bed.shared_folder(&namespace).unwrap();
        bed.apply(&volume(&namespace, &worlds)).unwrap();
        let mut spec = json!({
            "world": {
                "oracleRoot": "/worlds",
                "volume": { "persistentVolumeClaim": "worlds", "mountPath": "/worlds" },
            },
            "require": { "manifest": true, "seal": true, "gates": "Digest" },
            "gate": {
                "url": format!("http://ingestion-gate:{port}"),
                "auth": { "apiKey": { "secret": { "name": "ingestion-gate", "key": "api-key" } } },
            },
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": { "builtIn": "producer_allowlist.txt" },
            },
        });
        change(&mut spec);
        let profile = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": { "name": "replay", "namespace": namespace },
            "spec": spec,
        });
        bed.apply(&profile.to_string()).unwrap();
        Space {
            bed,
            namespace,
            gate,
            port,
            worlds,
            dir,
        }
    }

    /// Makes the Secret with the gate's key.
    pub fn make_secret(&self) {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "ingestion-gate", "namespace": self.namespace },
            "stringData": { "api-key": KEY },
        });
        self.bed.apply(&secret.to_string()).unwrap();
    }

    /// The one key that the gate lets in from now on.
    pub fn let_in(&self, key: &str) {
        std::fs::write(self.dir.path().join("keys"), key).unwrap();
    }

    /// Writes a world, which pods find at `/worlds/<name>`.
    pub fn world(&self, name: &str, rows: u64) {
        self.world_of(name, 7, rows);
    }

    /// The same, with events of its own: of another seed.
    pub fn world_of(&self, name: &str, seed: u64, rows: u64) {
        let mut spec = SampleSpec::new(self.path(name), seed, rows, 1);
        spec.run_root = Some(format!("/worlds/{name}"));
        spec.raw = false;
        sample::write(&spec, &|_| {}).unwrap();
    }

    /// The gate's URL for pods.
    pub fn gate_url(&self) -> String {
        format!("http://ingestion-gate:{}", self.port)
    }

    /// Where a world lies on this machine.
    pub fn path(&self, world: &str) -> PathBuf {
        self.worlds.host.join(world)
    }

    /// A stream of a world by profile `replay`, with more in its spec.
    pub fn stream(&self, name: &str, world: &str, more: Value) -> Value {
        let mut spec = json!({ "profile": "replay", "engineRunRoot": format!("/worlds/{world}") });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "WorldStream",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": spec,
        })
    }

    /// Makes streams.
    pub fn start(&self, streams: &[Value]) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": streams });
        self.bed.apply(&list.to_string()).unwrap();
    }

    /// kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        self.bed.kubectl(all).unwrap()
    }

    /// Posts a document to a path below the namespace.
    pub fn create_raw(&self, path: &str, document: &Value) {
        let file = self.dir.path().join("posted.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let path = format!("/api/v1/namespaces/{}/{path}", self.namespace);
        let file = file.display().to_string();
        self.bed
            .kubectl(["create", "--raw", &path, "-f", &file])
            .unwrap();
    }

    /// Changes a stream's spec as a person would.
    pub fn patch(&self, stream: &str, spec: Value) {
        let patch = json!({ "spec": spec }).to_string();
        self.kubectl(&["patch", "ws", stream, "--type=merge", "-p", &patch]);
    }

    /// An object.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let list: Value =
            serde_json::from_str(&self.kubectl(&["get", kind, "-o", "json"])).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// A stream's status.
    pub fn status(&self, stream: &str) -> Value {
        self.get("ws", stream)["status"].clone()
    }

    /// Waits until a stream's status is so; gives it.
    #[track_caller]
    pub fn until(&self, stream: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        self.wait(
            &format!("{stream}: {what}"),
            || {
                last = self.status(stream);
                so(&last)
            },
            |space| {
                let status = space.status(stream);
                format!(
                    "{status:#}\n{}",
                    space.kubectl(&["get", "pods,jobs,sckpt", "-o", "wide"])
                )
            },
        );
        last
    }

    /// Waits until it is so; `explain` says how it is instead.
    #[track_caller]
    pub fn wait(
        &self,
        what: &str,
        mut so: impl FnMut() -> bool,
        explain: impl Fn(&Space) -> String,
    ) {
        let end = Instant::now() + PATIENCE;
        while !so() {
            assert!(
                Instant::now() < end,
                "{}: {what}: not within {PATIENCE:?}\n{}",
                self.namespace,
                explain(self)
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Waits for a stream's phase; gives its status.
    #[track_caller]
    pub fn phase(&self, stream: &str, phase: &str) -> Value {
        self.until(stream, phase, |status| status["phase"] == phase)
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        // What the gate has seen is in its files when it has answered.
        self.gate.summary();
        crate::inside::whole_lines(&self.gate.record_all)
            .iter()
            .map(|line| serde_json::from_str(line).expect("an arrival"))
            .collect()
    }

    /// What was admitted of a stream so far, in order of arrival.
    pub fn admitted_of(&self, stream: &str) -> Vec<Value> {
        let run = self.status(stream)["platformRunId"].clone();
        self.gate.summary();
        let lines = crate::inside::whole_lines(&self.gate.record);
        let all = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("an envelope"));
        all.filter(|event| event["platform_run_id"] == run)
            .collect()
    }

    /// Asserts that a completed stream's events were all admitted, each once, and that the receipts
    /// say so. Rows are counted by what the sample has, not by what the stream says.
    #[track_caller]
    pub fn every_event_once(&self, stream: &str, rows: u64) {
        let status = self.status(stream);
        let admitted = self.admitted_of(stream);
        let ids = admitted
            .iter()
            .map(|event| event["event_id"].as_str().unwrap());
        let ids: Vec<&str> = ids.collect();
        let different: std::collections::BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(ids.len() as u64, rows, "{status:#}");
        assert_eq!(different.len() as u64, rows, "{status:#}");
        let mut taken = 0;
        for output in status["outputs"].as_array().unwrap() {
            let receipt = &output["receipt"];
            let count = |field: &str| receipt[field].as_u64().unwrap();
            assert_eq!(receipt["complete"], true, "{output:#}");
            let parts =
                count("admitted") + count("duplicate") + count("quarantined") + count("undecided");
            assert_eq!(count("rows"), parts, "{output:#}");
            assert_eq!(
                count("rows"),
                output["rows"].as_u64().unwrap(),
                "{output:#}"
            );
            taken += count("rows");
        }
        assert_eq!(taken, rows, "{status:#}");
    }
}

/// A condition of a status: its status and its reason.
pub fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let all = status["conditions"].as_array();
    all.into_iter()
        .flatten()
        .find(|it| it["type"] == kind)
        .map(|it| {
            (
                it["status"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
            )
        })
        .unwrap_or_default()
}

/// A profile's change: only the traffic is sent.
pub fn traffic_alone(spec: &mut Value) {
    let none = json!({ "outputIds": [] });
    spec["contextOutputs"] = json!({ "fraud": none, "baseline": none });
}

/// The worlds' folder as a volume, and its claim.
fn volume(namespace: &str, worlds: &SharedFolder) -> String {
    let size = json!({ "storage": "1Gi" });
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": namespace },
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": { "namespace": namespace, "name": "worlds" },
            "hostPath": { "path": worlds.node, "type": "Directory" },
        },
    });
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "worlds", "namespace": namespace },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": namespace,
            "resources": { "requests": size },
        },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [volume, claim] }).to_string()
}

impl Drop for Space {
    fn drop(&mut self) {
        // Streams go before the next group; a failed case is looked at first.
        if !std::thread::panicking() {
            let _ = self
                .bed
                .kubectl(["delete", "namespace", &self.namespace, "--wait=false"]);
            let _ = self
                .bed
                .kubectl(["delete", "pv", &self.namespace, "--wait=false"]);
        }
    }
}
