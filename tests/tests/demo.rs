//! What a newcomer sees: the command line of `make demo`, run as it is: to its end, interrupted
//! and started again, and on a terminal.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use worldstream_tests::{Finished, Program, json_lines, long, program, repository, run};

/// 24,000 traffic events and three context tables of 12,000 rows.
const EVENTS: usize = 60_000;
const OUTPUTS: [&str; 4] = [
    "arrival_events_5B",
    "s1_arrival_entities_6B",
    "s3_flow_anchor_with_fraud_6B",
    "s3_event_stream_with_fraud_6B",
];
const PATIENCE: Duration = Duration::from_secs(300);

/// What `make demo VARIABLES` would run.
fn make_demo(variables: &[&str]) -> String {
    let made = Command::new("make")
        .arg("-C")
        .arg(repository())
        .args(["--no-print-directory", "-n", "demo"])
        .args(variables)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("PROFILE")
        .env_remove("FRESH")
        .env_remove("ARGS")
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap()
}

/// The arguments that it gives the program.
fn demo_args(variables: &[&str]) -> Vec<String> {
    let lines = make_demo(variables);
    let line = lines
        .lines()
        .find(|line| line.starts_with("target/release/worldstream "))
        .unwrap_or_else(|| panic!("{lines}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

/// The demo in a folder of its own.
fn demo(dir: &Path) -> Program {
    run(demo_args(&[])).dir(dir)
}

/// Event ids that the demo's gate recorded.
fn recorded(dir: &Path) -> Vec<String> {
    json_lines::<serde_json::Value>(&dir.join("demo/admitted.jsonl"))
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

fn all_recorded_once(dir: &Path) {
    let ids = recorded(dir);
    assert_eq!(ids.len(), EVENTS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), EVENTS);
}

/// The figures of an output in the table: rows, sent, admitted, duplicate, quarantined, retries.
fn figures(table: &str, output: &str) -> Vec<u64> {
    let row = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(output))
        .unwrap_or_else(|| panic!("{output}: {table}"));
    row.split_whitespace()
        .skip(1)
        .take(6)
        .map(|cell| cell.replace(',', "").parse().unwrap())
        .collect()
}

fn table_says(end: &Finished, rows: u64, check: impl Fn(&[u64])) {
    let header = end.stdout.lines().next().unwrap();
    for column in [
        "rows",
        "sent",
        "admitted",
        "duplicate",
        "quarantined",
        "retries",
        "p99 late",
        "seconds",
    ] {
        assert!(header.contains(column), "{column}: {header}");
    }
    let all: Vec<_> = OUTPUTS.map(|output| figures(&end.stdout, output)).into();
    assert_eq!(all.iter().map(|one| one[0]).sum::<u64>(), rows);
    for one in all {
        assert_eq!(one[0], one[2] + one[3] + one[4], "{}", end.stdout);
        check(&one);
    }
}

#[test]
fn make_builds_in_release_and_passes_options_on() {
    let plain = make_demo(&[]);
    assert!(
        plain.contains("build --profile release --bin worldstream"),
        "{plain}"
    );
    assert_eq!(demo_args(&[]), ["demo"]);
    assert_eq!(demo_args(&["FRESH=1"]), ["demo", "--fresh"]);
    assert_eq!(
        demo_args(&["FRESH=1", "ARGS=--seconds 60"]),
        ["demo", "--fresh", "--seconds", "60"]
    );
}

#[test]
fn it_runs_to_its_end_and_what_it_proposes_works() {
    let dir = tempfile::tempdir().unwrap();
    let end = demo(dir.path()).start().finish_within(PATIENCE).expect(0);
    table_says(&end, EVENTS as u64, |one| {
        assert_eq!(one[0], one[2], "all are admitted: {}", end.stdout);
    });
    all_recorded_once(dir.path());
    // No terminal: lines, and nothing that only a terminal understands.
    assert!(
        end.stderr.contains("world clock 2026-01-"),
        "{}",
        end.stderr
    );
    for output in OUTPUTS {
        assert!(end.stderr.contains(output), "{}", end.stderr);
    }
    assert!(!end.stderr.contains('\x1b') && !end.stdout.contains('\x1b'));

    let proposed: Vec<_> = end
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.contains(" plan ") || line.contains(" checkpoints "))
        .collect();
    assert_eq!(proposed.len(), 2, "{}", end.stdout);
    for line in proposed {
        let tried = Command::new("sh")
            .args(["-c", line])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tried.stdout);
        assert!(tried.status.success(), "{line}: {tried:?}");
        for output in OUTPUTS {
            assert!(said.contains(output), "{line}: {said}");
        }
    }

    // Started again, it has nothing left to do, and says so.
    let again = demo(dir.path()).start().finish_within(PATIENCE).expect(0);
    table_says(&again, EVENTS as u64, |one| assert_eq!(one[1], 0));
    assert!(
        again.stdout.contains("complete already"),
        "{}",
        again.stdout
    );
    all_recorded_once(dir.path());

    // Unless it starts over: the gate has forgotten, too.
    let mut args = demo_args(&["FRESH=1", "ARGS=--seconds 2"]);
    args.push("--json".to_owned());
    let fresh = run(args)
        .dir(dir.path())
        .start()
        .finish_within(PATIENCE)
        .expect(0)
        .json();
    for output in fresh["outputs"].as_array().unwrap() {
        assert_eq!(output["duplicate"], 0, "{fresh:#}");
        assert_eq!(output["outcome"], "complete", "{fresh:#}");
    }
    all_recorded_once(dir.path());
}

#[test]
fn interrupted_and_started_again_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("demo/admitted.jsonl");
    let times = if long() { 5 } else { 2 };
    for time in 1..=times {
        let running = demo(dir.path()).start();
        // So far, and the record is written behind the gate's answers.
        let wanted = (EVENTS / (times + 2) * time) as u64 * 500;
        let end = Instant::now() + PATIENCE;
        while std::fs::metadata(&record).map_or(0, |file| file.len()) < wanted {
            assert!(Instant::now() < end, "the demo does not get on");
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal("INT");
        let stopped = running.finish_within(PATIENCE).expect(14);
        let said = &stopped.stdout;
        assert!(said.contains("interrupted, everything saved"), "{said}");
        assert!(said.contains("go on at the cursors"), "{said}");
        let rows: u64 = OUTPUTS.iter().map(|output| figures(said, output)[0]).sum();
        assert!(0 < rows && rows < EVENTS as u64, "{said}");
        assert_eq!(recorded(dir.path()).len() as u64, rows, "{said}");
    }
    let end = demo(dir.path()).start().finish_within(PATIENCE).expect(0);
    // Nothing was sent twice: what was in flight was awaited and saved.
    table_says(&end, EVENTS as u64, |one| {
        assert_eq!(one[3], 0, "{}", end.stdout);
        assert!(one[1] < one[0], "it went on: {}", end.stdout);
    });
    all_recorded_once(dir.path());
}

#[test]
fn on_a_terminal_there_is_a_bar_an_output_under_the_world_clock() {
    let dir = tempfile::tempdir().unwrap();
    let args = demo_args(&["ARGS=--seconds 4"]).join(" ");
    let inside = format!("stty cols 110 rows 40; '{}' {args}", program().display());
    // `script` gives the program a terminal.
    let shown = Command::new("script")
        .args(["-qec", &inside, "/dev/null"])
        .current_dir(dir.path())
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .output()
        .expect("script, of util-linux, runs");
    let screen = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{screen}");
    let clock = "world clock 2026-01-";
    assert!(screen.contains(clock), "{screen}");
    for output in OUTPUTS {
        let bar = screen
            .split(['\n', '\r'])
            .any(|line| line.contains(output) && line.contains("% ") && line.contains("/s lag "));
        assert!(bar, "{output}: {screen}");
    }
    // The bars are gone at the end, and the table stands.
    let end = screen.rfind("p99 late").expect("a table");
    assert!(!screen[end..].contains("world clock"), "{screen}");
}
