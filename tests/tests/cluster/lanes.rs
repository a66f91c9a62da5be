//! An output in lanes, and cursors in files on a volume.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use worldstream_tests::bed::cluster::Signal;

use crate::operator::Operator;
use crate::space::{FRAUD, Space, traffic_alone};

const ROWS: u64 = 1_500;

/// Kills all workers of a stream once some of its events have arrived.
fn kill_once(space: &Space, stream: &str) {
    space.wait(
        "some events",
        || space.admitted_of(stream).len() > 100,
        |space| format!("{:#}", space.status(stream)),
    );
    let words = format!("{}/{stream} --output", space.namespace);
    let kill = |node: &String| {
        let bed = space.bed;
        bed.signal_containers(node, &words, Signal::Kill).unwrap()
    };
    let killed: usize = space.bed.nodes().unwrap().iter().map(kill).sum();
    assert!(killed > 0, "{:#}", space.status(stream));
}

/// A Job with an index a lane: each lane has its own part of the events, its own cursor and its
/// own receipt, and together they have each event once.
pub fn lanes_share_an_output(operator: &Operator) {
    const LANES: usize = 3;
    let space = Space::new(operator, "lanes", traffic_alone);
    space.world("a", ROWS);
    let more = json!({
        "trafficMode": "fraud",
        "speedup": 1_800,
        "lanes": { "count": LANES },
    });
    space.start(&[space.stream("three", "a", more)]);
    space.phase("three", "Running");
    let jobs = space.list("jobs");
    let worker = |job: &&Value| job["metadata"]["labels"]["worldstream.io/component"] == "worker";
    let jobs: Vec<&Value> = jobs.iter().filter(worker).collect();
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    let spec = &jobs[0]["spec"];
    assert_eq!(spec["completionMode"], "Indexed");
    assert_eq!(spec["completions"], LANES);
    kill_once(&space, "three");
    space.until("three", "going on", |status| status["phase"] == "Running");
    space.patch("three", json!({ "speedup": 0 }));
    let status = space.phase("three", "Completed");
    space.every_event_once("three", ROWS);
    let output = &status["outputs"][0];
    assert_eq!(output["lanes"], LANES, "{status:#}");
    let digests = output["receipt"]["digests"].as_array().unwrap();
    let different: BTreeSet<&str> = digests.iter().filter_map(Value::as_str).collect();
    assert_eq!(different.len(), LANES, "a digest a lane: {status:#}");
    let checkpoints = space.list("sckpt");
    assert_eq!(checkpoints.len(), LANES);
    let mut rows = 0;
    for checkpoint in &checkpoints {
        let receipt = &checkpoint["status"]["receipt"];
        let own = receipt["rows"].as_u64().unwrap();
        assert!(own > 0 && own < ROWS, "{checkpoint:#}");
        assert!(digests.contains(&receipt["digest"]), "{checkpoint:#}");
        rows += own;
    }
    assert_eq!(rows, ROWS);
}

/// The files are of the reference's layout, and a worker that was killed goes on by them.
pub fn cursors_in_files_on_a_volume(operator: &Operator) {
    let space = Space::new(operator, "files", traffic_alone);
    space.world("a", ROWS);
    let folder = space.volume("cursors");
    space.profile("files", |spec| {
        let volume = json!({ "persistentVolumeClaim": "cursors", "mountPath": "/cursors" });
        let file = json!({ "root": "/cursors/kept", "volume": volume });
        spec["checkpoints"] = json!({ "file": file });
    });
    let more = json!({ "profile": "files", "trafficMode": "fraud", "speedup": 1_800 });
    space.start(&[space.stream("filed", "a", more)]);
    space.phase("filed", "Running");
    kill_once(&space, "filed");
    space.until("filed", "going on", |status| status["phase"] == "Running");
    space.patch("filed", json!({ "speedup": 0 }));
    space.phase("filed", "Completed");
    space.every_event_once("filed", ROWS);
    let repeated = space.arrivals().len() as u64 - ROWS;
    // 16 in flight and 500 unsaved, at most, for one kill.
    assert!(repeated <= 516, "{repeated} events were sent again");
    println!("files: {repeated} events were sent again after a kill");
    let cursor = files(&folder)
        .into_iter()
        .find(|file| file.ends_with("/cursor.json"));
    let cursor = cursor.unwrap_or_else(|| panic!("{:#?}", files(&folder)));
    assert!(cursor.contains(FRAUD), "{cursor}");
    let own = &space.list("sckpt")[0]["status"];
    let saved: Value = serde_json::from_slice(&std::fs::read(&cursor).unwrap()).unwrap();
    println!("files: {cursor}: {saved}");
    assert_eq!(
        saved["last_row_index"], own["cursor"]["lastRowIndex"],
        "{own:#}"
    );
}

/// The paths of all files below a folder.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path.display().to_string()),
        }
    }
    all
}
