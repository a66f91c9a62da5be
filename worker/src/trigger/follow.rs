//! The trigger's pod: follows its bus for as long as it runs. Nothing ends it but being asked to
//! stop: what is wrong is a condition of the trigger, and is tried again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};
use worldstream_crds::plan::ready::{BusKind, ProbePlan, ReadyPlan};
use worldstream_crds::{ExitCode, ReadyTriggerStatus, Reason};

use super::cluster::Cluster;
use super::condition::Condition;
use super::launcher::WorldStreams;
use super::report::Report;
use super::scope::Scope;
use super::streams::Streams;
use super::writer::Writer;
use crate::bus;
use crate::cluster::access::StreamRef;
use crate::cluster::serve;
use crate::failure::{Failure, Result};
use crate::ready::downstream::{self, Downstream};
use crate::ready::{Claims, Consumer, Extent, Parts, Place, Positions, StoredPosition, claim};
use crate::stop::Stop;

/// The first pause after a bus could not be read, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// How often it is looked which run is the active one, for the status.
const LOOK_AT_SCOPE: Duration = Duration::from_secs(10);
/// How long the last write of the status is tried.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Who and where a trigger's pod is.
#[derive(Clone, Debug)]
pub struct Task {
    /// The ReadyTrigger.
    pub trigger: StreamRef,
    /// Where its metrics and how it is are served.
    pub listen: SocketAddr,
}

/// Follows the bus of a trigger until it is asked to stop. WorldStreams that run then go on, and are
/// followed on by the next pod.
///
/// # Errors
/// What cannot be mended by waiting: no configuration of a cluster, an address that is taken, an
/// object store whose credentials cannot be read.
pub async fn run(plan: ReadyPlan, task: Task, stop: Stop) -> Result<ExitCode> {
    let listener = serve::listen(task.listen).await?;
    let cluster = Cluster::new(task.trigger.clone()).await?;
    let place = Place::open(&plan.store, &plan.s3)?;
    let Some(before) = patiently(&cluster, &stop).await? else {
        return Ok(ExitCode::Done);
    };
    let report = Report::new(before, plan.bus.name(), plan.suspend, Timestamp::now());
    let writer = Arc::new(Writer::new(cluster.clone(), report));
    // What is counted from now on is told from what was there before.
    if let Err(failure) = writer.write().await {
        warn!(%failure, "the status could not be written, and is written later");
    }
    let (metrics, ready) = (writer.clone(), writer.clone());
    tokio::spawn(serve::serve_more(
        listener,
        Arc::new(move || metrics.look(Report::metrics)),
        Arc::new(move || ready.look(Report::ready)),
    ));
    let streams = Streams::default();
    let scope = Scope {
        cluster: &cluster,
        plan: &plan.scope,
        suspended: plan.suspend,
    };
    let launcher = WorldStreams {
        cluster: &cluster,
        plan: &plan,
        streams: &streams,
        stop: stop.clone(),
    };
    let follower = Follower {
        plan: &plan,
        place: &place,
        cluster: &cluster,
        launcher: &launcher,
        scope: &scope,
        writer: &writer,
        stop: stop.clone(),
    };
    tokio::select! {
        () = streams.follow(&cluster) => {}
        () = writer.write_on() => {}
        () = look_at(&scope, &writer) => {}
        () = follower.follow() => {}
    }
    // The next pod goes on from here.
    let last = tokio::time::timeout(LAST_WRITE, writer.write()).await;
    if let Ok(Err(failure)) = last {
        warn!(%failure, "the last status could not be written");
    }
    Ok(ExitCode::Done)
}

/// The status that was written last; none if we were asked to stop before it could be read.
///
/// # Errors
/// A trigger that is not there, or that this pod may not read.
async fn patiently(cluster: &Cluster, stop: &Stop) -> Result<Option<ReadyTriggerStatus>> {
    loop {
        let object = format!("ReadyTrigger {}", cluster.trigger);
        let failure = match cluster.status().await {
            Ok(found) => {
                let status = found.data.get("status").cloned();
                return match status.map(serde_json::from_value).transpose() {
                    Ok(status) => Ok(Some(status.unwrap_or_default())),
                    Err(error) => Err(Failure::new(Reason::StreamFailed, object)
                        .field("status")
                        .cause(&error)),
                };
            }
            Err(refusal) => refusal.about(object),
        };
        warn!(%failure, "the trigger could not be read, and is asked for again");
        tokio::select! {
            () = tokio::time::sleep(PAUSES.0) => {}
            () = stop.wait() => return Ok(None),
        }
    }
}

/// Notes in the status which platform run is the active one.
async fn look_at(scope: &Scope<'_>, writer: &Writer) {
    loop {
        if let Ok(active) = scope.read().await {
            let known = writer.look(|report| report.active_run());
            if known.as_deref() != Some(active.as_str()) {
                writer.change(|report| report.scope(&active));
            }
        }
        tokio::time::sleep(LOOK_AT_SCOPE).await;
    }
}

/// What a bus is followed with.
struct Follower<'a> {
    plan: &'a ReadyPlan,
    place: &'a Place,
    cluster: &'a Cluster,
    launcher: &'a WorldStreams<'a>,
    scope: &'a Scope<'a>,
    writer: &'a Writer,
    stop: Stop,
}

impl Follower<'_> {
    /// Follows the bus, and opens it again when it could not be read. A trigger that is suspended
    /// reads it, too: the streams that it began are followed to their records, all other messages
    /// wait.
    async fn follow(&self) {
        let mut pause = PAUSES.0;
        loop {
            let since = tokio::time::Instant::now();
            match self.once().await {
                Ok(()) => return,
                Err(failure) => {
                    warn!(%failure, "the bus is not followed, and is opened again");
                    self.writer.change(|report| report.follows(Some(failure)));
                }
            }
            if since.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                () = self.stop.wait() => return,
            }
        }
    }

    async fn once(&self) -> Result<()> {
        // A stream's position is short, and is seen in the status; a folder's grows with its files.
        let trigger = &self.cluster.trigger;
        let name = format!("{}.{}", trigger.namespace, trigger.name);
        let stored = StoredPosition::of_all(self.place, &name, &self.plan.bus.name());
        let positions: &dyn Positions = match self.plan.bus.kind {
            BusKind::File(_) => &stored,
            BusKind::Kinesis(_) => self.writer,
        };
        let position = positions.load().await?;
        let mut bus = bus::open(&self.plan.bus, position.as_deref())?;
        let consumer = Consumer::new(Parts {
            plan: self.plan,
            place: self.place,
            launcher: self.launcher,
            downstream: self.downstream()?,
            claims: Claims {
                // Whoever follows for this trigger next takes its claims over at once.
                holder: self.cluster.trigger.to_string(),
                term: claim::TERM,
            },
            scope: self.scope,
            stop: self.stop.clone(),
            observer: self.writer,
            positions,
        })?;
        let known = position.is_some();
        info!(
            bus = self.plan.bus.name(),
            known, "the bus is followed from its position"
        );
        self.writer.change(|report| report.follows(None));
        consumer
            .run(bus.as_mut(), Extent::default())
            .await
            .map(|_| ())
    }

    fn downstream(&self) -> Result<Vec<Box<dyn Downstream>>> {
        let each = self.plan.downstream.iter().map(|part| {
            if let ProbePlan::Condition(gate) = &part.probe {
                let same_run = part.require_active_run_match;
                let gate = Condition::new(self.cluster, &part.name, gate, same_run);
                return Ok(Some(Box::new(gate) as Box<dyn Downstream>));
            }
            downstream::open(part, &self.plan.s3)
        });
        each.filter_map(Result::transpose).collect()
    }
}
