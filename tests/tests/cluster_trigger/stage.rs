//! A namespace with a bus and an object store: folders of its volume, or a Kinesis and a MinIO of
//! the host behind Services; messages that are published to it, and what became of them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use worldstream::bus;
use worldstream::plan::ready::{BusKind, BusPlan, FileBusPlan, KinesisBusPlan};
use worldstream::plan::{S3CredentialsPlan, S3Plan, SecretSource};
use worldstream::ready::Place;
use worldstream::ready::publish::{Announcement, Ready, make};
use worldstream::sample::{self, SampleSpec};
use worldstream::world::WorldKey;
use worldstream_crds::CONTROL_TOPIC;
use worldstream_tests::bed::stores::{KinesisServer, MinioOptions, MinioServer};

use crate::operator::Operator;
use crate::space::{Space, traffic_alone};

/// The platform run that is the active one.
pub const RUN: &str = "platform_20260101T000000Z";
/// The bucket of the store.
const BUCKET: &str = "fraud-platform";
/// The stream of the bus.
const STREAM: &str = "fp-control";

pub struct Stage<'a> {
    pub space: Space<'a>,
    place: Place,
    bus: BusPlan,
    remote: Option<Remote>,
    runtime: tokio::runtime::Runtime,
}

/// The stores of the host.
struct Remote {
    kinesis: KinesisServer,
    minio: MinioServer,
    _keys: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    /// Bus and store are folders of the namespace's volume.
    pub fn folders(
        operator: &'a Operator,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Stage<'a> {
        let space = space(operator, name, change);
        let root = space.path("platform");
        for folder in ["bus", "store"] {
            std::fs::create_dir_all(root.join(folder).join(CONTROL_TOPIC)).unwrap();
        }
        open(&root);
        let text = |path: PathBuf| path.display().to_string();
        let bus = BusPlan {
            topic: CONTROL_TOPIC.into(),
            max_message_bytes: 1 << 20,
            kind: BusKind::File(FileBusPlan {
                root: text(root.join("bus")),
                poll_interval: Duration::from_secs(1),
                s3: S3Plan::default(),
            }),
        };
        let place = Place::open(&text(root.join("store")), &S3Plan::default()).unwrap();
        Stage {
            space,
            place,
            bus,
            remote: None,
            runtime: runtime(),
        }
    }

    /// The bus is a Kinesis, and the store a MinIO, each behind a Service of the namespace.
    pub fn stores(operator: &'a Operator, name: &str) -> Stage<'a> {
        let space = space(operator, name, |_| {});
        let at = operator.bed.place();
        let kinesis = KinesisServer::start_at(at.clone()).unwrap();
        let minio = MinioServer::start_at(at, MinioOptions::default()).unwrap();
        minio.make_bucket(BUCKET).unwrap();
        let create = json!({"StreamName": STREAM, "ShardCount": 2});
        kinesis.ask("CreateStream", &create).unwrap();
        let describe = json!({"StreamName": STREAM});
        crate::operator::wait("the bus's stream", || {
            let found = kinesis.ask("DescribeStreamSummary", &describe).unwrap();
            found["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        });
        for (name, port) in [
            ("kinesis", kinesis.server.port),
            ("minio", minio.server.port),
        ] {
            operator
                .bed
                .serve_host_port(&space.namespace, name, port)
                .unwrap();
        }
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "platform", "namespace": space.namespace},
            "stringData": {"id": minio.access_key, "key": minio.secret_key},
        });
        space.bed.apply(&secret.to_string()).unwrap();
        let keys = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = keys.path().join(name);
            std::fs::write(&path, text).unwrap();
            SecretSource::File(path)
        };
        let credentials = S3CredentialsPlan {
            access_key_id: file("id", &minio.access_key),
            secret_access_key: file("key", &minio.secret_key),
            session_token: None,
        };
        let s3 = S3Plan {
            endpoint: Some(minio.endpoint()),
            region: Some(minio.region.clone()),
            credentials: Some(credentials.clone()),
            ..S3Plan::default()
        };
        let bus = BusPlan {
            topic: CONTROL_TOPIC.into(),
            max_message_bytes: 1 << 20,
            kind: BusKind::Kinesis(KinesisBusPlan {
                stream: STREAM.into(),
                region: Some(minio.region.clone()),
                endpoint: Some(kinesis.endpoint()),
                credentials: Some(credentials),
                ca_file: None,
            }),
        };
        let place = Place::open(&format!("s3://{BUCKET}"), &s3).unwrap();
        Stage {
            space,
            place,
            bus,
            remote: Some(Remote {
                kinesis,
                minio,
                _keys: keys,
            }),
            runtime: runtime(),
        }
    }

    /// Ends the bus's engine, or starts it again.
    pub fn engine(&mut self, up: bool) {
        let remote = self.remote.as_mut().expect("a stage with stores");
        let server = &mut remote.kinesis.server;
        match up {
            true => server.start().unwrap(),
            false => server.kill().unwrap(),
        }
    }

    /// The secret key of the store, where it has one.
    pub fn store_key(&self) -> &str {
        self.remote.as_ref().map_or("", |it| &it.minio.secret_key)
    }

    /// A trigger of this bus and store, with more in its spec.
    pub fn trigger(&self, name: &str, more: Value) {
        let mut spec = match &self.remote {
            None => json!({
                "bus": {"file": {"root": "/platform/bus", "pollInterval": "1s"}},
                "store": {"root": "/platform/store"},
                "volumes": [{
                    "persistentVolumeClaim": "worlds",
                    "mountPath": "/platform",
                    "subPath": "platform",
                }],
            }),
            Some(remote) => {
                let key = |key: &str| json!({"secret": {"name": "platform", "key": key}});
                let credentials = json!({"accessKeyId": key("id"), "secretAccessKey": key("key")});
                let at = |name: &str, port: u16| format!("http://{name}:{port}");
                json!({
                    "bus": {"kinesis": {
                        "stream": STREAM,
                        "region": remote.minio.region,
                        "endpoint": at("kinesis", remote.kinesis.server.port),
                        "credentials": credentials,
                    }},
                    "store": {"root": format!("s3://{BUCKET}"), "s3": {
                        "endpoint": at("minio", remote.minio.server.port),
                        "region": remote.minio.region,
                        "credentials": credentials,
                    }},
                })
            }
        };
        spec["profile"] = json!("replay");
        spec["scope"] = json!({"platformRunId": RUN});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let document = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "ReadyTrigger",
            "metadata": {"name": name, "namespace": self.space.namespace},
            "spec": spec,
        });
        self.space.bed.apply(&document.to_string()).unwrap();
    }

    /// Writes a world with events of its own.
    pub fn world(&self, name: &str, seed: u64, rows: u64) {
        let mut spec = SampleSpec::new(self.space.path(name), seed, rows, 1);
        spec.run_root = Some(format!("/worlds/{name}"));
        spec.raw = false;
        sample::write(&spec, &|_| {}).unwrap();
    }

    /// A message for a world of the namespace. `number` tells those of one world apart.
    pub fn message(&self, world: &str, number: u32) -> Ready {
        self.message_of(RUN, world, number)
    }

    /// The same, of a platform run.
    pub fn message_of(&self, run: &str, world: &str, number: u32) -> Ready {
        let receipt = self.space.path(world).join("run_receipt.json");
        let receipt: Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
        let text = |field: &str| receipt[field].as_str().unwrap().to_owned();
        let announcement = Announcement {
            platform_run_id: run.to_owned(),
            scenario_run_id: Some(format!("{number:032x}")),
            run_id: None,
            message_id: None,
            engine_run_root: format!("/worlds/{world}"),
            key: WorldKey {
                manifest_fingerprint: text("manifest_fingerprint"),
                parameter_hash: text("parameter_hash"),
                scenario_id: "baseline_v1".into(),
                seed: receipt["seed"].as_u64().unwrap(),
            },
            outputs: vec![crate::space::FRAUD.into()],
        };
        make(&self.place, CONTROL_TOPIC, &announcement).unwrap()
    }

    /// Writes a message's facts, and puts it on the bus.
    pub fn publish(&self, ready: &Ready) {
        self.write_facts(ready);
        self.put(&ready.message.to_string(), &ready.message_id);
    }

    pub fn write_facts(&self, ready: &Ready) {
        let facts = ready.facts.to_string();
        let root = self.place.root();
        let write = root.replace(&ready.facts_view_ref, facts.as_bytes(), |_| false);
        self.runtime.block_on(write).unwrap();
        if self.remote.is_none() {
            // Pods are of another user, who writes records beside the facts.
            open(&self.space.path("platform/store"));
        }
    }

    /// Puts bytes on the bus; a folder's file has this name.
    pub fn put(&self, bytes: &str, name: &str) {
        if let BusKind::File(file) = &self.bus.kind {
            let folder = Path::new(&file.root).join(CONTROL_TOPIC);
            let hidden = folder.join(format!(".{name}"));
            std::fs::write(&hidden, bytes).unwrap();
            std::fs::rename(hidden, folder.join(format!("{name}.json"))).unwrap();
            return;
        }
        let bytes = Bytes::from(bytes.to_owned());
        self.runtime
            .block_on(bus::publish(&self.bus, bytes, name))
            .unwrap();
    }

    /// What lies in a run's folder of the store.
    fn read(&self, run: &str, relative: &str) -> Option<Bytes> {
        let run = self.place.run(run);
        self.runtime.block_on(run.read(relative)).unwrap()
    }

    /// The records of a message, in their order.
    pub fn records(&self, message_id: &str) -> Vec<Value> {
        let relative = format!("wsp/ready_runs/{message_id}.jsonl");
        let found = self.read(RUN, &relative).unwrap_or_default();
        let text = String::from_utf8(found.to_vec()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until a message has so many records; gives them.
    #[track_caller]
    pub fn recorded(&self, message_id: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        self.space.wait(
            &format!("{count} records of {message_id}"),
            || {
                found = self.records(message_id);
                found.len() >= count
            },
            |_: &Space| self.story(),
        );
        found
    }

    /// The governance facts of a message, as how many there are of each family.
    pub fn facts_of(&self, message_id: &str) -> BTreeMap<String, usize> {
        let run = self.place.run(RUN);
        let folder = "obs/governance/events";
        let names = self.runtime.block_on(run.list(folder)).unwrap();
        let mut count = BTreeMap::new();
        for name in names {
            let name = name.rsplit('/').next().unwrap().to_owned();
            let bytes = self.read(RUN, &format!("{folder}/{name}")).unwrap();
            let fact: Value = serde_json::from_slice(&bytes).unwrap();
            if fact["details"]["message_id"] == message_id {
                let family = fact["event_family"].as_str().unwrap().to_owned();
                *count.entry(family).or_default() += 1;
            }
        }
        count
    }

    /// Asserts that a message was streamed once, whole, and that everything says so.
    #[track_caller]
    pub fn streamed_once(&self, ready: &Ready, rows: u64) {
        let id = &ready.message_id;
        let records = self.recorded(id, 1);
        assert_eq!(records.len(), 1, "{records:#?}\n{}", self.story());
        let record = &records[0];
        assert_eq!(record["status"], "STREAMED", "{record:#}\n{}", self.story());
        assert_eq!(record["emitted"], rows, "{record:#}");
        assert_eq!(record["reason"], Value::Null, "{record:#}");
        let expected = ["RUN_ENDED", "RUN_READY_SEEN", "RUN_STARTED"];
        let expected = expected.map(|family| (family.to_owned(), 1));
        assert_eq!(self.facts_of(id), BTreeMap::from(expected));
        let admitted = self.admitted(ready);
        let ids: std::collections::BTreeSet<&str> = admitted
            .iter()
            .map(|event| event["event_id"].as_str().unwrap())
            .collect();
        assert_eq!((admitted.len() as u64, ids.len() as u64), (rows, rows));
    }

    /// What the gate let in of a message's stream.
    pub fn admitted(&self, ready: &Ready) -> Vec<Value> {
        self.space.gate.summary();
        let lines = worldstream_tests::inside::whole_lines(&self.space.gate.record);
        let all = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("an envelope"));
        all.filter(|event| event["scenario_run_id"] == *ready.scenario_run_id)
            .collect()
    }

    /// A trigger's status.
    pub fn status(&self, trigger: &str) -> Value {
        let said = self.space.kubectl(&["get", "rt", trigger, "-o", "json"]);
        let found: Value = serde_json::from_str(&said).unwrap();
        found["status"].clone()
    }

    /// Waits until a trigger's status is so; gives it.
    #[track_caller]
    pub fn until(&self, trigger: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        self.space.wait(
            &format!("{trigger}: {what}"),
            || {
                last = self.status(trigger);
                so(&last)
            },
            |_: &Space| self.story(),
        );
        last
    }

    /// Waits until a trigger follows its bus.
    #[track_caller]
    pub fn follows(&self, trigger: &str) {
        let ready = |status: &Value| {
            let all = status["conditions"].as_array();
            let mut all = all.into_iter().flatten();
            all.any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        self.until(trigger, "Ready", ready);
    }

    /// The WorldStream that a message asked for.
    pub fn stream_of(&self, trigger: &str, ready: &Ready) -> String {
        worldstream_crds::names::ready_stream(trigger, &ready.message_id)
    }

    /// What there is to see, for a test that waited in vain.
    pub fn story(&self) -> String {
        let space = &self.space;
        // A pod that has not begun has no log, which is worth telling as well.
        let say = |args: &[&str]| {
            let all = ["-n", &space.namespace]
                .into_iter()
                .chain(args.iter().copied());
            space
                .bed
                .kubectl(all)
                .unwrap_or_else(|error| error.to_string())
        };
        let component = "worldstream.io/component=trigger";
        [
            say(&["get", "rt,ws,pods", "-o", "wide"]),
            say(&["get", "rt", "-o", "yaml"]),
            say(&["logs", "--tail=80", "--prefix", "--selector", component]),
        ]
        .join("\n")
    }
}

fn space<'a>(operator: &'a Operator, name: &str, change: impl FnOnce(&mut Value)) -> Space<'a> {
    Space::new(operator, name, |spec| {
        traffic_alone(spec);
        spec["defaults"] = json!({"speedup": 0});
        change(spec);
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Lets every user write below a folder.
fn open(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open(&path);
        }
    }
}
