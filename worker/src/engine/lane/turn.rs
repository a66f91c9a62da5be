//! The turn: which event of a lane is next, and when it may be sent. One task of the lane has the
//! turn at a time: it waits for the event to be due, takes it, and hands the turn on, so that one
//! waiter releases all that is due.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use worldstream_crds::{Overload, Reason};

use super::Lane;
use crate::clock::{ClockReader, Due, DueTimer, Mono, Monotonic, Motion, Revision};
use crate::engine::feed::Feed;
use crate::envelope::EventBatch;
use crate::failure::{Failure, Result};

/// An event that may be later than this asks whether the clock still counts before it is sent.
const LATE: Duration = Duration::from_millis(5);

/// An event that is to be pushed now.
#[derive(Debug)]
pub struct Ticket {
    /// Its sequence number in this process.
    pub sequence: u64,
    /// Its bytes.
    pub envelope: Bytes,
}

/// What the task whose turn it is needs: to hand out the next event is one task's at a time.
pub(super) struct Turn {
    feed: mpsc::Receiver<Feed>,
    batch: Option<EventBatch>,
    at: usize,
    ended: bool,
    clock: ClockReader,
    revision: Option<Revision>,
    next_change: Mono,
    timer: DueTimer,
    /// The lane fell behind by more than `max_lag` under `CatchUp`, and has not caught up since.
    catching_up: bool,
}

impl Turn {
    /// The turn of a lane that has handed out nothing yet.
    pub(super) fn new(feed: mpsc::Receiver<Feed>, clock: ClockReader, timer: DueTimer) -> Self {
        Turn {
            feed,
            batch: None,
            at: 0,
            ended: false,
            clock,
            revision: None,
            next_change: Mono(0),
            timer,
            catching_up: false,
        }
    }
}

impl Lane {
    /// Waits for the first event, so that the clock can start when all lanes have theirs. A
    /// failure here is one before the first event.
    pub async fn prime(&self) -> Result<()> {
        let mut turn = self.turn.lock().await;
        if let Some(failure) = self.limit() {
            return Err(failure);
        }
        if self.capped() {
            self.finish(&mut turn);
            return Ok(());
        }
        tokio::select! {
            () = self.load(&mut turn) => {}
            () = self.gauge.stop.wait() => {}
        }
        match self.failure() {
            Some(failure) if turn.batch.is_none() => Err(failure),
            _ => Ok(()),
        }
    }

    /// The next event, at the moment it is due; none when nothing more is to be sent: the end,
    /// a cap, a stop, or a failure.
    pub async fn next(&self) -> Option<Ticket> {
        let mut turn = self.turn.lock().await;
        let turn = &mut *turn;
        loop {
            if self.gauge.stop.is_set() || turn.ended {
                return None;
            }
            if self.capped() {
                self.finish(turn);
                return None;
            }
            if !turn.has_event() {
                tokio::select! {
                    () = self.load(turn) => {}
                    () = self.gauge.stop.wait() => {}
                }
                continue;
            }
            if !self.has_room() {
                tokio::select! {
                    () = self.room.notified() => {}
                    () = self.gauge.stop.wait() => {}
                }
                continue;
            }
            let now = Mono::now();
            match self.permit(turn, now) {
                Permit::Now { due } => return self.issue(turn, now, due),
                Permit::Later { at } => self.wait(turn, at).await,
            }
        }
    }

    /// Takes the next item of the feed. May be dropped while it waits: nothing is lost then.
    async fn load(&self, turn: &mut Turn) {
        match turn.feed.recv().await {
            Some(Feed::Batch(batch)) => {
                self.gauge
                    .set_next(batch.events.first().map(|event| event.ts));
                self.gauge
                    .buffered
                    .store(batch.events.len() as u64, Relaxed);
                turn.batch = Some(batch);
                turn.at = 0;
            }
            Some(Feed::End) => {
                self.state.borrow_mut().watermark.progress().complete = true;
                self.finish(turn);
            }
            Some(Feed::Failed(failure)) => {
                self.finish(turn);
                self.fail(failure);
            }
            None => {
                self.finish(turn);
                self.fail(
                    Failure::new(Reason::StreamFailed, self.view.folder.clone())
                        .detail("the thread that reads it ended without a word"),
                );
            }
        }
    }

    fn finish(&self, turn: &mut Turn) {
        turn.ended = true;
        turn.batch = None;
        self.gauge.buffered.store(0, Relaxed);
        self.gauge.set_next(None);
    }

    fn issue(&self, turn: &mut Turn, now: Mono, due: Option<Mono>) -> Option<Ticket> {
        // `has_event` was true in this turn.
        let batch = turn.batch.as_ref()?;
        let event = batch.events[turn.at];
        let envelope = batch.envelope(turn.at);
        let sequence = {
            let mut state = self.state.borrow_mut();
            state.issued += 1;
            let sequence = state
                .watermark
                .issue(batch.event_id(turn.at), event.place, event.ts);
            // Before the next event is shown: this one is what the lane is behind by now.
            self.gauge.set_oldest(state.watermark.oldest());
            sequence
        };
        turn.at += 1;
        self.gauge.set_issued(event.ts);
        let buffered = batch.events.len() - turn.at;
        self.gauge.buffered.store(buffered as u64, Relaxed);
        if let Some(next) = batch.events.get(turn.at) {
            self.gauge.set_next(Some(next.ts));
        }
        self.rate.borrow_mut().take(turn.catching_up);
        if let Some(due) = due {
            let micros = now.since(due).as_micros() as u64;
            self.lateness.borrow_mut().saturating_record(micros.max(1));
            self.gauge.lateness.record(micros);
        }
        self.gauge.sent.fetch_add(1, Relaxed);
        Some(Ticket { sequence, envelope })
    }

    /// Whether the next event may be sent now, and if not, when to look again.
    fn permit(&self, turn: &mut Turn, now: Mono) -> Permit {
        turn.refresh(now);
        // `has_event` was true in this turn.
        let Some(ts) = turn
            .batch
            .as_ref()
            .and_then(|batch| batch.events.get(turn.at))
        else {
            return Permit::Later { at: now };
        };
        let Some(revision) = turn.revision else {
            return Permit::Later {
                at: turn.next_change,
            };
        };
        let due = match revision.due(ts.ts) {
            Due::Not => {
                return Permit::Later {
                    at: turn.next_change,
                };
            }
            Due::At(due) if due > now => {
                turn.catching_up = false;
                return Permit::Later {
                    at: due.min(turn.next_change),
                };
            }
            Due::At(due) => Some(due),
            Due::Anytime => None,
        };
        if let (Some(due), Motion::Running(anchor)) = (due, revision.motion)
            && now.since(due) > LATE
            && self.board.overdue(&anchor, now)
        {
            // Somebody is further behind than the policy allows: whoever keeps the clock says
            // how it goes on, before anything more is sent by the old schedule.
            self.board.look.notify_one();
            return Permit::Later { at: now + LATE };
        }
        turn.catching_up = self.catches_up(turn.catching_up, due, now);
        let ready = self.rate.borrow_mut().ready_at(now, turn.catching_up);
        match ready > now {
            true => Permit::Later {
                at: ready.min(turn.next_change),
            },
            false => Permit::Now { due },
        }
    }

    /// Whether an event that may be sent now is sent to catch up: from the moment on at which the
    /// lane is behind by more than `max_lag`, until an event comes that is not due yet.
    fn catches_up(&self, already: bool, due: Option<Mono>, now: Mono) -> bool {
        let pace = &self.rules.pace;
        let late = |due: Mono| already || now.since(due) > pace.max_lag;
        pace.overload == Overload::CatchUp && due.is_some_and(late)
    }

    /// Waits for a moment, a change of the clock, or a stop.
    async fn wait(&self, turn: &mut Turn, at: Mono) {
        let Turn {
            clock,
            timer,
            next_change,
            ..
        } = turn;
        tokio::select! {
            waited = timer.wait_until(at), if at != Mono::NEVER => if let Err(error) = waited {
                self.fail(
                    Failure::new(Reason::StreamFailed, self.key.output_id.clone())
                        .detail(format!("the timer failed: {error}")),
                );
            },
            changed = clock.changed() => match changed {
                // Seen here, so that nobody else is told: the timeline is to be looked at.
                Ok(()) => *next_change = Mono(0),
                // Whoever keeps the clock is gone: nothing will ever be due again.
                Err(_) => self.gauge.stop.set(),
            },
            () = self.gauge.stop.wait() => {}
        }
    }
}

enum Permit {
    Now { due: Option<Mono> },
    Later { at: Mono },
}

impl Turn {
    fn has_event(&self) -> bool {
        self.batch
            .as_ref()
            .is_some_and(|batch| self.at < batch.events.len())
    }

    /// The revision that counts now. Looks at the timeline only when it has changed, or when
    /// another revision comes to count.
    fn refresh(&mut self, now: Mono) {
        if now >= self.next_change || self.clock.has_changed().unwrap_or(true) {
            let timeline = self.clock.borrow_and_update();
            self.revision = timeline.at(now).copied();
            self.next_change = timeline.next_change(now);
        }
    }
}
