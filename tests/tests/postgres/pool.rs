//! PgBouncer in transaction mode before the server: many processes by few connections.

use std::collections::BTreeSet;

use worldstream_tests::postgres::PASSWORD;
use worldstream_tests::stream::{LONG, Stream, until};
use worldstream_tests::{GateProcess, Running};

use crate::bed::{Bed, EVENTS, OUTPUTS, assert_whole};

/// Connections of the pool to the server.
const POOL: u32 = 2;
/// Streams that share them.
const STREAMS: usize = 6;
const IN_FLIGHT: u64 = 2;
const FLUSH: u64 = 20;

fn careful(stream: Stream, attempt: &str) -> Stream {
    let in_flight = IN_FLIGHT.to_string();
    stream.set("checkpoints.flushEvery", FLUSH).args([
        "--in-flight",
        &in_flight,
        "--attempt",
        attempt,
    ])
}

#[test]
fn many_streams_share_few_connections_of_a_pool() {
    // Which server process serves which statement.
    let bed = Bed::with(&[
        ("log_min_duration_statement", "0"),
        ("log_line_prefix", "[%p] "),
    ]);
    let pool = bed.server.pool(POOL);
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=15ms"]);
    let dsn = bed.server.dsn_by("stream", &pool.address());
    // None finds tables: all make them at once.
    let running: Vec<Running> = (0..STREAMS)
        .map(|number| {
            let stream = bed.stream_by(&gate.url, &dsn);
            careful(stream, &format!("a{number}")).command().start()
        })
        .collect();
    let mut most = 0;
    for mut running in running {
        until("it has ended", || {
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'stream';";
            let now = bed.server.query(sessions, &[])[0].parse().unwrap();
            most = most.max(now);
            running.ended()
        });
        let ended = running.finish_within(LONG).expect(0);
        assert_whole(&ended.json());
    }
    assert!((1..=POOL).contains(&most), "{most} connections");
    // Attempts send the same events: each was new once, and sent again by the others alone.
    let summary = gate.summary();
    assert_eq!(summary["pushes"], EVENTS * STREAMS as u64);
    assert_eq!(gate.end().len() as u64, EVENTS);
    let log = bed.server.log();
    let saves = log
        .lines()
        .filter(|line| line.contains("execute <unnamed>: WITH held AS"));
    let saves: Vec<&str> = saves.collect();
    let servers: BTreeSet<&str> = saves
        .iter()
        .filter_map(|line| line.split(']').next())
        .collect();
    println!(
        "PgBouncer, transaction mode: {STREAMS} streams of {OUTPUTS} outputs, {} saves over {} \
         connections to the server",
        saves.len(),
        servers.len()
    );
    assert_eq!(servers.len() as u32, POOL, "{servers:?}");
    for word in ["execute s", "parse s", "PREPARE", "LISTEN"] {
        assert!(!log.contains(word), "{word}");
    }
}

#[test]
fn a_pool_that_goes_away_and_a_server_behind_it() {
    let mut bed = Bed::new();
    bed.remember_cursors();
    let mut pool = bed.server.pool(POOL);
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let dsn = bed.server.dsn_by("stream", &pool.address());
    let running = careful(bed.stream_by(&gate.url, &dsn), "1")
        .command()
        .start();
    let trying = |times: usize| {
        until("it says so", || {
            running.stderr().matches("trying").count() >= times
        });
    };
    bed.until_saved(200);
    pool.server.kill().unwrap();
    trying(1);
    pool.server.start().unwrap();
    bed.until_saved(600);
    bed.server.stop("QUIT");
    trying(2);
    bed.server.launch();
    bed.until_saved(1_000);
    // As a failover does: the server's sessions end, those of the clients with the pool stay.
    let cut =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'stream';";
    bed.server.query(cut, &[]);
    let ended = running.finish_within(LONG).expect(0);
    assert_whole(&ended.json());
    assert_eq!(gate.summary()["duplicates"], 0);
    assert_eq!(gate.end().len() as u64, EVENTS);
    assert!(bed.assert_never_back(&bed.server) > 4);
}

/// A worker that was frozen is replaced and fenced, over a pool too: the lease is the table's, not
/// the session's.
#[test]
fn a_second_stream_is_refused_over_a_pool() {
    let bed = Bed::new();
    let pool = bed.server.pool(POOL);
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=15ms"]);
    let dsn = bed.server.dsn_by("stream", &pool.address());
    let stream = careful(bed.stream_by(&gate.url, &dsn), "1");
    let first = stream.command().start();
    bed.until_saved(1);
    let refused = stream.finish(12);
    assert!(
        refused.stderr.contains("CHECKPOINT_CONFLICT"),
        "{refused:#?}"
    );
    assert_whole(&first.finish_within(LONG).expect(0).json());
    // What no waiting mends is not waited for.
    let nowhere = format!("{}/nowhere", dsn.rsplit_once('/').unwrap().0);
    let wrong = dsn.replace(PASSWORD, "wrong");
    for (dsn, said) in [
        (nowhere, "does not exist"),
        (wrong, "authentication failed"),
    ] {
        let refused = careful(bed.stream_by(&gate.url, &dsn), "1").finish(10);
        assert!(refused.stderr.contains(said), "{refused:#?}");
    }
    assert_eq!(gate.summary()["duplicates"], 0);
    assert_eq!(gate.end().len() as u64, EVENTS);
}
