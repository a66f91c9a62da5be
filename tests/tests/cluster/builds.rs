//! Views that are missing when a stream is made: built by Jobs before anything is sent.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use worldstream::sample::{self, SampleSpec};
use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::run;

use crate::operator::Operator;
use crate::space::{FRAUD, Space, condition, traffic_alone};

/// A profile that has missing views built.
fn if_missing(spec: &mut Value) {
    spec["oracle"] = json!({
        "buildViews": "IfMissing",
        "memory": "64MiB",
        "resources": { "requests": { "cpu": "20m", "memory": "64Mi" } },
    });
}

/// Puts a world with raw parts and without views where pods find it at `/worlds/<name>`, and may
/// write to it if they are let.
fn raw_world(space: &Space, name: &str, rows: u64, outputs: &[&str]) -> PathBuf {
    let path = space.path(name);
    let mut spec = SampleSpec::new(path.clone(), 7, rows, 1);
    spec.run_root = Some(format!("/worlds/{name}"));
    if !outputs.is_empty() {
        spec.outputs = outputs.iter().map(|id| id.parse().unwrap()).collect();
    }
    sample::write(&spec, &|_| {}).unwrap();
    std::fs::remove_dir_all(path.join("stream_view")).unwrap();
    open_to_all(&path);
    path
}

/// The volumes of a test know no groups.
fn open_to_all(folder: &Path) {
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder, open).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open_to_all(&path);
        }
    }
}

fn builds(space: &Space) -> Vec<Value> {
    let jobs = space.list("jobs").into_iter();
    jobs.filter(|job| component(job) == "build-view").collect()
}

fn component(object: &Value) -> &str {
    let labels = &object["metadata"]["labels"];
    labels["worldstream.io/component"].as_str().unwrap()
}

/// Whether a pod may write to the worlds.
fn writes(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let mounts = spec["containers"][0]["volumeMounts"].as_array().unwrap();
    let worlds = mounts.iter().find(|it| it["name"] == "worlds").unwrap();
    worlds["readOnly"] != true
}

/// Two streams of one world without views, at once: each view is built once or twice, whole, and
/// everything is sent. A third one later finds them.
pub fn missing_views_are_built_and_streamed(operator: &Operator) {
    const ROWS: u64 = 400;
    let space = Space::new(operator, "builds", if_missing);
    raw_world(&space, "raw", ROWS, &[]);
    let run = |number: u32| json!({ "platformRunId": format!("platform_2026010{number}T000000Z"), "speedup": 0 });
    let streams = [
        space.stream("one", "raw", run(1)),
        space.stream("two", "raw", run(2)),
    ];
    space.start(&streams);
    let seen = RefCell::new(Vec::new());
    for name in ["one", "two"] {
        let status = space.until(name, "a view that is built", |status| {
            seen.borrow_mut().extend(condition_of(status));
            let outputs = status["outputs"].as_array().into_iter().flatten();
            status["phase"] == "Failed" || outputs.clone().any(|it| it["view"]["state"] == "Built")
        });
        assert_ne!(status["phase"], "Failed", "{status:#}");
        let status = space.phase(name, "Completed");
        for output in status["outputs"].as_array().unwrap() {
            assert_eq!(output["view"]["state"], "Built", "{status:#}");
        }
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
    }
    let seen = seen.into_inner();
    assert!(seen.iter().any(|why| why == "BuildingViews"), "{seen:?}");
    let events = space.kubectl(&["get", "events", "-o", "json"]);
    for reason in ["BuildingViews", "ViewBuilt"] {
        assert!(
            events.contains(&format!("\"{reason}\"")),
            "no event {reason}"
        );
    }
    let made = builds(&space);
    assert_eq!(made.len(), 8, "four views, for two streams");
    let pods = space.list("pods");
    assert!(pods.len() > 8);
    for pod in &pods {
        assert_eq!(writes(pod), component(pod) == "build-view", "{pod:#}");
    }
    let root = space.path("raw").display().to_string();
    let views = std::fs::read_dir(format!("{root}/stream_view/ts_utc")).unwrap();
    let mut views: Vec<String> = views
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    views.sort();
    assert!(
        views.iter().all(|it| it.starts_with("output_id=")),
        "{views:?}"
    );
    assert_eq!(views.len(), 4);
    deep_check(&space, "raw");

    let mut third = run(3);
    third["outputs"] = json!([FRAUD]);
    space.start(&[space.stream("three", "raw", third)]);
    let status = space.phase("three", "Completed");
    assert_eq!(builds(&space).len(), 8, "everything is there already");
    assert!(status["outputs"][0].get("view").is_none(), "{status:#}");
}

fn condition_of(status: &Value) -> Option<String> {
    let (_, why) = condition(status, "WorldVerified");
    (!why.is_empty()).then(|| why.to_owned())
}

/// Every row of each view is one of the raw parts, in order.
fn deep_check(space: &Space, world: &str) {
    let profile = space.path(world).join("profile.yaml");
    let document = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamProfile",
        "metadata": { "name": "check" },
        "spec": {
            "world": { "mounts": [{ "from": "/worlds", "to": space.path("").display().to_string() }] },
            "require": { "manifest": true, "seal": true, "gates": "Digest" },
        },
    });
    std::fs::write(&profile, document.to_string()).unwrap();
    let root = format!("/worlds/{world}");
    let profile = profile.display().to_string();
    run(["oracle", "check", &root, "--deep", "--profile", &profile])
        .finish()
        .expect(0);
}

/// A build that is refused ends the stream with its code; mended and told to try again, it goes on.
pub fn a_view_that_cannot_be_built_is_said_and_mended(operator: &Operator) {
    const ROWS: u64 = 200;
    let space = Space::new(operator, "unbuilt", |spec| {
        traffic_alone(spec);
        if_missing(spec);
    });
    let view = |world: &str| {
        space
            .path(world)
            .join(format!("stream_view/ts_utc/output_id={FRAUD}"))
    };
    // Parts of somebody else that is not done.
    raw_world(&space, "partial", ROWS, &[FRAUD]);
    std::fs::create_dir_all(view("partial")).unwrap();
    std::fs::write(view("partial").join("part-000000.parquet"), "half").unwrap();
    open_to_all(&space.path("partial"));
    // A raw part that is none.
    raw_world(&space, "broken", ROWS, &[FRAUD]);
    let part = raw_parts(&space.path("broken")).remove(0);
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, "no Parquet").unwrap();
    // No raw part at all.
    raw_world(&space, "nothing", ROWS, &[FRAUD]);
    for part in raw_parts(&space.path("nothing")) {
        std::fs::remove_file(part).unwrap();
    }
    // A folder that only its owner may write to.
    raw_world(&space, "closed", ROWS, &[FRAUD]);
    let closed = space.path("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    let all = ["partial", "broken", "nothing", "closed"];
    let streams: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let run = format!("platform_2026010{number}T000000Z");
            space.stream(name, name, json!({ "platformRunId": run, "speedup": 0 }))
        })
        .collect();
    space.start(&streams);
    let name = part.file_name().unwrap().to_string_lossy().into_owned();
    for (stream, code, says) in [
        (
            "partial",
            "STREAM_VIEW_PARTIAL_EXISTS",
            "part-000000.parquet",
        ),
        ("broken", "STREAM_FAILED", name.as_str()),
        ("nothing", "STREAM_VIEW_MISSING", "raw parts of"),
        ("closed", "STREAM_FAILED", "Permission denied"),
    ] {
        let status = space.phase(stream, "Failed");
        for kind in ["WorldVerified", "Failed"] {
            assert_eq!(condition(&status, kind).1, code, "{stream}: {status:#}");
        }
        assert!(status.to_string().contains(says), "{says}: {status:#}");
    }
    assert_eq!(space.arrivals().len(), 0);
    std::fs::remove_dir_all(view("partial")).unwrap();
    std::fs::write(&part, whole).unwrap();
    open_to_all(&closed);
    for stream in ["partial", "broken", "closed"] {
        space.patch(stream, json!({ "retry": 1 }));
    }
    for stream in ["partial", "broken", "closed"] {
        let status = space.phase(stream, "Completed");
        assert_eq!(status["retry"], 1, "{status:#}");
        space.every_event_once(stream, ROWS);
    }
}

fn raw_parts(world: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "parquet") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&world.join("data"), &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

/// A build's process is killed half way, and its stream is suspended half way: each time the next
/// pod goes on with what was sorted.
pub fn a_killed_build_goes_on(operator: &Operator) {
    const ROWS: u64 = 300_000;
    let space = Space::new(operator, "rebuilt", |spec| {
        traffic_alone(spec);
        if_missing(spec);
        // Slow enough to be met half way on any machine.
        spec["oracle"]["resources"]["limits"] = json!({ "cpu": "200m" });
    });
    let world = raw_world(&space, "large", ROWS, &[FRAUD]);
    // What counts here is the build.
    let more = json!({ "speedup": 0, "maxEventsPerOutput": 100 });
    space.start(&[space.stream("goes-on", "large", more)]);
    let journal = world.join(format!(
        "stream_view/ts_utc/.building-{FRAUD}/spill/journal.json"
    ));
    let noted = || {
        let text = std::fs::read(&journal).unwrap_or_default();
        let noted: Value = serde_json::from_slice(&text).unwrap_or_default();
        noted["standing"]["rows"].as_u64().unwrap_or_default()
    };
    space.wait(
        "a sorted run",
        || noted() > 0,
        |space| format!("{:#}", space.status("goes-on")),
    );
    // How far it is is on the resource.
    let status = space.until("goes-on", "progress", |status| {
        status["outputs"][0]["view"]["rows"].as_u64() > Some(0)
    });
    assert_eq!(status["phase"], "Verifying", "{status:#}");
    assert_eq!(
        condition(&status, "WorldVerified"),
        ("False", "BuildingViews")
    );
    println!("rebuilt: {}", status["outputs"][0]["view"]);
    let word = format!("{}/goes-on", space.namespace);
    let kill = |node: &String| {
        let kill = Signal::Kill;
        space.bed.signal_containers(node, &word, kill).unwrap()
    };
    let nodes = space.bed.nodes().unwrap();
    let killed: usize = nodes.iter().map(kill).sum();
    let before = noted();
    // It may have been done in the meantime, on a fast machine.
    if killed > 0 {
        space.until("goes-on", "a build that went on", |status| {
            let view = &status["outputs"][0]["view"];
            view["state"] == "Built"
        });
        assert!(before > 0);
        let status = space.status("goes-on");
        let resumed = status["outputs"][0]["view"]["resumedRows"].as_u64();
        println!("rebuilt: went on from {resumed:?} of {ROWS} rows");
        assert!(resumed > Some(0), "{status:#}");
    }
    let status = space.phase("goes-on", "Completed");
    assert_eq!(status["outputs"][0]["sent"], 100, "{status:#}");
    assert_eq!(builds(&space).len(), 1, "the Job replaced its pod");
    let left = std::fs::read_dir(world.join("stream_view/ts_utc")).unwrap();
    let left: Vec<String> = left
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left, [format!("output_id={FRAUD}")]);
}
