//! The end of a replay: receipts, the session's last words, and the exit code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tracing::{info, warn};
use worldstream_crds::{ExitCode, Reason};

use super::board::Board;
use super::conductor::Ended;
use crate::audit::receipt::Lateness;
use crate::audit::{Event, OutputReceipt, Records, RunSummary, SessionLog, StreamedWorld};
use crate::checkpoint::CheckpointKey;
use crate::failure::{Failure, Result};
use crate::plan::StreamPlan;
use crate::stop::{Grace, Stop};
use crate::time::EventTime;
use crate::world::VerifiedWorld;

/// How a replay ended.
#[derive(Debug)]
pub struct ReplayEnd {
    /// The receipts, and why it failed if it did.
    pub summary: RunSummary,
    /// How the process should end.
    pub exit: ExitCode,
    /// The first failure.
    pub failure: Option<Failure>,
    /// How late events were sent, in µs from the moment they were due, a lane each, in the order
    /// of the board.
    pub lateness: Vec<Histogram<u64>>,
}

/// What is known when all lanes have ended.
pub(super) struct Finish {
    pub plan: StreamPlan,
    pub world: VerifiedWorld,
    pub scenario_run_id: String,
    pub board: Arc<Board>,
    pub records: Records,
    pub session: Arc<SessionLog>,
    pub streamed: StreamedWorld,
    pub keys: BTreeMap<usize, CheckpointKey>,
    pub ended: Ended,
    pub failure: Option<Failure>,
    pub before: Vec<u64>,
    pub started_at: EventTime,
    pub stop: Stop,
}

/// How long a stream that was stopped still waits for where its records belong: whoever stops it
/// will not wait as long as for a store that is away in its midst, and the cursors are saved.
const AFTER_A_STOP: Duration = Duration::from_secs(10);

/// How long the last records may take, all together.
struct Patience {
    grace: Grace,
    records: String,
}

impl Patience {
    async fn of<T>(&self, writing: impl Future<Output = Result<T>>) -> Result<T> {
        let given_up = || {
            Err(Failure::new(Reason::StreamFailed, &self.records)
                .field("the last records of a stream that was stopped")
                .found("a store that is away")
                .expected(format!("them written within {AFTER_A_STOP:?}"))
                .exits(ExitCode::Unavailable))
        };
        let written = self.grace.of(writing).await;
        written.unwrap_or_else(given_up)
    }
}

/// Receipts, the session's last words, and the exit code.
pub(super) async fn finish(end: Finish) -> ReplayEnd {
    let stopped = end.stop.is_set();
    let patience = Patience {
        grace: Grace::new(end.stop, AFTER_A_STOP),
        records: end.records.name(""),
    };
    let mut failure = end.ended.failure.or(end.failure);
    let mut lateness: Vec<_> = end
        .board
        .lanes
        .iter()
        // Bounds like the lanes' own, which are constants.
        .map(|_| Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds are constants"))
        .collect();
    let mut lanes = end.ended.lanes;
    lanes.sort_by_key(|lane| lane.index);
    let (mut receipts, mut emitted, mut complete) = (Vec::new(), 0, true);
    complete &= lanes.len() == end.board.lanes.len();
    for lane in lanes {
        let (Some(key), Some(progress)) = (end.keys.get(&lane.index), &lane.checkpoint.progress)
        else {
            continue;
        };
        emitted += progress.rows - end.before[lane.index];
        complete &= progress.complete && lane.failure.is_none();
        let written = OutputReceipt::new(
            key,
            lane.checkpoint.cursor.as_ref(),
            progress,
            lane.failure.as_ref(),
        );
        let kept = match written {
            Ok(receipt) => {
                info!(
                    output = receipt.output_id,
                    lane = receipt.lane.index,
                    rows = receipt.rows,
                    admitted = receipt.admitted,
                    duplicate = receipt.duplicate,
                    quarantined = receipt.quarantined,
                    retried = receipt.retried,
                    "taken by the gate in all"
                );
                let kept = patience.of(receipt.keep(&end.records)).await;
                // Its figures are right, wherever they could be kept.
                receipts.push(receipt);
                kept
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            failure.get_or_insert(error);
        }
        lateness[lane.index] = lane.lateness;
    }
    let mut record = |event: Event| {
        if let Err(error) = end.session.append(&event) {
            warn!(failure = %error, "the session log lacks the end");
            failure.get_or_insert(error);
        }
    };
    if complete && end.ended.started {
        record(Event::world_streamed(&end.streamed, emitted));
    }
    let interrupted = stopped && !complete;
    if !interrupted {
        let outcome = failure.clone();
        let last = Event::stream_complete(&end.world.root, emitted, outcome.as_ref());
        if let Err(error) = end.session.append(&last) {
            failure.get_or_insert(error);
        }
    }
    if let Err(error) = patience.of(end.session.flush()).await {
        warn!(failure = %error, "the session log lacks the end");
        failure.get_or_insert(error);
    }
    let exit = match &failure {
        Some(failure) => failure.exit_code(),
        None if interrupted => ExitCode::Interrupted,
        None => ExitCode::Done,
    };
    info!(
        emitted,
        complete,
        exit = exit.code(),
        "the replay has ended"
    );
    let summary = RunSummary {
        version: crate::audit::receipt::RECEIPT_VERSION,
        platform_run_id: end.plan.identity.platform_run_id.clone(),
        scenario_run_id: end.scenario_run_id,
        engine_run_root: end.world.root.clone(),
        scenario_id: end.world.key.scenario_id.clone(),
        pack_key: end.world.pack_key.clone(),
        exit_code: exit.code(),
        failure: failure.as_ref().map(Into::into),
        started_at_utc: end.started_at,
        ended_at_utc: EventTime::wall_now(),
        outputs: receipts,
        lateness: end
            .board
            .lanes
            .iter()
            .zip(&lateness)
            .filter_map(|(lane, micros)| Lateness::of(&lane.output_id, lane.lane, micros))
            .collect(),
    };
    ReplayEnd {
        summary,
        exit,
        failure,
        lateness,
    }
}
