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
}

fn bed() -> Bed {
    Bed {
        clock: StreamClockSpec::default(),
        live: settings(10.0),
        stand: false,
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
