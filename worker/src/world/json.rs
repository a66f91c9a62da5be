//! A JSON document of a world and its fields, with failures that name the file, the field, what
//! was found and what was expected.

use serde_json::{Map, Value};
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};

/// A JSON object, with the name of the file it is from and the code that a wrong field gives.
#[derive(Debug)]
pub(super) struct Document {
    file: String,
    path: String,
    wrong: Reason,
    fields: Map<String, Value>,
}

/// Parses what must be JSON; anything that the JSON standard does not allow is not JSON.
pub(super) fn parse(file: &str, bytes: &[u8], not_json: Reason) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| {
        let found = if bytes.is_empty() {
            "an empty file"
        } else if bytes.starts_with(b"\xef\xbb\xbf") {
            "a byte order mark"
        } else if std::str::from_utf8(bytes).is_err() {
            "bytes that are not UTF-8"
        } else {
            "a text that is not JSON"
        };
        Failure::new(not_json, file)
            .found(found)
            .expected("JSON")
            .cause(&error)
    })
}

/// A value in a few words, for messages.
pub(super) fn describe(value: Option<&Value>) -> String {
    match value {
        None => "nothing".into(),
        Some(value) => value.to_string(),
    }
}

/// Whether a text is so many lower-case hex digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Document {
    /// Parses a file. What is not JSON fails with `not_json`, what is not an object, and later
    /// every wrong field, with `wrong`.
    pub(super) fn parse(file: &str, bytes: &[u8], not_json: Reason, wrong: Reason) -> Result<Self> {
        match parse(file, bytes, not_json)? {
            Value::Object(fields) => Ok(Document {
                file: file.to_owned(),
                path: String::new(),
                wrong,
                fields,
            }),
            other => Err(Failure::new(wrong, file)
                .found(describe(Some(&other)))
                .expected("a JSON object")),
        }
    }

    fn failure(&self, field: &str, expected: impl Into<String>) -> Failure {
        Failure::new(self.wrong, &self.file)
            .field(format!("{}{field}", self.path))
            .found(describe(self.fields.get(field)))
            .expected(expected)
    }

    /// Fails if there is a field that is not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self
            .fields
            .keys()
            .find(|field| !known.contains(&field.as_str()))
        {
            None => Ok(()),
            Some(field) => Err(self.failure(field, format!("no field but {}", known.join(", ")))),
        }
    }

    /// A text, which may be empty.
    pub(super) fn text(&self, field: &str) -> Result<&str> {
        self.fields
            .get(field)
            .and_then(Value::as_str)
            .ok_or_else(|| self.failure(field, "a text"))
    }

    /// A text of some length, in characters.
    pub(super) fn sized(&self, field: &str, least: usize, most: usize) -> Result<&str> {
        let text = self.text(field)?;
        if (least..=most).contains(&text.chars().count()) {
            Ok(text)
        } else if most == usize::MAX {
            Err(self.failure(field, "a text that is not empty"))
        } else {
            Err(self.failure(field, format!("a text of {least} to {most} characters")))
        }
    }

    /// So many lower-case hex digits.
    pub(super) fn hex(&self, field: &str, digits: usize) -> Result<&str> {
        match self.fields.get(field).and_then(Value::as_str) {
            Some(text) if is_hex(text, digits) => Ok(text),
            _ => Err(self.failure(field, format!("{digits} lower-case hex digits"))),
        }
    }

    /// An unsigned 64-bit integer, written as one.
    pub(super) fn u64(&self, field: &str) -> Result<u64> {
        self.fields
            .get(field)
            .and_then(Value::as_u64)
            .ok_or_else(|| self.failure(field, "an integer from 0 to 18446744073709551615"))
    }

    /// An object in this one; its fields are named `field.name` in messages.
    pub(super) fn object(&self, field: &str) -> Result<Document> {
        match self.fields.get(field) {
            Some(Value::Object(fields)) => Ok(Document {
                file: self.file.clone(),
                path: format!("{}{field}.", self.path),
                wrong: self.wrong,
                fields: fields.clone(),
            }),
            _ => Err(self.failure(field, "an object")),
        }
    }
}
