//! The program over a bus, where its environment matters: a machine on which nothing can tell of
//! changes, and credentials that no document names.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use worldstream_tests::bed::stores::KinesisServer;
use worldstream_tests::{Finished, PLATFORM_RUN_ID, golden, plain_environment, program, run};

use crate::bed::{Reading, Stream, file_plan, publish, text, until};

const WORLD: &str = "s3://oracle-store/runs/world-a";
/// Within a user namespace, whose programs may not ask to be told of anything.
const UNTOLD: &str = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";

/// A trigger over a bus, and the profile of its streams.
fn documents(dir: &Path, bus: Value) -> PathBuf {
    let document = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": "bus"},
            "spec": spec,
        })
    };
    let trigger = document(
        "ReadyTrigger",
        json!({
            "profile": "bus",
            "bus": bus,
            "store": {"root": dir.join("store")},
            "scope": {"platformRunId": PLATFORM_RUN_ID},
        }),
    );
    let profile = document(
        "StreamProfile",
        json!({
            "world": {"mounts": [{"from": WORLD, "to": golden().join("world-a")}]},
            "gate": {"url": "http://127.0.0.1:9"},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
        }),
    );
    let file = dir.join("trigger.yaml");
    std::fs::write(&file, format!("{trigger}\n---\n{profile}\n")).unwrap();
    file
}

#[test]
fn where_nothing_tells_of_changes_messages_are_found_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("bus");
    std::fs::create_dir_all(root.join(crate::bed::TOPIC)).unwrap();
    let bus = json!({"file": {"root": root, "pollInterval": "200ms"}});
    let file = documents(dir.path(), bus);
    let mut command = Command::new("unshare");
    plain_environment(&mut command);
    let mut child = command
        .args(["--user", "--map-root-user", "sh", "-c", UNTOLD, "sh"])
        .arg(program())
        .args(["ready", "--max-messages", "1", "-f"])
        .arg(&file)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !log.contains("are not told") {
        let read = lines.read_line(&mut log).unwrap();
        assert!(read > 0, "it ended: {log}");
    }
    // What it says later is read, so that it never waits for us.
    let rest = std::thread::spawn(move || std::io::read_to_string(lines).unwrap());
    publish(&file_plan(root.to_str().unwrap()), "{}");
    until(|| child.try_wait().unwrap().is_some());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {log}{}", rest.join().unwrap());
}

#[test]
fn kinesis_is_reached_by_what_the_environment_says() {
    let dir = tempfile::tempdir().unwrap();
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "ambient", 1);
    let file = documents(dir.path(), json!({"kinesis": {"stream": "ambient"}}));
    let publish = |variables: &[(&str, &str)]| -> Finished {
        let args = ["ready", "publish", "--engine-run-root", WORLD, "-f"];
        let mut program = run(args)
            .args([file.to_str().unwrap(), "--scenario", "baseline_v1"])
            .dir(dir.path())
            .env("HOME", dir.path().to_str().unwrap())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_KINESIS", &engine.endpoint());
        for (name, value) in variables {
            program = program.env(name, value);
        }
        program.finish()
    };
    let nobody = publish(&[]).expect(10);
    assert!(
        nobody.stderr.contains("bus.kinesis.credentials"),
        "{}",
        nobody.stderr
    );
    // The engine knows accounts by their keys: this one has no such stream.
    let secret = ("AWS_SECRET_ACCESS_KEY", "secret");
    let other = publish(&[("AWS_ACCESS_KEY_ID", "111122223333"), secret]).expect(10);
    assert!(
        other.stderr.contains("CONTROL_BUS_STREAM_MISSING"),
        "{}",
        other.stderr
    );
    // A profile of the shared files.
    let keys = "[bus]\naws_access_key_id = test\naws_secret_access_key = secret\n";
    let shared = dir.path().join("credentials");
    std::fs::write(&shared, keys).unwrap();
    let shared = shared.to_str().unwrap().to_owned();
    publish(&[
        ("AWS_PROFILE", "bus"),
        ("AWS_SHARED_CREDENTIALS_FILE", &shared),
    ])
    .expect(0);
    let given = Reading::open(&stream.plan(), None).message();
    assert!(text(&given).contains(PLATFORM_RUN_ID), "{given:?}");
}
