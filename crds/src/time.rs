//! Event time: microseconds since the Unix epoch, UTC, and its one text form
//! `YYYY-MM-DDTHH:MM:SS.ffffffZ` (contracts section 4).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment of the replayed world, in microseconds since 1970-01-01T00:00:00Z. Years 1 to 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// 0001-01-01T00:00:00.000000Z.
    pub const MIN: EventTime = EventTime(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: EventTime = EventTime(253_402_300_799_999_999);

    /// From microseconds since the epoch; none outside of the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&micros)
            .then_some(EventTime(micros))
    }

    /// The wall clock now, for records of when something was written (`updated_at_utc`, `ts_utc`
    /// of the audit); nothing is scheduled by it.
    pub fn wall_now() -> Self {
        let micros = jiff::Timestamp::now().as_microsecond();
        EventTime(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffff`, 26 ASCII bytes; the `Z` is the caller's.
    pub fn write(self) -> [u8; 26] {
        let days = self.0.div_euclid(86_400_000_000);
        let mut rest = self.0.rem_euclid(86_400_000_000) as u64;
        let (year, month, day) = civil(days);
        let mut out = *b"0000-00-00T00:00:00.000000";
        put(&mut out[0..4], year as u64);
        put(&mut out[5..7], month as u64);
        put(&mut out[8..10], day as u64);
        put(&mut out[20..26], rest % 1_000_000);
        rest /= 1_000_000;
        put(&mut out[17..19], rest % 60);
        put(&mut out[14..16], rest / 60 % 60);
        put(&mut out[11..13], rest / 3600);
        out
    }

    /// Reads the canonical form and what RFC 3339 allows besides; for documents and flags. Rows
    /// are read by the envelope room, by the contract's own rules.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        let micros = match text.parse::<jiff::Timestamp>() {
            Ok(stamp) => stamp.as_microsecond(),
            Err(_) => late_utc(text).ok_or_else(|| {
                format!("{text:?} is no RFC 3339 time such as 2026-01-01T00:00:00Z")
            })?,
        };
        Self::from_micros(micros)
            .ok_or_else(|| format!("{text:?} lies outside of the years 1 to 9999"))
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.f]Z` up to the end of year 9999: jiff's timestamps end a day
/// before it, so that they fit any offset.
fn late_utc(text: &str) -> Option<i64> {
    let civil = text.strip_suffix('Z')?;
    if civil.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    let moment: jiff::civil::DateTime = civil.parse().ok()?;
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    i64::try_from(moment.duration_since(epoch).as_micros()).ok()
}

/// Days since the epoch to year, month and day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    // Counted from 0000-03-01, so that the leap day is the last of a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn put(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.write();
        // The bytes are ASCII digits and separators.
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
        f.write_str("Z")
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        EventTime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical_at_the_edges() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (EventTime::MIN.0, "0001-01-01T00:00:00.000000Z"),
            (EventTime::MAX.0, "9999-12-31T23:59:59.999999Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_767_225_602_456_162, "2026-01-01T00:00:02.456162Z"),
        ] {
            let time = EventTime::from_micros(micros).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(EventTime::parse_rfc3339(text), Ok(time));
        }
        assert_eq!(EventTime::from_micros(EventTime::MAX.0 + 1), None);
    }
}
