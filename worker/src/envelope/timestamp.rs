//! The column `ts_utc` as event times, whatever its type (contracts section 4).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayAccessor};
use arrow_schema::{DataType, TimeUnit};

use super::isoformat::parse_event_time;
use crate::time::EventTime;

/// A row without an event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTime {
    /// Index of the row in the column.
    pub row: usize,
    /// What is there, in words: `null`, a text in quotes, a number with its unit, or the
    /// column's type.
    pub found: String,
}

/// Appends the event time of every row of a column `ts_utc` to `out`, in microseconds since the
/// epoch, each within the years 1 to 9999. The column is a timestamp of any unit and zone, a text
/// of any kind, or a dictionary of either. Units below a microsecond are cut, towards the past
/// also before 1970, as the digits of a text are.
///
/// # Errors
///
/// The first row that is null or unreadable; `out` then holds the rows before it.
pub fn event_times(column: &dyn Array, out: &mut Vec<i64>) -> Result<(), BadTime> {
    out.reserve(column.len());
    match column.data_type() {
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => stamps::<TimestampSecondType>(column, " s", out, |value| {
                value.checked_mul(1_000_000)
            }),
            TimeUnit::Millisecond => {
                stamps::<TimestampMillisecondType>(column, " ms", out, |value| {
                    value.checked_mul(1_000)
                })
            }
            TimeUnit::Microsecond => stamps::<TimestampMicrosecondType>(column, " µs", out, Some),
            TimeUnit::Nanosecond => {
                stamps::<TimestampNanosecondType>(column, " ns", out, |value| {
                    Some(value.div_euclid(1_000))
                })
            }
        },
        DataType::Utf8 => texts(column.as_string::<i32>(), out),
        DataType::LargeUtf8 => texts(column.as_string::<i64>(), out),
        DataType::Utf8View => texts(column.as_string_view(), out),
        DataType::Dictionary(_, _) => dictionary(column, out),
        DataType::Null => first_row(column, "null".to_owned()),
        other => first_row(column, format!("a column of type {other}")),
    }
}

/// A column that has no time at all is wrong from its first row on.
fn first_row(column: &dyn Array, found: String) -> Result<(), BadTime> {
    if column.is_empty() {
        return Ok(());
    }
    Err(BadTime { row: 0, found })
}

fn stamps<T: ArrowTimestampType>(
    column: &dyn Array,
    unit: &str,
    out: &mut Vec<i64>,
    micros: impl Fn(i64) -> Option<i64>,
) -> Result<(), BadTime> {
    let column = column.as_primitive::<T>();
    for (row, value) in column.values().iter().enumerate() {
        if column.is_null(row) {
            return Err(BadTime {
                row,
                found: "null".to_owned(),
            });
        }
        match micros(*value).and_then(EventTime::from_micros) {
            Some(time) => out.push(time.micros()),
            None => {
                return Err(BadTime {
                    row,
                    found: format!("{value}{unit} since 1970, outside of the years 1 to 9999"),
                });
            }
        }
    }
    Ok(())
}

fn texts<'a>(
    column: impl ArrayAccessor<Item = &'a str>,
    out: &mut Vec<i64>,
) -> Result<(), BadTime> {
    for row in 0..column.len() {
        let found = if column.is_null(row) {
            "null".to_owned()
        } else {
            let text = column.value(row);
            match parse_event_time(text) {
                Some(time) => {
                    out.push(time.micros());
                    continue;
                }
                None => format!("{text:?}"),
            }
        };
        return Err(BadTime { row, found });
    }
    Ok(())
}

/// A dictionary's values are read once each; a value that nobody refers to may be anything.
fn dictionary(column: &dyn Array, out: &mut Vec<i64>) -> Result<(), BadTime> {
    if column.null_count() == column.len() {
        // Such a dictionary may hold no values at all, which has no keys to speak of.
        return first_row(column, "null".to_owned());
    }
    let column = column.as_any_dictionary();
    let keys = column.normalized_keys();
    let values = column.values();
    let mut read: Vec<Option<i64>> = vec![None; values.len()];
    let mut one = Vec::with_capacity(1);
    for (row, &key) in keys.iter().enumerate() {
        if column.keys().is_null(row) {
            return Err(BadTime {
                row,
                found: "null".to_owned(),
            });
        }
        let time = match read[key] {
            Some(time) => time,
            None => {
                one.clear();
                event_times(&values.slice(key, 1), &mut one).map_err(|bad| BadTime {
                    row,
                    found: bad.found,
                })?;
                // One row that is not bad is one time.
                let time = one[0];
                read[key] = Some(time);
                time
            }
        };
        out.push(time);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, DictionaryArray, Int32Array, LargeStringArray, NullArray, StringArray,
        StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    };

    fn read(column: ArrayRef) -> Result<Vec<i64>, (Vec<i64>, BadTime)> {
        let mut out = Vec::new();
        match event_times(&column, &mut out) {
            Ok(()) => Ok(out),
            Err(bad) => Err((out, bad)),
        }
    }

    #[test]
    fn timestamps_of_every_unit_are_cut_towards_the_past() {
        let zone = "Europe/London";
        for (column, expected) in [
            (
                Arc::new(TimestampSecondArray::from(vec![1, -1])) as ArrayRef,
                vec![1_000_000, -1_000_000],
            ),
            (
                Arc::new(TimestampMillisecondArray::from(vec![1, -1]).with_timezone(zone)),
                vec![1_000, -1_000],
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1, -1]).with_timezone("UTC")),
                vec![1, -1],
            ),
            (
                Arc::new(TimestampNanosecondArray::from(vec![1_999, -1])),
                vec![1, -1],
            ),
        ] {
            assert_eq!(read(column), Ok(expected));
        }
    }

    #[test]
    fn texts_of_every_kind() {
        let texts = vec!["1970-01-01T00:00:00.000001Z", "1970-01-01T01:00:00+01:00"];
        let dictionary: DictionaryArray<Int8Type> =
            vec![texts[0], texts[1], texts[0]].into_iter().collect();
        assert_eq!(
            read(Arc::new(StringArray::from(texts.clone()))),
            Ok(vec![1, 0])
        );
        assert_eq!(
            read(Arc::new(LargeStringArray::from(texts.clone()))),
            Ok(vec![1, 0])
        );
        assert_eq!(read(Arc::new(StringViewArray::from(texts))), Ok(vec![1, 0]));
        assert_eq!(read(Arc::new(dictionary)), Ok(vec![1, 0, 1]));
    }

    #[test]
    fn names_the_first_bad_row_and_keeps_those_before_it() {
        let good = "1970-01-01";
        let keyed: DictionaryArray<Int8Type> = vec![Some(good), None].into_iter().collect();
        let wrong: DictionaryArray<Int8Type> =
            vec![Some(good), Some("never")].into_iter().collect();
        let far = i64::MAX;
        for (column, found) in [
            (
                Arc::new(StringArray::from(vec![Some(good), None])) as ArrayRef,
                "null",
            ),
            (Arc::new(StringArray::from(vec![good, "soon"])), "\"soon\""),
            (Arc::new(StringViewArray::from(vec![good, ""])), "\"\""),
            (Arc::new(keyed), "null"),
            (Arc::new(wrong), "\"never\""),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None])),
                "null",
            ),
            (
                Arc::new(TimestampSecondArray::from(vec![0, far])),
                "9223372036854775807 s since 1970, outside of the years 1 to 9999",
            ),
            (
                Arc::new(TimestampMillisecondArray::from(vec![
                    0,
                    -62_135_596_800_001,
                ])),
                "-62135596800001 ms since 1970, outside of the years 1 to 9999",
            ),
        ] {
            let (before, bad) = read(column).unwrap_err();
            assert_eq!(before, vec![0]);
            assert_eq!((bad.row, bad.found.as_str()), (1, found));
        }
        let (_, bad) = read(Arc::new(Int32Array::from(vec![0]))).unwrap_err();
        assert_eq!((bad.row, bad.found.as_str()), (0, "a column of type Int32"));
        let (_, bad) = read(Arc::new(NullArray::new(1))).unwrap_err();
        assert_eq!((bad.row, bad.found.as_str()), (0, "null"));
        assert_eq!(
            read(Arc::new(Int32Array::from(Vec::<i32>::new()))),
            Ok(vec![])
        );
    }
}
