//! Plans, from flags, documents and files.

mod broken;
mod files;
mod resolved;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use worldstream_crds::{ExitCode, GateCheck, OnOutputFailure, OnQuarantine, Overload, TrafficMode};

use super::policy_files::output_ids;
use super::*;
use crate::time::EventTime;

#[derive(Parser, Debug)]
struct Command {
    #[command(flatten)]
    flags: RunFlags,
}

fn parse(args: &[&str]) -> Result<RunFlags, clap::Error> {
    let args = std::iter::once("run").chain(args.iter().copied());
    Command::try_parse_from(args).map(|command| command.flags)
}

/// A stream that resolves, with more lines in its spec.
fn stream(lines: &[&str]) -> String {
    let mut text = "apiVersion: worldstream.io/v1alpha1\nkind: WorldStream\nmetadata:\n  name: a\nspec:\n  profile: mine\n  engineRunRoot: w\n  platformRunId: platform_20260101T000000Z\n".to_owned();
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// A profile that resolves, with more lines in its spec.
fn profile(lines: &[&str]) -> String {
    let mut text = "apiVersion: worldstream.io/v1alpha1\nkind: StreamProfile\nmetadata:\n  name: mine\nspec:\n  producer: {id: p}\n".to_owned();
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

const GATE: &str = "gate: {url: \"http://ig\"}";

/// One wrong input: files (a name that begins with `_` is written and not given with `-f`),
/// arguments, the code or `usage`, and what the message must hold. `$DIR` is the files' folder.
struct Case {
    files: Vec<(&'static str, String)>,
    args: Vec<&'static str>,
    code: &'static str,
    parts: Vec<&'static str>,
}

/// A stream with these lines, and a sound profile.
fn bad_stream(lines: &[&str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", stream(lines)), ("p.yaml", profile(&[GATE]))],
        args: vec![],
        code,
        parts: parts.to_vec(),
    }
}

/// A profile with these lines, and a sound stream.
fn bad_profile(lines: &[&str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", stream(&[])), ("p.yaml", profile(lines))],
        args: vec![],
        code,
        parts: parts.to_vec(),
    }
}

/// Sound documents, and these arguments.
fn bad_args(args: &[&'static str], code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        args: args.to_vec(),
        ..bad_stream(&[], code, parts)
    }
}

/// One file as it is.
fn bad_file(text: &str, code: &'static str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![("s.yaml", text.to_owned())],
        args: vec!["--profile", "local"],
        code,
        parts: parts.to_vec(),
    }
}

/// A profile whose traffic list is this file.
fn bad_list(text: &str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![
            ("s.yaml", stream(&[])),
            (
                "p.yaml",
                profile(&[GATE, "trafficOutputs: {fraud: {file: $DIR/_list.yaml}}"]),
            ),
            ("_list.yaml", text.to_owned()),
        ],
        args: vec![],
        code: "usage",
        parts: parts.to_vec(),
    }
}

/// A rate plan file.
fn bad_rate_plan(text: &str, parts: &[&'static str]) -> Case {
    Case {
        files: vec![
            ("s.yaml", stream(&[])),
            ("p.yaml", profile(&[GATE])),
            ("_rate.yaml", text.to_owned()),
        ],
        args: vec!["--rate-plan", "$DIR/_rate.yaml"],
        code: "usage",
        parts: parts.to_vec(),
    }
}

/// What the input comes to: the plan, or code and message.
fn run(case: &Case) -> Result<StreamPlan, (String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let mut args: Vec<String> = Vec::new();
    for (name, text) in &case.files {
        let file = folder.path().join(name);
        std::fs::write(&file, text.replace("$DIR", dir)).unwrap();
        if !name.starts_with('_') {
            args.extend(["-f".to_owned(), file.to_str().unwrap().to_owned()]);
        }
    }
    args.extend(case.args.iter().map(|arg| arg.replace("$DIR", dir)));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let flags = parse(&args).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        ("usage".to_owned(), error.to_string())
    })?;
    plan(&flags).map_err(|error| {
        let code = match &error {
            PlanError::Usage(_) => {
                assert_eq!(error.exit_code(), ExitCode::Usage);
                "usage".to_owned()
            }
            PlanError::Failure(failure) => {
                assert_eq!(error.exit_code(), ExitCode::FailClosed);
                failure.reason().to_string()
            }
        };
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text:?} is more than a line");
        (code, text.replace(&format!("{dir}/"), ""))
    })
}

/// The plan of flags alone.
fn plain(args: &[&str]) -> StreamPlan {
    let mut all = vec![
        "--engine-run-root",
        "w",
        "--platform-run-id",
        "platform_20260101T000000Z",
    ];
    all.extend(args);
    plan(&parse(&all).unwrap()).unwrap()
}

fn config(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config")).join(path)
}
