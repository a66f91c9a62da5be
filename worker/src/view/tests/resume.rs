//! Going on behind a cursor, and passing over what lies outside of a range.

use arrow_array::*;
use parquet::file::properties::EnabledStatistics;

use super::*;

fn groups() -> WriterProperties {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(20)
        .set_write_batch_size(10)
        .build()
}

fn at(part: usize, row: u64, ts: i64) -> Option<ResumeAt> {
    Some(ResumeAt {
        place: RowPlace { part, row },
        ts: Some(time(ts)),
    })
}

#[test]
fn a_cursor_that_does_not_fit_the_view_is_refused() {
    let world = World::new();
    world.part("part-0.parquet", &rows(0..150), groups());
    world.part("part-1.parquet", &rows(150..300), groups());
    let plan = world.plan().unwrap();
    let file = format!("{ROOT}/stream_view/ts_utc/output_id={OUTPUT}/part-1.parquet");
    assert_eq!(
        place_of(&plan, &file, 149).unwrap(),
        RowPlace { part: 1, row: 149 }
    );
    let changed = "STREAM_VIEW_CHANGED";
    says(
        &place_of(&plan, &file, 150).unwrap_err(),
        changed,
        &["part-1.parquet", "last_row_index 150", "below 150"],
    );
    says(
        &place_of(&plan, &file, u64::MAX).unwrap_err(),
        changed,
        &["18446744073709551615"],
    );
    says(
        &place_of(&plan, "part-1.parquet", 0).unwrap_err(),
        changed,
        &["last_file part-1.parquet", "2 parts"],
    );
    let open = |start| world.reader(start).err().unwrap();
    let expected = T0 + 160_000_001;
    says(
        &open(at(1, 10, expected)),
        changed,
        &[
            "part-1.parquet",
            "row 10, column ts_utc",
            "found 2026-01-01T00:02:40.000000Z",
            "2026-01-01T00:02:40.000001Z, as the cursor says",
        ],
    );
    says(&open(at(1, 150, T0)), changed, &["row 150", "below 150"]);
    says(&open(at(2, 0, T0)), changed, &["part 2"]);
}

#[test]
fn a_cursor_without_a_time_goes_on_behind_its_row() {
    let world = World::of(&rows(0..5), groups());
    let start = ResumeAt {
        place: RowPlace { part: 0, row: 3 },
        ts: None,
    };
    let rest = drain(&mut world.reader(Some(start)).unwrap()).unwrap();
    assert_eq!(
        placed(&rest),
        [(RowPlace { part: 0, row: 4 }, T0 + 4_000_000)]
    );
}

#[test]
fn the_row_at_the_cursor_is_looked_at_even_outside_of_the_range() {
    let world = World::of(&rows(0..1_000), groups());
    let range = RangePlan {
        start_from: Some(time(T0 + 900_000_000)),
        ..ALL
    };
    let (store, plan) = (world.store(), world.plan().unwrap());
    let open = |start| RowReader::open(&store, &plan, start, range, ReadLimits::default());
    let failure = open(at(0, 100, T0)).err().unwrap();
    says(&failure, "STREAM_VIEW_CHANGED", &["row 100"]);
    let rest = drain(&mut open(at(0, 100, T0 + 100_000_000)).unwrap()).unwrap();
    // The rest of the cursor's row group, and the one that the range lies in.
    let places: Vec<_> = placed(&rest).iter().map(|(place, _)| place.row).collect();
    assert_eq!(places, (101..200).chain(900..1_000).collect::<Vec<_>>());
}

#[test]
fn resuming_reads_only_what_lies_behind_the_cursor() {
    let world = World::new();
    world.part("part-0.parquet", &rows(0..20_000), groups());
    let pages = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(200)
        .set_write_batch_size(100)
        .build();
    world.part("part-1.parquet", &rows(20_000..60_000), pages);
    let plan = world.plan().unwrap();
    let limits = ReadLimits {
        batch_rows: 100,
        buffer_bytes: 64 * 1024,
        ..ReadLimits::default()
    };
    let start = at(1, 39_900, T0 + 59_900_000_000);
    let mut reader = RowReader::open(&world.store(), &plan, start, ALL, limits).unwrap();
    let rest = drain(&mut reader).unwrap();
    assert_eq!(placed(&rest).len(), 99);
    let part = plan.parts[1].size;
    assert!(
        reader.usage().fetched < part / 10,
        "{:?} of {part}",
        reader.usage()
    );
}

#[test]
fn an_offset_index_that_is_damaged_is_done_without() {
    let world = World::of(&rows(0..1_000), groups());
    let file = world.path("part-000000.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    let footer = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(bytes.clone()))
        .unwrap();
    for group in footer.row_groups() {
        for column in group.columns() {
            let range = column.offset_index_range().unwrap();
            bytes[range.start as usize..range.end as usize].fill(0xff);
        }
    }
    std::fs::write(file, bytes).unwrap();
    let rest = drain(&mut world.reader(at(0, 950, T0 + 950_000_000)).unwrap()).unwrap();
    assert_eq!(json(&rest), json_of(&rows(951..1_000)));
}

/// Hours from [`T0`] on, as text in forms that are not in the order of their times as bytes.
fn texts(hours: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(hours.map(|hour| {
        let shown = |offset: i64| {
            let text = time(T0 + (hour + offset) * 3_600_000_000).to_string();
            text[..19].to_owned()
        };
        match hour % 4 {
            0 => format!("{}Z", shown(0)),
            1 => format!("{}+23:00", shown(23)),
            2 => format!("{}-12:00", shown(-12)),
            _ => shown(0).replace(['-', ':'], "") + "Z",
        }
    })))
}

fn stamps(hours: std::ops::Range<i64>, scale: i64) -> Vec<i64> {
    hours
        .map(|hour| (T0 / 1_000_000 + hour * 3_600) * scale)
        .collect()
}

#[test]
fn every_row_of_a_range_comes_whatever_the_statistics_are() {
    const HOURS: i64 = 24 * 400;
    let hours = 0..HOURS;
    let canonical: ArrayRef = Arc::new(StringArray::from_iter_values(
        hours
            .clone()
            .map(|hour| time(T0 + hour * 3_600_000_000).to_string()),
    ));
    let columns: Vec<(ArrayRef, bool)> = vec![
        (
            Arc::new(TimestampMillisecondArray::from(stamps(
                hours.clone(),
                1_000,
            ))),
            true,
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(stamps(
                hours.clone(),
                1_000_000,
            ))),
            true,
        ),
        (
            Arc::new(TimestampNanosecondArray::from(stamps(
                hours.clone(),
                1_000_000_000,
            ))),
            true,
        ),
        (canonical.clone(), true),
        // The statistics prove nothing: everything is read.
        (
            Arc::new(TimestampSecondArray::from(stamps(hours.clone(), 1))),
            false,
        ),
        (texts(hours), false),
    ];
    for (column, prunes) in columns {
        for statistics in [
            EnabledStatistics::Page,
            EnabledStatistics::Chunk,
            EnabledStatistics::None,
        ] {
            let kind = format!("{} {statistics:?}", column.data_type());
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(240))
                .set_statistics_enabled(statistics)
                .build();
            let world = World::of(&batch(vec![("ts_utc", column.clone())]), properties);
            for (from, to, beyond) in [
                (None, Some(100), 0),
                (Some(9_000), None, 0),
                (Some(700), Some(701), 0),
                (Some(8_759), Some(8_761), 0),
                // Just behind the first row of a group.
                (Some(700), Some(720), 1),
            ] {
                let range = RangePlan {
                    start_from: from.map(|hour: i64| time(T0 + hour * 3_600_000_000)),
                    until: to.map(|hour: i64| time(T0 + hour * 3_600_000_000 + beyond)),
                    max_events_per_output: None,
                };
                let mut reader = RowReader::open(
                    &world.store(),
                    &world.plan().unwrap(),
                    None,
                    range,
                    ReadLimits::default(),
                )
                .unwrap();
                let all = placed(&drain(&mut reader).unwrap());
                let inside: Vec<_> = all
                    .iter()
                    .filter(|(_, micros)| range.holds(time(*micros)))
                    .map(|(place, _)| place.row as i64)
                    .collect();
                let wanted: Vec<_> = (from.unwrap_or(0)..to.unwrap_or(HOURS) + beyond).collect();
                assert_eq!(inside, wanted, "{kind}");
                let pruned = all.len() < HOURS as usize / 2;
                assert_eq!(
                    pruned,
                    prunes && statistics != EnabledStatistics::None,
                    "{kind}"
                );
            }
        }
    }
}

#[test]
fn a_null_time_is_found_and_not_passed_over() {
    let mut times: Vec<Option<i64>> = (0..300).map(|row| Some(T0 + row)).collect();
    times[150] = None;
    let world = World::of(
        &batch(vec![(
            "ts_utc",
            Arc::new(TimestampMicrosecondArray::from(times)) as ArrayRef,
        )]),
        groups(),
    );
    let range = RangePlan {
        start_from: Some(time(T0 + 290)),
        ..ALL
    };
    let failure = scan(&world.store(), &world.plan().unwrap(), range, 0.0, |_| {}).unwrap_err();
    says(
        &failure,
        "STREAM_FAILED",
        &["part-000000.parquet", "row 150, column ts_utc", "null"],
    );
}
