//! What a worker leaves in its StreamCheckpoint: the last write.

use std::time::Duration;

use tracing::warn;
use worldstream_crds::{Counts, CursorStatus, ExitCode, LaneReceipt, Reason, WorkerState};

use super::preflight::patiently;
use super::record::Record;
use super::report;
use crate::audit::OutputReceipt;
use crate::audit::receipt::Outcome;
use crate::checkpoint::kubernetes::cursor_status;
use crate::engine::replay::ReplayEnd;
use crate::failure::{Failure, Result};
use crate::stop::{Grace, Stop};

/// How long the last write is tried once we were asked to stop.
const LAST_WRITE_AT_STOP: Duration = Duration::from_secs(10);

/// What a worker leaves in its StreamCheckpoint.
pub struct Last {
    state: WorkerState,
    failure: Option<Failure>,
    receipt: Option<OutputReceipt>,
}

impl Last {
    /// It was asked to stop before it began.
    pub fn stopped() -> Self {
        Last {
            state: WorkerState::Stopped,
            failure: None,
            receipt: None,
        }
    }

    /// It could not begin.
    pub fn failed(failure: &Failure) -> Self {
        Last {
            state: WorkerState::Failed,
            failure: Some(failure.clone()),
            receipt: None,
        }
    }

    /// It streamed.
    pub fn of(end: &ReplayEnd) -> Self {
        let state = match (&end.failure, end.exit) {
            (Some(_), _) => WorkerState::Failed,
            (None, ExitCode::Interrupted) => WorkerState::Stopped,
            (None, _) => WorkerState::Finished,
        };
        Last {
            state,
            failure: end.failure.clone().map(|failure| failure.exits(end.exit)),
            receipt: end.summary.outputs.first().cloned(),
        }
    }
}

/// The last write, tried for as long as it is worth it. A checkpoint that is another's by now is
/// left alone. What could not be told is an error only where somebody waits for the receipt.
pub async fn release(
    record: &Record,
    last: &Last,
    cursor: Option<CursorStatus>,
    patience: Duration,
    stop: &Stop,
) -> Result<()> {
    let fenced = |failure: &Failure| failure.exit_code() == ExitCode::Fenced;
    if last.failure.as_ref().is_some_and(fenced) {
        return Ok(());
    }
    if let Some((_, mut snapshot)) = record.written() {
        snapshot.state = last.state;
        snapshot.failure = None;
        (snapshot.gate_away_since, snapshot.store_away_since) = (None, None);
        snapshot.lag = None;
        if last.state == WorkerState::Finished {
            (snapshot.next, snapshot.oldest) = (None, None);
        }
        if let Some(receipt) = &last.receipt {
            snapshot.counts = Counts {
                rows: receipt.rows,
                sent: receipt.rows,
                admitted: receipt.admitted,
                duplicate: receipt.duplicate,
                quarantined: receipt.quarantined,
                undecided: receipt.undecided,
                retried: receipt.retried,
            };
        }
        record.show(snapshot);
    }
    let failure = last
        .failure
        .as_ref()
        .map(|it| report::failure_status(it, true));
    let receipt = last.receipt.as_ref().map(lane_receipt);
    let telling = patiently(patience, "the last report", async || {
        record
            .release(|status| {
                status.state = Some(last.state);
                status.failure = failure.clone();
                if last.state != WorkerState::Stopped && receipt.is_some() {
                    status.receipt = receipt.clone();
                }
                if cursor.is_some() {
                    status.cursor = cursor.clone();
                }
            })
            .await
    });
    let grace = Grace::new(stop.clone(), LAST_WRITE_AT_STOP);
    let told = grace.of(telling).await.unwrap_or_else(|| {
        Err(Failure::new(Reason::StreamFailed, record.object())
            .field("the last report of a worker that was stopped")
            .found("an API server that is away")
            .expected(format!("it written within {LAST_WRITE_AT_STOP:?}"))
            .exits(ExitCode::Unavailable))
    });
    match told {
        Err(failure) if last.state != WorkerState::Finished => {
            warn!(%failure, "the last report could not be written");
            Ok(())
        }
        told => told,
    }
}

fn lane_receipt(receipt: &OutputReceipt) -> LaneReceipt {
    LaneReceipt {
        rows: receipt.rows,
        admitted: receipt.admitted,
        duplicate: receipt.duplicate,
        quarantined: receipt.quarantined,
        undecided: receipt.undecided,
        digest: receipt.digest.clone(),
        complete: receipt.outcome == Outcome::Complete,
        counts_from: receipt.counts_from.as_ref().map(cursor_status),
    }
}
