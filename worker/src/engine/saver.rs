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
    let hold = lane.hold.clone();
    loop {
        tokio::select! {
            () = lane.save.notified() => {}
            _ = interval.tick() => {}
            () = hold.changed() => match hold.lost() {
                Some(failure) => return lane.fail(failure),
                None => {
                    lane.renewed();
                    continue;
                }
            },
        }
        // A store may want no more than so many saves; the last one waits for nothing.
        while !lane.is_closed() {
            tokio::select! {
                () = lease.ready() => break,
                () = lane.save.notified() => {}
            }
        }
        let Some(snapshot) = lane.snap() else {
            continue;
        };
        if let Err(failure) = save(lane, lease.as_mut(), plan, &snapshot.checkpoint).await {
            lane.fail(failure);
            return;
        }
        lane.saved(&snapshot.checkpoint);
        for (reason, cursor) in &snapshot.flushes {
            let event = Event::checkpoint_saved(&lane.key, cursor, *reason);
            if let Err(failure) = session.append(&event) {
                warn!(%failure, "the session log lacks a saved checkpoint");
            }
        }
        if snapshot.last {
            return lease.release().await;
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
