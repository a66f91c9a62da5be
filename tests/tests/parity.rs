//! The golden worlds, replayed: every envelope is the reference producer's, in its order, from
//! every row on, and what is left behind is what it would read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use worldstream::plan::{Lanes, Mount};
use worldstream_crds::ExitCode;
use worldstream_tests::inside::{Inside, lines, select};
use worldstream_tests::{
    Exact, Finished, GateProcess, MadeWorld, PLATFORM_RUN_ID, SCENARIO_RUN_ID, golden, run,
};

const ARRIVALS: &str = "arrival_events_5B";
const FRAUD: &str = "s3_event_stream_with_fraud_6B";
const BASELINE: &str = "s2_event_stream_baseline_6B";

/// A golden world: its folder, and what it is called.
struct World {
    folder: &'static str,
    name: &'static str,
    scenario: &'static str,
}

const WORLD_A: World = World {
    folder: "world-a",
    name: "s3://oracle-store/runs/world-a",
    scenario: "baseline_v1",
};
const WORLD_B: World = World {
    folder: "world-b",
    name: "/data/worlds/world b",
    scenario: "stress_v3",
};
const WORLD_C: World = World {
    folder: "world-c",
    name: "s3://oracle-store/runs/wörld-c",
    scenario: "baseline_v1",
};

impl World {
    fn path(&self) -> PathBuf {
        golden().join(self.folder)
    }

    /// The outputs that it has views of.
    fn outputs(&self) -> Vec<String> {
        let views = self.path().join("stream_view/ts_utc");
        let mut ids: Vec<_> = std::fs::read_dir(views)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.strip_prefix("output_id=").unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// What the reference sent of an output (or of one lane of it).
    fn expected(&self, file: &str) -> Vec<Exact> {
        let path = golden().join("expected").join(self.folder);
        let found = lines(&path.join(format!("{file}.jsonl")));
        assert!(!found.is_empty(), "{file} of {}", self.folder);
        found.iter().map(|line| Exact::parse(line)).collect()
    }

    /// The parts of a view in text order, by the name that the world has, with their rows.
    fn parts(&self, output: &str) -> Vec<(String, u64)> {
        let below = format!("stream_view/ts_utc/output_id={output}");
        let mut names: Vec<_> = std::fs::read_dir(self.path().join(&below))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".parquet"))
            .collect();
        names.sort();
        let rows = |name: &str| {
            let file = File::open(self.path().join(&below).join(name)).unwrap();
            let reader = SerializedFileReader::new(file).unwrap();
            reader.metadata().file_metadata().num_rows() as u64
        };
        names
            .iter()
            .map(|name| (format!("{}/{below}/{name}", self.name), rows(name)))
            .collect()
    }

    /// File and row of the view's row `n`, counted over all parts.
    fn place(&self, output: &str, n: u64) -> (String, u64) {
        let mut left = n;
        for (name, rows) in self.parts(output) {
            if left < rows {
                return (name, left);
            }
            left -= rows;
        }
        panic!("{output} has no row {n}");
    }

    /// A replay of these outputs in this process: the last of them is traffic.
    fn inside(&self, outputs: &[&str]) -> Inside {
        let mut inside = Inside::new(self.name).outputs(outputs);
        inside.plan.world.mounts.push(Mount {
            from: self.name.into(),
            to: self.path().display().to_string(),
        });
        inside.plan.world.scenario = Some(self.scenario.into());
        inside
    }

    /// A profile for the program, below a folder.
    fn profile(&self, dir: &Path, more: Value) -> String {
        let mut spec = json!({
            "world": {"mounts": [{"from": self.name, "to": self.path()}]},
            "require": {"manifest": false, "seal": false, "gates": "Existence"},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
        });
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let document = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "golden"},
            "spec": spec,
        });
        let path = dir.join("profile.yaml");
        // JSON is YAML.
        std::fs::write(&path, document.to_string()).unwrap();
        path.display().to_string()
    }

    /// Runs the program over this world to its end.
    fn stream(&self, dir: &Path, gate: &GateProcess, profile: Value, more: &[&str]) -> Finished {
        let profile = self.profile(dir, profile);
        let runs = dir.join("runs").display().to_string();
        run(["run", "--json", "--profile", &profile])
            .args(["--engine-run-root", self.name, "--scenario", self.scenario])
            .args(["--platform-run-id", PLATFORM_RUN_ID])
            .args(["--scenario-run-id", SCENARIO_RUN_ID])
            .args([
                "--speedup",
                "0",
                "--gate-url",
                &gate.url,
                "--runs-root",
                &runs,
            ])
            .args(more)
            .start()
            .finish_within(Duration::from_secs(60))
    }
}

/// What arrived, an output each, in order.
fn by_output(admitted: &[String]) -> BTreeMap<String, Vec<Exact>> {
    let mut outputs: BTreeMap<String, Vec<Exact>> = BTreeMap::new();
    for line in admitted {
        let event = Exact::parse(line);
        let output = event.get("event_type").text().to_owned();
        outputs.entry(output).or_default().push(event);
    }
    outputs
}

#[track_caller]
fn same(found: &[Exact], expected: &[Exact], what: &str) {
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}, event {row}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

fn hex(text: &str) -> String {
    const_hex::encode(Sha256::digest(text))
}

/// The lane that the contract gives an event.
fn lane_of(event: &Exact, lanes: u64) -> u64 {
    let digest = Sha256::digest(event.get("event_id").text());
    u64::from_be_bytes(digest[..8].try_into().unwrap()) % lanes
}

#[test]
fn every_envelope_is_the_references_and_in_its_order_with_one_in_flight() {
    let narrow = json!({"contextOutputs": {"fraud": {"outputIds": [ARRIVALS]}}});
    // Gates by digest where the golden worlds hold them whole.
    let strict = json!({"require": {"manifest": true, "seal": true, "gates": "Digest"}});
    for (world, mode, profile, outputs) in [
        (&WORLD_A, "fraud", strict.clone(), 4),
        (&WORLD_A, "baseline", strict, 4),
        (&WORLD_B, "fraud", json!({}), 4),
        (&WORLD_B, "baseline", json!({}), 4),
        (&WORLD_C, "fraud", narrow, 2),
    ] {
        for in_flight in ["1", "16"] {
            let dir = tempfile::tempdir().unwrap();
            let gate = GateProcess::start(dir.path(), &[]);
            let flags = ["--traffic-mode", mode, "--in-flight", in_flight];
            world
                .stream(dir.path(), &gate, profile.clone(), &flags)
                .expect(0);
            let record = gate.record.clone();
            gate.end();
            let found = by_output(&lines(&record));
            assert_eq!(found.len(), outputs, "{} {mode}", world.folder);
            for (output, mut found) in found {
                let mut expected = world.expected(&output);
                if in_flight != "1" {
                    let id = |event: &Exact| event.get("event_id").text().to_owned();
                    for (row, event) in found.iter().enumerate() {
                        let due = expected.iter().position(|it| id(it) == id(event)).unwrap();
                        assert!(due.abs_diff(row) < 16, "{output}: row {due} came as {row}");
                    }
                    found.sort_by_key(id);
                    expected.sort_by_key(id);
                }
                same(&found, &expected, &format!("{} {output}", world.folder));
            }
        }
    }
}

#[test]
fn every_world_has_its_six_outputs_compared() {
    // What the test above leaves out is left out by the golden data.
    for (world, outputs) in [(&WORLD_A, 6), (&WORLD_B, 6), (&WORLD_C, 2)] {
        assert_eq!(world.outputs().len(), outputs);
        for output in world.outputs() {
            let rows: u64 = world.parts(&output).iter().map(|(_, rows)| rows).sum();
            assert_eq!(world.expected(&output).len() as u64, rows, "{output}");
        }
    }
}

#[test]
fn three_lanes_one_by_one_and_together() {
    let lane_files: Vec<_> = (0..3)
        .map(|lane| WORLD_A.expected(&format!("{FRAUD}.lane-3-{lane}")))
        .collect();
    for lane in 0..3u64 {
        let dir = tempfile::tempdir().unwrap();
        let gate = GateProcess::start(dir.path(), &[]);
        let flags = [
            "--lanes",
            "3",
            "--lane",
            &lane.to_string(),
            "--in-flight",
            "1",
        ];
        WORLD_A
            .stream(dir.path(), &gate, json!({}), &flags)
            .expect(0);
        let record = gate.record.clone();
        gate.end();
        for (output, found) in by_output(&lines(&record)) {
            let mut expected = WORLD_A.expected(&output);
            expected.retain(|event| lane_of(event, 3) == lane);
            same(&found, &expected, &output);
            if output == FRAUD {
                same(&found, &lane_files[lane as usize], "the golden lane");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let gate = GateProcess::start(dir.path(), &[]);
    let flags = ["--lanes", "3", "--in-flight", "1"];
    let summary = WORLD_A
        .stream(dir.path(), &gate, json!({}), &flags)
        .expect(0)
        .json();
    let record = gate.record.clone();
    gate.end();
    let found = by_output(&lines(&record));
    assert_eq!(found.len(), 4);
    for (output, found) in found {
        assert_eq!(found.len(), 120, "{output}");
        for lane in 0..3 {
            let of_lane: Vec<_> = found
                .iter()
                .filter(|event| lane_of(event, 3) == lane)
                .cloned()
                .collect();
            let mut expected = WORLD_A.expected(&output);
            expected.retain(|event| lane_of(event, 3) == lane);
            same(&of_lane, &expected, &output);
        }
    }
    let receipts = summary["outputs"].as_array().unwrap();
    assert_eq!(receipts.len(), 12);
    for receipt in receipts.iter().filter(|it| it["output_id"] == FRAUD) {
        let lane = receipt["lane"]["index"].as_u64().unwrap() as usize;
        assert_eq!(
            receipt["rows"].as_u64().unwrap(),
            lane_files[lane].len() as u64
        );
        assert_eq!(receipt["digest"], chain(&lane_files[lane]).as_str());
    }
}

/// `d = sha256(d ‖ id)` over the events.
fn chain(events: &[Exact]) -> String {
    let mut digest = [0u8; 32];
    for event in events {
        let mut hash = Sha256::new();
        hash.update(digest);
        hash.update(event.get("event_id").text());
        digest = hash.finalize().into();
    }
    const_hex::encode(digest)
}

/// Where the reference keeps the cursor of an output.
fn cursor_folder(
    runs: &Path,
    pack_key: &str,
    output: &str,
    lane: (u32, u32),
    attempt: &str,
) -> PathBuf {
    let scope = scope_key(pack_key, lane, attempt);
    runs.join(PLATFORM_RUN_ID)
        .join("wsp/checkpoints")
        .join(scope)
        .join(format!("output_id={output}"))
}

fn scope_key(pack_key: &str, (count, index): (u32, u32), attempt: &str) -> String {
    hex(&format!(
        "{pack_key}|{PLATFORM_RUN_ID}|{SCENARIO_RUN_ID}|{count}|{index}|{attempt}"
    ))
}

/// A cursor file as Python's `json.dumps` writes it: names sorted, spaces, nothing but ASCII.
fn python_cursor(scope: &str, output: &str, file: &str, row: u64, ts: Option<&str>) -> String {
    let text = |text: &str| {
        let mut out = String::from("\"");
        for unit in text.encode_utf16() {
            match unit {
                0x20..=0x7e => out.push(char::from(unit as u8)),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
        out + "\""
    };
    format!(
        "{{\"last_file\": {}, \"last_row_index\": {row}, \"last_ts_utc\": {}, \"output_id\": {}, \
         \"pack_key\": {}, \"updated_at_utc\": \"2026-01-01T00:00:00.000000+00:00\"}}",
        text(file),
        ts.map_or("null".to_owned(), text),
        text(output),
        text(scope),
    )
}

/// Leaves the cursor that the reference leaves when it has sent row `n`.
fn leave_cursor(world: &World, runs: &Path, output: &str, lane: (u32, u32), n: usize) {
    let expected = world.expected(output);
    let pack_key = expected[n].get("trace_id").text();
    let ts = expected[n].get("ts_utc").text();
    let (file, row) = world.place(output, n as u64);
    let folder = cursor_folder(runs, pack_key, output, lane, "");
    std::fs::create_dir_all(&folder).unwrap();
    // A cursor may be without its time.
    let ts = (n % 5 != 3).then_some(ts);
    let text = python_cursor(&scope_key(pack_key, lane, ""), output, &file, row, ts);
    std::fs::write(folder.join("cursor.json"), &text).unwrap();
    std::fs::write(folder.join("cursor.jsonl"), text + "\n").unwrap();
}

/// Calls `work` with 0 to `upto` from a few threads.
fn side_by_side(upto: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= upto {
                        return;
                    }
                    work(n);
                }
            });
        }
    });
}

fn resumes_after_every_row(world: &World) {
    let outputs = world.outputs();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let expected: BTreeMap<_, _> = outputs.iter().map(|&id| (id, world.expected(id))).collect();
    let rows = expected[FRAUD].len();
    side_by_side(rows, |n| {
        // All outputs of the world at once, each after its row n.
        let inside = world.inside(&outputs);
        let runs = inside.dir.path().join("runs");
        for output in &outputs {
            assert_eq!(expected[output].len(), rows);
            leave_cursor(world, &runs, output, (1, 0), n);
        }
        let end = inside.run();
        assert_eq!(end.exit, ExitCode::Done, "{:?}", end.failure);
        let mut found = by_output(&inside.admitted());
        for output in &outputs {
            let found = found.remove(*output).unwrap_or_default();
            same(
                &found,
                &expected[output][n + 1..],
                &format!("{output} after row {n}"),
            );
        }
        assert!(found.is_empty());
        for receipt in &end.summary.outputs {
            let rest = &expected[receipt.output_id.as_str()][n + 1..];
            assert_eq!(receipt.rows, rest.len() as u64);
            assert_eq!(receipt.digest, chain(rest));
            let from = receipt
                .counts_from
                .as_ref()
                .expect("another producer began");
            let place = world.place(&receipt.output_id, n as u64);
            assert_eq!((&from.last_file, from.last_row_index), (&place.0, place.1));
        }
    });
}

#[test]
fn world_a_resumes_after_every_row() {
    resumes_after_every_row(&WORLD_A);
}

#[test]
fn world_b_resumes_after_every_row() {
    resumes_after_every_row(&WORLD_B);
}

#[test]
fn world_c_resumes_after_every_row() {
    resumes_after_every_row(&WORLD_C);
}

#[test]
fn three_lanes_resume_after_every_row() {
    let expected = WORLD_A.expected(FRAUD);
    side_by_side(expected.len(), |n| {
        let mut inside = WORLD_A.inside(&[FRAUD]);
        inside.plan.identity.lanes = Lanes {
            count: 3,
            only: None,
        };
        let runs = inside.dir.path().join("runs");
        // Lane 0 after row n, lane 1 seven rows behind it, lane 2 from the start. A lane's last
        // row is one of its own, but a cursor at any row must do.
        leave_cursor(&WORLD_A, &runs, FRAUD, (3, 0), n);
        if n >= 7 {
            leave_cursor(&WORLD_A, &runs, FRAUD, (3, 1), n - 7);
        }
        assert_eq!(inside.run().exit, ExitCode::Done);
        let found = by_output(&inside.admitted())
            .remove(FRAUD)
            .unwrap_or_default();
        for (lane, from) in [(0, n + 1), (1, (n + 1).saturating_sub(7)), (2, 0)] {
            let of_lane = |event: &&Exact| lane_of(event, 3) == lane;
            let found: Vec<_> = found.iter().filter(of_lane).cloned().collect();
            let rest: Vec<_> = expected[from..].iter().filter(of_lane).cloned().collect();
            same(&found, &rest, &format!("lane {lane}, row {n}"));
        }
    });
}

#[test]
fn the_program_goes_on_where_the_reference_stopped_and_leaves_what_it_can_read() {
    for (world, modes) in [
        (&WORLD_A, &[("fraud", FRAUD), ("baseline", BASELINE)][..]),
        (&WORLD_B, &[("fraud", FRAUD)]),
        (&WORLD_C, &[("fraud", FRAUD)]),
    ] {
        for &(mode, traffic) in modes {
            let rows = world.expected(traffic).len();
            for n in [0, 3, rows / 2, rows - 2] {
                let dir = tempfile::tempdir().unwrap();
                let runs = dir.path().join("runs");
                leave_cursor(world, &runs, traffic, (1, 0), n);
                leave_cursor(world, &runs, ARRIVALS, (1, 0), n);
                let gate = GateProcess::start(dir.path(), &[]);
                let context = json!({"contextOutputs": {
                    "fraud": {"outputIds": [ARRIVALS]},
                    "baseline": {"outputIds": [ARRIVALS]},
                }});
                let flags = ["--traffic-mode", mode, "--in-flight", "1"];
                world.stream(dir.path(), &gate, context, &flags).expect(0);
                let record = gate.record.clone();
                gate.end();
                let found = by_output(&lines(&record));
                for output in [traffic, ARRIVALS] {
                    let expected = world.expected(output);
                    same(&found[output], &expected[n + 1..], output);
                    check_cursor_files(world, &runs, output);
                }
            }
        }
    }
}

/// The files as the reference reads them: names, types, texts, and a time with an offset.
fn check_cursor_files(world: &World, runs: &Path, output: &str) {
    let expected = world.expected(output);
    let last = expected.last().unwrap();
    let pack_key = last.get("trace_id").text();
    let folder = cursor_folder(runs, pack_key, output, (1, 0), "");
    let text = std::fs::read_to_string(folder.join("cursor.json")).unwrap();
    let cursor: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = cursor.as_object().unwrap().keys().collect();
    let known = [
        "last_file",
        "last_row_index",
        "last_ts_utc",
        "output_id",
        "pack_key",
        "updated_at_utc",
    ];
    assert_eq!(names, known);
    let (file, row) = world.place(output, expected.len() as u64 - 1);
    assert!(file.starts_with(world.name));
    assert_eq!(cursor["last_file"], file.as_str());
    assert_eq!(cursor["last_row_index"].as_u64(), Some(row));
    assert_eq!(cursor["last_ts_utc"], last.get("ts_utc").text());
    assert_eq!(cursor["output_id"], output);
    assert_eq!(cursor["pack_key"], scope_key(pack_key, (1, 0), "").as_str());
    let updated = cursor["updated_at_utc"].as_str().unwrap();
    assert!(
        worldstream::time::EventTime::parse_rfc3339(updated).is_ok(),
        "{updated}"
    );
    // Its spelling is Python's, too, but for the time.
    let ts = last.get("ts_utc").text();
    let python = python_cursor(
        &scope_key(pack_key, (1, 0), ""),
        output,
        &file,
        row,
        Some(ts),
    );
    assert_eq!(
        text.trim_end().split("\"updated_at_utc\"").next(),
        python.split("\"updated_at_utc\"").next()
    );
    // The history goes on behind what was there, and ends with this cursor.
    let history = lines(&folder.join("cursor.jsonl"));
    assert!(history.len() >= 2, "{history:?}");
    assert_eq!(history.last().map(String::as_str), Some(text.trim_end()));
}

#[test]
fn the_session_is_the_references() {
    let dir = tempfile::tempdir().unwrap();
    let gate = GateProcess::start(dir.path(), &[]);
    let profile = json!({
        "contextOutputs": {"fraud": {"outputIds": [ARRIVALS]}},
        "checkpoints": {"flushEvery": 50, "flushInterval": "1h"},
    });
    WORLD_A.stream(dir.path(), &gate, profile, &[]).expect(0);
    gate.end();
    let session = lines(
        &dir.path()
            .join("runs")
            .join(PLATFORM_RUN_ID)
            .join("session.jsonl"),
    );
    let session: Vec<Value> = session
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let text = std::fs::read_to_string(golden().join("ready/session_events.json")).unwrap();
    let golden: Value = serde_json::from_str(&text.replace("$WORLD", WORLD_A.name)).unwrap();
    let kinds: Vec<_> = session
        .iter()
        .map(|event| event["event_kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["engine_world_selected", "stream_start"]);
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["engine_world_streamed", "stream_complete"]
    );
    let timeless = |event: &Value| {
        let mut event = event.clone();
        let time = event["ts_utc"].take();
        (event, time)
    };
    for kind in [
        "engine_world_selected",
        "stream_start",
        "checkpoint_saved",
        "engine_world_streamed",
        "stream_complete",
    ] {
        let (expected, _) = timeless(&golden[kind]);
        let alike: Vec<_> = session
            .iter()
            .filter(|event| event["event_kind"] == kind)
            .map(timeless)
            .collect();
        let found = alike.iter().find(|(event, _)| *event == expected);
        let Some((_, time)) = found else {
            panic!("no {expected:#} among {alike:#?}");
        };
        let time = time.as_str().unwrap();
        assert!(
            worldstream::time::EventTime::parse_rfc3339(time).is_ok(),
            "{time}"
        );
        if kind != "checkpoint_saved" {
            assert_eq!(alike.len(), 1, "{kind}");
        }
    }
    // Of each output: rows 49 and 99 by count, the end of the first part, the end.
    for output in [ARRIVALS, FRAUD] {
        let saved: Vec<_> = session
            .iter()
            .filter(|event| event["event_kind"] == "checkpoint_saved")
            .map(|event| &event["details"])
            .filter(|details| details["output_id"] == output)
            .collect();
        let of = |reason: &str| {
            saved
                .iter()
                .filter(|details| details["reason"] == reason)
                .map(|it| {
                    let file = it["last_file"].as_str().unwrap().to_owned();
                    (file, it["last_row_index"].as_u64().unwrap())
                })
                .collect::<Vec<_>>()
        };
        let parts = WORLD_A.parts(output);
        let by_count: Vec<_> = [49, 99].map(|n| WORLD_A.place(output, n)).into();
        assert_eq!(of("periodic_flush"), by_count, "{output}");
        assert_eq!(of("file_complete"), [(parts[0].0.clone(), parts[0].1 - 1)]);
        assert_eq!(of("output_complete"), [WORLD_A.place(output, 119)]);
    }
}

#[test]
fn every_part_that_ends_is_in_the_session_once() {
    let world = MadeWorld::small();
    let times: Vec<i64> = (0..250).map(|row| 1_767_225_600_000_000 + row).collect();
    // Ends of parts at a flush (100), half way to one (75), and at neither.
    for part in [100, 75, 33] {
        world.at_times(FRAUD, &times, part, 10);
        let mut inside = Inside::new(&world.root()).outputs(&[FRAUD]);
        inside.plan.world.scenario = Some(world.report.scenario_id.clone());
        inside.plan.checkpoint.flush_every = 50;
        inside.plan.checkpoint.flush_interval = Duration::from_secs(3_600);
        assert_eq!(inside.run().exit, ExitCode::Done);
        let session = lines(&inside.plan.run_dir.join("session.jsonl"));
        let mut saved: Vec<(String, u64)> = Vec::new();
        for line in session {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event_kind"] == "checkpoint_saved" {
                let file = event["details"]["last_file"].as_str().unwrap().to_owned();
                saved.push((file, event["details"]["last_row_index"].as_u64().unwrap()));
            }
        }
        let mut rows: Vec<usize> = (50..=250).step_by(50).collect();
        rows.extend((part..250).step_by(part));
        // The last row, at a flush here, is told of once more: then the output is complete.
        rows.push(250);
        rows.sort_unstable();
        let place = |row: usize| {
            let file = world
                .view(FRAUD)
                .join(format!("part-{:06}.parquet", (row - 1) / part));
            (file.display().to_string(), ((row - 1) % part) as u64)
        };
        let expected: Vec<_> = rows.into_iter().map(place).collect();
        assert_eq!(saved, expected, "parts of {part}");
    }
}

#[test]
fn both_traffic_outputs_at_once_bring_the_fraud_context() {
    let mut inside = WORLD_A.inside(&[FRAUD]);
    inside.plan.world.selection = select(&[ARRIVALS], &[FRAUD, BASELINE]);
    inside.plan.world.selection.context_baseline = vec!["s1_arrival_entities_6B".into()];
    assert_eq!(inside.run().exit, ExitCode::Done);
    let found = by_output(&inside.admitted());
    let outputs: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(outputs, [ARRIVALS, BASELINE, FRAUD]);
    for (output, found) in found {
        same(&found, &WORLD_A.expected(&output), &output);
    }
}
