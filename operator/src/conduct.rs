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
    let mut told =
        |revision: Option<Revision>, change: ClockChange, by: String, authority: &Authority| {
            if let Some(revision) = revision {
                write(&mut clock, &revision, authority);
                note(&mut clock, &revision, change, by);
                step.publish = Some(clock.clone());
            }
        };
    let command = |command| Change {
        command,
        effective_at: None,
    };
    if conditions.stand {
        let revision = authority.command(command(Command::Pause), moment, &seen);
        told(
            revision,
            ClockChange::Paused,
            (conditions.by)("paused"),
            &authority,
        );
    }
    if live.speedup != authority.settings().speedup {
        let revision = authority.command(command(Command::Speed(live.speedup)), moment, &seen);
        told(
            revision,
            ClockChange::SpeedChanged,
            (conditions.by)("speedup"),
            &authority,
        );
    }
    if !conditions.stand && authority.mode() == Mode::Paused && conditions.all_up {
        let revision = authority.command(command(Command::Resume), moment, &seen);
        told(
            revision,
            ClockChange::Resumed,
            (conditions.by)("paused"),
            &authority,
        );
    }
    let stood = authority.newest().motion;
    // A stand ends when all have told where they are, so all must be there to be asked.
    let settled = authority.mode() != Mode::Settling || conditions.all_up;
    if settled {
        match authority.observe(moment, &seen) {
            Ok(revision) => {
                let change = match (stood, revision.map(|it| it.motion)) {
                    (_, Some(Motion::Held { .. })) => ClockChange::Held,
                    (Motion::Held { .. }, _) => ClockChange::Released,
                    _ => ClockChange::Resumed,
                };
                told(revision, change, (conditions.by)(""), &authority);
            }
            Err(overdue) => step.overdue = Some((overdue.output, overdue.lag)),
        }
    }
    let settled_mode = authority.mode();
    if step.publish.is_none() && worldstream_crds::ClockMode::from(settled_mode) != clock.mode {
        // A resume that waits for all to stand makes no revision, and has to be remembered.
        clock.mode = settled_mode.into();
        clock.speedup = authority.settings().speedup;
        step.publish = Some(clock);
    } else if step.publish.is_none() && authority.settings().speedup != clock.speedup {
        // A speed that was changed in a pause counts when it ends.
        clock.speedup = authority.settings().speedup;
        step.publish = Some(clock);
    }
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
    note(&mut clock, &first, change, (conditions.by)(""));
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

fn note(clock: &mut StreamClockSpec, revision: &Revision, change: ClockChange, by: String) {
    let event_time = match revision.motion {
        Motion::Running(anchor) => Some(anchor.event_time(revision.effective_at)),
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
    let entry = LedgerEntry {
        revision: revision.number,
        event_time: event_time.map(|time| time.to_string()),
        wall_time: Some(WallOffset::NONE.wall(revision.effective_at).to_string()),
        change,
        speedup: clock.speedup,
        by,
    };
    clock.note(entry);
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
