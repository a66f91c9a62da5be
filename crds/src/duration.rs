//! Lengths of time as people write them: `250ms`, `5s`, `2m`, `1h`, `1m30s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, read from and written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

/// The units, the longest first, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A year: nothing here is meant to wait longer, and the sum cannot overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl DurationText {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        DurationText(Duration::from_millis(millis))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        DurationText(Duration::from_secs(secs))
    }
}

impl From<DurationText> for Duration {
    fn from(text: DurationText) -> Duration {
        text.0
    }
}

impl FromStr for DurationText {
    type Err = String;

    /// Reads whole numbers with a unit each, as `1m30s`. The error is one sentence with the text
    /// in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no duration: write a whole number and ms, s, m or h, such as 250ms, 5s, 2m or 1h"
            )
        };
        if text.is_empty() {
            return Err(wrong());
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(end);
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let (_, millis) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(wrong)?;
            total += number
                .checked_mul(*millis)
                .map(Duration::from_millis)
                .filter(|part| *part <= LONGEST)
                .ok_or_else(|| format!("{text:?} is longer than a year"))?;
            rest = next;
        }
        if total > LONGEST {
            return Err(format!("{text:?} is longer than a year"));
        }
        Ok(DurationText(total))
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            let count = rest / u128::from(millis);
            rest %= u128::from(millis);
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 250ms, 5s, 2m or 1h")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h))+$",
            "maxLength": 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, canonical) in [
            ("250ms", 250, "250ms"),
            ("5s", 5_000, "5s"),
            ("2m", 120_000, "2m"),
            ("1h", 3_600_000, "1h"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1h0m1ms", 3_600_001, "1h1ms"),
            ("0s", 0, "0s"),
            ("0ms", 0, "0s"),
        ] {
            let read: DurationText = text.parse().unwrap();
            assert_eq!(read, DurationText::millis(millis), "{text}");
            assert_eq!(read.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_named() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5S",
            "5sec",
            "5d",
            "٣s",
            "5s!",
            "1e3ms",
            "99999999999999999999s",
        ] {
            let error = text.parse::<DurationText>().unwrap_err();
            assert!(
                error.contains(&format!("{text:?} is no duration")),
                "{error}"
            );
        }
        for text in ["9000h", "18446744073709551615h", "8000h8000h"] {
            let error = text.parse::<DurationText>().unwrap_err();
            assert!(error.contains("longer than a year"), "{error}");
        }
    }
}
