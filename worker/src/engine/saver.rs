//! Saves a lane's cursor behind the stream, on a thread of its own, so that nothing that waits for
//! a disk runs where events are sent: sending does not wait for a save unless the bound of unsaved
//! events is reached, and the cursor counts as saved only when the store says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, warn};
use worldstream_crds::{ExitCode, Reason};

use super::board::LaneGauge;
use super::lane::{Lane, Snapshot};
use super::tries::Tries;
use crate::audit::{Event, SessionLog};
use crate::checkpoint::{CheckpointKey, Lease};
use crate::failure::{Failure, Result};
use crate::plan::CheckpointPlan;

/// The pause after a save that failed, doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Once we were asked to stop, a save is not tried for longer than this.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(5);

/// What the thread works with.
pub struct SaverJob {
    /// Whose checkpoint it is.
    pub key: CheckpointKey,
    /// Where a request to stop is seen.
    pub gauge: Arc<LaneGauge>,
    /// The checkpoint.
    pub lease: Box<dyn Lease>,
    /// How patient it is.
    pub plan: CheckpointPlan,
    /// Where saves are recorded.
    pub session: Arc<SessionLog>,
}

/// The thread's other end: one snapshot is handed over at a time.
pub struct Saver {
    snapshots: mpsc::UnboundedSender<Snapshot>,
    words: mpsc::UnboundedReceiver<Word>,
}

/// What the thread says.
enum Word {
    /// How a snapshot's save ended.
    Saved(Result<()>),
    /// The store takes another save.
    Ready,
}

/// Starts the thread. It ends after the last snapshot, after a save that failed for good, or when
/// the other end is dropped.
pub fn start(job: SaverJob) -> Result<Saver> {
    let object = job.key.output_id.clone();
    let failed = |error: std::io::Error| {
        Failure::new(Reason::StreamFailed, object.clone())
            .detail(format!("no thread to save its cursor: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (snapshots, incoming) = mpsc::unbounded_channel();
    let (outgoing, words) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("saver".to_owned())
        .spawn(move || runtime.block_on(job.run(incoming, outgoing)))
        .map_err(failed)?;
    Ok(Saver { snapshots, words })
}

/// Hands a lane's snapshots over until it is closed and everything is saved, or a save has failed
/// for good, which ends the lane.
pub async fn follow(lane: &Lane, mut saver: Saver, flush_interval: Duration) {
    let mut interval = tokio::time::interval(flush_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ready = false;
    loop {
        tokio::select! {
            () = lane.save.notified() => {}
            _ = interval.tick() => {}
        }
        // A store may want no more than so many saves; the last one waits for nothing.
        while !ready && !lane.is_closed() {
            tokio::select! {
                word = saver.words.recv() => match word {
                    Some(Word::Ready) => ready = true,
                    Some(Word::Saved(_)) | None => return lane.fail(broke(lane)),
                },
                () = lane.save.notified() => {}
            }
        }
        let Some(snapshot) = lane.snap() else {
            continue;
        };
        let rows = snapshot.checkpoint.progress.as_ref().map(|it| it.rows);
        let last = snapshot.last;
        // A thread that is gone does not answer.
        let _ = saver.snapshots.send(snapshot);
        ready = false;
        loop {
            match saver.words.recv().await {
                // Said before it had this snapshot.
                Some(Word::Ready) => {}
                Some(Word::Saved(Ok(()))) => break lane.saved(rows),
                Some(Word::Saved(Err(failure))) => return lane.fail(failure),
                None => return lane.fail(broke(lane)),
            }
        }
        if last {
            return;
        }
    }
}

fn broke(lane: &Lane) -> Failure {
    Failure::new(Reason::StreamFailed, lane.key.output_id.clone())
        .detail("the thread that saves its cursor broke")
}

impl SaverJob {
    async fn run(
        mut self,
        mut snapshots: mpsc::UnboundedReceiver<Snapshot>,
        words: mpsc::UnboundedSender<Word>,
    ) {
        let mut ready = false;
        loop {
            let snapshot = tokio::select! {
                biased;
                snapshot = snapshots.recv() => match snapshot {
                    Some(snapshot) => snapshot,
                    None => return,
                },
                () = self.lease.ready(), if !ready => {
                    ready = true;
                    let _ = words.send(Word::Ready);
                    continue;
                }
            };
            ready = false;
            let result = self.save(&snapshot).await;
            if result.is_err() || snapshot.last {
                if result.is_ok() {
                    self.record(&snapshot);
                }
                // Whoever hears of the end finds the checkpoint free.
                self.lease.release().await;
                // Whoever is gone does not wait for it.
                let _ = words.send(Word::Saved(result));
                return;
            }
            let _ = words.send(Word::Saved(result));
            self.record(&snapshot);
        }
    }

    fn record(&self, snapshot: &Snapshot) {
        for (reason, cursor) in &snapshot.flushes {
            let event = Event::checkpoint_saved(&self.key, cursor, *reason);
            if let Err(failure) = self.session.append(&event) {
                warn!(%failure, "the session log lacks a saved checkpoint");
            }
        }
    }

    async fn save(&mut self, snapshot: &Snapshot) -> Result<()> {
        let began = Instant::now();
        let mut tries = Tries::new();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let failure = match self.attempt(snapshot).await {
                Ok(()) => {
                    debug!(
                        output = self.key.output_id,
                        micros = began.elapsed().as_micros() as u64,
                        "saved"
                    );
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let patience = match self.gauge.stop.is_set() {
                true => self.plan.unavailable_for.min(PATIENCE_AT_STOP),
                false => self.plan.unavailable_for,
            };
            if failure.exit_code() == ExitCode::Fenced {
                return Err(failure);
            }
            if !tries.again_within(patience, pause) {
                let failure = tries.told(failure, patience);
                return Err(failure.exits(ExitCode::Unavailable));
            }
            if tries.is_worth_a_word() {
                warn!(output = self.key.output_id, %failure, "the cursor could not be saved, trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.gauge.stop.wait(), if !self.gauge.stop.is_set() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.lease.save(&snapshot.checkpoint).await?;
        if snapshot.last {
            self.lease.settle().await?;
        }
        Ok(())
    }
}
