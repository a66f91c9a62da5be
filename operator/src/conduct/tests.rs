use super::*;
use crate::fixtures::{now, profile, stream};
use crate::validate::live;
use serde_json::json;

fn settings(speedup: f64) -> Live {
    let stream = stream(json!({"speedup": speedup}));
    live(&stream, &profile(json!({})).spec)
}

fn at(second: i64) -> EventTime {
    EventTime::from_micros(second * 1_000_000).unwrap()
}

fn report(next: i64, known: u64) -> Report {
    Report {
        observation: Observation {
            next: at(next),
            oldest: at(next),
            known,
        },
        lag: Duration::ZERO,
    }
}

struct Bed {
    clock: StreamClockSpec,
    live: Live,
    stand: bool,
    asked: bool,
    all_up: bool,
    started: bool,
    reports: Vec<Report>,
}

impl Bed {
    fn step(&mut self, seconds: i64) -> Step {
        let step = conduct(
            now() + jiff::SignedDuration::from_secs(seconds),
            &Conditions {
                clock: &self.clock,
                started: self.started,
                live: &self.live,
                stand: self.stand,
                asked: self.asked,
                all_up: self.all_up,
                reports: &self.reports,
                by: &|field| format!("by-{field}"),
            },
        );
        if let Some(spec) = &step.publish {
            assert!(spec.revision >= self.clock.revision);
            self.clock = spec.clone();
        }
        step
    }

    /// The changes since an entry of the ledger: revision, what, whether it stands, by whom.
    fn changes(&self, from: usize) -> Vec<(u64, ClockChange, bool, &str)> {
        let new = self.clock.ledger[from..].iter();
        new.map(|it| (it.revision, it.change, it.stands, it.by.as_str()))
            .collect()
    }

    /// Held, with one output that has caught up by now.
    fn held() -> Bed {
        let mut bed = bed();
        bed.step(0);
        bed.reports = vec![report(300, 1), report(80, 1)];
        bed.step(60);
        assert_eq!(
            bed.changes(1),
            [(2, ClockChange::Held, true, "by-")],
            "{:?}",
            bed.clock
        );
        bed.reports = vec![report(300, 2), report(400, 2)];
        bed
    }
}

fn bed() -> Bed {
    Bed {
        clock: StreamClockSpec::default(),
        live: settings(10.0),
        stand: false,
        asked: true,
        all_up: true,
        started: false,
        reports: vec![report(100, 0), report(70, 0)],
    }
}

#[test]
fn the_clock_starts_when_all_are_up_a_lead_ahead_at_the_lowest_event_time() {
    let mut bed = bed();
    bed.all_up = false;
    assert_eq!(bed.step(0), Step::default());
    bed.all_up = true;
    let step = bed.step(0);
    assert!(step.publish.is_some() && step.again.is_some());
    assert_eq!(bed.clock.revision, 1);
    assert_eq!(
        bed.clock.event_epoch.as_deref(),
        Some("1970-01-01T00:01:10.000000Z")
    );
    assert_eq!(
        bed.clock.effective_at.as_deref(),
        Some("2031-05-04T03:02:02.000000Z")
    );
    assert_eq!(bed.clock.ledger.len(), 1);
    // At rest nothing is published.
    bed.reports = vec![report(100, 1), report(95, 1)];
    assert_eq!(bed.step(2).publish, None);
}

#[test]
fn pause_and_speed_are_revisions_with_their_writer() {
    let mut bed = bed();
    bed.step(0);
    bed.reports = vec![report(100, 1), report(90, 1)];
    bed.live = settings(20.0);
    bed.step(2);
    assert_eq!((bed.clock.revision, bed.clock.speedup), (2, 20.0));
    let entry = bed.clock.ledger.last().unwrap();
    assert_eq!(
        (entry.change, entry.by.as_str()),
        (ClockChange::SpeedChanged, "by-speedup")
    );
    bed.stand = true;
    bed.step(4);
    assert!(bed.clock.paused && bed.clock.mode == worldstream_crds::ClockMode::Paused);
    assert_eq!(bed.clock.ledger.last().unwrap().by, "by-paused");
    assert_eq!(bed.step(6).publish, None);
    // It goes on only once all are up and have told where they stand.
    bed.stand = false;
    bed.all_up = false;
    assert_eq!(bed.step(8).publish, None);
    bed.all_up = true;
    bed.reports = vec![report(140, 3), report(130, 3)];
    bed.step(9);
    assert!(!bed.clock.paused);
    assert_eq!(
        bed.clock.event_epoch.as_deref(),
        Some("1970-01-01T00:02:10.000000Z")
    );
    assert_eq!(
        bed.clock.ledger.last().unwrap().change,
        ClockChange::Resumed
    );
}

#[test]
fn a_late_output_holds_the_clock_until_it_has_caught_up() {
    let mut bed = bed();
    bed.step(0);
    bed.reports = vec![report(300, 1), report(80, 1)];
    assert_eq!(bed.step(3).publish, None);
    bed.step(60);
    assert!(bed.clock.held_at.is_some());
    assert_eq!(bed.clock.ledger.last().unwrap().change, ClockChange::Held);
    assert_eq!(bed.step(61).publish, None);
    bed.reports = vec![report(300, 2), report(400, 2)];
    bed.step(65);
    assert!(bed.clock.held_at.is_none());
    assert_eq!(
        bed.clock.ledger.last().unwrap().change,
        ClockChange::Released
    );
}

#[test]
fn a_late_output_fails_where_the_policy_says_so() {
    let mut bed = bed();
    bed.live.overload = Overload::Fail;
    bed.step(0);
    bed.reports = vec![report(300, 1), report(80, 1)];
    let step = bed.step(60);
    let (output, lag) = step.overdue.unwrap();
    assert!(output == 1 && lag > Duration::from_secs(50));
}

#[test]
fn a_clock_that_was_lost_goes_on_after_the_newest_revision_that_a_worker_saw() {
    let mut bed = bed();
    bed.started = true;
    bed.reports = vec![report(100, 6), report(70, 7)];
    bed.step(0);
    assert_eq!(bed.clock.revision, 8);
    assert_eq!(
        bed.clock.ledger.last().unwrap().change,
        ClockChange::Rebuilt
    );
}

#[test]
fn a_hold_that_ends_together_with_another_change_is_released_all_the_same() {
    // No waiting from now on, asked for before the release was seen.
    let mut bed = Bed::held();
    bed.live = settings(0.0);
    bed.step(65);
    let (released, speed) = (ClockChange::Released, ClockChange::SpeedChanged);
    assert_eq!(
        bed.changes(2),
        [
            (3, released, false, "by-speedup"),
            (3, speed, false, "by-speedup")
        ]
    );
    assert!(bed.clock.held_at.is_none() && bed.clock.speedup == 0.0);

    // Another speed keeps the hold for as long as it is needed, and both are said.
    let mut bed = Bed::held();
    bed.live = settings(5.0);
    bed.step(65);
    bed.step(68);
    assert_eq!(
        bed.changes(2),
        [(3, speed, true, "by-speedup"), (4, released, false, "by-")]
    );

    let mut bed = Bed::held();
    bed.stand = true;
    bed.step(65);
    assert_eq!(
        bed.changes(2),
        [
            (3, released, true, "by-paused"),
            (3, ClockChange::Paused, true, "by-paused")
        ]
    );
}

#[test]
fn a_speed_that_is_changed_in_a_pause_is_on_record_at_once() {
    let mut bed = bed();
    bed.step(0);
    bed.reports = vec![report(100, 1), report(90, 1)];
    // Both in one patch.
    (bed.stand, bed.live) = (true, settings(20.0));
    bed.step(2);
    let (paused, speed) = (ClockChange::Paused, ClockChange::SpeedChanged);
    assert_eq!(
        bed.changes(1),
        [
            (2, paused, true, "by-paused"),
            (2, speed, true, "by-speedup")
        ]
    );
    assert_eq!(bed.clock.speedup, 20.0);
    bed.reports = vec![report(100, 2), report(90, 2)];
    bed.live = settings(30.0);
    bed.step(10);
    assert_eq!(bed.changes(3), [(2, speed, true, "by-speedup")]);
    let (pause, changed) = (&bed.clock.ledger[1], &bed.clock.ledger[3]);
    assert_eq!(pause.event_time, changed.event_time);
    assert!(pause.wall_time < changed.wall_time && changed.speedup == 30.0);
    // It goes on, with another speed still.
    (bed.stand, bed.live) = (false, settings(40.0));
    bed.step(20);
    assert_eq!(
        bed.changes(4),
        [
            (2, speed, true, "by-speedup"),
            (3, ClockChange::Resumed, false, "by-paused")
        ]
    );
    assert_eq!((bed.clock.speedup, bed.step(24).publish), (40.0, None));
}

#[test]
fn a_clock_that_has_to_settle_says_so_and_names_who_asked_for_it() {
    // The pause ends before all have told where they stand.
    let mut bed = bed();
    bed.step(0);
    bed.reports = vec![report(100, 1), report(90, 1)];
    bed.stand = true;
    bed.step(2);
    bed.stand = false;
    bed.step(4);
    assert_eq!(bed.clock.mode, worldstream_crds::ClockMode::Settling);
    assert_eq!(bed.changes(2), []);
    bed.reports = vec![report(100, 2), report(90, 2)];
    bed.step(5);
    let resumed = ClockChange::Resumed;
    assert_eq!(bed.changes(2), [(3, resumed, false, "by-paused")]);

    // From no waiting to a schedule.
    bed.live = settings(0.0);
    bed.step(10);
    bed.live = settings(3.0);
    bed.step(20);
    bed.reports = vec![report(500, 5), report(700, 5)];
    bed.step(25);
    let speed = ClockChange::SpeedChanged;
    assert_eq!(
        bed.changes(3),
        [
            (4, speed, false, "by-speedup"),
            (5, speed, true, "by-speedup"),
            (5, ClockChange::Settled, true, "by-"),
            (6, resumed, false, "by-")
        ]
    );
}

#[test]
fn a_pause_that_nobody_asked_for_is_nobodys() {
    let mut bed = bed();
    bed.step(0);
    bed.reports = vec![report(100, 1), report(90, 1)];
    (bed.stand, bed.asked) = (true, false);
    bed.step(2);
    bed.stand = false;
    bed.reports = vec![report(100, 2), report(90, 2)];
    bed.step(5);
    assert_eq!(
        bed.changes(1),
        [
            (2, ClockChange::Paused, true, "by-"),
            (3, ClockChange::Resumed, false, "by-")
        ]
    );
}
