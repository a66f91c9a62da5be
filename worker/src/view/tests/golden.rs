//! The golden worlds, read as the reference reads them.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use serde_json::Value;

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

struct Golden {
    world: &'static str,
    root: &'static str,
    scenario: &'static str,
    outputs: &'static [&'static str],
}

const SIX: &[&str] = &[
    "arrival_events_5B",
    "s1_arrival_entities_6B",
    "s2_event_stream_baseline_6B",
    "s2_flow_anchor_baseline_6B",
    "s3_event_stream_with_fraud_6B",
    "s3_flow_anchor_with_fraud_6B",
];

const WORLDS: &[Golden] = &[
    Golden {
        world: "world-a",
        root: "s3://oracle-store/runs/world-a",
        scenario: "baseline_v1",
        outputs: SIX,
    },
    Golden {
        world: "world-b",
        root: "/data/worlds/world b",
        scenario: "stress_v3",
        outputs: SIX,
    },
    Golden {
        world: "world-c",
        root: "s3://oracle-store/runs/wörld-c",
        scenario: "baseline_v1",
        outputs: &["arrival_events_5B", "s3_event_stream_with_fraud_6B"],
    },
];

fn each(mut check: impl FnMut(&Golden, &str, &WorldStore, &ViewPlan)) {
    let mut views = 0;
    for golden in WORLDS {
        let dir = PathBuf::from(GOLDEN).join(golden.world);
        let store = local(&dir.canonicalize().unwrap(), golden.root);
        for output in golden.outputs {
            let plan = plan(&store, golden.scenario, output).unwrap();
            check(golden, output, &store, &plan);
            views += 1;
        }
    }
    assert_eq!(views, 14);
}

fn expected(golden: &Golden, output: &str) -> Vec<Value> {
    let file = format!("{GOLDEN}/expected/{}/{output}.jsonl", golden.world);
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn open(store: &WorldStore, plan: &ViewPlan, start: Option<ResumeAt>) -> RowReader {
    let limits = ReadLimits {
        batch_rows: 7,
        ..ReadLimits::default()
    };
    RowReader::open(store, plan, start, ALL, limits).unwrap()
}

/// What a text or integer column says must be what the reference sent of that row.
fn compare(batch: &RowBatch, row: usize, envelope: &Value) -> usize {
    let schema = batch.rows.schema();
    if let Ok(column) = schema.index_of("payload_json") {
        let column = arrow_cast::cast(batch.rows.column(column), &DataType::Utf8).unwrap();
        let payload: Value = serde_json::from_str(column.as_string::<i32>().value(row)).unwrap();
        assert_eq!(payload, envelope["payload"]);
        return 1;
    }
    let mut compared = 0;
    for (field, column) in schema.fields().iter().zip(batch.rows.columns()) {
        let comparable = match field.data_type() {
            DataType::Dictionary(_, values) => **values == DataType::Utf8,
            other => other.is_integer() || *other == DataType::Utf8,
        };
        if !comparable || field.name() == "ts_utc" || column.is_null(row) {
            continue;
        }
        let text = arrow_cast::display::array_value_to_string(column, row).unwrap();
        let sent = match &envelope["payload"][field.name()] {
            Value::String(sent) => sent.clone(),
            other => other.to_string(),
        };
        assert_eq!(text, sent, "{}", field.name());
        compared += 1;
    }
    compared
}

#[test]
fn rows_come_in_the_order_that_the_reference_sent_them() {
    each(|golden, output, store, plan| {
        let sent = expected(golden, output);
        assert_eq!(plan.rows, sent.len() as u64);
        let batches = drain(&mut open(store, plan, None)).unwrap();
        let mut envelopes = sent.iter();
        for batch in &batches {
            let mut times = Vec::new();
            event_times(batch.rows.column_by_name("ts_utc").unwrap(), &mut times).unwrap();
            for (row, micros) in times.into_iter().enumerate() {
                let envelope = envelopes.next().unwrap();
                assert_eq!(envelope["ts_utc"], time(micros).to_string());
                assert!(compare(batch, row, envelope) > 0);
            }
        }
        assert!(envelopes.next().is_none());
    });
}

#[test]
fn parts_are_in_text_order_and_named_below_the_resolved_root() {
    let store = local(
        &PathBuf::from(GOLDEN)
            .join("world-b")
            .canonicalize()
            .unwrap(),
        "/data/worlds/world b",
    );
    let plan = plan(&store, "stress_v3", "arrival_events_5B").unwrap();
    let names: Vec<_> = plan.parts.iter().map(|part| part.name.as_str()).collect();
    let folder = "/data/worlds/world b/stream_view/ts_utc/output_id=arrival_events_5B";
    assert_eq!(plan.folder, folder);
    assert_eq!(
        &names[..4],
        [
            format!("{folder}/part-0.parquet"),
            format!("{folder}/part-1.parquet"),
            format!("{folder}/part-10.parquet"),
            format!("{folder}/part-2.parquet"),
        ]
    );
    assert_eq!(names.len(), 11);
}

#[test]
fn resuming_at_every_row_gives_the_rest() {
    each(|_, output, store, plan| {
        let whole = drain(&mut open(store, plan, None)).unwrap();
        let all = placed(&whole);
        let values = json(&whole);
        assert_eq!(all.len() as u64, plan.rows);
        for (index, (place, micros)) in all.iter().enumerate() {
            let file = &plan.parts[place.part].name;
            assert_eq!(place_of(plan, file, place.row).unwrap(), *place);
            let start = ResumeAt {
                place: *place,
                ts: Some(time(*micros)),
            };
            let rest = drain(&mut open(store, plan, Some(start))).unwrap();
            assert_eq!(placed(&rest), all[index + 1..], "{output} {place:?}");
            assert_eq!(json(&rest), values[index + 1..], "{output} {place:?}");
        }
    });
}
