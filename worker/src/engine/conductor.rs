//! Keeps the clock of one process: waits until all lanes are primed, starts it, and changes it by
//! commands and by what the lanes show on the board. Where somebody else decides about the clock,
//! for many processes, it publishes what it is told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use worldstream_crds::{OnOutputFailure, Reason};

use super::board::Board;
use super::output::{LaneEnd, News};
use crate::clock::{Authority, Change, Mono, Monotonic, Revision, Settings, Timeline};
use crate::failure::Failure;
use crate::stop::Stop;

/// How often the board is looked at when nobody asks for it.
const LOOK: Duration = Duration::from_millis(20);

/// Who decides how the clock runs.
pub enum Conducts {
    /// This process: by what somebody wants of the clock, and by what the lanes show.
    Here {
        /// How the clock is set.
        settings: Settings,
        /// What somebody wants of it.
        changes: mpsc::UnboundedReceiver<Change>,
    },
    /// Somebody else.
    Elsewhere(Elsewhere),
}

/// A clock that is decided about elsewhere. Whoever holds the other ends tells that one what the
/// board shows.
pub struct Elsewhere {
    /// Its revisions, in the moments of this machine's monotonic clock.
    pub revisions: mpsc::UnboundedReceiver<Revision>,
    /// How far this process is.
    pub phase: watch::Sender<Phase>,
}

/// How far a process is whose clock is decided about elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Lanes wait for their first event.
    #[default]
    Priming,
    /// All have it, or have none to send; the clock has not started.
    Primed,
    /// The clock has started.
    Started,
}

/// What the conductor works with.
pub struct Conductor {
    /// What the lanes show.
    pub board: Arc<Board>,
    /// What a failing output does to the others.
    pub on_output_failure: OnOutputFailure,
    /// Where revisions go.
    pub clock: watch::Sender<Arc<Timeline>>,
    /// News of the lanes.
    pub news: mpsc::UnboundedReceiver<News>,
    /// The request to stop everything.
    pub stop: Stop,
}

/// How the lanes ended.
pub struct Ended {
    /// In the order in which they ended; a lane that could not begin is not among them.
    pub lanes: Vec<LaneEnd>,
    /// The first failure, in time.
    pub failure: Option<Failure>,
    /// Whether the clock was started at all.
    pub started: bool,
}

impl Conductor {
    /// Conducts until every lane has ended. `started` is called before the first event can be
    /// sent, and not at all if a lane cannot begin; what it fails with ends the stream.
    pub async fn conduct(
        mut self,
        conducts: Conducts,
        started: impl FnOnce() -> Result<(), Failure>,
    ) -> Ended {
        let mut ended = Ended {
            lanes: Vec::new(),
            failure: None,
            started: false,
        };
        if !self.prime(&mut ended).await {
            self.board.stop_all();
        } else {
            match conducts {
                Conducts::Here { settings, changes } => {
                    if self.start(&mut ended, started) {
                        self.run(settings, changes, &mut ended).await;
                    }
                }
                Conducts::Elsewhere(elsewhere) => {
                    self.follow(elsewhere, &mut ended, started).await;
                }
            }
        }
        // The lanes that are left save what they have and say so.
        while let Some(news) = self.news.recv().await {
            self.hear(news, &mut ended);
        }
        ended
    }

    /// Waits until each lane has its first event; false if one cannot, or we are to stop.
    async fn prime(&mut self, ended: &mut Ended) -> bool {
        let mut waiting = self.board.lanes.len();
        while waiting > 0 {
            tokio::select! {
                () = self.stop.wait() => return false,
                news = self.news.recv() => match news {
                    Some(News::Primed(Ok(()))) => waiting -= 1,
                    Some(news) => {
                        self.hear(news, ended);
                        if ended.failure.is_some() {
                            return false;
                        }
                    }
                    None => return false,
                },
            }
        }
        true
    }

    /// What is to be done before the first event can be sent; false if it cannot.
    fn start(&self, ended: &mut Ended, started: impl FnOnce() -> Result<(), Failure>) -> bool {
        match started() {
            Ok(()) => ended.started = true,
            Err(failure) => {
                ended.failure = Some(failure);
                self.board.stop_all();
            }
        }
        ended.started
    }

    /// Publishes what is decided elsewhere, until no lane is left.
    async fn follow(
        &mut self,
        mut elsewhere: Elsewhere,
        ended: &mut Ended,
        started: impl FnOnce() -> Result<(), Failure>,
    ) {
        info!("primed: the first events wait for the clock");
        elsewhere.phase.send_replace(Phase::Primed);
        let mut started = Some(started);
        let mut stopping = false;
        loop {
            tokio::select! {
                () = self.stop.wait(), if !stopping => {
                    stopping = true;
                    self.board.stop_all();
                }
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news, ended),
                    None => return,
                },
                Some(revision) = elsewhere.revisions.recv() => {
                    if let Some(started) = started.take() {
                        if !self.start(ended, started) {
                            return;
                        }
                        elsewhere.phase.send_replace(Phase::Started);
                    }
                    self.publish(revision);
                }
            }
        }
    }

    async fn run(
        &mut self,
        settings: Settings,
        mut changes: mpsc::UnboundedReceiver<Change>,
        ended: &mut Ended,
    ) {
        let (_, outputs) = self.board.observe();
        let (mut authority, first) = Authority::start(settings, Mono::now(), &outputs);
        self.publish(first);
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            tokio::select! {
                () = self.stop.wait(), if !stopping => {
                    stopping = true;
                    self.board.stop_all();
                }
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news, ended),
                    None => return,
                },
                Some(change) = changes.recv() => {
                    let (_, outputs) = self.board.observe();
                    info!(?change, "the clock is changed");
                    if let Some(revision) = authority.command(change, Mono::now(), &outputs) {
                        self.publish(revision);
                    }
                }
                () = self.board.look.notified() => self.look(&mut authority),
                _ = tick.tick() => self.look(&mut authority),
            }
        }
    }

    fn look(&self, authority: &mut Authority) {
        let (indexes, outputs) = self.board.observe();
        match authority.observe(Mono::now(), &outputs) {
            Ok(None) => {}
            Ok(Some(revision)) => self.publish(revision),
            Err(overdue) => {
                // The index is one of those that were just observed.
                let lane = &self.board.lanes[indexes[overdue.output]];
                lane.condemn(
                    Failure::new(Reason::LagLimit, lane.output_id.clone())
                        .field("lag")
                        .found(format!("{:.1?}", overdue.lag))
                        .expected(format!(
                            "at most {:.1?} (overload: Fail)",
                            self.board.max_lag
                        )),
                );
            }
        }
    }

    fn hear(&self, news: News, ended: &mut Ended) {
        let failure = match news {
            News::Primed(Ok(())) => None,
            News::Primed(Err(failure)) => Some(failure),
            News::Ended(lane) => {
                let failure = lane.failure.clone();
                ended.lanes.push(*lane);
                failure
            }
        };
        let Some(failure) = failure else { return };
        if ended.failure.is_none() {
            warn!(%failure, policy = ?self.on_output_failure, "an output failed");
            ended.failure = Some(failure);
        }
        if self.on_output_failure == OnOutputFailure::StopAll {
            self.board.stop_all();
        }
    }

    fn publish(&self, revision: Revision) {
        info!(revision = revision.number, "the clock {}", revision.motion);
        // To the nanosecond, on this process's clock.
        debug!(motion = ?revision.motion, "the clock");
        self.clock.send_modify(|timeline| {
            Arc::make_mut(timeline).publish(revision, Mono::now());
        });
    }
}
