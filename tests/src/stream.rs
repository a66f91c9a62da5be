//! A stream that a test starts, stops and starts again: a world, a gate's address, and one folder
//! for all that its runs write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

pub use crate::inside::until;
use crate::{Finished, PLATFORM_RUN_ID, Program, run};

/// Long enough for anything that a test waits for, on a slow machine, too.
pub const LONG: Duration = Duration::from_secs(120);

/// Writes a sample world, with more arguments such as `--days`.
pub fn sample(out: &Path, rows: u64, more: &[&str]) {
    let (out, rows) = (out.display().to_string(), rows.to_string());
    run(["sample", "--out", &out, "--rows", &rows, "--raw", "none"])
        .args(more)
        .finish()
        .expect(0);
}

/// One stream, not paced unless it is told to be. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stream {
    dir: PathBuf,
    world: PathBuf,
    spec: Value,
    args: Vec<String>,
}

impl Stream {
    /// The stream of a world to a gate, whose runs write below `dir`.
    pub fn new(dir: &Path, world: &Path, url: &str) -> Stream {
        Stream {
            dir: dir.to_owned(),
            world: world.to_owned(),
            spec: json!({
                "require": {"manifest": true, "seal": true, "gates": "Digest"},
                "gate": {"url": url},
                "producer": {
                    "id": "svc:world_stream_producer",
                    "allowlist": {"builtIn": "producer_allowlist.txt"},
                },
                "defaults": {"speedup": 0},
                "runsRoot": dir.join("runs").display().to_string(),
            }),
            args: Vec::new(),
        }
    }

    /// Sets a field of the profile, such as `gate.unavailableFor`.
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Stream {
        let mut at = &mut self.spec;
        for name in field.split('.') {
            at = &mut at[name];
        }
        *at = value.into();
        self
    }

    /// More arguments of `run`.
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Stream {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The command line.
    pub fn command(&self) -> Program {
        std::fs::create_dir_all(&self.dir).expect("a folder can be made");
        let profile = self.dir.join("profile.yaml");
        let document = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "test"},
            "spec": self.spec,
        });
        // Another stream of this folder may be reading it.
        let aside = tempfile::NamedTempFile::new_in(&self.dir).expect("a file can be made");
        std::fs::write(aside.path(), document.to_string()).expect("a profile can be written");
        aside.persist(&profile).expect("a profile can be replaced");
        run(["run", "--json", "--profile"])
            .args([profile.display().to_string()])
            .args(["--engine-run-root"])
            .args([self.world.display().to_string()])
            .args(["--platform-run-id", PLATFORM_RUN_ID])
            .args(&self.args)
    }

    /// Runs it to its end, which must be this exit code.
    #[track_caller]
    pub fn finish(&self, code: i32) -> Finished {
        self.command().start().finish_within(LONG).expect(code)
    }

    /// The folder of the platform run.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("runs").join(PLATFORM_RUN_ID)
    }
}

/// The receipt of an output in a summary.
#[track_caller]
pub fn receipt<'a>(summary: &'a Value, output: &str) -> &'a Value {
    receipts(summary)
        .iter()
        .find(|receipt| receipt["output_id"] == output)
        .unwrap_or_else(|| panic!("no receipt of {output}: {summary:#}"))
}

/// The receipts in a summary.
#[track_caller]
pub fn receipts(summary: &Value) -> &[Value] {
    summary["outputs"]
        .as_array()
        .unwrap_or_else(|| panic!("no receipts: {summary:#}"))
}

/// Fails unless each receipt adds up, is complete, and counts as many rows as the output has.
#[track_caller]
pub fn assert_complete(summary: &Value, rows: impl Fn(&str) -> u64) {
    assert!(!receipts(summary).is_empty());
    for receipt in receipts(summary) {
        assert_eq!(receipt["outcome"], "complete", "{receipt:#}");
        let count = |field: &str| receipt[field].as_u64().expect("a count");
        let sum = count("admitted") + count("duplicate") + count("quarantined");
        assert_eq!(count("rows"), sum, "{receipt:#}");
        let output = receipt["output_id"].as_str().expect("an output");
        assert_eq!(count("rows"), rows(output), "{receipt:#}");
    }
}

/// A case by its name.
pub type Case<'a> = (String, Box<dyn FnOnce() + Send + 'a>);

/// Runs cases that mostly wait side by side, and fails with the names of those that failed.
#[track_caller]
pub fn side_by_side(cases: Vec<Case>) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .into_iter()
            .map(|(name, case)| {
                let label = name.clone();
                let timed = move || {
                    let began = std::time::Instant::now();
                    case();
                    println!("{label}: {:.1?}", began.elapsed());
                };
                (name, scope.spawn(timed))
            })
            .collect();
        running
            .into_iter()
            .filter_map(|(name, case)| case.join().is_err().then_some(name))
            .collect()
    });
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}
