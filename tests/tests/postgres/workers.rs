//! Several workers on one checkpoint: at most one sends, whoever was frozen or killed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use worldstream_tests::stream::{LONG, receipts, until};
use worldstream_tests::{GateProcess, Program, Repeats, monotonic};

use crate::bed::{Bed, EVENTS, OUTPUTS, assert_whole};

const IN_FLIGHT: u64 = 4;
const FLUSH: u64 = 20;

/// A worker as a Job starts it.
fn of_job(program: Program, pod: &str) -> Program {
    program
        .env("POD_NAMESPACE", "streams")
        .env("POD_NAME", pod)
        .env("JOB_UID", "77ab")
        .env("JOB_COMPLETION_INDEX", "0")
}

#[test]
fn a_frozen_worker_is_replaced_and_then_fenced() {
    let bed = Bed::new();
    bed.remember_cursors();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=10ms"]);
    let stream = bed
        .stream(&gate.url)
        .set("checkpoints.flushEvery", FLUSH)
        .args(["--in-flight", &IN_FLIGHT.to_string()]);
    let older = stream.command().start();
    bed.until_saved(200);
    older.signal("STOP");
    // What the kernel still holds of its requests arrives.
    until("the older one's last pushes", || {
        gate.summary()["in_flight"] == 0
    });
    let frozen_at = gate.pushes();
    // Takes over when the older one's lease has ended by the server's clock.
    let newer = stream.command().start();
    until("the newer one streams", || gate.pushes() > frozen_at + 100);
    let (thawed, before) = (monotonic(), gate.pushes());
    older.signal("CONT");
    let fenced = older.finish_within(LONG).expect(12);
    let ended = monotonic() - thawed;
    assert!(fenced.stderr.contains("CHECKPOINT_CONFLICT"), "{fenced:#?}");
    assert!(fenced.stderr.contains("held by process"), "{fenced:#?}");
    let summary = newer.finish_within(LONG).expect(0).json();
    assert_whole(&summary);

    let seen = gate.summary();
    let repeats = Repeats::of(&gate.arrivals());
    println!(
        "two workers on one checkpoint in Postgres: {}; the older one ended {} ms after it was let \
         go",
        repeats.told(EVENTS),
        ended / 1_000_000,
    );
    assert_eq!(repeats.events, EVENTS, "nothing is lost");
    // What the older one had sent and not saved, and what it had in flight when it was frozen: it
    // sends nothing new when it is let go, as its lease has ended by its own clock.
    let most = OUTPUTS * (FLUSH + 2 * IN_FLIGHT);
    assert!(repeats.twice <= most, "{repeats:?}");
    assert!(seen["pushes"].as_u64().unwrap() >= before);
    bed.assert_never_back(&bed.server);
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn a_second_stream_is_refused_and_the_first_goes_on() {
    let bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=20ms"]);
    let stream = bed.stream(&gate.url).args(["--in-flight", "2"]);
    let first = stream.command().start();
    bed.until_saved(1);
    for _ in 0..2 {
        let refused = stream.finish(12);
        assert!(
            refused.stderr.contains("CHECKPOINT_CONFLICT"),
            "{refused:#?}"
        );
        let holder = format!("held by process {} on ", first.id());
        assert!(refused.stderr.contains(&holder), "{refused:#?}");
        assert!(refused.stderr.contains("runs until 20"), "{refused:#?}");
    }
    // Nobody's Job, too.
    let refused = of_job(stream.command(), "w-0-x1").finish().expect(12);
    assert!(refused.stderr.contains("held by process"), "{refused:#?}");
    let summary = first.finish_within(LONG).expect(0).json();
    assert_whole(&summary);
    assert_eq!(gate.summary()["duplicates"], 0);
    // Its leases are given up: another start finds all done.
    assert_whole(&stream.finish(0).json());
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn what_was_killed_is_waited_for_and_a_jobs_replacement_is_not() {
    let bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=10ms"]);
    // So long that the next one starts before it has ended, however slow the machine is.
    let stream = bed
        .stream(&gate.url)
        .set("checkpoints.flushEvery", FLUSH)
        .set("checkpoints.postgres.leaseTerm", "5m");
    let waits = "waiting to see whether its lease ends";
    let killed = stream.command().start();
    bed.until_saved(100);
    killed.kill();
    let next = stream.command().start();
    until("it waits", || next.stderr().contains(waits));
    // The time comes, by the server's clock.
    let ends = "UPDATE wsp_checkpoint_lease SET expires_at = clock_timestamp();";
    bed.server.query(ends, &[]);
    until("it goes on", || bed.saved() > 300);
    next.signal("TERM");
    next.finish_within(LONG).expect(14);
    // What was stopped in order has given its leases up.
    let saved = bed.saved();
    let worker = of_job(stream.command(), "w-0-x1").start();
    bed.until_saved(saved + 50);
    assert!(!worker.stderr().contains(waits));
    worker.kill();
    let epochs = || {
        bed.server.query(
            "SELECT min(epoch), max(epoch), max(holder) FROM wsp_checkpoint_lease;",
            &[],
        )
    };
    assert_eq!(
        epochs(),
        ["3|3|pod streams/w-0-x1 of job 77ab/0"],
        "each taking raises the epoch by one"
    );
    let replacement = of_job(stream.command(), "w-0-x2").start();
    let ended = replacement.finish_within(LONG).expect(0);
    assert!(!ended.stderr.contains(waits), "{}", ended.stderr);
    assert_whole(&ended.json());
    assert_eq!(epochs(), ["4|4|pod streams/w-0-x2 of job 77ab/0"]);
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn killed_at_random_moments() {
    let bed = Bed::new();
    bed.remember_cursors();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=4ms"]);
    let stream = bed
        .stream(&gate.url)
        .set("checkpoints.flushEvery", FLUSH)
        .args(["--in-flight", &IN_FLIGHT.to_string()]);
    let kills = if worldstream_tests::long() { 60 } else { 14 };
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut running = of_job(stream.command(), "first").start();
    for number in 0..kills {
        let (before, pushes) = (gate.pushes(), random.random_range(0..120));
        while gate.pushes() < before + pushes && !running.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        running.kill();
        running = of_job(stream.command(), &format!("pod-{number}")).start();
    }
    let summary = running.finish_within(LONG).expect(0).json();
    assert_whole(&summary);
    for receipt in receipts(&summary) {
        assert_eq!(receipt["counts_from"], serde_json::Value::Null);
    }
    let repeats = gate.summary()["duplicates"].as_u64().unwrap();
    println!("{kills} kills, {repeats} events sent again");
    assert!(
        repeats <= kills * OUTPUTS * (FLUSH + IN_FLIGHT),
        "{repeats}"
    );
    bed.assert_never_back(&bed.server);
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn a_stream_that_waits_keeps_its_leases_and_saves_nothing() {
    let bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &[]);
    // In real time the next event of the world is minutes away.
    let stream = bed.stream(&gate.url).args(["--speedup", "0.001"]);
    let running = stream.command().start();
    bed.until_saved(1);
    let ask = |sql: &str| bed.server.query(sql, &[]);
    let saves = || ask("SELECT max(updated_at_utc), sum(sequence) FROM wsp_checkpoint;");
    let renewed = || ask("SELECT min(expires_at) FROM wsp_checkpoint_lease;");
    let mut last = renewed();
    let mut saved = saves();
    until("what is due is saved", || {
        until("a heartbeat", || renewed() > last);
        last = renewed();
        let before = std::mem::replace(&mut saved, saves());
        before == saved
    });
    for _ in 0..3 {
        until("a heartbeat", || renewed() > last);
        last = renewed();
    }
    assert_eq!(saves(), saved);
    let refused = stream.finish(12);
    assert!(refused.stderr.contains("held by process"), "{refused:#?}");
    running.signal("TERM");
    running.finish_within(LONG).expect(14);
    let held = ask("SELECT count(*) FROM wsp_checkpoint_lease WHERE expires_at > now();");
    assert_eq!(held, ["0"]);
}
