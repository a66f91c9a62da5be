//! A replay from a plan to its end: verify, take the checkpoints, start the outputs, conduct.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;
use worldstream_crds::Reason;

use super::board::{Board, LaneGauge};
use super::conductor::{Conductor, Conducts};
use super::ending::{Finish, finish};
use super::lane::LaneRules;
use super::output::{self, LaneJob, OutputJob};
use super::start::take;
use crate::audit::{Event, Records, SessionLog, StreamedWorld};
use crate::checkpoint::{self, Checkpoint, CheckpointStore};
use crate::clock::{Change, ClockReader, Settings, clock_channel};
use crate::failure::{Failure, Result};
use crate::gate::GateClient;
use crate::plan::{Lane, StreamPlan};
use crate::stop::Stop;
use crate::time::EventTime;
use crate::view;
use crate::world::{Role, VerifiedWorld};

pub use super::ending::ReplayEnd;
pub use super::start::{checkpoint_key, resume_at, scenario_run_id};

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
        let world = crate::world::verify(&plan.world).await?;
        let store = checkpoint::open(&plan.checkpoint.store)?;
        Self::of(plan, world, store.as_ref()).await
    }

    /// [`Replay::prepare`] with the records of the run at a place that was opened: where the plan's
    /// `run_dir` is reached otherwise than its world.
    pub async fn prepare_in(plan: StreamPlan, records: Records) -> Result<Replay> {
        let world = crate::world::verify(&plan.world).await?;
        let store = checkpoint::open(&plan.checkpoint.store)?;
        Self::within(plan, world, store.as_ref(), records).await
    }

    /// A replay of a world that was verified, with the checkpoints of a store: takes them all.
    pub async fn of(
        plan: StreamPlan,
        world: VerifiedWorld,
        store: &dyn CheckpointStore,
    ) -> Result<Replay> {
        let records = Records::open(&plan.run_dir, &plan.world.s3)?;
        Self::within(plan, world, store, records).await
    }

    async fn within(
        plan: StreamPlan,
        world: VerifiedWorld,
        store: &dyn CheckpointStore,
        records: Records,
    ) -> Result<Replay> {
        let started_at = EventTime::wall_now();
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
                    store,
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

    /// The client of each output's gate, for its counts.
    pub fn clients(&self) -> impl Iterator<Item = (&str, GateClient)> {
        self.outputs
            .iter()
            .map(|(output_id, _, client)| (output_id.as_str(), client.clone()))
    }

    /// The checkpoint that each lane goes on from, in the order of the board.
    pub fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        let lanes = self.outputs.iter().flat_map(|(_, lanes, _)| lanes);
        lanes.map(|lane| lane.lease.loaded())
    }

    /// Streams to the end, to the first failure that ends it, or until it is asked to stop.
    /// Receipts are written in any case.
    pub async fn run(mut self) -> ReplayEnd {
        let pace = &self.plan.pace;
        let settings = Settings {
            speedup: pace.speedup,
            paused: false,
            overload: pace.overload,
            max_lag: pace.max_lag,
            // Everybody reads the same memory: nobody has to be told ahead of time.
            lead: std::time::Duration::ZERO,
        };
        let (_, none) = mpsc::unbounded_channel();
        let changes = std::mem::replace(&mut self.changes, none);
        self.run_by(Conducts::Here { settings, changes }).await
    }

    /// [`Replay::run`] by a clock that may be decided about elsewhere.
    pub async fn run_by(self, conducts: Conducts) -> ReplayEnd {
        let Replay {
            plan,
            world,
            scenario_run_id,
            board,
            outputs,
            records,
            session,
            remote,
            changes: _,
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
            on_output_failure: plan.pace.on_output_failure,
            clock,
            news,
            stop: remote.stop.clone(),
        };
        let start = Event::stream_start(&streamed, &world.pack_key, &plan.world.producer_id);
        let ended = conductor.conduct(conducts, || session.append(&start)).await;
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
            stop: remote.stop.clone(),
        })
        .await
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
