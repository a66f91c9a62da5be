//! Streams the worlds of messages in this process.

use std::path::PathBuf;

use tracing::info;
use worldstream_crds::{ExitCode, Reason};

use super::claim::Claim;
use super::launch::{Ended, Launch, Launcher};
use super::place::Place;
use super::record::Status;
use crate::engine::Replay;
use crate::engine::replay::Remote;
use crate::failure::{Failure, Result};
use crate::plan::ready::{ReadyPlan, ReadyRun};
use crate::plan::{Document, Documents, FileSystem, Overrides, PlanError, StreamPlan, resolve};
use crate::stop::Stop;

/// Runs a replay for each message.
pub struct Here {
    /// The profiles.
    pub documents: Documents,
    /// How the bus is followed.
    pub plan: ReadyPlan,
    /// What flags say over the documents.
    pub flags: Overrides,
    /// The object store, which runs are recorded in.
    pub place: Place,
    /// The end: replays stop then, everything saved.
    pub stop: Stop,
}

/// A replay that nobody waits for any longer stops.
struct StopWhenDropped(Remote);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Here {
    /// The plan of a message's stream. Everything that a run writes lies below the store's run
    /// prefix, where its records are.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn stream(&self, run: ReadyRun<'_>) -> Result<StreamPlan, PlanError> {
        let spec = self.plan.world_stream(run);
        let documents = Documents {
            stream: Some(Document::stored("the stream of READY", "ready", spec)),
            profiles: self.documents.profiles.clone(),
            ..Documents::default()
        };
        let store = &self.plan.store;
        let remote = store.starts_with(crate::store::s3::SCHEME);
        let runs_root = match remote {
            true => PathBuf::from(store.trim_end_matches('/')),
            false => PathBuf::from(store).join("fraud-platform"),
        };
        let flags = Overrides {
            runs_root: Some(runs_root),
            ..self.flags.clone()
        };
        resolve(&documents, &flags, &FileSystem)
    }

    fn interrupted(&self, launch: &Launch) -> Failure {
        Failure::new(Reason::StreamFailed, &launch.message_id)
            .detail("asked to stop; everything that was sent is saved")
            .exits(ExitCode::Interrupted)
    }
}

impl Launcher for Here {
    async fn run(&self, launch: &Launch, claim: &Claim) -> Result<Ended> {
        let failed = |failure| Ended {
            emitted: 0,
            failure: Some(failure),
            deleted: false,
        };
        let plan = self.stream(ReadyRun {
            platform_run_id: &launch.platform_run_id,
            scenario_run_id: &launch.scenario_run_id,
            engine_run_root: &launch.engine_run_root,
            scenario: &launch.scenario_id,
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(PlanError::Failure(failure)) => return Ok(failed(failure)),
            Err(PlanError::Usage(error)) => {
                let failure = Failure::new(Reason::StreamFailed, &launch.message_id);
                return Ok(failed(failure.cause(&error)));
            }
        };
        let run = self.place.run(&launch.platform_run_id);
        let replay = tokio::select! {
            replay = Replay::prepare_in(plan, run) => replay,
            () = self.stop.wait() => return Err(self.interrupted(launch)),
        };
        let replay = match replay {
            Ok(replay) => replay,
            // Somebody else streams this output: that ends, and says nothing about the message.
            Err(failure) if failure.exit_code() == ExitCode::Fenced => return Err(failure),
            Err(failure) => return Ok(failed(failure)),
        };
        let rows =
            |it: &crate::checkpoint::Checkpoint| it.progress.as_ref().map_or(0, |it| it.rows);
        let before: u64 = replay.checkpoints().map(rows).sum();
        let from = claim.memory().counted_from.unwrap_or(before);
        claim
            .remember(|memory| memory.counted_from = Some(from))
            .await?;
        info!(message_id = launch.message_id, before, "a stream begins");
        let remote = replay.remote();
        let _running = StopWhenDropped(replay.remote());
        let running = replay.run();
        tokio::pin!(running);
        let end = tokio::select! {
            end = &mut running => end,
            () = self.stop.wait() => {
                remote.stop();
                running.await
            }
        };
        match end.exit {
            ExitCode::Interrupted => return Err(self.interrupted(launch)),
            ExitCode::Fenced => {
                let lost = || Failure::new(Reason::CheckpointConflict, &launch.message_id);
                return Err(end.failure.unwrap_or_else(lost));
            }
            _ => {}
        }
        let taken: u64 = end.summary.outputs.iter().map(|receipt| receipt.rows).sum();
        Ok(Ended {
            emitted: taken.saturating_sub(from),
            failure: end.failure,
            deleted: false,
        })
    }

    async fn recorded(&self, _: &str, _: Status) -> Result<()> {
        Ok(())
    }
}
