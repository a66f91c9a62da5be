//! Rows to envelopes, one core: our encoder, arrow-json's and `serde_json::Value` over the same
//! rows in the same run. Prints envelopes a second; in release:
//! `cargo run --release -p worldstream --example encode_bench [ROWS]`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, UInt64Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use worldstream::envelope::{Encoder, EnvelopeContext};
use worldstream::plan::{Lane, RangePlan};
use worldstream::time::EventTime;
use worldstream::view::{RowBatch, RowPlace};
use worldstream::world::WorldKey;

const OUTPUT: &str = "s3_event_stream_with_fraud_6B";

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let rows: usize = match std::env::args().nth(1) {
        Some(rows) => rows.parse()?,
        None => 500_000,
    };
    let table = traffic(rows)?;
    let parquet = to_parquet(&table)?;
    println!("{rows} rows of traffic, 11 columns");
    for size in [512, 1024, 8192] {
        let plain = batches(&table, size);
        let dictionary = read(&parquet, size, true)?;
        report(&format!("plain strings, {size} a batch"), || ours(&plain));
        report(&format!("dictionaries, {size} a batch"), || {
            ours(&dictionary)
        });
        report(
            &format!("dictionaries, {size} a batch, 1 lane of 4"),
            || encode(&dictionary, Lane { count: 4, index: 1 }).map(|(_, bytes)| (rows, bytes)),
        );
        report(&format!("Parquet decode alone, {size} a batch"), || {
            let read = read(&parquet, size, true)?;
            Ok((read.iter().map(RecordBatch::num_rows).sum(), 0))
        });
        report(
            &format!("Parquet decode and encode, {size} a batch"),
            || streamed(&parquet, size),
        );
    }
    let plain = batches(&table, 1024);
    report("arrow-json, payload alone", || arrow_json(&plain));
    let few = &plain[..plain.len().min(50)];
    report("serde_json::Value, payload alone", || values(few));
    Ok(())
}

/// The best of five runs: what others do on the machine only slows.
fn report(name: &str, mut run: impl FnMut() -> Result<(usize, usize), AnyError>) {
    let mut best = f64::INFINITY;
    let mut made = (0, 0);
    for _ in 0..5 {
        let start = Instant::now();
        match run() {
            Ok(result) => made = result,
            Err(error) => return println!("{name:48} failed: {error}"),
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    let (rows, bytes) = made;
    println!(
        "{name:48} {:8.3} M/s  {:6.0} ns a row  {:5} bytes a row",
        rows as f64 / best / 1e6,
        best * 1e9 / rows.max(1) as f64,
        bytes / rows.max(1),
    );
}

fn context(lane: Lane) -> EnvelopeContext {
    EnvelopeContext {
        output_id: OUTPUT.into(),
        primary_key: [
            "seed",
            "manifest_fingerprint",
            "scenario_id",
            "flow_id",
            "event_seq",
        ]
        .map(String::from)
        .to_vec(),
        key: WorldKey {
            manifest_fingerprint: "72".repeat(32),
            parameter_hash: "98".repeat(32),
            scenario_id: "baseline_v1".into(),
            seed: 7,
        },
        run_id: "20".repeat(16),
        platform_run_id: "platform_20260101T000000Z".into(),
        scenario_run_id: "ab".repeat(16),
        producer: "svc:world_stream_producer".into(),
        trace_id: "76".repeat(32),
        span_id: Some("rel-1".into()),
        lane,
    }
}

fn traffic(rows: usize) -> Result<RecordBatch, AnyError> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let text = |value: &str| {
        let mut builder = StringBuilder::new();
        (0..rows).for_each(|_| builder.append_value(value));
        Arc::new(builder.finish()) as ArrayRef
    };
    let (mut seed, mut flow, mut seq) = (
        UInt64Builder::new(),
        Int64Builder::new(),
        Int64Builder::new(),
    );
    let (mut kind, mut ts, mut campaign) = (
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
    );
    let (mut amount, mut fraud) = (Float64Builder::new(), BooleanBuilder::new());
    let mut micros = 1_767_225_600_000_000i64;
    for _ in 0..rows {
        micros += random.random_range(0..1_000_000);
        seed.append_value(7);
        flow.append_value(random.random_range(0..i64::MAX));
        seq.append_value(random.random_range(0..4));
        kind.append_value(
            ["AUTH_REQUEST", "AUTH_RESPONSE", "CAPTURE", "REFUND"][random.random_range(0..4)],
        );
        let time = EventTime::from_micros(micros).ok_or("beyond the year 9999")?;
        ts.append_value(time.to_string());
        amount.append_value(f64::from(random.random_range(1..1_000_000)) / 100.0);
        fraud.append_value(random.random_range(0..100) == 0);
        campaign.append_option((random.random_range(0..100) == 0).then_some("campaign-17"));
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flow_id", Arc::new(flow.finish())),
        ("event_seq", Arc::new(seq.finish())),
        ("event_type", Arc::new(kind.finish())),
        ("ts_utc", Arc::new(ts.finish())),
        ("amount", Arc::new(amount.finish())),
        ("campaign_id", Arc::new(campaign.finish())),
        ("fraud_flag", Arc::new(fraud.finish())),
        ("seed", Arc::new(seed.finish())),
        ("manifest_fingerprint", text(&"72".repeat(32))),
        ("parameter_hash", text(&"98".repeat(32))),
        ("scenario_id", text("baseline_v1")),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )?)
}

fn batches(table: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    (0..table.num_rows())
        .step_by(size)
        .map(|start| table.slice(start, size.min(table.num_rows() - start)))
        .collect()
}

fn to_parquet(table: &RecordBatch) -> Result<Bytes, AnyError> {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, table.schema(), None)?;
    writer.write(table)?;
    writer.close()?;
    Ok(out.into())
}

/// Batches of a Parquet file, strings but for event times as dictionaries.
fn reader(
    parquet: &Bytes,
    size: usize,
    dictionaries: bool,
) -> Result<impl Iterator<Item = Result<RecordBatch, arrow_schema::ArrowError>>, AnyError> {
    let plain = ParquetRecordBatchReaderBuilder::try_new(parquet.clone())?;
    let fields: Vec<Field> = plain
        .schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 if dictionaries && field.name() != "ts_utc" => {
                field.as_ref().clone().with_data_type(DataType::Dictionary(
                    Box::new(DataType::Int32),
                    Box::new(DataType::Utf8),
                ))
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    Ok(
        ParquetRecordBatchReaderBuilder::try_new_with_options(parquet.clone(), options)?
            .with_batch_size(size)
            .build()?,
    )
}

fn read(parquet: &Bytes, size: usize, dictionaries: bool) -> Result<Vec<RecordBatch>, AnyError> {
    Ok(reader(parquet, size, dictionaries)?.collect::<Result<_, _>>()?)
}

fn encode_one(
    encoder: &mut Encoder,
    batch: &RecordBatch,
    row: u64,
) -> Result<(usize, usize), AnyError> {
    let rows = RowBatch {
        first: RowPlace { part: 0, row },
        rows: batch.clone(),
    };
    let encoded = encoder.encode(&rows, "part-000000.parquet", &RangePlan::default());
    if let Some(failure) = encoded.failure {
        return Err(failure.into());
    }
    let batch = black_box(encoded.batch);
    Ok((batch.events.len(), batch.bytes.len()))
}

fn encode(batches: &[RecordBatch], lane: Lane) -> Result<(usize, usize), AnyError> {
    let mut encoder = Encoder::new(context(lane))?;
    let mut made = (0, 0);
    for batch in batches {
        let (rows, bytes) = encode_one(&mut encoder, batch, made.0 as u64)?;
        made = (made.0 + rows, made.1 + bytes);
    }
    Ok(made)
}

fn ours(batches: &[RecordBatch]) -> Result<(usize, usize), AnyError> {
    encode(batches, Lane::WHOLE)
}

fn streamed(parquet: &Bytes, size: usize) -> Result<(usize, usize), AnyError> {
    let mut encoder = Encoder::new(context(Lane::WHOLE))?;
    let mut made = (0, 0);
    for batch in reader(parquet, size, true)? {
        let (rows, bytes) = encode_one(&mut encoder, &batch?, made.0 as u64)?;
        made = (made.0 + rows, made.1 + bytes);
    }
    Ok(made)
}

fn arrow_json(batches: &[RecordBatch]) -> Result<(usize, usize), AnyError> {
    let mut made = (0, 0);
    for batch in batches {
        let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
        writer.write(batch)?;
        writer.finish()?;
        made = (
            made.0 + batch.num_rows(),
            made.1 + black_box(writer.into_inner()).len(),
        );
    }
    Ok(made)
}

/// The payload as a [`Value`] a row, from typed columns, written by `serde_json`.
fn values(batches: &[RecordBatch]) -> Result<(usize, usize), AnyError> {
    let mut made = (0, 0);
    for batch in batches {
        let schema = batch.schema();
        let mut out = Vec::new();
        for row in 0..batch.num_rows() {
            let payload: Map<String, Value> = schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| (field.name().clone(), value(column, row)))
                .collect();
            serde_json::to_writer(&mut out, &payload)?;
        }
        made = (made.0 + batch.num_rows(), made.1 + black_box(out).len());
    }
    Ok(made)
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        _ => column.as_string::<i32>().value(row).into(),
    }
}
