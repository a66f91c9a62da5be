//! A worker: one output and lane of a stream, from its StreamCheckpoint to its receipt. The engine
//! streams; here it is told the clock, and what it shows is told on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::info;
use worldstream_crds::{ExitCode, Reason};

use super::access::{Access, StreamRef};
use super::last::{Last, release};
use super::metrics::{self, Sources};
use super::preflight::{checkpoint_name, patiently};
use super::record::{Pod, Record};
use super::reporter::{self, Reporter};
use super::watch::{Following, follow_clock};
use super::watched::{self, Saves, Watched};
use super::{planned, serve};
use crate::checkpoint::kubernetes::cursor_status;
use crate::checkpoint::{self, CheckpointStore, KubernetesStore};
use crate::engine::replay::ReplayEnd;
use crate::engine::{Conducts, Elsewhere, Phase, Replay};
use crate::failure::{Failure, Result};
use crate::plan::{CheckpointStorePlan, StreamPlan};
use crate::stop::Stop;

/// How long another holder of the checkpoint is given to let go.
const HOLDER_PATIENCE: Duration = Duration::from_secs(30);
/// How long an IG may be away where the plan does not say.
const GATE_PATIENCE: Duration = Duration::from_secs(3_600);

/// Who and where a worker is.
#[derive(Clone, Debug)]
pub struct Task {
    /// The stream.
    pub stream: StreamRef,
    /// The output.
    pub output: String,
    /// The lane.
    pub lane: u32,
    /// The pod.
    pub pod: Pod,
    /// Where metrics are served.
    pub listen: SocketAddr,
}

/// Streams one output and lane to its end, or until `stop` is set. Gives the exit code of a
/// process that did not fail: `Done`, or `Interrupted`.
///
/// Errors: what ended it, with its reason code and exit code. It is in the StreamCheckpoint, too,
/// if that could be written.
pub async fn run(mut plan: StreamPlan, task: Task, stop: Stop) -> Result<ExitCode> {
    let patience = plan.checkpoint.unavailable_for;
    let lanes = plan.identity.lanes.count;
    if task.lane >= lanes {
        return Err(Failure::new(Reason::LaneConfigInvalid, task.output.clone())
            .field("the lane's index")
            .found(task.lane.to_string())
            .expected(format!("below {lanes}")));
    }
    plan.identity.lanes.only = Some(task.lane);
    let retry = &mut plan.gate.retry;
    retry.unavailable_for = retry.unavailable_for.or(Some(GATE_PATIENCE));
    let listener = serve::listen(task.listen).await?;
    let access = Access::new(&task.stream.namespace).await?;
    let name = checkpoint_name(&task.stream, &plan, &task.output, task.lane);
    let taking = patiently(patience, "the StreamCheckpoint", async || {
        Record::take(&access, &name, task.pod.clone(), HOLDER_PATIENCE).await
    });
    let record = tokio::select! {
        record = taking => record?,
        () = stop.wait() => return Ok(ExitCode::Interrupted),
    };
    info!(
        checkpoint = name,
        epoch = record.epoch(),
        pod = task.pod.name,
        "the checkpoint is taken"
    );
    let started = tokio::select! {
        started = start(&plan, &task, &record) => started,
        () = stop.wait() => {
            release(&record, &Last::stopped(), None, patience, &stop).await?;
            return Ok(ExitCode::Interrupted);
        }
    };
    let (replay, saves) = match started {
        Ok(started) => started,
        Err(failure) => {
            release(&record, &Last::failed(&failure), None, patience, &stop).await?;
            return Err(failure);
        }
    };
    let seen = saves.clone();
    let end = stream(
        replay, seen, &plan, &task, &record, &access, listener, &stop,
    )
    .await;
    let exit = end.exit;
    // In a store of its own the cursor is only told here; in this one it is what was saved.
    let saved = match plan.checkpoint.store {
        CheckpointStorePlan::Kubernetes {} => None,
        _ => watched::look(&saves).saved.clone(),
    };
    let cursor = saved
        .and_then(|saved| saved.cursor)
        .map(|it| cursor_status(&it));
    release(&record, &Last::of(&end), cursor, patience, &stop).await?;
    match end.failure {
        Some(failure) => Err(failure.exits(exit)),
        None => Ok(exit),
    }
}

/// Everything before the first event can be waited for: the output's part of the world, compared
/// with what preflight found, and the cursor.
async fn start(
    plan: &StreamPlan,
    task: &Task,
    record: &Record,
) -> Result<(Replay, Arc<Mutex<Saves>>)> {
    let patience = plan.checkpoint.unavailable_for;
    let Some(output_plan) = record.status().await.plan else {
        return Err(Failure::new(Reason::StreamFailed, record.object())
            .field("status.plan")
            .found("nothing")
            .expected("what preflight writes"));
    };
    let mut plan = plan.clone();
    plan.world.scenario = Some(output_plan.scenario.clone());
    let world = patiently(patience, "the world", async || {
        crate::world::verify_output(&plan.world, &task.output).await
    })
    .await?;
    for output in &world.outputs {
        planned::compare(&output_plan, &world, &output.view)?;
    }
    let store: Arc<dyn CheckpointStore> = match &plan.checkpoint.store {
        CheckpointStorePlan::Kubernetes {} => Arc::new(KubernetesStore::of(record.clone())),
        other => checkpoint::open(other)?,
    };
    let store = Watched::new(store);
    let saves = store.saves();
    let replay = patiently(patience, "the checkpoint store", async || {
        Replay::of(plan.clone(), world.clone(), &store).await
    })
    .await?;
    Ok((replay, saves))
}

/// Runs the engine by the StreamClock, and reports beside it.
#[allow(clippy::too_many_arguments)]
async fn stream(
    replay: Replay,
    saves: Arc<Mutex<Saves>>,
    plan: &StreamPlan,
    task: &Task,
    record: &Record,
    access: &Access,
    listener: tokio::net::TcpListener,
    stop: &Stop,
) -> ReplayEnd {
    let (board, clock, remote) = (replay.board(), replay.clock(), replay.remote());
    let (revisions, told) = mpsc::unbounded_channel();
    let (phase, phases) = watch::channel(Phase::Priming);
    let overshoot = Arc::new(Mutex::new(None));
    let (shown, away) = (record.clone(), saves.clone());
    let sources = replay.clients().next().map(|(_, gate)| {
        Arc::new(Sources {
            board: board.clone(),
            clock: clock.clone(),
            gate,
            access: access.clone(),
            store_away: Arc::new(move || {
                let saves = watched::look(&away);
                saves.away.as_ref().map(|(since, _)| *since)
            }),
            shown: Arc::new(move || shown.written().map(|(_, snapshot)| snapshot)),
        })
    });
    let scrape = move || sources.as_ref().map_or(String::new(), metrics::scrape);
    let serving = serve::serve(listener, Arc::new(scrape));
    let watching = follow_clock(Following {
        access: access.clone(),
        name: task.stream.name.clone(),
        board: board.clone(),
        clock: clock.clone(),
        revisions,
        overshoot: overshoot.clone(),
    });
    let reporting = Reporter::new(reporter::Sources {
        record: record.clone(),
        access: access.clone(),
        board,
        clock,
        phases,
        saves,
        kubernetes: plan.checkpoint.store == CheckpointStorePlan::Kubernetes {},
        max_lag: plan.pace.max_lag,
        overshoot,
    })
    .run();
    let stopping = async {
        stop.wait().await;
        remote.stop();
        std::future::pending::<()>().await
    };
    let running = replay.run_by(Conducts::Elsewhere(Elsewhere {
        revisions: told,
        phase,
    }));
    tokio::pin!(serving, watching, reporting, stopping, running);
    tokio::select! {
        end = &mut running => end,
        // These never end.
        () = serving => running.await,
        () = watching => running.await,
        () = reporting => running.await,
        () = stopping => running.await,
    }
}
