//! Rows that break while the stream runs: exactly the rows before them are sent, the cursor stands
//! behind these, and a start says the same again.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float32Array, Float64Array, StringArray, make_array};

use super::bed::*;

type Columns = Vec<(String, ArrayRef)>;

pub fn column<'a>(columns: &'a mut Columns, name: &str) -> &'a mut ArrayRef {
    let found = columns.iter_mut().find(|(column, _)| column == name);
    &mut found.unwrap_or_else(|| panic!("no column {name}")).1
}

pub fn set_null(columns: &mut Columns, name: &str, row: usize) {
    let array = column(columns, name);
    let valid: Vec<bool> = (0..array.len())
        .map(|at| at != row && array.is_valid(at))
        .collect();
    let data = array
        .to_data()
        .into_builder()
        .nulls(Some(valid.into()))
        .build()
        .unwrap();
    *array = make_array(data);
}

pub fn set_text(columns: &mut Columns, name: &str, row: usize, text: Option<&str>) {
    let array = column(columns, name);
    let texts = array
        .as_any()
        .downcast_ref::<StringArray>()
        .expect("a text column");
    let changed: StringArray = texts
        .iter()
        .enumerate()
        .map(|(at, old)| if at == row { text } else { old })
        .collect();
    *array = Arc::new(changed);
}

fn set_float(columns: &mut Columns, row: usize, value: f64) {
    let array = column(columns, "amount");
    let floats = array
        .as_any()
        .downcast_ref::<Float64Array>()
        .expect("a float column");
    let changed: Float64Array = floats
        .iter()
        .enumerate()
        .map(|(at, old)| if at == row { Some(value) } else { old })
        .collect();
    *array = Arc::new(changed);
}

/// A column `payload_json` with the primary key of each row, but for one row.
fn set_payload(columns: &mut Columns, row: usize, text: Option<&str>) {
    let flows = column(columns, "flow_id").clone();
    let flows = flows
        .as_any()
        .downcast_ref::<arrow_array::UInt64Array>()
        .expect("flow ids");
    let steps = column(columns, "event_seq").clone();
    let steps = steps
        .as_any()
        .downcast_ref::<arrow_array::Int64Array>()
        .expect("steps");
    let seeds = column(columns, "seed").clone();
    let seeds = seeds
        .as_any()
        .downcast_ref::<arrow_array::Int64Array>()
        .expect("seeds");
    let texts = |columns: &mut Columns, name: &str| {
        let array = column(columns, name).clone();
        let array = array.as_any().downcast_ref::<StringArray>().expect("texts");
        array.value(0).to_owned()
    };
    let fingerprint = texts(columns, "manifest_fingerprint");
    let scenario = texts(columns, "scenario_id");
    let payloads: StringArray = (0..flows.len())
        .map(|at| {
            let payload = serde_json::json!({
                "seed": seeds.value(at),
                "manifest_fingerprint": fingerprint,
                "scenario_id": scenario,
                "flow_id": flows.value(at),
                "event_seq": steps.value(at),
            });
            match at == row {
                true => text.map(str::to_owned),
                false => Some(payload.to_string()),
            }
        })
        .collect();
    columns.push(("payload_json".into(), Arc::new(payloads)));
}

pub fn add(cases: &mut Cases) {
    let mut bad = |name: &str,
                   part: usize,
                   row: usize,
                   code,
                   words: &[&str],
                   change: Box<dyn Fn(&mut Columns) + Send + Sync>| {
        let file = [FIRST, SECOND][part];
        let mut all = vec![view(TRAFFIC, file), format!("row {row}")];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = all.iter().map(String::as_str).collect();
        let case = cases.add(name, code, &words, move |it| {
            it.traffic_only();
            it.rewrite(TRAFFIC, file, &change);
        });
        case.sent = Sent::Rows(part * PART_ROWS + row);
    };
    for (part, row) in [(0, 1), (0, 5), (0, 19), (1, 0), (1, 12), (1, 19)] {
        let at = format!("part {part}, row {row}");
        bad(
            &format!("a null in the primary key, {at}"),
            part,
            row,
            "PRIMARY_KEY_MISSING",
            &["flow_id", "found null"],
            Box::new(move |columns| set_null(columns, "flow_id", row)),
        );
    }
    for (what, row, text) in [
        ("null", 9, None),
        ("empty", 3, Some("")),
        ("a word", 11, Some("yesterday")),
        ("of a leap second", 7, Some("2026-01-01T00:00:60Z")),
        ("of the 30th of February", 4, Some("2026-02-30T00:00:00Z")),
        ("in small letters", 6, Some("2026-01-01t00:00:00z")),
        ("with three lines", 2, Some("2026\n01\n01")),
    ] {
        bad(
            &format!("a time {what}"),
            1,
            row,
            "STREAM_FAILED",
            &["column ts_utc", "found", "expected an event time"],
            Box::new(move |columns| set_text(columns, "ts_utc", row, text)),
        );
    }
    for (what, row, value) in [
        ("NaN", 13, f64::NAN),
        ("infinite", 14, f64::INFINITY),
        ("minus infinite", 15, f64::NEG_INFINITY),
    ] {
        bad(
            &format!("an amount {what}"),
            1,
            row,
            "STREAM_FAILED",
            &["column amount", "found", "expected"],
            Box::new(move |columns| set_float(columns, row, value)),
        );
    }
    bad(
        "a 32-bit NaN",
        0,
        8,
        "STREAM_FAILED",
        &["column ratio", "NaN"],
        Box::new(|columns| {
            let values = (0..PART_ROWS).map(|at| if at == 8 { f32::NAN } else { 0.1 });
            columns.push((
                "ratio".into(),
                Arc::new(Float32Array::from_iter_values(values)),
            ));
        }),
    );
    bad(
        "a payload that is null",
        1,
        10,
        "STREAM_VIEW_PAYLOAD_MISSING",
        &["payload_json", "found null"],
        Box::new(|columns| set_payload(columns, 10, None)),
    );
    for (what, row, text) in [
        ("empty", 3, ""),
        ("a list", 4, "[1]"),
        ("a JSON text", 5, "\"{}\""),
        ("cut short", 6, "{\"seed\": 7"),
        ("with more behind", 7, "{} {}"),
        ("with NaN", 8, "{\"a\": NaN}"),
    ] {
        bad(
            &format!("a payload {what}"),
            1,
            row,
            "STREAM_FAILED",
            &["payload_json", "a JSON object"],
            Box::new(move |columns| set_payload(columns, row, Some(text))),
        );
    }
    for (what, text) in [
        (
            "without its key",
            r#"{"seed": 7, "manifest_fingerprint": "a", "scenario_id": "b", "event_seq": 1}"#,
        ),
        (
            "with a null key",
            r#"{"seed": 7, "manifest_fingerprint": "a", "scenario_id": "b", "event_seq": 1, "flow_id": null}"#,
        ),
    ] {
        bad(
            &format!("a payload {what}"),
            1,
            16,
            "PRIMARY_KEY_MISSING",
            &["flow_id"],
            Box::new(move |columns| set_payload(columns, 16, Some(text))),
        );
    }
    pages(cases);
}

/// Pages that cannot be decoded: a row group of 5 rows is the least that can be read.
fn pages(cases: &mut Cases) {
    for (what, part, group, damage) in [
        ("a page's header zeroed", FIRST, 2, (0, 24)),
        ("a page's header of ones", SECOND, 1, (0, 24)),
        (
            "a page's levels and values overwritten",
            SECOND,
            3,
            (20, 400),
        ),
    ] {
        let part_at = usize::from(part == SECOND);
        let at = format!("row group {group}");
        let words = [part, at.as_str(), "corrupt"];
        let case = cases.add(what, "STREAM_FAILED", &words, move |it| {
            it.traffic_only();
            it.rewrite(TRAFFIC, part, |_| {});
            let start = chunk(it, part, group);
            it.edit(&view(TRAFFIC, part), |bytes| {
                let fill = if part == SECOND { 0xff } else { 0 };
                bytes[start + damage.0..start + damage.1].fill(fill);
            });
        });
        case.sent = Sent::Rows(part_at * PART_ROWS + group * 5);
    }
}

/// Where the first page of a text column of a row group begins.
fn chunk(it: &Setup, part: &str, group: usize) -> usize {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let file = std::fs::File::open(it.path(&view(TRAFFIC, part))).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let group = reader.metadata().row_group(group);
    let column = group
        .columns()
        .iter()
        .find(|column| column.column_path().string() == "manifest_fingerprint")
        .unwrap();
    column.byte_range().0 as usize
}
