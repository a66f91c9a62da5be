//! The start of a lane: its checkpoint's key, and where the checkpoint says that it goes on.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use worldstream_crds::{ExitCode, Reason};

use super::board::LaneGauge;
use super::feed::FeedJob;
use super::output::LaneJob;
use super::tries::Tries;
use super::watermark::{Reached, Watermark};
use crate::checkpoint::{Checkpoint, CheckpointKey, CheckpointStore, Lease, Progress};
use crate::envelope::{EnvelopeContext, parse_event_time};
use crate::failure::{Failure, Result};
use crate::gate::random;
use crate::plan::{Lane, StreamPlan};
use crate::view::{self, ResumeAt, ViewFingerprint};
use crate::world::{SelectedOutput, VerifiedWorld};

/// The pause between two tries to take a checkpoint from a store that is away, on average: workers
/// that lost their store together do not all come back at once.
const AGAIN: Duration = Duration::from_millis(500);

/// SR's scenario run id, or the receipt's run id where SR is not involved (contracts section 4).
pub fn scenario_run_id(plan: &StreamPlan, world: &VerifiedWorld) -> String {
    plan.identity
        .scenario_run_id
        .clone()
        .unwrap_or_else(|| world.receipt.run_id.clone())
}

/// The key of an output's checkpoint.
pub fn checkpoint_key(
    plan: &StreamPlan,
    world: &VerifiedWorld,
    scenario_run_id: &str,
    output_id: &str,
    lane: Lane,
) -> CheckpointKey {
    CheckpointKey {
        pack_key: world.pack_key.clone(),
        platform_run_id: plan.identity.platform_run_id.clone(),
        scenario_run_id: scenario_run_id.to_owned(),
        lane,
        attempt: plan.identity.attempt.clone(),
        output_id: output_id.to_owned(),
    }
}

/// Takes a lane's checkpoint and works out where it goes on. Gives the rows that it has behind it,
/// too.
#[allow(clippy::too_many_arguments)]
pub(super) async fn take(
    plan: &StreamPlan,
    world: &VerifiedWorld,
    output: &SelectedOutput,
    fingerprint: &ViewFingerprint,
    store: &dyn CheckpointStore,
    key: CheckpointKey,
    index: usize,
    gauge: Arc<LaneGauge>,
) -> Result<(LaneJob, u64)> {
    let lease = lease(plan, store, &key).await?;
    let resume = resume_at(output, fingerprint, lease.loaded())?;
    let progress = progress(lease.loaded(), fingerprint);
    let rows = progress.rows;
    let (lane, found) = (key.lane.index, resume.and_then(|resume| resume.ts));
    let reached = resume.map(|resume| Reached {
        place: resume.place,
        ts: resume.ts,
    });
    match (&resume, found) {
        (None, _) => info!(output = output.id, lane, "begins with the first event"),
        (Some(_), None) => info!(output = output.id, lane, rows, "goes on at its cursor"),
        (Some(_), Some(ts)) => info!(
            output = output.id,
            lane, rows, "goes on at its cursor, after {ts}"
        ),
    }
    let feed = FeedJob {
        store: world.store.clone(),
        view: output.view.clone(),
        resume,
        readers: plan.identity.lanes.here().len() as u32,
        range: plan.range,
        context: EnvelopeContext {
            output_id: output.id.clone(),
            primary_key: output.primary_key.clone(),
            key: world.key.clone(),
            run_id: world.receipt.run_id.clone(),
            platform_run_id: plan.identity.platform_run_id.clone(),
            scenario_run_id: key.scenario_run_id.clone(),
            producer: plan.world.producer_id.clone(),
            trace_id: world.pack_key.clone(),
            span_id: world.pack.as_ref().map(|pack| pack.engine_release.clone()),
            lane: key.lane,
        },
    };
    let watermark = Watermark::new(progress, reached)?;
    Ok((
        LaneJob {
            index,
            key,
            gauge,
            lease,
            watermark,
            feed,
        },
        rows,
    ))
}

/// Takes a checkpoint; a store that is away is waited for, as it is for saves.
async fn lease(
    plan: &StreamPlan,
    store: &dyn CheckpointStore,
    key: &CheckpointKey,
) -> Result<Box<dyn Lease>> {
    let patience = match store.capabilities().server {
        true => plan.checkpoint.unavailable_for,
        false => Duration::ZERO,
    };
    let mut tries = Tries::new();
    loop {
        let failure = match store.take(key).await {
            Ok(lease) => return Ok(lease),
            Err(failure) => failure,
        };
        let pause = AGAIN.mul_f64(0.5 + random());
        let passes = failure.exit_code() == ExitCode::Unavailable;
        if !passes || !tries.again_within(patience, pause) {
            return Err(match passes && !patience.is_zero() {
                true => tries.told(failure, patience),
                false => failure,
            });
        }
        if tries.is_worth_a_word() {
            warn!(output = key.output_id, %failure, "the checkpoint cannot be taken, trying again");
        }
        tokio::time::sleep(pause).await;
    }
}

/// Where a checkpoint says that its output goes on; refused if the view is not the one that the
/// checkpoint saw.
pub fn resume_at(
    output: &SelectedOutput,
    fingerprint: &ViewFingerprint,
    found: &Checkpoint,
) -> Result<Option<ResumeAt>> {
    if let Some(progress) = &found.progress
        && progress.view != *fingerprint
    {
        return Err(
            Failure::new(Reason::StreamViewChanged, output.view.folder.clone())
                .field("parts (names, sizes, rows, footers)")
                .found(format!(
                    "{} rows, digest {}",
                    fingerprint.rows, fingerprint.digest
                ))
                .expected(format!(
                    "{} rows, digest {}, as when the cursor was saved",
                    progress.view.rows, progress.view.digest
                )),
        );
    }
    let Some(cursor) = &found.cursor else {
        return Ok(None);
    };
    let place = view::place_of(&output.view, &cursor.last_file, cursor.last_row_index)?;
    let ts = match &cursor.last_ts_utc {
        None => None,
        Some(text) => Some(parse_event_time(text).ok_or_else(|| {
            Failure::new(
                Reason::CheckpointUnreadable,
                format!("the cursor of {}", output.id),
            )
            .field("last_ts_utc")
            .found(format!("{text:?}"))
            .expected("a time such as 2026-01-01T00:00:00.000000Z")
        })?),
    };
    Ok(Some(ResumeAt { place, ts }))
}

/// Our figures at the checkpoint; from zero behind a cursor that another producer left.
fn progress(found: &Checkpoint, fingerprint: &ViewFingerprint) -> Progress {
    if let Some(progress) = &found.progress {
        let mut progress = progress.clone();
        // More may have come into the range since.
        progress.complete = false;
        return progress;
    }
    Progress::zero(found.cursor.clone(), fingerprint.clone())
}
