//! What may happen to a store while a stream reads from it.

use std::time::{Duration, Instant};

use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::Relay;
use worldstream_tests::inside::{Inside, Moving, until};
use worldstream_tests::s3::Minio;
use worldstream_tests::stream::side_by_side;
use worldstream_tests::{Exact, MadeWorld};

use crate::bed::{self, BUCKET, FRAUD, admitted, done, from_disk, same};

const ROWS: u64 = 8_000;

/// A world of many row groups, far more than is read ahead.
fn world(minio: &Minio) -> MadeWorld {
    let world = MadeWorld::sample(ROWS, 1, |spec| spec.row_group_rows = 200);
    bed::made(minio, &world);
    world
}

fn inside(minio: &Minio, world: &MadeWorld, url: &str) -> Inside {
    let mut inside = bed::from_s3(bed::inside(minio, &world.root(), &[FRAUD]), world);
    inside.plan.world.s3.endpoint = Some(url.to_owned());
    inside.plan.world.read_ahead = 64 << 10;
    inside
}

/// Waits for so many events, which are less than all.
fn on_its_way(inside: &Inside, moving: &Moving, events: u64) {
    until("events on their way", || {
        inside.gate.summary().pushes >= events
    });
    let taken = moving.board.lanes[0]
        .taken
        .load(std::sync::atomic::Ordering::Relaxed);
    assert!(taken < ROWS, "the stream is over too soon");
}

#[test]
fn a_store_that_is_away_for_20_seconds_is_waited_for() {
    let stopped = || {
        let minio = Minio::start();
        let away = |minio: &mut Minio| minio.minio.server.freeze().unwrap();
        let back = |minio: &mut Minio| minio.minio.server.thaw().unwrap();
        outage(minio, away, back);
    };
    let killed = || {
        let minio = Minio::start();
        let away = |minio: &mut Minio| minio.minio.server.kill().unwrap();
        let back = |minio: &mut Minio| minio.minio.server.start().unwrap();
        outage(minio, away, back);
    };
    side_by_side(vec![
        ("stopped".into(), Box::new(stopped)),
        ("killed".into(), Box::new(killed)),
    ]);
}

fn outage(mut minio: Minio, away: impl Fn(&mut Minio), back: impl Fn(&mut Minio)) {
    let world = world(&minio);
    // Slow enough for the stream to need the store all along.
    let relay = Relay::http(&minio.url);
    let inside = inside(&minio, &world, &relay.url);
    relay.slow(20_000);
    let moving = inside.start();
    on_its_way(&inside, &moving, 300);
    away(&mut minio);
    relay.slow(0);
    std::thread::sleep(Duration::from_secs(20));
    let taken = || inside.gate.summary().pushes;
    let at_rest = taken();
    assert!(at_rest < ROWS, "{at_rest} events without a store");
    back(&mut minio);
    done(&moving.end());
    same(
        &admitted(&inside, FRAUD),
        &from_disk(&world, FRAUD),
        "after an outage",
    );
}

#[test]
fn a_slow_store_and_answers_that_break_off_are_survived() {
    let minio = Minio::start();
    let world = world(&minio);
    let all = from_disk(&world, FRAUD);
    let relay = Relay::http(&minio.url);
    relay.slow(100_000);
    let slow = inside(&minio, &world, &relay.url);
    done(&slow.run());
    same(&admitted(&slow, FRAUD), &all, "slow");

    relay.slow(0);
    relay.break_off(7);
    let cut = inside(&minio, &world, &relay.url);
    done(&cut.run());
    assert_eq!(relay.to_break_off(), 0);
    same(&admitted(&cut, FRAUD), &all, "cut");
}

#[test]
fn a_part_that_changes_while_it_streams_ends_the_stream() {
    let minio = Minio::start();
    let world = world(&minio);
    let all = from_disk(&world, FRAUD);
    let relay = Relay::http(&minio.url);
    let inside = inside(&minio, &world, &relay.url);
    relay.slow(20_000);
    let moving = inside.start();
    on_its_way(&inside, &moving, 300);
    // A view of the same length and layout with other values.
    let other = MadeWorld::sample(ROWS, 1, |spec| {
        spec.seed += 1;
        spec.row_group_rows = 200;
    });
    let part = "part-000000.parquet";
    let bytes = std::fs::read(other.view(FRAUD).join(part)).unwrap();
    let key = format!("worlds/made/stream_view/ts_utc/output_id={FRAUD}/{part}");
    minio.put(BUCKET, &key, bytes);
    relay.slow(0);
    let end = moving.end();
    let failure = end.failure.expect("it cannot go on");
    assert_eq!(failure.reason(), Reason::StreamViewChanged, "{failure}");
    assert_eq!(end.exit, ExitCode::FailClosed);
    assert!(failure.message().contains(part), "{failure}");
    let sent: Vec<Exact> = admitted(&inside, FRAUD);
    assert!(sent.len() >= 300 && (sent.len() as u64) < ROWS);
    same(&sent, &all[..sent.len()], "before the change");

    // Nor does it go on later.
    let failure = worldstream_tests::inside::run(inside.plan.clone())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamViewChanged, "{failure}");
}

#[test]
fn a_stream_is_stopped_while_its_store_is_away() {
    let mut minio = Minio::start();
    let world = world(&minio);
    let relay = Relay::http(&minio.url);
    let mut inside = inside(&minio, &world, &relay.url);
    inside.plan.world.s3.unavailable_for = Duration::from_secs(3600);
    inside.plan.world.s3.attempts = 10_000;
    relay.slow(20_000);
    let moving = inside.start();
    on_its_way(&inside, &moving, 300);
    minio.minio.server.kill().unwrap();
    let began = Instant::now();
    moving.remote.stop();
    let end = moving.end();
    assert_eq!(end.exit, ExitCode::Interrupted, "{:?}", end.failure);
    // Far less than it would have waited for the store.
    assert!(began.elapsed() < Duration::from_secs(60));
    minio.minio.server.start().unwrap();
    relay.slow(0);
    done(&inside.run());
    same(
        &admitted(&inside, FRAUD),
        &from_disk(&world, FRAUD),
        "in two runs",
    );
}

#[test]
fn a_store_that_stays_away_is_unavailable_and_says_how_hard_it_was_tried() {
    let mut minio = Minio::start();
    let world = world(&minio);
    let relay = Relay::http(&minio.url);
    let mut inside = inside(&minio, &world, &relay.url);
    inside.plan.world.s3.attempts = 4;
    relay.slow(20_000);
    let moving = inside.start();
    on_its_way(&inside, &moving, 300);
    minio.minio.server.kill().unwrap();
    let end = moving.end();
    let failure = end.failure.expect("it cannot go on");
    assert_eq!(end.exit, ExitCode::Unavailable, "{failure}");
    assert!(
        failure
            .message()
            .contains("after 4 of at most 4 attempts, in "),
        "{failure}"
    );
    assert!(failure.message().contains(".parquet: bytes "), "{failure}");
}
