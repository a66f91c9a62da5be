//! The one text of a JSON value that payload hashes are taken of: keys sorted by code point, no
//! spaces, everything outside of printable ASCII escaped, floats in their shortest form as
//! Python's `repr` writes them. Numbers are read from the text itself, so that two spellings of
//! one float hash alike and integers of any length stay exact.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// How deep a value may be nested.
const MAX_DEPTH: usize = 128;

/// The members of a JSON object; of a repeated key the last one counts.
pub type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Appends the canonical text of an object.
///
/// Errors: an escape of half a surrogate pair, or nesting beyond 128 levels.
pub fn write_members(members: &Members<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    write_object(members, MAX_DEPTH, out)
}

/// Appends a JSON string in ASCII.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for char in text.chars() {
        let short = match char {
            '"' => b'"',
            '\\' => b'\\',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            ' '..='~' => {
                out.push(char as u8);
                continue;
            }
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(HEX[usize::from(*unit >> shift & 0xf)]);
                    }
                }
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}

fn write_text(text: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(serde::de::Error::custom("nested too deeply"));
    };
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => write_object(&serde_json::from_str(text)?, deeper, out)?,
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(item.get(), deeper, out)?;
            }
            out.push(b']');
        }
        Some(b'"') => write_string(&serde_json::from_str::<String>(text)?, out),
        Some(b'-' | b'0'..=b'9') => write_number(text, out),
        // true, false, null: the text was read as JSON before.
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

fn write_object(
    members: &Members<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_text(value.get(), depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_number(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        let text = if text == "-0" { "0" } else { text };
        out.extend_from_slice(text.as_bytes());
        return;
    }
    match text.parse::<f64>() {
        Ok(float) => write_float(float, out),
        // Every JSON number parses as a float.
        Err(_) => out.extend_from_slice(text.as_bytes()),
    }
}

/// A float as Python writes it: positional from 1e-4 to below 1e16, else with an exponent of at
/// least two digits.
fn write_float(float: f64, out: &mut Vec<u8>) {
    if float.is_infinite() {
        out.extend_from_slice(if float > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        });
        return;
    }
    let shortest = format!("{float:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let positional = format!("{float}");
        out.extend_from_slice(positional.as_bytes());
        if !positional.contains('.') {
            out.extend_from_slice(b".0");
        }
        return;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(mantissa.as_bytes());
    out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        write_text(raw.get(), MAX_DEPTH, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_what_python_writes() {
        for (text, expected) in [
            (
                r#"{ "b" : 1 , "a" : [ true , null ] }"#,
                r#"{"a":[true,null],"b":1}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("0.0000001", "1e-07"),
            ("1E-7", "1e-07"),
            ("0.0001", "0.0001"),
            ("1e22", "1e+22"),
            ("1e16", "1e+16"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("1.0", "1.0"),
            ("100e0", "100.0"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("1e999", "Infinity"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("18446744073709551616", "18446744073709551616"),
            ("0.1000000000000000055511151231257827", "0.1"),
            (
                "\"Zürich-τ \u{7f}\\/\\n😀\"",
                r#""Z\u00fcrich-\u03c4 \u007f/\n\ud83d\ude00""#,
            ),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_text() {
        for text in [
            r#""\ud800""#.to_string(),
            "[".repeat(200) + &"]".repeat(200),
        ] {
            let raw: &RawValue = serde_json::from_str(&text).unwrap();
            assert!(
                write_text(raw.get(), MAX_DEPTH, &mut Vec::new()).is_err(),
                "{text}"
            );
        }
    }
}
