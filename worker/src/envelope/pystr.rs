//! A cell of the primary key as Python's `str()` writes it (contracts section 4).

use arrow_schema::TimeUnit;

use super::column::{Column, Values};
use super::number::{BadValue, date, decimal, moment, python_float, time_of_day};

const SCALAR: &str = "a text, number, boolean, date or time";

fn int(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn float(value: f64, out: &mut Vec<u8>) -> Result<(), BadValue> {
    if !value.is_finite() {
        return Err(BadValue::new(value.to_string(), "a finite number"));
    }
    python_float(value, out);
    Ok(())
}

/// Appends a value that is not null.
///
/// # Errors
///
/// NaN, infinity, a time that Python has not (beyond the years 1 to 9999, or finer than a
/// microsecond), a timestamp of a named zone, or a type that has no text.
pub(super) fn value(column: &Column<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), BadValue> {
    match &column.values {
        Values::I8(values) => int(values[row], out),
        Values::I16(values) => int(values[row], out),
        Values::I32(values) => int(values[row], out),
        Values::I64(values) => int(values[row], out),
        Values::U8(values) => int(values[row], out),
        Values::U16(values) => int(values[row], out),
        Values::U32(values) => int(values[row], out),
        Values::U64(values) => int(values[row], out),
        Values::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Values::LargeText(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Values::TextView(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Values::Dictionary(keys, values) => value(values, keys[row], out)?,
        Values::Bool(array) => {
            let text: &[u8] = if array.value(row) { b"True" } else { b"False" };
            out.extend_from_slice(text);
        }
        Values::F16(values) => float(values[row].to_f64(), out)?,
        Values::F32(values) => float(values[row].into(), out)?,
        Values::F64(values) => float(values[row], out)?,
        Values::Decimal32(values, scale) => {
            decimal(itoa::Buffer::new().format(values[row]), *scale, out);
        }
        Values::Decimal64(values, scale) => {
            decimal(itoa::Buffer::new().format(values[row]), *scale, out);
        }
        Values::Decimal128(values, scale) => {
            decimal(itoa::Buffer::new().format(values[row]), *scale, out);
        }
        Values::Decimal256(values, scale) => decimal(&values[row].to_string(), *scale, out),
        Values::Date32(values) => date(values[row].into(), out)?,
        Values::Date64(values) => date(values[row].div_euclid(86_400_000), out)?,
        Values::Timestamp(values, unit, zone) => timestamp(values[row], *unit, *zone, out)?,
        Values::Time32(values, unit) => {
            fine(values[row].into(), *unit)?;
            whole_or_micros(&time_of_day(values[row].into(), *unit)?, out);
        }
        Values::Time64(values, unit) => {
            fine(values[row], *unit)?;
            whole_or_micros(&time_of_day(values[row], *unit)?, out);
        }
        Values::Null => return Err(BadValue::new("null", SCALAR)),
        Values::List(..) => return Err(BadValue::new("a list", SCALAR)),
        Values::Struct(..) => return Err(BadValue::new("a struct", SCALAR)),
        Values::Map(..) => return Err(BadValue::new("a map", SCALAR)),
        Values::Refused(data_type) => {
            return Err(BadValue::new(
                format!("a value of type {data_type}"),
                SCALAR,
            ));
        }
    }
    Ok(())
}

/// Python has no unit below the microsecond. Cutting would give two rows one id.
fn fine(value: i64, unit: TimeUnit) -> Result<(), BadValue> {
    if unit == TimeUnit::Nanosecond && value % 1_000 != 0 {
        return Err(BadValue::new(
            format!("{value} ns"),
            "whole microseconds in a primary key",
        ));
    }
    Ok(())
}

/// Appends a text that ends in `.ffffff`, without those if they are zeros.
fn whole_or_micros(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text.strip_suffix(b".000000").unwrap_or(text));
}

fn timestamp(
    value: i64,
    unit: TimeUnit,
    zone: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    fine(value, unit)?;
    let time = moment(value, unit)?;
    let minutes = match zone {
        None => 0,
        Some(zone) => offset_minutes(zone).ok_or_else(|| {
            BadValue::new(
                format!("a timestamp of the zone {zone:?}"),
                "UTC or a fixed offset in a primary key",
            )
        })?,
    };
    let local = moment(time.micros() + minutes * 60_000_000, TimeUnit::Microsecond)?;
    let mut text = local.write();
    text[10] = b' ';
    whole_or_micros(&text, out);
    if zone.is_some() {
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        out.extend_from_slice(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).as_bytes());
    }
    Ok(())
}

/// A zone whose offset never changes, in minutes east of UTC. The others would need the rules
/// of the zone as the reference's machine has them.
fn offset_minutes(zone: &str) -> Option<i64> {
    if matches!(
        zone,
        "UTC"
            | "utc"
            | "Etc/UTC"
            | "GMT"
            | "Etc/GMT"
            | "Zulu"
            | "Etc/Zulu"
            | "UCT"
            | "Etc/UCT"
            | "Z"
    ) {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [h1, h2] => ([*h1, *h2], [b'0', b'0']),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => ([*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let number = |digits: [u8; 2]| {
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0'))
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}
