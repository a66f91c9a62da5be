//! SIGKILL at random moments, at a start and within the stream: nothing is missing, the order
//! holds, repeats are bounded, and the receipts are those of a run that nobody disturbed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use worldstream_tests::stream::{LONG, Stream, assert_complete, receipt, receipts, sample, until};
use worldstream_tests::{Arrival, GateProcess, Repeats, json_lines, monotonic};

/// How a stream is killed.
struct Case {
    seed: u64,
    in_flight: usize,
    flush_every: u64,
    /// Of the gate: it is slow, so that kills find requests in flight.
    faults: &'static [&'static str],
    rows: u64,
    /// At most so many pushes from a start to its kill.
    pushes: u64,
}

/// Kills of each case.
const KILLS: u32 = 56;

#[test]
fn one_in_flight() {
    kill(&Case {
        seed: 1,
        in_flight: 1,
        flush_every: 20,
        faults: &["latency=2ms"],
        rows: 2000,
        pushes: 150,
    });
}

#[test]
fn thirty_two_in_flight() {
    kill(&Case {
        seed: 32,
        in_flight: 32,
        flush_every: 40,
        // Events that are tried again come late, as far as the window allows.
        faults: &["latency=8ms", "5xx:p=0.02"],
        rows: 6000,
        pushes: 500,
    });
}

fn kill(case: &Case) {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, case.rows, &["--days", "3"]);

    // A run that nobody disturbs says what is right.
    let gate = GateProcess::start(&dir.path().join("whole"), &[]);
    let whole = Stream::new(&dir.path().join("whole"), &world, &gate.url)
        .args(["--in-flight", "1"])
        .finish(0)
        .json();
    let expected = gate.end();
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for envelope in &expected {
        let text = |field: &str| envelope[field].as_str().unwrap().to_owned();
        order
            .entry(text("event_type"))
            .or_default()
            .push(text("event_id"));
    }
    assert_complete(&whole, |output| order[output].len() as u64);

    let bed = dir.path().join("killed");
    let faults = case.faults.iter().flat_map(|fault| ["--fault", *fault]);
    let gate = GateProcess::start(&bed, &faults.collect::<Vec<_>>());
    let stream = Stream::new(&bed, &world, &gate.url)
        .set("checkpoints.flushEvery", case.flush_every)
        .set(
            "gate.retry",
            serde_json::json!({"base": "20ms", "attempts": 20}),
        )
        .args(["--in-flight", &case.in_flight.to_string()]);
    let mut starts = Vec::new();
    let mut random = ChaCha8Rng::seed_from_u64(case.seed);
    for number in 0..KILLS {
        let before = gate.pushes();
        starts.push(monotonic());
        let mut running = stream.command().start();
        // Every fourth while it starts: its locks, its first reads and saves.
        if number.is_multiple_of(4) {
            let micros = random.random_range(0..150_000);
            println!("kill {number}: {micros} µs after its start");
            std::thread::sleep(Duration::from_micros(micros));
        } else {
            let pushes = random.random_range(1..=case.pushes);
            let micros = random.random_range(0..5_000);
            println!("kill {number}: {micros} µs after push {pushes}");
            while gate.pushes() < before + pushes && !running.ended() {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_micros(micros));
        }
        let killed = running.kill();
        assert_eq!(killed.code, None, "ended before it was killed: {killed:#?}");
        // What the kernel still held of its requests arrives now, not in the next start's time.
        while gate.summary()["in_flight"] != 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    starts.push(monotonic());
    let last = stream
        .command()
        .start()
        .finish_within(LONG)
        .expect(0)
        .json();
    let arrivals = gate.arrivals();
    let admitted = gate.end();

    let worst = check_arrivals(case, &arrivals, &starts, &order);
    println!("{worst:?}");
    assert_same_envelopes(&expected, &admitted);
    assert_complete(&last, |output| order[output].len() as u64);
    for right in receipts(&whole) {
        let output = right["output_id"].as_str().unwrap();
        let ours = receipt(&last, output);
        for field in ["rows", "digest", "cursor", "disordered", "view"] {
            assert_eq!(ours[field], right[field], "{output}: {field}");
        }
    }
    assert_whole_lines(&stream.run_dir());
}

/// The worst that was seen.
#[derive(Debug, Default)]
struct Worst {
    /// Pushes of events that had arrived before, of an output, by one start.
    repeats: usize,
    /// Of all starts.
    all_repeats: usize,
    /// Places between an event's first arrival and its place in the view.
    displaced: usize,
    /// Starts that pushed something.
    streaming: usize,
}

fn check_arrivals(
    case: &Case,
    arrivals: &[Arrival],
    starts: &[u64],
    order: &BTreeMap<String, Vec<String>>,
) -> Worst {
    let mut worst = Worst::default();
    let mut pushed = HashSet::new();
    for (output, ids) in order {
        let place: HashMap<&str, usize> = ids
            .iter()
            .enumerate()
            .map(|(place, id)| (id.as_str(), place))
            .collect();
        let mut seen = HashSet::new();
        let mut repeats = vec![0; starts.len()];
        let taken = arrivals.iter().filter(|it| it.decision.is_some());
        for arrival in taken.filter(|it| it.event_type == *output) {
            // The start that it belongs to is the last one before it.
            let start = starts.partition_point(|start| *start <= arrival.at) - 1;
            pushed.insert(start);
            if seen.insert(arrival.event_id.as_str()) {
                let displaced = place[arrival.event_id.as_str()].abs_diff(seen.len() - 1);
                assert!(
                    displaced < case.in_flight,
                    "{output}: displaced {displaced}"
                );
                worst.displaced = worst.displaced.max(displaced);
            } else {
                repeats[start] += 1;
            }
        }
        assert_eq!(seen.len(), ids.len(), "{output}: events are missing");
        let bound = case.in_flight + case.flush_every as usize;
        for (start, repeats) in repeats.iter().enumerate() {
            assert!(
                *repeats <= bound,
                "{output}: start {start} repeats {repeats}"
            );
            worst.repeats = worst.repeats.max(*repeats);
            worst.all_repeats += repeats;
        }
    }
    worst.streaming = pushed.len();
    // The kills are to land within the stream, and some of them where it hurts.
    assert!(worst.streaming > KILLS as usize / 2, "{worst:?}");
    assert!(worst.all_repeats > 0, "{worst:?}");
    worst
}

fn assert_same_envelopes(expected: &[Value], admitted: &[Value]) {
    let by_id = |envelopes: &[Value]| -> BTreeMap<String, Value> {
        envelopes
            .iter()
            .map(|it| (it["event_id"].as_str().unwrap().to_owned(), it.clone()))
            .collect()
    };
    assert_eq!(admitted.len(), expected.len());
    assert!(by_id(admitted) == by_id(expected), "envelopes differ");
}

/// What a kill may not tear: every line of the session's log is whole.
fn assert_whole_lines(run_dir: &Path) {
    let events: Vec<Value> = json_lines(&run_dir.join("session.jsonl"));
    let of = |kind: &str| events.iter().filter(|it| it["event_kind"] == kind).count();
    assert!(of("checkpoint_saved") > 0);
    assert_eq!(of("stream_complete"), 1);
}

/// On a file the older of two keeps the checkpoint for as long as its process lives, frozen or not:
/// a takeover is refused. When it is ended, the newer one goes on where it had saved.
#[test]
fn two_processes_on_one_file_the_older_frozen() {
    const EVENTS: u64 = 2_500;
    const IN_FLIGHT: u64 = 4;
    const FLUSH: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 1_000, &["--days", "1"]);
    let gate = GateProcess::start(dir.path(), &["--fault", "latency=8ms"]);
    let stream = Stream::new(dir.path(), &world, &gate.url)
        .set("checkpoints.flushEvery", FLUSH)
        .args(["--in-flight", &IN_FLIGHT.to_string()]);
    let older = stream.command().start();
    let refused = || {
        let newer = stream.finish(12);
        let holder = format!("process {}", older.id());
        for text in ["CHECKPOINT_CONFLICT", &holder] {
            assert!(newer.stderr.contains(text), "{newer:#?}");
        }
    };
    until("events on their way", || gate.pushes() > 200);
    older.signal("STOP");
    until("its last pushes", || gate.summary()["in_flight"] == 0);
    let pushes = gate.pushes();
    refused();
    refused();
    assert_eq!(gate.pushes(), pushes, "nobody sends while it is frozen");
    // Let go, it goes on; frozen again, it is ended.
    older.signal("CONT");
    until("it goes on", || gate.pushes() > pushes + 200);
    older.signal("STOP");
    refused();
    older.kill();
    let summary = stream.finish(0).json();
    assert_complete(&summary, |output| match output {
        "s3_event_stream_with_fraud_6B" => 1_000,
        _ => 500,
    });
    let repeats = Repeats::of(&gate.arrivals());
    println!(
        "two processes on one checkpoint in a file: {}; takeovers refused while the older one was \
         frozen: 3 of 3",
        repeats.told(EVENTS)
    );
    assert_eq!(repeats.events, EVENTS, "nothing is lost");
    let most = receipts(&summary).len() as u64 * (FLUSH + IN_FLIGHT);
    assert!(repeats.twice <= most && repeats.most <= 2, "{repeats:?}");
    assert_eq!(gate.end().len() as u64, EVENTS);
}

/// A worker that is killed soon after its first event has moved its cursor, however seldom it saves:
/// who counts its crashes sees that it gets somewhere.
#[test]
fn the_first_event_is_saved_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world");
    sample(&world, 200, &["--days", "1"]);
    let gate = GateProcess::start(dir.path(), &[]);
    let stream = Stream::new(dir.path(), &world, &gate.url)
        .set("checkpoints.flushEvery", 10_000)
        .set("checkpoints.flushInterval", "1h")
        .args(["--speedup", "1"]);
    let running = stream.command().start();
    let root = stream.run_dir().join("wsp/checkpoints");
    let list = ["checkpoints", "list", "--json", "--checkpoint-root"];
    until("a saved cursor", || {
        let listed = worldstream_tests::run(list)
            .args([root.display().to_string()])
            .finish();
        let rows: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let mut rows = rows.as_array().into_iter().flatten();
        rows.any(|row| row["progress"]["rows"].as_u64() > Some(0))
    });
    running.kill();
}
