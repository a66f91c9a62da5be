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
        let (_, first) = Authority::start(settings(2.0, Overload::Hold), Moment(100), &outputs);
        assert_eq!(first.due(at(20)), Due::At(Moment(100)));
        assert_eq!(first.due(at(30)), Due::At(Moment(100 + 5 * SECOND)));
    }

    #[test]
    fn a_new_speed_goes_on_where_the_clock_is() {
        let outputs = [output(0, 1)];
        let (mut authority, _) =
            Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
        let change = Change {
            command: Command::Speed(10.0),
            effective_at: Some(Moment(20 * SECOND)),
        };
        let faster = authority
            .command(change, Moment(10 * SECOND), &outputs)
            .unwrap();
        assert_eq!(faster.effective_at, Moment(20 * SECOND));
        assert_eq!(faster.due(at(20)), Due::At(Moment(20 * SECOND)));
        assert_eq!(faster.due(at(120)), Due::At(Moment(30 * SECOND)));
        assert_eq!(
            authority.command(
                now_command(Command::Speed(10.0)),
                Moment(25 * SECOND),
                &outputs
            ),
            None
        );
    }

    #[test]
    fn a_pause_ends_at_the_lowest_next_event_time() {
        let outputs = [output(8, 1), output(5, 1)];
        let (mut authority, _) =
            Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
        let pause = authority
            .command(now_command(Command::Pause), Moment(SECOND), &outputs)
            .unwrap();
        assert_eq!(pause.due(at(0)), Due::Not);
        // Not everybody knows of the pause yet: the resume waits for that.
        assert_eq!(
            authority.command(now_command(Command::Resume), Moment(2 * SECOND), &outputs),
            None
        );
        assert_eq!(authority.observe(Moment(3 * SECOND), &outputs), Ok(None));
        let known = [output(8, 2), output(5, 2)];
        let resumed = authority
            .observe(Moment(60 * SECOND), &known)
            .unwrap()
            .unwrap();
        assert_eq!(resumed.due(at(5)), Due::At(Moment(60 * SECOND)));
        assert_eq!(resumed.due(at(8)), Due::At(Moment(63 * SECOND)));
    }

    #[test]
    fn leaving_no_waiting_stands_and_then_starts_at_the_lowest() {
        let outputs = [output(0, 1), output(0, 1)];
        let (mut authority, first) =
            Authority::start(settings(0.0, Overload::Hold), Moment(0), &outputs);
        assert_eq!(first.due(at(999)), Due::Anytime);
        let stop = authority
            .command(now_command(Command::Speed(2.0)), Moment(SECOND), &outputs)
            .unwrap();
        assert_eq!(stop.motion, Motion::Paused);
        let outputs = [output(500, 2), output(300, 1)];
        assert_eq!(authority.observe(Moment(2 * SECOND), &outputs), Ok(None));
        let outputs = [output(500, 2), output(310, 2)];
        let going = authority
            .observe(Moment(3 * SECOND), &outputs)
            .unwrap()
            .unwrap();
        assert_eq!(going.due(at(310)), Due::At(Moment(3 * SECOND)));
        assert_eq!(going.due(at(500)), Due::At(Moment(98 * SECOND)));
    }

    #[test]
    fn a_hold_stands_where_the_limit_was_reached_and_goes_on_from_there() {
        let outputs = [output(10, 1), output(10, 1)];
        let (mut authority, _) =
            Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
        // One output is still at 12 s when the clock is at 16.9 s: within the limit.
        let outputs = [output(12, 1), output(27, 1)];
        assert_eq!(authority.observe(Moment(6 * SECOND), &outputs), Ok(None));
        // Everybody was stopped for a minute: the clock stands at 12 + 5, not a minute on.
        let held = authority
            .observe(Moment(66 * SECOND), &outputs)
            .unwrap()
            .unwrap();
        assert_eq!(held.due(at(17)), Due::At(Moment(7 * SECOND)));
        assert_eq!(held.due(at(18)), Due::Not);
        assert_eq!(authority.observe(Moment(67 * SECOND), &outputs), Ok(None));
        let caught_up = [output(18, 2), output(27, 2)];
        let going = authority
            .observe(Moment(70 * SECOND), &caught_up)
            .unwrap()
            .unwrap();
        assert_eq!(going.due(at(17)), Due::At(Moment(70 * SECOND)));
        assert_eq!(going.due(at(27)), Due::At(Moment(80 * SECOND)));
    }

    #[test]
    fn the_policy_decides_about_lag() {
        let late = [output(0, 1), output(60, 1)];
        let (mut catching_up, _) =
            Authority::start(settings(1.0, Overload::CatchUp), Moment(0), &late);
        assert_eq!(catching_up.observe(Moment(60 * SECOND), &late), Ok(None));
        let (mut failing, _) = Authority::start(settings(1.0, Overload::Fail), Moment(0), &late);
        assert_eq!(
            failing.observe(Moment(60 * SECOND), &late),
            Err(Overdue {
                output: 0,
                lag: Duration::from_secs(60)
            })
        );
    }

    #[test]
    fn a_pause_in_a_hold_and_a_speed_in_a_pause() {
        let outputs = [output(0, 9)];
        let (mut authority, _) =
            Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
        assert!(
            authority
                .observe(Moment(9 * SECOND), &outputs)
                .unwrap()
                .is_some()
        );
        assert!(
            authority
                .command(now_command(Command::Pause), Moment(10 * SECOND), &outputs)
                .is_some()
        );
        assert_eq!(
            authority.command(
                now_command(Command::Speed(0.0)),
                Moment(11 * SECOND),
                &outputs
            ),
            None
        );
        let going = authority
            .command(now_command(Command::Resume), Moment(12 * SECOND), &outputs)
            .unwrap();
        assert_eq!(going.motion, Motion::Unpaced);
    }

    #[test]
    fn a_hold_that_takes_time_to_be_known_stands_where_all_may_be_by_then() {
        let with = |lead| Settings {
            lead: Duration::from_secs(lead),
            ..settings(1.0, Overload::Hold)
        };
        let held = |lead, told: i64| {
            let outputs = [output(10, 1), output(30, 1)];
            let start = Moment(-(lead as i64) * SECOND / 2);
            let (mut authority, _) = Authority::start(with(lead), start, &[output(0, 0)]);
            let now = Moment(told * SECOND);
            match authority.observe(now, &outputs).unwrap().unwrap() {
                Revision {
                    motion: Motion::Held { at, .. },
                    effective_at,
                    ..
                } => {
                    assert_eq!(effective_at, now);
                    at.micros() / 1_000_000
                }
                other => panic!("{other:?}"),
            }
        };
        // Due at 10, late from 15 on. In one process everybody knows at once.
        assert_eq!(held(0, 18), 15);
        assert_eq!(held(2, 18), 20);
        // Told much too late: nobody is to run ahead.
        assert_eq!(held(2, 3_600), 22);
    }

    #[test]
    fn what_begins_to_run_takes_half_the_lead() {
        let lead = |seconds| Settings {
            lead: Duration::from_secs(seconds),
            ..settings(1.0, Overload::Hold)
        };
        let from = |revision: Revision| revision.effective_at.0 / SECOND;
        let (mut authority, first) = Authority::start(lead(2), Moment(0), &[output(0, 0)]);
        assert_eq!(from(first), 1);
        let outputs = [output(10, 1)];
        let now = |seconds: i64| Moment(seconds * SECOND);
        let slower = now_command(Command::Speed(0.5));
        let slower = authority.command(slower, now(10), &outputs).unwrap();
        assert_eq!(from(slower), 12);
        let pause = authority.command(now_command(Command::Pause), now(20), &outputs);
        assert_eq!(from(pause.unwrap()), 22);
        let stands = [output(16, 3)];
        let resume = authority.command(now_command(Command::Resume), now(30), &stands);
        assert_eq!(from(resume.unwrap()), 31);
        // Held for an output that says nothing, and released when it has caught up.
        let held = authority.observe(now(50), &stands).unwrap().unwrap();
        assert!(matches!(held.motion, Motion::Held { .. }), "{held:?}");
        let released = authority.observe(now(60), &[output(90, 5)]);
        assert_eq!(from(released.unwrap().unwrap()), 61);
    }

    #[test]
    fn another_process_goes_on_with_what_was_published() {
        let set = settings(2.0, Overload::Hold);
        let outputs = [output(8, 1), output(5, 1)];
        let (mut first, _) = Authority::start(set, Moment(0), &outputs);
        assert_eq!(first.mode(), Mode::Going);
        let pause = first.command(now_command(Command::Pause), Moment(SECOND), &outputs);
        assert_eq!(first.mode(), Mode::Paused);
        let mut next = Authority::resume(*first.settings(), first.mode(), pause.unwrap());
        assert_eq!((next.mode(), next.newest().number), (Mode::Paused, 2));
        assert_eq!(next.observe(Moment(2 * SECOND), &outputs), Ok(None));
        // Somebody lets it go on while not all stand: it settles, whoever decides by then.
        let resume = now_command(Command::Resume);
        assert_eq!(next.command(resume, Moment(3 * SECOND), &outputs), None);
        assert_eq!(next.mode(), Mode::Settling);
        let mut last = Authority::resume(set, next.mode(), *next.newest());
        let known = [output(8, 2), output(5, 2)];
        let going = last.observe(Moment(9 * SECOND), &known).unwrap().unwrap();
        assert_eq!(
            (going.number, going.due(at(5))),
            (3, Due::At(Moment(9 * SECOND)))
        );
        assert_eq!(last.mode(), Mode::Going);
    }

    #[test]
    fn nothing_to_stream_starts_all_the_same() {
        let (mut authority, first) =
            Authority::start(settings(1.0, Overload::Hold), Moment(3), &[]);
        assert_eq!(first.number, 1);
        assert_eq!(authority.observe(Moment(SECOND), &[]), Ok(None));
    }
}
