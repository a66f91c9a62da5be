//! Replays within the test's own process, against a gate in it: for tests that run many, that
//! drive the clock, or that look at what the engine knows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use worldstream::clock::{Mono, Monotonic, Motion, Revision};
use worldstream::devgate::{self, GateConfig, RunningGate};
use worldstream::engine::Replay;
use worldstream::engine::board::Board;
use worldstream::engine::replay::{Remote, ReplayEnd};
use worldstream::failure::Failure;
use worldstream::plan::{RunFlags, SelectionPlan, StreamPlan};

use crate::record::{Arrival, arrivals};
use crate::{PLATFORM_RUN_ID, SCENARIO_RUN_ID};

/// A folder, a gate that records, and a plan to change: profile `local`, no waiting, one request
/// in flight, the ids of the golden envelopes.
pub struct Inside {
    /// Everything is below it.
    pub dir: TempDir,
    /// The gate.
    pub gate: RunningGate,
    /// What is replayed.
    pub plan: StreamPlan,
}

impl Inside {
    /// A replay of the world of this name.
    pub fn new(root: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let gate = gate(dir.path());
        let plan = worldstream::plan::plan(&RunFlags {
            profile: Some("local".into()),
            engine_run_root: Some(root.into()),
            platform_run_id: Some(PLATFORM_RUN_ID.into()),
            scenario_run_id: Some(SCENARIO_RUN_ID.into()),
            gate_url: Some(gate.url()),
            runs_root: Some(dir.path().join("runs")),
            speedup: Some(0.0),
            in_flight: Some(1),
            ..RunFlags::default()
        })
        .expect("a plan of these flags");
        Inside { dir, gate, plan }
    }

    /// Replays exactly these outputs: the last one as traffic, the others as its context.
    pub fn outputs(mut self, outputs: &[&str]) -> Self {
        let (traffic, context) = outputs.split_last().expect("an output");
        self.plan.world.selection = select(context, &[traffic]);
        self
    }

    /// Streams the plan to its end.
    pub fn run(&self) -> ReplayEnd {
        run(self.plan.clone()).expect("the world holds")
    }

    /// Streams the plan beside the test.
    pub fn start(&self) -> Moving {
        Moving::start(self.plan.clone())
    }

    /// What was admitted, a line each, in order of arrival.
    pub fn admitted(&self) -> Vec<String> {
        // The files are complete when this returns.
        self.gate.summary();
        lines(&record_of(self.dir.path()))
    }

    /// Everything that arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.gate.summary();
        arrivals(&journal_of(self.dir.path()))
    }

    /// What arrived of one output, in order.
    pub fn arrivals_of(&self, output: &str) -> Vec<Arrival> {
        let mut all = self.arrivals();
        all.retain(|arrival| arrival.event_type == output);
        all
    }
}

/// A selection without modes.
pub fn select(context: &[&str], traffic: &[&str]) -> SelectionPlan {
    let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    SelectionPlan {
        traffic: owned(traffic),
        context_fraud: owned(context),
        context_baseline: owned(context),
        mode: None,
        outputs: Vec::new(),
    }
}

/// A gate that records into a folder.
pub fn gate(dir: &Path) -> RunningGate {
    devgate::spawn(GateConfig {
        record: Some(record_of(dir)),
        record_all: Some(journal_of(dir)),
        ..GateConfig::default()
    })
    .expect("a gate")
}

fn record_of(dir: &Path) -> PathBuf {
    dir.join("admitted.jsonl")
}

fn journal_of(dir: &Path) -> PathBuf {
    dir.join("arrivals.jsonl")
}

/// The lines of a text file; none if there is no such file.
pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The lines of a text file that is being written: those that are ended.
pub fn whole_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}

/// Streams a plan to its end.
pub fn run(plan: StreamPlan) -> Result<ReplayEnd, Failure> {
    runtime().block_on(async { Ok(Replay::prepare(plan).await?.run().await) })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A replay that runs on a thread of its own.
pub struct Moving {
    /// What may be asked of it.
    pub remote: Remote,
    /// What its lanes show.
    pub board: Arc<Board>,
    revisions: Arc<Mutex<Vec<Revision>>>,
    thread: JoinHandle<ReplayEnd>,
}

impl Moving {
    /// Starts it; its checks hold when this returns.
    pub fn start(plan: StreamPlan) -> Moving {
        let revisions = Arc::new(Mutex::new(Vec::new()));
        let seen = revisions.clone();
        let (sender, handles) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let replay = Replay::prepare(plan).await.expect("the world holds");
                let mut clock = replay.clock();
                sender
                    .send((replay.remote(), replay.board()))
                    .expect("the test waits for it");
                let watching = async {
                    while clock.changed().await.is_ok() {
                        let newest = clock.borrow_and_update().newest().copied();
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.extend(newest);
                    }
                    std::future::pending::<()>().await
                };
                tokio::select! {
                    end = replay.run() => end,
                    () = watching => unreachable!("it waits for ever"),
                }
            })
        });
        let (remote, board) = handles.recv().expect("it starts");
        Moving {
            remote,
            board,
            revisions,
            thread,
        }
    }

    /// The revisions of the clock so far, as far as they were seen: two that follow one another
    /// at once may be seen as the later one.
    pub fn revisions(&self) -> Vec<Revision> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a revision that is like this.
    pub fn revision(&self, what: &str, like: impl Fn(&Motion) -> bool) -> Revision {
        let mut found = None;
        until(what, || {
            found = self.revisions().into_iter().find(|it| like(&it.motion));
            found.is_some()
        });
        found.expect("waited for it")
    }

    /// Waits for the last revision's number to pass this one, and gives it.
    pub fn revision_after(&self, number: u64) -> Revision {
        let mut found = None;
        until("the next revision", || {
            found = self.revisions().into_iter().find(|it| it.number > number);
            found.is_some()
        });
        found.expect("waited for it")
    }

    /// Waits for its end.
    pub fn end(self) -> ReplayEnd {
        self.thread.join().expect("a replay does not panic")
    }
}

/// Waits for a condition; fails the test when a minute has passed without it.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the monotonic clock has passed a moment.
pub fn until_passed(moment: Mono) {
    until("a moment on the clock", || Mono::now() > moment);
}
