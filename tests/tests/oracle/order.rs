//! Equal rows in equal order, whatever the table, and a layout that is read well.

use std::fs::{self, File};
use std::sync::Arc;

use arrow_array::builder::{
    Decimal128Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use worldstream::time::EventTime;
use worldstream::view::build::BuildOptions;
use worldstream_tests::inside::Inside;
use worldstream_tests::{MadeWorld, bench::process};

use crate::bed::*;

/// 2026-01-01 in microseconds.
const START: i64 = 1_767_225_600_000_000;

#[test]
fn two_million_rows_in_little_memory() {
    let world = MadeWorld::sample(2_000_000, 30, |spec| {
        spec.raw = true;
        spec.outputs = vec![EVENTS.parse().unwrap()];
    });
    let aside = set_aside(&world);
    let memory = 96;
    let built = process::measure_done(
        std::process::Command::new(worldstream_tests::program())
            .args(["--json", "oracle", "build-views", &world.root()])
            .args(["--output", EVENTS, "--part-size", "20MiB"])
            .args(["--memory", &format!("{memory}MiB")]),
    )
    .unwrap();
    let said: serde_json::Value = serde_json::from_str(&built.stdout).unwrap();
    assert!(said[0]["runs"].as_u64() > Some(3), "{said}");
    assert!(
        built.peak_mib <= f64::from(memory),
        "{} MiB",
        built.peak_mib
    );
    let view = world.view(EVENTS);
    let expected = aside.join(format!("output_id={EVENTS}"));
    assert_eq!(same_rows(&view, &expected), 2_000_000);
    // Nothing is left of the work.
    let beside: Vec<_> = fs::read_dir(view.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");

    // Whole row groups, statistics, and both indexes.
    let parts = files(&view);
    assert!(parts.len() > 1, "{parts:?}");
    for (number, part) in parts.iter().enumerate() {
        let file = File::open(part).unwrap();
        assert!(part.ends_with(format!("part-{number:06}.parquet")));
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .unwrap();
        let groups = metadata.row_groups();
        for (index, group) in groups.iter().enumerate() {
            let last = number + 1 == parts.len() && index + 1 == groups.len();
            assert!(last || group.num_rows() == 122_880, "{}", group.num_rows());
            for column in group.columns() {
                assert!(matches!(column.compression(), Compression::ZSTD(_)));
                assert!(column.statistics().is_some());
                assert!(column.column_index_offset().is_some());
                assert!(column.offset_index_offset().is_some());
                let few = ["seed", "event_type", "campaign_id"];
                let name = column.column_path().string();
                let pays = column.dictionary_page_offset().is_some();
                assert!(pays || !few.contains(&name.as_str()), "{name}");
                assert!(
                    !pays || !["flow_id", "ts_utc"].contains(&name.as_str()),
                    "{name}"
                );
            }
        }
    }

    // All fields of the contract, and the sums of both sides.
    let (manifest, receipt) = (
        json(&view.join("_stream_view_manifest.json")),
        json(&view.join("_stream_sort_receipt.json")),
    );
    let sample = json(&expected.join("_stream_sort_receipt.json"));
    for field in [
        "stream_view_id",
        "engine_run_root",
        "stream_view_root",
        "output_id",
        "output_ids",
        "sort_keys",
        "partition_granularity",
        "source_locator_digest",
        "status",
    ] {
        assert_eq!(receipt[field], sample[field], "{field}");
    }
    let expected = json(&expected.join("_stream_view_manifest.json"));
    for (field, value) in expected.as_object().unwrap() {
        assert!(
            field == "created_utc" || manifest[field] == *value,
            "{field}"
        );
    }
    assert!(manifest["created_utc"].is_string() && receipt["created_utc"].is_string());
    assert_eq!(receipt["raw_stats"], receipt["sorted_stats"]);
    for field in ["row_count", "min_ts_utc", "max_ts_utc"] {
        assert_eq!(
            receipt["raw_stats"][field], sample["raw_stats"][field],
            "{field}"
        );
    }
    for field in ["hash_sum", "hash_sum2"] {
        receipt["raw_stats"][field]
            .as_str()
            .unwrap()
            .parse::<u128>()
            .unwrap();
    }
}

#[test]
fn a_replay_of_built_views_is_that_of_the_original_ones() {
    let world = sample(3_000);
    let replay = || {
        let mut inside = Inside::new(&world.root());
        inside.plan.world.scenario = Some(world.report.scenario_id.clone());
        let end = inside.run();
        assert_eq!(
            end.exit,
            worldstream_crds::ExitCode::Done,
            "{:?}",
            end.failure
        );
        let mut admitted = inside.admitted();
        // Outputs run side by side; each keeps its order.
        admitted.sort_by_key(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event_type"].as_str().unwrap().to_owned()
        });
        admitted
    };
    let before = replay();
    let aside = set_aside(&world);
    let said = oracle(["build-views", &world.root()]).expect(0);
    assert_eq!(said.stdout.matches(" rows, ").count(), 4, "{said:?}");
    let after = replay();
    assert_eq!(before.len(), 3_000 + 3 * 1_500);
    assert!(before == after, "the admitted envelopes differ");
    for output in ["arrival_events_5B", EVENTS] {
        same_rows(
            &world.view(output),
            &aside.join(format!("output_id={output}")),
        );
    }
    oracle(["check", &world.root(), "--deep"]).expect(0);
}

/// Rows with every type, in the order in which they shall come out; times repeat.
fn every_type(rows: usize) -> RecordBatch {
    let some = |row: usize| row % 3 != 1;
    let text = |row: usize| some(row).then(|| format!("wört {} \"{}\"", row % 5, row));
    let mut few = StringDictionaryBuilder::<Int32Type>::new();
    let mut money = Decimal128Builder::new()
        .with_precision_and_scale(14, 2)
        .unwrap();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        few.append_option(some(row).then(|| format!("kind {}", row % 4)));
        money.append_option(some(row).then_some(row as i128 * 7 - 1_000));
        for item in 0..row % 4 {
            tags.values()
                .append_option((item != 1).then(|| format!("tag {row}")));
        }
        tags.append(some(row));
    }
    let tags: ArrayRef = Arc::new(tags.finish());
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows as i32));
    let fields = [("tags", &tags), ("number", &numbers)].map(|(name, array)| {
        let field = Field::new(name, array.data_type().clone(), true);
        (Arc::new(field), array.clone())
    });
    let deep: ArrayRef = Arc::new(StructArray::from(fields.to_vec()));
    let all = 0..rows;
    rows_of(vec![
        (
            "ts_utc",
            Arc::new(StringArray::from_iter_values(
                all.clone().map(|row| time(row / 3)),
            )),
        ),
        (
            "same",
            Arc::new(StringArray::from(vec!["always this"; rows])),
        ),
        ("same number", Arc::new(Int64Array::from(vec![7; rows]))),
        (
            "text",
            Arc::new(all.clone().map(text).collect::<StringArray>()),
        ),
        (
            "large",
            Arc::new(all.clone().map(text).collect::<LargeStringArray>()),
        ),
        (
            "view",
            Arc::new(all.clone().map(text).collect::<StringViewArray>()),
        ),
        (
            "truth",
            Arc::new(
                all.clone()
                    .map(|row| some(row).then_some(row % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "i16",
            Arc::new(
                all.clone()
                    .map(|row| some(row).then_some(-(row as i16)))
                    .collect::<Int16Array>(),
            ),
        ),
        (
            "u64",
            Arc::new(UInt64Array::from_iter_values(
                all.clone().map(|row| u64::MAX - row as u64),
            )),
        ),
        (
            "f32",
            Arc::new(Float32Array::from_iter_values(
                all.clone().map(|row| row as f32 / 10.0),
            )),
        ),
        (
            "f64",
            Arc::new(Float64Array::from_iter_values(all.clone().map(
                |row| match row % 4 {
                    0 => f64::NAN,
                    1 => -0.0,
                    _ => row as f64 / 10.0,
                },
            ))),
        ),
        (
            "date",
            Arc::new(Date32Array::from_iter_values(
                all.clone().map(|row| row as i32),
            )),
        ),
        (
            "s",
            Arc::new(
                all.clone()
                    .map(|row| some(row).then_some(row as i64))
                    .collect::<TimestampMillisecondArray>(),
            ),
        ),
        (
            "us",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(
                    all.clone().map(|row| START + row as i64),
                )
                .with_timezone("+05:30"),
            ),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_iter_values(
                all.clone().map(|row| (row as u32).to_be_bytes()),
            )),
        ),
        (
            "sixteen",
            Arc::new(
                FixedSizeBinaryArray::try_from_iter(
                    all.clone().map(|row| (row as u128).to_be_bytes()),
                )
                .unwrap(),
            ),
        ),
        ("few", Arc::new(few.finish())),
        ("money", Arc::new(money.finish())),
        ("nothing", Arc::new(Int32Array::new_null(rows))),
        ("tags", tags),
        ("deep", deep),
    ])
}

/// The time of a step, as canonical text.
fn time(step: usize) -> String {
    let micros = START + step as i64 * 1_000_001;
    EventTime::from_micros(micros).unwrap().to_string()
}

fn layouts() -> [WriterProperties; 3] {
    let builder = WriterProperties::builder;
    [
        builder().set_dictionary_enabled(false).build(),
        builder()
            .set_max_row_group_row_count(Some(100))
            .set_data_page_row_count_limit(13)
            .build(),
        builder()
            .set_writer_version(parquet::file::properties::WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(Default::default()))
            .build(),
    ]
}

/// Every `of`th row from `first` on.
fn picked(rows: &RecordBatch, first: usize, of: usize) -> Vec<RecordBatch> {
    (first..rows.num_rows())
        .step_by(of)
        .map(|row| rows.slice(row, 1))
        .collect()
}

fn joined(rows: &[RecordBatch]) -> RecordBatch {
    let schema = rows[0].schema();
    let mut folder = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut folder, schema.clone(), None).unwrap();
    for rows in rows {
        writer.write(rows).unwrap();
    }
    writer.close().unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(folder),
    );
    let mut reader = reader.unwrap().with_batch_size(1_000_000).build().unwrap();
    reader.next().unwrap().unwrap()
}

#[test]
fn every_type_in_every_layout_with_ties_across_files() {
    let rows = 1_200;
    let all = every_type(rows);
    for how in layouts() {
        // Rows of one time lie in three files, in the order of their names; within a file the
        // times come backwards, three by three.
        let mut parts: Vec<Vec<RecordBatch>> = (0..3).map(|part| picked(&all, part, 3)).collect();
        parts.iter_mut().for_each(|part| part.reverse());
        let parts: Vec<_> = parts.iter().map(|part| joined(part)).collect();
        // As text, 10 is before 2.
        let names = ["part-1.parquet", "part-10.parquet", "part-2.parquet"];
        let parts: Vec<_> = names.into_iter().zip(parts).collect();
        let world = made(&parts, &how);
        build(&world, EVENTS, &BuildOptions::default()).unwrap();
        let expected = tempfile::tempdir().unwrap();
        write(
            &expected.path().join("part-0.parquet"),
            &joined(std::slice::from_ref(&all)),
            &how,
        );
        assert_eq!(same_rows(&world.view(EVENTS), expected.path()), rows as u64);
        oracle(["check", &world.root(), "--deep", "--output", EVENTS]).expect(0);
    }
}

#[test]
fn the_time_key_is_compared_as_a_time_whatever_its_type() {
    let texts = [
        // In the order of time; as texts in another.
        "2026-01-01T02:00:00.000000+03:00",
        "2026-01-01",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01 03:00:00,7+02:00",
        "2026-01-01T01:00:00.700000Z",
        "2026-01-02T00:00:00+0000",
    ];
    let text: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let nanos = [-1_i64, 0, 999, 1_000, 1_001, 5_000_000_000];
    let nanos: ArrayRef =
        Arc::new(TimestampNanosecondArray::from(nanos.to_vec()).with_timezone("UTC"));
    let seconds: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![
        -5_i64, -5, 0, 7, 7, 8,
    ]));
    let large: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
    let many: Vec<String> = (0..6).map(time).collect();
    // The first part is of one time alone, in a form that is not the canonical one.
    let odd: ArrayRef = Arc::new(StringArray::from(
        [
            vec!["2025-12-31 00:00:00"; 3],
            many[3..].iter().map(String::as_str).collect(),
        ]
        .concat(),
    ));
    for (name, column) in [
        ("ts_utc", text.clone()),
        ("ts_utc", nanos),
        ("ts_utc", seconds),
        ("ts_utc", large),
        ("ts_utc", odd),
        ("session_start_utc", text),
    ] {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
        let all = rows_of(vec![("n", numbers), (name, column.clone())]);
        // Backwards, but for rows of one time.
        let halves = [joined(&[all.slice(0, 3)]), joined(&[all.slice(3, 3)])];
        let world = made(
            &[
                ("part-b.parquet", halves[1].clone()),
                ("part-a.parquet", halves[0].clone()),
            ],
            &WriterProperties::default(),
        );
        let built = build(&world, EVENTS, &BuildOptions::default()).unwrap();
        assert_eq!(built.rows, 6);
        let expected = tempfile::tempdir().unwrap();
        write(
            &expected.path().join("part-0.parquet"),
            &all,
            &WriterProperties::default(),
        );
        same_rows(&world.view(EVENTS), expected.path());
        let backwards: Vec<_> = (0..6).rev().map(|row| all.slice(row, 1)).collect();
        if column.data_type() == &DataType::Utf8 && name == "ts_utc" {
            continue; // Two rows of one time would change places.
        }
        let ties = matches!(
            column.data_type(),
            DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, _)
        ) || matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8);
        if !ties {
            let world = made(
                &[("part-a.parquet", joined(&backwards))],
                &WriterProperties::default(),
            );
            build(&world, EVENTS, &BuildOptions::default()).unwrap();
            same_rows(&world.view(EVENTS), expected.path());
        }
    }
}

#[test]
fn the_same_parts_give_the_same_bytes_whatever_the_memory_and_the_threads() {
    let bytes = |options: &BuildOptions| -> Vec<Vec<u8>> {
        let world = MadeWorld::sample(300_000, 3, |spec| {
            spec.raw = true;
            spec.outputs = vec![EVENTS.parse().unwrap()];
            spec.run_root = Some("s3://somewhere/world".into());
        });
        fs::remove_dir_all(world.view(EVENTS)).unwrap();
        build(&world, EVENTS, options).unwrap();
        files(&world.view(EVENTS))
            .iter()
            .map(|part| fs::read(part).unwrap())
            .collect()
    };
    let part_bytes = 1024 * 1024;
    let one = BuildOptions {
        threads: 1,
        ..tight()
    };
    let other = BuildOptions {
        threads: 5,
        memory: 1 << 30,
        ..BuildOptions::default()
    };
    let (one, other) = (
        bytes(&BuildOptions { part_bytes, ..one }),
        bytes(&BuildOptions {
            part_bytes,
            ..other
        }),
    );
    assert!(one.len() > 1, "{} parts", one.len());
    assert!(one == other, "the parts' bytes differ");
}

#[test]
fn a_table_without_rows_has_a_view_of_one_part() {
    let none = every_type(1).slice(0, 0);
    let world = made(&[("part-0.parquet", none)], &WriterProperties::default());
    let built = build(&world, EVENTS, &BuildOptions::default()).unwrap();
    assert_eq!((built.rows, built.parts), (0, 1));
    oracle(["check", &world.root(), "--deep", "--output", EVENTS]).expect(0);
}
