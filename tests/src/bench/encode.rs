//! Rows to envelopes on one core: Parquet decoded, event ids hashed, envelopes written, by the
//! reader and encoder of the engine's feed; and what others make of the same rows.

use std::hint::black_box;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value};
use worldstream::envelope::Encoder;
use worldstream::plan::RangePlan;
use worldstream::view::{ReadLimits, RowReader};

use super::figures::{median, spread};
use super::whole_path::LARGE;
use super::worlds::{self, Opened};
use super::{Goal, Measurement, Options, say};

const NAME: &str = "rows_to_envelopes";
const ARROW_JSON: &str = "rows_to_json_arrow_json";
const VALUES: &str = "rows_to_json_values";
/// Envelopes a second.
const GOAL: f64 = 1_600_000.0;

/// `rows_to_envelopes`, and two peers that only write the payload.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    if !options.wants_any(&[NAME, ARROW_JSON, VALUES]) {
        return Ok(());
    }
    let world = worlds::open(options, &worlds::sample(options, LARGE)?)?;
    let (rows, runs) = if options.quick {
        (400_000, 3)
    } else {
        (2_000_000, 7)
    };
    say(&format!("{rows} rows to envelopes, {runs} times"));
    let mut ours = Vec::new();
    let (mut arrow, mut values) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(rate(rows, || envelopes(&world, rows))?);
        // The slow ones with fewer rows: the rate is the same.
        arrow.push(rate(rows / 4, || read(&world, rows / 4, &mut arrow_json))?);
        values.push(rate(rows / 20, || read(&world, rows / 20, &mut by_values))?);
    }
    let how = "rows / processor seconds of the process";
    let note = |rates: &[f64], more: &str| format!("{how}, {runs} runs, {}{more}", spread(rates));
    let unit = "rows/s";
    show(Measurement::alone(
        NAME,
        unit,
        median(&ours),
        Goal::AtLeast(GOAL),
        note(&ours, ""),
    ));
    let pairs = |peer: &[f64]| {
        ours.iter()
            .copied()
            .zip(peer.iter().copied())
            .collect::<Vec<_>>()
    };
    for (name, peer) in [(ARROW_JSON, &arrow), (VALUES, &values)] {
        let more = ", payload alone: no event id, no envelope";
        show(Measurement::paired(
            name,
            unit,
            &pairs(peer),
            Goal::None,
            note(peer, more),
        ));
    }
    Ok(())
}

/// Rows by the second of processor time, of all threads: what one core does, whatever else the
/// machine does meanwhile.
fn rate(rows: u64, work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let before = processor();
    work()?;
    Ok(rows as f64 / (processor() - before).as_secs_f64())
}

/// Processor time of this process up to now.
pub fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn reader(world: &Opened) -> Result<RowReader, String> {
    let view = &world.world.outputs[0].view;
    let all = RangePlan::default();
    RowReader::open(&world.world.store, view, None, all, ReadLimits::default())
        .map_err(|failure| failure.to_string())
}

/// As the engine's feed does it.
fn envelopes(world: &Opened, rows: u64) -> Result<(), String> {
    let mut encoder = Encoder::new(world.context()).map_err(|failure| failure.to_string())?;
    let mut reader = reader(world)?;
    let mut made = 0;
    while made < rows {
        let batch = reader
            .next()
            .map_err(|failure| failure.to_string())?
            .ok_or("the view is too short")?;
        let part = &world.world.outputs[0].view.parts[batch.first.part].name;
        let encoded = encoder.encode(&batch, part, &RangePlan::default());
        if let Some(failure) = encoded.failure {
            return Err(failure.to_string());
        }
        made += black_box(encoded.batch).events.len() as u64;
    }
    Ok(())
}

type Write<'a> = &'a mut dyn FnMut(&RecordBatch) -> Result<Vec<u8>, String>;

fn read(world: &Opened, rows: u64, write: Write<'_>) -> Result<(), String> {
    let mut reader = reader(world)?;
    let mut made = 0;
    while made < rows {
        let batch = reader
            .next()
            .map_err(|failure| failure.to_string())?
            .ok_or("the view is too short")?;
        black_box(write(&batch.rows)?);
        made += batch.rows.num_rows() as u64;
    }
    Ok(())
}

fn arrow_json(rows: &RecordBatch) -> Result<Vec<u8>, String> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(rows).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(writer.into_inner())
}

/// A [`Value`] a row, written by `serde_json`.
fn by_values(rows: &RecordBatch) -> Result<Vec<u8>, String> {
    let schema = rows.schema();
    let mut out = Vec::new();
    for row in 0..rows.num_rows() {
        let payload = schema
            .fields()
            .iter()
            .zip(rows.columns())
            .map(|(field, column)| Ok((field.name().clone(), value(column, row)?)))
            .collect::<Result<Map<String, Value>, String>>()?;
        serde_json::to_writer(&mut out, &payload).map_err(|error| error.to_string())?;
    }
    Ok(out)
}

fn value(column: &ArrayRef, row: usize) -> Result<Value, String> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            // The row is not null, so it has a key.
            let key = dictionary.key(row).unwrap_or_default();
            value(dictionary.values(), key)?
        }
        other => return Err(format!("a column of {other}")),
    })
}
