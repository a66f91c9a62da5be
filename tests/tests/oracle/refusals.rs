//! What a build refuses: raw parts that cannot be sorted, and folders that hold something else.
//! Nothing is published then, and nothing is left.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use parquet::file::properties::WriterProperties;
use worldstream::view::build::BuildOptions;
use worldstream_crds::Reason;
use worldstream_tests::MadeWorld;

use crate::bed::*;

fn numbers(rows: i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..rows))
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

const GOOD: Option<&str> = Some("2026-01-01T00:00:00.000000Z");

/// The only things beside a view's folder: none.
#[track_caller]
fn nothing_is_there(world: &MadeWorld) {
    let views = PathBuf::from(world.root()).join("stream_view/ts_utc");
    let left: Vec<_> = fs::read_dir(views)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn raw_parts_that_cannot_be_sorted_are_named_by_file_and_row() {
    let good = rows_of(vec![("n", numbers(2)), ("ts_utc", texts(&[GOOD, GOOD]))]);
    let of = |column: ArrayRef| {
        rows_of(vec![
            ("n", numbers(column.len() as i64)),
            ("ts_utc", column),
        ])
    };
    let stamp = |micros: Option<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![Some(0), micros]))
    };
    let other = rows_of(vec![
        ("n", Arc::new(UInt64Array::from(vec![1, 2])) as ArrayRef),
        ("ts_utc", texts(&[GOOD, GOOD])),
    ]);
    let more = rows_of(vec![
        ("n", numbers(1)),
        ("ts_utc", texts(&[GOOD])),
        ("x", numbers(1)),
    ]);
    let no_key = rows_of(vec![("n", numbers(1))]);
    let wrong_key = rows_of(vec![("n", numbers(1)), ("ts_utc", numbers(1))]);
    let cases: Vec<(&str, Vec<RecordBatch>, Vec<&str>)> = vec![
        (
            "null text",
            vec![good.clone(), of(texts(&[GOOD, GOOD, None]))],
            vec!["part-1.parquet", "row 2, column ts_utc", "null"],
        ),
        (
            "no time",
            vec![of(texts(&[GOOD, Some("yesterday")]))],
            vec!["part-0.parquet", "row 1, column ts_utc", "yesterday"],
        ),
        ("null stamp", vec![of(stamp(None))], vec!["row 1", "null"]),
        (
            "far away",
            vec![of(stamp(Some(i64::MAX)))],
            vec!["row 1", "9223372036854775807"],
        ),
        (
            "no key",
            vec![no_key],
            vec!["part-0.parquet", "ts_utc", "only n"],
        ),
        (
            "wrong key",
            vec![wrong_key],
            vec!["part-0.parquet", "ts_utc", "Int64"],
        ),
        (
            "another type",
            vec![good.clone(), other],
            vec!["part-1.parquet", "column n", "part-0.parquet"],
        ),
        (
            "another column",
            vec![good.clone(), more],
            vec!["part-1.parquet", "column x", "no column"],
        ),
    ];
    for (name, parts, expected) in cases {
        let names: Vec<_> = (0..parts.len())
            .map(|part| format!("part-{part}.parquet"))
            .collect();
        let parts: Vec<_> = names.iter().map(String::as_str).zip(parts).collect();
        let world = made(&parts, &WriterProperties::default());
        let failure = build(&world, EVENTS, &BuildOptions::default()).unwrap_err();
        assert_eq!(failure.reason(), Reason::StreamFailed, "{name}: {failure}");
        for part in expected {
            assert!(
                failure.message().contains(part),
                "{name}: {part} in {failure}"
            );
        }
        nothing_is_there(&world);
    }
}

#[test]
fn parts_that_are_no_parquet_and_templates_without_parts_are_refused() {
    let world = made(&[], &WriterProperties::default());
    let failure = build(&world, EVENTS, &BuildOptions::default()).unwrap_err();
    assert!(failure.message().contains("raw parts of"), "{failure}");
    fs::write(raw_folder(&world).join("part-0.parquet"), "PAR1 no PAR1").unwrap();
    let failure = build(&world, EVENTS, &BuildOptions::default()).unwrap_err();
    assert!(failure.message().contains("part-0.parquet"), "{failure}");
    // A page in the middle is broken: found while rows are read.
    let rows = rows_of(vec![
        ("n", numbers(5_000)),
        ("ts_utc", texts(&vec![GOOD; 5_000])),
    ]);
    let part = raw_folder(&world).join("part-0.parquet");
    write(
        &part,
        &rows,
        &WriterProperties::builder()
            .set_dictionary_enabled(false)
            .build(),
    );
    let mut bytes = fs::read(&part).unwrap();
    bytes[4..40].fill(0xff);
    fs::write(&part, bytes).unwrap();
    let failure = build(&world, EVENTS, &BuildOptions::default()).unwrap_err();
    assert!(failure.message().contains("part-0.parquet"), "{failure}");
    nothing_is_there(&world);

    let unknown = oracle(["build-views", &world.root(), "--output", "s9_nothing"]).expect(10);
    assert!(unknown.stderr.contains("OUTPUT_UNKNOWN"), "{unknown:?}");
    let little = oracle(["build-views", &world.root(), "--memory", "1MiB"]).expect(2);
    assert!(little.stderr.contains("64MiB"), "{little:?}");
}

#[test]
fn a_view_that_is_there_is_left_as_it_is() {
    let world = sample(2_000);
    set_aside(&world);
    let first = oracle(["build-views", &world.root(), "--json"]).expect(0);
    assert_eq!(first.json()[0]["already_there"], false);
    let seen = || {
        let files = files(&world.view(EVENTS));
        let notes = ["_stream_view_manifest.json", "_stream_sort_receipt.json"];
        let notes = notes.map(|name| world.view(EVENTS).join(name));
        let all = files.into_iter().chain(notes);
        all.map(|it| {
            (
                fs::metadata(&it).unwrap().modified().unwrap(),
                fs::read(&it).unwrap(),
            )
        })
        .collect::<Vec<_>>()
    };
    let before = seen();
    let second = oracle(["build-views", &world.root(), "--json"]).expect(0);
    for built in second.json().as_array().unwrap() {
        assert_eq!(built["already_there"], true, "{built}");
    }
    assert!(before == seen(), "the view was touched");
}

#[test]
fn folders_that_hold_something_else_are_refused_and_left_alone() {
    let build_now = |world: &MadeWorld| build(world, EVENTS, &BuildOptions::default());
    let rebuilt = || {
        let world = made(
            &[("part-0.parquet", rows_of(vec![("ts_utc", texts(&[GOOD]))]))],
            &WriterProperties::default(),
        );
        build_now(&world).unwrap();
        world
    };
    let receipt = |world: &MadeWorld| world.view(EVENTS).join("_stream_sort_receipt.json");
    let manifest = |world: &MadeWorld| world.view(EVENTS).join("_stream_view_manifest.json");

    let hex = "0".repeat(64);
    for (field, value) in [
        ("status", "FAILED"),
        ("stream_view_id", hex.as_str()),
        ("output_id", "arrival_events_5B"),
        ("source_locator_digest", &hex),
        ("partition_granularity", "day"),
    ] {
        let world = rebuilt();
        let mut changed = json(&receipt(&world));
        changed[field] = value.into();
        fs::write(receipt(&world), changed.to_string()).unwrap();
        let failure = build_now(&world).unwrap_err();
        assert_eq!(failure.reason(), Reason::StreamReceiptMismatch, "{failure}");
        assert!(failure.message().contains(field), "{failure}");
        assert_eq!(json(&receipt(&world)), changed);
    }
    for text in ["", "{", "[]"] {
        let world = rebuilt();
        fs::write(receipt(&world), text).unwrap();
        assert_eq!(
            build_now(&world).unwrap_err().reason(),
            Reason::StreamReceiptMismatch
        );
    }
    // Another raw part makes it another view.
    let world = rebuilt();
    let part = raw_folder(&world).join("part-0.parquet");
    fs::copy(&part, part.with_file_name("part-1.parquet")).unwrap();
    let refused = oracle(["build-views", &world.root(), "--output", EVENTS]).expect(10);
    assert!(
        refused.stderr.contains("STREAM_RECEIPT_MISMATCH"),
        "{refused:?}"
    );

    let world = rebuilt();
    fs::remove_file(receipt(&world)).unwrap();
    let refused = oracle(["build-views", &world.root(), "--output", EVENTS]).expect(10);
    assert!(
        refused.stderr.contains("STREAM_VIEW_PARTIAL_EXISTS"),
        "{refused:?}"
    );
    assert_eq!(files(&world.view(EVENTS)).len(), 1);
    for part in files(&world.view(EVENTS)) {
        fs::remove_file(part).unwrap();
    }
    let refused = oracle(["build-views", &world.root(), "--output", EVENTS]).expect(10);
    assert!(
        refused.stderr.contains("STREAM_RECEIPT_MISSING"),
        "{refused:?}"
    );
    fs::remove_file(manifest(&world)).unwrap();
    // An empty folder is none.
    build_now(&world).unwrap();
    assert_eq!(files(&world.view(EVENTS)).len(), 1);
}
