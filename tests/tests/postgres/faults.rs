//! A server that goes away: the stream slows or stands, and goes on by itself; nothing is lost,
//! nothing that was saved is sent again, and the cursor never goes back.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use worldstream_tests::postgres::PASSWORD;
use worldstream_tests::stream::{LONG, Stream, until};
use worldstream_tests::{GateProcess, Relay, Running};

use crate::bed::{Bed, EVENTS, OUTPUTS, assert_whole};

const IN_FLIGHT: u64 = 4;
const FLUSH: u64 = 20;

fn careful(stream: Stream) -> Stream {
    stream
        .set("checkpoints.flushEvery", FLUSH)
        .args(["--in-flight", &IN_FLIGHT.to_string()])
}

/// Waits until the stream stands, which it does at the bound of what may be unsaved.
fn until_it_stands(bed: &Bed, gate: &GateProcess) {
    let mut last = gate.pushes();
    until("the stream stands", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = gate.pushes();
        std::mem::replace(&mut last, now) == now
    });
    let (taken, saved) = (last, bed.saved());
    let bound = OUTPUTS * (FLUSH + IN_FLIGHT);
    assert!(taken <= saved + bound, "{taken} taken, {saved} saved");
    assert!(taken < EVENTS, "it was to stand before its end");
}

/// The stream that was disturbed sent everything, and nothing twice.
fn assert_undisturbed(bed: &Bed, gate: GateProcess, running: Running) {
    let ended = running.finish_within(LONG).expect(0);
    assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
    assert_whole(&ended.json());
    assert_eq!(gate.summary()["duplicates"], 0);
    assert_eq!(gate.end().len() as u64, EVENTS);
    assert!(bed.assert_never_back(&bed.server) > 4);
}

#[test]
fn a_server_that_is_stopped_crashes_and_comes_back() {
    let mut bed = Bed::new();
    bed.remember_cursors();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let running = careful(bed.stream(&gate.url)).command().start();
    for (number, signal) in (1..).zip(["INT", "QUIT", "QUIT"]) {
        bed.until_saved(number * 300);
        bed.server.stop(signal);
        until("it says so", || {
            running.stderr().matches("trying").count() >= number as usize
        });
        bed.server.launch();
    }
    assert_undisturbed(&bed, gate, running);
}

#[test]
fn a_server_that_is_away_holds_the_stream_and_its_start() {
    let mut bed = Bed::new();
    bed.remember_cursors();
    bed.server.stop("INT");
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=5ms"]);
    let stream = careful(bed.stream(&gate.url));
    let impatient = stream.clone().set("checkpoints.unavailableFor", "1s");
    let ended = impatient.finish(13);
    assert!(ended.stderr.contains("postgres at 127.0.0.1"), "{ended:#?}");
    assert!(ended.stderr.contains(" of at most 1s"), "{ended:#?}");
    assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
    assert_eq!(gate.pushes(), 0);
    let running = stream.command().start();
    until("it waits for the server", || {
        running.stderr().contains("cannot be taken, trying again")
    });
    bed.server.launch();
    bed.until_saved(200);
    bed.server.stop("INT");
    let mut last = gate.pushes();
    until("the stream stands", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = gate.pushes();
        std::mem::replace(&mut last, now) == now
    });
    bed.server.launch();
    assert_undisturbed(&bed, gate, running);
}

#[test]
fn longer_than_allowed_ends_it_and_a_start_goes_on() {
    let mut bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=5ms"]);
    let stream = careful(bed.stream(&gate.url)).set("checkpoints.unavailableFor", "2s");
    let running = stream.command().start();
    bed.until_saved(200);
    bed.server.stop("INT");
    let ended = running.finish_within(LONG).expect(13);
    assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
    assert!(ended.stderr.contains(" of at most 2s"), "{ended:#?}");
    bed.server.launch();
    assert_whole(&stream.finish(0).json());
    let again = gate.summary()["duplicates"].as_u64().unwrap();
    assert!(again <= OUTPUTS * (FLUSH + IN_FLIGHT), "{again}");
    assert_eq!(gate.end().len() as u64, EVENTS);
}

/// Throws away what the server answers until a save was committed that nobody hears of. False where
/// the answer was of one that was counted before: one save is on its way at a time, so no other
/// follows on this connection.
fn a_commit_goes_unheard(bed: &Bed, relay: &Relay) -> bool {
    let before = bed.saved();
    relay.swallow_answers();
    until("an answer that nobody hears", || relay.swallowed());
    let began = Instant::now();
    while bed.saved() == before {
        if began.elapsed() > Duration::from_secs(2) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn a_connection_that_is_cut_between_send_and_commit() {
    let bed = Bed::new();
    bed.remember_cursors();
    let relay = Relay::start(&bed.server.address());
    // So slow that the stream outlasts the rounds, however long a busy machine takes for them.
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=60ms"]);
    let dsn = bed.server.dsn_by("stream", &relay.address);
    let running = careful(bed.stream_by(&gate.url, &dsn)).command().start();
    for round in 1..=4 {
        bed.until_saved(round * 200);
        while !a_commit_goes_unheard(&bed, &relay) {
            relay.cut();
        }
        relay.cut();
    }
    // Now it cannot be reached at all.
    relay.refuse(true);
    relay.cut();
    until_it_stands(&bed, &gate);
    relay.refuse(false);
    assert_undisturbed(&bed, gate, running);
}

#[test]
fn a_slow_way_to_the_server_does_not_slow_the_stream() {
    let bed = Bed::new();
    bed.remember_cursors();
    let relay = Relay::start(&bed.server.address());
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let dsn = bed.server.dsn_by("stream", &relay.address);
    let stream = bed.stream_by(&gate.url, &dsn).args(["--in-flight", "1"]);
    let running = stream.command().start();
    bed.until_saved(1);
    relay.delay(Duration::from_millis(250));
    let (taken, saved) = (gate.pushes(), bed.saved());
    // In the time of some commits much more is sent than one event for each.
    until("a few more commits", || bed.saved() > saved + 100);
    assert!(gate.pushes() > taken + 50);
    relay.delay(Duration::ZERO);
    assert_undisturbed(&bed, gate, running);
}

#[test]
fn a_server_that_takes_no_writes_for_a_while() {
    let bed = Bed::new();
    bed.remember_cursors();
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let running = careful(bed.stream(&gate.url)).command().start();
    bed.until_saved(200);
    let read_only = |on: &str| {
        bed.server.sql(&format!(
            "SET default_transaction_read_only = off;
             ALTER SYSTEM SET default_transaction_read_only = {on};"
        ));
        bed.server.sql("SELECT pg_reload_conf();");
    };
    read_only("on");
    until("it says so", || running.stderr().contains("25006"));
    until_it_stands(&bed, &gate);
    read_only("off");
    assert_undisturbed(&bed, gate, running);
}

#[test]
fn a_standby_that_becomes_the_primary() {
    let mut bed = Bed::new();
    bed.remember_cursors();
    let relay = Relay::start(&bed.server.address());
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let dsn = bed.server.dsn_by("stream", &relay.address);
    let running = careful(bed.stream_by(&gate.url, &dsn)).command().start();
    bed.until_saved(100);
    let standby = bed.server.standby();
    bed.until_saved(300);
    relay.refuse(true);
    relay.cut();
    until_it_stands(&bed, &gate);
    // Nothing is written any more: what the primary has, the standby gets.
    let at = bed.server.query("SELECT pg_current_wal_lsn();", &[]);
    until("the standby has it all", || {
        let behind = format!("SELECT pg_last_wal_replay_lsn() >= '{}'::pg_lsn;", at[0]);
        standby.query(&behind, &[]) == ["t"]
    });
    relay.lead_to(&standby.address());
    relay.refuse(false);
    until("it finds a standby", || running.stderr().contains("25006"));
    standby.sql("SELECT pg_promote();");
    bed.server = standby;
    assert_undisturbed(&bed, gate, running);
}

/// A file system of a megabyte, for as long as it lives.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Small {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs"])
            .arg(&path)
            .status();
        assert!(mounted.unwrap().success(), "mount: this test needs root");
        Small(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever has files open there is gone a moment later.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A session that holds a snapshot, so that the table must grow with each save.
struct Snapshot(Child);

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_full_disk() {
    let bed = Bed::new();
    bed.remember_cursors();
    let small = Small::mount(bed.server.data().join("../small"));
    let folder = bed.server.tablespace(&small.0);
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=8ms"]);
    let running = careful(bed.stream(&gate.url)).command().start();
    bed.until_saved(100);
    bed.server.sql(&format!(
        "CREATE TABLESPACE small LOCATION '{}';",
        folder.display()
    ));
    bed.server
        .query("ALTER TABLE wsp_checkpoint SET TABLESPACE small;", &[]);
    let mut snapshot = Command::new(bed.server.programs().join("psql"));
    let snapshot = snapshot
        .args(["-XAtq", &bed.server.dsn()])
        .args(["-c", "BEGIN ISOLATION LEVEL REPEATABLE READ"])
        .args(["-c", "SELECT count(*) FROM wsp_checkpoint"])
        .args(["-c", "SELECT pg_sleep(600)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let snapshot = Snapshot(snapshot.unwrap());
    let ballast = small.0.join("ballast");
    // As much as there is room for.
    let _ = std::fs::write(&ballast, vec![b'x'; 1 << 20]);
    until("it says so", || running.stderr().contains("53100"));
    assert!(running.stderr().contains("No space left on device"));
    until_it_stands(&bed, &gate);
    std::fs::remove_file(&ballast).unwrap();
    drop(snapshot);
    assert_undisturbed(&bed, gate, running);
}
