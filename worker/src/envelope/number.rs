//! Numbers and times as text, for JSON and for keys alike.

use arrow_schema::TimeUnit;

use crate::time::EventTime;

/// A value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadValue {
    /// What is there.
    pub(super) found: String,
    /// What could be written.
    pub(super) expected: &'static str,
}

impl BadValue {
    pub(super) fn new(found: impl Into<String>, expected: &'static str) -> Self {
        BadValue {
            found: found.into(),
            expected,
        }
    }
}

/// Appends a decimal (`unscaled` digits with their sign, times ten to the minus `scale`) as
/// Python's `Decimal` writes it: `1.10`, `0E-8`, `1.23E+4`.
pub(super) fn decimal(unscaled: &str, scale: i8, out: &mut Vec<u8>) {
    let digits = match unscaled.strip_prefix('-') {
        Some(digits) => {
            out.push(b'-');
            digits
        }
        None => unscaled,
    };
    let length = digits.len() as i64;
    let digits = digits.as_bytes();
    let exponent = -i64::from(scale);
    // Digits left of the point; the point moves to after the first digit where that would mean
    // more than five zeros behind it, or zeros that the value does not have.
    let left = exponent + length;
    let plain = exponent <= 0 && left > -6;
    let point = if plain { left } else { 1 };
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-point) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        // A plain decimal has no exponent above 0, so the point is within its digits.
        let (whole, fraction) = digits.split_at((point as usize).min(digits.len()));
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
    if left != point {
        out.push(b'E');
        out.push(if left > point { b'+' } else { b'-' });
        out.extend_from_slice(
            itoa::Buffer::new()
                .format((left - point).unsigned_abs())
                .as_bytes(),
        );
    }
}

/// The 64-bit float nearest to a decimal.
pub(super) fn decimal_as_float(unscaled: i128, scale: i8) -> f64 {
    const EXACT: i128 = 1 << 53;
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    // Both are exact floats, so that one division rounds once.
    if let (true, Some(power)) = (
        unscaled.abs() <= EXACT,
        usize::try_from(scale).ok().and_then(|at| POWERS.get(at)),
    ) {
        return unscaled as f64 / power;
    }
    decimal_text_as_float(itoa::Buffer::new().format(unscaled), scale)
}

/// The same for digits of any length.
pub(super) fn decimal_text_as_float(unscaled: &str, scale: i8) -> f64 {
    // Digits and an exponent are always a float to the parser; one that is too large for a
    // float comes out as infinite, which nobody writes.
    format!("{unscaled}e{}", -i32::from(scale))
        .parse()
        .unwrap_or(f64::INFINITY)
}

/// Appends a float as Python's `repr` writes it: `1.5`, `1e+22`, `1e-07`, `100.0`.
pub(super) fn python_float(value: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let text = match text.strip_prefix('-') {
        Some(text) => {
            out.push(b'-');
            text
        }
        None => text,
    };
    // Digits and exponent as ryu has them, in a form of our own: 0.d1d2d3… times ten to `point`.
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let mut point = whole.len() as i32 + exponent - (all.len() - digits.len()) as i32;
    let mut digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        digits = "0";
        point = 1;
    }
    let digits = digits.as_bytes();
    let count = digits.len() as i32;
    if (-3..=16).contains(&point) {
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-point) as usize, b'0');
            out.extend_from_slice(digits);
        } else if point >= count {
            out.extend_from_slice(digits);
            out.resize(out.len() + (point - count) as usize, b'0');
            out.extend_from_slice(b".0");
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        return;
    }
    out.push(digits[0]);
    if count > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if point > 0 { b"e+" } else { b"e-" });
    let power = (point - 1).unsigned_abs();
    if power < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(power).as_bytes());
}

/// A timestamp's value as a time of the years 1 to 9999, cut to microseconds.
pub(super) fn moment(value: i64, unit: TimeUnit) -> Result<EventTime, BadValue> {
    let micros = match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    };
    micros
        .and_then(EventTime::from_micros)
        .ok_or_else(|| BadValue::new(format!("{value} {unit:?}s since 1970"), YEARS))
}

const YEARS: &str = "a time of the years 1 to 9999";

/// A date of so many days since the epoch: `YYYY-MM-DD`.
pub(super) fn date(days: i64, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let text = days
        .checked_mul(86_400_000_000)
        .and_then(EventTime::from_micros)
        .ok_or_else(|| BadValue::new(format!("{days} days since 1970"), YEARS))?
        .write();
    out.extend_from_slice(&text[..10]);
    Ok(())
}

/// A time of day: `HH:MM:SS.ffffff`, cut.
pub(super) fn time_of_day(value: i64, unit: TimeUnit) -> Result<[u8; 15], BadValue> {
    let time = moment(value, unit)?;
    if !(0..86_400_000_000).contains(&time.micros()) {
        return Err(BadValue::new(
            format!("{value} {unit:?}s since midnight"),
            "a time of day",
        ));
    }
    let mut out = [0; 15];
    out.copy_from_slice(&time.write()[11..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_as_python_writes_them() {
        for (unscaled, scale, expected) in [
            ("110", 2, "1.10"),
            ("-5", 2, "-0.05"),
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("0", 6, "0.000000"),
            ("0", 7, "0E-7"),
            ("0", 8, "0E-8"),
            ("1", 6, "0.000001"),
            ("1", 7, "1E-7"),
            ("10", 8, "1.0E-7"),
            ("123", 9, "1.23E-7"),
            ("123", -2, "1.23E+4"),
            ("0", -2, "0E+2"),
            ("1", -2, "1E+2"),
            (
                "-99999999999999999999999999999999999999",
                38,
                "-0.99999999999999999999999999999999999999",
            ),
            ("1", 38, "1E-38"),
        ] {
            let mut out = Vec::new();
            decimal(unscaled, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn decimals_as_their_nearest_float() {
        for (unscaled, scale, expected) in [
            (110i128, 2, 1.1),
            (-343_959_204_021_022, 2, -3_439_592_040_210.22),
            (5, 0, 5.0),
            (1, -3, 1000.0),
            (9_007_199_254_740_993, 0, 9_007_199_254_740_992.0),
            (123_456_789_012_345_678, 10, 12_345_678.901_234_568),
            (1, 38, 1e-38),
            (i128::MAX, 0, 1.701_411_834_604_692_3e38),
        ] {
            assert_eq!(decimal_as_float(unscaled, scale), expected);
            assert_eq!(
                decimal_text_as_float(&unscaled.to_string(), scale),
                expected
            );
        }
    }

    #[test]
    fn floats_as_python_writes_them() {
        for (value, expected) in [
            (1.5, "1.5"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e22, "1e+22"),
            (1.234e100, "1.234e+100"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (1e-05, "1e-05"),
            (1.25e-07, "1.25e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-123456.789, "-123456.789"),
            (f64::from(0.1f32), "0.10000000149011612"),
        ] {
            let mut out = Vec::new();
            python_float(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn dates_and_times() {
        let mut out = Vec::new();
        date(-1, &mut out).unwrap();
        assert_eq!(out, b"1969-12-31");
        assert!(date(i64::MAX, &mut out).is_err());
        assert!(date(2_932_897, &mut out).is_err());
        assert_eq!(
            &time_of_day(86_399_999_999_999, TimeUnit::Nanosecond).unwrap(),
            b"23:59:59.999999"
        );
        assert!(time_of_day(86_400, TimeUnit::Second).is_err());
        assert!(time_of_day(-1, TimeUnit::Second).is_err());
    }
}
