//! Parts that go away or become others while they are streamed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::StringArray;
use worldstream_tests::{Arrival, run};

use super::bed::*;

/// A world whose traffic has rows of 300 kB, of which few are read ahead.
fn wide(bench: &mut Bench) -> Setup {
    let mut setup = bench.setup();
    setup.traffic_only();
    for part in [FIRST, SECOND] {
        setup.rewrite(TRAFFIC, part, |columns| {
            let rows = columns[0].1.len();
            let texts = (0..rows).map(|row| {
                char::from(b'a' + row as u8 % 26)
                    .to_string()
                    .repeat(300_000)
            });
            columns.push((
                "wide".into(),
                Arc::new(StringArray::from_iter_values(texts)),
            ));
        });
    }
    setup
}

/// Starts a stream against a gate that is slow until `change` was made, which it is after the
/// first arrivals. Gives the error's code and message and what arrived.
fn change_meanwhile(
    change: impl FnOnce(&Setup),
) -> (Setup, String, Vec<Arrival>, tempfile::TempDir) {
    // Built before the time counts.
    worldstream_tests::program();
    let dir = tempfile::tempdir().unwrap();
    let template = template(dir.path());
    let mut bench = Bench::new(&dir.path().join("bench"), &template);
    let setup = wide(&mut bench);
    bench
        .gate
        .set_faults(vec!["latency=100ms".parse().unwrap()]);
    let end = Instant::now() + Duration::from_secs(60);
    let outcome = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| setup.call("run", false));
        while bench.gate.summary().pushes < 2 {
            assert!(
                !streaming.is_finished() && Instant::now() < end,
                "nothing arrives"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        change(&setup);
        bench.gate.set_faults(Vec::new());
        streaming.join().unwrap()
    });
    let arrived = bench.arrived();
    assert!(!outcome.stderr.contains("panicked"), "{outcome:#?}");
    let outcome = outcome.expect(10);
    let error = outcome
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("error: "));
    let error = error.expect("an error").to_owned();
    // Whatever was sent, the cursor is behind the last of it.
    let last = arrived.len() - 1;
    let cursor: serde_json::Value =
        serde_json::from_slice(&std::fs::read(setup.cursor()).unwrap()).unwrap();
    assert_eq!(cursor["last_row_index"], last % PART_ROWS, "{cursor}");
    let part = [FIRST, SECOND][last / PART_ROWS];
    assert!(
        cursor["last_file"].as_str().unwrap().ends_with(part),
        "{cursor}"
    );
    // And a start says so again before it sends anything.
    let again = bench.call(&setup, "run", false);
    assert_ne!(again.finished.code, Some(0));
    assert!(again.arrived.is_empty(), "{:#?}", again.finished);
    (setup, error, arrived, dir)
}

/// The arrivals are the first of the view, in order, each once.
fn assert_prefix(arrived: &[Arrival], whole: &Setup) {
    let ids: Vec<&str> = arrived
        .iter()
        .map(|event| event.event_id.as_str())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let times = read(&whole.path(&view(TRAFFIC, FIRST)));
    let times = times
        .iter()
        .find(|(name, _)| name == "ts_utc")
        .unwrap()
        .1
        .clone();
    let times = times
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap()
        .clone();
    for (row, event) in arrived.iter().enumerate().take(PART_ROWS) {
        assert_eq!(event.ts_utc[..19], times.value(row)[..19], "row {row}");
    }
}

#[test]
fn the_next_part_deleted() {
    let (setup, error, arrived, _dir) = change_meanwhile(|it| it.remove(&view(TRAFFIC, SECOND)));
    assert!(error.starts_with("STREAM_VIEW_CHANGED: "), "{error}");
    assert!(
        error.contains(SECOND) && error.contains("no such file any more"),
        "{error}"
    );
    assert_eq!(arrived.len(), PART_ROWS);
    assert_prefix(&arrived, &setup);
}

#[test]
fn the_next_part_replaced() {
    let (setup, error, arrived, _dir) = change_meanwhile(|it| {
        let first = std::fs::read(it.path(&view(TRAFFIC, FIRST))).unwrap();
        // As a builder does it: beside it, then in its place.
        let aside = it.path(&view(TRAFFIC, "new"));
        std::fs::write(&aside, first).unwrap();
        std::fs::rename(aside, it.path(&view(TRAFFIC, SECOND))).unwrap();
    });
    assert!(error.starts_with("STREAM_VIEW_CHANGED: "), "{error}");
    assert!(
        error.contains(SECOND) && error.contains("expected the part of"),
        "{error}"
    );
    assert_eq!(arrived.len(), PART_ROWS);
    assert_prefix(&arrived, &setup);
}

#[test]
fn the_next_part_cut_short() {
    let (setup, error, arrived, _dir) = change_meanwhile(|it| {
        it.edit(&view(TRAFFIC, SECOND), |bytes| {
            bytes.truncate(bytes.len() / 2)
        });
    });
    assert!(error.starts_with("STREAM_VIEW_CHANGED: "), "{error}");
    assert!(error.contains(SECOND), "{error}");
    assert_eq!(arrived.len(), PART_ROWS);
    assert_prefix(&arrived, &setup);
}

#[test]
fn the_part_that_is_read_deleted() {
    let (_, error, arrived, _dir) = change_meanwhile(|it| it.remove(&view(TRAFFIC, FIRST)));
    assert!(error.starts_with("STREAM_VIEW_CHANGED: "), "{error}");
    assert!(
        error.contains(FIRST) && error.contains("no such file any more"),
        "{error}"
    );
    // What was read ahead was sent, whole rows, and no row of the next part.
    assert!(
        (2..PART_ROWS).contains(&arrived.len()),
        "{} arrived",
        arrived.len()
    );
}

#[test]
fn the_part_that_is_read_overwritten() {
    let (_, error, arrived, _dir) = change_meanwhile(|it| {
        it.edit(&view(TRAFFIC, FIRST), |bytes| {
            let end = bytes.len();
            bytes[end / 2..].fill(0);
        });
    });
    assert!(error.starts_with("STREAM_VIEW_CHANGED: "), "{error}");
    assert!(error.contains(FIRST), "{error}");
    assert!(
        (2..PART_ROWS).contains(&arrived.len()),
        "{} arrived",
        arrived.len()
    );
}

#[test]
fn a_wrong_flag_is_named() {
    for (args, word) in [
        (&["run", "--speedup", "fast"][..], "--speedup"),
        (&["run", "--max-lag", "5"], "--max-lag"),
        (&["run", "--start-from", "monday"], "--start-from"),
        (&["run", "--traffic-mode", "both"], "--traffic-mode"),
        (&["run", "--overload", "never"], "--overload"),
        (&["run", "--lanes=-1"], "--lanes"),
        (&["run", "--in-flight", "1.5"], "--in-flight"),
        (&["run", "--moon"], "--moon"),
        (&["run", "--checkpoint-root="], "--checkpoint-root"),
        (&["run", "--profile=dev", "--profile=local"], "--profile"),
        (&["run", "extra"], "extra"),
        (
            &["plan", "--max-events-per-output", "many"],
            "--max-events-per-output",
        ),
        (&["moon"], "moon"),
        (&[], "Usage"),
    ] {
        let ended = run(args.iter().copied()).finish().expect(2);
        assert!(
            ended.stderr.contains(word) && ended.stdout.is_empty(),
            "{ended:#?}"
        );
    }
}
