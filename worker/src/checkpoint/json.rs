//! JSON as the reference writes it: one line, `", "` and `": "` between, everything beyond
//! printable ASCII escaped. Files that both producers write look alike.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// One line, without its newline. Keys are in the order of the type's fields.
pub fn line<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    value.serialize(&mut Serializer::with_formatter(&mut out, Spaced))?;
    Ok(out)
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let plain = |c: char| matches!(c, ' '..='~');
        let mut rest = fragment;
        while let Some(at) = rest.find(|c| !plain(c)) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            for c in chars.by_ref().take(1) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn looks_like_the_references() {
        for (value, text) in [
            (
                json!({"a": 1, "b": [1, null, true]}),
                r#"{"a": 1, "b": [1, null, true]}"#,
            ),
            (json!({}), "{}"),
            (json!([]), "[]"),
            (json!("a\"b\\c/d"), r#""a\"b\\c/d""#),
            (
                json!("\n\r\t\u{8}\u{c}\u{0}\u{1f}"),
                r#""\n\r\t\b\f\u0000\u001f""#,
            ),
            (json!("wörld\u{7f}"), r#""w\u00f6rld\u007f""#),
            (json!("a😀b"), r#""a\ud83d\ude00b""#),
            (json!({"é": "x"}), r#"{"\u00e9": "x"}"#),
        ] {
            assert_eq!(String::from_utf8(line(&value).unwrap()).unwrap(), text);
            let back: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(back, value);
        }
    }
}
