//! Amounts of bytes as people write them: `512KiB`, `32MiB`, `1GiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of bytes, read from and written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesText(pub u64);

/// The units, the largest first, each with the name that it is written with first.
const UNITS: [(&[&str], u64); 4] = [
    (&["GiB", "Gi"], 1 << 30),
    (&["MiB", "Mi"], 1 << 20),
    (&["KiB", "Ki"], 1 << 10),
    (&["B"], 1),
];

/// A TiB: nothing here is meant to hold more in memory.
const LARGEST: u64 = 1 << 40;

impl BytesText {
    /// So many MiB.
    pub const fn mib(mib: u64) -> Self {
        BytesText(mib << 20)
    }
}

impl FromStr for BytesText {
    type Err = String;

    /// Reads a whole number with a unit, as `32MiB` (or `32Mi`). The error is one sentence with
    /// the text in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no amount of bytes: write a whole number and B, KiB, MiB or GiB, such as 512KiB or 32MiB"
            )
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, size) = UNITS
            .iter()
            .find(|(names, _)| names.contains(&unit))
            .ok_or_else(wrong)?;
        number
            .checked_mul(*size)
            .filter(|bytes| *bytes <= LARGEST)
            .map(BytesText)
            .ok_or_else(|| format!("{text:?} is more than 1024GiB"))
    }
}

impl fmt::Display for BytesText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let even = UNITS
            .iter()
            .find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        let (names, size) = even.unwrap_or(&UNITS[UNITS.len() - 1]);
        write!(f, "{}{}", self.0 / size, names[0])
    }
}

impl Serialize for BytesText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BytesText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = BytesText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of bytes such as 512KiB or 32MiB")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<BytesText, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for BytesText {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(B|Ki|KiB|Mi|MiB|Gi|GiB)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        for (text, bytes, written) in [
            ("32MiB", 32 << 20, "32MiB"),
            ("32Mi", 32 << 20, "32MiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("2048KiB", 2 << 20, "2MiB"),
            ("100B", 100, "100B"),
            ("0B", 0, "0B"),
        ] {
            let read: BytesText = text.parse().unwrap();
            assert_eq!((read.0, read.to_string().as_str()), (bytes, written));
        }
        for text in [
            "",
            "32",
            "MiB",
            "32 MiB",
            "-1MiB",
            "1.5MiB",
            "32MB",
            "32mib",
            "9999999GiB",
        ] {
            let error = text.parse::<BytesText>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
