//! A namespace of a case: worlds on a volume, a gate that records, a profile and streams.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::sample::{self, SampleSpec};
use worldstream_tests::bed::{Bed, SharedFolder};
use worldstream_tests::page::Pages;
use worldstream_tests::{Arrival, GateProcess};

use crate::operator::Operator;

/// The key that the gate lets in, which must be seen nowhere.
pub const KEY: &str = "planted-a1b2c3d4e5f60718";
/// The traffic with fraud.
pub const FRAUD: &str = "s3_event_stream_with_fraud_6B";
/// The traffic without.
pub const BASELINE: &str = "s2_event_stream_baseline_6B";
/// The label of volumes, which are in no namespace, with that of their case.
const OF_CASE: &str = "tests.worldstream.io/case";
/// Long enough for anything on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// How often the API server is asked: an API server on such a machine may not answer in time.
const TRIES: u32 = 5;

pub struct Space<'a> {
    pub bed: &'static dyn Bed,
    pages: &'a Pages,
    pub namespace: String,
    pub gate: GateProcess,
    worlds: SharedFolder,
    dir: TempDir,
}

impl<'a> Space<'a> {
    /// A namespace with profile `replay`, whose spec `change` changes, and its Secret.
    pub fn new(operator: &'a Operator, name: &str, change: impl FnOnce(&mut Value)) -> Space<'a> {
        let space = Space::without_secret(operator, name, change);
        space.make_secret();
        space
    }

    pub fn without_secret(
        operator: &'a Operator,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Space<'a> {
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
        bed.apply(&volume(&namespace, "worlds", &worlds)).unwrap();
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
            pages: &operator.pages,
            namespace,
            gate,
            worlds,
            dir,
        }
    }

    /// Profile `name`, which is like `replay` but for what `change` changes; `replay` itself is
    /// changed by its own name.
    pub fn profile(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut spec = self.get("sp", "replay")["spec"].clone();
        change(&mut spec);
        let profile = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": spec,
        });
        self.bed.apply(&profile.to_string()).unwrap();
    }

    /// One more volume that pods may write to, with its claim: where it is on this machine.
    pub fn volume(&self, claim: &str) -> PathBuf {
        let folder = format!("{}-{claim}", self.namespace);
        let folder = self.bed.shared_folder(&folder).unwrap();
        self.bed
            .apply(&volume(&self.namespace, claim, &folder))
            .unwrap();
        folder.host
    }

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
        let mut spec = SampleSpec::new(self.path(name), 7, rows, 1);
        spec.run_root = Some(format!("/worlds/{name}"));
        spec.raw = false;
        sample::write(&spec, &|_| {}).unwrap();
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

    /// What kubectl says: to read, or to write what may be written twice.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        for _ in 1..TRIES {
            match self.bed.kubectl(&all) {
                Ok(said) => return said,
                Err(error) => println!("{}: tried again: {error}", self.namespace),
            }
            std::thread::sleep(Duration::from_secs(2));
        }
        self.bed.kubectl(&all).unwrap()
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

    pub fn get(&self, kind: &str, name: &str) -> Value {
        let path = format!("{}/{name}", self.path_of(kind));
        self.look(&path)
    }

    pub fn list(&self, kind: &str) -> Vec<Value> {
        self.look(&self.path_of(kind))["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn look(&self, path: &str) -> Value {
        for _ in 0..TRIES {
            match self.pages.get(path) {
                Some(found) => return found,
                None => std::thread::sleep(Duration::from_secs(2)),
            }
        }
        panic!("{path}: nothing is found")
    }

    /// How many objects of a kind there are, cheaply.
    pub fn count(&self, kind: &str) -> usize {
        let list = self.pages.get(&format!("{}?limit=1", self.path_of(kind)));
        let list = list.unwrap_or_default();
        let first = list["items"].as_array().map_or(0, Vec::len);
        let rest = list["metadata"]["remainingItemCount"].as_u64();
        first + rest.unwrap_or_default() as usize
    }

    /// Merges a patch into an object, or its status.
    pub fn patch_raw(&self, kind: &str, name: &str, patch: &Value) {
        let path = format!("{}/{name}", self.path_of(kind));
        self.pages.patch(&path, patch);
    }

    /// Where the objects of a kind are at the API server.
    fn path_of(&self, kind: &str) -> String {
        let (group, plural) = match kind {
            "ws" => ("apis/worldstream.io/v1alpha1", "worldstreams"),
            "sp" => ("apis/worldstream.io/v1alpha1", "streamprofiles"),
            "sclk" => ("apis/worldstream.io/v1alpha1", "streamclocks"),
            "sckpt" => ("apis/worldstream.io/v1alpha1", "streamcheckpoints"),
            "jobs" => ("apis/batch/v1", kind),
            "roles" | "rolebindings" => ("apis/rbac.authorization.k8s.io/v1", kind),
            _ => ("api/v1", kind),
        };
        format!("/{group}/namespaces/{}/{plural}", self.namespace)
    }

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

    #[track_caller]
    pub fn wait(
        &self,
        what: &str,
        mut so: impl FnMut() -> bool,
        explain: impl Fn(&Space<'_>) -> String,
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

    #[track_caller]
    pub fn phase(&self, stream: &str, phase: &str) -> Value {
        self.until(stream, phase, |status| status["phase"] == phase)
    }

    /// The checkpoints of a stream, by output.
    pub fn checkpoints(&self, stream: &str) -> BTreeMap<String, Value> {
        let all = self.list("sckpt").into_iter();
        all.filter(|it| it["spec"]["stream"] == stream)
            .map(|it| {
                let output = it["spec"]["output"].as_str().unwrap().to_owned();
                (output, it["status"].clone())
            })
            .collect()
    }

    /// Waits until nothing arrives for two seconds; gives how much has arrived.
    #[track_caller]
    pub fn still(&self, what: &str) -> usize {
        let mut last = usize::MAX;
        self.wait(
            what,
            || {
                let before = std::mem::replace(&mut last, self.arrivals().len());
                if before != last {
                    std::thread::sleep(Duration::from_secs(2));
                }
                before == last
            },
            |_| String::new(),
        );
        last
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        // What the gate has seen is in its files when it has answered.
        self.gate.summary();
        worldstream_tests::inside::whole_lines(&self.gate.record_all)
            .iter()
            .map(|line| serde_json::from_str(line).expect("an arrival"))
            .collect()
    }

    /// What was admitted of a stream so far, in order of arrival.
    pub fn admitted_of(&self, stream: &str) -> Vec<Value> {
        let run = self.status(stream)["platformRunId"].clone();
        self.admitted_by(run.as_str().unwrap_or_default())
    }

    /// The same by the platform run; nobody but the gate is asked.
    pub fn admitted_by(&self, run: &str) -> Vec<Value> {
        self.gate.summary();
        let lines = worldstream_tests::inside::whole_lines(&self.gate.record);
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
        let admitted = self.admitted_of(stream).into_iter();
        let ids: Vec<String> = admitted.map(|event| text(&event["event_id"])).collect();
        self.each_once(stream, rows, &ids);
    }

    /// The ids of all events that were admitted so far, by platform run.
    pub fn ids_by_run(&self) -> BTreeMap<String, Vec<String>> {
        self.gate.summary();
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in worldstream_tests::inside::whole_lines(&self.gate.record) {
            let event: Value = serde_json::from_str(&line).expect("an envelope");
            let run = text(&event["platform_run_id"]);
            ids.entry(run).or_default().push(text(&event["event_id"]));
        }
        ids
    }

    /// The same of a stream whose admitted events have these ids.
    #[track_caller]
    pub fn each_once(&self, stream: &str, rows: u64, ids: &[String]) {
        let status = self.status(stream);
        let different: std::collections::BTreeSet<&String> = ids.iter().collect();
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

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
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

/// A folder as a volume, and its claim.
fn volume(namespace: &str, claim_name: &str, folder: &SharedFolder) -> String {
    let size = json!({ "storage": "1Gi" });
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": format!("{namespace}-{claim_name}"),
            "labels": { OF_CASE: namespace },
        },
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": { "namespace": namespace, "name": claim_name },
            "hostPath": { "path": folder.node, "type": "Directory" },
        },
    });
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim_name, "namespace": namespace },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": format!("{namespace}-{claim_name}"),
            "resources": { "requests": size },
        },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [volume, claim] }).to_string()
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        // Streams go before the next group; a failed case is looked at first.
        if !std::thread::panicking() {
            let of_case = format!("{OF_CASE}={}", self.namespace);
            let _ = self
                .bed
                .kubectl(["delete", "namespace", &self.namespace, "--wait=false"]);
            let _ = self
                .bed
                .kubectl(["delete", "pv", "-l", &of_case, "--wait=false"]);
        }
    }
}
