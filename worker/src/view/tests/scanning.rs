//! What `plan` is told of a view.

use arrow_array::*;

use super::*;

fn world(parts: &[&[i64]]) -> World {
    let world = World::new();
    for (index, micros) in parts.iter().enumerate() {
        let times = micros.iter().map(|micros| T0 + micros);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(3))
            .build();
        world.part(
            &format!("part-{index}.parquet"),
            &batch(vec![(
                "ts_utc",
                Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as ArrayRef,
            )]),
            properties,
        );
    }
    world
}

fn scanned(world: &World, range: RangePlan, speedup: f64) -> ViewScan {
    scan(
        &world.store(),
        &world.plan().unwrap(),
        range,
        speedup,
        |_| {},
    )
    .unwrap()
}

#[test]
fn a_view_in_order_is_counted() {
    let world = world(&[
        &[0, 0, 500_000, 999_999],
        &[1_000_000, 1_000_001, 5_000_000],
    ]);
    let found = scanned(&world, ALL, 1.0);
    assert_eq!(
        found,
        ViewScan {
            rows: 7,
            first: Some(time(T0)),
            last: Some(time(T0 + 5_000_000)),
            // 500000, 999999, 1000000, 1000001, or the two of 0 and the next two.
            peak_per_second: Some(4),
            steps_back: 0,
            largest_step_back: None,
        }
    );
    assert_eq!(scanned(&world, ALL, 0.0).peak_per_second, None);
    assert_eq!(scanned(&world, ALL, 10.0).peak_per_second, Some(7));
    assert_eq!(scanned(&world, ALL, 0.000_001).peak_per_second, Some(2));
}

#[test]
fn a_view_out_of_order_says_where_and_how_far() {
    let world = world(&[&[10, 20, 15], &[18, 30, 11, 30]]);
    let found = scanned(&world, ALL, 1.0);
    assert_eq!(found.steps_back, 3);
    assert_eq!(
        found.largest_step_back,
        Some(StepBack {
            place: RowPlace { part: 1, row: 2 },
            ts: time(T0 + 11),
            micros: 19,
        })
    );
    assert_eq!(found.first, Some(time(T0 + 10)));
    assert_eq!(found.last, Some(time(T0 + 30)));
    // Rows out of order are due at once: with the one before them.
    let apart = world_of_two_bursts();
    assert_eq!(scanned(&apart, ALL, 1.0).peak_per_second, Some(3));
}

fn world_of_two_bursts() -> World {
    world(&[&[0, 9_000_000, 0, 0, 20_000_000]])
}

#[test]
fn only_rows_of_the_range_count() {
    let world = world(&[&[0, 1, 2, 3], &[4, 5, 6, 7]]);
    let range = RangePlan {
        start_from: Some(time(T0 + 2)),
        until: Some(time(T0 + 6)),
        max_events_per_output: None,
    };
    let found = scanned(&world, range, 1.0);
    assert_eq!(found.rows, 4);
    assert_eq!(found.first, Some(time(T0 + 2)));
    assert_eq!(found.last, Some(time(T0 + 5)));
    assert_eq!(found.peak_per_second, Some(4));
    let nothing = RangePlan {
        until: Some(time(T0)),
        ..ALL
    };
    assert_eq!(scanned(&world, nothing, 0.0), ViewScan::default());
}

#[test]
fn progress_grows_to_all_rows_and_only_the_time_key_is_read() {
    let world = World::of(&rows(0..50_000), WriterProperties::builder().build());
    let mut seen = Vec::new();
    let plan = world.plan().unwrap();
    let found = scan(&world.store(), &plan, ALL, 60.0, |rows| seen.push(rows)).unwrap();
    assert_eq!(found.rows, 50_000);
    assert_eq!(found.peak_per_second, Some(60));
    assert!(seen.is_sorted());
    assert!(seen.len() > 5);
    assert_eq!(seen.last(), Some(&50_000));
}

#[test]
fn times_that_cannot_be_read_name_file_and_row() {
    let world = World::of(
        &batch(vec![(
            "ts_utc",
            Arc::new(StringArray::from(vec!["2026-01-01T00:00:00Z", "yesterday"])) as ArrayRef,
        )]),
        WriterProperties::builder().build(),
    );
    let failure = scan(&world.store(), &world.plan().unwrap(), ALL, 1.0, |_| {}).unwrap_err();
    says(
        &failure,
        "STREAM_FAILED",
        &["part-000000.parquet", "row 1, column ts_utc", "yesterday"],
    );
}
