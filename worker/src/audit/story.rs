//! A platform run's story: everything that was written about it, in the order of its times.

use serde::Serialize;
use serde_json::{Value, json};

use super::records::Records;
use crate::failure::Result;
use crate::time::EventTime;

/// Where something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `session.jsonl`.
    Session,
    /// `obs/governance/events/*.json`.
    Governance,
    /// `wsp/receipts/*.json`.
    Receipt,
    /// `wsp/ready_runs/*.jsonl`.
    Ready,
}

impl Source {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Session => "session",
            Source::Governance => "governance",
            Source::Receipt => "receipt",
            Source::Ready => "ready",
        }
    }
}

/// One thing that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// When; the beginning of time, if it does not say.
    pub ts_utc: EventTime,
    /// Where.
    pub source: Source,
    /// What: the event's kind, the fact's family, the output, the record's status.
    pub kind: String,
    /// What it says, whole.
    pub document: Value,
}

/// The story of a run, and what of it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// In the order of their times.
    pub entries: Vec<Entry>,
    /// Lines and objects that are no JSON, by name.
    pub unreadable: Vec<String>,
}

/// Where things are, below a run's prefix: their source, a folder, and how names end.
const PLACES: [(Source, &str, &str); 4] = [
    (Source::Session, "", ".jsonl"),
    (Source::Governance, "obs/governance/events", ".json"),
    (Source::Receipt, "wsp/receipts", ".json"),
    (Source::Ready, "wsp/ready_runs", ".jsonl"),
];

/// Reads a run's story below its prefix. A run that nothing was written about has an empty one.
///
/// # Errors
/// `STREAM_FAILED` where it cannot be read.
pub async fn read(run: &Records) -> Result<Story> {
    let mut story = Story::default();
    for (source, folder, end) in PLACES {
        for name in run.list(folder).await? {
            let ours = source != Source::Session || name.starts_with("session");
            if !ours || !name.ends_with(end) || name.starts_with('.') {
                continue;
            }
            let relative = match folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            let bytes = run.read(&relative).await?.unwrap_or_default();
            story.add(source, &relative, end == ".jsonl", &bytes);
        }
    }
    story
        .entries
        .sort_by_key(|entry| (entry.ts_utc, entry.source));
    Ok(story)
}

impl Story {
    fn add(&mut self, source: Source, name: &str, lines: bool, bytes: &[u8]) {
        let pieces: Vec<&[u8]> = match lines {
            true => bytes.split(|byte| *byte == b'\n').collect(),
            false => vec![bytes],
        };
        for (index, piece) in pieces.into_iter().enumerate() {
            if piece.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Value>(piece) {
                Ok(document @ Value::Object(_)) => self.entries.push(entry(source, document)),
                _ if lines => self.unreadable.push(format!("{name}:{}", index + 1)),
                _ => self.unreadable.push(name.to_owned()),
            }
        }
    }
}

fn entry(source: Source, document: Value) -> Entry {
    let (kind, time) = match source {
        Source::Session => ("event_kind", "ts_utc"),
        Source::Governance => ("event_family", "ts_utc"),
        Source::Receipt => ("output_id", "written_at_utc"),
        Source::Ready => ("status", "ts_utc"),
    };
    let text = |field: &str| document[field].as_str().unwrap_or_default();
    Entry {
        ts_utc: EventTime::parse_rfc3339(text(time)).unwrap_or(EventTime::MIN),
        source,
        kind: text(kind).to_owned(),
        document,
    }
}

impl Entry {
    /// What it says, in short: the fields that differ from one entry to the next.
    pub fn says(&self) -> Vec<(String, String)> {
        let said = match self.source {
            Source::Session | Source::Governance => self.document["details"].clone(),
            Source::Receipt => {
                let field = |name: &str| self.document[name].clone();
                json!({
                    "outcome": field("outcome"),
                    "rows": field("rows"),
                    "admitted": field("admitted"),
                    "duplicate": field("duplicate"),
                    "quarantined": field("quarantined"),
                    "reason": self.document["failure"]["reason"].clone(),
                })
            }
            Source::Ready => {
                let mut record = self.document.clone();
                if let Some(fields) = record.as_object_mut() {
                    fields.retain(|name, _| name != "status" && name != "ts_utc");
                }
                record
            }
        };
        let Value::Object(fields) = said else {
            return Vec::new();
        };
        let said = fields.into_iter().filter(|(_, value)| !value.is_null());
        said.map(|(name, value)| (name, plain(&value))).collect()
    }
}

/// A value as people read it: ids of 32 and 64 digits by their ends, so that they can be told
/// apart and looked for.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            match (text.len(), hex) {
                // Sliced at ASCII digits.
                (32 | 64, true) => format!("{}…{}", &text[..6], &text[text.len() - 6..]),
                _ => crate::failure::one_line(text),
            }
        }
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let at = |second: u32| format!("\"2026-01-01T00:00:{second:02}.000000Z\"");
        put(
            "session.jsonl",
            &format!(
                "{{\"event_kind\": \"a\", \"ts_utc\": {}, \"details\": {{\"x\": 1}}}}\n{{broken\n\
                 {{\"event_kind\": \"d\", \"ts_utc\": {}, \"details\": {{}}}}\n",
                at(1),
                at(9)
            ),
        );
        put(
            "obs/governance/events/1.json",
            &format!("{{\"event_family\": \"b\", \"ts_utc\": {}}}", at(2)),
        );
        put(
            "wsp/receipts/out.json",
            &format!(
                "{{\"output_id\": \"c\", \"rows\": 7, \"written_at_utc\": {}}}",
                at(3)
            ),
        );
        put(
            "wsp/ready_runs/m.jsonl",
            &format!(
                "{{\"status\": \"e\", \"emitted\": 7, \"ts_utc\": {}}}\n",
                at(10)
            ),
        );
        put("wsp/ready_runs/m.claim", "{}");
        put("other.jsonl", "{\"event_kind\": \"x\"}\n");
        let story = read(&Records::Folder(dir.path().to_owned())).await.unwrap();
        let kinds: Vec<_> = story.entries.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["a", "b", "c", "d", "e"]);
        assert_eq!(story.unreadable, ["session.jsonl:2"]);
        assert_eq!(story.entries[4].says(), [("emitted".into(), "7".into())]);
        let nothing = Records::Folder(dir.path().join("none"));
        assert_eq!(read(&nothing).await.unwrap(), Story::default());
    }
}
