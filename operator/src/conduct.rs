//! The clock of a stream: what the next revision is, if one follows. Pure: the shared
//! [`Authority`] decides, here is only what it is told and what is published of it. Moments are
//! of the wall clock.

use jiff::Timestamp;
use std::time::Duration;
use worldstream_crds::clock::{
    Authority, Change, Command, Mode, Moment, Motion, Observation, Revision, Settings, WallOffset,
    published,
};
use worldstream_crds::time::EventTime;
use worldstream_crds::{ClockChange, LedgerEntry, Overload, StreamClockSpec};

use crate::validate::Live;

/// What the clock follows.
#[derive(Clone)]
pub struct Conditions<'a> {
    /// What was published last.
    pub clock: &'a StreamClockSpec,
    /// Whether it ran before: then a clock without a revision was lost.
    pub started: bool,
    /// What is set.
    pub live: &'a Live,
    /// Whether it is to stand, for whatever reason.
    pub stand: bool,
    /// Whether the spec asks for that: `paused` or `suspend`.
    pub asked: bool,
    /// Whether all unfinished workers are up and primed.
    pub all_up: bool,
    /// What the unfinished workers report.
    pub reports: &'a [Report],
    /// Who asked, by field of the spec.
    pub by: &'a dyn Fn(&str) -> String,
}

/// What an unfinished worker reports, and how old that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Where it is.
    pub observation: Observation,
    /// How far it says that it is behind.
    pub lag: Duration,
}

/// What becomes of the clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What is to be published.
    pub publish: Option<StreamClockSpec>,
    /// An output is too late, and the policy is to fail: index into the reports, and the lag.
    pub overdue: Option<(usize, Duration)>,
    /// When to look again although nothing was heard.
    pub again: Option<Duration>,
}

/// Reports come every other second: a worker is not late because its last one is that old.
const REPORTED_WITHIN: Duration = Duration::from_millis(3_000);

/// Decides.
pub fn conduct(now: Timestamp, conditions: &Conditions<'_>) -> Step {
    let moment = Moment(i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX));
    let live = conditions.live;
    let settings = Settings {
        speedup: live.speedup,
        paused: conditions.stand,
        overload: live.overload,
        max_lag: tolerance(conditions),
        lead: live.lead,
    };
    let seen: Vec<Observation> = conditions.reports.iter().map(|it| it.observation).collect();
    let mut clock = conditions.clock.clone();
    let Some(newest) = clock.newest() else {
        return begin(clock, settings, moment, &seen, conditions);
    };
    let newest = match published::revision(&newest, WallOffset::NONE) {
        Ok(newest) => newest,
        // Only the operator writes it; what is no revision is replaced like a lost one.
        Err(_) => return begin(clock, settings, moment, &seen, conditions),
    };
    let before = Settings {
        speedup: clock.speedup,
        ..settings
    };
    let mut authority = Authority::resume(before, clock.mode.into(), newest);
    let mut step = Step::default();
    let command = |command| Change {
        command,
        effective_at: None,
    };
    let nobody = || (conditions.by)("");
    let asked = || match conditions.asked {
        true => (conditions.by)("paused"),
        false => nobody(),
    };
    if conditions.stand {
        let stood = authority.newest().motion;
        if let Some(revision) = authority.command(command(Command::Pause), moment, &seen) {
            let changes = [(ClockChange::Paused, asked())];
            take(&mut clock, &authority, stood, &revision, &changes);
        }
    }
    if live.speedup != authority.settings().speedup {
        let stood = authority.newest().motion;
        let by = (conditions.by)("speedup");
        let revision = authority.command(command(Command::Speed(live.speedup)), moment, &seen);
        let mut changes = vec![(ClockChange::SpeedChanged, by)];
        match revision {
            Some(revision) => {
                if revision.motion == Motion::Paused {
                    changes.push((ClockChange::Settled, nobody()));
                }
                take(&mut clock, &authority, stood, &revision, &changes);
            }
            None => {
                // The clock stands, and takes it when it goes on: no revision, but on record.
                clock.speedup = authority.settings().speedup;
                let newest = *authority.newest();
                let from = newest.effective_at.max(moment);
                note(&mut clock, &newest, from, &changes);
            }
        }
    }
    // Who ended a pause is who asked for it, also where it had to settle first.
    let resumed = |clock: &StreamClockSpec| {
        let pause = clock
            .ledger
            .iter()
            .rev()
            .find(|entry| matches!(entry.change, ClockChange::Paused | ClockChange::Settled));
        match pause {
            Some(pause) if pause.change == ClockChange::Paused && pause.by != nobody() => {
                (ClockChange::Resumed, (conditions.by)("paused"))
            }
            _ => (ClockChange::Resumed, nobody()),
        }
    };
    if !conditions.stand && authority.mode() == Mode::Paused && conditions.all_up {
        let stood = authority.newest().motion;
        if let Some(revision) = authority.command(command(Command::Resume), moment, &seen) {
            let changes = [resumed(&clock)];
            take(&mut clock, &authority, stood, &revision, &changes);
        }
    }
    // A stand ends when all have told where they are, so all must be there to be asked.
    if authority.mode() != Mode::Settling || conditions.all_up {
        let stood = authority.newest().motion;
        match authority.observe(moment, &seen) {
            Ok(Some(revision)) => {
                let changes = match (stood, revision.motion) {
                    (_, Motion::Held { .. }) => [(ClockChange::Held, nobody())],
                    (Motion::Held { .. }, _) => [(ClockChange::Released, nobody())],
                    _ => [resumed(&clock)],
                };
                take(&mut clock, &authority, stood, &revision, &changes);
            }
            Ok(None) => {}
            Err(overdue) => step.overdue = Some((overdue.output, overdue.lag)),
        }
    }
    // A resume that waits for all to stand makes no revision, and has to be remembered.
    clock.mode = authority.mode().into();
    step.publish = (clock != *conditions.clock).then_some(clock);
    step.again = again(&authority, moment, &seen, conditions);
    step
}

/// The first revision, or one in place of a clock that was lost.
fn begin(
    mut clock: StreamClockSpec,
    settings: Settings,
    now: Moment,
    seen: &[Observation],
    conditions: &Conditions<'_>,
) -> Step {
    if !conditions.all_up {
        return Step::default();
    }
    let (authority, mut first) = Authority::start(settings, now, seen);
    let mut change = ClockChange::Started;
    if conditions.started {
        // Numbers go on after the newest that a worker has seen.
        let known = seen.iter().map(|it| it.known).max().unwrap_or_default();
        first.number = known + 1;
        change = ClockChange::Rebuilt;
    }
    write(&mut clock, &first, &authority);
    let changes = [(change, (conditions.by)(""))];
    note(&mut clock, &first, first.effective_at, &changes);
    let again = again(&authority, now, seen, conditions);
    Step {
        publish: Some(clock),
        overdue: None,
        again,
    }
}

fn write(clock: &mut StreamClockSpec, revision: &Revision, authority: &Authority) {
    let speedup = authority.settings().speedup;
    clock.publish(published::spec(revision, speedup, WallOffset::NONE));
    clock.mode = authority.mode().into();
}

/// Takes a revision over, and notes all that changed with it. A hold that ends is released,
/// whatever ends it.
fn take(
    clock: &mut StreamClockSpec,
    authority: &Authority,
    stood: Motion,
    revision: &Revision,
    changes: &[(ClockChange, String)],
) {
    write(clock, revision, authority);
    let held = |motion| matches!(motion, Motion::Held { .. });
    let mut all = changes.to_vec();
    if held(stood)
        && !held(revision.motion)
        && let Some((first, by)) = changes.first()
        && *first != ClockChange::Released
    {
        all.insert(0, (ClockChange::Released, by.clone()));
    }
    note(clock, revision, revision.effective_at, &all);
}

/// Notes changes that came with a revision and count from a moment.
fn note(
    clock: &mut StreamClockSpec,
    revision: &Revision,
    from: Moment,
    changes: &[(ClockChange, String)],
) {
    let event_time = match revision.motion {
        Motion::Running(anchor) => Some(anchor.event_time(from)),
        Motion::Held { at, .. } => Some(at),
        Motion::Unpaced => None,
        // Where the clock stood when the pause began, by what was in force until then.
        Motion::Paused => clock
            .previous
            .as_ref()
            .and_then(|before| published::revision(before, WallOffset::NONE).ok())
            .and_then(|before| match before.motion {
                Motion::Running(anchor) => Some(anchor.event_time(revision.effective_at)),
                Motion::Held { at, .. } => Some(at),
                _ => None,
            }),
    };
    for (change, by) in changes {
        let entry = LedgerEntry {
            revision: revision.number,
            event_time: event_time.map(|time| time.to_string()),
            wall_time: Some(WallOffset::NONE.wall(from).to_string()),
            change: *change,
            speedup: clock.speedup,
            stands: matches!(revision.motion, Motion::Paused | Motion::Held { .. }),
            by: by.clone(),
        };
        clock.note(entry);
    }
}

/// How far behind an output may look. What a worker says of itself counts at once; one that has
/// said nothing may be on time, as it reports every other second.
fn tolerance(conditions: &Conditions<'_>) -> Duration {
    let limit = conditions.live.max_lag;
    match conditions.reports.iter().any(|report| report.lag > limit) {
        true => limit,
        false => limit.max(REPORTED_WITHIN),
    }
}

fn again(
    authority: &Authority,
    now: Moment,
    seen: &[Observation],
    conditions: &Conditions<'_>,
) -> Option<Duration> {
    let newest = authority.newest();
    if newest.effective_at > now {
        return Some(newest.effective_at.since(now) + Duration::from_millis(20));
    }
    let Motion::Running(anchor) = newest.motion else {
        return None;
    };
    if conditions.live.overload == Overload::CatchUp {
        return None;
    }
    let oldest = seen.iter().map(|it| it.oldest).min()?;
    let late = anchor.due(oldest) + tolerance(conditions) + Duration::from_millis(50);
    Some(
        late.since(now)
            .clamp(Duration::from_millis(200), Duration::from_secs(600)),
    )
}

/// What event time the clock shows; none before the start and where nothing is paced.
pub fn shows(clock: &StreamClockSpec, now: Timestamp) -> Option<EventTime> {
    let moment = Moment(i64::try_from(now.as_nanosecond()).ok()?);
    let newest = published::revision(&clock.newest()?, WallOffset::NONE).ok()?;
    match newest.motion {
        Motion::Running(anchor) => Some(anchor.event_time(moment)),
        Motion::Held { at, .. } => Some(at),
        Motion::Unpaced | Motion::Paused => None,
    }
}

#[cfg(test)]
mod tests;
