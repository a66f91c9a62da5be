//! Rows whose payload is a JSON text of their own: the column `payload_json` (contracts
//! section 4).

use std::borrow::Cow;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::{BadValue, python_float};

/// Checks that a text is one JSON object, and finds the fields named by `keys` in it: each as it
/// is written; the last where there are several, as every reader does.
///
/// # Errors
///
/// What is there instead of an object.
pub(super) fn fields<'a>(
    text: &'a str,
    keys: &[String],
) -> Result<Vec<Option<&'a RawValue>>, BadValue> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader
        .deserialize_map(Fields(keys))
        .and_then(|found| reader.end().map(|()| found));
    found.map_err(|error| BadValue::new(format!("{text:?} ({error})"), "a JSON object"))
}

struct Fields<'k>(&'k [String]);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.0.len()];
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if self.0.iter().any(|key| *key == name.0) {
                let value: &RawValue = map.next_value()?;
                for (key, found) in self.0.iter().zip(&mut found) {
                    if *key == name.0 {
                        *found = Some(value);
                    }
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A field's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Appends a JSON value as Python's `str()` writes what it reads from it; false for a null.
///
/// # Errors
///
/// A list, an object, a text that is not valid Unicode, or a number beyond the range of floats.
pub(super) fn python_text(value: &RawValue, out: &mut Vec<u8>) -> Result<bool, BadValue> {
    const SCALAR: &str = "a text, number or boolean in a primary key";
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => return Ok(false),
        Some(b't') => out.extend_from_slice(b"True"),
        Some(b'f') => out.extend_from_slice(b"False"),
        Some(b'"') => {
            let read: Cow<'_, str> = serde_json::from_str::<Name<'_>>(text)
                .map_err(|error| BadValue::new(format!("{text} ({error})"), SCALAR))?
                .0;
            out.extend_from_slice(read.as_bytes());
        }
        Some(b'[' | b'{') | None => return Err(BadValue::new(text, SCALAR)),
        Some(_)
            if text
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_digit()) =>
        {
            // An integer of any size is itself, but for the one that Python has no sign for.
            out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
        }
        Some(_) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => python_float(number, out),
            _ => return Err(BadValue::new(text, "a number in the range of floats")),
        },
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, keys: &[&str]) -> Result<Vec<Option<String>>, BadValue> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        fields(text, &keys)?
            .into_iter()
            .map(|value| {
                let Some(value) = value else { return Ok(None) };
                let mut out = Vec::new();
                let there = python_text(value, &mut out)?;
                Ok(there.then(|| String::from_utf8(out).unwrap()))
            })
            .collect()
    }

    #[test]
    fn keys_as_python_writes_them() {
        let big = "123456789012345678901234567890";
        for (json, expected) in [
            ("1", "1"),
            ("-0", "0"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            (big, big),
            ("1E5", "100000.0"),
            ("1e22", "1e+22"),
            ("-0.0", "-0.0"),
            ("0.10000000149011612", "0.10000000149011612"),
            ("1.10", "1.1"),
            ("true", "True"),
            ("false", "False"),
            ("\"\"", ""),
            ("\"a|b\"", "a|b"),
            (r#""\u00e9\n\ud83d\ude00""#, "é\n😀"),
        ] {
            let text = format!(r#" {{"x": {{"k": 3}}, "k": 0, "k" : {json} , "z": [1, "k"]}} "#);
            assert_eq!(
                read(&text, &["k"]),
                Ok(vec![Some(expected.to_owned())]),
                "{json}"
            );
        }
        assert_eq!(
            read(r#"{"\u006b": 1, "j": null}"#, &["k", "j", "i", "k"]),
            Ok(vec![Some("1".into()), None, None, Some("1".into())])
        );
    }

    #[test]
    fn what_is_no_object_or_no_key() {
        for text in [
            "",
            "null",
            "[]",
            "1",
            "\"{}\"",
            "{",
            "{}x",
            "{\"a\":NaN}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "\u{feff}{}",
            "{} {}",
        ] {
            assert!(read(text, &["k"]).is_err(), "{text}");
        }
        for json in ["[]", "{}", "1e400", "\"\\ud800\""] {
            assert!(
                read(&format!("{{\"k\":{json}}}"), &["k"]).is_err(),
                "{json}"
            );
        }
        assert_eq!(read("{}", &["k"]), Ok(vec![None]));
    }
}
