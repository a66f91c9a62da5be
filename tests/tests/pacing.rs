//! When events are sent: never early by the one clock, in order, from and to and as many as asked
//! for, and how the clock is changed while it runs. Moments are the gate's, on the monotonic clock
//! that all processes of a machine share; no bound depends on how fast the machine is.

use std::collections::BTreeMap;
use std::time::Duration;

use worldstream::clock::{Anchor, Change, Command, Mono, Monotonic, Motion, Revision};
use worldstream::engine::replay::ReplayEnd;
use worldstream::plan::{Lanes, RateStep};
use worldstream::time::EventTime;
use worldstream_crds::{ExitCode, OnOutputFailure, Overload, Reason};
use worldstream_tests::inside::{Inside, Moving, until, until_passed};
use worldstream_tests::{Arrival, GateProcess, MadeWorld, PLATFORM_RUN_ID, Proxy, run};

const CONTEXT: &str = "arrival_events_5B";
const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
/// 2026-01-01, microseconds.
const START: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

fn micros(arrival: &Arrival) -> i64 {
    EventTime::parse_rfc3339(&arrival.ts_utc).unwrap().micros()
}

fn times(arrivals: &[Arrival]) -> Vec<i64> {
    arrivals.iter().map(micros).collect()
}

/// Event time that the clock had reached when something arrived, by the contract's formula.
fn event_time(anchor: &Anchor, at: u64) -> f64 {
    let wall = (at as i64 - anchor.wall_epoch.0) as f64 / 1_000.0;
    anchor.event_epoch.micros() as f64 + wall * anchor.speedup
}

/// Fails if an arrival was before its time by a clock that runs like this. What lies before the
/// clock's beginning is due.
#[track_caller]
fn none_early<'a>(anchor: &Anchor, arrivals: impl IntoIterator<Item = &'a Arrival>) {
    for arrival in arrivals {
        // A tenth of a microsecond for the floats of this sum.
        let reached = event_time(anchor, arrival.at) + 0.1;
        let due = micros(arrival) as f64;
        assert!(due <= reached, "early by {} µs: {arrival:?}", due - reached);
    }
}

fn anchor(revision: &Revision) -> Anchor {
    match revision.motion {
        Motion::Running(anchor) => anchor,
        other => panic!("not running: {other:?}"),
    }
}

fn is_running(motion: &Motion) -> bool {
    matches!(motion, Motion::Running(_))
}

/// A world of the two outputs with rows at these times.
fn world(context: &[i64], traffic: &[i64], part: usize, group: usize) -> MadeWorld {
    let world = MadeWorld::small();
    world.at_times(CONTEXT, context, part, group);
    world.at_times(TRAFFIC, traffic, part, group);
    world
}

fn inside(world: &MadeWorld) -> Inside {
    let mut inside = Inside::new(&world.root()).outputs(&[CONTEXT, TRAFFIC]);
    inside.plan.world.scenario = Some(world.report.scenario_id.clone());
    inside
}

/// `rows` times, so far apart.
fn every(step: i64, rows: i64) -> Vec<i64> {
    (0..rows).map(|row| START + row * step).collect()
}

#[track_caller]
fn done(end: &ReplayEnd) {
    assert_eq!(end.exit, ExitCode::Done, "{:?}", end.failure);
}

fn now(command: Command) -> Change {
    Change {
        command,
        effective_at: None,
    }
}

#[test]
fn nothing_is_early_at_any_speed_over_files_row_groups_and_equal_times() {
    std::thread::scope(|scope| {
        for (speedup, in_flight) in [(0.25, 1), (1.0, 1), (1.0, 16), (60.0, 1), (250_000.0, 16)] {
            scope.spawn(move || {
                // Milliseconds of wall time; the traffic begins later.
                let wall = [
                    0, 0, 0, 1, 1, 7, 20, 20, 21, 90, 200, 200, 201, 450, 451, 900,
                ];
                let event = |ms: &i64| START + (*ms as f64 * 1_000.0 * speedup) as i64;
                let context: Vec<_> = wall.iter().map(event).collect();
                let traffic: Vec<_> = wall.iter().map(|ms| event(&(ms + 300))).collect();
                let world = world(&context, &traffic, 5, 2);
                let mut inside = inside(&world);
                inside.plan.pace.speedup = speedup;
                inside.plan.gate.in_flight = in_flight;
                let moving = inside.start();
                let clock = anchor(&moving.revision("the start", is_running));
                done(&moving.end());
                // One clock for both, that starts with the lowest event.
                assert_eq!(clock.event_epoch.micros(), START);
                assert_eq!(clock.speedup, speedup);
                for (output, expected) in [(CONTEXT, context), (TRAFFIC, traffic)] {
                    let arrivals = inside.arrivals_of(output);
                    none_early(&clock, &arrivals);
                    let mut found = times(&arrivals);
                    if in_flight > 1 {
                        found.sort_unstable();
                    }
                    assert_eq!(found, expected, "{output} at {speedup}");
                }
            });
        }
    });
}

#[test]
fn without_waiting_a_month_is_over_at_once() {
    let month = every(86_400 * SECOND, 30);
    let world = world(&month, &month, 7, 3);
    let inside = inside(&world);
    let moving = inside.start();
    let first = moving.revision("the start", |_| true);
    done(&moving.end());
    assert_eq!(first.motion, Motion::Unpaced);
    assert_eq!(times(&inside.arrivals_of(TRAFFIC)), month);
}

/// Rows that come after one of a later time.
fn out_of_order(times: &[i64]) -> u64 {
    let mut latest = i64::MIN;
    let mut count = 0;
    for &time in times {
        count += u64::from(time < latest);
        latest = latest.max(time);
    }
    count
}

#[test]
fn the_program_is_never_early_and_sends_rows_out_of_order_in_their_place() {
    let world = MadeWorld::sample(400, 1, |spec| {
        spec.disorder = true;
        spec.row_group_rows = 16;
    });
    let dir = tempfile::tempdir().unwrap();
    let gate = GateProcess::start(dir.path(), &[]);
    let runs = dir.path().join("runs").display().to_string();
    let arguments = |speedup: &str, attempt: &str| {
        run(["run", "--json", "--profile", "prod", "--in-flight", "1"])
            .args(["--engine-run-root", &world.root(), "--gate-url", &gate.url])
            .args(["--platform-run-id", PLATFORM_RUN_ID, "--runs-root", &runs])
            .args(["--speedup", speedup, "--attempt", attempt])
            .args(["--checkpoint-root", &format!("{runs}/checkpoints")])
            .env("RUST_LOG", "worldstream::engine::conductor=debug")
            .start()
            .finish_within(Duration::from_secs(60))
            .expect(0)
    };
    // First the order, without any waiting.
    arguments("0", "unpaced");
    let unpaced = gate.arrivals_after(0, 400 + 3 * 200);
    let paced_from = unpaced.len();
    let ended = arguments("43200", "paced");
    let paced = gate.arrivals_after(paced_from, 400 + 3 * 200);
    let (mut order, mut again) = (BTreeMap::new(), BTreeMap::new());
    for (arrivals, outputs) in [(&unpaced, &mut order), (&paced, &mut again)] {
        for arrival in arrivals {
            let ids: &mut Vec<_> = outputs.entry(arrival.event_type.clone()).or_default();
            ids.push((arrival.event_id.clone(), micros(arrival)));
        }
    }
    assert_eq!(order, again);
    for receipt in ended.json()["outputs"].as_array().unwrap() {
        let rows = &order[receipt["output_id"].as_str().unwrap()];
        let times: Vec<_> = rows.iter().map(|(_, time)| *time).collect();
        let disordered = out_of_order(&times);
        assert!(disordered > 0);
        assert_eq!(receipt["disordered"].as_u64(), Some(disordered));
    }
    // The log says where the clock was set.
    let told = |name: &str| {
        let behind = ended.stderr.split(name).nth(1).unwrap();
        let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i64>().unwrap()
    };
    let first_of = |rows: &Vec<(String, i64)>| rows[0].1;
    let clock = Anchor {
        event_epoch: EventTime::from_micros(order.values().map(first_of).min().unwrap()).unwrap(),
        wall_epoch: Mono(told("wall_epoch: Moment(")),
        speedup: 43_200.0,
    };
    none_early(&clock, &paced);
}

#[test]
fn a_range_is_exact_to_the_row_also_out_of_order() {
    let world = MadeWorld::sample(300, 2, |spec| {
        spec.disorder = true;
        spec.row_group_rows = 8;
        spec.parts = worldstream::sample::Parts::Number(3);
    });
    let whole = Inside::new(&world.root());
    done(&whole.run());
    let all = whole.arrivals_of(TRAFFIC);
    let sorted = {
        let mut sorted = times(&all);
        sorted.sort_unstable();
        sorted
    };
    let (first, last) = (sorted[0], sorted[299]);
    for (from, until) in [
        (None, Some(sorted[120])),
        (Some(sorted[120]), None),
        (Some(sorted[40]), Some(sorted[200])),
        (Some(sorted[40] + 1), Some(sorted[200] + 1)),
        (Some(sorted[77]), Some(sorted[77])),
        (Some(first), Some(last)),
        (Some(last + 1), None),
    ] {
        let at = |time: Option<i64>| time.map(|it| EventTime::from_micros(it).unwrap());
        let mut part = Inside::new(&world.root());
        part.plan.range.start_from = at(from);
        part.plan.range.until = at(until);
        let end = part.run();
        done(&end);
        for receipt in &end.summary.outputs {
            let expected: Vec<_> = whole
                .arrivals_of(&receipt.output_id)
                .into_iter()
                .filter(|it| from.is_none_or(|from| from <= micros(it)))
                .filter(|it| until.is_none_or(|until| micros(it) < until))
                .map(|it| it.event_id)
                .collect();
            let found = part.arrivals_of(&receipt.output_id);
            let found: Vec<_> = found.into_iter().map(|it| it.event_id).collect();
            assert_eq!(found, expected, "{} {from:?} {until:?}", receipt.output_id);
            assert_eq!(receipt.rows, expected.len() as u64);
        }
    }
}

#[test]
fn a_cap_counts_from_the_attempts_start_and_a_new_attempt_starts_over() {
    let world = world(&every(SECOND, 60), &every(SECOND, 60), 25, 10);
    let mut inside = inside(&world);
    let count = |inside: &Inside| inside.arrivals_of(TRAFFIC).len();
    let expected = every(SECOND, 60);
    for (cap, sent) in [(10, 10), (10, 10), (4, 10), (35, 35), (59, 59)] {
        inside.plan.range.max_events_per_output = Some(cap);
        let end = inside.run();
        done(&end);
        assert_eq!(count(&inside), sent, "cap {cap}");
        assert_eq!(times(&inside.arrivals_of(CONTEXT)), expected[..sent]);
        assert!(end.summary.outputs.iter().all(|it| it.rows == sent as u64));
    }
    inside.plan.identity.attempt = "second".into();
    inside.plan.range.max_events_per_output = Some(7);
    let end = inside.run();
    done(&end);
    assert_eq!(times(&inside.arrivals_of(TRAFFIC))[59..], expected[..7]);
    assert!(end.summary.outputs.iter().all(|it| it.duplicate == 7));
    // The first attempt goes on where it was.
    inside.plan.identity.attempt = String::new();
    inside.plan.range.max_events_per_output = None;
    done(&inside.run());
    assert_eq!(times(&inside.arrivals_of(TRAFFIC))[66..], expected[59..]);
    // With lanes, each counts by itself.
    inside.plan.identity.attempt = "lanes".into();
    inside.plan.identity.lanes = Lanes {
        count: 3,
        only: None,
    };
    inside.plan.range.max_events_per_output = Some(5);
    let end = inside.run();
    assert!(end.summary.outputs.iter().all(|it| it.rows == 5));
    assert_eq!(end.summary.outputs.len(), 6);
}

/// Fails if more arrived by some moment than a bucket of so many tokens allowed since `from`.
#[track_caller]
fn none_beyond(arrivals: &[Arrival], from: Mono, eps: f64, burst: f64) {
    for (before, arrival) in arrivals.iter().enumerate() {
        let seconds = (arrival.at as i64 - from.0) as f64 / 1e9;
        let allowed = burst + seconds * eps;
        assert!(
            (before + 1) as f64 <= allowed + 1e-6,
            "{before} before {arrival:?}"
        );
    }
}

fn step(start: f64, eps: f64, burst: f64, initial: Option<f64>) -> RateStep {
    RateStep {
        start_offset_seconds: start,
        target_eps: eps,
        burst_seconds: burst,
        initial_tokens: initial,
    }
}

#[test]
fn a_rate_plan_caps_each_output_and_its_lanes_together() {
    let world = world(&every(SECOND, 90), &every(SECOND, 90), 100, 100);
    let plan = vec![
        step(0.0, 40.0, 0.1, Some(3.0)),
        step(1.0, 100.0, 0.05, None),
    ];
    std::thread::scope(|scope| {
        for (lanes, only) in [(1, None), (3, None), (3, Some(1))] {
            let (world, plan) = (&world, plan.clone());
            scope.spawn(move || {
                let mut inside = inside(world);
                inside.plan.pace.rate_plan = plan;
                inside.plan.identity.lanes = Lanes { count: lanes, only };
                inside.plan.gate.in_flight = 8;
                let moving = inside.start();
                let start = moving.revision("the start", |_| true).effective_at;
                done(&moving.end());
                // One lane of three has a third of all of it, and may have one whole token.
                let share = if only.is_some() { 1.0 / 3.0 } else { 1.0 };
                for output in [CONTEXT, TRAFFIC] {
                    let arrivals = inside.arrivals_of(output);
                    let from_second = start + Duration::from_secs(1);
                    let (first, second): (Vec<_>, Vec<_>) = arrivals
                        .into_iter()
                        .partition(|it| (it.at as i64) < from_second.0);
                    none_beyond(&first, start, 40.0 * share, (4.0 * share).max(1.0));
                    // What was granted in the first second and came in the second.
                    let left = (4.0 * share).max(1.0) + 40.0 * share - first.len() as f64;
                    let burst = (5.0 * share).max(1.0) + left.max(0.0);
                    none_beyond(&second, from_second, 100.0 * share, burst);
                    if only.is_none() {
                        assert_eq!(first.len() + second.len(), 90);
                    }
                }
            });
        }
    });
}

#[test]
fn a_pause_grants_no_tokens_and_the_rate_plan_stands_still() {
    let world = world(&every(SECOND, 60), &every(SECOND, 60), 100, 100);
    let mut inside = inside(&world);
    // A bucket that would hold all that a pause could grant.
    inside.plan.pace.rate_plan = vec![step(0.0, 40.0, 100.0, Some(0.0))];
    let moving = inside.start();
    let start = moving.revision("the start", |_| true).effective_at;
    until("some events", || inside.arrivals().len() >= 20);
    moving.remote.change(now(Command::Pause));
    let paused = moving.revision("the pause", |it| *it == Motion::Paused);
    let before: Vec<_> = arrived_before(&inside.arrivals(), paused.effective_at);
    until_passed(paused.effective_at + Duration::from_millis(700));
    moving.remote.change(now(Command::Resume));
    let resumed = moving.revision_after(paused.number);
    done(&moving.end());
    let stood = resumed.effective_at.since(paused.effective_at);
    for output in [CONTEXT, TRAFFIC] {
        let mut arrivals = inside.arrivals_of(output);
        assert_eq!(arrivals.len(), 60);
        let count = before.iter().filter(|it| it.event_type == output).count();
        for arrival in arrivals.iter_mut().skip(count + 1) {
            arrival.at -= stood.as_nanos() as u64;
        }
        // A lane learns of the pause a little after it counts: 200 ms of tokens for that.
        none_beyond(&arrivals, start, 40.0, 8.0);
    }
}

/// Stopped and started again it is in the step of its time, and nothing is granted twice.
#[test]
fn a_rate_plan_goes_on_where_the_replay_was_stopped() {
    let world = world(&every(SECOND, 120), &every(SECOND, 120), 100, 100);
    let mut inside = inside(&world);
    inside.plan.pace.rate_plan = vec![
        step(0.0, 100.0, 0.1, Some(10.0)),
        step(0.5, 20.0, 0.05, None),
    ];
    let moving = inside.start();
    // More than the first step grants.
    let enough = |output: &str| inside.arrivals_of(output).len() >= 65;
    until("the second step", || enough(CONTEXT) && enough(TRAFFIC));
    moving.remote.stop();
    assert_eq!(moving.end().exit, ExitCode::Interrupted);
    let before = [CONTEXT, TRAFFIC].map(|output| inside.arrivals_of(output).len());
    let moving = inside.start();
    let start = moving.revision("the start", |_| true).effective_at;
    done(&moving.end());
    for (output, before) in [CONTEXT, TRAFFIC].into_iter().zip(before) {
        let after = inside.arrivals_of(output).split_off(before);
        assert_eq!(after.len(), 120 - before, "{output}");
        none_beyond(&after, start, 20.0, 1.0);
    }
}

fn arrived_before(arrivals: &[Arrival], moment: Mono) -> Vec<Arrival> {
    let before = |it: &&Arrival| (it.at as i64) < moment.0;
    arrivals.iter().filter(before).cloned().collect()
}

/// What arrived after a moment, without the one of each output that was on its way then.
fn begun_after(arrivals: &[Arrival], moment: Mono) -> Vec<Arrival> {
    let mut rest = Vec::new();
    for output in [CONTEXT, TRAFFIC] {
        let after = arrivals
            .iter()
            .filter(|it| it.event_type == output && (it.at as i64) >= moment.0);
        rest.extend(after.skip(1).cloned());
    }
    rest
}

#[test]
fn a_pause_holds_everything_and_a_resume_starts_at_the_lowest_next_event() {
    // Ten seconds apart at speedup 1000: every 10 ms. The traffic is 3 ms behind.
    let context = every(10 * SECOND, 120);
    let traffic: Vec<_> = context.iter().map(|time| time + 3 * SECOND).collect();
    let world = world(&context, &traffic, 50, 20);
    let mut inside = inside(&world);
    inside.plan.pace.speedup = 1000.0;
    let moving = inside.start();
    let first = moving.revision("the start", is_running);
    until("some events", || inside.arrivals().len() >= 40);
    moving.remote.change(now(Command::Pause));
    let paused = moving.revision("the pause", |it| *it == Motion::Paused);
    // 30 more would have been due.
    until_passed(paused.effective_at + Duration::from_millis(300));
    let sent = inside.arrivals();
    assert!(begun_after(&sent, paused.effective_at).is_empty());
    assert!(sent.len() < 200, "nothing was left to hold back");
    moving.remote.change(now(Command::Resume));
    let resumed = moving.revision_after(paused.number);
    let clock = anchor(&resumed);
    done(&moving.end());
    let all = inside.arrivals();
    none_early(&anchor(&first), &sent);
    let next = |times: &[i64], output: &str| {
        let sent = sent.iter().filter(|it| it.event_type == output).count();
        times[sent]
    };
    let lowest = next(&context, CONTEXT).min(next(&traffic, TRAFFIC));
    assert_eq!(clock.event_epoch.micros(), lowest);
    none_early(&clock, &all[sent.len()..]);
    assert_eq!(times(&inside.arrivals_of(CONTEXT)), context);
    assert_eq!(times(&inside.arrivals_of(TRAFFIC)), traffic);
}

#[test]
fn a_speed_counts_from_its_moment_and_event_time_never_jumps() {
    let times_of = every(10 * SECOND, 200);
    let world = world(&times_of, &times_of, 50, 20);
    let mut inside = inside(&world);
    inside.plan.pace.speedup = 1000.0;
    let moving = inside.start();
    let mut revision = moving.revision("the start", is_running);
    let mut spans = vec![(anchor(&revision), revision.effective_at)];
    until("some events", || inside.arrivals().len() >= 40);
    for (speedup, ahead) in [(3000.0, Some(400)), (500.0, None), (20_000.0, Some(200))] {
        let effective_at = ahead.map(|ms| Mono::now() + Duration::from_millis(ms));
        moving.remote.change(Change {
            command: Command::Speed(speedup),
            effective_at,
        });
        let before = anchor(&revision);
        revision = moving.revision_after(revision.number);
        let after = anchor(&revision);
        if let Some(at) = effective_at {
            assert_eq!(revision.effective_at, at);
        }
        assert_eq!(after.wall_epoch, revision.effective_at);
        assert_eq!(after.speedup, speedup);
        // Where the clock was is where it goes on, to the microsecond.
        let was = event_time(&before, revision.effective_at.0 as u64);
        let is = after.event_epoch.micros() as f64;
        assert!((was - is).abs() <= 1.0, "{was} {is}");
        spans.push((after, revision.effective_at));
        until_passed(revision.effective_at + Duration::from_millis(50));
    }
    done(&moving.end());
    let all = inside.arrivals();
    for (at, (clock, from)) in spans.iter().enumerate() {
        let end = spans.get(at + 1).map_or(Mono::NEVER, |(_, end)| *end);
        let within = |it: &&Arrival| (from.0..end.0).contains(&(it.at as i64));
        none_early(clock, all.iter().filter(within));
    }
    for output in [CONTEXT, TRAFFIC] {
        assert_eq!(times(&inside.arrivals_of(output)), times_of);
    }
}

#[test]
fn from_no_waiting_to_a_speed_everything_stands_and_starts_at_the_lowest() {
    let context = every(10 * SECOND, 150);
    let traffic: Vec<_> = context.iter().map(|time| time + 500 * SECOND).collect();
    let world = world(&context, &traffic, 50, 20);
    let inside = inside(&world);
    // So that the first part takes its time.
    inside.gate.set_faults(vec!["latency=5ms".parse().unwrap()]);
    let moving = inside.start();
    let first = moving.revision("the start", |_| true);
    assert_eq!(first.motion, Motion::Unpaced);
    until("some events", || inside.arrivals().len() >= 40);
    moving.remote.change(now(Command::Speed(2000.0)));
    let running = moving.revision("a schedule", is_running);
    let clock = anchor(&running);
    until("more events", || {
        begun_after(&inside.arrivals(), running.effective_at).len() >= 20
    });
    // And back.
    moving.remote.change(now(Command::Speed(0.0)));
    let unpaced = moving.revision_after(running.number);
    assert_eq!(unpaced.motion, Motion::Unpaced);
    done(&moving.end());
    inside.gate.set_faults(Vec::new());
    let all = inside.arrivals();
    let on_schedule = arrived_before(&all, unpaced.effective_at);
    let on_schedule = begun_after(&on_schedule, running.effective_at);
    none_early(&clock, &on_schedule);
    // Nobody was left behind the epoch, and somebody was at it.
    let epoch = clock.event_epoch.micros();
    assert!(context.contains(&epoch) || traffic.contains(&epoch));
    assert!(on_schedule.iter().all(|it| micros(it) >= epoch));
    assert_eq!(times(&inside.arrivals_of(CONTEXT)), context);
    assert_eq!(times(&inside.arrivals_of(TRAFFIC)), traffic);
}

/// A replay whose context can be held up; events every 10 ms.
fn held_up(world: &MadeWorld, overload: Overload) -> (Inside, Proxy) {
    let mut inside = inside(world);
    let proxy = Proxy::start(&inside.gate.url());
    inside.plan.gate.url = format!("{}/v1/ingest/push", proxy.url);
    inside.plan.pace.speedup = 1000.0;
    inside.plan.pace.overload = overload;
    inside.plan.pace.max_lag = Duration::from_millis(200);
    (inside, proxy)
}

/// Holds the context up after some events, and gives the number of those that passed.
fn hold_up(inside: &Inside, proxy: &Proxy, moving: &Moving) -> usize {
    let first = moving.revision("the start", is_running);
    until("some events", || inside.arrivals_of(CONTEXT).len() >= 20);
    proxy.hold(CONTEXT);
    until("an event that is held up and late", || {
        let passed = inside.arrivals_of(CONTEXT).len() as u32;
        let late = Duration::from_millis(10) * passed + Duration::from_millis(50);
        proxy.waiting() == 1 && Mono::now() > anchor(&first).wall_epoch + late
    });
    inside.arrivals_of(CONTEXT).len()
}

#[test]
fn hold_stops_the_clock_for_all_where_the_limit_is_reached() {
    let rows = every(10 * SECOND, 300);
    let world = world(&rows, &rows, 100, 100);
    let (inside, proxy) = held_up(&world, Overload::Hold);
    let moving = inside.start();
    let passed = hold_up(&inside, &proxy, &moving);
    let held = moving.revision("a hold", |it| matches!(it, Motion::Held { .. }));
    let Motion::Held { anchor: was, at } = held.motion else {
        unreachable!("it was looked for");
    };
    // The limit is 200 ms of wall time, 200 s of event time, behind the event that is held up.
    let limit = rows[passed] + 200 * SECOND;
    assert!((at.micros() - limit).abs() <= 1, "{at} {limit}");
    // 40 more events would have been due.
    until_passed(was.due(at) + Duration::from_millis(400));
    let stood = inside.arrivals();
    none_early(&was, &stood);
    let beyond: Vec<_> = begun_after(&stood, held.effective_at)
        .into_iter()
        .filter(|it| micros(it) > at.micros())
        .collect();
    assert!(beyond.is_empty(), "{beyond:?}");
    assert!(stood.iter().filter(|it| it.event_type == TRAFFIC).count() < 300);
    proxy.release(CONTEXT);
    let goes_on = moving.revision_after(held.number);
    let clock = anchor(&goes_on);
    assert_eq!(clock.event_epoch, at);
    done(&moving.end());
    for output in [CONTEXT, TRAFFIC] {
        let all = inside.arrivals_of(output);
        assert_eq!(times(&all), rows);
        let after = |it: &&Arrival| it.at as i64 >= goes_on.effective_at.0;
        none_early(&clock, all.iter().filter(after));
    }
}

#[test]
fn catch_up_lets_the_others_go_on() {
    let rows = every(10 * SECOND, 100);
    let world = world(&rows, &rows, 100, 100);
    let (inside, proxy) = held_up(&world, Overload::CatchUp);
    let moving = inside.start();
    let passed = hold_up(&inside, &proxy, &moving);
    until("all of the traffic", || {
        inside.arrivals_of(TRAFFIC).len() == rows.len()
    });
    assert_eq!(inside.arrivals_of(CONTEXT).len(), passed);
    assert_eq!(moving.revisions().len(), 1);
    proxy.release(CONTEXT);
    done(&moving.end());
    assert_eq!(times(&inside.arrivals_of(CONTEXT)), rows);
}

#[test]
fn catching_up_keeps_to_its_rate() {
    let rows = every(10 * SECOND, 200);
    let world = world(&rows, &rows, 100, 100);
    let (mut inside, proxy) = held_up(&world, Overload::CatchUp);
    inside.plan.pace.catch_up_eps = Some(200.0);
    inside.plan.gate.in_flight = 1;
    let moving = inside.start();
    let clock = anchor(&moving.revision("the start", is_running));
    hold_up(&inside, &proxy, &moving);
    // Far behind: row 150 is due.
    until_passed(clock.due(EventTime::from_micros(rows[150]).unwrap()));
    let released = Mono::now();
    proxy.release(CONTEXT);
    done(&moving.end());
    let all = inside.arrivals_of(CONTEXT);
    assert_eq!(times(&all), rows);
    none_early(&clock, &all);
    let late: Vec<_> = all
        .into_iter()
        .filter(|it| it.at as i64 >= released.0)
        .collect();
    assert!(late.len() > 100, "{}", late.len());
    // Two at once, and the one that was on its way.
    none_beyond(&late, released, 200.0, 3.0);
    // The traffic was never late and never bound: it had no catching up to do.
    assert_eq!(times(&inside.arrivals_of(TRAFFIC)), rows);
}

#[test]
fn fail_ends_with_lag_limit() {
    for policy in [OnOutputFailure::StopAll, OnOutputFailure::Continue] {
        let rows = match policy {
            OnOutputFailure::StopAll => every(10 * SECOND, 3000),
            OnOutputFailure::Continue => every(10 * SECOND, 100),
        };
        let world = world(&rows, &rows, 5000, 5000);
        let (mut inside, proxy) = held_up(&world, Overload::Fail);
        inside.plan.pace.on_output_failure = policy;
        let moving = inside.start();
        let passed = hold_up(&inside, &proxy, &moving);
        let late = moving.board.lanes[0].clone();
        until("a verdict", || late.verdict().is_some());
        if policy == OnOutputFailure::Continue {
            until("all of the traffic", || {
                inside.arrivals_of(TRAFFIC).len() == rows.len()
            });
        }
        proxy.release(CONTEXT);
        let end = moving.end();
        let failure = end.failure.unwrap();
        assert_eq!(failure.reason(), Reason::LagLimit, "{failure}");
        assert!(failure.message().contains(CONTEXT), "{failure}");
        assert_eq!(end.exit, ExitCode::FailClosed);
        // What was on its way was awaited and counts; nothing was sent after it.
        assert_eq!(inside.arrivals_of(CONTEXT).len(), passed + 1);
        assert_eq!(end.summary.outputs[0].rows, passed as u64 + 1);
        let traffic = inside.arrivals_of(TRAFFIC).len();
        assert_eq!(end.summary.outputs[1].rows, traffic as u64);
        assert_eq!(traffic == rows.len(), policy == OnOutputFailure::Continue);
    }
}

#[test]
fn a_pause_holds_back_also_what_is_overdue() {
    let rows = every(10 * SECOND, 200);
    let world = world(&rows, &rows, 100, 100);
    let (inside, proxy) = held_up(&world, Overload::CatchUp);
    let moving = inside.start();
    let passed = hold_up(&inside, &proxy, &moving);
    moving.remote.change(now(Command::Pause));
    let paused = moving.revision("the pause", |it| *it == Motion::Paused);
    let lane = moving.board.lanes[0].clone();
    until("the lane to know", || {
        lane.observe().is_some_and(|it| it.known >= paused.number)
    });
    proxy.release(CONTEXT);
    until("the event that was on its way", || {
        inside.arrivals_of(CONTEXT).len() > passed
    });
    until_passed(Mono::now() + Duration::from_millis(200));
    let stood = inside.arrivals();
    assert!(begun_after(&stood, paused.effective_at).is_empty());
    assert_eq!(inside.arrivals_of(CONTEXT).len(), passed + 1);
    moving.remote.change(now(Command::Resume));
    let resumed = moving.revision_after(paused.number);
    let clock = anchor(&resumed);
    // The late output is the lowest; the other waits for it.
    assert_eq!(clock.event_epoch.micros(), rows[passed + 1]);
    done(&moving.end());
    none_early(&clock, &inside.arrivals()[stood.len()..]);
    for output in [CONTEXT, TRAFFIC] {
        assert_eq!(times(&inside.arrivals_of(output)), rows);
    }
}
