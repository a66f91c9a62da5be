//! Which rows become envelopes, and what goes with them.

use arrow_array::types::Int32Type;
use arrow_array::{
    Date32Array, Decimal128Array, DictionaryArray, Int64Array, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use sha2::{Digest, Sha256};

use super::*;

fn times(seconds: &[i64]) -> ArrayRef {
    Arc::new(TimestampSecondArray::from(seconds.to_vec()).with_timezone("UTC"))
}

fn numbers(count: i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..count))
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(seconds * 1_000_000).unwrap()
}

#[test]
fn an_envelope_has_the_fields_of_the_schema_and_no_others() {
    let rows = batch(5, vec![("k", numbers(1)), ("ts_utc", times(&[0]))]);
    for span in [None, Some("rel-1".to_owned())] {
        let mut context = context(&["k"]);
        context.span_id = span.clone();
        let made = encode(context.clone(), &rows);
        let id = Sha256::digest(format!(
            "o1|0|{}|{}|7|baseline_v1",
            context.key.manifest_fingerprint, context.key.parameter_hash
        ));
        let mut expected = serde_json::json!({
            "event_id": const_hex::encode(id),
            "event_type": "o1",
            "schema_version": "v1",
            "ts_utc": "1970-01-01T00:00:00.000000Z",
            "manifest_fingerprint": context.key.manifest_fingerprint,
            "parameter_hash": context.key.parameter_hash,
            "seed": 7,
            "scenario_id": "baseline_v1",
            "run_id": context.run_id,
            "platform_run_id": context.platform_run_id,
            "scenario_run_id": context.scenario_run_id,
            "producer": context.producer,
            "trace_id": context.trace_id,
            "payload": {"k": 0, "ts_utc": "1970-01-01T00:00:00.000000Z"},
        });
        if let Some(span) = span {
            expected["span_id"] = span.into();
        }
        assert_eq!(envelopes(&made), vec![Json::parse(&expected.to_string())]);
        let place = RowPlace { part: 3, row: 5 };
        assert_eq!(made.batch.events[0].place, place);
        assert_eq!(made.batch.last_seen, Some(place));
    }
}

#[test]
fn only_rows_within_the_range_are_sent_and_all_are_seen() {
    let rows = batch(
        10,
        vec![("k", numbers(5)), ("ts_utc", times(&[1, 2, 3, 4, 9]))],
    );
    let range = |start, until| RangePlan {
        start_from: Some(at(start)),
        until: Some(at(until)),
        max_events_per_output: None,
    };
    let mut encoder = Encoder::new(context(&["k"])).unwrap();
    let made = encoder.encode(&rows, "p", &range(2, 4));
    let sent: Vec<u64> = made
        .batch
        .events
        .iter()
        .map(|event| event.place.row)
        .collect();
    assert_eq!(sent, [11, 12]);
    assert_eq!(made.batch.last_seen, Some(RowPlace { part: 3, row: 14 }));
    let made = encoder.encode(&rows, "p", &range(20, 30));
    assert_eq!(made.batch.events, []);
    assert_eq!(made.batch.last_seen, Some(RowPlace { part: 3, row: 14 }));
}

#[test]
fn lanes_share_the_rows_out() {
    let rows = batch(0, vec![("k", numbers(200)), ("ts_utc", times(&[0; 200]))]);
    let whole = encode(context(&["k"]), &rows).batch;
    let mut seen = vec![None; 200];
    for index in 0..5 {
        let mut context = context(&["k"]);
        context.lane = Lane { count: 5, index };
        let lane = encode(context, &rows).batch;
        assert!(!lane.events.is_empty());
        assert_eq!(lane.last_seen, Some(RowPlace { part: 3, row: 199 }));
        for (at, event) in lane.events.iter().enumerate() {
            let row = event.place.row as usize;
            assert_eq!(seen[row], None);
            seen[row] = Some(index);
            assert_eq!(lane.envelope(at), whole.envelope(row));
            let digest = Sha256::digest(lane.event_id(at));
            let first = u64::from_be_bytes(digest[..8].try_into().unwrap());
            assert_eq!(first % 5, u64::from(index));
        }
    }
    assert!(seen.iter().all(Option::is_some));
}

#[test]
fn rows_out_of_order_are_counted_across_batches_and_among_those_sent() {
    let mut encoder = Encoder::new(context(&["k"])).unwrap();
    let range = RangePlan {
        start_from: Some(at(10)),
        ..RangePlan::default()
    };
    let first = batch(
        0,
        vec![("k", numbers(5)), ("ts_utc", times(&[10, 30, 20, 5, 30]))],
    );
    let second = batch(
        5,
        vec![("k", numbers(4)), ("ts_utc", times(&[29, 30, 31, 9]))],
    );
    assert_eq!(encoder.encode(&first, "p", &range).batch.disordered, 1);
    assert_eq!(encoder.encode(&second, "p", &range).batch.disordered, 1);
}

#[test]
fn bytes_do_not_depend_on_the_batch() {
    let kind: DictionaryArray<Int32Type> = (0..64)
        .map(|row| (row % 5 != 0).then_some(["a", "b\"", "c"][row % 3]))
        .collect();
    let rows = batch(
        0,
        vec![
            ("k", numbers(64)),
            ("same", Arc::new(StringArray::from(vec!["x\ty"; 64]))),
            ("kind", Arc::new(kind)),
            ("none", Arc::new(StringArray::new_null(64))),
            ("ts_utc", times(&[7; 64])),
        ],
    );
    let whole = encode(context(&["same", "k"]), &rows).batch;
    for row in 0..64 {
        let one = RowBatch {
            first: RowPlace {
                part: 3,
                row: row as u64,
            },
            rows: rows.rows.slice(row, 1),
        };
        let one = encode(context(&["same", "k"]), &one).batch;
        assert_eq!(one.envelope(0), whole.envelope(row));
    }
}

#[test]
fn keys_of_every_kind_are_hashed_as_python_writes_them() {
    let stamp = 1_767_225_600_000_000i64;
    let stamps = |value| TimestampMicrosecondArray::from(vec![value]);
    for (column, expected) in [
        (
            Arc::new(stamps(stamp).with_timezone("UTC")) as ArrayRef,
            "2026-01-01 00:00:00+00:00",
        ),
        (
            Arc::new(stamps(stamp + 123_456).with_timezone("+00:00")),
            "2026-01-01 00:00:00.123456+00:00",
        ),
        (
            Arc::new(stamps(stamp).with_timezone("-05:30")),
            "2025-12-31 18:30:00-05:30",
        ),
        (Arc::new(stamps(-1)), "1969-12-31 23:59:59.999999"),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_000])),
            "1970-01-01 00:00:00.000001",
        ),
        (Arc::new(Date32Array::from(vec![20_454])), "2026-01-01"),
        (
            Arc::new(
                Decimal128Array::from(vec![110])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            "1.10",
        ),
        (Arc::new(StringArray::from(vec![""])), ""),
    ] {
        let rows = batch(0, vec![("k", column), ("ts_utc", times(&[0]))]);
        let context = context(&["k"]);
        let id = Sha256::digest(format!(
            "o1|{expected}|{}|{}|7|baseline_v1",
            context.key.manifest_fingerprint, context.key.parameter_hash
        ));
        let made = encode(context, &rows);
        assert!(made.failure.is_none(), "{:?}", made.failure);
        assert_eq!(
            std::str::from_utf8(made.batch.event_id(0)).unwrap(),
            const_hex::encode(id),
            "{expected}"
        );
    }
}

#[test]
fn a_payload_of_its_own_is_passed_on_as_it_is() {
    let payload = r#" {"k": 1e2, "big": 123456789012345678901234567890, "é": "\u00e9", "a": [ ]} "#;
    let rows = batch(
        0,
        vec![
            ("ts_utc", times(&[3])),
            ("payload_json", Arc::new(StringArray::from(vec![payload]))),
        ],
    );
    let made = encode(context(&["k"]), &rows);
    assert_eq!(envelopes(&made)[0].get("payload"), &Json::parse(payload));
    let text = made.batch.envelope(0);
    assert!(
        text.windows(payload.len())
            .any(|window| window == payload.as_bytes())
    );
}

#[test]
fn a_batch_without_rows_is_legal_whatever_its_columns() {
    let rows = batch(0, vec![("x", Arc::new(StringArray::new_null(0)))]);
    let made = encode(context(&["k"]), &rows);
    assert!(made.failure.is_none());
    assert_eq!(made.batch.last_seen, None);
    assert!(made.batch.bytes.is_empty());
}
