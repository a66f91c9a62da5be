//! Parts that change while they are read, and what reading costs.

use arrow_array::*;
use parquet::file::properties::EnabledStatistics;

use super::*;

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(2_000))
        .set_data_page_row_count_limit(500)
        .build()
}

const PART: &str = "part-000000.parquet";

/// A reader with its first rows read, of a part with far more bytes than it reads ahead.
fn started() -> (World, RowReader) {
    let world = World::of(&rows(0..100_000), properties());
    let limits = ReadLimits {
        batch_rows: 100,
        buffer_bytes: 16 * 1024,
        ..ReadLimits::default()
    };
    let plan = world.plan().unwrap();
    let mut reader = RowReader::open(&world.store(), &plan, None, ALL, limits).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().rows.num_rows(), 100);
    (world, reader)
}

fn rest(reader: &mut RowReader) -> Failure {
    let failure = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("read to the end"),
            Err(failure) => break failure,
        }
    };
    assert!(reader.next().unwrap().is_none(), "no rows behind an error");
    failure
}

#[test]
fn a_part_that_is_deleted_while_it_streams_is_noticed() {
    let (world, mut reader) = started();
    std::fs::remove_file(world.path(PART)).unwrap();
    says(
        &rest(&mut reader),
        "STREAM_VIEW_CHANGED",
        &[PART, "no such file any more"],
    );
}

#[test]
fn a_part_that_is_cut_while_it_streams_is_noticed() {
    let (world, mut reader) = started();
    let file = std::fs::File::options()
        .write(true)
        .open(world.path(PART))
        .unwrap();
    file.set_len(5_000).unwrap();
    says(&rest(&mut reader), "STREAM_VIEW_CHANGED", &[PART]);
}

#[test]
fn a_part_that_is_replaced_while_it_streams_is_noticed() {
    let (world, mut reader) = started();
    // Of the same size: only the file is another one.
    let bytes = std::fs::read(world.path(PART)).unwrap();
    world.write("new", &bytes);
    std::fs::rename(world.path("new"), world.path(PART)).unwrap();
    says(
        &rest(&mut reader),
        "STREAM_VIEW_CHANGED",
        &[PART, "another object"],
    );
}

#[test]
fn a_part_that_changed_since_the_plan_is_noticed_before_a_row() {
    let world = World::of(&rows(0..1_000), properties());
    let plan = world.plan().unwrap();
    world.part(PART, &rows(1..1_001), properties());
    for etag in [plan.parts[0].etag.clone(), None] {
        // Also where a store has no tags: the footer differs, or the size.
        let mut plan = plan.clone();
        plan.parts[0].etag = etag;
        let mut reader =
            RowReader::open(&world.store(), &plan, None, ALL, ReadLimits::default()).unwrap();
        says(&rest(&mut reader), "STREAM_VIEW_CHANGED", &[PART]);
    }
    std::fs::remove_file(world.path(PART)).unwrap();
    let mut reader =
        RowReader::open(&world.store(), &plan, None, ALL, ReadLimits::default()).unwrap();
    says(
        &rest(&mut reader),
        "STREAM_VIEW_CHANGED",
        &["no such file any more"],
    );
}

#[test]
fn a_later_part_that_is_gone_is_noticed_at_its_turn() {
    let world = World::new();
    world.part("part-0.parquet", &rows(0..100), properties());
    world.part("part-1.parquet", &rows(100..200), properties());
    let mut reader = world.reader(None).unwrap();
    std::fs::remove_file(world.path("part-1.parquet")).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().rows.num_rows(), 100);
    says(
        &rest(&mut reader),
        "STREAM_VIEW_CHANGED",
        &["part-1.parquet"],
    );
}

#[test]
fn a_fingerprint_tells_a_rebuilt_view() {
    let world = World::of(&rows(0..1_000), properties());
    let before = fingerprint(&world.plan().unwrap());
    assert_eq!(before.rows, 1_000);
    world.part(PART, &rows(0..1_000), properties());
    assert_eq!(
        fingerprint(&world.plan().unwrap()),
        before,
        "the same bytes"
    );
    world.part(PART, &rows(1..1_001), properties());
    let after = fingerprint(&world.plan().unwrap());
    assert_eq!((&after.view_id, after.rows), (&before.view_id, before.rows));
    assert_ne!(after.digest, before.digest);
    std::fs::rename(world.path(PART), world.path("part-000001.parquet")).unwrap();
    assert_ne!(fingerprint(&world.plan().unwrap()).digest, after.digest);
}

/// Two million rows in one row group without any index: what is held of it is what is read ahead,
/// and a page.
#[test]
fn one_giant_row_group_is_streamed_page_by_page() {
    const ROWS: i64 = 2_000_000;
    let world = World::new();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .set_offset_index_disabled(true)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(false)
        .build();
    let chunk = |from: i64| {
        let at = from..from + ROWS / 20;
        batch(vec![
            (
                "ts_utc",
                Arc::new(TimestampMicrosecondArray::from_iter_values(
                    at.clone().map(|row| T0 + row * 1_000),
                )) as ArrayRef,
            ),
            (
                "id",
                Arc::new(Int64Array::from_iter_values(at.map(|row| row * 7))),
            ),
        ])
    };
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, chunk(0).schema(), Some(properties))
            .unwrap();
    for from in (0..20).map(|index| index * ROWS / 20) {
        writer.write(&chunk(from)).unwrap();
    }
    let written = writer.close().unwrap();
    assert_eq!(written.num_row_groups(), 1);
    world.write(PART, &bytes);
    assert!(bytes.len() > 30_000_000);

    let limits = ReadLimits {
        batch_rows: 1024,
        buffer_bytes: 256 * 1024,
        ..ReadLimits::default()
    };
    let plan = world.plan().unwrap();
    let mut reader = RowReader::open(&world.store(), &plan, None, ALL, limits).unwrap();
    let mut count = 0;
    while let Some(batch) = reader.next().unwrap() {
        assert_eq!(batch.first.row, count);
        count += batch.rows.num_rows() as u64;
    }
    assert_eq!(count, ROWS as u64);
    let usage = reader.usage();
    // A page is 20,000 rows of 8 bytes.
    assert!(usage.peak_buffered <= 256 * 1024 + 200_000, "{usage:?}");
    assert!(usage.fetched <= bytes.len() as u64, "{usage:?}");

    // Resuming near its end reads headers on the way, and not the pages.
    let row = ROWS as u64 - 1_000;
    let start = ResumeAt {
        place: RowPlace { part: 0, row },
        ts: Some(time(T0 + row as i64 * 1_000)),
    };
    let mut reader = RowReader::open(&world.store(), &plan, Some(start), ALL, limits).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().first.row, row + 1);
    assert!(reader.usage().fetched < 2_000_000, "{:?}", reader.usage());
}
