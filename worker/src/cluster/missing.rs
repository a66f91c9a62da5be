//! Views that are missing: found by preflight, told in the StreamCheckpoint of their output's first
//! lane, where their builds show how far they are.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use worldstream_crds::{BuildViews, ExitCode, Reason, StreamCheckpoint, ViewState, ViewStatus};

use super::access::Access;
use super::record::merge_patch;
use crate::failure::{Failure, Result};
use crate::oracle::OpenWorld;
use crate::plan::StreamPlan;
use crate::view::{self, ViewPlan, build};
use crate::world::VerifiedWorld;
use crate::world::verify::verify_with;

/// Verifies a world, and finds the outputs that have no view and could have one, where the plan
/// lets it be built; their views in the world are empty.
///
/// # Errors
/// The first check that fails. For a view that can be built neither, what keeps it from being.
pub(super) async fn verify(plan: &StreamPlan) -> Result<(VerifiedWorld, Vec<String>)> {
    if plan.oracle.build_views == BuildViews::Never {
        return Ok((crate::world::verify(&plan.world).await?, Vec::new()));
    }
    let absent: Mutex<Vec<(String, Failure)>> = Mutex::default();
    let world =
        verify_with(
            &plan.world,
            async |store, scenario_id, output_id| match view::plan_view(
                store,
                scenario_id,
                output_id,
            )
            .await
            {
                Err(failure) if is_absent(&failure) => {
                    let mut absent = absent.lock().unwrap_or_else(PoisonError::into_inner);
                    absent.push((output_id.to_owned(), failure));
                    Ok(ViewPlan {
                        output_id: output_id.to_owned(),
                        view_id: String::new(),
                        folder: String::new(),
                        rows: 0,
                        parts: Vec::new(),
                    })
                }
                found => found,
            },
        )
        .await?;
    let absent = absent.into_inner().unwrap_or_else(PoisonError::into_inner);
    if absent.is_empty() {
        return Ok((world, Vec::new()));
    }
    let open = OpenWorld::open(plan.world.clone()).await?;
    let mut missing = Vec::new();
    for (id, failure) in absent {
        let output = open.outputs(std::slice::from_ref(&id))?.remove(0);
        match build::is_missing(&open.target(), &output).await {
            Ok(true) => missing.push(id),
            // A build would leave it as it is.
            Ok(false) => return Err(failure),
            Err(other) if other.reason() != Reason::StreamFailed => return Err(other),
            Err(other) if other.exit_code() == ExitCode::Unavailable => return Err(other),
            Err(other) => {
                return Err(failure.detail(format!("it cannot be built: {}", other.message())));
            }
        }
    }
    Ok((world, missing))
}

fn is_absent(failure: &Failure) -> bool {
    failure.reason() == Reason::StreamViewMissing && failure.exit_code() != ExitCode::Unavailable
}

/// Writes down whether an output's view is missing, where that is news: one that never was has no
/// word about it.
pub(super) async fn mark(access: &Access, name: &str, is_missing: bool) -> Result<()> {
    let found = read(access, name).await?;
    let before = found.status.clone().unwrap_or_default().view;
    let state = match (is_missing, &before) {
        (true, _) => ViewState::Missing,
        (false, None) => return Ok(()),
        (false, Some(_)) => ViewState::Built,
    };
    if before.as_ref().is_some_and(|before| before.state == state) {
        return Ok(());
    }
    let view = ViewStatus {
        state,
        ..ViewStatus::default()
    };
    write(access, name, &found, &view).await
}

/// Shows how far a build is.
pub(super) async fn show(access: &Access, name: &str, view: &ViewStatus) -> Result<()> {
    let found = read(access, name).await?;
    write(access, name, &found, view).await
}

async fn read(access: &Access, name: &str) -> Result<StreamCheckpoint> {
    let found = access.checkpoint(name).await;
    found.map_err(|refusal| refusal.about_checkpoint(name))
}

async fn write(
    access: &Access,
    name: &str,
    found: &StreamCheckpoint,
    view: &ViewStatus,
) -> Result<()> {
    let before = found.status.as_ref().and_then(|it| it.view.as_ref());
    let value = |view: &ViewStatus| serde_json::to_value(view).unwrap_or(Value::Null);
    let patch = match before {
        Some(before) if before == view => return Ok(()),
        Some(before) => merge_patch(&value(before), &value(view)),
        None => value(view),
    };
    let patch = json!({
        "metadata": {
            "uid": found.metadata.uid,
            "resourceVersion": found.metadata.resource_version,
        },
        "status": { "view": patch },
    });
    let written = access.patch_status(name, &patch).await;
    written
        .map(drop)
        .map_err(|refusal| refusal.about_checkpoint(name))
}
