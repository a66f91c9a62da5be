//! A bus, an object store, a gate and a trigger's document, and `worldstream ready` over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::devgate::{FaultSpec, RunningGate};
use worldstream_tests::inside::{gate, lines};
use worldstream_tests::{Arrival, Finished, PLATFORM_RUN_ID, Program, golden, run};

/// What world-a is called.
pub const WORLD: &str = "s3://oracle-store/runs/world-a";
pub const TOPIC: &str = "fp.bus.control.v1";
pub const ARRIVALS: &str = "arrival_events_5B";
pub const FRAUD: &str = "s3_event_stream_with_fraud_6B";
/// Events of a stream that is capped at five of each output.
pub const CAPPED: u64 = 10;
/// Far more than anything here takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(300);

/// Everything is below one folder.
pub struct Bed {
    pub dir: TempDir,
    pub gate: RunningGate,
    /// `spec` of the ReadyTrigger.
    pub trigger: Value,
    /// `spec` of the StreamProfile.
    pub profile: Value,
}

impl Bed {
    /// A bus and a store as folders, the golden world-a whole, all of it at once.
    pub fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let gate = gate(dir.path());
        let root = dir.path().display();
        std::fs::create_dir_all(dir.path().join("bus").join(TOPIC)).unwrap();
        std::fs::create_dir_all(dir.path().join("store")).unwrap();
        let trigger = json!({
            "profile": "golden",
            "bus": {"file": {"root": format!("{root}/bus"), "pollInterval": "100ms"}},
            "store": {"root": format!("{root}/store")},
            "scope": {"platformRunId": PLATFORM_RUN_ID},
            "engineRunRoot": WORLD,
            "stream": {"speedup": 0, "inFlight": 1},
            "deferral": {"minInterval": "50ms", "maxInterval": "200ms"},
        });
        let profile = json!({
            "world": {"mounts": [{"from": WORLD, "to": golden().join("world-a")}]},
            "contextOutputs": {"fraud": {"outputIds": [ARRIVALS]}},
            "gate": {"url": gate.url()},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
            "checkpoints": {"flushEvery": 50, "flushInterval": "1h"},
        });
        Bed {
            dir,
            gate,
            trigger,
            profile,
        }
    }

    /// The same with streams that send ten events.
    pub fn capped() -> Bed {
        let mut bed = Bed::new();
        bed.trigger["stream"]["maxEventsPerOutput"] = json!(5);
        bed
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn topic(&self) -> PathBuf {
        self.dir.path().join("bus").join(TOPIC)
    }

    /// Writes the documents, and gives their file.
    pub fn documents(&self) -> String {
        let document = |kind: &str, name: &str, spec: &Value| {
            json!({
                "apiVersion": "worldstream.io/v1alpha1",
                "kind": kind,
                "metadata": {"name": name},
                "spec": spec,
            })
        };
        let path = self.dir.path().join("trigger.yaml");
        // JSON is YAML.
        let text = format!(
            "{}\n---\n{}\n",
            document("ReadyTrigger", "golden", &self.trigger),
            document("StreamProfile", "golden", &self.profile)
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// `worldstream ready` over them.
    pub fn ready(&self, more: &[&str]) -> Program {
        run(["ready", "--json", "-f", &self.documents()]).args(more)
    }

    /// The same until everything that is there now is done with.
    pub fn once(&self) -> Finished {
        self.ready(&["--once"]).start().finish_within(LONG)
    }

    /// Publishes bytes as a file of this name, at once.
    pub fn publish(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.topic().join(format!("{name}.json"));
        let half = self.topic().join(format!(".{name}.half"));
        std::fs::write(&half, bytes).unwrap();
        std::fs::rename(half, path).unwrap();
    }

    /// Writes facts below the store, and publishes their message.
    pub fn announce(&self, message: &Message) {
        self.put_facts(message);
        self.publish(&message.id[56..], message.message.to_string());
    }

    pub fn put_facts(&self, message: &Message) {
        let path = self.store().join(message.facts_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, message.facts.to_string()).unwrap();
    }

    /// The records of a message, in order.
    pub fn records(&self, id: &str) -> Vec<Value> {
        let runs = "wsp/ready_runs";
        let path = format!("fraud-platform/{PLATFORM_RUN_ID}/{runs}/{id}.jsonl");
        let found = lines(&self.store().join(path));
        let parse = |line: &String| serde_json::from_str(line).unwrap();
        found.iter().map(parse).collect()
    }

    /// The events of the run's session.
    pub fn session(&self) -> Vec<Value> {
        let path = format!("fraud-platform/{PLATFORM_RUN_ID}/session.jsonl");
        let found = lines(&self.store().join(path));
        let parse = |line: &String| serde_json::from_str(line).unwrap();
        found.iter().map(parse).collect()
    }

    /// Governance facts of the run, by file name.
    pub fn facts(&self) -> BTreeMap<String, Value> {
        let path = format!("fraud-platform/{PLATFORM_RUN_ID}/obs/governance/events");
        json_files(&self.store().join(path))
    }

    /// Every push that arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        // The files are complete when this returns.
        self.gate.summary();
        worldstream_tests::arrivals(&self.dir.path().join("arrivals.jsonl"))
    }

    /// What was admitted, a line each.
    pub fn admitted(&self) -> Vec<String> {
        self.gate.summary();
        lines(&self.dir.path().join("admitted.jsonl"))
    }

    /// Replaces the gate's faults.
    pub fn faults(&self, faults: &[&str]) {
        let parse = |text: &&str| text.parse::<FaultSpec>().unwrap();
        self.gate.set_faults(faults.iter().map(parse).collect());
    }
}

/// Waits for something that a busy machine may take long for.
#[track_caller]
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A message and the facts that it points at.
#[derive(Clone)]
pub struct Message {
    pub id: String,
    pub message: Value,
    pub facts: Value,
}

impl Message {
    /// The `n`-th, valid, with a scenario run of its own.
    pub fn new(n: u64) -> Message {
        let id = format!("{n:064x}");
        let scenario_run = format!("{n:032x}");
        let facts_ref = format!("fraud-platform/{PLATFORM_RUN_ID}/sr/run_facts_view/{n}.json");
        let cases: Value =
            serde_json::from_slice(&std::fs::read(golden().join("ready/cases.json")).unwrap())
                .unwrap();
        let (mut message, mut facts) = (cases[0]["message"].clone(), cases[0]["facts"].clone());
        message["message_id"] = json!(id);
        message["payload"]["message_id"] = json!(id);
        message["payload"]["facts_view_ref"] = json!(facts_ref);
        message["payload"]["scenario_run_id"] = json!(scenario_run);
        facts["scenario_run_id"] = json!(scenario_run);
        facts["pins"]["scenario_run_id"] = json!(scenario_run);
        facts["oracle_pack_ref"]["engine_run_root"] = json!(WORLD);
        Message { id, message, facts }
    }

    pub fn facts_ref(&self) -> &str {
        self.message["payload"]["facts_view_ref"].as_str().unwrap()
    }
}

/// The JSON files of a folder by name; none if there is none.
pub fn json_files(folder: &Path) -> BTreeMap<String, Value> {
    let Ok(listed) = std::fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    listed
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap());
            (name, value.unwrap())
        })
        .collect()
}

/// What a program said of each message, the totals left out.
pub fn said(finished: &Finished) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let said = finished.stdout.lines().map(parse);
    said.filter(|it| it["totals"].is_null()).collect()
}

/// What it said of one message.
pub fn said_of<'a>(said: &'a [Value], id: &str) -> Vec<&'a Value> {
    said.iter().filter(|it| it["message_id"] == id).collect()
}

/// The totals at its end.
pub fn totals(finished: &Finished) -> Value {
    let last = finished.stdout.lines().last().unwrap_or_default();
    let last: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{finished:#?}"));
    last["totals"].clone()
}
