//! `worldstream plan`: what it says of a world is what a replay of it does.

use std::fs::File;
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use worldstream::sample::Parts;
use worldstream::time::EventTime;
use worldstream_tests::inside::Inside;
use worldstream_tests::{Finished, MadeWorld, PLATFORM_RUN_ID, Program, SCENARIO_RUN_ID, run};

const SPEEDUP: i64 = 7_200;
const MINUTE: Duration = Duration::from_secs(60);

/// What a view sends, worked out from the rows that arrived.
struct Expected {
    rows: usize,
    first: i64,
    last: i64,
    peak: usize,
    steps_back: u64,
    largest_step_back: i64,
    largest_at: usize,
}

fn expected(times: &[i64]) -> Expected {
    let mut latest = i64::MIN;
    let (mut steps_back, mut largest_step_back, mut largest_at) = (0, 0, 0);
    let mut dues = Vec::new();
    for (row, &time) in times.iter().enumerate() {
        if time < latest {
            steps_back += 1;
            if latest - time > largest_step_back {
                (largest_step_back, largest_at) = (latest - time, row);
            }
        }
        latest = latest.max(time);
        dues.push(latest);
    }
    // The most that are due within a second of wall time, by looking at every pair.
    let second = SPEEDUP * 1_000_000;
    let peak = (0..dues.len()).map(|from| {
        let within = |due: &&i64| **due - dues[from] < second;
        dues[from..].iter().filter(within).count()
    });
    Expected {
        rows: times.len(),
        first: *times.iter().min().unwrap(),
        last: *times.iter().max().unwrap(),
        peak: peak.max().unwrap(),
        steps_back,
        largest_step_back,
        largest_at,
    }
}

struct Bed {
    world: MadeWorld,
    inside: Inside,
}

impl Bed {
    fn new() -> Self {
        let world = MadeWorld::sample(2_500, 3, |spec| {
            spec.disorder = true;
            spec.parts = Parts::Number(3);
            spec.row_group_rows = 100;
        });
        let inside = Inside::new(&world.root());
        Bed { world, inside }
    }

    fn program(&self, command: &str, more: &[&str]) -> Program {
        let runs = self.inside.dir.path().join("program");
        run([command, "--profile", "prod"])
            .args(["--engine-run-root", &self.world.root()])
            .args(["--gate-url", &self.inside.gate.url()])
            .args(["--platform-run-id", PLATFORM_RUN_ID])
            .args(["--scenario-run-id", SCENARIO_RUN_ID])
            .args(["--runs-root", &runs.display().to_string()])
            .args(["--checkpoint-root"])
            .args([runs.join("checkpoints").display().to_string()])
            .args(more)
    }

    fn run(&self, command: &str, more: &[&str]) -> Finished {
        let running = self.program(command, more).start();
        running.finish_within(MINUTE).expect(0)
    }

    /// Event times of a view in its order.
    fn times(&self, output: &str) -> Vec<i64> {
        let time = |text: &str| EventTime::parse_rfc3339(text).unwrap().micros();
        self.inside
            .arrivals_of(output)
            .iter()
            .map(|it| time(&it.ts_utc))
            .collect()
    }

    /// The view's parts as (path, bytes) in order.
    fn parts(&self, output: &str) -> Vec<(String, u64)> {
        let mut parts: Vec<_> = std::fs::read_dir(self.world.view(output))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().is_some_and(|it| it == "parquet"))
            .map(|entry| {
                let bytes = entry.metadata().unwrap().len();
                (entry.path().display().to_string(), bytes)
            })
            .collect();
        parts.sort();
        parts
    }

    /// File and row of the view's row `n`.
    fn place(&self, output: &str, n: usize) -> (String, usize) {
        let mut left = n;
        for (path, _) in self.parts(output) {
            let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
            let rows = reader.metadata().file_metadata().num_rows() as usize;
            if left < rows {
                return (path, left);
            }
            left -= rows;
        }
        panic!("{output} has no row {n}");
    }
}

fn time(micros: i64) -> String {
    EventTime::from_micros(micros).unwrap().to_string()
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn every_figure_is_that_of_the_replay() {
    let bed = Bed::new();
    assert_eq!(bed.inside.run().exit.code(), 0);
    let speedup = SPEEDUP.to_string();
    let found = bed.run("plan", &["--json", "--speedup", &speedup]).json();
    assert!(
        !bed.inside.dir.path().join("program").exists(),
        "it wrote something"
    );
    assert_eq!(found["engine_run_root"], bed.world.root());
    assert_eq!(found["scenario_id"], bed.world.report.scenario_id.as_str());
    let pack = bed.world.report.oracle_pack_id.as_deref().unwrap();
    assert_eq!(found["pack_key"], pack);
    assert_eq!(found["sealed"], true);
    let outputs = found["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 4);
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for output in outputs {
        let id = output["output_id"].as_str().unwrap();
        let expected = expected(&bed.times(id));
        assert_eq!(output["rows"], expected.rows, "{id}");
        assert_eq!(output["view_rows"], expected.rows);
        let parts = bed.parts(id);
        assert_eq!(output["files"], parts.len());
        assert_eq!(output["bytes"], parts.iter().map(|it| it.1).sum::<u64>());
        assert_eq!(output["first_event_time"], time(expected.first));
        assert_eq!(output["last_event_time"], time(expected.last));
        let seconds = (expected.last - expected.first) as f64 / 1e6 / SPEEDUP as f64;
        near(&output["duration_seconds"], seconds);
        assert_eq!(output["peak_per_second"], expected.peak, "{id}");
        assert_eq!(output["steps_back"], expected.steps_back, "{id}");
        assert!(expected.steps_back > 0);
        let back = expected.largest_step_back as f64 / 1e6;
        near(&output["largest_step_back_seconds"], back);
        let (file, row) = bed.place(id, expected.largest_at);
        let at = output["largest_step_back_at"].as_str().unwrap();
        assert_eq!(at, format!("{file} row {row}"));
        let cursor = &output["cursors"][0];
        assert_eq!(cursor["last_file"], Value::Null);
        assert_eq!(cursor["complete"], false);
        first = first.min(expected.first);
        last = last.max(expected.last);
    }
    let roles: Vec<_> = outputs
        .iter()
        .map(|it| it["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["context", "context", "context", "traffic"]);
    near(
        &found["duration_seconds"],
        (last - first) as f64 / 1e6 / SPEEDUP as f64,
    );

    // For people: the same numbers.
    let text = bed.run("plan", &["--speedup", &speedup]).stdout;
    for output in outputs {
        let id = output["output_id"].as_str().unwrap();
        let line = text.lines().find(|line| line.contains(id)).unwrap();
        let rows = output["rows"].as_u64().unwrap();
        let rows = format!("{},{:03}", rows / 1000, rows % 1000);
        let first = output["first_event_time"].as_str().unwrap()[..19].replace('T', " ");
        let peak = output["peak_per_second"].to_string();
        for part in [rows.as_str(), "3", first.as_str(), &peak, "at the start"] {
            assert!(line.replace('T', " ").contains(part), "{part} in {line}");
        }
    }
    assert!(text.contains(pack), "{text}");
    assert!(text.contains("at speedup 7200"), "{text}");

    // Without waiting there is no duration and no peak.
    let found = bed.run("plan", &["--json", "--speedup", "0"]).json();
    assert_eq!(found["duration_seconds"], Value::Null);
    assert_eq!(found["outputs"][0]["peak_per_second"], Value::Null);
}

#[test]
fn it_says_where_the_cursor_stands_and_counts_only_the_range() {
    let bed = Bed::new();
    assert_eq!(bed.inside.run().exit.code(), 0);
    let part = [
        "--speedup",
        "0",
        "--in-flight",
        "1",
        "--max-events-per-output",
        "1000",
    ];
    bed.run("run", &part);
    let found = bed.run("plan", &["--json"]).json();
    for output in found["outputs"].as_array().unwrap() {
        let id = output["output_id"].as_str().unwrap();
        let times = bed.times(id);
        // The second run's events came again, behind the first's.
        let (file, row) = bed.place(id, 999);
        let cursor = &output["cursors"][0];
        assert_eq!(cursor["last_file"], file.as_str(), "{id}");
        assert_eq!(cursor["last_row_index"], row, "{id}");
        assert_eq!(cursor["last_ts_utc"], time(times[999]), "{id}");
        assert_eq!(cursor["rows_taken"], 1000);
        assert_eq!(cursor["complete"], false);
    }
    let text = bed.run("plan", &[]).stdout;
    assert!(text.contains("part-000001.parquet row "), "{text}");

    let traffic = "s3_event_stream_with_fraud_6B";
    let mut times = bed.times(traffic);
    times.truncate(2_500);
    let (from, until) = (times[700], times[1_900]);
    times.retain(|time| (from..until).contains(time));
    let expected = expected(&times);
    let range = [
        "--json",
        "--start-from",
        &time(from),
        "--until",
        &time(until),
    ];
    let found = bed.run("plan", &range).json();
    let outputs = found["outputs"].as_array().unwrap();
    let output = outputs
        .iter()
        .find(|it| it["output_id"] == traffic)
        .unwrap();
    assert_eq!(output["rows"], expected.rows);
    assert_eq!(output["view_rows"], 2_500);
    assert_eq!(output["first_event_time"], time(expected.first));
    assert_eq!(output["last_event_time"], time(expected.last));
    assert_eq!(output["steps_back"], expected.steps_back);

    // At the end it says so.
    bed.run("run", &["--speedup", "0"]);
    let text = bed.run("plan", &[]).stdout;
    assert_eq!(text.matches("complete").count(), 4, "{text}");
    let lanes = bed.run("plan", &["--json", "--lanes", "3"]).json();
    assert_eq!(lanes["outputs"][0]["cursors"].as_array().unwrap().len(), 3);
}
