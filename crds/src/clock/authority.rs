//! Who decides how the clock runs: turns the start, commands, and what the outputs report into
//! revisions. Pure: moments and observations are handed in, revisions come out; in one process
//! the engine calls it, in a cluster it is the operator's to do.

use std::time::Duration;

use super::{Anchor, Moment, Motion, Revision};
use crate::policy::Overload;
use crate::time::EventTime;

/// How much later than its lag an output is known to be late, as a rule, where others report it.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// What the clock is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Event seconds a wall second; 0: no waiting.
    pub speedup: f64,
    /// Whether the clock begins in a pause.
    pub paused: bool,
    /// What happens when an output is further behind than `max_lag`.
    pub overload: Overload,
    /// How far an output may be behind, in wall time.
    pub max_lag: Duration,
    /// How far ahead a revision becomes effective: long enough that everybody knows it by then.
    /// Where everything stands, half of it: who learns late that it goes on is late, never early.
    /// Zero in one process, where everybody reads the same memory.
    pub lead: Duration,
}

impl Settings {
    /// The lead of a revision with which event time begins to run.
    fn starting(&self) -> Duration {
        self.lead / 2
    }
}

/// A change that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// Hold everything back, also what is overdue.
    Pause,
    /// Go on from the lowest next event time.
    Resume,
    /// Another speed; 0: no waiting.
    Speed(f64),
}

/// A command and the moment from which it counts; none: as soon as everybody can know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// What.
    pub command: Command,
    /// From when.
    pub effective_at: Option<Moment>,
}

/// What an unfinished output (or lane) reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The event time of the next event that it will send.
    pub next: EventTime,
    /// The event time of the oldest event that IG has not taken: what lag is measured by.
    pub oldest: EventTime,
    /// The newest revision that it knows.
    pub known: u64,
}

/// An output is further behind than it may be, and the policy is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Index into the observations.
    pub output: usize,
    /// How far behind it is.
    pub lag: Duration,
}

/// What the clock is doing, for those who look and for those who have to go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the newest revision, event time runs or nothing waits.
    Going,
    /// Everything stands, and somebody wants it so.
    Paused,
    /// Everything stands until all know that it does; then it goes on from the lowest next event
    /// time.
    Settling,
    /// The clock stands for a late output.
    Holding,
}

/// The state of the decisions: how the clock is set, and the newest revision.
#[derive(Clone, Debug)]
pub struct Authority {
    settings: Settings,
    newest: Revision,
}

impl Authority {
    /// Starts the clock, when all outputs are primed: the event epoch is the lowest next event
    /// time, so those that begin later wait. Without observations (everything is finished or
    /// empty) the epoch does not matter.
    pub fn start(settings: Settings, now: Moment, outputs: &[Observation]) -> (Self, Revision) {
        let effective_at = now + settings.starting();
        let motion = match settings.paused {
            true => Motion::Paused,
            false => running(settings.speedup, lowest(outputs), effective_at),
        };
        let newest = Revision {
            number: 1,
            effective_at,
            motion,
        };
        (Authority { settings, newest }, newest)
    }

    /// Goes on with a clock that another process published: the settings that were in force
    /// (whether it is paused is the mode's to say), the mode, and the newest revision. What is
    /// wanted otherwise by now is a [`Command`] like any other.
    pub fn resume(settings: Settings, mode: Mode, newest: Revision) -> Self {
        let paused = mode == Mode::Paused && newest.motion == Motion::Paused;
        let settings = Settings { paused, ..settings };
        Authority { settings, newest }
    }

    /// How the clock is set: as it was at the start, and commanded since.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest revision, whether it counts already or not.
    pub fn newest(&self) -> &Revision {
        &self.newest
    }

    /// What the clock is doing.
    pub fn mode(&self) -> Mode {
        match self.newest.motion {
            Motion::Running(_) | Motion::Unpaced => Mode::Going,
            Motion::Held { .. } => Mode::Holding,
            Motion::Paused if self.settings.paused => Mode::Paused,
            Motion::Paused => Mode::Settling,
        }
    }

    /// Carries out a command; none if it changes nothing.
    pub fn command(
        &mut self,
        change: Change,
        now: Moment,
        outputs: &[Observation],
    ) -> Option<Revision> {
        let at = change
            .effective_at
            .unwrap_or(now + self.settings.lead)
            .max(now);
        match change.command {
            Command::Pause if self.settings.paused => None,
            Command::Pause => {
                self.settings.paused = true;
                Some(self.publish(at, Motion::Paused))
            }
            Command::Resume if !self.settings.paused => None,
            Command::Resume => {
                self.settings.paused = false;
                let at = change
                    .effective_at
                    .unwrap_or(now + self.settings.starting());
                let at = at.max(now);
                // The pause may be so new that not everybody stands yet: then it settles first.
                self.all_stand(now, outputs)
                    .then(|| self.publish(at, running(self.settings.speedup, lowest(outputs), at)))
            }
            Command::Speed(speedup) if speedup == self.settings.speedup => None,
            Command::Speed(speedup) => {
                self.settings.speedup = speedup;
                match self.newest.motion {
                    // A pause takes the new speed when it ends.
                    Motion::Paused => None,
                    // Event time goes on where it is at that moment: nothing jumps.
                    Motion::Running(anchor) => {
                        let epoch = anchor.event_time(at.max(self.newest.effective_at));
                        Some(self.publish(at, running(speedup, epoch, at)))
                    }
                    Motion::Held { at: held, .. } if speedup > 0.0 => {
                        let anchor = Anchor {
                            event_epoch: held,
                            wall_epoch: at,
                            speedup,
                        };
                        Some(self.publish(at, Motion::Held { anchor, at: held }))
                    }
                    Motion::Held { .. } => Some(self.publish(at, Motion::Unpaced)),
                    // From no waiting to a schedule: stand, see where everybody is, go on.
                    Motion::Unpaced => Some(self.publish(at, Motion::Paused)),
                }
            }
        }
    }

    /// Looks at the outputs: to be called now and then, and whenever one of them asks. Gives the
    /// revision that follows, if one does.
    pub fn observe(
        &mut self,
        now: Moment,
        outputs: &[Observation],
    ) -> Result<Option<Revision>, Overdue> {
        match self.newest.motion {
            Motion::Paused if self.settings.paused || !self.all_stand(now, outputs) => Ok(None),
            Motion::Paused => {
                let at = now + self.settings.starting();
                let motion = running(self.settings.speedup, lowest(outputs), at);
                Ok(Some(self.publish(at, motion)))
            }
            Motion::Held { at, .. } => {
                if outputs.iter().any(|output| output.oldest <= at) {
                    return Ok(None);
                }
                let from = now + self.settings.starting();
                let motion = running(self.settings.speedup, at, from);
                Ok(Some(self.publish(from, motion)))
            }
            Motion::Running(anchor) => self.watch(anchor, now, outputs),
            Motion::Unpaced => Ok(None),
        }
    }

    /// Whether the newest revision counts, and everybody knows it.
    fn all_stand(&self, now: Moment, outputs: &[Observation]) -> bool {
        now >= self.newest.effective_at
            && outputs
                .iter()
                .all(|output| output.known >= self.newest.number)
    }

    fn watch(
        &mut self,
        anchor: Anchor,
        now: Moment,
        outputs: &[Observation],
    ) -> Result<Option<Revision>, Overdue> {
        if self.newest.effective_at > now || self.settings.overload == Overload::CatchUp {
            return Ok(None);
        }
        let Some((output, oldest)) = outputs
            .iter()
            .map(|output| output.oldest)
            .enumerate()
            .min_by_key(|&(_, oldest)| oldest)
        else {
            return Ok(None);
        };
        let lag = now.since(anchor.due(oldest));
        if lag <= self.settings.max_lag {
            return Ok(None);
        }
        if self.settings.overload == Overload::Fail {
            return Err(Overdue { output, lag });
        }
        // The clock stands where the late output's lag reached the limit, however late we are
        // told: also after a process that stood still as a whole, nobody runs ahead.
        let limit = anchor.due(oldest) + self.settings.max_lag;
        let lead = self.settings.lead;
        let stands = match lead.is_zero() {
            true => limit,
            // Until they know of it the others send on: it stands where they may be by then, or
            // what they send in the meantime would be early.
            false => limit.max((now + lead).min(limit + lead + TOLD_WITHIN)),
        };
        let at = anchor.event_time(stands);
        Ok(Some(self.publish(now, Motion::Held { anchor, at })))
    }

    fn publish(&mut self, effective_at: Moment, motion: Motion) -> Revision {
        self.newest = Revision {
            number: self.newest.number + 1,
            effective_at,
            motion,
        };
        self.newest
    }
}

fn running(speedup: f64, event_epoch: EventTime, wall_epoch: Moment) -> Motion {
    if speedup > 0.0 {
        Motion::Running(Anchor {
            event_epoch,
            wall_epoch,
            speedup,
        })
    } else {
        Motion::Unpaced
    }
}

fn lowest(outputs: &[Observation]) -> EventTime {
    outputs
        .iter()
        .map(|output| output.next)
        .min()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
