//! What is saved first, and at once: a checkpoint with our own figures, in one of two slots that
//! are written in turn, each in place, with one sync. A slot that a crash tore fails its check and
//! counts as empty; the other one, which was not written to, counts then.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::{Cursor, Progress, disk};
use crate::failure::{Failure, Result};

/// The version of [`Entry`]; another is refused.
pub const VERSION: u32 = 2;

/// Slots are padded to whole blocks, so that most writes change data in place and a sync need not
/// touch the file's size.
const BLOCK: usize = 4096;

/// Which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    pub fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Slot::A => "progress-a.json",
            Slot::B => "progress-b.json",
        })
    }
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// [`VERSION`].
    pub version: u32,
    /// Grows with each save: the later of two entries counts.
    pub sequence: u64,
    /// The scope key, named as in `cursor.json`.
    pub pack_key: String,
    pub output_id: String,
    /// The cursor that the figures belong to; none while nothing was taken.
    pub cursor: Option<Cursor>,
    /// What `cursor.json` may say, beside this cursor, until the next entry is written: it follows
    /// behind. None: there may be no such file yet. Any other word there is another producer's.
    pub may_say: Vec<Option<Cursor>>,
    pub progress: Option<Progress>,
    /// When it was saved, wall clock.
    pub updated_at_utc: String,
}

/// What a slot's file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// There is none, or it is empty.
    Nothing,
    /// Something that is no entry: it is being written, or a crash tore it.
    Torn,
    Entry(Box<Entry>),
}

/// Opens a slot for writing, making it if need be.
pub fn open(folder: &Path, slot: Slot) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(slot.path(folder))
}

/// Writes an entry over a slot. It is durable when the file's data is synced, which is the
/// caller's to do.
pub fn write(file: &File, entry: &Entry) -> io::Result<()> {
    let bytes = encode(entry)?;
    file.write_all_at(&bytes, 0)?;
    if file.metadata()?.len() > bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    Ok(())
}

fn encode(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(BLOCK);
    serde_json::to_writer(&mut bytes, entry)?;
    let check = const_hex::encode(Sha256::digest(&bytes));
    // Before the object's last brace.
    bytes.pop();
    bytes.extend_from_slice(format!(",\"check\":\"{check}\"}}\n").as_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    Ok(bytes)
}

/// sha256 hex of the entry's JSON without the check itself.
fn check(value: &Value) -> String {
    const_hex::encode(Sha256::digest(value.to_string()))
}

/// Reads a slot. `CHECKPOINT_UNREADABLE` if it is whole and not for us to understand: of another
/// version, or of another shape.
pub fn read(folder: &Path, slot: Slot) -> Result<Found> {
    let path = slot.path(folder);
    match disk::read(&path)? {
        Some((bytes, _)) if !bytes.is_empty() => {
            let entry = decode(&path.display().to_string(), &bytes)?;
            Ok(entry.map_or(Found::Torn, |entry| Found::Entry(Box::new(entry))))
        }
        _ => Ok(Found::Nothing),
    }
}

fn decode(object: &str, bytes: &[u8]) -> Result<Option<Entry>> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return Ok(None);
    };
    let found = value
        .as_object_mut()
        .and_then(|fields| fields.shift_remove("check"));
    if found.as_ref().and_then(Value::as_str) != Some(check(&value).as_str()) {
        return Ok(None);
    }
    let unreadable = || Failure::new(Reason::CheckpointUnreadable, object);
    if value["version"] != VERSION {
        return Err(unreadable()
            .field("version")
            .found(value["version"].to_string())
            .expected(VERSION.to_string())
            .detail("written by another version of worldstream"));
    }
    serde_path_to_error::deserialize(value)
        .map(Some)
        .map_err(|error| {
            unreadable()
                .field(error.path().to_string())
                .expected("progress as this version writes it")
                .cause(error.inner())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::conformance::progress;

    fn entry() -> Entry {
        let cursor = Cursor {
            last_file: "wörld/part-000000.parquet".into(),
            last_row_index: u64::MAX,
            last_ts_utc: None,
        };
        Entry {
            version: VERSION,
            sequence: 7,
            pack_key: "scope".into(),
            output_id: "out".into(),
            may_say: vec![None, Some(cursor.clone())],
            cursor: Some(cursor),
            progress: Some(progress(5)),
            updated_at_utc: "2026-01-01T00:00:00.000000Z".into(),
        }
    }

    #[test]
    fn an_entry_fills_whole_blocks_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(dir.path(), Slot::A).unwrap();
        let mut long = entry();
        long.progress.as_mut().unwrap().recent_quarantines = (0..5_000).collect();
        for entry in [long, entry()] {
            write(&file, &entry).unwrap();
            assert_eq!(
                read(dir.path(), Slot::A).unwrap(),
                Found::Entry(Box::new(entry))
            );
            assert_eq!(file.metadata().unwrap().len() % BLOCK as u64, 0);
        }
        assert_eq!(file.metadata().unwrap().len(), BLOCK as u64);
        assert_eq!(read(dir.path(), Slot::B).unwrap(), Found::Nothing);
        let empty = open(dir.path(), Slot::B).unwrap();
        assert_eq!(read(dir.path(), Slot::B).unwrap(), Found::Nothing);
        empty.write_all_at(b"{", 0).unwrap();
        assert_eq!(read(dir.path(), Slot::B).unwrap(), Found::Torn);
    }

    #[test]
    fn every_torn_write_counts_as_empty() {
        let old = encode(&entry()).unwrap();
        let mut next = entry();
        next.sequence = 8;
        next.progress.as_mut().unwrap().admitted = 999_999;
        let new = encode(&next).unwrap();
        assert_eq!(decode("x", &old).unwrap(), Some(entry()));
        let text = new.iter().rposition(|b| *b == b'}').unwrap() + 1;
        let mut torn = 0;
        for cut in 0..=new.len() {
            // The first bytes of the new entry over the old one, and over nothing.
            let mut mixed = old.clone();
            mixed[..cut].copy_from_slice(&new[..cut]);
            let read = decode("x", &mixed).unwrap();
            assert!(read.is_none() || read == Some(entry()) || read == Some(next.clone()));
            torn += usize::from(read.is_none());
            let short = decode("x", &new[..cut]).unwrap();
            assert_eq!(short.is_some(), cut >= text, "{cut}");
        }
        assert!(torn > 100, "{torn}");
    }

    #[test]
    fn a_whole_entry_of_another_shape_is_refused() {
        for (change, field) in [
            (("version", Value::from(1)), "version"),
            (("sequence", Value::from("x")), "sequence"),
            (("more", Value::from(1)), "more"),
            (("progress", serde_json::json!({"rows": 1})), "progress"),
        ] {
            let mut value = serde_json::to_value(entry()).unwrap();
            value[change.0] = change.1;
            let check = check(&value);
            value["check"] = check.into();
            let failure = decode("x", value.to_string().as_bytes()).unwrap_err();
            assert_eq!(failure.reason(), Reason::CheckpointUnreadable);
            assert!(failure.message().contains(field), "{failure}");
        }
    }
}
