//! Builds the view of an output before its stream begins, and shows on the StreamCheckpoint how far
//! it is. How a view is built is [`crate::view::build`]'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};
use worldstream_crds::{FailureStatus, Reason, ViewState, ViewStatus};

use super::access::{Access, StreamRef};
use super::missing::show;
use super::preflight::{checkpoint_name, patiently};
use crate::failure::{Failure, Result};
use crate::oracle::OpenWorld;
use crate::plan::{StreamPlan, WorldPlan};
use crate::view::build::{self, BuildOptions, Built, Progress, Standing};
use crate::world::catalogue::CatalogueOutput;
use crate::world::root::Place;

/// How often it is shown how far a build is.
const SHOWN: Duration = Duration::from_secs(2);
/// Where rows are spilled of a world that is in S3, and whose profile names no volume: what a pod
/// may write to.
const SCRATCH: &str = "/var/run/worldstream/views";
/// How long the last word of a build that failed is tried to be written.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Builds the view of an output with what the plan gives for that, or sees that it is there. While
/// the world's store is away it waits as long as a stream would.
///
/// # Errors
/// As [`build::build`] and [`OpenWorld::open`].
pub async fn run(
    plan: &StreamPlan,
    stream: &StreamRef,
    output_id: &str,
    options: &BuildOptions,
) -> Result<Built> {
    let patience = plan.checkpoint.unavailable_for;
    let shown = Shown {
        access: Access::new(&stream.namespace).await?,
        name: checkpoint_name(stream, plan, output_id, 0),
    };
    let writes = writing(plan);
    let result = patiently(patience, "the world", async || {
        let world = OpenWorld::open(writes.clone()).await?;
        let output = world.outputs(&[output_id.to_owned()])?.remove(0);
        work(world, output, options.clone(), &shown).await
    })
    .await;
    match &result {
        Ok(built) => {
            info!(output = output_id, rows = built.rows, "built");
            let view = finished(built);
            patiently(patience, "the API server", async || {
                show(&shown.access, &shown.name, &view).await
            })
            .await?;
        }
        Err(failure) => shown.last_word(failure).await,
    }
    result
}

/// The world of a plan, by who may write to it.
fn writing(plan: &StreamPlan) -> WorldPlan {
    let mut world = plan.world.clone();
    if let Some(credentials) = &plan.oracle.credentials {
        world.s3.credentials = Some(credentials.clone());
        world.s3.anonymous = false;
    }
    world
}

/// Builds on a thread of its own, and shows meanwhile how far it is.
async fn work(
    world: OpenWorld,
    output: CatalogueOutput,
    mut options: BuildOptions,
    shown: &Shown,
) -> Result<Built> {
    if matches!(world.place, Place::Remote(_)) {
        options.spill = options.spill.or_else(|| Some(SCRATCH.into()));
    }
    let progress = Arc::new(Progress::default());
    let (done, mut ended) = oneshot::channel();
    let counted = progress.clone();
    let begun = std::thread::Builder::new()
        .name("build".to_owned())
        .spawn(move || {
            let waiting = |folder: &std::path::Path| {
                info!(folder = %folder.display(), "another build of this view is at work; waiting");
            };
            let built = build::build(&world.target(), &output, &options, &counted, &waiting);
            // Nobody waits where the process is told to end.
            let _ = done.send(built);
        });
    begun.map_err(|error| Failure::new(Reason::StreamFailed, "a thread").cause(&error))?;
    loop {
        shown.standing(&progress.standing()).await;
        tokio::select! {
            built = &mut ended => {
                return built.unwrap_or_else(|_| {
                    let failure = Failure::new(Reason::StreamFailed, "the build");
                    Err(failure.found("a thread that ended without a word"))
                });
            }
            () = tokio::time::sleep(SHOWN) => {}
        }
    }
}

/// Where it is shown how far a build is.
struct Shown {
    access: Access,
    name: String,
}

impl Shown {
    /// That it cannot be shown is no reason to stop.
    async fn standing(&self, standing: &Standing) {
        let view = ViewStatus {
            state: ViewState::Building,
            step: Some(standing.phase.word().to_owned()),
            percent: (standing.share() * 100.0) as u32,
            rows: standing.rows,
            of: standing.of,
            resumed_rows: 0,
            failure: None,
        };
        if let Err(failure) = show(&self.access, &self.name, &view).await {
            warn!(%failure, "how far the build is could not be shown");
        }
    }

    async fn last_word(&self, failure: &Failure) {
        let view = ViewStatus {
            state: ViewState::Failed,
            failure: Some(FailureStatus {
                reason: failure.reason().as_str().to_owned(),
                message: failure.message(),
                exit_code: Some(failure.exit_code().code().into()),
            }),
            ..ViewStatus::default()
        };
        // It is in the termination message, too.
        let told = show(&self.access, &self.name, &view);
        if !matches!(tokio::time::timeout(LAST_WORD, told).await, Ok(Ok(()))) {
            warn!("that the build failed could not be shown");
        }
    }
}

fn finished(built: &Built) -> ViewStatus {
    ViewStatus {
        state: ViewState::Built,
        step: None,
        percent: 100,
        rows: built.rows,
        of: built.rows,
        resumed_rows: built.resumed_rows,
        failure: None,
    }
}
