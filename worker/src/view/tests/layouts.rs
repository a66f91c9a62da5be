//! Every way that writers lay out a part, and every type of column, gives the same rows.

use arrow_array::builder::*;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{DataType, Field};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder, WriterVersion};

use super::*;

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

/// Small pages, so that a small part has many.
fn pages() -> WriterPropertiesBuilder {
    properties()
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
}

fn layouts() -> Vec<(&'static str, WriterPropertiesBuilder)> {
    vec![
        ("as it comes", properties()),
        (
            "one giant row group",
            pages().set_max_row_group_row_count(None),
        ),
        (
            "two rows a row group",
            properties().set_max_row_group_row_count(Some(2)),
        ),
        (
            "odd row groups",
            pages().set_max_row_group_row_count(Some(337)),
        ),
        (
            "no statistics",
            pages().set_statistics_enabled(EnabledStatistics::None),
        ),
        (
            "chunk statistics only",
            pages().set_statistics_enabled(EnabledStatistics::Chunk),
        ),
        ("no offset index", pages().set_offset_index_disabled(true)),
        (
            "no index and no statistics",
            pages()
                .set_offset_index_disabled(true)
                .set_statistics_enabled(EnabledStatistics::None),
        ),
        ("no dictionary", pages().set_dictionary_enabled(false)),
        (
            "dictionary that overflows",
            pages().set_dictionary_page_size_limit(64),
        ),
        (
            "delta",
            pages()
                .set_dictionary_enabled(false)
                .set_column_encoding("id".into(), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding("note".into(), Encoding::DELTA_BYTE_ARRAY),
        ),
        (
            "version 2 pages",
            pages().set_writer_version(WriterVersion::PARQUET_2_0),
        ),
        (
            "version 2 pages without index",
            pages()
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_offset_index_disabled(true),
        ),
        ("snappy", pages().set_compression(Compression::SNAPPY)),
        (
            "zstd",
            pages().set_compression(Compression::ZSTD(ZstdLevel::default())),
        ),
        ("lz4", pages().set_compression(Compression::LZ4_RAW)),
        (
            "gzip",
            pages().set_compression(Compression::GZIP(Default::default())),
        ),
        (
            "brotli",
            pages().set_compression(Compression::BROTLI(Default::default())),
        ),
    ]
}

#[test]
fn every_layout_gives_the_same_rows_from_every_place() {
    let rows = rows(0..1_000);
    let expected = json_of(&rows);
    for (name, properties) in layouts() {
        let world = World::of(&rows, properties.build());
        let batches = drain(&mut world.reader(None).unwrap()).unwrap();
        assert_eq!(json(&batches), expected, "{name}");
        for row in [0, 1, 2, 99, 100, 101, 336, 337, 500, 998, 999] {
            let start = ResumeAt {
                place: RowPlace { part: 0, row },
                ts: Some(time(T0 + row as i64 * 1_000_000)),
            };
            let rest = drain(&mut world.reader(Some(start)).unwrap()).unwrap();
            assert_eq!(
                json(&rest),
                expected[row as usize + 1..],
                "{name} behind {row}"
            );
        }
    }
}

#[test]
fn a_tiny_budget_changes_nothing() {
    let rows = rows(0..5_000);
    let world = World::of(&rows, pages().build());
    for buffer_bytes in [0, 1, 20_000] {
        let limits = ReadLimits {
            batch_rows: 100,
            buffer_bytes,
            ..ReadLimits::default()
        };
        let mut reader =
            RowReader::open(&world.store(), &world.plan().unwrap(), None, ALL, limits).unwrap();
        assert_eq!(json(&drain(&mut reader).unwrap()), json_of(&rows));
    }
}

#[test]
fn a_store_that_is_not_this_machine_s_files_gives_the_same_rows() {
    let rows = rows(0..2_000);
    let world = World::of(
        &rows,
        pages().set_max_row_group_row_count(Some(700)).build(),
    );
    let memory = Arc::new(InMemory::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for file in [
        "_stream_view_manifest.json",
        "_stream_sort_receipt.json",
        "part-000000.parquet",
    ] {
        let at = Path::from(format!("w/stream_view/ts_utc/output_id={OUTPUT}/{file}"));
        let bytes = std::fs::read(world.path(file)).unwrap();
        runtime.block_on(memory.put(&at, bytes.into())).unwrap();
    }
    let store = WorldStore::new(memory, Path::from("w"), ROOT);
    let plan = plan(&store, SCENARIO, OUTPUT).unwrap();
    assert_eq!(
        fingerprint(&plan),
        fingerprint(&world.plan().unwrap()),
        "where it is read says nothing of what it is"
    );
    let start = ResumeAt {
        place: RowPlace { part: 0, row: 900 },
        ts: Some(time(T0 + 900_000_000)),
    };
    let mut reader =
        RowReader::open(&store, &plan, Some(start), ALL, ReadLimits::default()).unwrap();
    assert_eq!(json(&drain(&mut reader).unwrap()), json_of(&rows)[901..]);
}

#[test]
fn strings_that_repeat_come_as_dictionaries() {
    let rows = rows(0..40_000);
    let world = World::of(&rows, properties().build());
    let batches = drain(&mut world.reader(None).unwrap()).unwrap();
    let schema = batches[0].rows.schema();
    assert_eq!(
        schema.field_with_name("merchant").unwrap().data_type(),
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    );
    assert_eq!(
        schema.field_with_name("note").unwrap().data_type(),
        &DataType::Utf8
    );
    assert!(batches.iter().all(|batch| batch.rows.num_rows() <= 1024));
    assert!(json(&batches) == json_of(&rows));
}

#[test]
fn batches_of_large_rows_are_small() {
    let text = "x".repeat(100_000);
    let rows = batch(vec![
        (
            "ts_utc",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                (0..200).map(|row| T0 + row),
            )) as ArrayRef,
        ),
        (
            "payload_json",
            Arc::new(StringArray::from_iter_values(
                (0..200).map(|row| format!("{row}{text}")),
            )),
        ),
    ]);
    let world = World::of(&rows, properties().build());
    let batches = drain(&mut world.reader(None).unwrap()).unwrap();
    assert!(batches.iter().all(|batch| batch.rows.num_rows() <= 11));
    assert_eq!(placed(&batches).len(), 200);
}

/// One column of each type that a table may have, with a null in the middle.
fn every_type() -> RecordBatch {
    let times = [T0 - 1, T0, T0 + 1];
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), None]);
    list.append_null();
    list.append_value::<_, &str>([]);
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("lat", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-2.0)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("é"), None, Some("")])) as ArrayRef,
        ),
    ]);
    let mut nested = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
    nested.values().append_value([Some(1), None]);
    nested.append(true);
    nested.append(false);
    nested.append(true);
    let texts = vec![Some("x"), None, Some("z")];
    batch(vec![
        (
            "ts_utc",
            Arc::new(TimestampMicrosecondArray::from(times.to_vec())),
        ),
        (
            "i8",
            Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(1)])),
        ),
        (
            "i16",
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(1)])),
        ),
        (
            "i32",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(1)])),
        ),
        (
            "i64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(1)])),
        ),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![Some(u8::MAX), None, Some(1)])),
        ),
        (
            "u16",
            Arc::new(UInt16Array::from(vec![Some(u16::MAX), None, Some(1)])),
        ),
        (
            "u32",
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(1)])),
        ),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(1)])),
        ),
        (
            "f16",
            Arc::new(Float16Array::from(vec![
                Some(Default::default()),
                None,
                None,
            ])),
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![Some(0.1), None, Some(1.0)])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![Some(0.1), None, Some(1.0)])),
        ),
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        ("utf8", Arc::new(StringArray::from(texts.clone()))),
        ("large", Arc::new(LargeStringArray::from(texts.clone()))),
        ("view", Arc::new(StringViewArray::from(texts.clone()))),
        (
            "dict8",
            Arc::new(DictionaryArray::<Int8Type>::from_iter(texts.clone())),
        ),
        (
            "dict32",
            Arc::new(DictionaryArray::<Int32Type>::from_iter(texts.clone())),
        ),
        (
            "binary",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(b"\0"),
                None,
                Some(b"b"),
            ])),
        ),
        (
            "fixed",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([1u8, 2]), None, Some([3, 4])].into_iter(),
                    2,
                )
                .unwrap(),
            ),
        ),
        (
            "dec32",
            Arc::new(
                Decimal128Array::from(vec![Some(-105), None, Some(1)])
                    .with_precision_and_scale(5, 2)
                    .unwrap(),
            ),
        ),
        (
            "dec128",
            Arc::new(
                Decimal128Array::from(vec![Some(i128::from(u64::MAX)), None, Some(1)])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        (
            "date32",
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)])),
        ),
        (
            "date64",
            Arc::new(Date64Array::from(vec![
                Some(-86_400_000),
                None,
                Some(86_400_000),
            ])),
        ),
        (
            "time64",
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            "ts_s",
            Arc::new(TimestampSecondArray::from(vec![Some(-1), None, Some(1)])),
        ),
        (
            "ts_ms",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-1),
                None,
                Some(1),
            ])),
        ),
        (
            "ts_ns",
            Arc::new(
                TimestampNanosecondArray::from(vec![Some(-1), None, Some(1)])
                    .with_timezone("Europe/Berlin"),
            ),
        ),
        ("null", Arc::new(NullArray::new(3))),
        ("list", Arc::new(list.finish())),
        ("struct", Arc::new(point)),
        ("nested", Arc::new(nested.finish())),
    ])
}

#[test]
fn every_type_of_column_is_passed_on() {
    let rows = every_type();
    for properties in [
        properties(),
        properties().set_dictionary_enabled(false),
        properties().set_max_row_group_row_count(Some(1)),
    ] {
        let world = World::of(&rows, properties.build());
        for resume in [None, Some(0), Some(1)] {
            let start = resume.map(|row| ResumeAt {
                place: RowPlace { part: 0, row },
                ts: Some(time(T0 - 1 + row as i64)),
            });
            let batches = drain(&mut world.reader(start).unwrap()).unwrap();
            let from = resume.map_or(0, |row| row as usize + 1);
            let wanted = rows.slice(from, 3 - from);
            let mut row = 0;
            for batch in &batches {
                for (field, column) in batch
                    .rows
                    .schema()
                    .fields()
                    .iter()
                    .zip(batch.rows.columns())
                {
                    let source = wanted
                        .column_by_name(field.name())
                        .unwrap()
                        .slice(row, column.len());
                    let same = arrow_cast::cast(column, source.data_type()).unwrap();
                    assert_eq!(&same, &source, "{}", field.name());
                }
                row += batch.rows.num_rows();
            }
            assert_eq!(row, wanted.num_rows());
        }
    }
}

#[test]
fn event_times_of_every_unit_zone_and_text_are_found() {
    let seconds = [-1i64, 0, 1_767_225_600, 1_767_225_601];
    let scaled = |factor: i64| seconds.iter().map(|s| s * factor).collect::<Vec<_>>();
    let texts: Vec<String> = seconds
        .iter()
        .map(|s| time(s * 1_000_000).to_string())
        .collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts.clone())),
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts.clone())),
        Arc::new(DictionaryArray::<Int16Type>::from_iter(
            texts.iter().map(String::as_str),
        )),
    ];
    for zone in [None, Some("UTC"), Some("+05:30"), Some("America/New_York")] {
        let zone = zone.map(Arc::<str>::from);
        columns.push(Arc::new(
            TimestampSecondArray::from(scaled(1)).with_timezone_opt(zone.clone()),
        ));
        columns.push(Arc::new(
            TimestampMillisecondArray::from(scaled(1_000)).with_timezone_opt(zone.clone()),
        ));
        columns.push(Arc::new(
            TimestampMicrosecondArray::from(scaled(1_000_000)).with_timezone_opt(zone.clone()),
        ));
        columns.push(Arc::new(
            TimestampNanosecondArray::from(scaled(1_000_000_000)).with_timezone_opt(zone),
        ));
    }
    for column in columns {
        let kind = column.data_type().clone();
        let world = World::of(&batch(vec![("ts_utc", column)]), properties().build());
        for (row, second) in seconds.iter().enumerate() {
            let start = ResumeAt {
                place: RowPlace {
                    part: 0,
                    row: row as u64,
                },
                ts: Some(time(second * 1_000_000)),
            };
            let rest = drain(&mut world.reader(Some(start)).unwrap()).unwrap();
            let found: Vec<_> = placed(&rest)
                .into_iter()
                .map(|(_, micros)| micros)
                .collect();
            let wanted: Vec<_> = seconds[row + 1..].iter().map(|s| s * 1_000_000).collect();
            assert_eq!(found, wanted, "{kind}");
        }
    }
}

#[test]
fn parts_may_differ_in_their_columns_and_some_may_be_empty() {
    let world = World::new();
    let other = batch(vec![
        ("extra", Arc::new(Int32Array::from(vec![7])) as ArrayRef),
        (
            "ts_utc",
            Arc::new(StringArray::from(vec!["2026-01-01T00:00:10Z"])),
        ),
    ]);
    let empty = batch(vec![(
        "nothing",
        Arc::new(Int32Array::from(Vec::<i32>::new())) as ArrayRef,
    )]);
    world.part("part-0.parquet", &empty, properties().build());
    world.part("part-1.parquet", &rows(0..3), properties().build());
    world.part("part-2.parquet", &rows(0..0), properties().build());
    world.part("part-3.parquet", &other, properties().build());
    world.part("part-4.parquet", &rows(0..0), properties().build());
    world.write("notes.parquet", b"no part");
    world.write("part-5.parquet.tmp", b"no part");
    let plan = world.plan().unwrap();
    assert_eq!(plan.parts.len(), 5);
    assert_eq!(plan.rows, 4);
    let batches = drain(&mut world.reader(None).unwrap()).unwrap();
    let places: Vec<_> = placed(&batches)
        .into_iter()
        .map(|(place, _)| (place.part, place.row))
        .collect();
    assert_eq!(places, [(1, 0), (1, 1), (1, 2), (3, 0)]);
    assert_eq!(json(&batches)[3]["extra"], 7);
    let empty = World::new();
    empty.part("part-0.parquet", &rows(0..0), properties().build());
    assert_eq!(empty.plan().unwrap().rows, 0);
    assert!(drain(&mut empty.reader(None).unwrap()).unwrap().is_empty());
}
