//! One output's figures at a moment, lanes added up: read from the board, shown by whoever shows.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clock::{Anchor, Mono, Motion, Timeline};
use crate::engine::{Board, LaneGauge};
use crate::time::EventTime;

/// An output's figures. Counts are since the attempt's start.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputFigures {
    /// The output.
    pub output_id: String,
    /// Rows of the view.
    pub rows: u64,
    /// Rows of the view behind the slowest lane's cursor.
    pub behind: u64,
    /// Events that IG has taken.
    pub taken: u64,
    /// The event time that the slowest lane has reached; none: no event was taken.
    pub reached: Option<EventTime>,
    /// How far the slowest lane is behind the clock; none where there is no schedule.
    pub lag: Option<Duration>,
    /// Attempts beyond the first, by this process.
    pub retried: u64,
    /// Events that IG quarantined.
    pub quarantined: u64,
    /// For how long the gate has taken nothing; zero: it is there.
    pub gate_away: Duration,
    /// Nothing is left to send.
    pub finished: bool,
}

/// The figures of all outputs, in the plan's order.
pub fn of(board: &Board, timeline: &Timeline, now: Mono) -> Vec<OutputFigures> {
    let mut outputs: Vec<OutputFigures> = Vec::new();
    for lane in &board.lanes {
        let lag = lag(lane, timeline, now);
        let one = OutputFigures {
            output_id: lane.output_id.clone(),
            rows: lane.view_rows,
            behind: lane.rows_behind.load(Relaxed),
            taken: lane.taken.load(Relaxed),
            reached: lane.reached(),
            lag,
            retried: lane.retried.load(Relaxed),
            quarantined: lane.quarantined.load(Relaxed),
            gate_away: Duration::from_secs(lane.gate_away.load(Relaxed)),
            finished: lane.finished.load(Relaxed),
        };
        match outputs.last_mut() {
            Some(sum) if sum.output_id == one.output_id => {
                sum.behind = sum.behind.min(one.behind);
                sum.taken += one.taken;
                sum.reached = sum.reached.min(one.reached);
                sum.lag = sum.lag.max(one.lag);
                sum.retried += one.retried;
                sum.quarantined += one.quarantined;
                sum.gate_away = sum.gate_away.max(one.gate_away);
                sum.finished &= one.finished;
            }
            _ => outputs.push(one),
        }
    }
    outputs
}

/// How far a lane is behind the clock; none where there is no schedule.
pub fn lag(lane: &LaneGauge, timeline: &Timeline, now: Mono) -> Option<Duration> {
    let (anchor, stand) = stand(&timeline.at(now)?.motion, now)?;
    Some(lane.lag(&anchor, stand))
}

/// The schedule, and the moment on it that the clock has come to: while it is held, that moment
/// stands still, and an output that has sent everything up to it is not behind.
pub fn stand(motion: &Motion, now: Mono) -> Option<(Anchor, Mono)> {
    match *motion {
        Motion::Running(anchor) => Some((anchor, now)),
        Motion::Held { anchor, at } => Some((anchor, anchor.due(at).min(now))),
        Motion::Unpaced | Motion::Paused => None,
    }
}

/// What the clock does, in a few words: the event time and the speed.
pub fn clock(timeline: &Timeline, now: Mono) -> String {
    match timeline.at(now).map(|revision| revision.motion) {
        None => "waiting for the first events".to_owned(),
        Some(Motion::Running(anchor)) => {
            format!(
                "{} at {}×",
                second(anchor.event_time(now)),
                speed(anchor.speedup)
            )
        }
        Some(Motion::Unpaced) => "no waiting".to_owned(),
        Some(Motion::Paused) => "paused".to_owned(),
        Some(Motion::Held { at, .. }) => format!("{} held for a late output", second(at)),
    }
}

/// `2026-01-01 00:00:00`: people need no microseconds.
pub fn second(ts: EventTime) -> String {
    let text = ts.to_string();
    text[..19].replace('T', " ")
}

/// A speed without needless digits.
fn speed(speedup: f64) -> String {
    if speedup >= 100.0 {
        format!("{speedup:.0}")
    } else {
        format!("{speedup}")
    }
}

/// `12,345`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_held_stands() {
        let epoch = EventTime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let later = |seconds: i64| EventTime::from_micros(epoch.micros() + seconds * 1_000_000);
        let anchor = Anchor {
            event_epoch: epoch,
            wall_epoch: Mono(0),
            speedup: 1.0,
        };
        let now = Mono(60_000_000_000);
        assert_eq!(stand(&Motion::Running(anchor), now), Some((anchor, now)));
        let at = later(10).unwrap();
        let held = Motion::Held { anchor, at };
        assert_eq!(stand(&held, now), Some((anchor, Mono(10_000_000_000))));
        assert_eq!(stand(&Motion::Paused, now), None);
    }

    #[test]
    fn numbers_and_times_as_people_read_them() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
        let ts = EventTime::parse_rfc3339("2026-01-02T03:04:05.678901Z").unwrap();
        assert_eq!(second(ts), "2026-01-02 03:04:05");
        assert_eq!(speed(129_600.4), "129600");
        assert_eq!(speed(0.5), "0.5");
    }
}
