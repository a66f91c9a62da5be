//! Revisions as a StreamClock publishes them: wall-clock times as text, and nothing that depends
//! on who reads them.

use super::{Anchor, Mode, Motion, Revision, WallOffset};
use crate::stream_clock::{ClockMode, RevisionSpec};
use crate::time::EventTime;

/// A revision as it is published. `speedup` is the one that the clock is set to, which a pause
/// keeps; times are rounded up to a microsecond.
pub fn spec(revision: &Revision, speedup: f64, offset: WallOffset) -> RevisionSpec {
    let mut spec = RevisionSpec {
        revision: revision.number,
        effective_at: Some(offset.wall(revision.effective_at).to_string()),
        speedup,
        ..RevisionSpec::default()
    };
    let (anchor, held_at) = match revision.motion {
        Motion::Running(anchor) => (Some(anchor), None),
        Motion::Held { anchor, at } => (Some(anchor), Some(at)),
        Motion::Unpaced => {
            spec.speedup = 0.0;
            (None, None)
        }
        Motion::Paused => {
            spec.paused = true;
            (None, None)
        }
    };
    if let Some(anchor) = anchor {
        spec.speedup = anchor.speedup;
        spec.event_epoch = Some(anchor.event_epoch.to_string());
        spec.wall_epoch = Some(offset.wall(anchor.wall_epoch).to_string());
    }
    spec.held_at = held_at.map(|at| at.to_string());
    spec
}

/// A published revision in the moments of a clock that the wall clock is `offset` ahead of.
///
/// Errors: the field that is missing or no time, in one sentence.
pub fn revision(spec: &RevisionSpec, offset: WallOffset) -> Result<Revision, String> {
    let time = |field: &str, value: &Option<String>| match value {
        Some(text) => EventTime::parse_rfc3339(text).map_err(|error| format!("{field}: {error}")),
        None => Err(format!("{field} is missing")),
    };
    if spec.revision == 0 {
        return Err("revision: found 0, expected 1 or more".to_owned());
    }
    if !(spec.speedup.is_finite() && spec.speedup >= 0.0) {
        let found = spec.speedup;
        return Err(format!("speedup: found {found}, expected 0 or more"));
    }
    let motion = if spec.paused {
        Motion::Paused
    } else if spec.speedup == 0.0 {
        Motion::Unpaced
    } else {
        let anchor = Anchor {
            event_epoch: time("eventEpoch", &spec.event_epoch)?,
            wall_epoch: offset.moment(time("wallEpoch", &spec.wall_epoch)?),
            speedup: spec.speedup,
        };
        match &spec.held_at {
            None => Motion::Running(anchor),
            at => Motion::Held {
                anchor,
                at: time("heldAt", at)?,
            },
        }
    };
    Ok(Revision {
        number: spec.revision,
        effective_at: offset.moment(time("effectiveAt", &spec.effective_at)?),
        motion,
    })
}

impl From<Mode> for ClockMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Going => ClockMode::Going,
            Mode::Paused => ClockMode::Paused,
            Mode::Settling => ClockMode::Settling,
            Mode::Holding => ClockMode::Holding,
        }
    }
}

impl From<ClockMode> for Mode {
    fn from(mode: ClockMode) -> Self {
        match mode {
            ClockMode::Going => Mode::Going,
            ClockMode::Paused => Mode::Paused,
            ClockMode::Settling => Mode::Settling,
            ClockMode::Holding => Mode::Holding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn at(text: &str) -> EventTime {
        EventTime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn every_motion_survives_being_published() {
        let wall = at("2026-11-02T10:00:00.000000Z");
        let operator = WallOffset::NONE;
        let worker = WallOffset::between(wall, Moment(5_000_000));
        let anchor = |wall_epoch| Anchor {
            event_epoch: at("2026-01-03T00:00:00.250000Z"),
            wall_epoch,
            speedup: 3.5,
        };
        let held = at("2026-01-03T07:00:00.000001Z");
        let motions: [fn(Anchor, EventTime) -> Motion; 4] = [
            |anchor, _| Motion::Running(anchor),
            |anchor, at| Motion::Held { anchor, at },
            |_, _| Motion::Paused,
            |_, _| Motion::Unpaced,
        ];
        for (number, motion) in (1..).zip(motions) {
            let told = Revision {
                number,
                effective_at: operator.moment(wall),
                motion: motion(anchor(operator.moment(wall)), held),
            };
            let published = spec(&told, 3.5, operator);
            assert_eq!(revision(&published, operator), Ok(told));
            let known = revision(&published, worker).unwrap();
            assert_eq!(known.effective_at, Moment(5_000_000));
            assert_eq!(known.motion, motion(anchor(Moment(5_000_000)), held));
        }
    }

    #[test]
    fn a_pause_keeps_the_speed_and_no_waiting_has_none() {
        let with = |motion| Revision {
            number: 4,
            effective_at: Moment(1),
            motion,
        };
        let pause = spec(&with(Motion::Paused), 60.0, WallOffset::NONE);
        assert_eq!((pause.speedup, pause.paused), (60.0, true));
        assert_eq!(
            pause.effective_at.as_deref(),
            Some("1970-01-01T00:00:00.000001Z")
        );
        let unpaced = spec(&with(Motion::Unpaced), 60.0, WallOffset::NONE);
        assert_eq!((unpaced.speedup, unpaced.paused), (0.0, false));
    }

    #[test]
    fn what_is_missing_or_no_time_is_named() {
        let good = RevisionSpec {
            revision: 1,
            effective_at: Some("2026-11-02T10:00:00Z".into()),
            event_epoch: Some("2026-01-03T00:00:00Z".into()),
            wall_epoch: Some("2026-11-02T10:00:00Z".into()),
            speedup: 1.0,
            ..RevisionSpec::default()
        };
        assert!(revision(&good, WallOffset::NONE).is_ok());
        type Change = fn(&mut RevisionSpec);
        let cases: [(&str, Change); 6] = [
            ("revision", |it| it.revision = 0),
            ("speedup", |it| it.speedup = f64::NAN),
            ("speedup", |it| it.speedup = -1.0),
            ("eventEpoch", |it| it.event_epoch = None),
            ("wallEpoch", |it| it.wall_epoch = Some("soon".into())),
            ("effectiveAt", |it| it.effective_at = None),
        ];
        for (field, change) in cases {
            let mut spec = good.clone();
            change(&mut spec);
            let error = revision(&spec, WallOffset::NONE).unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
