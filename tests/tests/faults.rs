//! Everything that may go wrong with a gate or a store while it streams: nothing is lost, it goes
//! on by itself, or it ends with the code that says what to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worldstream_tests::stream::{
    Case, LONG, Stream, assert_complete, receipt, receipts, sample, side_by_side, until,
};
use worldstream_tests::{Arrival, GateProcess, Running, envelopes};

const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
const ENTITIES: &str = "s1_arrival_entities_6B";
const ROWS: u64 = 2000;
const EVENTS: u64 = ROWS + 3 * (ROWS / 2);

fn rows(output: &str) -> u64 {
    match output {
        TRAFFIC => ROWS,
        _ => ROWS / 2,
    }
}

fn world(dir: &Path) -> std::path::PathBuf {
    let world = dir.join("world");
    sample(&world, ROWS, &["--days", "2"]);
    world
}

/// A gate that is slow enough for something to happen while it streams.
fn slow_gate(bed: &Path) -> GateProcess {
    GateProcess::start(bed, &["--fault", "latency=5ms"])
}

/// A stream that has begun.
fn begun(stream: &Stream, gate: &GateProcess) -> Running {
    let running = stream.command().start();
    until("it is under way", || gate.pushes() > 150);
    running
}

/// Each event was admitted once, and no other.
fn assert_all_admitted(gate: GateProcess) {
    let admitted = gate.end();
    let ids: std::collections::BTreeSet<_> = admitted
        .iter()
        .map(|it| it["event_id"].as_str().unwrap())
        .collect();
    assert_eq!((ids.len() as u64, admitted.len() as u64), (EVENTS, EVENTS));
}

/// How long each fault lasts.
const LASTS: Duration = Duration::from_secs(10);

/// Every fault of the gate: its name there, its text, and whether an event that it strikes is
/// never answered, so that trying in vain ends the stream.
const FAULTS: &[(&str, bool)] = &[
    ("latency=150ms", false),
    ("refuse", true),
    ("429:retry-after=2s", true),
    ("5xx=503", true),
    ("stall", true),
    ("reset", true),
    ("reset-middle", true),
    ("no-answer", true),
];

/// With `for=10s`: a fault's options begin with a colon.
fn for_ten_seconds(fault: &str, more: &str) -> String {
    let joint = if fault.contains(':') { ',' } else { ':' };
    format!("{fault}{joint}for={}s{more}", LASTS.as_secs())
}

/// How long an answer is waited for: short where none comes, and else longer than a busy machine
/// may take.
fn patience(fault: &str) -> &'static str {
    if fault == "stall" { "1s" } else { "30s" }
}

#[test]
fn every_fault_for_ten_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let (dir, world) = (dir.path(), &world);
    let mut cases: Vec<Case> = Vec::new();
    for (number, (fault, in_vain)) in FAULTS.iter().enumerate() {
        let bed = move |kind: &str| dir.join(format!("{kind}-{number}"));
        cases.push((
            format!("{fault}, all, unavailableFor"),
            Box::new(move || waits(&bed("waits"), world, fault, *in_vain)),
        ));
        cases.push((
            format!("{fault}, some, attempts"),
            Box::new(move || some_struck(&bed("some"), world, fault)),
        ));
        if *in_vain {
            cases.push((
                format!("{fault}, all, attempts"),
                Box::new(move || exhausted(&bed("exhausted"), world, fault)),
            ));
        }
    }
    side_by_side(cases);
}

/// Bounded in time, it waits and goes on by itself.
fn waits(bed: &Path, world: &Path, fault: &str, in_vain: bool) {
    let gate = slow_gate(bed);
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.unavailableFor", "5m")
        .set("gate.timeout", patience(fault))
        .set("gate.retry.max", "1s")
        .args(["--in-flight", "4"]);
    let running = begun(&stream, &gate);
    let began = Instant::now();
    gate.set_faults(&[&for_ten_seconds(fault, "")]);
    let summary = running.finish_within(LONG).expect(0).json();
    println!("{fault}: done {:?} after it began", began.elapsed());
    assert_complete(&summary, rows);
    let retried: u64 = receipts(&summary)
        .iter()
        .map(|receipt| receipt["retried"].as_u64().unwrap())
        .sum();
    if in_vain {
        assert!(
            began.elapsed() >= LASTS,
            "it went on before the fault was over"
        );
        assert!(retried > 0);
    } else {
        assert_eq!(retried, 0);
    }
    let seen = gate.summary();
    assert!(!seen["faults"].as_object().unwrap().is_empty(), "{seen:#}");
    assert_all_admitted(gate);
}

/// Struck now and then, it does not even slow down for long.
fn some_struck(bed: &Path, world: &Path, fault: &str) {
    let gate = slow_gate(bed);
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.timeout", patience(fault))
        .set("gate.retry.attempts", 20)
        .set("gate.retry.base", "10ms")
        .set("gate.retry.max", "200ms")
        .args(["--in-flight", "4"]);
    let running = begun(&stream, &gate);
    let slow = "latency=25ms:for=10s";
    gate.set_faults(&[slow, &for_ten_seconds(fault, ",p=0.1")]);
    let summary = running.finish_within(LONG).expect(0).json();
    assert_complete(&summary, rows);
    assert_all_admitted(gate);
}

/// Bounded in attempts, it ends as unavailable, and another start goes on.
fn exhausted(bed: &Path, world: &Path, fault: &str) {
    let gate = slow_gate(bed);
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.timeout", patience(fault))
        .set("gate.retry.attempts", 3)
        .set("gate.retry.base", "100ms")
        .set("checkpoints.flushEvery", 100)
        .args(["--in-flight", "4"]);
    let running = begun(&stream, &gate);
    let began = Instant::now();
    gate.set_faults(&[&for_ten_seconds(fault, "")]);
    let ended = running.finish_within(LONG).expect(13);
    let summary = ended.json();
    assert_eq!(
        summary["failure"]["reason"], "IG_PUSH_RETRY_EXHAUSTED",
        "{ended:#?}"
    );
    assert!(
        ended.stderr.contains("given up after 3 attempts"),
        "{ended:#?}"
    );
    // Nobody can be asked while the gate does not listen.
    std::thread::sleep(LASTS.saturating_sub(began.elapsed()) + Duration::from_millis(200));
    let before = gate.summary();
    let stream = stream.set("gate.timeout", "30s");
    assert_complete(&stream.finish(0).json(), rows);
    // What was in flight when it gave up is sent again, if the gate had taken it; no more.
    let repeats =
        gate.summary()["duplicates"].as_u64().unwrap() - before["duplicates"].as_u64().unwrap();
    assert!(repeats <= 4 * 4, "{repeats}");
    assert_all_admitted(gate);
}

#[test]
fn gates_that_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let (dir, world) = (dir.path(), &world);
    side_by_side(vec![
        (
            "killed".into(),
            Box::new(|| gate_killed(&dir.join("killed"), world)),
        ),
        (
            "close".into(),
            Box::new(|| gate_closes(&dir.join("close"), world)),
        ),
        (
            "key rotated".into(),
            Box::new(|| key_rotated(&dir.join("rotated"), world)),
        ),
        (
            "key refused".into(),
            Box::new(|| key_refused(&dir.join("refused"), world, "1")),
        ),
        (
            "key refused, 16".into(),
            Box::new(|| key_refused(&dir.join("refused16"), world, "16")),
        ),
    ]);
}

/// The gate dies with requests in flight, is away, and comes back at its place.
fn gate_killed(bed: &Path, world: &Path) {
    let mut gate = slow_gate(bed);
    let address = gate.address().to_owned();
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.unavailableFor", "5m")
        .set("gate.retry.max", "500ms");
    let mut running = begun(&stream, &gate);
    for _ in 0..3 {
        gate.signal("KILL");
        drop(gate);
        std::thread::sleep(Duration::from_secs(1));
        assert!(!running.ended());
        gate = GateProcess::start_at(&address, bed, &["--fault", "latency=5ms"]);
        let known = gate.summary()["known_events"].as_u64().unwrap();
        until("it goes on", || {
            gate.summary()["known_events"].as_u64() >= Some(known + 200)
        });
    }
    gate.set_faults(&[]);
    assert_complete(&running.finish_within(LONG).expect(0).json(), rows);
    assert_all_admitted(gate);
}

/// A connection for each event costs that and nothing else.
fn gate_closes(bed: &Path, world: &Path) {
    let gate = GateProcess::start(bed, &["--close"]);
    let summary = Stream::new(bed, world, &gate.url).finish(0).json();
    assert_complete(&summary, rows);
    for receipt in receipts(&summary) {
        assert_eq!(receipt["retried"], 0, "{receipt:#}");
    }
    let seen = gate.summary();
    assert_eq!(seen["pushes"], EVENTS);
    assert!(seen["connections"].as_u64() >= Some(EVENTS), "{seen:#}");
    assert_all_admitted(gate);
}

/// A gate that knows keys, and a stream with one of them.
fn with_key(bed: &Path, world: &Path) -> (GateProcess, Stream) {
    std::fs::create_dir_all(bed).unwrap();
    replace(&bed.join("gate-keys"), "key-one\n");
    replace(&bed.join("key"), "key-one\n");
    let keys = bed.join("gate-keys").display().to_string();
    let gate = GateProcess::start(bed, &["--fault", "latency=5ms", "--api-keys", &keys]);
    let stream = Stream::new(bed, world, &gate.url).set(
        "gate.auth",
        json!({"apiKey": {"file": bed.join("key").display().to_string()}}),
    );
    (gate, stream)
}

/// A file as a mounted secret changes: at once.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn key_rotated(bed: &Path, world: &Path) {
    let (gate, stream) = with_key(bed, world);
    let running = begun(&stream, &gate);
    for key in ["key-two\n", "key-three\n"] {
        let before = gate.pushes();
        replace(&bed.join("key"), key);
        replace(&bed.join("gate-keys"), key);
        until("it goes on", || gate.pushes() > before + 300);
    }
    let summary = running.finish_within(LONG).expect(0).json();
    assert_complete(&summary, rows);
    let refused = gate.summary()["answers"]["401"].as_u64();
    assert!(refused >= Some(1), "the old key was never refused");
    assert_all_admitted(gate);
}

fn key_refused(bed: &Path, world: &Path, in_flight: &str) {
    let (gate, stream) = with_key(bed, world);
    let stream = stream.args(["--in-flight", in_flight]);
    let running = begun(&stream, &gate);
    replace(&bed.join("gate-keys"), "key-two\n");
    let ended = running.finish_within(LONG).expect(11);
    assert_eq!(
        ended.json()["failure"]["reason"],
        "IG_PUSH_REJECTED",
        "{ended:#?}"
    );
    for secret in ["key-one", "key-two"] {
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
    }
    // Of each output the events that were in flight were refused, twice each, and none after.
    let arrivals = gate.arrivals();
    for (output, arrivals) in by_output(&arrivals) {
        let refused: Vec<_> = arrivals.iter().filter(|it| it.decision.is_none()).collect();
        let bound = in_flight.parse::<usize>().unwrap();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for arrival in &refused {
            assert_eq!(arrival.status, Some(401));
            *times.entry(&arrival.event_id).or_default() += 1;
        }
        assert!(times.len() <= bound, "{output}: {}", times.len());
        assert!(times.values().all(|times| *times <= 2), "{output}");
        if in_flight == "1" {
            let first = arrivals.iter().position(|it| it.decision.is_none());
            let after = first.map_or(0, |first| arrivals.len() - first);
            assert!(
                after <= 2,
                "{output}: {after} pushes from the first refusal on"
            );
        }
    }
    // Refused again at the next start, before anything is sent.
    let taken = gate.summary()["admitted"].clone();
    let again = stream.finish(11);
    assert!(again.stderr.contains("IG_PUSH_REJECTED"), "{again:#?}");
    assert_eq!(gate.summary()["admitted"], taken);
    replace(&bed.join("key"), "key-two\n");
    assert_complete(&stream.finish(0).json(), rows);
    assert_all_admitted(gate);
}

fn by_output(arrivals: &[Arrival]) -> BTreeMap<&str, Vec<&Arrival>> {
    let mut outputs: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        outputs
            .entry(&arrival.event_type)
            .or_default()
            .push(arrival);
    }
    outputs
}

#[test]
fn quarantined_events_end_a_stream_that_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    // A gate that knows events of these ids with other payloads puts ours aside.
    let gate = GateProcess::start(&dir.path().join("whole"), &[]);
    let whole =
        Stream::new(&dir.path().join("whole"), &world, &gate.url).args(["--in-flight", "1"]);
    assert_complete(&whole.finish(0).json(), rows);
    let known: Vec<Value> = gate
        .end()
        .into_iter()
        .filter(|it| it["event_type"] == TRAFFIC)
        .collect();
    let (dir, world, known) = (dir.path(), &world, &known[..]);
    side_by_side(vec![
        (
            "count".into(),
            Box::new(|| by_count(&dir.join("count"), world, known)),
        ),
        (
            "share".into(),
            Box::new(|| by_share(&dir.join("share"), world, known)),
        ),
        (
            "continue".into(),
            Box::new(|| regardless(&dir.join("continue"), world, known)),
        ),
    ]);
}

/// A gate that will quarantine these rows of the traffic, counted from 0.
fn poisoned(bed: &Path, known: &[Value], poison: impl Fn(usize) -> bool) -> GateProcess {
    std::fs::create_dir_all(bed).unwrap();
    let mut record = String::new();
    for (_, envelope) in known.iter().enumerate().filter(|(row, _)| poison(*row)) {
        let mut other = envelope.clone();
        other["payload"]["ts_utc"] = json!("2026-01-01T00:00:00.000001Z");
        record += &format!("{other}\n");
    }
    std::fs::write(bed.join("admitted.jsonl"), record).unwrap();
    GateProcess::start(bed, &[])
}

fn by_count(bed: &Path, world: &Path, known: &[Value]) {
    let gate = poisoned(bed, known, |row| row % 10 == 3);
    let stream = Stream::new(bed, world, &gate.url)
        .set("gate.quarantine", json!({"policy": "Stop", "maxCount": 10}))
        .args(["--in-flight", "1"]);
    // Rows 3, 13, … 53: six of them before the first end.
    let capped = stream
        .clone()
        .args(["--max-events-per-output", "60"])
        .finish(0);
    assert_eq!(receipt(&capped.json(), TRAFFIC)["quarantined"], 6);
    // The eleventh is row 103.
    limit_reached(&stream, &gate, 104, 11);
}

fn by_share(bed: &Path, world: &Path, known: &[Value]) {
    let gate = poisoned(bed, known, |row| (160..175).contains(&row));
    let stream = Stream::new(bed, world, &gate.url)
        .set(
            "gate.quarantine",
            json!({"policy": "Stop", "maxShare": 0.2, "window": 50}),
        )
        .args(["--in-flight", "1"]);
    let capped = stream
        .clone()
        .args(["--max-events-per-output", "166"])
        .finish(0);
    assert_eq!(receipt(&capped.json(), TRAFFIC)["quarantined"], 6);
    // Ten of fifty are allowed; the eleventh is row 170.
    limit_reached(&stream, &gate, 171, 11);
}

/// Streams on to the limit, and then not at all.
fn limit_reached(stream: &Stream, gate: &GateProcess, rows: u64, quarantined: u64) {
    for _ in 0..2 {
        let ended = stream.finish(11);
        let summary = ended.json();
        assert_eq!(
            summary["failure"]["reason"], "IG_QUARANTINE_LIMIT",
            "{ended:#?}"
        );
        let traffic = receipt(&summary, TRAFFIC);
        assert_eq!(traffic["outcome"], "failed", "{traffic:#}");
        assert_eq!(traffic["rows"], rows, "{traffic:#}");
        assert_eq!(traffic["quarantined"], quarantined, "{traffic:#}");
        let sent = &gate.summary()["by_event_type"][TRAFFIC];
        let count = |field: &str| sent[field].as_u64().unwrap();
        assert_eq!(
            count("admitted") + count("duplicates") + count("quarantined"),
            rows,
            "{sent:#}"
        );
    }
}

fn regardless(bed: &Path, world: &Path, known: &[Value]) {
    let gate = poisoned(bed, known, |row| row % 10 == 3);
    let summary = Stream::new(bed, world, &gate.url).finish(0).json();
    assert_complete(&summary, rows);
    assert_eq!(receipt(&summary, TRAFFIC)["quarantined"], ROWS / 10);
    assert_eq!(gate.summary()["quarantined"], ROWS / 10);
}

#[test]
fn one_output_fails_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    // A row in the middle of one view has no event time.
    let view = world.join(format!("stream_view/ts_utc/output_id={ENTITIES}"));
    let bad = spoil(&view, 120);
    let (dir, world, bad) = (dir.path(), &world, &bad);
    side_by_side(vec![
        (
            "stop-all".into(),
            Box::new(|| {
                let gate = slow_gate(&dir.join("stop"));
                let summary = one_fails(&dir.join("stop"), world, &gate, "stop-all", bad);
                for receipt in receipts(&summary) {
                    if receipt["output_id"] != ENTITIES {
                        assert_eq!(receipt["outcome"], "incomplete", "{receipt:#}");
                    }
                }
            }),
        ),
        (
            "continue".into(),
            Box::new(|| {
                let gate = slow_gate(&dir.join("continue"));
                let summary = one_fails(&dir.join("continue"), world, &gate, "continue", bad);
                for receipt in receipts(&summary) {
                    let output = receipt["output_id"].as_str().unwrap();
                    if output != ENTITIES {
                        assert_eq!(receipt["outcome"], "complete", "{receipt:#}");
                        assert_eq!(receipt["rows"], rows(output), "{receipt:#}");
                    }
                }
            }),
        ),
    ]);
}

fn one_fails(bed: &Path, world: &Path, gate: &GateProcess, policy: &str, bad: &str) -> Value {
    let ended = Stream::new(bed, world, &gate.url)
        .args(["--in-flight", "2", "--on-output-failure", policy])
        .finish(10);
    let summary = ended.json();
    assert_eq!(summary["failure"]["reason"], "STREAM_FAILED", "{ended:#?}");
    let message = summary["failure"]["message"].as_str().unwrap();
    assert!(
        message.contains(bad) && message.contains("row 120"),
        "{message}"
    );
    let failed = receipt(&summary, ENTITIES);
    assert_eq!(failed["outcome"], "failed", "{failed:#}");
    // Every row before the bad one was sent, as the rows before it are in the first part.
    assert_eq!(failed["rows"], 120, "{failed:#}");
    summary
}

/// Takes the event time out of a row of a view's first part, and gives the part's name.
fn spoil(view: &Path, row: usize) -> String {
    use arrow_array::{Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let mut parts: Vec<_> = std::fs::read_dir(view)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "parquet"))
        .collect();
    parts.sort();
    let file = std::fs::File::open(&parts[0]).unwrap();
    let mut batches = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    let index = batch.schema().index_of("ts_utc").unwrap();
    let times = batch
        .column(index)
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap();
    let spoiled: StringArray = (0..times.len())
        .map(|at| {
            if at == row {
                Some("no time")
            } else {
                Some(times.value(at))
            }
        })
        .collect();
    let mut columns = batch.columns().to_vec();
    columns[index] = std::sync::Arc::new(spoiled);
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let file = std::fs::File::create(&parts[0]).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    parts[0].file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_store_of_checkpoints_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let (dir, world) = (dir.path(), &world);
    side_by_side(vec![
        (
            "comes back".into(),
            Box::new(|| store_back(&dir.join("back"), world)),
        ),
        (
            "stays away".into(),
            Box::new(|| store_away(&dir.join("away"), world)),
        ),
        (
            "at the end".into(),
            Box::new(|| store_away_at_stop(&dir.join("end"), world)),
        ),
        (
            "removed".into(),
            Box::new(|| store_removed(&dir.join("removed"), world)),
        ),
    ]);
}

const FLUSH: u64 = 40;
const IN_FLIGHT: u64 = 4;

/// A stream whose checkpoints lie behind a link, so that they can go away at once.
fn linked(bed: &Path, world: &Path, url: &str) -> Stream {
    std::fs::create_dir_all(bed.join("store")).unwrap();
    std::fs::write(bed.join("a file"), "").unwrap();
    link(bed, "store");
    Stream::new(bed, world, url)
        .set("checkpoints.flushEvery", FLUSH)
        .set("gate.inFlight", IN_FLIGHT)
        .args(["--checkpoint-root", &bed.join("link").display().to_string()])
}

/// Lets the link lead to something else; a plain file is as good as a disk that fails.
fn link(bed: &Path, to: &str) {
    let next = bed.join("next");
    std::os::unix::fs::symlink(bed.join(to), &next).unwrap();
    std::fs::rename(next, bed.join("link")).unwrap();
}

/// Waits until the stream stands, and says how far it may have come: nothing beyond the bound of
/// what may be unsaved.
fn stands(bed: &Path, gate: &GateProcess) {
    let mut last = gate.pushes();
    until("it stands", || {
        std::thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut last, gate.pushes()) == last
    });
    assert!(last < EVENTS, "it went on to its end without saving");
    let listed = worldstream_tests::run(["checkpoints", "list", "--json", "--checkpoint-root"])
        .args([bed.join("store").display().to_string()])
        .finish()
        .expect(0)
        .json();
    let seen = gate.summary();
    for checkpoint in listed.as_array().unwrap() {
        let output = checkpoint["output_id"].as_str().unwrap();
        let saved = checkpoint["progress"]["rows"].as_u64().unwrap_or(0);
        let admitted = seen["by_event_type"][output]["admitted"].as_u64().unwrap();
        assert!(admitted > saved, "{output}: it went on while it could");
        assert!(
            admitted <= saved + FLUSH + IN_FLIGHT,
            "{output}: {admitted} sent, {saved} saved"
        );
    }
}

/// It slows to a stand, and goes on by itself.
fn store_back(bed: &Path, world: &Path) {
    let gate = slow_gate(bed);
    let stream = linked(bed, world, &gate.url);
    let mut running = begun(&stream, &gate);
    link(bed, "a file");
    stands(bed, &gate);
    assert!(!running.ended());
    link(bed, "store");
    let ended = running.finish_within(LONG).expect(0);
    assert!(ended.stderr.contains("could not be saved"), "{ended:#?}");
    assert_complete(&ended.json(), rows);
    assert_eq!(gate.summary()["duplicates"], 0);
    assert_all_admitted(gate);
}

fn store_away(bed: &Path, world: &Path) {
    let gate = slow_gate(bed);
    let stream = linked(bed, world, &gate.url).set("checkpoints.unavailableFor", "4s");
    let running = begun(&stream, &gate);
    link(bed, "a file");
    stands(bed, &gate);
    let ended = running.finish_within(LONG).expect(13);
    assert!(ended.stderr.contains("cannot"), "{ended:#?}");
    link(bed, "store");
    assert_complete(&stream.finish(0).json(), rows);
    // Nothing but what was not saved is sent again.
    let repeats = gate.summary()["duplicates"].as_u64().unwrap();
    assert!(
        (1..=4 * (FLUSH + IN_FLIGHT)).contains(&repeats),
        "{repeats}"
    );
    assert_all_admitted(gate);
}

/// A signal does not wait for the store as long as the stream would.
fn store_away_at_stop(bed: &Path, world: &Path) {
    let gate = slow_gate(bed);
    let stream = linked(bed, world, &gate.url).set("checkpoints.unavailableFor", "1h");
    let running = begun(&stream, &gate);
    link(bed, "a file");
    stands(bed, &gate);
    running.signal("TERM");
    // Not everything is saved, so it does not say so.
    running.finish_within(LONG).expect(13);
    link(bed, "store");
    assert_complete(&stream.finish(0).json(), rows);
    assert_all_admitted(gate);
}

/// A folder that is gone took the lock with it: another process may have the new one.
fn store_removed(bed: &Path, world: &Path) {
    let gate = slow_gate(bed);
    let stream = linked(bed, world, &gate.url);
    let running = begun(&stream, &gate);
    std::fs::rename(bed.join("store"), bed.join("moved")).unwrap();
    let ended = running.finish_within(LONG).expect(12);
    assert!(ended.stderr.contains("CHECKPOINT_CONFLICT"), "{ended:#?}");
    std::fs::rename(bed.join("moved"), bed.join("store")).unwrap();
    assert_complete(&stream.finish(0).json(), rows);
    assert_all_admitted(gate);
    assert_eq!(envelopes(&bed.join("admitted.jsonl")).len() as u64, EVENTS);
}
