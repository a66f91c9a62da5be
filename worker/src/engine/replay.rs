//! A replay from a plan to its end: verify, take the checkpoints, start the outputs, conduct,
//! leave receipts.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tracing::{info, warn};
use worldstream_crds::{ExitCode, Reason};

use super::board::{Board, LaneGauge};
use super::conductor::{Conductor, Ended};
use super::feed::FeedJob;
use super::lane::LaneRules;
use super::output::{self, LaneJob, OutputJob};
use super::watermark::{Reached, Watermark};
use crate::audit::receipt::Lateness;
use crate::audit::session::StreamedWorld;
use crate::audit::{Event, OutputReceipt, Records, RunSummary, SessionLog};
use crate::checkpoint::{self, Checkpoint, CheckpointKey, CheckpointStore, Progress};
use crate::clock::{Change, ClockReader, Settings, clock_channel};
use crate::envelope::{EnvelopeContext, parse_event_time};
use crate::failure::{Failure, Result};
use crate::gate::GateClient;
use crate::plan::{Lane, StreamPlan};
use crate::stop::Stop;
use crate::time::EventTime;
use crate::view::{self, ResumeAt, ViewFingerprint};
use crate::world::{Role, SelectedOutput, VerifiedWorld};

/// What may be asked of a replay while it runs. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    changes: mpsc::UnboundedSender<Change>,
    stop: Stop,
}

impl Remote {
    /// Changes the clock.
    pub fn change(&self, change: Change) {
        // A replay that has ended needs no clock.
        let _ = self.changes.send(change);
    }

    /// Asks everything to stop: nothing new is sent, what is in flight is awaited and saved.
    pub fn stop(&self) {
        self.stop.set();
    }
}

/// How a replay ended.
#[derive(Debug)]
pub struct ReplayEnd {
    /// The receipts, and why it failed if it did.
    pub summary: RunSummary,
    /// How the process should end.
    pub exit: ExitCode,
    /// The first failure.
    pub failure: Option<Failure>,
    /// How late events were sent, in µs from the moment they were due, a lane each, in the order
    /// of the board.
    pub lateness: Vec<Histogram<u64>>,
}

/// A verified replay whose checkpoints are taken.
pub struct Replay {
    plan: StreamPlan,
    world: VerifiedWorld,
    scenario_run_id: String,
    board: Arc<Board>,
    outputs: Vec<(String, Vec<LaneJob>, GateClient)>,
    records: Records,
    session: Arc<SessionLog>,
    remote: Remote,
    changes: mpsc::UnboundedReceiver<Change>,
    clock: tokio::sync::watch::Sender<Arc<crate::clock::Timeline>>,
    reader: ClockReader,
    before: Vec<u64>,
    started_at: EventTime,
}

impl Replay {
    /// Verifies the world and takes all checkpoints: whatever can fail before the first event
    /// fails here.
    pub async fn prepare(plan: StreamPlan) -> Result<Replay> {
        let started_at = EventTime::wall_now();
        let world = crate::world::verify(&plan.world).await?;
        for warning in &world.warnings {
            warn!("{warning}");
        }
        let scenario_run_id = scenario_run_id(&plan, &world);
        // One client an output, so that its counts are the output's own.
        let clients: Vec<GateClient> = world
            .outputs
            .iter()
            .map(|_| GateClient::new(&plan.gate))
            .collect::<Result<_>>()?;
        let store = checkpoint::open(&plan.checkpoint.store);
        let records = Records::open(&plan.run_dir, &plan.world.s3)?;
        let session = Arc::new(SessionLog::on(&records, &plan.identity.platform_run_id)?);
        session.append(&Event::world_selected(&world.root))?;
        session.flush().await?;

        let mut gauges = Vec::new();
        let mut outputs = Vec::new();
        let mut before = Vec::new();
        for (output, client) in world.outputs.iter().zip(clients) {
            let fingerprint = view::fingerprint(&output.view);
            let mut lanes = Vec::new();
            for index in plan.identity.lanes.here() {
                let lane = Lane {
                    count: plan.identity.lanes.count,
                    index,
                };
                let key = checkpoint_key(&plan, &world, &scenario_run_id, &output.id, lane);
                let gauge = Arc::new(LaneGauge::new(&output.id, lane, output.view.rows));
                let job = take(
                    &plan,
                    &world,
                    output,
                    &fingerprint,
                    store.as_ref(),
                    key,
                    gauges.len(),
                    gauge.clone(),
                )
                .await?;
                before.push(job.1);
                lanes.push(job.0);
                gauges.push(gauge);
            }
            outputs.push((output.id.clone(), lanes, client));
        }
        let board = Arc::new(Board {
            lanes: gauges,
            overload: plan.pace.overload,
            max_lag: plan.pace.max_lag,
            look: tokio::sync::Notify::new(),
        });
        let (sender, changes) = mpsc::unbounded_channel();
        let (clock, reader) = clock_channel();
        Ok(Replay {
            plan,
            world,
            scenario_run_id,
            board,
            outputs,
            records,
            session,
            remote: Remote {
                changes: sender,
                stop: Stop::new(),
            },
            changes,
            clock,
            reader,
            before,
            started_at,
        })
    }

    /// The world that was verified.
    pub fn world(&self) -> &VerifiedWorld {
        &self.world
    }

    /// What the lanes show while it runs.
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// The clock, for reports.
    pub fn clock(&self) -> ClockReader {
        self.reader.clone()
    }

    /// What may be asked of it while it runs.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Streams to the end, to the first failure that ends it, or until it is asked to stop.
    /// Receipts are written in any case.
    pub async fn run(self) -> ReplayEnd {
        let Replay {
            plan,
            world,
            scenario_run_id,
            board,
            outputs,
            records,
            session,
            remote,
            changes,
            clock,
            reader,
            before,
            started_at,
        } = self;
        let (news_sender, news) = mpsc::unbounded_channel();
        let mut threads = Vec::new();
        let mut keys = BTreeMap::new();
        let mut failure = None;
        for (output_id, lanes, client) in outputs {
            keys.extend(lanes.iter().map(|lane| (lane.index, lane.key.clone())));
            let lane_share = f64::from(plan.identity.lanes.here().len() as u32)
                / f64::from(plan.identity.lanes.count);
            let started = output::start(OutputJob {
                output_id,
                lanes,
                rules: LaneRules {
                    pace: plan.pace.clone(),
                    checkpoint: plan.checkpoint.clone(),
                    quarantine: plan.gate.quarantine,
                    max_events: plan.range.max_events_per_output,
                    in_flight: usize::from(plan.gate.in_flight).max(1),
                },
                rate_share: lane_share,
                client,
                clock: reader.clone(),
                board: board.clone(),
                session: session.clone(),
                news: news_sender.clone(),
            });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    failure = Some(error);
                    remote.stop();
                    break;
                }
            }
        }
        drop(news_sender);
        let streamed = streamed_world(&world);
        let conductor = Conductor {
            board: board.clone(),
            settings: Settings {
                speedup: plan.pace.speedup,
                paused: false,
                overload: plan.pace.overload,
                max_lag: plan.pace.max_lag,
                // Everybody reads the same memory: nobody has to be told ahead of time.
                lead: std::time::Duration::ZERO,
            },
            on_output_failure: plan.pace.on_output_failure,
            clock,
            news,
            changes,
            stop: remote.stop.clone(),
        };
        let start = Event::stream_start(&streamed, &world.pack_key, &plan.world.producer_id);
        let ended = conductor.conduct(|| session.append(&start)).await;
        for thread in threads {
            if thread.join().is_err() {
                failure.get_or_insert(
                    Failure::new(Reason::StreamFailed, "an output's thread")
                        .detail("it broke; its message is above"),
                );
            }
        }
        finish(Finish {
            plan,
            world,
            scenario_run_id,
            board,
            records,
            session,
            streamed,
            keys,
            ended,
            failure,
            before,
            started_at,
            stopped: remote.stop.is_set(),
        })
        .await
    }
}

struct Finish {
    plan: StreamPlan,
    world: VerifiedWorld,
    scenario_run_id: String,
    board: Arc<Board>,
    records: Records,
    session: Arc<SessionLog>,
    streamed: StreamedWorld,
    keys: BTreeMap<usize, CheckpointKey>,
    ended: Ended,
    failure: Option<Failure>,
    before: Vec<u64>,
    started_at: EventTime,
    stopped: bool,
}

/// Receipts, the session's last words, and the exit code.
async fn finish(end: Finish) -> ReplayEnd {
    let mut failure = end.ended.failure.or(end.failure);
    let mut lateness: Vec<_> = end
        .board
        .lanes
        .iter()
        // Bounds like the lanes' own, which are constants.
        .map(|_| Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds are constants"))
        .collect();
    let mut lanes = end.ended.lanes;
    lanes.sort_by_key(|lane| lane.index);
    let (mut receipts, mut emitted, mut complete) = (Vec::new(), 0, true);
    complete &= lanes.len() == end.board.lanes.len();
    for lane in lanes {
        let (Some(key), Some(progress)) = (end.keys.get(&lane.index), &lane.checkpoint.progress)
        else {
            continue;
        };
        emitted += progress.rows - end.before[lane.index];
        complete &= progress.complete && lane.failure.is_none();
        let written = OutputReceipt::new(
            key,
            lane.checkpoint.cursor.as_ref(),
            progress,
            lane.failure.as_ref(),
        );
        let kept = match written {
            Ok(receipt) => {
                let kept = receipt.keep(&end.records).await;
                // Its figures are right, wherever they could be kept.
                receipts.push(receipt);
                kept
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            failure.get_or_insert(error);
        }
        lateness[lane.index] = lane.lateness;
    }
    let mut record = |event: Event| {
        if let Err(error) = end.session.append(&event) {
            warn!(failure = %error, "the session log lacks the end");
            failure.get_or_insert(error);
        }
    };
    if complete && end.ended.started {
        record(Event::world_streamed(&end.streamed, emitted));
    }
    let interrupted = end.stopped && !complete;
    if !interrupted {
        let outcome = failure.clone();
        let last = Event::stream_complete(&end.world.root, emitted, outcome.as_ref());
        if let Err(error) = end.session.append(&last) {
            failure.get_or_insert(error);
        }
    }
    if let Err(error) = end.session.flush().await {
        warn!(failure = %error, "the session log lacks the end");
        failure.get_or_insert(error);
    }
    let exit = match &failure {
        Some(failure) => failure.exit_code(),
        None if interrupted => ExitCode::Interrupted,
        None => ExitCode::Done,
    };
    info!(
        emitted,
        complete,
        exit = exit.code(),
        "the replay has ended"
    );
    let summary = RunSummary {
        version: crate::audit::receipt::RECEIPT_VERSION,
        platform_run_id: end.plan.identity.platform_run_id.clone(),
        scenario_run_id: end.scenario_run_id,
        engine_run_root: end.world.root.clone(),
        scenario_id: end.world.key.scenario_id.clone(),
        pack_key: end.world.pack_key.clone(),
        exit_code: exit.code(),
        failure: failure.as_ref().map(Into::into),
        started_at_utc: end.started_at,
        ended_at_utc: EventTime::wall_now(),
        outputs: receipts,
        lateness: end
            .board
            .lanes
            .iter()
            .zip(&lateness)
            .filter_map(|(lane, micros)| Lateness::of(&lane.output_id, lane.lane, micros))
            .collect(),
    };
    ReplayEnd {
        summary,
        exit,
        failure,
        lateness,
    }
}

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

fn streamed_world(world: &VerifiedWorld) -> StreamedWorld {
    let of = |role: Role| {
        world
            .outputs
            .iter()
            .filter(|output| output.role == role)
            .map(|output| output.id.clone())
            .collect()
    };
    StreamedWorld {
        root: world.root.clone(),
        scenario_id: world.key.scenario_id.clone(),
        context: of(Role::Context),
        traffic: of(Role::Traffic),
    }
}

/// Takes a lane's checkpoint and works out where it goes on. Gives the rows that it has behind it,
/// too.
#[allow(clippy::too_many_arguments)]
async fn take(
    plan: &StreamPlan,
    world: &VerifiedWorld,
    output: &SelectedOutput,
    fingerprint: &ViewFingerprint,
    store: &dyn CheckpointStore,
    key: CheckpointKey,
    index: usize,
    gauge: Arc<LaneGauge>,
) -> Result<(LaneJob, u64)> {
    let lease = store.take(&key).await?;
    let resume = resume_at(output, fingerprint, lease.loaded())?;
    let progress = progress(lease.loaded(), fingerprint);
    let rows = progress.rows;
    let reached = resume.map(|resume| Reached {
        place: resume.place,
        ts: resume.ts,
    });
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
    Progress {
        counts_from: found.cursor.clone(),
        rows: 0,
        admitted: 0,
        duplicate: 0,
        quarantined: 0,
        undecided: 0,
        retried: 0,
        disordered: 0,
        digest: "0".repeat(64),
        recent_quarantines: Vec::new(),
        view: fingerprint.clone(),
        complete: false,
    }
}
