//! Which row groups certainly hold no row of a time range, by their statistics alone. What is not
//! certain is read.

use jiff::civil::Date;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use crate::plan::RangePlan;

const DAY: i64 = 86_400_000_000;

/// False only if no row of the group can lie in the range. `leaf` is the time key's column.
pub(super) fn may_hold(group: &RowGroupMetaData, leaf: usize, range: &RangePlan) -> bool {
    if range.start_from.is_none() && range.until.is_none() {
        return true;
    }
    let Some((lowest, highest)) = bounds(group.column(leaf)) else {
        return true;
    };
    let before = range
        .start_from
        .is_some_and(|start| highest < start.micros());
    let after = range.until.is_some_and(|end| lowest >= end.micros());
    !before && !after
}

/// Microseconds that all values of the column chunk lie between, both inclusive; none if the
/// statistics do not say so for certain.
fn bounds(column: &ColumnChunkMetaData) -> Option<(i64, i64)> {
    let statistics = column.statistics()?;
    // A null is an error at its row, and must be found.
    if statistics.is_min_max_deprecated() || statistics.null_count_opt().unwrap_or(0) > 0 {
        return None;
    }
    match statistics {
        Statistics::Int64(values) => {
            let (low, high) = (*values.min_opt()?, *values.max_opt()?);
            // One microsecond of room, whichever way a nanosecond is cut.
            let micros = |value: i64| match unit(column)? {
                Unit::Millis => value.checked_mul(1_000),
                Unit::Micros => Some(value),
                Unit::Nanos => Some(value.div_euclid(1_000)),
            };
            Some((micros(low)?.checked_sub(1)?, micros(high)?.checked_add(1)?))
        }
        Statistics::ByteArray(_) => {
            let low = std::str::from_utf8(statistics.min_bytes_opt()?).ok()?;
            let high = std::str::from_utf8(statistics.max_bytes_opt()?).ok()?;
            text_bounds(low, high)
        }
        _ => None,
    }
}

enum Unit {
    Millis,
    Micros,
    Nanos,
}

fn unit(column: &ColumnChunkMetaData) -> Option<Unit> {
    let description = column.column_descr();
    match description.logical_type_ref() {
        Some(LogicalType::Timestamp(stamp)) => Some(match stamp.unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }),
        Some(_) => None,
        None => match description.converted_type() {
            ConvertedType::TIMESTAMP_MILLIS => Some(Unit::Millis),
            ConvertedType::TIMESTAMP_MICROS => Some(Unit::Micros),
            _ => None,
        },
    }
}

/// Texts lie between these two as bytes, which need not be the order of their times: offsets
/// differ, and so may the form of each. But where both begin with the same year, a hyphen and the
/// same digit, every text between begins so too, and can only be `YYYY-MM-DD…`. Dates in that form
/// are ordered as bytes, and an offset moves a time by less than a day.
fn text_bounds(low: &str, high: &str) -> Option<(i64, i64)> {
    let start = low.as_bytes().get(..6)?;
    let same = high.as_bytes().get(..6)? == start;
    let hyphen_and_digit = start[4] == b'-' && start[5].is_ascii_digit();
    if !same || !hyphen_and_digit {
        return None;
    }
    let first = day(low)?.checked_sub(DAY)?;
    let last = day(high)?.checked_add(2 * DAY)?;
    Some((first, last))
}

/// Midnight of the date that a text begins with, in microseconds since the epoch.
fn day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes().get(..10)?;
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0i16, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i16::from(digit - b'0'))
        })
    };
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let date = Date::new(
        number(0..4)?,
        i8::try_from(number(5..7)?).ok()?,
        i8::try_from(number(8..10)?).ok()?,
    )
    .ok()?;
    let epoch = Date::new(1970, 1, 1).ok()?;
    Some(i64::from((date - epoch).get_days()) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;

    fn micros(text: &str) -> i64 {
        EventTime::parse_rfc3339(text).unwrap().micros()
    }

    #[test]
    fn texts_bound_times_with_a_day_of_room_on_either_side() {
        assert_eq!(
            text_bounds("2026-01-03T00:00:00Z", "2026-01-04T12:00:00+02:00"),
            Some((
                micros("2026-01-02T00:00:00Z"),
                micros("2026-01-06T00:00:00Z")
            ))
        );
        // Truncated statistics still bound dates.
        assert!(text_bounds("2026-01-03", "2026-01-05").is_some());
    }

    #[test]
    fn texts_that_might_hide_another_form_bound_nothing() {
        for (low, high) in [
            // Between two years lie week dates and dates without hyphens.
            ("2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z"),
            // Week dates.
            ("2026-W01-1", "2026-W05-1"),
            // A date without hyphens, or a week date, may lie between these.
            ("20260101T000000Z", "20260105T000000Z"),
            ("2026-01-01T00:00:00Z", "2026-W01-1"),
            // Not dates at all, cut too short, or raised at truncation.
            ("2026-1", "2026-2"),
            ("2026-01", "2026-02"),
            ("2026-02-30", "2026-02-31"),
            ("", ""),
            ("2026-0é-01", "2026-0é-02"),
        ] {
            assert_eq!(text_bounds(low, high), None, "{low} {high}");
        }
    }
}
