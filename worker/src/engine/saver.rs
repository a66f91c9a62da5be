//! Saves a lane's cursor behind the stream: sending does not wait for a save unless the bound of
//! unsaved events is reached, and the cursor counts as saved only when the store says so.

use std::time::{Duration, Instant};

use tracing::{debug, warn};
use worldstream_crds::ExitCode;

use super::lane::Lane;
use crate::audit::{Event, SessionLog};
use crate::checkpoint::{Checkpoint, Lease};
use crate::failure::Result;
use crate::plan::CheckpointPlan;

/// The pause after a save that failed, doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Once we were asked to stop, a save is not tried for longer than this.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(5);

/// Runs until the lane is closed and everything is saved, or a save has failed for good, which
/// ends the lane.
pub async fn run(
    lane: &Lane,
    mut lease: Box<dyn Lease>,
    plan: &CheckpointPlan,
    session: &SessionLog,
) {
    let mut interval = tokio::time::interval(plan.flush_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let in_time = tokio::select! {
            () = lane.save.notified() => None,
            _ = interval.tick() => lane.snap(),
        };
        let (mut waiting, closed) = lane.unsaved();
        waiting.extend(in_time);
        if let Some(newest) = waiting.back() {
            if let Err(failure) = save(lane, lease.as_mut(), plan, &newest.checkpoint).await {
                lane.fail(failure);
                return;
            }
            lane.saved(&newest.checkpoint);
        }
        for snapshot in &waiting {
            let (Some(reason), Some(cursor)) = (snapshot.reason, &snapshot.checkpoint.cursor)
            else {
                continue;
            };
            let event = Event::checkpoint_saved(&lane.key, cursor, reason);
            if let Err(failure) = session.append(&event) {
                warn!(%failure, "the session log lacks a saved checkpoint");
            }
        }
        if closed {
            return;
        }
    }
}

async fn save(
    lane: &Lane,
    lease: &mut dyn Lease,
    plan: &CheckpointPlan,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let began = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let failure = match lease.save(checkpoint).await {
            Ok(()) => {
                debug!(
                    output = lane.key.output_id,
                    micros = began.elapsed().as_micros() as u64,
                    "saved"
                );
                return Ok(());
            }
            Err(failure) => failure,
        };
        let patience = match lane.gauge.stop.is_set() {
            true => plan.unavailable_for.min(PATIENCE_AT_STOP),
            false => plan.unavailable_for,
        };
        if failure.exit_code() == ExitCode::Fenced {
            return Err(failure);
        }
        if began.elapsed() + pause > patience {
            return Err(failure.exits(ExitCode::Unavailable));
        }
        warn!(output = lane.key.output_id, %failure, "the cursor could not be saved, trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lane.gauge.stop.wait(), if !lane.gauge.stop.is_set() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
