//! `cursor.json` and the lines of `cursor.jsonl`, as the reference writes and reads them
//! (contracts section 7).

use serde::Serialize;
use serde_json::{Map, Value};
use worldstream_crds::Reason;

use super::{Cursor, json};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// What a cursor file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorDocument {
    /// Holds the scope key.
    pub pack_key: String,
    /// The output's exact id.
    pub output_id: String,
    /// The cursor, its event time in canonical form.
    pub cursor: Cursor,
    /// When it was written, as its writer put it; none if it did not say.
    pub updated_at_utc: Option<String>,
}

/// The fields in the order of their names, as they are written.
#[derive(Serialize)]
struct Fields<'a> {
    last_file: &'a str,
    last_row_index: u64,
    last_ts_utc: Option<&'a str>,
    output_id: &'a str,
    pack_key: &'a str,
    updated_at_utc: &'a str,
}

/// The bytes of a cursor file, and, with a newline, of a line of its history.
pub fn encode(
    scope_key: &str,
    output_id: &str,
    cursor: &Cursor,
    updated: EventTime,
) -> Result<Vec<u8>> {
    fits(cursor)?;
    json::line(&Fields {
        last_file: &cursor.last_file,
        last_row_index: cursor.last_row_index,
        last_ts_utc: cursor.last_ts_utc.as_deref(),
        output_id,
        pack_key: scope_key,
        updated_at_utc: &updated.to_string(),
    })
    .map_err(|error| Failure::new(Reason::StreamFailed, "cursor").cause(&error))
}

/// Whether other stores can hold a cursor.
pub fn fits(cursor: &Cursor) -> Result<()> {
    if i64::try_from(cursor.last_row_index).is_err() {
        return Err(Failure::new(Reason::StreamFailed, "cursor")
            .field("last_row_index")
            .found(cursor.last_row_index.to_string())
            .expected("at most 2^63 - 1, what other stores can hold"));
    }
    Ok(())
}

/// Reads a cursor file. Unknown fields are left alone, as the reference may add some; known ones
/// must be what they are. `object` is the file's path, for the message.
pub fn decode(object: &str, bytes: &[u8]) -> Result<CursorDocument> {
    let unreadable = || Failure::new(Reason::CheckpointUnreadable, object);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(unreadable()
            .found("nothing")
            .expected("a JSON object with the cursor's fields"));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        unreadable()
            .found(if error.is_eof() {
                "JSON that ends too early".to_owned()
            } else {
                String::from_utf8_lossy(bytes).into_owned()
            })
            .expected("a JSON object with the cursor's fields")
            .cause(&error)
    })?;
    let Value::Object(fields) = value else {
        return Err(unreadable()
            .found(value.to_string())
            .expected("a JSON object with the cursor's fields"));
    };
    let row = field(object, &fields, "last_row_index")?;
    let last_row_index = row
        .as_u64()
        .filter(|row| i64::try_from(*row).is_ok())
        .ok_or_else(|| {
            unreadable()
                .field("last_row_index")
                .found(row.to_string())
                .expected("an integer from 0 to 2^63 - 1")
        })?;
    let last_ts_utc = optional(object, &fields, "last_ts_utc")?
        .map(|text| {
            EventTime::parse_rfc3339(&text)
                .map(|time| time.to_string())
                .map_err(|_| {
                    unreadable()
                        .field("last_ts_utc")
                        .found(format!("{text:?}"))
                        .expected("null or a time such as 2026-01-01T00:00:00.000000Z")
                })
        })
        .transpose()?;
    Ok(CursorDocument {
        pack_key: text(object, &fields, "pack_key")?,
        output_id: text(object, &fields, "output_id")?,
        cursor: Cursor {
            last_file: text(object, &fields, "last_file")?,
            last_row_index,
            last_ts_utc,
        },
        updated_at_utc: optional(object, &fields, "updated_at_utc")?,
    })
}

fn field<'a>(object: &str, fields: &'a Map<String, Value>, name: &str) -> Result<&'a Value> {
    fields.get(name).ok_or_else(|| {
        Failure::new(Reason::CheckpointUnreadable, object)
            .field(name)
            .found("no such field")
            .expected("the fields of a cursor")
    })
}

fn text(object: &str, fields: &Map<String, Value>, name: &str) -> Result<String> {
    match field(object, fields, name)? {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(Failure::new(Reason::CheckpointUnreadable, object)
            .field(name)
            .found(other.to_string())
            .expected("a text that is not empty")),
    }
}

fn optional(object: &str, fields: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(Failure::new(Reason::CheckpointUnreadable, object)
            .field(name)
            .found(other.to_string())
            .expected("a text or null")),
    }
}

/// The order of cursors of one output: by file as text, then by row.
pub fn is_before(one: &Cursor, other: &Cursor) -> bool {
    (&one.last_file, one.last_row_index) < (&other.last_file, other.last_row_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            last_file: "s3://oracle-store/runs/wörld-c/part-000000.parquet".into(),
            last_row_index: 49,
            last_ts_utc: Some("2026-01-01T00:03:58.008284Z".into()),
        }
    }

    #[test]
    fn bytes_are_sorted_spaced_and_ascii() {
        let bytes = encode("5d8a", "out", &cursor(), EventTime::from_micros(0).unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"last_file": "s3://oracle-store/runs/w\u00f6rld-c/part-000000.parquet", "last_row_index": 49, "last_ts_utc": "2026-01-01T00:03:58.008284Z", "output_id": "out", "pack_key": "5d8a", "updated_at_utc": "1970-01-01T00:00:00.000000Z"}"#
        );
    }

    #[test]
    fn any_spacing_order_and_more_fields_are_read() {
        let text = r#"
          {"updated_at_utc":"2026-01-01T00:00:00+00:00","zone":{"a":[1]},"pack_key":"5d8a",
           "output_id":"out","last_ts_utc":"2026-01-01T01:03:58.008284+01:00","last_row_index":49,
           "last_file":"s3://oracle-store/runs/w\u00F6rld-c/part-000000.parquet"}
        "#;
        let read = decode("x", text.as_bytes()).unwrap();
        assert_eq!(read.cursor, cursor());
        assert_eq!(read.updated_at_utc.unwrap(), "2026-01-01T00:00:00+00:00");
    }

    #[test]
    fn a_null_time_and_the_largest_row_survive() {
        let large = Cursor {
            last_row_index: i64::MAX as u64,
            last_ts_utc: None,
            ..cursor()
        };
        let now = EventTime::wall_now();
        let bytes = encode("5d8a", "out", &large, now).unwrap();
        assert_eq!(decode("x", &bytes).unwrap().cursor, large);
        let beyond = Cursor {
            last_row_index: i64::MAX as u64 + 1,
            ..cursor()
        };
        let failure = encode("5d8a", "out", &beyond, now).unwrap_err();
        assert!(failure.message().contains("last_row_index"), "{failure}");
    }

    #[test]
    fn cursors_are_ordered_by_file_then_row() {
        let at = |file: &str, row| Cursor {
            last_file: file.into(),
            last_row_index: row,
            last_ts_utc: None,
        };
        assert!(is_before(&at("part-10", 99), &at("part-9", 0)));
        assert!(is_before(&at("part-1", 9), &at("part-1", 10)));
        assert!(!is_before(&at("part-1", 9), &at("part-1", 9)));
    }
}
