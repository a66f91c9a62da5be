//! Follows a bus: reads its messages, takes each through the seven steps beside the others, and
//! settles those that are done with. A message that waits holds up nobody.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture};
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use super::claim::Claims;
use super::downstream::Downstream;
use super::facts::FactsReader;
use super::governance::Governance;
use super::launch::Launcher;
use super::message::{self, Invalid, Read, Ready};
use super::news::{Conclusion, News, Observer, Totals, Wait};
use super::place::Place;
use super::position::Positions;
use super::record::Status;
use super::schema::Schemas;
use super::walk::{Walk, Went};
use crate::bus::{self, Arrival, Bus};
use crate::failure::Result;
use crate::plan::ready::ReadyPlan;
use crate::stop::Stop;

/// Messages that are being worked on or wait, at most; the others stay in the bus.
const WORKING: usize = 10_000;
/// How often it is said of a message that it waits.
const SAY_AGAIN: Duration = Duration::from_secs(20);
/// How often the position is saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Says which platform run is the active one.
pub trait ActiveRun {
    /// Its id, as it is now; else why nobody knows: messages wait then.
    fn active(&self) -> BoxFuture<'_, Result<String, String>>;
}

/// One that never changes.
impl ActiveRun for String {
    fn active(&self) -> BoxFuture<'_, Result<String, String>> {
        std::future::ready(Ok(self.clone())).boxed()
    }
}

/// How far a bus is followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// What was there at the beginning, each message once: one that would wait is left.
    pub once: bool,
    /// So many messages, of whatever kind.
    pub max_messages: Option<u64>,
}

/// Everything that a consumer works with.
pub struct Parts<'a, L> {
    /// How the bus is followed.
    pub plan: &'a ReadyPlan,
    /// The object store.
    pub place: &'a Place,
    /// Who streams.
    pub launcher: &'a L,
    /// What must be up.
    pub downstream: Vec<Box<dyn Downstream>>,
    /// Takes claims.
    pub claims: Claims,
    /// The active platform run.
    pub scope: &'a dyn ActiveRun,
    /// The end.
    pub stop: Stop,
    /// Hears what happens.
    pub observer: &'a dyn Observer,
    /// Keeps the bus's position.
    pub positions: &'a dyn Positions,
}

/// Follows one bus.
pub struct Consumer<'a, L> {
    parts: Parts<'a, L>,
    pub(super) schemas: Schemas,
    pub(super) facts: FactsReader,
    pub(super) governance: Governance,
    /// Streams that may begin.
    pub(super) slots: Semaphore,
    /// Messages of one id are worked on one after the other.
    turns: RefCell<HashMap<String, Rc<tokio::sync::Mutex<()>>>>,
    extent: Cell<Extent>,
    totals: RefCell<Totals>,
}

/// A message that was worked on.
struct Done {
    place: bus::Place,
    /// It needs never come again.
    settled: bool,
}

impl<'a, L: Launcher> Consumer<'a, L> {
    /// A consumer of these parts; nothing is read yet.
    ///
    /// # Errors
    /// None in a program whose tests pass: schemas are built in.
    pub fn new(parts: Parts<'a, L>) -> Result<Self> {
        Ok(Consumer {
            schemas: Schemas::new()?,
            facts: FactsReader::new(&parts.plan.store, &parts.plan.allowed_roots, &parts.plan.s3),
            governance: Governance::new(parts.place, &parts.plan.provenance),
            slots: Semaphore::new(parts.plan.max_active as usize),
            turns: RefCell::default(),
            extent: Cell::default(),
            totals: RefCell::default(),
            parts,
        })
    }

    pub(super) fn parts(&self) -> &Parts<'a, L> {
        &self.parts
    }

    /// Follows the bus to the extent's end, or until it is asked to stop; for ever otherwise.
    /// What is begun then is awaited: the launcher sees the request to stop itself.
    ///
    /// # Errors
    /// What ends a bus ([`Bus::next`]), and a position that cannot be read.
    pub async fn run(&self, bus: &mut dyn Bus, extent: Extent) -> Result<Totals> {
        self.extent.set(extent);
        let stop = &self.parts.stop;
        let mut working: FuturesUnordered<LocalBoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut left = extent.max_messages.unwrap_or(u64::MAX);
        let mut reading = left > 0;
        let (mut saved, mut away) = (None, None);
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = loop {
            let may_read = reading && !stop.is_set() && working.len() < WORKING;
            if working.is_empty() && (!reading || stop.is_set()) {
                break Ok(());
            }
            tokio::select! {
                biased;
                Some(done) = working.next() => {
                    if done.settled {
                        bus.settle(&done.place);
                    }
                }
                () = stop.wait(), if reading => reading = false,
                arrival = bus.next(), if may_read => match arrival {
                    Err(failure) => break Err(failure),
                    Ok(Arrival::CaughtUp) => reading = !extent.once,
                    Ok(arrival) => {
                        left -= 1;
                        reading = left > 0;
                        match self.arrived(arrival) {
                            Ok(work) => working.push(work),
                            Err(place) => bus.settle(&place),
                        }
                    }
                },
                _ = save.tick() => {
                    let trouble = bus.trouble();
                    if trouble != away {
                        self.tell(&News::Away(trouble.as_deref()));
                        away = trouble;
                    }
                    self.save(bus.position(), &mut saved).await;
                }
            }
        };
        self.save(bus.position(), &mut saved).await;
        ended.map(|()| *self.totals.borrow())
    }

    /// Saves a position that is new. One that cannot be saved is saved later: what lies behind it
    /// comes again, and is recorded.
    async fn save(&self, position: Option<String>, saved: &mut Option<String>) {
        let Some(new) = position.filter(|new| saved.as_ref() != Some(new)) else {
            return;
        };
        match self.parts.positions.save(&new).await {
            Ok(()) => {
                self.tell(&News::Position(&new));
                *saved = Some(new);
            }
            Err(failure) => warn!(%failure, "the bus's position could not be saved"),
        }
    }

    pub(super) fn tell(&self, news: &News<'_>) {
        self.parts.observer.tell(news);
    }

    /// The work on an arrival; its place, if there is none.
    fn arrived(&self, arrival: Arrival) -> Result<LocalBoxFuture<'_, Done>, bus::Place> {
        let (place, published, read) = match arrival {
            Arrival::Message(message) => {
                let topic = &self.parts.plan.bus.topic;
                let read = message::read(&self.schemas, topic, &message.bytes);
                (message.place, message.published, read)
            }
            Arrival::TooLarge {
                place,
                bytes,
                limit,
                published,
            } => {
                let why = format!("found {bytes} bytes, expected at most {limit}");
                let message_id = None;
                (place, published, Read::Invalid(Invalid { message_id, why }))
            }
            Arrival::CaughtUp => unreachable!("it is no message, and was looked at before"),
        };
        self.tell(&News::Arrived {
            place: &place,
            published,
        });
        let mut totals = self.totals.borrow_mut();
        totals.seen += 1;
        match read {
            Read::Ready(ready) => {
                self.tell(&News::Read {
                    message_id: &ready.message_id,
                    run_id: &ready.run_id,
                    published,
                });
                Ok(Box::pin(self.work(place, *ready)))
            }
            Read::OtherTopic(topic) => {
                totals.other_topic += 1;
                info!(%place, topic, "a message of another topic is passed over");
                let place_of = &place;
                self.tell(&News::OtherTopic {
                    place: place_of,
                    topic: &topic,
                });
                Err(place)
            }
            Read::Invalid(Invalid { message_id, why }) => {
                totals.invalid += 1;
                warn!(%place, why, "a message that is not valid is passed over");
                self.tell(&News::Invalid {
                    place: &place,
                    message_id: message_id.as_deref(),
                    why: &why,
                });
                Err(place)
            }
        }
    }

    /// Works on a message until it is done with, or the end.
    async fn work(&self, place: bus::Place, ready: Ready) -> Done {
        let turn = self.turn(&ready.message_id);
        let _turn = turn.lock().await;
        let concluded = self.conclude(&ready).await;
        drop(_turn);
        self.leave(&ready.message_id, turn);
        let Some(conclusion) = concluded else {
            return Done {
                place,
                settled: false,
            };
        };
        self.totals.borrow_mut().count(conclusion.status);
        self.tell(&News::Concluded(&conclusion));
        let Conclusion {
            message_id, status, ..
        } = &conclusion;
        let reason = conclusion.reason.map(|it| it.as_str());
        let detail = conclusion.detail.as_deref();
        match status {
            Status::Failed => warn!(message_id, %status, reason, detail, "READY"),
            _ => info!(message_id, %status, reason, emitted = conclusion.emitted, "READY"),
        }
        Done {
            place,
            settled: !matches!(status, Status::Failed | Status::DeferredDownstreamNotReady),
        }
    }

    /// Takes a message through the steps, again and again while it waits; nothing if it was still
    /// waiting at the end.
    async fn conclude(&self, ready: &Ready) -> Option<Conclusion> {
        let stop = &self.parts.stop;
        let deferral = self.parts.plan.deferral;
        let mut interval = deferral.min_interval;
        let mut said: Option<Instant> = None;
        let mut walk = Walk::default();
        loop {
            if stop.is_set() {
                return None;
            }
            let wait = match walk.go(self, ready).await {
                Ok(Went::Concluded(conclusion)) => return Some(*conclusion),
                Ok(Went::Waits(wait)) => wait,
                Err(_) if stop.is_set() => return None,
                Err(failure) => Wait::Trouble(failure),
            };
            let message_id = ready.message_id.as_str();
            let news = News::Waiting {
                message_id,
                wait: &wait,
            };
            self.tell(&news);
            if matches!(wait, Wait::Slot) {
                // Its turn comes by itself, and all is looked at again then.
                tokio::select! {
                    got = self.slots.acquire() => walk.holds(got.ok()),
                    () = stop.wait() => return None,
                }
                continue;
            }
            if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                said = Some(Instant::now());
                warn!(message_id, why = wait.why(), "READY is deferred");
            }
            if self.extent.get().once {
                return Some(deferred(ready, &wait));
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.wait() => return None,
            }
            interval = (interval * 2).min(deferral.max_interval);
        }
    }

    fn turn(&self, message_id: &str) -> Rc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.borrow_mut();
        turns.entry(message_id.to_owned()).or_default().clone()
    }

    fn leave(&self, message_id: &str, turn: Rc<tokio::sync::Mutex<()>>) {
        // Ours and the map's: nobody else waits for it.
        if Rc::strong_count(&turn) <= 2 {
            self.turns.borrow_mut().remove(message_id);
        }
    }

    pub(super) fn started(&self, message_id: &str, engine_run_root: &str) {
        self.totals.borrow_mut().started += 1;
        self.tell(&News::Started {
            message_id,
            engine_run_root,
        });
    }
}

fn deferred(ready: &Ready, wait: &Wait) -> Conclusion {
    Conclusion {
        message_id: ready.message_id.clone(),
        run_id: ready.run_id.clone(),
        status: Status::DeferredDownstreamNotReady,
        recorded: None,
        recorded_at: None,
        reason: None,
        emitted: None,
        engine_run_root: None,
        scenario_id: None,
        detail: Some(wait.why()),
    }
}
