//! The command line as people and machines use it: help, JSON, pipes, mistakes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::CommandFactory;
use worldstream::cli::Cli;
use worldstream_tests::{GateProcess, PLATFORM_RUN_ID, program, run};

/// Every command but `help`, as words.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, path: &[String], all: &mut Vec<Vec<String>>) {
        for inner in command.get_subcommands() {
            let mut path = path.to_vec();
            path.push(inner.get_name().to_owned());
            all.push(path.clone());
            walk(inner, &path, all);
        }
    }
    let mut all = Vec::new();
    walk(&Cli::command(), &[], &mut all);
    all
}

/// A small world, and where it lies.
fn world(dir: &Path) -> String {
    let world = dir.join("world").display().to_string();
    let made = run([
        "sample", "--json", "--out", &world, "--rows", "100", "--days", "1",
    ])
    .finish()
    .expect(0)
    .json();
    assert_eq!(made["runRoot"], world.as_str());
    world
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = commands();
    assert!(commands.len() >= 11, "{commands:?}");
    for mut words in commands {
        words.push("--help".to_owned());
        let help = run(&words).finish().expect(0);
        assert!(help.stdout.contains("Example"), "{words:?}: {help:#?}");
        assert!(help.stdout.contains("--json"), "{words:?}");
        assert!(
            !help.stdout.contains('\x1b'),
            "{words:?}: colours in a pipe"
        );
    }
    let help = run(["--help"]).finish().expect(0).stdout;
    assert!(help.contains("Start with:") && help.contains("Exit codes:"));
}

#[test]
fn machines_get_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let world = world(dir.path());
    let gate = GateProcess::start(dir.path(), &[]);
    let (url, runs) = (gate.url.clone(), path("runs"));
    let replay = |command: &str| {
        run([
            command,
            "--json",
            "--profile",
            "local",
            "--engine-run-root",
            &world,
            "--platform-run-id",
            PLATFORM_RUN_ID,
            "--gate-url",
            &url,
            "--runs-root",
            &runs,
            "--speedup",
            "0",
        ])
    };
    let plan = replay("plan").finish().expect(0).json();
    assert_eq!(plan["outputs"][3]["rows"], 100, "{plan:#}");
    let summary = path("summary.json");
    let ran = replay("run")
        .args(["--summary", &summary])
        .start()
        .finish_within(Duration::from_secs(60))
        .expect(0);
    assert_eq!(ran.stderr, "", "progress among machines");
    let written = std::fs::read_to_string(&summary).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, ran.json());
    gate.end();

    let root = format!("{runs}/{PLATFORM_RUN_ID}/wsp/checkpoints");
    let checkpoints = |command: &str, more: &[&str]| {
        run(["checkpoints", command, "--json", "--checkpoint-root", &root])
            .args(more)
            .finish()
            .expect(0)
            .json()
    };
    let list = checkpoints("list", &[]);
    assert_eq!(list.as_array().unwrap().len(), 4, "{list:#}");
    let one = ["--output", "arrival_events_5B"];
    assert_eq!(checkpoints("show", &one)["progress"]["rows"], 50);
    assert_eq!(checkpoints("reset", &one)[0]["output_id"], one[1]);
    assert_eq!(checkpoints("list", &[]).as_array().unwrap().len(), 3);

    let mut gate = Command::new(program())
        .args(["dev-gate", "--json", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(gate.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(first["listening"].as_str().unwrap().starts_with("http://"));
    let ended = Command::new("kill").arg(gate.id().to_string()).status();
    assert!(ended.unwrap().success());
    let last: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(last["summary"]["pushes"], 0);
    assert_eq!(gate.wait().unwrap().code(), Some(0));
}

#[test]
fn failures_are_json_too_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere").display().to_string();
    let plan = [
        "plan",
        "--profile",
        "local",
        "--engine-run-root",
        &nowhere,
        "--platform-run-id",
        PLATFORM_RUN_ID,
    ];
    let failed = run(plan).args(["--json"]).finish().expect(10);
    let error: serde_json::Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "RUN_RECEIPT_UNREADABLE");
    assert_eq!(error["error"]["exit_code"], 10);
    let failed = run(plan).finish().expect(10);
    for part in ["RUN_RECEIPT_UNREADABLE", &nowhere, "what to do: "] {
        assert!(failed.stderr.contains(part), "{part}: {failed:#?}");
    }
    assert_eq!(failed.stdout, "");
}

#[test]
fn mistakes_of_usage_exit_with_2_and_name_themselves() {
    for (line, part) in [
        ("", "Usage:"),
        ("replay", "'replay'"),
        ("run --nope", "'--nope'"),
        ("run --speedup fast", "--speedup"),
        ("run --start-from yesterday", "--start-from"),
        ("plan --engine-run-root world", "--profile"),
        ("plan --profile nobody --engine-run-root world", "nobody"),
        ("run -f nowhere.yaml", "nowhere.yaml"),
        ("sample", "--out"),
        ("sample --out world --rows many", "--rows"),
        ("demo --seconds 0", "--seconds"),
        ("demo --seconds nan", "--seconds"),
        ("dev-gate --fault flood", "flood"),
        ("checkpoints", "Usage:"),
        ("checkpoints list", "--platform-run-id"),
        ("checkpoints list --checkpoint-root nowhere", "nowhere"),
        ("completions tcsh", "tcsh"),
        ("man nothing", "nothing"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let ended = run(line.split_whitespace())
            .dir(dir.path())
            .finish()
            .expect(2);
        assert!(ended.stderr.contains(part), "{line}: {ended:#?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{line}");
    }
}

#[test]
fn there_are_completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let text = run(["completions", shell]).finish().expect(0).stdout;
        for word in ["worldstream", "dev-gate", "engine-run-root"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let page = run(["man"]).finish().expect(0).stdout;
    assert!(page.contains(".TH worldstream"), "{page}");
    for words in commands().iter().filter(|words| words.len() == 1) {
        let page = run(["man", &words[0]]).finish().expect(0).stdout;
        assert!(page.contains(".TH worldstream"), "{words:?}: {page}");
        assert!(page.contains("SYNOPSIS"), "{words:?}: {page}");
    }
}

#[test]
fn logs_are_text_or_json_on_stderr_and_never_coloured_in_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let gate = GateProcess::start(dir.path(), &[]);
    let replay = |format: &str, id: &str| {
        run([
            "run",
            "--log-format",
            format,
            "--profile",
            "local",
            "--engine-run-root",
            &world,
            "--platform-run-id",
            id,
            "--gate-url",
            &gate.url,
            "--speedup",
            "0",
        ])
        .env("RUST_LOG", "debug")
        .dir(dir.path())
        .start()
        .finish_within(Duration::from_secs(60))
        .expect(0)
    };
    let text = replay("text", PLATFORM_RUN_ID);
    assert!(!text.stderr.is_empty() && !text.stderr.contains('\x1b'));
    assert!(!text.stdout.contains('\x1b'));
    let json = replay("json", "platform_20260102T000000Z");
    let lines: Vec<serde_json::Value> = json
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line["level"].is_string()));
}

/// Runs the program with a pipe that nobody reads in place of stdout, of stderr too if asked.
fn into_closed_pipe(args: &[&str], dir: &Path, stderr_too: bool) -> (Option<i32>, String) {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut command = Command::new(program());
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(closed());
    match stderr_too {
        true => command.stderr(closed()),
        false => command.stderr(Stdio::piped()),
    };
    let child = command.spawn().unwrap();
    drop(command);
    let ended = child.wait_with_output().unwrap();
    (
        ended.status.code(),
        String::from_utf8_lossy(&ended.stderr).into_owned(),
    )
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let plan = [
        "plan",
        "--profile",
        "local",
        "--engine-run-root",
        &world,
        "--platform-run-id",
        PLATFORM_RUN_ID,
    ];
    for args in [
        &["man"][..],
        &["man", "run"],
        &["completions", "bash"],
        &["--help"],
        &["sample", "--out", "another", "--rows", "10", "--days", "1"],
        &plan,
    ] {
        let (code, said) = into_closed_pipe(args, dir.path(), false);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{args:?}");
    }
    // A replay goes on to its end, whoever looks.
    for stderr_too in [false, true] {
        let args = ["demo", "--fresh", "--seconds", "1"];
        let (code, said) = into_closed_pipe(&args, dir.path(), stderr_too);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    // A failure keeps its exit code where nobody reads why.
    let (code, _) = into_closed_pipe(&["plan", "--profile", "local"], dir.path(), true);
    assert_eq!(code, Some(10));
}
