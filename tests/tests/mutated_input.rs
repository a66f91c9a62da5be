//! Every file of a small world with bytes of it changed at random (the same each time): a replay
//! of it never panics, and either fails with a reason code, or streams as if nothing had happened.
//! Only in Parquet parts, which carry no checksum, may a changed byte be a changed value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use worldstream::devgate::{GateConfig, RunningGate, spawn};
use worldstream::engine::Replay;
use worldstream::engine::replay::ReplayEnd;
use worldstream::failure::Failure;
use worldstream::plan::{RunFlags, StreamPlan};
use worldstream::sample::{self, SampleSpec};
use worldstream_crds::ExitCode;

const MUTATIONS: usize = 400;
const WORKERS: usize = 4;
const ROOT: &str = "s3://oracle-store/runs/sample";

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_changed_byte_anywhere_is_a_failure_or_nothing() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template");
    let spec = SampleSpec {
        run_root: Some(ROOT.to_owned()),
        raw: false,
        ..SampleSpec::new(&template, 7, 24, 1)
    };
    sample::write(&spec, &|_| {}).unwrap();
    let files = files(&template);
    // Bundles of gates are many files of one kind: two of three changes are elsewhere.
    let (bundles, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
        file.components()
            .any(|part| part.as_os_str() == "validation")
    });

    let mut bench = Bench::new(&dir.path().join("clean"));
    copy(&template, &bench.world());
    let end = bench.replay(0).unwrap();
    assert_eq!(end.exit, ExitCode::Done, "{:?}", end.failure);
    let clean = bench.events(0);
    assert_eq!(clean.len(), 24 + 3 * 12);

    let next = AtomicUsize::new(1);
    let codes: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let mut bench = Bench::new(&dir.path().join(worker.to_string()));
            let (next, codes, wrong) = (&next, &codes, &wrong);
            let (bundles, others) = (&bundles, &others);
            let (clean, template) = (&clean, &template);
            scope.spawn(move || {
                while let Some(number) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|it| *it <= MUTATIONS)
                {
                    let world = bench.world();
                    let _ = fs::remove_dir_all(&world);
                    copy(template, &world);
                    let of = if number % 3 == 0 { bundles } else { others };
                    let file = &of[number / 3 % of.len()];
                    let (path, what) = (world.join(file), change(&world.join(file), number as u64));
                    let end = bench.replay(number);
                    let checked = check(&mut bench, number, file, end, clean);
                    match checked {
                        Ok(code) => *codes.lock().unwrap().entry(code).or_default() += 1,
                        Err(text) => wrong.lock().unwrap().push(format!(
                            "{number}, {}, {what}: {text}",
                            path.strip_prefix(&world).unwrap().display()
                        )),
                    }
                }
            });
        }
    });
    println!("{MUTATIONS} mutations: {:#?}", codes.into_inner().unwrap());
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        PANICS.load(Ordering::Relaxed),
        0,
        "something panicked, see above"
    );
}

/// What became of a changed world: a code, or a stream; else what is wrong with it.
fn check(
    bench: &mut Bench,
    number: usize,
    file: &Path,
    end: Result<ReplayEnd, Failure>,
    clean: &BTreeMap<String, Value>,
) -> Result<String, String> {
    let events = bench.events(number);
    let end = match end {
        Ok(end) => end,
        Err(failure) if events.is_empty() => return named(&failure),
        Err(failure) => return Err(format!("{} events before {failure}", events.len())),
    };
    let part = file.extension().is_some_and(|it| it == "parquet");
    if !part
        && let Some((id, _)) = events
            .iter()
            .find(|(id, event)| clean.get(*id) != Some(event))
    {
        return Err(format!("event {id} is another"));
    }
    match (&end.failure, end.exit) {
        (Some(failure), exit) if exit == failure.exit_code() => named(failure),
        (None, ExitCode::Done) => {
            let rows: u64 = end.summary.outputs.iter().map(|output| output.rows).sum();
            match rows == clean.len() as u64 {
                true => Ok("streamed".into()),
                false => Err(format!("{rows} rows, not {}", clean.len())),
            }
        }
        other => Err(format!("it ended with {other:?}")),
    }
}

/// The code of a failure that says something, on one line.
fn named(failure: &Failure) -> Result<String, String> {
    let message = failure.message();
    if message.len() < 20 || message.chars().any(char::is_control) {
        return Err(format!("the message is {message:?}"));
    }
    Ok(failure.reason().to_string())
}

/// Changes a file: bytes here and there, its length, or a stretch of it. Says how.
fn change(path: &Path, seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    let what = match random.random_range(0..8) {
        0 => {
            bytes.truncate(random.random_range(0..length));
            format!("cut to {} of {length} bytes", bytes.len())
        }
        1 => {
            let at = random.random_range(0..=length);
            bytes.insert(at, random.random());
            format!("a byte more at {at}")
        }
        2 => {
            let start = random.random_range(0..length);
            let end = (start + random.random_range(1..64)).min(length);
            bytes[start..end].fill(0);
            format!("zeros from {start} to {end}")
        }
        3 => {
            let start = random.random_range(0..length);
            let end = (start + random.random_range(1..64)).min(length);
            random.fill_bytes(&mut bytes[start..end]);
            format!("noise from {start} to {end}")
        }
        4 if length > 64 => {
            // Footers and the ends of documents.
            let at = length - random.random_range(1..64);
            bytes[at] ^= 1u8 << random.random_range(0..8u32);
            format!("a bit at {at}")
        }
        _ => {
            let places: Vec<usize> = (0..random.random_range(1..6))
                .map(|_| random.random_range(0..length))
                .collect();
            for at in &places {
                bytes[*at] = random.random();
            }
            format!("bytes at {places:?}")
        }
    };
    fs::write(path, bytes).unwrap();
    what
}

/// A gate, and a place for one world after the other.
struct Bench {
    dir: PathBuf,
    gate: RunningGate,
    record: PathBuf,
    /// Bytes of the record that were read.
    seen: usize,
}

impl Bench {
    fn new(dir: &Path) -> Bench {
        fs::create_dir_all(dir).unwrap();
        let record = dir.join("admitted.jsonl");
        let gate = spawn(GateConfig {
            record: Some(record.clone()),
            ..GateConfig::default()
        })
        .unwrap();
        Bench {
            dir: dir.to_owned(),
            gate,
            record,
            seen: 0,
        }
    }

    fn world(&self) -> PathBuf {
        self.dir.join("world")
    }

    fn run_id(number: usize) -> String {
        format!("platform_20260101T{number:06}Z")
    }

    fn plan(&self, number: usize) -> StreamPlan {
        let profile = self.dir.join("profile.yaml");
        let spec = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "mutated"},
            "spec": {
                "world": {"mounts": [{"from": ROOT, "to": self.world()}]},
                "producer": {
                    "id": "svc:world_stream_producer",
                    "allowlist": {"builtIn": "producer_allowlist.txt"},
                },
                // All gates' files are looked at.
                "require": {"upstream": true},
                "runsRoot": self.dir.join("runs"),
            },
        });
        fs::write(&profile, format!("{spec:#}\n")).unwrap();
        worldstream::plan::plan(&RunFlags {
            profile: Some(profile.display().to_string()),
            engine_run_root: Some(ROOT.to_owned()),
            scenario: Some(sample::DEFAULT_SCENARIO.to_owned()),
            platform_run_id: Some(Self::run_id(number)),
            gate_url: Some(self.gate.url()),
            speedup: Some(0.0),
            ..RunFlags::default()
        })
        .unwrap()
    }

    fn replay(&self, number: usize) -> Result<ReplayEnd, Failure> {
        let plan = self.plan(number);
        worldstream::cli::run::blocking(async move {
            let replay = Replay::prepare(plan).await?;
            Ok(replay.run().await)
        })?
    }

    /// What was admitted of a run, by event id: event time and payload.
    fn events(&mut self, number: usize) -> BTreeMap<String, Value> {
        // Asking makes the file complete.
        self.gate.summary();
        let text = fs::read_to_string(&self.record).unwrap();
        let new = &text[self.seen..];
        self.seen = text.len();
        let run = Self::run_id(number);
        new.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .inspect(|event| assert_eq!(event["platform_run_id"], run.as_str()))
            .map(|event| {
                let id = event["event_id"].as_str().unwrap().to_owned();
                (id, json!([event["ts_utc"], event["payload"]]))
            })
            .collect()
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.metadata().unwrap().len() > 0 {
                found.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), target).unwrap();
    }
}
