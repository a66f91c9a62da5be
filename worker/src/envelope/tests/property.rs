//! Random tables: the encoder against a plain `serde_json` one, which knows the values as they
//! were made and nothing of Arrow.

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    Array, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeListArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeListArray,
    LargeStringArray, ListArray, MapArray, NullArray, PrimitiveArray, StringArray, StringViewArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::*;

/// A column's type.
#[derive(Debug, Clone)]
enum Kind {
    Null,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    Decimal(i8),
    Date,
    Stamp(u8, bool),
    Text(u8),
    Same,
    Words(bool),
    List(Box<Kind>),
    LargeList(Box<Kind>),
    Pair(Box<Kind>),
    Struct(Vec<Kind>),
    Map(Box<Kind>),
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Null),
        Just(Kind::Bool),
        Just(Kind::I8),
        Just(Kind::I16),
        Just(Kind::I32),
        Just(Kind::I64),
        Just(Kind::U8),
        Just(Kind::U16),
        Just(Kind::U32),
        Just(Kind::U64),
        Just(Kind::F32),
        Just(Kind::F64),
        (-3i8..20).prop_map(Kind::Decimal),
        Just(Kind::Date),
        (0u8..4, any::<bool>()).prop_map(|(unit, zone)| Kind::Stamp(unit, zone)),
        (0u8..3).prop_map(Kind::Text),
        Just(Kind::Same),
        any::<bool>().prop_map(Kind::Words),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let inner = inner.prop_map(Box::new);
        prop_oneof![
            inner.clone().prop_map(Kind::List),
            inner.clone().prop_map(Kind::LargeList),
            inner.clone().prop_map(Kind::Pair),
            inner.clone().prop_map(Kind::Map),
            prop::collection::vec(inner.prop_map(|kind| *kind), 1..4).prop_map(Kind::Struct),
        ]
    })
}

fn text(random: &mut ChaCha8Rng) -> String {
    const PIECES: [&str; 16] = [
        "a",
        "plain",
        "\"",
        "\\",
        "\n",
        "\r",
        "\t",
        "\0",
        "\u{1f}",
        "\u{7f}",
        "é",
        "😀",
        "\u{2028}",
        "/",
        "",
        "long enough not to lie within a view of sixteen bytes",
    ];
    (0..random.random_range(0..5))
        .map(|_| PIECES[random.random_range(0..PIECES.len())])
        .collect()
}

fn nulls(rows: usize, random: &mut ChaCha8Rng) -> Option<NullBuffer> {
    let share = [0, 0, 3, 9, 10][random.random_range(0..5)];
    (share > 0).then(|| {
        (0..rows)
            .map(|_| random.random_range(0..10) >= share)
            .collect()
    })
}

/// A primitive column from values that are made with their JSON.
fn primitive<T, A>(
    rows: usize,
    random: &mut ChaCha8Rng,
    make: impl Fn(&mut ChaCha8Rng) -> (T, Value),
) -> (ArrayRef, Vec<Value>)
where
    A: From<Vec<Option<T>>> + arrow_array::Array + 'static,
{
    let nulls = nulls(rows, random);
    let mut values = Vec::new();
    let mut expected = Vec::new();
    for row in 0..rows {
        let (value, json) = make(random);
        let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        values.push(valid.then_some(value));
        expected.push(if valid { json } else { Value::Null });
    }
    (Arc::new(A::from(values)), expected)
}

/// Integers with the edges among them.
macro_rules! integers {
    ($rows:expr, $random:expr, $array:ty, $type:ty) => {
        primitive::<$type, $array>($rows, $random, |random| {
            let value = match random.random_range(0..4) {
                0 => <$type>::MIN,
                1 => <$type>::MAX,
                _ => random.random::<$type>(),
            };
            (value, json!(value))
        })
    };
}

fn masked(expected: Vec<Value>, nulls: &Option<NullBuffer>) -> Vec<Value> {
    expected
        .into_iter()
        .enumerate()
        .map(|(row, value)| match nulls {
            Some(nulls) if nulls.is_null(row) => Value::Null,
            _ => value,
        })
        .collect()
}

fn build(kind: &Kind, rows: usize, random: &mut ChaCha8Rng) -> (ArrayRef, Vec<Value>) {
    match kind {
        Kind::Null => (Arc::new(NullArray::new(rows)), vec![Value::Null; rows]),
        Kind::Bool => primitive::<bool, BooleanArray>(rows, random, |random| {
            let value = random.random();
            (value, json!(value))
        }),
        Kind::I8 => integers!(rows, random, Int8Array, i8),
        Kind::I16 => integers!(rows, random, Int16Array, i16),
        Kind::I32 => integers!(rows, random, Int32Array, i32),
        Kind::I64 => integers!(rows, random, Int64Array, i64),
        Kind::U8 => integers!(rows, random, UInt8Array, u8),
        Kind::U16 => integers!(rows, random, UInt16Array, u16),
        Kind::U32 => integers!(rows, random, UInt32Array, u32),
        Kind::U64 => integers!(rows, random, UInt64Array, u64),
        Kind::F32 => primitive::<f32, Float32Array>(rows, random, |random| {
            let value = Some(f32::from_bits(random.random()))
                .filter(|value| value.is_finite())
                .unwrap_or(0.1);
            (value, json!(f64::from(value)))
        }),
        Kind::F64 => primitive::<f64, Float64Array>(rows, random, |random| {
            let value = match random.random_range(0..3) {
                0 => f64::from(random.random_range(-1000..1000)),
                _ => Some(f64::from_bits(random.random()))
                    .filter(|value| value.is_finite())
                    .unwrap_or(-0.0),
            };
            (value, json!(value))
        }),
        Kind::Decimal(scale) => {
            let (array, expected) = primitive::<i128, Decimal128Array>(rows, random, |random| {
                let value = match random.random_range(0..3) {
                    0 => i128::from(random.random_range(-999..999i16)),
                    1 => i128::from(random.random::<i64>()),
                    _ => i128::from(random.random::<i64>()) * 1_000_000_000_000_000_000,
                };
                let float: f64 = format!("{value}e{}", -i32::from(*scale)).parse().unwrap();
                (value, json!(float))
            });
            let array = array
                .as_any()
                .downcast_ref::<Decimal128Array>()
                .unwrap()
                .clone()
                .with_precision_and_scale(38, *scale)
                .unwrap();
            (Arc::new(array), expected)
        }
        Kind::Date => primitive::<i32, Date32Array>(rows, random, |random| {
            let days = random.random_range(-700_000..2_900_000);
            let date = jiff::civil::date(1970, 1, 1)
                .checked_add(jiff::Span::new().days(days))
                .unwrap();
            (days, json!(date.to_string()))
        }),
        Kind::Stamp(unit, zone) => stamps(*unit, *zone, rows, random),
        Kind::Text(which) => {
            let make = |random: &mut ChaCha8Rng| {
                let text = text(random);
                (text.clone(), json!(text))
            };
            match which {
                0 => primitive::<String, StringArray>(rows, random, make),
                1 => primitive::<String, LargeStringArray>(rows, random, make),
                _ => primitive::<String, StringViewArray>(rows, random, make),
            }
        }
        Kind::Same => {
            let text = text(random);
            let array = StringArray::from(vec![text.as_str(); rows]);
            (Arc::new(array), vec![json!(text); rows])
        }
        Kind::Words(small) => {
            let nulls = nulls(rows, random);
            let words: Vec<String> = (0..4).map(|_| text(random)).collect();
            let chosen: Vec<Option<&str>> = (0..rows)
                .map(|row| {
                    let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                    valid.then(|| words[random.random_range(0..4)].as_str())
                })
                .collect();
            let expected = chosen.iter().map(|word| json!(word)).collect();
            let array: ArrayRef = if *small {
                Arc::new(chosen.into_iter().collect::<DictionaryArray<Int8Type>>())
            } else {
                Arc::new(chosen.into_iter().collect::<DictionaryArray<Int32Type>>())
            };
            (array, expected)
        }
        Kind::List(item) => {
            let (offsets, item, expected) = list(item, rows, random);
            let nulls = nulls(rows, random);
            let field = Arc::new(Field::new("item", item.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths(offsets);
            let expected = masked(expected, &nulls);
            (
                Arc::new(ListArray::new(field, offsets, item, nulls)),
                expected,
            )
        }
        Kind::LargeList(item) => {
            let (offsets, item, expected) = list(item, rows, random);
            let nulls = nulls(rows, random);
            let field = Arc::new(Field::new("item", item.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths(offsets);
            let expected = masked(expected, &nulls);
            (
                Arc::new(LargeListArray::new(field, offsets, item, nulls)),
                expected,
            )
        }
        Kind::Pair(item) => {
            let (items, values) = build(item, rows * 2, random);
            let nulls = nulls(rows, random);
            let field = Arc::new(Field::new("item", items.data_type().clone(), true));
            let expected = masked(values.chunks(2).map(|pair| json!(pair)).collect(), &nulls);
            (
                Arc::new(FixedSizeListArray::new(field, 2, items, nulls)),
                expected,
            )
        }
        Kind::Struct(kinds) => {
            let mut expected = vec![Map::new(); rows];
            let mut fields = Vec::new();
            let mut columns = Vec::new();
            for (index, kind) in kinds.iter().enumerate() {
                let name = format!("f\"{index}é");
                let (column, values) = build(kind, rows, random);
                for (row, value) in values.into_iter().enumerate() {
                    expected[row].insert(name.clone(), value);
                }
                fields.push(Field::new(name, column.data_type().clone(), true));
                columns.push(column);
            }
            let nulls = nulls(rows, random);
            let expected = masked(expected.into_iter().map(Value::Object).collect(), &nulls);
            (
                Arc::new(StructArray::new(fields.into(), columns, nulls)),
                expected,
            )
        }
        Kind::Map(kind) => {
            let lengths: Vec<usize> = (0..rows).map(|_| random.random_range(0..3)).collect();
            let total = lengths.iter().sum();
            let (values, json_values) = build(kind, total, random);
            let keys: Vec<String> = (0..total)
                .map(|at| format!("{at}{}", text(random)))
                .collect();
            let mut entries = keys.iter().cloned().zip(json_values);
            let expected = lengths
                .iter()
                .map(|&length| Value::Object(entries.by_ref().take(length).collect()))
                .collect();
            let entries = StructArray::new(
                vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", values.data_type().clone(), true),
                ]
                .into(),
                vec![Arc::new(StringArray::from(keys)), values],
                None,
            );
            let nulls = nulls(rows, random);
            let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let expected = masked(expected, &nulls);
            (
                Arc::new(MapArray::new(field, offsets, entries, nulls, false)),
                expected,
            )
        }
    }
}

fn list(item: &Kind, rows: usize, random: &mut ChaCha8Rng) -> (Vec<usize>, ArrayRef, Vec<Value>) {
    let lengths: Vec<usize> = (0..rows).map(|_| random.random_range(0..4)).collect();
    let (items, values) = build(item, lengths.iter().sum(), random);
    let mut values = values.into_iter();
    let expected = lengths
        .iter()
        .map(|&length| Value::Array(values.by_ref().take(length).collect()))
        .collect();
    (lengths, items, expected)
}

fn stamps(unit: u8, zone: bool, rows: usize, random: &mut ChaCha8Rng) -> (ArrayRef, Vec<Value>) {
    let per_second = 1_000i64.pow(unit.into());
    let make = |random: &mut ChaCha8Rng| {
        let seconds = random.random_range(-2_000_000_000..4_000_000_000i64);
        let fraction = random.random_range(0..per_second);
        let nanos = fraction * (1_000_000_000 / per_second);
        let moment = jiff::Timestamp::from_second(seconds).unwrap();
        let text = format!(
            "{}.{:06}{}",
            moment.strftime("%Y-%m-%dT%H:%M:%S"),
            nanos / 1_000,
            if zone { "Z" } else { "" }
        );
        (seconds * per_second + fraction, json!(text))
    };
    fn zoned<T: arrow_array::types::ArrowTimestampType>(array: ArrayRef, zone: bool) -> ArrayRef {
        let array = array
            .as_any()
            .downcast_ref::<PrimitiveArray<T>>()
            .unwrap()
            .clone();
        Arc::new(array.with_timezone_opt(zone.then_some("Asia/Kolkata")))
    }
    use arrow_array::types as t;
    let ((array, expected), zoned): (_, fn(ArrayRef, bool) -> ArrayRef) = match unit {
        0 => (
            primitive::<i64, TimestampSecondArray>(rows, random, make),
            zoned::<t::TimestampSecondType>,
        ),
        1 => (
            primitive::<i64, TimestampMillisecondArray>(rows, random, make),
            zoned::<t::TimestampMillisecondType>,
        ),
        2 => (
            primitive::<i64, TimestampMicrosecondArray>(rows, random, make),
            zoned::<t::TimestampMicrosecondType>,
        ),
        _ => (
            primitive::<i64, TimestampNanosecondArray>(rows, random, make),
            zoned::<t::TimestampNanosecondType>,
        ),
    };
    (zoned(array, zone), expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn envelopes_of_random_tables_equal_those_of_a_plain_encoder(
        kinds in prop::collection::vec(kinds(), 0..8),
        rows in 1usize..40,
        cut in 0usize..3,
        seed in any::<u64>(),
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let all = rows + cut;
        let mut payloads = vec![Map::new(); all];
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let (column, values) = build(kind, all, &mut random);
            let name = format!("c{index}\t\"é");
            for (payload, value) in payloads.iter_mut().zip(values) {
                payload.insert(name.clone(), value);
            }
            columns.push((name, column));
        }
        let keys: Vec<(u64, String)> = (0..all).map(|_| (random.random(), text(&mut random))).collect();
        let times: Vec<i64> = (0..all).map(|_| random.random_range(0..9)).collect();
        for (payload, ((number, word), time)) in payloads.iter_mut().zip(keys.iter().zip(&times)) {
            payload.insert("seed".into(), json!(7u64));
            payload.insert("number".into(), json!(number));
            payload.insert("word".into(), json!(word));
            payload.insert("ts_utc".into(), json!(format!("1970-01-01T00:00:00.00000{time}Z")));
        }
        columns.push(("seed".into(), Arc::new(UInt64Array::from(vec![7; all]))));
        columns.push(("number".into(), Arc::new(UInt64Array::from_iter_values(keys.iter().map(|key| key.0)))));
        columns.push(("word".into(), Arc::new(StringArray::from_iter_values(keys.iter().map(|key| &key.1)))));
        columns.push((
            "ts_utc".into(),
            Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC")),
        ));

        let table = batch(0, columns.iter().map(|(name, column)| (name.as_str(), column.clone())).collect());
        // Cut from the front, so that offsets do not begin at 0.
        let table = RowBatch { first: RowPlace { part: 0, row: cut as u64 }, rows: table.rows.slice(cut, rows) };
        let context = context(&["seed", "number", "word"]);
        let made = encode(context.clone(), &table);
        prop_assert!(made.failure.is_none(), "{:?}", made.failure);
        let ours = envelopes(&made);
        prop_assert_eq!(ours.len(), rows);
        for (ours, row) in ours.iter().zip(cut..) {
            let id = Sha256::digest(format!(
                "o1|7|{}|{}|{}|{}|7|baseline_v1",
                keys[row].0, keys[row].1, context.key.manifest_fingerprint, context.key.parameter_hash
            ));
            let expected = json!({
                "event_id": const_hex::encode(id),
                "event_type": "o1",
                "schema_version": "v1",
                "ts_utc": format!("1970-01-01T00:00:00.00000{}Z", times[row]),
                "manifest_fingerprint": context.key.manifest_fingerprint,
                "parameter_hash": context.key.parameter_hash,
                "seed": 7,
                "scenario_id": "baseline_v1",
                "run_id": context.run_id,
                "platform_run_id": context.platform_run_id,
                "scenario_run_id": context.scenario_run_id,
                "producer": context.producer,
                "trace_id": context.trace_id,
                "payload": payloads[row],
            });
            prop_assert_eq!(ours, &Json::parse(&expected.to_string()));
        }
    }
}
