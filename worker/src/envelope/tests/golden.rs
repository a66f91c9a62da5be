//! Parity with the reference over the golden worlds and vectors.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::{BooleanArray, Float32Array, Float64Array, Int64Array, StringArray, UInt64Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::*;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn primary_key(output: &str) -> Vec<String> {
    let rest: &[&str] = match output {
        "s3_event_stream_with_fraud_6B" | "s2_event_stream_baseline_6B" => {
            &["flow_id", "event_seq"]
        }
        "arrival_events_5B" | "s1_arrival_entities_6B" => &["merchant_id", "arrival_seq"],
        "s3_flow_anchor_with_fraud_6B" | "s2_flow_anchor_baseline_6B" => &["flow_id"],
        other => panic!("{other} is no output"),
    };
    ["seed", "manifest_fingerprint", "scenario_id"]
        .iter()
        .chain(rest)
        .map(|name| (*name).to_owned())
        .collect()
}

/// The context of an output, from one of its envelopes.
fn context_of(output: &str, envelope: &Value, lane: Lane) -> EnvelopeContext {
    let text = |name: &str| envelope[name].as_str().unwrap().to_owned();
    EnvelopeContext {
        output_id: output.to_owned(),
        primary_key: primary_key(output),
        key: WorldKey {
            manifest_fingerprint: text("manifest_fingerprint"),
            parameter_hash: text("parameter_hash"),
            scenario_id: text("scenario_id"),
            seed: envelope["seed"].as_u64().unwrap(),
        },
        run_id: text("run_id"),
        platform_run_id: text("platform_run_id"),
        scenario_run_id: text("scenario_run_id"),
        producer: text("producer"),
        trace_id: text("trace_id"),
        span_id: envelope["span_id"].as_str().map(str::to_owned),
        lane,
    }
}

/// Every envelope of an output of a world, by batches of `size`.
fn encoded(world: &str, context: EnvelopeContext, size: usize) -> Vec<Json> {
    let folder = golden()
        .join(world)
        .join("stream_view/ts_utc")
        .join(format!("output_id={}", context.output_id));
    let mut parts: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    parts.sort();
    let mut encoder = Encoder::new(context).unwrap();
    let mut all = Vec::new();
    for (part, path) in parts.iter().enumerate() {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
            .unwrap()
            .with_batch_size(size)
            .build()
            .unwrap();
        let mut row = 0;
        for rows in reader {
            let rows = rows.unwrap();
            let count = rows.num_rows() as u64;
            let batch = RowBatch {
                first: RowPlace { part, row },
                rows,
            };
            let made = encoder.encode(&batch, path.to_str().unwrap(), &RangePlan::default());
            assert!(made.failure.is_none(), "{:?}", made.failure);
            let last = RowPlace {
                part,
                row: row + count - 1,
            };
            assert_eq!(made.batch.last_seen, Some(last));
            all.extend(envelopes(&made));
            row += count;
        }
    }
    all
}

#[test]
fn every_golden_envelope_is_equal() {
    let mut compared = 0;
    for world in ["world-a", "world-b", "world-c"] {
        let folder = golden().join("expected").join(world);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (output, lane) = match name.split_once(".lane-") {
                Some((output, lane)) => {
                    let (count, index) = lane.split_once('-').unwrap();
                    let lane = Lane {
                        count: count.parse().unwrap(),
                        index: index.parse().unwrap(),
                    };
                    (output, lane)
                }
                None => (name.as_str(), Lane::WHOLE),
            };
            let text = std::fs::read_to_string(&path).unwrap();
            let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            let expected: Vec<Json> = text.lines().map(Json::parse).collect();
            for size in [1, 7, 1024] {
                let ours = encoded(world, context_of(output, &first, lane), size);
                assert_eq!(ours.len(), expected.len(), "{world} {name}");
                for (row, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                    assert_eq!(ours, expected, "{world} {name}, event {row}, by {size}");
                }
            }
            compared += expected.len();
        }
    }
    assert_eq!(compared, 6 * 120 + 120 + 6 * 55 + 2 * 40);
}

#[test]
fn event_ids_of_the_vectors() {
    let text = std::fs::read_to_string(golden().join("vectors.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let vectors = vectors["event_id"].as_array().unwrap();
    assert!(vectors.len() >= 18);
    for vector in vectors {
        let names: Vec<&str> = vector["primary_key"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let mut context = context(&names);
        context.output_id = vector["output_id"].as_str().unwrap().to_owned();
        let pins = &vector["pins"];
        assert_eq!(
            pins["manifest_fingerprint"],
            context.key.manifest_fingerprint.as_str()
        );
        assert_eq!(pins["parameter_hash"], context.key.parameter_hash.as_str());
        assert_eq!(pins["scenario_id"], context.key.scenario_id.as_str());
        context.key.seed = pins["seed"].as_u64().unwrap();

        let time = || Arc::new(StringArray::from(vec!["2026-01-01"])) as ArrayRef;
        let mut columns = vec![("ts_utc", time())];
        for name in &names {
            let column: ArrayRef = match &vector["row"][name] {
                Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
                Value::String(value) => Arc::new(StringArray::from(vec![value.as_str()])),
                Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                    (Some(value), _) => Arc::new(Int64Array::from(vec![value])),
                    (None, Some(value)) => Arc::new(UInt64Array::from(vec![value])),
                    (None, None) if vector["row"]["b"] == "f32" => {
                        Arc::new(Float32Array::from(vec![number.as_f64().unwrap() as f32]))
                    }
                    (None, None) => Arc::new(Float64Array::from(vec![number.as_f64().unwrap()])),
                },
                other => panic!("{other} is no key"),
            };
            columns.push((name, column));
        }
        let payload = vector["row"].to_string();
        for rows in [
            batch(0, columns),
            batch(
                0,
                vec![
                    ("ts_utc", time()),
                    (
                        "payload_json",
                        Arc::new(StringArray::from(vec![payload.as_str()])),
                    ),
                ],
            ),
        ] {
            let made = encode(context.clone(), &rows);
            assert!(made.failure.is_none(), "{:?}", made.failure);
            assert_eq!(
                std::str::from_utf8(made.batch.event_id(0)).unwrap(),
                vector["expect"].as_str().unwrap(),
                "{}",
                vector["row"]
            );
        }
    }
}
