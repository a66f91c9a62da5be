//! As README tells people to begin: from an empty cluster to two streams that have completed, with
//! the gate in the cluster. Then the operator and its definitions are upgraded while a stream
//! runs, and what a stream leaves goes when its time has come.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worldstream_tests::bed::demo::{REPLAYS, SYSTEM};
use worldstream_tests::bed::plain_environment;
use worldstream_tests::page::page;
use worldstream_tests::repository;

use crate::operator::Operator;
use crate::recorded::Recorded;
use crate::space::PATIENCE;

/// Rows of the world's traffic; each of its three context outputs has half as many.
const ROWS: u64 = 2_000;
const ALL: u64 = ROWS + 3 * ROWS / 2;

/// The commands of README's block, without their comments.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, block) = readme
        .split_once("```sh cluster\n")
        .expect("README's block");
    let (block, _) = block.split_once("```").unwrap();
    let line = |line: &str| line.split(" #").next().unwrap().trim().to_owned();
    block.lines().map(line).collect()
}

/// Runs a script in a shell, from the repository's root.
fn shell(mut command: Command, script: &str) {
    plain_environment(&mut command);
    let mut child = command
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script}:\n{said}");
}

struct Replays<'a>(&'a Operator);

impl Replays<'_> {
    fn kubectl(&self, args: &[&str]) -> String {
        let all = ["-n", REPLAYS].iter().chain(args);
        self.0.bed.kubectl(all).unwrap()
    }

    fn get(&self, what: &str, more: &[&str]) -> Value {
        let mut args = vec!["get", what, "-o", "json"];
        args.extend(more);
        serde_json::from_str(&self.kubectl(&args)).unwrap()
    }

    fn patch(&self, stream: &str, patch: &str) {
        self.kubectl(&["patch", "ws", stream, "--type=merge", "-p", patch]);
    }

    fn status(&self, stream: &str) -> Value {
        self.get(&format!("ws/{stream}"), &[])["status"].clone()
    }

    /// What there is of a kind, by its label.
    fn of(&self, kinds: &str, stream: &str) -> Vec<Value> {
        let label = format!("worldstream.io/stream={stream}");
        let list = self.get(kinds, &["-l", &label]);
        list["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn wait(&self, what: &str, mut so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so() {
            let seen = || self.kubectl(&["get", "ws,sckpt,jobs,pods", "-o", "wide"]);
            assert!(
                Instant::now() < end,
                "{what}: not within {PATIENCE:?}\n{}",
                seen()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Replays<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let bed = self.0.bed;
        let _ = bed.helm(["uninstall", "worldstream", "-n", SYSTEM, "--wait"]);
        for namespace in [REPLAYS, SYSTEM] {
            let _ = bed.kubectl(["delete", "namespace", namespace, "--wait=false"]);
        }
        let volume = format!("{REPLAYS}-worlds");
        let _ = bed.kubectl(["delete", "pv", &volume, "--wait=false"]);
    }
}

pub fn readme_leads_from_an_empty_cluster_to_completed_streams(operator: &Operator) {
    let replays = Replays(operator);
    let commands = commands();
    assert_eq!(commands.len(), 5, "{commands:#?}");
    let began = Instant::now();
    match operator.bed.name() {
        Some(bed) => {
            let make = |words: &str| {
                let mut command = Command::new("sh");
                command.args(["-c", words]).env("BED", &bed);
                command
            };
            shell(make(&commands[0]), "");
            shell(make(&commands[1]), "");
            // The rest is typed into the shell that the third opens.
            let typed = format!("set -e\n{}\n{}\n", commands[3], commands[4]);
            let mut recorded = Recorded::begin(operator);
            std::thread::scope(|scope| {
                scope.spawn(|| shell(make(&commands[2]), &typed));
                recorded.while_it_runs();
            });
            recorded.end();
        }
        None => {
            let place = |words: &str| {
                let mut command = operator.bed.command("sh").unwrap();
                command.args(["-c", words]);
                command
            };
            shell(place(&commands[1]), "");
            shell(place(&commands[3]), "");
            shell(place(&commands[4]), "");
        }
    }
    println!("readme: its commands took {:.0?}", began.elapsed());
    let summary = gate(operator);
    assert_eq!(summary["admitted"], 2 * ALL, "{summary:#}");
    assert_eq!(summary["duplicates"], 0, "{summary:#}");
    for name in ["world-a-fraud", "world-a-baseline"] {
        receipts_add_up(&replays.status(name));
    }
    an_upgrade_restarts_no_stream(operator, &replays);
}

/// What the gate in the cluster has seen.
fn gate(operator: &Operator) -> Value {
    let reached = operator.bed.reach(REPLAYS, "ingestion-gate", 8080).unwrap();
    let page = page(&reached.address.to_string(), "/v1/ops/summary").expect("a summary");
    serde_json::from_str(&page).unwrap()
}

fn receipts_add_up(status: &Value) {
    let outputs = status["outputs"].as_array().unwrap();
    let receipts = outputs.iter().map(|it| &it["receipt"]);
    let count =
        |field: &str| -> u64 { receipts.clone().map(|it| it[field].as_u64().unwrap()).sum() };
    assert_eq!(outputs.len(), 4, "{status:#}");
    assert_eq!(count("rows"), ALL, "{status:#}");
    assert_eq!(count("admitted"), ALL, "{status:#}");
}

/// A chart as it will be one day: a later version.
fn later(chart: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = repository().join("charts").join(chart);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let file = folder.path().join("Chart.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let newer = text.replace("\nversion: 0.1.0", "\nversion: 0.1.1");
    assert_ne!(newer, text);
    std::fs::write(&file, newer).unwrap();
    folder
}

/// Another operator, with another image for workers, and other definitions, come in the middle of
/// a stream: its pods are the same ones until its end. Afterwards they go when their time has
/// come, and the stream stays.
fn an_upgrade_restarts_no_stream(operator: &Operator, replays: &Replays<'_>) {
    let stream = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "WorldStream",
        "metadata": { "name": "lasts", "namespace": REPLAYS },
        "spec": {
            "profile": "replay",
            "engineRunRoot": "s3://oracle-store/runs/world-a",
            "scenario": "baseline_v1",
            "platformRunId": "platform_20260101T000009Z",
            "trafficMode": "fraud",
            "speedup": 960,
            "ttlAfterFinished": "3s",
        },
    });
    operator.bed.apply(&stream.to_string()).unwrap();
    replays.wait("lasts: Running", || {
        replays.status("lasts")["phase"] == "Running"
    });
    let pods = || {
        let all = replays.of("pods", "lasts");
        let running = all.iter().filter(|it| it["status"]["phase"] == "Running");
        let mut uids: Vec<_> = running
            .map(|it| it["metadata"]["uid"].to_string())
            .collect();
        uids.sort();
        uids
    };
    // Workers may send before their nodes say that they run.
    replays.wait("lasts: four workers", || pods().len() == 4);
    let (before, plan) = (pods(), replays.status("lasts")["plan"].clone());
    let leader = || {
        let args = [
            "-n",
            SYSTEM,
            "get",
            "leases",
            "-o",
            "jsonpath={.items[*].spec.holderIdentity}",
        ];
        operator.bed.kubectl(args).unwrap()
    };
    let led = leader();
    let upgrade = |chart: &str, more: &[&str]| {
        let folder = later(chart);
        let folder = folder.path().display().to_string();
        let mut args = vec!["upgrade", chart, &folder, "-n", SYSTEM, "--reuse-values"];
        args.extend(["--wait", "--timeout=10m"]);
        args.extend(more);
        operator.bed.helm(&args).unwrap()
    };
    upgrade("worldstream-crds", &["--take-ownership"]);
    // An image that is nowhere: a worker that took it would not start.
    upgrade(
        "worldstream",
        &[
            "--set",
            "worker.image.tag=later",
            "--set",
            "log.format=json",
        ],
    );
    replays.wait("another operator to lead", || {
        let now = leader();
        !now.trim().is_empty() && now != led
    });
    // It looks after the stream, and follows what people ask.
    replays.patch("lasts", r#"{"spec": {"paused": true}}"#);
    replays.wait("lasts: Paused", || {
        replays.status("lasts")["phase"] == "Paused"
    });
    assert_eq!(pods(), before, "workers were replaced");
    assert_eq!(replays.status("lasts")["plan"], plan);
    replays.patch("lasts", r#"{"spec": {"paused": false, "speedup": 0}}"#);
    replays.wait("lasts: Completed", || {
        replays.status("lasts")["phase"] == "Completed"
    });
    receipts_add_up(&replays.status("lasts"));
    assert_eq!(gate(operator)["duplicates"], 0);
    replays.wait("what it left to go", || {
        let kinds = "jobs,pods,roles,rolebindings,serviceaccounts,configmaps";
        replays.of(kinds, "lasts").is_empty()
    });
    assert_eq!(replays.of("sckpt,sclk", "lasts").len(), 5);
    receipts_add_up(&replays.status("lasts"));
    // Streams without a time to live keep theirs.
    assert!(!replays.of("jobs", "world-a-fraud").is_empty());
}
