//! The chart, installed: what a person does with it, by helm, kubectl and the program itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream_bed::stores::Request;
use worldstream_bed::{Bed, Images, Place};

use super::expected::{envelopes, text};
use super::{Options, Stores, WHAT_IS_THERE};
use crate::{repository, run};

/// What the world is called.
pub const WORLD: &str = "s3://oracle-store/runs/parity";
/// Its scenario.
pub const SCENARIO: &str = "baseline_v1";
/// Decides its values.
pub const SEED: u64 = 7;
/// The run of the Scenario Runner that is announced.
pub const SCENARIO_RUN_ID: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
/// The bucket of records.
pub const BUCKET: &str = "fraud-platform";
/// The trigger and the release.
const NAME: &str = "parity";
/// The file with the documents of whoever announces the run.
const DOCUMENTS: &str = "trigger.yaml";
/// Long enough for anything on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The platform in a namespace.
pub struct Platform<'a> {
    bed: &'static dyn Bed,
    stores: &'a Stores,
    options: &'a Options,
    dir: TempDir,
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct Left {
    /// What the gate admitted, as bytes, by event type and event id.
    pub admitted: std::collections::BTreeMap<(String, String), String>,
    /// So many lines that was.
    pub lines: usize,
    /// What the gate says of itself.
    pub gate: Value,
    /// The WorldStream.
    pub stream: Value,
    /// The ReadyTrigger.
    pub trigger: Value,
    /// Objects below the run's prefix, by their names there.
    pub objects: std::collections::BTreeMap<String, String>,
    /// The table of cursors.
    pub cursors: Vec<String>,
    /// What `worldstream audit show` tells of the run.
    pub story: Value,
}

impl<'a> Platform<'a> {
    /// One `helm install` into a namespace that is made anew.
    pub fn install(
        bed: &'static dyn Bed,
        images: &Images,
        stores: &'a Stores,
        options: &'a Options,
    ) -> Platform<'a> {
        let platform = Platform {
            bed,
            stores,
            options,
            dir: tempfile::tempdir().expect("a folder"),
        };
        let namespace = &options.namespace;
        if bed.helm(["status", NAME, "-n", namespace]).is_ok() {
            panic!(
                "namespace {namespace} has a release {NAME} already, of a run with --keep or of one \
                 that failed: take it away (helm uninstall {NAME} -n {namespace}; kubectl delete \
                 namespace {namespace}), or give another --namespace"
            );
        }
        bed.restricted_namespace(namespace)
            .unwrap_or_else(|error| panic!("namespace {namespace}: {error}"));
        let mut values = stores.values();
        let image = |name: &str| {
            let (repository, tag) = name.rsplit_once(':').expect("an image with a tag");
            json!({"repository": repository, "tag": tag})
        };
        values["image"] = image(&images.worker);
        values["worldstream"] =
            json!({"image": image(&images.operator), "worker": {"image": image(&images.worker)}});
        values["world"] = json!({"rows": options.rows, "days": 1, "seed": SEED, "root": WORLD});
        values["run"] = json!({"platformRunId": options.platform_run_id});
        let file = platform.dir.path().join("values.yaml");
        std::fs::write(&file, values.to_string()).expect("values");
        let chart = repository().join("charts/worldstream-parity");
        let (chart, file) = (chart.display().to_string(), file.display().to_string());
        let install = ["install", NAME, &chart, "-n", namespace, "-f", &file];
        let waits = ["--wait", "--wait-for-jobs", "--timeout=15m"];
        if let Err(error) = bed.helm(install.iter().chain(&waits)) {
            panic!("{error}{WHAT_IS_THERE}{}", platform.everything());
        }
        platform
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let all = ["-n", &self.options.namespace]
            .into_iter()
            .chain(args.iter().copied());
        self.bed
            .kubectl(all)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["get", kind, name, "-o", "json"]);
        serde_json::from_str(&text).expect("JSON of kubectl")
    }

    /// What is there, for whoever looks at a failure.
    fn everything(&self) -> String {
        let kinds = "pods,jobs,deployments,statefulsets,rt,ws,sckpt,events";
        let args = ["-n", &self.options.namespace, "get", kinds, "-o", "wide"];
        let mut all = self
            .bed
            .kubectl(args)
            .unwrap_or_else(|error| error.to_string());
        for what in ["deployment/parity-worldstream", "deployment/parity-trigger"] {
            let args = ["-n", &self.options.namespace, "logs", what, "--tail=60"];
            let log = self
                .bed
                .kubectl(args)
                .unwrap_or_else(|error| error.to_string());
            all += &format!("\n{what}:\n{log}");
        }
        for kind in ["rt", "ws"] {
            let args = ["-n", &self.options.namespace, "get", kind, "-o", "yaml"];
            all += &self
                .bed
                .kubectl(args)
                .unwrap_or_else(|error| error.to_string());
        }
        all
    }

    fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so() {
            assert!(
                Instant::now() < end,
                "{what}: not within {PATIENCE:?}{WHAT_IS_THERE}{}",
                self.everything()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The world is written and checked, and the trigger follows the bus.
    pub fn until_seeded(&mut self) {
        let label = "app.kubernetes.io/name=parity-world";
        let done = [
            "--for=condition=Complete",
            "--timeout=600s",
            "job",
            "-l",
            label,
        ];
        self.kubectl(&[&["wait"][..], &done].concat());
        self.until("the trigger is ready", || {
            condition(&self.get("rt", NAME), "Ready") == "True"
        });
    }

    /// Announces the run; the message's id.
    pub fn publish(&self) -> String {
        let said = self.announce();
        text(&said["message_id"])
    }

    /// The same message once more; returns when the trigger has passed it over.
    pub fn publish_again(&self, message: &str) {
        let before = self.get("rt", NAME)["status"]["counts"]["skipped"].clone();
        assert_eq!(
            text(&self.announce()["message_id"]),
            message,
            "the same message"
        );
        self.until("the repeat is skipped", || {
            self.get("rt", NAME)["status"]["counts"]["skipped"] != before
        });
    }

    /// `worldstream ready publish`, as a person does it.
    fn announce(&self) -> Value {
        let [kinesis, region] = self.stores.kinesis();
        let [minio, minio_region, key, secret] = self.stores.minio();
        let file = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let credentials = |key: &str, secret: &str| {
            json!({"accessKeyId": {"file": file("key", key)},
                   "secretAccessKey": {"file": file("secret", secret)}})
        };
        let s3 = json!({"endpoint": minio, "region": minio_region,
                        "credentials": credentials(&key, &secret)});
        let trigger = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "ReadyTrigger",
            "metadata": {"name": NAME},
            "spec": {
                "profile": "local",
                "bus": {"kinesis": {
                    "stream": super::stores::STREAM, "region": region, "endpoint": kinesis,
                    "credentials": credentials(&key, &secret),
                }},
                "store": {"root": format!("s3://{BUCKET}"), "s3": s3},
            },
        });
        let profile = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "local"},
            "spec": {
                "world": {"s3": s3},
                "gate": {"url": "http://127.0.0.1:1"},
                "producer": {"id": "svc:world_stream_producer",
                             "allowlist": {"builtIn": "producer_allowlist.txt"}},
            },
        });
        let documents = file(DOCUMENTS, &format!("{trigger}\n---\n{profile}\n"));
        let ended = run(["--json", "ready", "publish", "-f", &documents])
            .args(["--engine-run-root", WORLD, "--scenario", SCENARIO])
            .args(["--platform-run-id", &self.options.platform_run_id])
            .args(["--scenario-run-id", SCENARIO_RUN_ID])
            .finish()
            .expect(0);
        serde_json::from_str(&ended.stdout).expect("what was published, as JSON")
    }

    /// Follows the WorldStream of a message to its end, and until its record is written; its name.
    pub fn until_streamed(&self, message: &str, said: &mut dyn FnMut(&str)) -> String {
        let mut name = String::new();
        let mut phase = Value::Null;
        let mut trouble = String::new();
        self.until("the stream of the message is recorded", || {
            let trigger = self.get("rt", NAME);
            // Whoever waits wants to know for what.
            let now = [&trigger, &self.stream_of(&name)].map(wrong).concat();
            if now != trouble && !now.is_empty() {
                said(now.trim_end());
            }
            trouble = now;
            let all = trigger["status"]["last"].as_array();
            let found = all
                .into_iter()
                .flatten()
                .find(|it| it["messageId"] == message);
            let Some(found) = found else { return false };
            if name.is_empty() && !text(&found["worldStream"]).is_empty() {
                name = text(&found["worldStream"]);
                said(&format!("WorldStream {name}"));
            }
            if !name.is_empty() {
                let now = self.get("ws", &name)["status"]["phase"].clone();
                if now != phase && !now.is_null() {
                    said(&format!("WorldStream {name}: {}", text(&now)));
                    phase = now;
                }
            }
            let status = text(&found["status"]);
            assert!(
                status != "FAILED",
                "the message is FAILED: {}, {} events{WHAT_IS_THERE}{}",
                text(&found["reason"]),
                found["emitted"],
                self.everything()
            );
            status == "STREAMED"
        });
        name
    }

    /// A WorldStream; nothing, before it has a name.
    fn stream_of(&self, name: &str) -> Value {
        match name {
            "" => Value::Null,
            name => self.get("ws", name),
        }
    }

    /// Everything that it left.
    pub fn gather(&self, _message: &str, stream: &str) -> Left {
        let gate = self
            .bed
            .reach(&self.options.namespace, "ingestion-gate", 8080)
            .expect("the gate");
        let place = Place {
            address: gate.address.ip(),
            ..self.bed.place()
        };
        let get = |target: &str| {
            let request = Request {
                method: "GET".into(),
                target: target.into(),
                ..Request::default()
            };
            let answer = request
                .send(&place, gate.address.port(), None)
                .expect("the gate");
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            answer.text()
        };
        let mut record = String::new();
        loop {
            let page = get(&format!("/v1/dev/record?from={}", record.len()));
            if page.is_empty() {
                break;
            }
            record += &page;
        }
        Left {
            lines: record.lines().count(),
            admitted: envelopes(&record),
            gate: serde_json::from_str(&get("/v1/ops/summary")).expect("a summary"),
            stream: self.get("ws", stream),
            trigger: self.get("rt", NAME),
            objects: self.objects(),
            cursors: self.stores.cursors(),
            story: self.story(),
        }
    }

    /// The run's story, for people.
    pub fn told(&self) -> String {
        let run_id = &self.options.platform_run_id;
        let documents = self.dir.path().join(DOCUMENTS).display().to_string();
        let told = run(["audit", "show", run_id, "--no-checkpoints", "-f"]).args([documents]);
        told.finish().expect(0).stdout
    }

    /// The run's story, as a program reads it.
    fn story(&self) -> Value {
        let run_id = &self.options.platform_run_id;
        run(["--json", "audit", "show", run_id, "-f"])
            .args([self.dir.path().join(DOCUMENTS).display().to_string()])
            .finish()
            .expect(0)
            .json()
    }

    /// What lies below the run's prefix.
    fn objects(&self) -> std::collections::BTreeMap<String, String> {
        let plan = self.stores.s3(self.dir.path());
        let store = worldstream::store::s3::open(&plan, BUCKET).expect("the bucket");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let prefix = object_store::path::Path::from(self.options.platform_run_id.as_str());
        runtime.block_on(async {
            let mut found = std::collections::BTreeMap::new();
            for object in store.walk(&prefix).await.expect("the bucket's objects") {
                let got = store.get(&object.location).await.expect("an object");
                let (bytes, _) = got.expect("an object that was listed");
                let name = object.location.as_ref().trim_start_matches(prefix.as_ref());
                let text = String::from_utf8_lossy(&bytes).into_owned();
                found.insert(name.trim_start_matches('/').to_owned(), text);
            }
            found
        })
    }

    /// Takes everything away.
    pub fn uninstall(&self) {
        let namespace = &self.options.namespace;
        let _ = self.bed.kubectl([
            "-n",
            namespace,
            "delete",
            "rt,ws",
            "--all",
            "--wait=true",
            "--timeout=60s",
        ]);
        let _ = self
            .bed
            .helm(["uninstall", NAME, "-n", namespace, "--wait"]);
        let _ = self
            .bed
            .kubectl(["delete", "namespace", namespace, "--wait=false"]);
    }
}

/// What an object says is wrong with it, a line each; nothing, while all is as it must be.
fn wrong(object: &Value) -> String {
    let all = object["status"]["conditions"].as_array();
    let bad = |it: &&Value| match text(&it["type"]).as_str() {
        "Deferred" | "Degraded" | "Failed" => it["status"] == "True",
        "Following" | "Accepted" => it["status"] == "False",
        _ => false,
    };
    let line = |it: &Value| {
        let [kind, why, message] = ["type", "reason", "message"].map(|field| text(&it[field]));
        format!("{} {kind}: {why}: {message}\n", text(&object["kind"]))
    };
    all.into_iter().flatten().filter(bad).map(line).collect()
}

/// A condition's status.
fn condition(object: &Value, kind: &str) -> String {
    let all = object["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|it| it["type"] == kind);
    found.map_or_else(String::new, |it| text(&it["status"]))
}
