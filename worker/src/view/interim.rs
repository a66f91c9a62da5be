//! Stands in until the rooms `world` and `envelope` are merged.

use arrow_array::{Array, cast::AsArray, types::TimestampMicrosecondType};
use arrow_schema::{DataType, TimeUnit};
use sha2::{Digest, Sha256};

use crate::time::EventTime;

pub(super) fn stream_view_id(root: &str, scenario_id: &str, output_id: &str) -> String {
    let escape = |text: &str| {
        let mut out = String::new();
        for c in serde_json::Value::from(text).to_string().chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        out
    };
    let text = format!(
        r#"{{"engine_run_root":{},"output_id":{},"partition_granularity":"flat","scenario_id":{},"sort_keys":["ts_utc","filename","file_row_number"]}}"#,
        escape(root),
        escape(output_id),
        escape(scenario_id)
    );
    const_hex::encode(Sha256::digest(text.as_bytes()))
}

pub(super) struct BadTime {
    pub row: usize,
    pub found: String,
}

pub(super) fn event_times(column: &dyn Array, out: &mut Vec<i64>) -> Result<(), BadTime> {
    let bad = |row: usize, found: String| BadTime { row, found };
    if matches!(column.data_type(), DataType::Timestamp(..)) {
        let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
        let cast = arrow_cast::cast(column, &wanted).map_err(|e| bad(0, e.to_string()))?;
        let cast = cast.as_primitive::<TimestampMicrosecondType>();
        for row in 0..cast.len() {
            if cast.is_null(row) {
                return Err(bad(row, "null".to_owned()));
            }
            out.push(cast.value(row));
        }
        return Ok(());
    }
    let cast = arrow_cast::cast(column, &DataType::Utf8).map_err(|e| bad(0, e.to_string()))?;
    for (row, text) in cast.as_string::<i32>().iter().enumerate() {
        let text = text.ok_or_else(|| bad(row, "null".to_owned()))?;
        out.push(
            EventTime::parse_rfc3339(text)
                .map_err(|error| bad(row, error))?
                .micros(),
        );
    }
    Ok(())
}
