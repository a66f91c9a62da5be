//! What cannot be sent, and what the message says of it: file, row, column, found.

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::types::Int8Type;
use arrow_array::{
    BinaryArray, Date32Array, Decimal256Array, DictionaryArray, DurationSecondArray,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, NullArray,
    StringArray, StructArray, Time32SecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_schema::DataType;
use worldstream_crds::Reason;

use super::*;

const TIMES: [&str; 4] = ["2026-01-01"; 4];

fn good_times() -> ArrayRef {
    Arc::new(StringArray::from(TIMES.to_vec()))
}

fn good_keys() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..4))
}

/// Four rows from row 100 on, of which the first two can be sent and the third cannot.
fn third_row_fails(columns: Vec<(&str, ArrayRef)>, reason: Reason, says: &[&str]) {
    fails(columns, 2, reason, says);
}

fn fails(columns: Vec<(&str, ArrayRef)>, sent: usize, reason: Reason, says: &[&str]) {
    let rows = batch(100, columns);
    let made = encode(context(&["k"]), &rows);
    let failure = made.failure.as_ref().expect("a failure");
    let text = failure.to_string();
    assert_eq!(failure.reason(), reason, "{text}");
    let row = format!("root/part-000003.parquet: row {}, column ", 100 + sent);
    assert!(text.contains(&row), "{text}");
    for says in says {
        assert!(text.contains(says), "{text} does not say {says}");
    }
    // The rows before are whole, and nothing of the bad one is left.
    assert_eq!(envelopes(&made).len(), sent, "{text}");
    let end = made.batch.events.last().map_or(0, |event| event.end);
    assert_eq!(made.batch.bytes.len(), end as usize, "{text}");
    let last = sent.checked_sub(1).map(|row| RowPlace {
        part: 3,
        row: 100 + row as u64,
    });
    assert_eq!(made.batch.last_seen, last, "{text}");
}

fn with_value(column: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    vec![("k", good_keys()), ("x", column), ("ts_utc", good_times())]
}

fn with_key(column: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    vec![("k", column), ("ts_utc", good_times())]
}

fn with_time(column: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    vec![("k", good_keys()), ("ts_utc", column)]
}

fn with_payload(third: Option<&str>) -> Vec<(&'static str, ArrayRef)> {
    let good = Some(r#"{"k":1}"#);
    vec![
        ("ts_utc", good_times()),
        (
            "payload_json",
            Arc::new(StringArray::from(vec![good, good, third, good])),
        ),
    ]
}

#[test]
fn values_that_json_lacks() {
    let bytes: &[u8] = b"b";
    for (column, says) in [
        (
            Arc::new(Float64Array::from(vec![0.0, 1.0, f64::NAN, 2.0])) as ArrayRef,
            "found NaN, expected a finite number",
        ),
        (
            Arc::new(Float64Array::from(vec![0.0, 1.0, f64::NEG_INFINITY, 2.0])),
            "found -inf",
        ),
        (
            Arc::new(Float32Array::from(vec![0.0, 1.0, f32::INFINITY, 2.0])),
            "found inf",
        ),
        (
            Arc::new(BinaryArray::from_opt_vec(vec![
                None,
                None,
                Some(bytes),
                None,
            ])),
            "found a value of type Binary",
        ),
        (
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [None, None, Some(bytes)].into_iter().chain([None]),
                    1,
                )
                .unwrap(),
            ),
            "FixedSizeBinary",
        ),
        (
            Arc::new(DurationSecondArray::from(vec![None, None, Some(1), None])),
            "Duration",
        ),
        (
            Arc::new(Date32Array::from(vec![0, 1, i32::MAX, 2])),
            "a time of the years 1 to 9999",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![0, 1, i64::MIN, 2])),
            "a time of the years 1 to 9999",
        ),
        (
            Arc::new(Time32SecondArray::from(vec![0, 1, 86_400, 2])),
            "a time of day",
        ),
        (
            Arc::new(ListArray::from_iter_primitive::<
                arrow_array::types::Float64Type,
                _,
                _,
            >([
                Some(vec![Some(1.0)]),
                None,
                Some(vec![Some(1.0), Some(f64::NAN)]),
                Some(vec![]),
            ])),
            "found NaN",
        ),
        (
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("b", DataType::Binary, true)),
                Arc::new(BinaryArray::from_opt_vec(vec![
                    None,
                    None,
                    Some(bytes),
                    None,
                ])) as ArrayRef,
            )])),
            "found a value of type Binary",
        ),
    ] {
        third_row_fails(
            with_value(column),
            Reason::StreamFailed,
            &["column x", says],
        );
    }
}

#[test]
fn maps_that_are_no_objects() {
    let mut twice = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for keys in [&["a"][..], &[], &["a", "b", "a"], &["b"]] {
        for key in keys {
            twice.keys().append_value(key);
            twice.values().append_null();
        }
        twice.append(true).unwrap();
    }
    third_row_fails(
        with_value(Arc::new(twice.finish())),
        Reason::StreamFailed,
        &["column x", "a map with \"a\" twice"],
    );
    let mut numbers = MapBuilder::new(
        None,
        arrow_array::builder::Int32Builder::new(),
        StringBuilder::new(),
    );
    for row in 0..4 {
        if row == 2 {
            numbers.keys().append_value(1);
            numbers.values().append_null();
        }
        numbers.append(true).unwrap();
    }
    third_row_fails(
        with_value(Arc::new(numbers.finish())),
        Reason::StreamFailed,
        &["column x", "keys are no texts"],
    );
}

#[test]
fn the_largest_decimals_are_still_floats() {
    let huge = arrow_buffer::i256::from_parts(0, 1 << 120);
    let one = arrow_buffer::i256::ONE;
    let column = Decimal256Array::from(vec![one, one, huge, one])
        .with_precision_and_scale(76, -76)
        .unwrap();
    // About 10^150.
    let made = encode(context(&["k"]), &batch(0, with_value(Arc::new(column))));
    assert!(made.failure.is_none());
}

#[test]
fn keys_that_are_missing() {
    let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), Some("b"), None, Some("a")]
        .into_iter()
        .collect();
    for column in [
        Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(3)])) as ArrayRef,
        Arc::new(StringArray::from(vec![
            Some(""),
            Some("2"),
            None,
            Some("3"),
        ])),
        Arc::new(dictionary),
    ] {
        third_row_fails(
            with_key(column),
            Reason::PrimaryKeyMissing,
            &["column k", "found null"],
        );
    }
    fails(
        with_key(Arc::new(NullArray::new(4))),
        0,
        Reason::PrimaryKeyMissing,
        &["column k", "found null"],
    );
    fails(
        vec![("j", good_keys()), ("ts_utc", good_times())],
        0,
        Reason::PrimaryKeyMissing,
        &["column k", "no such column"],
    );
}

#[test]
fn keys_that_have_no_text() {
    let stamps = |zone: &str| {
        Arc::new(TimestampSecondArray::from(vec![0, 1, 2, 3]).with_timezone(zone)) as ArrayRef
    };
    let lists = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>(
        (0..4).map(|value| Some(vec![Some(value)])),
    );
    for (column, says) in [
        (stamps("Europe/London"), "zone \"Europe/London\""),
        (stamps("+25:00"), "zone \"+25:00\""),
        (Arc::new(lists), "found a list"),
        (
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("i", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef,
            )])),
            "found a struct",
        ),
        (
            Arc::new(BinaryArray::from_vec(vec![b"a", b"b", b"c", b"d"])),
            "found a value of type Binary",
        ),
        (Arc::new(Float64Array::from(vec![f64::NAN; 4])), "found NaN"),
    ] {
        fails(
            with_key(column),
            0,
            Reason::StreamFailed,
            &["column k", says],
        );
    }
    third_row_fails(
        with_key(Arc::new(TimestampNanosecondArray::from(vec![
            0, 1000, 1, 2000,
        ]))),
        Reason::StreamFailed,
        &["column k", "found 1 ns, expected whole microseconds"],
    );
}

#[test]
fn event_times_that_are_none() {
    let day = Some("2026-01-01");
    for (column, says) in [
        (
            Arc::new(StringArray::from(vec![day, day, None, day])) as ArrayRef,
            "found null",
        ),
        (
            Arc::new(StringArray::from(vec![
                day,
                day,
                Some("2026-01-01T00:00:60Z"),
                day,
            ])),
            "found \"2026-01-01T00:00:60Z\"",
        ),
        (
            Arc::new(StringArray::from(vec![
                day,
                day,
                Some("0001-01-01T00:00+01:00"),
                None,
            ])),
            "found \"0001-01-01T00:00+01:00\"",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![
                Some(0),
                Some(1),
                None,
                None,
            ])),
            "found null",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![0, 1, i64::MAX, 2])),
            "outside of the years 1 to 9999",
        ),
    ] {
        third_row_fails(
            with_time(column),
            Reason::StreamFailed,
            &["column ts_utc", says],
        );
    }
    let column = Arc::new(Int64Array::from(vec![0; 4]));
    fails(
        with_time(column),
        0,
        Reason::StreamFailed,
        &["column ts_utc", "a column of type Int64"],
    );
    fails(
        vec![("k", good_keys())],
        0,
        Reason::StreamFailed,
        &["column ts_utc", "no such column"],
    );
}

#[test]
fn a_bad_value_before_a_bad_time_is_the_one_that_is_named() {
    let columns = vec![
        ("k", good_keys()),
        (
            "x",
            Arc::new(Float64Array::from(vec![0.0, f64::NAN, 0.0, 0.0])) as ArrayRef,
        ),
        (
            "ts_utc",
            Arc::new(StringArray::from(vec![
                Some("2026-01-01"),
                Some("2026-01-01"),
                None,
                None,
            ])),
        ),
    ];
    fails(columns, 1, Reason::StreamFailed, &["column x", "NaN"]);
}

#[test]
fn names_that_occur_twice() {
    fails(
        vec![
            ("k", good_keys()),
            ("ts_utc", good_times()),
            ("k", good_keys()),
        ],
        0,
        Reason::StreamFailed,
        &["column k", "two columns of that name"],
    );
    let field = || Arc::new(Field::new("i", DataType::Int64, true));
    let column = StructArray::from(vec![(field(), good_keys()), (field(), good_keys())]);
    fails(
        with_value(Arc::new(column)),
        0,
        Reason::StreamFailed,
        &["column x", "two fields \"i\" in a struct"],
    );
}

#[test]
fn payloads_that_are_none() {
    third_row_fails(
        with_payload(None),
        Reason::StreamViewPayloadMissing,
        &["column payload_json", "found null"],
    );
    for text in [
        "",
        "null",
        "[1]",
        "\"k\"",
        "7",
        "{\"k\":1",
        "{\"k\":1} x",
        "{\"k\":1,\"x\":NaN}",
    ] {
        third_row_fails(
            with_payload(Some(text)),
            Reason::StreamFailed,
            &["column payload_json", "expected a JSON object"],
        );
    }
    for (text, says) in [
        ("{}", "no such field"),
        (r#"{"k":1,"k":null}"#, "found null"),
    ] {
        third_row_fails(
            with_payload(Some(text)),
            Reason::PrimaryKeyMissing,
            &["payload_json, field k", says],
        );
    }
    for text in [r#"{"k":[1]}"#, r#"{"k":{}}"#, r#"{"k":1e999}"#] {
        third_row_fails(
            with_payload(Some(text)),
            Reason::StreamFailed,
            &["payload_json, field k"],
        );
    }
    fails(
        vec![("ts_utc", good_times()), ("payload_json", good_keys())],
        0,
        Reason::StreamFailed,
        &["column payload_json", "a column that is no text"],
    );
}

#[test]
fn an_encoder_that_cannot_be() {
    let refused = |change: fn(&mut EnvelopeContext), says: &str| {
        let mut context = context(&["k"]);
        change(&mut context);
        let text = Encoder::new(context).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    };
    refused(
        |c| c.primary_key.clear(),
        "PRIMARY_KEY_MISSING: o1: primary_key",
    );
    refused(|c| c.trace_id.clear(), "trace_id: found 0 characters");
    refused(|c| c.trace_id.push('x'), "trace_id: found 129 characters");
    refused(
        |c| c.span_id = Some(String::new()),
        "span_id: found 0 characters",
    );
}
