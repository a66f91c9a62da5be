//! A worker: one output and lane of a stream, from its StreamCheckpoint to its receipt. The engine
//! streams; here it is told the clock, and what it shows is told on.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use worldstream_crds::{
    Counts, CursorStatus, ExitCode, LaneReceipt, Overshoot, Reason, StreamClock, WorkerState,
};

use super::access::{Access, StreamRef};
use super::follow::{self, Follower, Sent};
use super::metrics::{self, Sources};
use super::preflight::{checkpoint_name, patiently};
use super::record::{Pod, Record};
use super::report::{self, Doing, Snapshot, SpeedMeter};
use super::watched::{self, Saves, Watched};
use super::{planned, serve};
use crate::audit::OutputReceipt;
use crate::checkpoint::kubernetes::cursor_status;
use crate::checkpoint::{self, CheckpointStore, KubernetesStore};
use crate::clock::{ClockReader, Mono, Monotonic, Motion, Revision, WallOffset};
use crate::engine::replay::ReplayEnd;
use crate::engine::{Board, Conducts, Elsewhere, LaneGauge, Phase, Replay};
use crate::failure::{Failure, Result};
use crate::plan::{CheckpointStorePlan, StreamPlan};
use crate::report::figures;
use crate::stop::Stop;
use crate::time::EventTime;

/// How often the board is looked at when nobody asks for it.
const LOOK: Duration = Duration::from_millis(100);
/// After how long a gate that takes nothing is worth a word.
const AWAY: u64 = 3;
/// A watch of the clock is renewed this often: a connection that is silently gone is noticed then.
const WATCH_SECONDS: u32 = 30;
/// Between two attempts to watch the clock.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
/// How long another holder of the checkpoint is given to let go.
const HOLDER_PATIENCE: Duration = Duration::from_secs(30);
/// How long the last write is tried once we were asked to stop.
const LAST_WRITE_AT_STOP: Duration = Duration::from_secs(10);
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
    info!(checkpoint = name, epoch = record.epoch(), "taken");
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
    let shown = record.clone();
    let sources = replay.clients().next().map(|(_, gate)| {
        Arc::new(Sources {
            board: board.clone(),
            clock: clock.clone(),
            gate,
            access: access.clone(),
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
    let reporting = Reporter {
        record: record.clone(),
        access: access.clone(),
        board,
        clock,
        phases,
        saves,
        kubernetes: plan.checkpoint.store == CheckpointStorePlan::Kubernetes {},
        max_lag: plan.pace.max_lag,
        overshoot,
        position: (None, None),
        speed: SpeedMeter::default(),
        gate_away_since: None,
    }
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

/// What is needed to follow a StreamClock.
struct Following {
    access: Access,
    name: String,
    board: Arc<Board>,
    clock: ClockReader,
    revisions: mpsc::UnboundedSender<Revision>,
    overshoot: Arc<Mutex<Option<Overshoot>>>,
}

/// Watches the stream's clock for ever, and tells the conductor what is new.
async fn follow_clock(following: Following) {
    let Following {
        access,
        name,
        board,
        clock,
        revisions,
        overshoot,
    } = following;
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    let mut events = std::pin::pin!(watcher(access.clocks(), config));
    let (mut follower, mut sent, mut away) = (Follower::default(), Sent::default(), false);
    let mut sampling = tokio::time::interval(LOOK);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = sampling.tick() => {
                sent.note(Mono::now(), total(&board, |lane| lane.sent.load(Relaxed)));
                continue;
            }
        };
        let told: StreamClock = match event {
            Some(Ok(watcher::Event::Apply(told) | watcher::Event::InitApply(told))) => told,
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                if !away {
                    warn!(%error, "the StreamClock cannot be watched: going on by what is known");
                    away = true;
                }
                tokio::time::sleep(WATCH_PAUSE).await;
                continue;
            }
            // A watch never ends by itself.
            None => return,
        };
        away = false;
        let now = Mono::now();
        let offset = WallOffset::between(EventTime::wall_now(), now);
        let learned = match follower.learn(&told.spec, now, offset) {
            Ok(Some(learned)) => learned,
            Ok(None) => continue,
            Err(error) => {
                warn!(
                    clock = name,
                    error, "the StreamClock is not understood: going on as before"
                );
                continue;
            }
        };
        if let (Some(late), Some(newest)) = (learned.late, learned.revisions.last()) {
            let last = board.lanes.iter().filter_map(|lane| lane.issued()).max();
            let sent_now = total(&board, |lane| lane.sent.load(Relaxed));
            let timeline = clock.borrow().clone();
            let shot = follow::overshoot(late, newest, &timeline, now, last, &sent, sent_now);
            warn!(
                revision = shot.revision,
                late = ?late,
                events = shot.events,
                "a revision of the clock was learned late"
            );
            *overshoot.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
        }
        for revision in learned.revisions {
            // A conductor that is gone needs no clock.
            let _ = revisions.send(revision);
        }
    }
}

fn total(board: &Board, count: impl Fn(&LaneGauge) -> u64) -> u64 {
    board.lanes.iter().map(|lane| count(lane)).sum()
}

/// Looks at the board, and writes what is worth it.
struct Reporter {
    record: Record,
    access: Access,
    board: Arc<Board>,
    clock: ClockReader,
    phases: watch::Receiver<Phase>,
    saves: Arc<Mutex<Saves>>,
    /// Saves go into the same object.
    kubernetes: bool,
    max_lag: Duration,
    overshoot: Arc<Mutex<Option<Overshoot>>>,
    /// Next and oldest as they were when nobody had asked to stop.
    position: (Option<EventTime>, Option<EventTime>),
    speed: SpeedMeter,
    gate_away_since: Option<EventTime>,
}

impl Reporter {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unreached = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.board.look.notified() => {}
                changed = self.phases.changed() => if changed.is_err() {
                    // The conductor is at its end, and so are we.
                    return std::future::pending().await;
                },
            }
            let now = Mono::now();
            let snapshot = self.look(now);
            self.record.show(snapshot.clone());
            if !report::is_due(self.record.written().as_ref(), now, &snapshot, self.max_lag) {
                continue;
            }
            match self.write().await {
                Ok(()) => unreached = false,
                Err(failure) if failure.exit_code() == ExitCode::Unavailable => {
                    if !unreached {
                        warn!(%failure, "no report: the API server is away");
                        unreached = true;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(failure) => {
                    warn!(%failure, "the checkpoint is not ours any more");
                    for lane in &self.board.lanes {
                        lane.condemn(failure.clone());
                    }
                    return std::future::pending().await;
                }
            }
        }
    }

    /// With another store the cursor is told here; with this one it goes out with each save.
    async fn write(&self) -> Result<()> {
        let saved = match self.kubernetes {
            true => None,
            false => watched::look(&self.saves).saved.clone(),
        };
        let cursor = saved
            .and_then(|saved| saved.cursor)
            .map(|cursor| cursor_status(&cursor));
        self.record
            .write(|status| {
                if cursor.is_some() {
                    status.cursor = cursor.clone();
                }
            })
            .await
    }

    fn look(&mut self, now: Mono) -> Snapshot {
        let timeline = self.clock.borrow().clone();
        let revision = timeline.at(now);
        let lanes = &self.board.lanes;
        let (_, observed) = self.board.observe();
        let left = |time: EventTime| (time != EventTime::MAX).then_some(time);
        // A lane that stops shows nothing to wait for, and has something left all the same.
        if !lanes.iter().any(|lane| lane.stop.is_set()) {
            self.position = (
                observed.iter().map(|it| it.next).min().and_then(left),
                observed.iter().map(|it| it.oldest).min().and_then(left),
            );
        }
        let (next, oldest) = self.position;
        let lag = lanes
            .iter()
            .filter_map(|lane| figures::lag(lane, &timeline, now))
            .max();
        let away = total(&self.board, |lane| lane.gate_away.load(Relaxed));
        self.gate_away_since = match (away >= AWAY, self.gate_away_since) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) => {
                let micros = EventTime::wall_now().micros() - away as i64 * 1_000_000;
                EventTime::from_micros(micros)
            }
        };
        let store_away = watched::look(&self.saves).away.clone();
        match revision.map(|it| it.motion) {
            Some(Motion::Running(anchor)) => {
                let clock = anchor.event_time(now);
                self.speed
                    .note(now, oldest.map_or(clock, |oldest| oldest.min(clock)));
            }
            Some(Motion::Unpaced) => {
                if let Some(oldest) = oldest {
                    self.speed.note(now, oldest);
                }
            }
            _ => self.speed.reset(),
        }
        let waits_for = match (&self.gate_away_since, &store_away) {
            (Some(_), _) => {
                let failure = Failure::new(Reason::IgPushRetryExhausted, "the gate");
                let found = format!("nothing taken for {away} s");
                Some(failure.found(found).detail("trying on"))
            }
            (None, Some((_, failure))) => Some(failure.clone()),
            (None, None) => None,
        };
        Snapshot {
            state: Doing {
                primed: *self.phases.borrow() >= Phase::Primed,
                finished: observed.is_empty(),
                away: self.gate_away_since.is_some() || store_away.is_some(),
                revision,
                next,
            }
            .state(),
            clock_revision: revision.map_or(0, |revision| revision.number),
            next,
            oldest,
            counts: self.counts(),
            lag,
            late: lag.is_some_and(|lag| lag > self.max_lag),
            achieved_speedup: self.speed.speedup(),
            clock_skew_millis: self.access.skew_millis(),
            gate_away_since: self.gate_away_since,
            store_away_since: store_away.map(|(since, _)| since),
            overshoot: self
                .overshoot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            failure: waits_for.map(|failure| report::failure_status(&failure, false)),
        }
    }

    fn counts(&self) -> Counts {
        let of = |count: fn(&LaneGauge) -> u64| total(&self.board, count);
        let rows = of(|lane| lane.taken.load(Relaxed));
        let (admitted, duplicate, quarantined) = (
            of(|lane| lane.admitted.load(Relaxed)),
            of(|lane| lane.duplicate.load(Relaxed)),
            of(|lane| lane.quarantined.load(Relaxed)),
        );
        Counts {
            rows,
            sent: rows + of(|lane| lane.in_flight.load(Relaxed)),
            admitted,
            duplicate,
            quarantined,
            undecided: rows.saturating_sub(admitted + duplicate + quarantined),
            retried: of(|lane| lane.retried.load(Relaxed)),
        }
    }
}

/// What a worker leaves in its StreamCheckpoint.
struct Last {
    state: WorkerState,
    failure: Option<Failure>,
    receipt: Option<OutputReceipt>,
}

impl Last {
    fn stopped() -> Self {
        Last {
            state: WorkerState::Stopped,
            failure: None,
            receipt: None,
        }
    }

    fn failed(failure: &Failure) -> Self {
        Last {
            state: WorkerState::Failed,
            failure: Some(failure.clone()),
            receipt: None,
        }
    }

    fn of(end: &ReplayEnd) -> Self {
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
async fn release(
    record: &Record,
    last: &Last,
    cursor: Option<CursorStatus>,
    patience: Duration,
    stop: &Stop,
) -> Result<()> {
    let patience = match stop.is_set() {
        true => patience.min(LAST_WRITE_AT_STOP),
        false => patience,
    };
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
    let told = patiently(patience, "the last report", async || {
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
    })
    .await;
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
        complete: receipt.outcome == crate::audit::receipt::Outcome::Complete,
        counts_from: receipt.counts_from.as_ref().map(cursor_status),
    }
}
