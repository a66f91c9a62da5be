//! A text as an event time: what `datetime.fromisoformat` of Python 3.11 reads once every `Z` has
//! become `+00:00` (contracts section 4), with its oddities, because the events' ids and times
//! must not depend on who reads them.

use crate::time::EventTime;

const DAY: i64 = 86_400_000_000;

/// The event time that a text says; none: unreadable, or outside of the years 1 to 9999 in UTC.
/// No offset means UTC; digits beyond the sixth of a fraction are cut.
pub fn parse_event_time(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    if let Some(micros) = canonical(bytes) {
        return EventTime::from_micros(micros);
    }
    if bytes.contains(&b'Z') {
        return fromisoformat(text.replace('Z', "+00:00").as_bytes());
    }
    fromisoformat(bytes)
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`, the form that nearly every row has; none: read it slowly.
fn canonical(text: &[u8]) -> Option<i64> {
    let text: &[u8; 27] = text.try_into().ok()?;
    const FORM: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
    let mut wrong = 0u8;
    for (byte, form) in text.iter().zip(FORM) {
        wrong |= if *form == b'0' {
            u8::from(byte.wrapping_sub(b'0') > 9)
        } else {
            byte ^ form
        };
    }
    if wrong != 0 {
        return None;
    }
    let two = |at: usize| i64::from(text[at] - b'0') * 10 + i64::from(text[at + 1] - b'0');
    let (hour, minute, second) = (two(11), two(14), two(17));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day = day_number(two(0) * 100 + two(2), two(5), two(8))?;
    let fraction = two(20) * 10_000 + two(22) * 100 + two(24);
    Some(day * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, years 1 to 9999; none if
/// there is no such date.
fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let length = match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > length {
        return None;
    }
    // Years that begin in March, so that the leap day is the last of one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468)
}

/// 9999-12-31.
const LAST_DAY: i64 = 2_932_896;

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The text with a cursor that reads a NUL past its end, as the original does.
#[derive(Clone, Copy)]
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn at(self, index: usize) -> u8 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// The number that `count` digits from `index` say.
    fn number(self, index: usize, count: usize) -> Option<i64> {
        (index..index + count).try_fold(0, |number, at| {
            let digit = self.at(at).wrapping_sub(b'0');
            (digit <= 9).then(|| number * 10 + i64::from(digit))
        })
    }
}

fn fromisoformat(bytes: &[u8]) -> Option<EventTime> {
    let text = Text(bytes);
    let length = bytes.len();
    if length < 7 {
        return None;
    }
    let separator = date_length(text)?;
    if separator > length {
        return None;
    }
    let day = date(text, separator)?;
    if separator == length {
        return EventTime::from_micros(day * DAY);
    }
    // Any single character separates date and time.
    let time = separator
        + match text.at(separator) {
            0..=0x7f => 1,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 2,
        };
    let sign_at = (time..length)
        .find(|&at| matches!(text.at(at), b'+' | b'-'))
        .unwrap_or(length);
    if time >= length {
        return None;
    }
    let (clock, left_over) = clock(text, time, sign_at)?;
    if clock.hour > 23 || clock.minute > 59 || clock.second > 59 {
        return None;
    }
    let offset = if sign_at == length {
        if left_over {
            return None;
        }
        0
    } else {
        let (offset, left_over) = self::clock(text, sign_at + 1, length)?;
        if left_over {
            return None;
        }
        let whole = offset.micros() - offset.fraction;
        // An offset without whole seconds is UTC to Python, whatever its fraction.
        let micros = if whole == 0 { 0 } else { offset.micros() };
        if micros >= DAY {
            return None;
        }
        if text.at(sign_at) == b'-' {
            -micros
        } else {
            micros
        }
    };
    EventTime::from_micros(day * DAY + clock.micros() - offset)
}

/// How many bytes the date has: the first character after them is the separator.
fn date_length(text: Text<'_>) -> Option<usize> {
    let length = text.0.len();
    if length == 7 {
        return Some(7);
    }
    if text.at(4) == b'-' {
        if text.at(5) != b'W' {
            return Some(10);
        }
        if length > 8 && text.at(8) == b'-' {
            if length == 9 {
                return None;
            }
            // YYYY-Www-D, or YYYY-Www and a time after a hyphen.
            return Some(if length > 10 && text.at(10).is_ascii_digit() {
                8
            } else {
                10
            });
        }
        return Some(8);
    }
    if text.at(4) != b'W' {
        return Some(8);
    }
    // YYYYWww or YYYYWwwd: the digits of a time come in pairs.
    let end = (7..length)
        .find(|&at| !text.at(at).is_ascii_digit())
        .unwrap_or(length);
    Some(match end {
        0..9 => end,
        _ if end % 2 == 0 => 7,
        _ => 8,
    })
}

/// The day number of a date of `length` bytes.
fn date(text: Text<'_>, length: usize) -> Option<i64> {
    let year = text.number(0, 4)?;
    let separated = text.at(4) == b'-';
    let mut at = 4 + usize::from(separated);
    if text.at(at) == b'W' {
        let week = text.number(at + 1, 2)?;
        at += 3;
        let day = if at < length {
            if separated {
                if text.at(at) != b'-' {
                    return None;
                }
                at += 1;
            }
            text.number(at, 1)?
        } else {
            1
        };
        return week_day(year, week, day);
    }
    let month = text.number(at, 2)?;
    at += 2;
    if separated {
        if text.at(at) != b'-' {
            return None;
        }
        at += 1;
    }
    let day = text.number(at, 2)?;
    if at + 2 != length {
        return None;
    }
    day_number(year, month, day)
}

/// The day number of a day of an ISO week; the day itself may lie in the year before or after.
fn week_day(year: i64, week: i64, day: i64) -> Option<i64> {
    if !(1..=53).contains(&week) || !(1..=7).contains(&day) {
        return None;
    }
    let first = day_number(year, 1, 1)?;
    // 1970-01-01 was a Thursday; Monday is 0.
    let weekday = (first + 3).rem_euclid(7);
    if week == 53 && !(weekday == 3 || weekday == 2 && is_leap(year)) {
        return None;
    }
    let monday = first - weekday + if weekday > 3 { 7 } else { 0 };
    let number = monday + (week - 1) * 7 + day - 1;
    // The last week of 9999 ends in a year that Python has not, whatever the offset.
    (number <= LAST_DAY).then_some(number)
}

struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    fraction: i64,
}

impl Clock {
    fn micros(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.fraction
    }
}

/// `HH[:?MM[:?SS[(.|,)f…]]]` from `at` to `end`, unchecked ranges, and whether the text goes on
/// after what was read.
fn clock(text: Text<'_>, mut at: usize, end: usize) -> Option<(Clock, bool)> {
    let mut fields = [0i64; 3];
    let mut fraction = 0;
    let mut separated = true;
    let mut ended = None;
    for (index, field) in fields.iter_mut().enumerate() {
        *field = text.number(at, 2)?;
        let next = text.at(at + 2);
        at += 3;
        if index == 0 {
            separated = next == b':';
        }
        if at >= end {
            ended = Some(next != 0);
            break;
        } else if separated && next == b':' {
            continue;
        } else if matches!(next, b'.' | b',') {
            break;
        } else if !separated {
            at -= 1;
        } else {
            return None;
        }
    }
    let left_over = match ended {
        Some(left_over) => left_over,
        None => {
            let digits = (end - at).min(6);
            fraction = text.number(at, digits)? * 10i64.pow(6 - digits as u32);
            at += digits;
            while text.at(at).is_ascii_digit() {
                at += 1;
            }
            text.at(at) != 0
        }
    };
    let [hour, minute, second] = fields;
    Some((
        Clock {
            hour,
            minute,
            second,
            fraction,
        },
        left_over,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with what Python 3.11.7 made of them: microseconds since the epoch, or null.
    const VECTORS: &str = include_str!("isoformat_vectors.json");

    #[test]
    fn reads_what_python_reads_and_nothing_else() {
        let vectors: Vec<(String, Option<i64>)> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() > 400);
        for (text, expected) in vectors {
            assert_eq!(
                parse_event_time(&text).map(EventTime::micros),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_fast_form_reads_as_the_slow_one_does() {
        for text in [
            "2026-01-01T00:00:02.456162Z",
            "1969-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "2024-02-29T12:34:56.000001Z",
            "1900-02-28T12:34:56.000001Z",
        ] {
            let micros = canonical(text.as_bytes()).unwrap();
            assert_eq!(EventTime::from_micros(micros).unwrap().to_string(), text);
            let offset = text.replace('Z', "+00:00");
            assert_eq!(
                fromisoformat(offset.as_bytes()).map(EventTime::micros),
                Some(micros)
            );
        }
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2026-01-01T24:00:00.000000Z",
            "2026-01-01T00:60:00.000000Z",
            "2026-01-01T00:00:60.000000Z",
            "0000-01-01T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-01-01 00:00:00.000000Z",
            "2026-01-01T00:00:00.00000:Z",
            "2026-01-01T00:00:00.00000/Z",
        ] {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn golden_vectors() {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/golden/vectors.json"
        ))
        .unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
        let vectors = vectors["ts_utc"].as_array().unwrap();
        assert!(vectors.len() >= 20);
        for vector in vectors {
            let Some(input) = vector["input"].as_str() else {
                continue;
            };
            assert_eq!(
                parse_event_time(input).map(|time| time.to_string()),
                vector["expect"].as_str().map(str::to_owned),
                "{input:?}"
            );
        }
    }
}
