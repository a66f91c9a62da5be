//! Preflight: verifies a world once for all outputs of a stream, and writes the plan of each into
//! its StreamCheckpoints. Nothing is sent unless all of it holds.

use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{info, warn};
use worldstream_crds::names::{self, CheckpointName};
use worldstream_crds::{BuildViews, ExitCode, OutputPlan, Reason, StreamCheckpointStatus};

use super::access::{Access, Refusal, StreamRef};
use super::{missing, planned, record};
use crate::engine::replay::scenario_run_id;
use crate::failure::{Failure, Result};
use crate::plan::{RangePlan, StreamPlan};
use crate::view;
use crate::world::{SelectedOutput, VerifiedWorld};

/// Between two attempts at something that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// The name of a StreamCheckpoint of a plan.
pub fn checkpoint_name(stream: &StreamRef, plan: &StreamPlan, output: &str, lane: u32) -> String {
    names::checkpoint(CheckpointName {
        stream: &stream.name,
        output,
        lane,
        lanes: plan.identity.lanes.count,
        attempt: &plan.identity.attempt,
        platform_run_id: &plan.identity.platform_run_id,
    })
}

/// Does something again as long as it fails with exit code `Unavailable`, for `patience` at most.
pub async fn patiently<T>(
    patience: Duration,
    what: &str,
    mut doing: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match doing().await {
            Err(failure)
                if failure.exit_code() == ExitCode::Unavailable && began.elapsed() < patience =>
            {
                warn!(%failure, "{what}: trying again");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// What preflight found.
#[derive(Debug)]
pub enum Found {
    /// The world is sound, and every output has its plan.
    Planned(Vec<(String, OutputPlan)>),
    /// All else is sound, and these outputs have no view, which the plan lets be built.
    Missing(Vec<String>),
}

/// Verifies and writes. Where views are missing that may be built, it writes which, and no plan:
/// whoever builds them has preflight look again.
///
/// Errors: the first check that fails, with its reason code; nothing is written then.
pub async fn run(plan: &StreamPlan, stream: &StreamRef) -> Result<Found> {
    let patience = plan.checkpoint.unavailable_for;
    let (world, missing) =
        patiently(patience, "the world", async || missing::verify(plan).await).await?;
    for warning in &world.warnings {
        warn!("{warning}");
    }
    let access = Access::new(&stream.namespace).await?;
    if plan.oracle.build_views == BuildViews::IfMissing {
        for output in &world.outputs {
            let name = checkpoint_name(stream, plan, &output.id, 0);
            let is_missing = missing.contains(&output.id);
            patiently(patience, "the API server", async || {
                missing::mark(&access, &name, is_missing).await
            })
            .await?;
        }
    }
    if !missing.is_empty() {
        info!(outputs = ?missing, "views are missing, and are to be built");
        return Ok(Found::Missing(missing));
    }
    let scenario_run_id = scenario_run_id(plan, &world);
    let mut plans = Vec::new();
    for output in &world.outputs {
        let extent = extent(&world, output, plan.range).await?;
        let plan = planned::plan_of(&world, &output.view, &extent, &scenario_run_id);
        info!(
            output = output.id,
            rows = plan.rows,
            files = plan.files.len(),
            "planned"
        );
        plans.push((output.id.clone(), plan));
    }
    for (output, output_plan) in &plans {
        for lane in 0..plan.identity.lanes.count {
            let name = checkpoint_name(stream, plan, output, lane);
            patiently(patience, "the API server", async || {
                write(&access, &name, output_plan).await
            })
            .await?;
        }
    }
    Ok(Found::Planned(plans))
}

async fn extent(
    world: &VerifiedWorld,
    output: &SelectedOutput,
    range: RangePlan,
) -> Result<view::Extent> {
    let (store, plan) = (world.store.clone(), output.view.clone());
    let folder = plan.folder.clone();
    tokio::task::spawn_blocking(move || view::extent(&store, &plan, range))
        .await
        .unwrap_or_else(|error| Err(Failure::new(Reason::StreamFailed, folder).cause(&error)))
}

/// Writes a plan into one StreamCheckpoint, if it is not there already. A cursor that another plan
/// was made for would point into another view: that is refused.
async fn write(access: &Access, name: &str, plan: &OutputPlan) -> Result<()> {
    let about = |refusal: Refusal| refusal.about_checkpoint(name);
    let found = access.checkpoint(name).await.map_err(about)?;
    let status = found.status.unwrap_or_default();
    if status.plan.as_ref() == Some(plan) {
        return Ok(());
    }
    if let (Some(before), true) = (&status.plan, status.cursor.is_some())
        && (before.files != plan.files || before.view_id != plan.view_id)
    {
        return Err(Failure::new(Reason::StreamViewChanged, plan.root.clone())
            .field("the parts of the view")
            .found(format!("{} parts, {} rows", plan.files.len(), plan.rows))
            .expected(format!(
                "{} parts, {} rows, as when the cursor was saved",
                before.files.len(),
                before.rows
            )));
    }
    let value = |plan: &Option<OutputPlan>| serde_json::to_value(plan).unwrap_or_default();
    let next = StreamCheckpointStatus {
        plan: Some(plan.clone()),
        ..StreamCheckpointStatus::default()
    };
    let patch = json!({
        "metadata": {
            "uid": found.metadata.uid,
            "resourceVersion": found.metadata.resource_version,
        },
        "status": { "plan": record::merge_patch(&value(&status.plan), &value(&next.plan)) },
    });
    access.patch_status(name, &patch).await.map_err(about)?;
    Ok(())
}
