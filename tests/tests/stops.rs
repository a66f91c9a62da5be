//! Stopping and starting again, but for kills: signals, a process that stands still, a second
//! process, and a view that is another one since.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use worldstream_tests::stream::{
    Case, LONG, Stream, assert_complete, receipts, sample, side_by_side, until,
};
use worldstream_tests::{Arrival, GateProcess, monotonic};

const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";

fn rows_of(rows: u64) -> impl Fn(&str) -> u64 {
    move |output| match output {
        TRAFFIC => rows,
        _ => rows / 2,
    }
}

#[test]
fn a_signal_stops_it_with_everything_saved() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 1000, &["--days", "1"]);
    let (dir, world) = (dir.path(), &world);
    let mut cases: Vec<Case> = Vec::new();
    for signal in ["INT", "TERM"] {
        for in_flight in ["1", "16"] {
            let name = format!("{signal}-{in_flight}");
            let bed = dir.join(&name);
            cases.push((
                name,
                Box::new(move || interrupt(&bed, world, signal, in_flight)),
            ));
        }
    }
    side_by_side(cases);
}

fn interrupt(bed: &Path, world: &Path, signal: &str, in_flight: &str) {
    let gate = GateProcess::start(bed, &["--fault", "latency=20ms"]);
    let stream = Stream::new(bed, world, &gate.url).args(["--in-flight", in_flight]);
    let mut pushes = 0;
    for _ in 0..3 {
        let running = stream.command().start();
        until("a few pushes", || gate.pushes() >= pushes + 30);
        running.signal(signal);
        let ended = running.finish_within(LONG).expect(14);
        let summary = ended.json();
        for receipt in receipts(&summary) {
            assert_eq!(receipt["outcome"], "incomplete", "{receipt:#}");
        }
        // What IG has is what is saved, to the event.
        pushes = gate.pushes();
        let saved: u64 = receipts(&summary)
            .iter()
            .map(|receipt| receipt["rows"].as_u64().unwrap())
            .sum();
        assert_eq!(saved, pushes);
    }
    gate.set_faults(&[]);
    let summary = stream.finish(0).json();
    assert_complete(&summary, rows_of(1000));
    let seen = gate.summary();
    assert_eq!(seen["duplicates"], 0, "nothing was sent twice: {seen:#}");
    assert_eq!(gate.end().len(), 2500);
}

#[test]
fn a_signal_ends_every_wait_and_a_second_one_everything() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 200, &["--days", "2"]);
    let (dir, world) = (dir.path(), &world);
    side_by_side(vec![
        (
            "for an event's time".into(),
            Box::new(|| while_waiting(&dir.join("due"), world)),
        ),
        (
            "for the gate".into(),
            Box::new(|| while_refused(&dir.join("refused"), world)),
        ),
        (
            "for an answer".into(),
            Box::new(|| twice(&dir.join("twice"), world)),
        ),
    ]);
}

/// In real time the next event of a two-day world is minutes away.
fn while_waiting(bed: &Path, world: &Path) {
    let gate = GateProcess::start(bed, &[]);
    let stream = Stream::new(bed, world, &gate.url);
    let running = stream.clone().args(["--speedup", "1"]).command().start();
    until("the first event", || gate.pushes() > 0);
    running.signal("INT");
    running.finish_within(LONG).expect(14);
    let sent = gate.pushes();
    assert!((1..500).contains(&sent), "{sent}");
    assert_complete(&stream.finish(0).json(), rows_of(200));
    assert_eq!(gate.summary()["duplicates"], 0);
}

/// An event that waits for its next attempt is not waited for, and not lost.
fn while_refused(bed: &Path, world: &Path) {
    let gate = GateProcess::start(bed, &["--fault", "latency=5ms"]);
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.retry.base", "30s")
        .set("gate.retry.max", "60s");
    let mut running = stream.command().start();
    until("a few pushes", || gate.pushes() > 20);
    gate.set_faults(&["5xx"]);
    until("all outputs wait", || {
        gate.summary()["answers"]["503"].as_u64() >= Some(4)
    });
    assert!(!running.ended());
    running.signal("TERM");
    running.finish_within(LONG).expect(14);
    gate.set_faults(&[]);
    assert_complete(&stream.finish(0).json(), rows_of(200));
    assert_eq!(gate.end().len(), 500);
}

/// The first signal waits for the answer, which never comes; the second does not.
fn twice(bed: &Path, world: &Path) {
    let gate = GateProcess::start(bed, &["--fault", "stall:from=0s,for=1h"]);
    let stream = Stream::new(bed, world, &gate.url);
    let mut running = stream.command().start();
    until("a push", || gate.pushes() > 0);
    running.signal("INT");
    until("it says so", || running.stderr().contains("stopping"));
    assert!(!running.ended());
    let began = Instant::now();
    running.signal("INT");
    running.finish_within(LONG).expect(130);
    // The answer's own limit is 30 s.
    assert!(began.elapsed() < Duration::from_secs(15));
    gate.set_faults(&[]);
    assert_complete(&stream.finish(0).json(), rows_of(200));
    assert_eq!(gate.end().len(), 500);
}

#[test]
fn a_view_that_is_another_one_since_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut cases: Vec<Case> = Vec::new();
    for (name, change) in CHANGES {
        let bed = dir.join(name);
        cases.push(((*name).to_owned(), Box::new(move || changed(&bed, change))));
    }
    side_by_side(cases);
}

/// A name, and what is done to a view's folder, given one of a world of another seed.
type ViewChange = (&'static str, fn(&Path, &Path));

const CHANGES: &[ViewChange] = &[
    ("the cursor's part replaced", |view, other| {
        std::fs::copy(part(other, 0), part(view, 0)).unwrap();
    }),
    ("a later part replaced", |view, other| {
        std::fs::copy(part(other, 1), part(view, 1)).unwrap();
    }),
    ("a part removed", |view, _| {
        std::fs::remove_file(part(view, 1)).unwrap();
    }),
    ("a part added", |view, other| {
        std::fs::copy(part(other, 1), part(view, 7)).unwrap();
    }),
    ("a part renamed", |view, _| {
        std::fs::rename(part(view, 1), part(view, 3)).unwrap();
    }),
];

fn part(view: &Path, number: u32) -> std::path::PathBuf {
    let parts: Vec<_> = std::fs::read_dir(view)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".parquet"))
        .collect();
    let first = parts.iter().min().unwrap();
    // The names differ in their numbers alone.
    let digits = first.len() - "part-.parquet".len();
    let base: u32 = first["part-".len()..][..digits].parse().unwrap();
    view.join(format!("part-{:0digits$}.parquet", base + number))
}

fn changed(bed: &Path, change: &fn(&Path, &Path)) {
    let (world, other) = (bed.join("world"), bed.join("other"));
    sample(&world, 400, &["--days", "1"]);
    sample(&other, 400, &["--days", "1", "--seed", "8"]);
    let gate = GateProcess::start(bed, &[]);
    let stream = Stream::new(bed, &world, &gate.url);
    stream
        .clone()
        .args(["--max-events-per-output", "50"])
        .finish(0);
    assert_eq!(gate.pushes(), 200);
    let view = |world: &Path| world.join("stream_view/ts_utc/output_id=s1_arrival_entities_6B");
    change(&view(&world), &view(&other));
    for _ in 0..2 {
        let refused = stream.finish(10);
        assert!(
            refused.stderr.contains("STREAM_VIEW_CHANGED"),
            "{refused:#?}"
        );
        assert!(
            refused.stderr.contains("s1_arrival_entities_6B"),
            "{refused:#?}"
        );
    }
    assert_eq!(gate.pushes(), 200, "nothing was sent");
}

#[test]
fn of_two_processes_the_second_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 1000, &["--days", "1"]);
    let gate = GateProcess::start(dir.path(), &["--fault", "latency=20ms"]);
    let stream = Stream::new(dir.path(), &world, &gate.url).args(["--in-flight", "1"]);
    let mut first = stream.command().start();
    until("the first one sends", || gate.pushes() > 0);
    for _ in 0..2 {
        let second = stream.finish(12);
        assert!(second.stderr.contains("CHECKPOINT_CONFLICT"), "{second:#?}");
        let holder = format!("process {}", first.id());
        assert!(second.stderr.contains(&holder), "{second:#?}");
    }
    assert!(!first.ended());
    gate.set_faults(&[]);
    let summary = first.finish_within(LONG).expect(0).json();
    assert_complete(&summary, rows_of(1000));
    // Each event arrived once: the second process sent none.
    assert_eq!(gate.pushes(), 2500);
    assert_eq!(gate.end().len(), 2500);
}

/// A stream of [`PACED`] is stopped as a whole for [`STANDSTILL`], much longer than `maxLag`.
struct Stood {
    arrivals: Vec<Arrival>,
    /// Of the event times, at the stream's speed.
    schedule: Duration,
    /// From the first arrival to the last.
    took: Duration,
    /// Event seconds a second.
    speedup: f64,
    /// When it was stopped, and when it went on.
    stopped: u64,
    went_on: u64,
}

const PACED: Duration = Duration::from_secs(12);
const STANDSTILL: Duration = Duration::from_secs(4);
const MAX_LAG: Duration = Duration::from_secs(1);
/// What a busy machine may add to a moment that was measured.
const SLACK: f64 = 0.75;

fn stand(bed: &Path, world: &Path, overload: &str, code: i32) -> (Stood, Value) {
    stand_with(bed, world, overload, code, |stream| stream)
}

fn stand_with(
    bed: &Path,
    world: &Path,
    overload: &str,
    code: i32,
    more: fn(Stream) -> Stream,
) -> (Stood, Value) {
    let gate = GateProcess::start(bed, &[]);
    let speedup = 86_400.0 / PACED.as_secs_f64();
    let stream = Stream::new(bed, world, &gate.url).args([
        "--speedup",
        &speedup.to_string(),
        "--overload",
        overload,
        "--max-lag",
        &format!("{}s", MAX_LAG.as_secs()),
    ]);
    let running = more(stream).command().start();
    until("it is well under way", || gate.pushes() > 600);
    running.signal("STOP");
    let stopped = monotonic();
    std::thread::sleep(STANDSTILL);
    let went_on = monotonic();
    running.signal("CONT");
    let summary = running.finish_within(LONG).expect(code).json();
    let arrivals = gate.arrivals();
    let times = || arrivals.iter().map(seconds);
    let span = times().fold(f64::MIN, f64::max) - times().fold(f64::MAX, f64::min);
    let first = arrivals.iter().map(|it| it.at).min().unwrap();
    let last = arrivals.iter().map(|it| it.at).max().unwrap();
    let stood = Stood {
        schedule: Duration::from_secs_f64(span / speedup),
        took: Duration::from_nanos(last - first),
        arrivals,
        speedup,
        stopped,
        went_on,
    };
    if code != 0 {
        // Whatever happened, the next start goes on.
        let stream = Stream::new(bed, world, &gate.url);
        assert_complete(&stream.finish(0).json(), rows_of(1600));
    } else {
        assert_complete(&summary, rows_of(1600));
    }
    assert_eq!(gate.end().len(), 4000);
    (stood, summary)
}

#[test]
fn a_process_that_stood_still_goes_on_by_its_policy() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 1600, &["--days", "1"]);
    let (dir, world) = (dir.path(), &world);
    side_by_side(vec![
        ("hold".into(), Box::new(|| hold(&dir.join("hold"), world))),
        (
            "catch-up".into(),
            Box::new(|| catch_up(&dir.join("catch-up"), world)),
        ),
        (
            "catch-up, bounded".into(),
            Box::new(|| catch_up_bounded(&dir.join("bounded"), world)),
        ),
        (
            "fail".into(),
            Box::new(|| {
                let (stood, summary) = stand(&dir.join("fail"), world, "fail", 10);
                assert_eq!(summary["failure"]["reason"], "LAG_LIMIT", "{summary:#}");
                // It fails at once: at most the few that were under way were sent.
                let late = stood.arrivals.iter().filter(|it| it.at > stood.went_on);
                assert!(late.count() <= 4 * 16);
            }),
        ),
    ]);
}

fn hold(bed: &Path, world: &Path) {
    let (stood, _) = stand(bed, world, "hold", 0);
    println!(
        "hold: {:?} by schedule, {:?} in truth",
        stood.schedule, stood.took
    );
    // Longer by the standstill, but for the lag that may be caught up.
    let longer = stood.took.as_secs_f64() - stood.schedule.as_secs_f64();
    let least = (STANDSTILL - MAX_LAG).as_secs_f64();
    assert!(longer > least - SLACK, "longer by {longer} s");
    assert!(
        longer < STANDSTILL.as_secs_f64() + 3.0,
        "longer by {longer} s"
    );

    let (start, epoch) = stood.begin();
    let before = (stood.stopped - start) as f64 / 1e9;
    let mut ahead = f64::MIN;
    for arrival in &stood.arrivals {
        // Wall seconds from the beginning by the schedule; they stood still in the standstill,
        // and only maxLag of it is caught up.
        let due = (seconds(arrival) - epoch) / stood.speedup;
        let limit = if arrival.at < stood.went_on {
            before.min((arrival.at - start) as f64 / 1e9) + SLACK
        } else {
            let since = (arrival.at - stood.went_on) as f64 / 1e9;
            before + since + MAX_LAG.as_secs_f64() + SLACK
        };
        assert!(
            due <= limit,
            "{arrival:?} is {due} s into the stream, beyond {limit}"
        );
        // No output runs ahead of the others: nothing arrives long after later events have.
        assert!(
            ahead - due <= MAX_LAG.as_secs_f64() + SLACK,
            "{arrival:?} is {due} s into the stream, others are at {ahead}"
        );
        ahead = ahead.max(due);
    }
}

fn catch_up(bed: &Path, world: &Path) {
    let (stood, _) = stand(bed, world, "catch-up", 0);
    println!(
        "catch-up: {:?} by schedule, {:?} in truth",
        stood.schedule, stood.took
    );
    let longer = stood.took.as_secs_f64() - stood.schedule.as_secs_f64();
    assert!(
        longer < STANDSTILL.as_secs_f64() / 2.0,
        "longer by {longer} s"
    );
    // What became due in the standstill came at once, and nothing before its time.
    let (start, epoch) = stood.begin();
    for arrival in &stood.arrivals {
        let due = (seconds(arrival) - epoch) / stood.speedup;
        let wall = (arrival.at - start) as f64 / 1e9;
        assert!(
            due <= wall + SLACK,
            "{arrival:?} is early: {due} s, {wall} s"
        );
    }
}

fn catch_up_bounded(bed: &Path, world: &Path) {
    let (stood, _) = stand_with(bed, world, "catch-up", 0, |stream| {
        stream.set("defaults.catchUpEps", CATCH_UP_EPS)
    });
    // More than this many are overdue, and all that come are late as long as some are.
    let second = stood.went_on..stood.went_on + 1_000_000_000;
    let late = stood.arrivals.iter();
    let late = late.filter(|it| it.event_type == TRAFFIC && second.contains(&it.at));
    let late = late.count();
    println!("{late} of the traffic in the first second");
    assert!(late <= CATCH_UP_EPS + 50, "{late}");
    let longer = stood.took.as_secs_f64() - stood.schedule.as_secs_f64();
    assert!(
        longer < STANDSTILL.as_secs_f64() / 2.0,
        "longer by {longer} s"
    );
}

/// Three times what is due in a second, and less than what becomes due in the standstill.
const CATCH_UP_EPS: usize = 400;

impl Stood {
    /// The first arrival, and the event time that the clock began at.
    fn begin(&self) -> (u64, f64) {
        let first = self.arrivals.iter().map(|it| it.at).min();
        let epoch = self.arrivals.iter().map(seconds).fold(f64::MAX, f64::min);
        (first.unwrap(), epoch)
    }
}

/// An event's time as seconds of its month; the sample's days are in January.
fn seconds(arrival: &Arrival) -> f64 {
    let text = &arrival.ts_utc;
    assert!(text.starts_with("2026-01-"), "{text}");
    let number = |range: std::ops::Range<usize>| text[range].parse::<f64>().unwrap();
    number(8..10) * 86_400.0 + number(11..13) * 3_600.0 + number(14..16) * 60.0 + number(17..26)
}
