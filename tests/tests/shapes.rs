//! Views of every shape, end to end: what arrives is what was written, however Parquet holds it.

use std::sync::Arc;

use arrow_array::builder::{
    Decimal128Builder, Int32Builder, ListBuilder, MapBuilder, StringBuilder,
    StringDictionaryBuilder,
};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array,
    Int16Array, LargeStringArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt16Array, UInt64Array,
};
use arrow_schema::{DataType, Field};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use worldstream::time::EventTime;
use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::inside::Inside;
use worldstream_tests::{Exact, MadeWorld};

const OUTPUT: &str = "s3_event_stream_with_fraud_6B";
/// 2026-01-01, seconds.
const START: i64 = 1_767_225_600;

/// A row's event time in nanoseconds: every 250 ms and a bit, two rows at a time.
fn nanos(row: usize) -> i64 {
    START * 1_000_000_000 + (row / 2) as i64 * 250_123_456
}

fn canonical(nanos: i64) -> String {
    EventTime::from_micros(nanos.div_euclid(1_000))
        .unwrap()
        .to_string()
}

/// A moment without a zone.
fn naive(nanos: i64) -> String {
    canonical(nanos).trim_end_matches('Z').to_owned()
}

/// A column, and what its rows are in JSON.
struct Column {
    name: String,
    array: ArrayRef,
    json: Vec<Value>,
}

fn column<T, A: arrow_array::Array + 'static>(
    name: &str,
    rows: usize,
    value: impl Fn(usize) -> Option<T>,
    array: impl FnOnce(Vec<Option<T>>) -> A,
    json: impl Fn(T) -> Value,
) -> Column {
    Column {
        name: name.into(),
        array: Arc::new(array((0..rows).map(&value).collect())),
        json: (0..rows)
            .map(|row| value(row).map_or(Value::Null, &json))
            .collect(),
    }
}

/// Every third row has none.
fn some<T>(row: usize, value: T) -> Option<T> {
    (row % 3 != 1).then_some(value)
}

fn word(row: usize) -> String {
    format!("wört {} \"{}\"\n\u{1F600}", row % 5, row % 7)
}

/// One column of each type that a view may have.
fn columns(rows: usize) -> Vec<Column> {
    let mut all = vec![
        column(
            "plain",
            rows,
            |r| some(r, word(r)),
            StringArray::from,
            Value::from,
        ),
        column(
            "large",
            rows,
            |r| some(r, word(r * 3)),
            LargeStringArray::from,
            Value::from,
        ),
        column(
            "view",
            rows,
            |r| some(r, word(r * 5)),
            StringViewArray::from_iter,
            Value::from,
        ),
        column(
            "truth",
            rows,
            |r| some(r, r % 2 == 0),
            BooleanArray::from,
            Value::from,
        ),
        column(
            "i8",
            rows,
            |r| some(r, r as i8),
            Int8Array::from,
            Value::from,
        ),
        column(
            "i16",
            rows,
            |r| some(r, -(r as i16)),
            Int16Array::from,
            Value::from,
        ),
        column(
            "u16",
            rows,
            |r| some(r, r as u16),
            UInt16Array::from,
            Value::from,
        ),
        column(
            "u64",
            rows,
            |r| some(r, u64::MAX - r as u64),
            UInt64Array::from,
            Value::from,
        ),
        column(
            "f32",
            rows,
            |r| some(r, r as f32 / 10.0),
            Float32Array::from,
            |value| f64::from(value).into(),
        ),
        column(
            "f64",
            rows,
            |r| some(r, r as f64 / 10.0),
            Float64Array::from,
            Value::from,
        ),
        column(
            "date",
            rows,
            |r| some(r, 20_454 + r as i32),
            Date32Array::from,
            |day| canonical(i64::from(day) * 86_400_000_000_000)[..10].into(),
        ),
    ];
    // Timestamps of each unit, without a zone, with UTC's and with others.
    for zone in [None, Some("UTC"), Some("+05:30"), Some("-08:00")] {
        let name = |unit: &str| format!("at_{unit}_{}", zone.unwrap_or("naive"));
        let written = move |nanos: i64| match zone {
            None => Value::from(naive(nanos)),
            Some(_) => Value::from(canonical(nanos)),
        };
        let value = |r: usize| some(r, nanos(r));
        let units: [(&str, i64); 4] = [
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ];
        for (unit, size) in units {
            let values: Vec<_> = (0..rows)
                .map(|r| value(r).map(|it| it.div_euclid(size)))
                .collect();
            let array: ArrayRef = match unit {
                "s" => Arc::new(TimestampSecondArray::from(values).with_timezone_opt(zone)),
                "ms" => Arc::new(TimestampMillisecondArray::from(values).with_timezone_opt(zone)),
                "us" => Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone)),
                _ => Arc::new(TimestampNanosecondArray::from(values).with_timezone_opt(zone)),
            };
            let cut = |it: i64| written(it.div_euclid(size) * size);
            all.push(Column {
                name: name(unit),
                array,
                json: (0..rows)
                    .map(|r| value(r).map_or(Value::Null, cut))
                    .collect(),
            });
        }
    }
    all.extend(nested(rows));
    all
}

/// Columns that are made with builders.
fn nested(rows: usize) -> Vec<Column> {
    let mut few = StringDictionaryBuilder::<Int8Type>::new();
    let mut many = StringDictionaryBuilder::<Int32Type>::new();
    let mut money = Decimal128Builder::new()
        .with_precision_and_scale(14, 2)
        .unwrap();
    let mut tags = ListBuilder::new(StringBuilder::new());
    let mut pairs = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    let mut json: [Vec<Value>; 5] = Default::default();
    for row in 0..rows {
        let here = row % 3 != 1;
        few.append_option(here.then(|| word(row)));
        json[0].push(if here { word(row).into() } else { Value::Null });
        let unique = format!("{row}");
        many.append_option(here.then_some(&unique));
        json[1].push(if here { unique.into() } else { Value::Null });
        let cents = row as i128 * 7 - 1_234_567_890_150;
        money.append_option(here.then_some(cents));
        json[2].push(if here {
            (cents as f64 / 100.0).into()
        } else {
            Value::Null
        });
        for item in 0..row % 4 {
            tags.values().append_option((item != 1).then(|| word(item)));
        }
        tags.append(here);
        let items = (0..row % 4).map(|item| (item != 1).then(|| word(item)));
        json[3].push(if here {
            items.collect::<Vec<_>>().into()
        } else {
            Value::Null
        });
        let mut object = Map::new();
        for item in 0..row % 3 {
            pairs.keys().append_value(format!("k{item}"));
            pairs.values().append_value(item as i32);
            object.insert(format!("k{item}"), item.into());
        }
        pairs.append(true).unwrap();
        json[4].push(object.into());
    }
    let arrays: [(&str, ArrayRef); 5] = [
        ("few", Arc::new(few.finish())),
        ("many", Arc::new(many.finish())),
        ("money", Arc::new(money.finish())),
        ("tags", Arc::new(tags.finish())),
        ("pairs", Arc::new(pairs.finish())),
    ];
    let mut all: Vec<_> = arrays
        .into_iter()
        .zip(json)
        .map(|((name, array), json)| Column {
            name: name.into(),
            array,
            json,
        })
        .collect();
    // A struct of two of them.
    let (list, cents) = (&all[3], &all[2]);
    let fields = [list, cents].map(|it| {
        let field = Field::new(&it.name, it.array.data_type().clone(), true);
        (Arc::new(field), it.array.clone())
    });
    let json = list.json.iter().zip(&cents.json);
    let json = json
        .map(|(tags, money)| json!({"tags": tags, "money": money}))
        .collect();
    let array = Arc::new(StructArray::from(fields.to_vec()));
    all.push(Column {
        name: "deep".into(),
        array,
        json,
    });
    all
}

/// The time key in different types, with what the payload says.
fn time_key(kind: &str, rows: usize) -> Column {
    let text = |row: usize| Some(canonical(nanos(row)));
    let moment = |row: usize| Some(nanos(row) / 1_000);
    let written = |micros: i64| canonical(micros * 1_000).into();
    match kind {
        "text" => column("ts_utc", rows, text, StringArray::from, Value::from),
        "large text" => column("ts_utc", rows, text, LargeStringArray::from, Value::from),
        "text with an offset" => {
            let text = |row: usize| {
                let there = naive(nanos(row) + 7_200_000_000_000);
                Some(format!("{}+02:00", there.replace('T', " ")))
            };
            column("ts_utc", rows, text, StringArray::from, Value::from)
        }
        "dictionary" => {
            let mut array = StringDictionaryBuilder::<Int32Type>::new();
            (0..rows).for_each(|row| array.append_option(text(row)));
            let array = array.finish();
            column("ts_utc", rows, text, |_| array, Value::from)
        }
        "microseconds" => column(
            "ts_utc",
            rows,
            moment,
            |values| TimestampMicrosecondArray::from(values).with_timezone("UTC"),
            written,
        ),
        "nanoseconds elsewhere" => column(
            "ts_utc",
            rows,
            |row| Some(nanos(row)),
            |values| TimestampNanosecondArray::from(values).with_timezone("+09:00"),
            |nanos| canonical(nanos).into(),
        ),
        "naive" => column(
            "ts_utc",
            rows,
            moment,
            TimestampMicrosecondArray::from,
            |micros| naive(micros * 1_000).into(),
        ),
        other => panic!("no {other}"),
    }
}

/// The world with a view of these columns, and the payloads that it should give.
fn world_of(rows: usize, columns: Vec<Column>, how: &WriterProperties) -> (MadeWorld, Vec<Value>) {
    let world = MadeWorld::small();
    let mut payloads: Vec<Map<String, Value>> = (0..rows)
        .map(|row| {
            let key = json!({
                "seed": world.report.seed,
                "manifest_fingerprint": world.report.manifest_fingerprint,
                "scenario_id": world.report.scenario_id,
                "flow_id": row,
                "event_seq": 0,
                "merchant_id": row,
                "arrival_seq": 1,
            });
            key.as_object().unwrap().clone()
        })
        .collect();
    let mut arrays: Vec<(String, ArrayRef)> = world
        .key_columns(0, rows)
        .into_iter()
        .map(|(name, array)| (name.to_owned(), array))
        .collect();
    for column in columns {
        for (payload, value) in payloads.iter_mut().zip(column.json) {
            payload.insert(column.name.clone(), value);
        }
        arrays.push((column.name, column.array));
    }
    let fields: Vec<_> = arrays
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    let arrays = arrays.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema, arrays).unwrap();
    let half = rows * 2 / 3;
    let parts = [
        vec![batch.slice(0, half)],
        vec![batch.slice(half, rows - half)],
    ];
    world.replace(OUTPUT, &parts, how);
    (world, payloads.into_iter().map(Value::from).collect())
}

fn inside(world: &MadeWorld) -> Inside {
    let mut inside = Inside::new(&world.root()).outputs(&[OUTPUT]);
    inside.plan.world.scenario = Some(world.report.scenario_id.clone());
    inside
}

/// The contract's event id of a row.
fn event_id(world: &MadeWorld, row: usize) -> String {
    let it = &world.report;
    let key = format!(
        "{OUTPUT}|{}|{}|{}|{row}|0",
        it.seed, it.manifest_fingerprint, it.scenario_id
    );
    let text = format!(
        "{key}|{}|{}|{}|{}",
        it.manifest_fingerprint, it.parameter_hash, it.seed, it.scenario_id
    );
    const_hex::encode(Sha256::digest(text))
}

#[track_caller]
fn compare(world: &MadeWorld, admitted: &[String], payloads: &[Value], first: usize) {
    assert_eq!(admitted.len(), payloads.len());
    for (at, (line, payload)) in admitted.iter().zip(payloads).enumerate() {
        let row = first + at;
        let event = Exact::parse(line);
        let expected = Exact::parse(&payload.to_string());
        assert_eq!(event.get("payload"), &expected, "row {row}");
        assert_eq!(event.get("event_id").text(), event_id(world, row));
        assert_eq!(event.get("ts_utc").text(), canonical(nanos(row)));
    }
}

fn layouts() -> Vec<(&'static str, WriterProperties)> {
    let builder = WriterProperties::builder;
    vec![
        (
            "one giant row group, plain, no statistics",
            builder()
                .set_dictionary_enabled(false)
                .set_statistics_enabled(EnabledStatistics::None)
                .set_max_row_group_row_count(None)
                .build(),
        ),
        (
            "small row groups and pages, dictionaries, statistics a page",
            builder()
                .set_max_row_group_row_count(Some(64))
                .set_data_page_row_count_limit(10)
                .set_write_batch_size(5)
                .set_statistics_enabled(EnabledStatistics::Page)
                .build(),
        ),
        (
            "version 2, zstd, deltas",
            builder()
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(Compression::ZSTD(Default::default()))
                .set_dictionary_enabled(false)
                .set_column_encoding(ColumnPath::from("plain"), Encoding::DELTA_BYTE_ARRAY)
                .set_column_encoding(ColumnPath::from("large"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
                .set_max_row_group_row_count(Some(333))
                .build(),
        ),
    ]
}

#[test]
fn every_type_in_every_layout_arrives_as_it_was_written() {
    std::thread::scope(|scope| {
        for (name, how) in layouts() {
            scope.spawn(move || {
                let rows = 900;
                let mut all = columns(rows);
                all.push(time_key("text", rows));
                let (world, payloads) = world_of(rows, all, &how);
                let mut inside = inside(&world);
                // In two goes, so that the second one begins within a row group and a page.
                for cap in [Some(417), None] {
                    inside.plan.range.max_events_per_output = cap;
                    let end = inside.run();
                    assert_eq!(end.exit, ExitCode::Done, "{name}: {:?}", end.failure);
                }
                compare(&world, &inside.admitted(), &payloads, 0);
            });
        }
    });
}

#[test]
fn the_time_key_may_be_of_any_type_and_a_range_finds_its_rows_without_statistics() {
    for kind in [
        "text",
        "large text",
        "text with an offset",
        "dictionary",
        "microseconds",
        "nanoseconds elsewhere",
        "naive",
    ] {
        for (name, how) in layouts() {
            let rows = 300;
            let (world, payloads) = world_of(rows, vec![time_key(kind, rows)], &how);
            let mut inside = inside(&world);
            let at = |row: usize| EventTime::from_micros(nanos(row) / 1_000);
            // Two rows have one time: 100 is in, 250 is not.
            inside.plan.range.start_from = at(101);
            inside.plan.range.until = at(251);
            let end = inside.run();
            assert_eq!(
                end.exit,
                ExitCode::Done,
                "{kind}, {name}: {:?}",
                end.failure
            );
            compare(&world, &inside.admitted(), &payloads[100..250], 100);
        }
    }
}

#[test]
fn what_json_lacks_ends_the_output_at_its_row() {
    let rows = 30;
    let nan = |row: usize| Some(if row == 23 { f64::NAN } else { 1.5 });
    let values: Vec<_> = (0..rows)
        .map(|row| (row == 4).then_some(&b"\xff"[..]))
        .collect();
    let bytes = Column {
        name: "bytes".into(),
        array: Arc::new(BinaryArray::from(values)),
        json: vec![Value::Null; rows],
    };
    let numbers = column("number", rows, nan, Float64Array::from, Value::from);
    // The second part begins at row 20.
    for (bad, name, row, place) in [
        (numbers, "number", 23, "part-000001.parquet"),
        (bytes, "bytes", 4, "part-000000.parquet"),
    ] {
        let columns = vec![bad, time_key("text", rows)];
        let (world, payloads) = world_of(rows, columns, &WriterProperties::default());
        let inside = inside(&world);
        let end = inside.run();
        assert_eq!(end.exit, ExitCode::FailClosed);
        let failure = end.failure.unwrap();
        assert_eq!(failure.reason(), Reason::StreamFailed);
        let message = failure.message();
        let within = if row < 20 { row } else { row - 20 };
        for part in [place, name, &within.to_string()] {
            assert!(message.contains(part), "{part} in {message}");
        }
        compare(&world, &inside.admitted(), &payloads[..row], 0);
    }
}

#[test]
fn parts_without_rows_are_passed_over() {
    let world = MadeWorld::small();
    let times: Vec<i64> = (0..10).map(|row| nanos(row) / 1_000).collect();
    world.at_times(OUTPUT, &times, 4, 2);
    let folder = world.view(OUTPUT);
    let part = |name: &str| folder.join(format!("part-{name}.parquet"));
    // Empty ones before, between and behind: parts are read in text order.
    let full = std::fs::File::open(part("000000")).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(full).unwrap();
    let schema = reader.schema().clone();
    for name in ["", "000000b", "000001b", "000002b"] {
        let file = std::fs::File::create(part(name)).unwrap();
        let writer = parquet::arrow::ArrowWriter::try_new(file, schema.clone(), None).unwrap();
        writer.close().unwrap();
    }
    let mut inside = inside(&world);
    for cap in [Some(5), Some(8), None] {
        inside.plan.range.max_events_per_output = cap;
        assert_eq!(inside.run().exit, ExitCode::Done);
    }
    let found = inside.arrivals();
    let rows: Vec<_> = (0..10).map(|row| event_id(&world, row)).collect();
    assert_eq!(
        found.into_iter().map(|it| it.event_id).collect::<Vec<_>>(),
        rows
    );
    assert_eq!(
        schema.field_with_name("ts_utc").unwrap().data_type(),
        &DataType::Utf8
    );
}
