//! A cell as JSON (contracts section 4).

use super::column::{Column, Values};
use super::number::{BadValue, date, decimal_as_float, decimal_text_as_float, moment, time_of_day};

/// Appends a text in quotes.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    // Without early exit, so that the compiler can look at many bytes at once: nearly no text
    // has anything to escape.
    let special = bytes.iter().fold(false, |special, &byte| {
        special | (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    });
    if special {
        escape(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

#[cold]
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

fn int(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn float(value: f64, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if !value.is_finite() {
        return Err(BadValue::new(value.to_string(), "a finite number"));
    }
    out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    Ok(())
}

fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Appends the value of a row, `null` included.
///
/// # Errors
///
/// NaN, infinity, a time outside of the years 1 to 9999, or a type that JSON lacks; `out` then
/// holds a part of the value.
pub(super) fn value(column: &Column<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match &column.values {
        Values::Null => out.extend_from_slice(b"null"),
        Values::Bool(array) => {
            let text: &[u8] = if array.value(row) { b"true" } else { b"false" };
            out.extend_from_slice(text);
        }
        Values::I8(values) => int(values[row], out),
        Values::I16(values) => int(values[row], out),
        Values::I32(values) => int(values[row], out),
        Values::I64(values) => int(values[row], out),
        Values::U8(values) => int(values[row], out),
        Values::U16(values) => int(values[row], out),
        Values::U32(values) => int(values[row], out),
        Values::U64(values) => int(values[row], out),
        Values::F16(values) => float(values[row].to_f64(), out)?,
        Values::F32(values) => float(f64::from(values[row]), out)?,
        Values::F64(values) => float(values[row], out)?,
        Values::Decimal32(values, scale) => {
            float(decimal_as_float(values[row].into(), *scale), out)?;
        }
        Values::Decimal64(values, scale) => {
            float(decimal_as_float(values[row].into(), *scale), out)?;
        }
        Values::Decimal128(values, scale) => float(decimal_as_float(values[row], *scale), out)?,
        Values::Decimal256(values, scale) => {
            float(decimal_text_as_float(&values[row].to_string(), *scale), out)?
        }
        Values::Date32(values) => {
            out.push(b'"');
            date(values[row].into(), out)?;
            out.push(b'"');
        }
        Values::Date64(values) => {
            out.push(b'"');
            date(values[row].div_euclid(86_400_000), out)?;
            out.push(b'"');
        }
        Values::Timestamp(values, unit, zone) => {
            out.push(b'"');
            out.extend_from_slice(&moment(values[row], *unit)?.write());
            if zone.is_some() {
                out.push(b'Z');
            }
            out.push(b'"');
        }
        Values::Time32(values, unit) => quoted(&time_of_day(values[row].into(), *unit)?, out),
        Values::Time64(values, unit) => quoted(&time_of_day(values[row], *unit)?, out),
        Values::Text(array) => text(array.value(row), out),
        Values::LargeText(array) => text(array.value(row), out),
        Values::TextView(array) => text(array.value(row), out),
        Values::Dictionary(keys, values) => value(values, keys[row], out)?,
        Values::List(ranges, items) => {
            out.push(b'[');
            for (index, item) in ranges.of(row).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                value(items, item, out)?;
            }
            out.push(b']');
        }
        Values::Struct(fields) => {
            out.push(b'{');
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                text(name, out);
                out.push(b':');
                value(field, row, out)?;
            }
            out.push(b'}');
        }
        Values::Map(ranges, keys, values) => {
            let mut seen = std::collections::HashSet::new();
            out.push(b'{');
            for (index, entry) in ranges.of(row).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                // Keys are never null in Arrow.
                let key = keys
                    .text(entry)
                    .ok_or_else(|| BadValue::new("a map whose keys are no texts", KEYS))?;
                if !seen.insert(key) {
                    return Err(BadValue::new(format!("a map with {key:?} twice"), KEYS));
                }
                text(key, out);
                out.push(b':');
                value(values, entry, out)?;
            }
            out.push(b'}');
        }
        Values::Refused(data_type) => {
            return Err(BadValue::new(
                format!("a value of type {data_type}"),
                "a type that JSON has",
            ));
        }
    }
    Ok(())
}

const KEYS: &str = "texts as keys, each once, as in a JSON object";
