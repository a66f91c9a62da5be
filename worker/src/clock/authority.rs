//! Who decides how the clock runs: turns the start, commands, and what the outputs report into
//! revisions. Pure: moments and observations are handed in, revisions come out; in one process
//! the engine calls it, in a cluster it is the operator's to do.

use std::time::Duration;

use worldstream_crds::Overload;

use super::{Anchor, Mono, Motion, Revision};
use crate::time::EventTime;

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
    /// Zero in one process, where everybody reads the same memory.
    pub lead: Duration,
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
    pub effective_at: Option<Mono>,
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// By the newest revision, event time runs or nothing waits.
    Going,
    /// Everything stands, and somebody wants it so.
    Paused,
    /// Everything stands until all know that it does; then it goes on from the lowest next event
    /// time.
    Settling { revision: u64 },
    /// The clock stands for a late output.
    Holding { at: EventTime },
}

/// The state of the decisions.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
    mode: Mode,
    newest: Revision,
}

impl Authority {
    /// Starts the clock, when all outputs are primed: the event epoch is the lowest next event
    /// time, so those that begin later wait. Without observations (everything is finished or
    /// empty) the epoch does not matter.
    pub fn start(settings: Settings, now: Mono, outputs: &[Observation]) -> (Self, Revision) {
        let effective_at = now + settings.lead;
        let mode = match settings.paused {
            true => Mode::Paused,
            false => Mode::Going,
        };
        let motion = match settings.paused {
            true => Motion::Paused,
            false => running(settings.speedup, lowest(outputs), effective_at),
        };
        let newest = Revision {
            number: 1,
            effective_at,
            motion,
        };
        (
            Authority {
                settings,
                mode,
                newest,
            },
            newest,
        )
    }

    /// Carries out a command; none if it changes nothing.
    pub fn command(
        &mut self,
        change: Change,
        now: Mono,
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
                self.mode = Mode::Paused;
                Some(self.publish(at, Motion::Paused))
            }
            Command::Resume if !self.settings.paused => None,
            Command::Resume => {
                self.settings.paused = false;
                // The pause may be so new that not everybody stands yet.
                if outputs
                    .iter()
                    .all(|output| output.known >= self.newest.number)
                    && self.newest.effective_at <= now
                {
                    self.mode = Mode::Going;
                    Some(self.publish(at, running(self.settings.speedup, lowest(outputs), at)))
                } else {
                    self.mode = Mode::Settling {
                        revision: self.newest.number,
                    };
                    None
                }
            }
            Command::Speed(speedup) if speedup == self.settings.speedup => None,
            Command::Speed(speedup) => {
                self.settings.speedup = speedup;
                match (self.mode, self.newest.motion) {
                    // A pause takes the new speed when it ends.
                    (Mode::Paused | Mode::Settling { .. }, _) => None,
                    // Event time goes on where it is at that moment: nothing jumps.
                    (_, Motion::Running(anchor)) => {
                        let epoch = anchor.event_time(at.max(self.newest.effective_at));
                        self.mode = Mode::Going;
                        Some(self.publish(at, running(speedup, epoch, at)))
                    }
                    (_, Motion::Held { at: held, .. }) if speedup > 0.0 => {
                        let anchor = Anchor {
                            event_epoch: held,
                            wall_epoch: at,
                            speedup,
                        };
                        Some(self.publish(at, Motion::Held { anchor, at: held }))
                    }
                    (_, Motion::Held { .. }) => {
                        self.mode = Mode::Going;
                        Some(self.publish(at, Motion::Unpaced))
                    }
                    // From no waiting to a schedule: stand, see where everybody is, go on.
                    (_, Motion::Unpaced | Motion::Paused) => {
                        let stop = self.publish(at, Motion::Paused);
                        self.mode = Mode::Settling {
                            revision: stop.number,
                        };
                        Some(stop)
                    }
                }
            }
        }
    }

    /// Looks at the outputs: to be called now and then, and whenever one of them asks. Gives the
    /// revision that follows, if one does.
    pub fn observe(
        &mut self,
        now: Mono,
        outputs: &[Observation],
    ) -> Result<Option<Revision>, Overdue> {
        match self.mode {
            Mode::Paused => Ok(None),
            Mode::Settling { revision } => {
                let settled = now >= self.newest.effective_at
                    && outputs.iter().all(|output| output.known >= revision);
                if !settled {
                    return Ok(None);
                }
                let at = now + self.settings.lead;
                self.mode = Mode::Going;
                let motion = running(self.settings.speedup, lowest(outputs), at);
                Ok(Some(self.publish(at, motion)))
            }
            Mode::Holding { at } => {
                if outputs.iter().any(|output| output.oldest <= at) {
                    return Ok(None);
                }
                let from = now + self.settings.lead;
                self.mode = Mode::Going;
                Ok(Some(
                    self.publish(from, running(self.settings.speedup, at, from)),
                ))
            }
            Mode::Going => self.watch(now, outputs),
        }
    }

    fn watch(&mut self, now: Mono, outputs: &[Observation]) -> Result<Option<Revision>, Overdue> {
        let Motion::Running(anchor) = self.newest.motion else {
            return Ok(None);
        };
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
        let at = anchor.event_time(anchor.due(oldest) + self.settings.max_lag);
        self.mode = Mode::Holding { at };
        Ok(Some(self.publish(now, Motion::Held { anchor, at })))
    }

    fn publish(&mut self, effective_at: Mono, motion: Motion) -> Revision {
        self.newest = Revision {
            number: self.newest.number + 1,
            effective_at,
            motion,
        };
        self.newest
    }
}

fn running(speedup: f64, event_epoch: EventTime, wall_epoch: Mono) -> Motion {
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
mod tests {
    use super::*;
    use crate::clock::Due;

    const SECOND: i64 = 1_000_000_000;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000).unwrap()
    }

    fn output(next: i64, known: u64) -> Observation {
        Observation {
            next: at(next),
            oldest: at(next),
            known,
        }
    }

    fn settings(speedup: f64, overload: Overload) -> Settings {
        Settings {
            speedup,
            paused: false,
            overload,
            max_lag: Duration::from_secs(5),
            lead: Duration::ZERO,
        }
    }

    fn now_command(command: Command) -> Change {
        Change {
            command,
            effective_at: None,
        }
    }

    #[test]
    fn the_epoch_is_the_lowest_next_event_time() {
        let outputs = [output(30, 0), output(20, 0), output(40, 0)];
        let (_, first) = Authority::start(settings(2.0, Overload::Hold), Mono(100), &outputs);
        assert_eq!(first.due(at(20)), Due::At(Mono(100)));
        assert_eq!(first.due(at(30)), Due::At(Mono(100 + 5 * SECOND)));
    }

    #[test]
    fn a_new_speed_goes_on_where_the_clock_is() {
        let outputs = [output(0, 1)];
        let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Mono(0), &outputs);
        let change = Change {
            command: Command::Speed(10.0),
            effective_at: Some(Mono(20 * SECOND)),
        };
        let faster = authority
            .command(change, Mono(10 * SECOND), &outputs)
            .unwrap();
        assert_eq!(faster.effective_at, Mono(20 * SECOND));
        assert_eq!(faster.due(at(20)), Due::At(Mono(20 * SECOND)));
        assert_eq!(faster.due(at(120)), Due::At(Mono(30 * SECOND)));
        assert_eq!(
            authority.command(
                now_command(Command::Speed(10.0)),
                Mono(25 * SECOND),
                &outputs
            ),
            None
        );
    }

    #[test]
    fn a_pause_ends_at_the_lowest_next_event_time() {
        let outputs = [output(8, 1), output(5, 1)];
        let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Mono(0), &outputs);
        let pause = authority
            .command(now_command(Command::Pause), Mono(SECOND), &outputs)
            .unwrap();
        assert_eq!(pause.due(at(0)), Due::Not);
        // Not everybody knows of the pause yet: the resume waits for that.
        assert_eq!(
            authority.command(now_command(Command::Resume), Mono(2 * SECOND), &outputs),
            None
        );
        assert_eq!(authority.observe(Mono(3 * SECOND), &outputs), Ok(None));
        let known = [output(8, 2), output(5, 2)];
        let resumed = authority
            .observe(Mono(60 * SECOND), &known)
            .unwrap()
            .unwrap();
        assert_eq!(resumed.due(at(5)), Due::At(Mono(60 * SECOND)));
        assert_eq!(resumed.due(at(8)), Due::At(Mono(63 * SECOND)));
    }

    #[test]
    fn leaving_no_waiting_stands_and_then_starts_at_the_lowest() {
        let outputs = [output(0, 1), output(0, 1)];
        let (mut authority, first) =
            Authority::start(settings(0.0, Overload::Hold), Mono(0), &outputs);
        assert_eq!(first.due(at(999)), Due::Anytime);
        let stop = authority
            .command(now_command(Command::Speed(2.0)), Mono(SECOND), &outputs)
            .unwrap();
        assert_eq!(stop.motion, Motion::Paused);
        let outputs = [output(500, 2), output(300, 1)];
        assert_eq!(authority.observe(Mono(2 * SECOND), &outputs), Ok(None));
        let outputs = [output(500, 2), output(310, 2)];
        let going = authority
            .observe(Mono(3 * SECOND), &outputs)
            .unwrap()
            .unwrap();
        assert_eq!(going.due(at(310)), Due::At(Mono(3 * SECOND)));
        assert_eq!(going.due(at(500)), Due::At(Mono(98 * SECOND)));
    }

    #[test]
    fn a_hold_stands_where_the_limit_was_reached_and_goes_on_from_there() {
        let outputs = [output(10, 1), output(10, 1)];
        let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Mono(0), &outputs);
        // One output is still at 12 s when the clock is at 16.9 s: within the limit.
        let outputs = [output(12, 1), output(27, 1)];
        assert_eq!(authority.observe(Mono(6 * SECOND), &outputs), Ok(None));
        // Everybody was stopped for a minute: the clock stands at 12 + 5, not a minute on.
        let held = authority
            .observe(Mono(66 * SECOND), &outputs)
            .unwrap()
            .unwrap();
        assert_eq!(held.due(at(17)), Due::At(Mono(7 * SECOND)));
        assert_eq!(held.due(at(18)), Due::Not);
        assert_eq!(authority.observe(Mono(67 * SECOND), &outputs), Ok(None));
        let caught_up = [output(18, 2), output(27, 2)];
        let going = authority
            .observe(Mono(70 * SECOND), &caught_up)
            .unwrap()
            .unwrap();
        assert_eq!(going.due(at(17)), Due::At(Mono(70 * SECOND)));
        assert_eq!(going.due(at(27)), Due::At(Mono(80 * SECOND)));
    }

    #[test]
    fn the_policy_decides_about_lag() {
        let late = [output(0, 1), output(60, 1)];
        let (mut catching_up, _) =
            Authority::start(settings(1.0, Overload::CatchUp), Mono(0), &late);
        assert_eq!(catching_up.observe(Mono(60 * SECOND), &late), Ok(None));
        let (mut failing, _) = Authority::start(settings(1.0, Overload::Fail), Mono(0), &late);
        assert_eq!(
            failing.observe(Mono(60 * SECOND), &late),
            Err(Overdue {
                output: 0,
                lag: Duration::from_secs(60)
            })
        );
    }

    #[test]
    fn a_pause_in_a_hold_and_a_speed_in_a_pause() {
        let outputs = [output(0, 9)];
        let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Mono(0), &outputs);
        assert!(
            authority
                .observe(Mono(9 * SECOND), &outputs)
                .unwrap()
                .is_some()
        );
        assert!(
            authority
                .command(now_command(Command::Pause), Mono(10 * SECOND), &outputs)
                .is_some()
        );
        assert_eq!(
            authority.command(
                now_command(Command::Speed(0.0)),
                Mono(11 * SECOND),
                &outputs
            ),
            None
        );
        let going = authority
            .command(now_command(Command::Resume), Mono(12 * SECOND), &outputs)
            .unwrap();
        assert_eq!(going.motion, Motion::Unpaced);
    }

    #[test]
    fn nothing_to_stream_starts_all_the_same() {
        let (mut authority, first) = Authority::start(settings(1.0, Overload::Hold), Mono(3), &[]);
        assert_eq!(first.number, 1);
        assert_eq!(authority.observe(Mono(SECOND), &[]), Ok(None));
    }
}
