//! One output: a thread with a runtime of its own that sends all lanes of it that this process
//! has. Outputs never share a connection, nor wait for each other but by the clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use worldstream_crds::Reason;

use super::board::{Board, LaneGauge};
use super::feed::{self, FeedJob};
use super::lane::{Lane, LaneRules};
use super::saver::{self, SaverJob};
use super::watermark::Watermark;
use crate::audit::SessionLog;
use crate::checkpoint::{Checkpoint, CheckpointKey, Lease};
use crate::clock::{ClockReader, OutputRate};
use crate::failure::{Failure, Result};
use crate::gate::{Connection, GateClient, PushEnd};
use crate::sched;

/// How often the gate is looked at, and after how long it is worth a word.
const LOOK_AT_GATE: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_secs(3);

/// A lane that is ready to run.
pub struct LaneJob {
    /// Its place on the board.
    pub index: usize,
    /// Who it is.
    pub key: CheckpointKey,
    /// What it shows.
    pub gauge: Arc<LaneGauge>,
    /// Its checkpoint, which this process holds.
    pub lease: Box<dyn Lease>,
    /// Where it goes on.
    pub watermark: Watermark,
    /// What it reads.
    pub feed: FeedJob,
}

/// What an output's thread needs.
pub struct OutputJob {
    /// The output.
    pub output_id: String,
    /// Its lanes.
    pub lanes: Vec<LaneJob>,
    /// How they are sent.
    pub rules: LaneRules,
    /// The part of the output's rates that these lanes may use together.
    pub rate_share: f64,
    /// Where they are sent.
    pub client: GateClient,
    /// When.
    pub clock: ClockReader,
    /// Where they show it.
    pub board: Arc<Board>,
    /// Where saves are recorded.
    pub session: Arc<SessionLog>,
    /// Where news goes.
    pub news: mpsc::UnboundedSender<News>,
}

/// What a lane says to the main thread.
pub enum News {
    /// It has its first event (or has none to send), or why it cannot begin.
    Primed(Result<()>),
    /// It is at its end, and everything that could be saved is.
    Ended(Box<LaneEnd>),
}

/// How a lane ended.
pub struct LaneEnd {
    /// The lane's place on the board.
    pub index: usize,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// How late events were sent, measured from the moment they were due, in µs.
    pub lateness: Histogram<u64>,
}

/// Starts the thread. It ends after the `Ended` of its last lane.
pub fn start(job: OutputJob) -> Result<std::thread::JoinHandle<()>> {
    let output_id = job.output_id.clone();
    let failed = |detail: String| {
        Failure::new(Reason::StreamFailed, output_id.clone()).detail(format!("no thread: {detail}"))
    };
    let (ready, begun) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            sched::short_turns();
            // A runtime for tasks of one thread is made on it.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            // Whoever started us waits for this word.
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(run(job));
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })
        .map_err(|error| failed(error.to_string()))?;
    match begun.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn run(job: OutputJob) {
    let OutputJob {
        output_id,
        lanes,
        rules,
        rate_share,
        client,
        clock,
        board,
        session,
        news,
    } = job;
    let rate = Rc::new(RefCell::new(OutputRate::new(&rules.pace, rate_share)));
    let gauges = lanes.iter().map(|lane| lane.gauge.clone()).collect();
    let watching = spawn_local(watch_gate(client.clone(), output_id, gauges));
    let mut tasks = Vec::new();
    for lane in lanes {
        let context = LaneContext {
            rules: rules.clone(),
            rate: rate.clone(),
            client: client.clone(),
            clock: clock.clone(),
            board: board.clone(),
            session: session.clone(),
            news: news.clone(),
        };
        tasks.push(spawn_local(run_lane(lane, context)));
    }
    for task in tasks {
        if let Err(error) = task.await {
            // The panic's own message is on stderr; the main thread sees a lane without an end.
            tracing::error!(%error, "a lane's task broke");
        }
    }
    watching.abort();
}

/// Says so when the gate takes nothing for some time, and when it is back.
async fn watch_gate(client: GateClient, output_id: String, gauges: Vec<Arc<LaneGauge>>) {
    let mut away = false;
    loop {
        tokio::time::sleep(LOOK_AT_GATE).await;
        let outage = client.counts().outage;
        let seconds = outage.as_ref().map_or(0, |outage| outage.lasting.as_secs());
        for gauge in &gauges {
            gauge.gate_away.store(seconds, Ordering::Relaxed);
        }
        match outage {
            Some(outage) if !away && outage.lasting >= AWAY => {
                away = true;
                tracing::warn!(
                    output = output_id,
                    reason = outage.reason.as_str(),
                    "the gate takes nothing, trying on"
                );
            }
            None if away => {
                away = false;
                tracing::warn!(output = output_id, "the gate is back");
            }
            _ => {}
        }
    }
}

struct LaneContext {
    rules: LaneRules,
    rate: Rc<RefCell<OutputRate>>,
    client: GateClient,
    clock: ClockReader,
    board: Arc<Board>,
    session: Arc<SessionLog>,
    news: mpsc::UnboundedSender<News>,
}

async fn run_lane(job: LaneJob, context: LaneContext) {
    let LaneJob {
        index,
        key,
        gauge,
        lease,
        watermark,
        feed,
    } = job;
    let LaneContext {
        rules,
        rate,
        client,
        clock,
        board,
        session,
        news,
    } = context;
    let view = feed.view.clone();
    let saver = saver::start(SaverJob {
        key: key.clone(),
        gauge: gauge.clone(),
        lease,
        plan: rules.checkpoint.clone(),
        session,
    });
    let made = saver.and_then(|saver| {
        let feed = feed::start(feed)?;
        let lane = Lane::new(
            key,
            gauge.clone(),
            board.clone(),
            view,
            rules.clone(),
            rate,
            feed,
            clock.clone(),
            watermark,
        )?;
        Ok((Rc::new(lane), saver))
    });
    let (lane, saver) = match made {
        Ok(made) => made,
        Err(failure) => {
            gauge.finished.store(true, Ordering::Release);
            // A main thread that is gone wants no news.
            let _ = news.send(News::Primed(Err(failure)));
            return;
        }
    };
    let primed = lane.prime().await;
    if let Err(failure) = &primed {
        lane.fail(failure.clone());
    }
    let _ = news.send(News::Primed(primed));

    let following = spawn_local({
        let lane = lane.clone();
        async move { lane.follow(clock).await }
    });
    let saving = spawn_local({
        let (lane, interval) = (lane.clone(), rules.checkpoint.flush_interval);
        async move { saver::follow(&lane, saver, interval).await }
    });
    let pumps: Vec<_> = (0..rules.in_flight)
        .map(|_| spawn_local(pump(lane.clone(), client.connection())))
        .collect();
    for pump in pumps {
        if let Err(error) = pump.await {
            lane.fail(
                Failure::new(Reason::StreamFailed, lane.key.output_id.clone())
                    .detail(format!("a connection's task broke: {error}")),
            );
        }
    }
    lane.close();
    if let Err(error) = saving.await {
        lane.fail(
            Failure::new(Reason::StreamFailed, lane.key.output_id.clone())
                .detail(format!("the saving task broke: {error}")),
        );
    }
    following.abort();
    gauge.finished.store(true, Ordering::Release);
    board.look.notify_one();
    let (checkpoint, lateness) = lane.end();
    let failure = lane.failure();
    let _ = news.send(News::Ended(Box::new(LaneEnd {
        index,
        checkpoint,
        failure,
        lateness,
    })));
}

/// One connection: takes the next event when it is due, and pushes it until IG has it.
async fn pump(lane: Rc<Lane>, mut connection: Connection) {
    while let Some(ticket) = lane.next().await {
        lane.gauge.in_flight.fetch_add(1, Ordering::Relaxed);
        let end = connection.push(ticket.envelope, &lane.gauge.stop).await;
        lane.gauge.in_flight.fetch_sub(1, Ordering::Relaxed);
        match end {
            PushEnd::Taken { decision, retries } => lane.taken(ticket.sequence, decision, retries),
            PushEnd::Failed(failure) => return lane.fail(failure),
            PushEnd::Interrupted => return,
        }
    }
}
