//! The command over stores as runs leave them.

use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::checkpoint::conformance::{checkpoint, key};
use crate::checkpoint::{CheckpointKey, CheckpointStore, FileStore};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: CheckpointsArgs,
}

fn call(root: &Path, line: &str, json: bool) -> Result<String> {
    let words = std::iter::once("checkpoints").chain(line.split_whitespace());
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    words.extend(["--checkpoint-root".to_owned(), root.display().to_string()]);
    let program = Program::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    run(&program.args, json, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn output(id: &str) -> CheckpointKey {
    CheckpointKey {
        output_id: id.into(),
        ..key("cli")
    }
}

/// A sound one, a complete one, one of the reference, a fresh one, a broken one.
async fn bed() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::new(root.path());
    for (id, complete) in [("going_on", false), ("done", true)] {
        let key = output(id);
        let mut lease = store.take(&key).await.unwrap();
        let mut at = checkpoint(2, 41);
        at.progress.as_mut().unwrap().complete = complete;
        lease.save(&at).await.unwrap();
    }
    let text = json!({
        "last_file": "/w/part-000009.parquet", "last_row_index": 17, "last_ts_utc": null,
        "output_id": "theirs/1", "pack_key": key("cli").scope_key(),
    });
    for (id, text) in [("theirs/1", text.to_string()), ("broken", "{".to_owned())] {
        let folder = output(id).folder(root.path());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cursor.json"), text).unwrap();
    }
    drop(store.take(&output("fresh")).await.unwrap());
    // What is no checkpoint is passed over.
    fs::create_dir_all(root.path().join("notes/output_id=x")).unwrap();
    fs::write(root.path().join("README"), "").unwrap();
    root
}

fn line<'a>(text: &'a str, output: &str) -> Vec<&'a str> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1) == Some(&output))
        .unwrap_or_else(|| panic!("no {output} in:\n{text}"))
}

#[tokio::test]
async fn list_shows_every_checkpoint() {
    let root = bed().await;
    let text = call(root.path(), "list", false).unwrap();
    let scope = key("cli").scope_key();
    let going_on = line(&text, "going_on");
    assert_eq!(going_on[0], &scope[..12]);
    assert_eq!(
        going_on[2..6],
        [
            "42",
            "part-000002.parquet",
            "41",
            "2026-01-01T00:00:00.000041Z"
        ]
    );
    assert_eq!(going_on[7..], ["no", "-"]);
    assert_eq!(line(&text, "done")[7..], ["yes", "-"]);
    let theirs = line(&text, "theirs/1");
    assert_eq!(
        theirs[2..],
        ["-", "part-000009.parquet", "17", "-", "-", "-", "-"]
    );
    assert_eq!(line(&text, "fresh")[2..], ["-"; 7]);
    assert_eq!(line(&text, "broken")[2], "unreadable");
    assert!(text.contains("CHECKPOINT_UNREADABLE: "), "{text}");
    assert_eq!(text.matches(&scope[..12]).count(), 5 + 1, "{text}");
}

#[tokio::test]
async fn list_for_machines_has_everything() {
    let root = bed().await;
    let rows: Value = serde_json::from_str(&call(root.path(), "list", true).unwrap()).unwrap();
    let row = |output: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["output_id"] == output)
            .unwrap()
    };
    assert_eq!(rows.as_array().unwrap().len(), 5);
    assert_eq!(row("going_on")["cursor"]["last_row_index"], 41);
    assert_eq!(row("going_on")["progress"]["rows"], 42);
    assert_eq!(row("done")["progress"]["complete"], true);
    assert_eq!(row("theirs/1")["progress"], Value::Null);
    assert_eq!(row("broken")["error"]["reason"], "CHECKPOINT_UNREADABLE");
    assert_eq!(row("done")["error"], Value::Null);
}

#[tokio::test]
async fn show_says_all_of_one() {
    let root = bed().await;
    let scope = key("cli").scope_key();
    let line = format!(
        "show {} --output going_on",
        &scope[..6].to_ascii_uppercase()
    );
    let text = call(root.path(), &line, false).unwrap();
    for part in [
        &scope,
        "s3://oracle-store/runs/w/out/part-000002.parquet",
        "rows         42",
        "the attempt's first row",
        &checkpoint(2, 41).progress.unwrap().digest,
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
    let text = call(root.path(), "show --output theirs/1", false).unwrap();
    assert!(text.contains("another producer"), "{text}");
    let text = call(root.path(), "show --output fresh", false).unwrap();
    assert!(text.contains("nothing was taken yet"), "{text}");
    let text = call(root.path(), "show --output broken", false).unwrap();
    assert!(text.contains("CHECKPOINT_UNREADABLE"), "{text}");
    assert!(text.contains("ends too early"), "{text}");
    let text = call(root.path(), "show --output broken", true).unwrap();
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["error"]["reason"], "CHECKPOINT_UNREADABLE");
}

#[tokio::test]
async fn one_must_be_named_clearly() {
    let root = bed().await;
    for (line, parts) in [
        ("show", ["5 checkpoints", "going_on"]),
        ("reset", ["5 checkpoints", "--output"]),
        ("show --output nothing", ["no such checkpoint", "done"]),
        ("show ffffffffffffffff", ["no such checkpoint", "fresh"]),
        ("reset --all", ["--yes", "5 checkpoints"]),
    ] {
        let failure = call(root.path(), line, false).unwrap_err();
        assert_eq!(failure.exit_code(), ExitCode::Usage, "{line}");
        for part in parts {
            assert!(failure.message().contains(part), "{line}: {failure}");
        }
    }
    let absent = call(&root.path().join("absent"), "list", false).unwrap_err();
    assert!(absent.message().contains("no such folder"), "{absent}");
    let empty = tempfile::tempdir().unwrap();
    let text = call(empty.path(), "list", false).unwrap();
    assert_eq!(text, "no checkpoints\n");
    assert_eq!(call(empty.path(), "list", true).unwrap(), "[]\n");
    let failure = call(empty.path(), "show", false).unwrap_err();
    assert!(failure.message().contains("there is none"), "{failure}");
}

#[tokio::test]
async fn reset_sets_aside_and_starts_over() {
    let root = bed().await;
    let store = FileStore::new(root.path());
    for round in 0..2 {
        let text = call(root.path(), "reset --output going_on", false).unwrap();
        let (_, aside) = text.trim().split_once(" is now ").unwrap();
        assert!(aside.contains("output_id=going_on.reset-2"), "{text}");
        // The first had a cursor.
        let kept = Path::new(aside).join("cursor.json").exists();
        assert_eq!(kept, round == 0);
        let lease = store.take(&output("going_on")).await.unwrap();
        assert_eq!(lease.loaded().cursor, None);
    }
    let text = call(root.path(), "reset --output broken", true).unwrap();
    let rows: Value = serde_json::from_str(&text).unwrap();
    let aside = rows[0]["moved_to"].as_str().unwrap();
    assert_eq!(
        fs::read_to_string(Path::new(aside).join("cursor.json")).unwrap(),
        "{"
    );
    assert!(!call(root.path(), "list", false).unwrap().contains("broken"));
}

#[tokio::test]
async fn what_is_held_is_not_reset() {
    let root = bed().await;
    let store = FileStore::new(root.path());
    let mut lease = store.take(&output("going_on")).await.unwrap();
    for line in ["reset --output going_on", "reset --all --yes"] {
        let failure = call(root.path(), line, false).unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointConflict);
        let us = format!("process {}", std::process::id());
        assert!(failure.message().contains(&us), "{failure}");
    }
    let text = call(root.path(), "list", false).unwrap();
    assert_eq!(
        line(&text, "going_on")[8..10],
        ["process", &std::process::id().to_string()]
    );
    // All or none: the others are where they were.
    assert_eq!(line(&text, "done")[7], "yes");
    lease.save(&checkpoint(2, 42)).await.unwrap();
    drop(lease);
    let text = call(root.path(), "reset --all --yes", false).unwrap();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert_eq!(
        call(root.path(), "list", false).unwrap(),
        "no checkpoints\n"
    );
}

#[test]
fn a_root_must_be_named() {
    for line in [
        "checkpoints list --checkpoint-root a --platform-run-id b",
        "checkpoints list --postgres-dsn-file a --postgres-dsn-env B",
        "checkpoints reset --checkpoint-root a --yes",
        "checkpoints reset --checkpoint-root a --all --output b",
    ] {
        Program::try_parse_from(line.split_whitespace()).unwrap_err();
    }
    let line = "checkpoints list --platform-run-id platform_20260101T000000Z";
    let program = Program::try_parse_from(line.split_whitespace()).unwrap();
    let Command::List { store } = &program.args.command else {
        panic!("{program:?}");
    };
    assert_eq!(
        store.open().unwrap().name(),
        "runs/fraud-platform/platform_20260101T000000Z/wsp/checkpoints"
    );
    for line in [
        "checkpoints list",
        "checkpoints migrate",
        "checkpoints list --checkpoint-root a --postgres-dsn-env B",
    ] {
        let program = Program::try_parse_from(line.split_whitespace()).unwrap();
        let failure = run(&program.args, false, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.exit_code(), ExitCode::Usage, "{failure}");
        assert!(
            failure.message().contains("--postgres-dsn-file"),
            "{failure}"
        );
    }
}
