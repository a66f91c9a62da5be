//! Where a checkpoint is, and what is there: the newest of `cursor.json` and our own slots.
//!
//! A slot is ahead of `cursor.json` while that is still being brought up to date. It counts if
//! the file says what it may say then, which the slot names; a file that says anything else was
//! moved by another producer, and what it says counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use worldstream_crds::Reason;

use super::disk::{self, Stamp};
use super::document::{self, CursorDocument};
use super::key::output_folder;
use super::slots::{self, Found, Slot};
use super::{Checkpoint, Cursor};
use crate::failure::{Failure, Result};

/// The cursor's file in an output's folder.
pub const CURSOR_FILE: &str = "cursor.json";

/// How often, and how far apart, a folder is looked at while somebody writes to it.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Which output a folder is for.
#[derive(Debug, Clone)]
pub(super) enum Output {
    /// This one.
    Is(String),
    /// Any whose folder has this name: all that a look at the folder knows.
    InFolder(String),
}

/// Where a checkpoint is, and whose what is there must be.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub folder: PathBuf,
    pub scope_key: String,
    pub output: Output,
}

/// What a folder holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub checkpoint: Checkpoint,
    /// The output's exact id, if anything there names it.
    pub output_id: Option<String>,
    pub updated_at_utc: Option<String>,
    /// What `cursor.json` says, which may be older.
    pub mirrored: Option<Cursor>,
    /// Of `cursor.json`.
    pub stamp: Option<Stamp>,
    /// The slot that counts.
    pub active: Option<Slot>,
    /// What else `cursor.json` might say while that slot counts.
    pub may_say: Vec<Option<Cursor>>,
    /// The highest of any slot.
    pub sequence: u64,
    /// A slot held something that is no entry: a crash tore it, or it is being written.
    torn: bool,
}

impl Place {
    pub fn cursor_path(&self) -> PathBuf {
        self.folder.join(CURSOR_FILE)
    }

    /// Looks at a checkpoint that somebody may be writing to meanwhile.
    pub fn load(&self) -> Result<Loaded> {
        let mut looks = 1;
        loop {
            let loaded = self.load_locked()?;
            // Slots that were read while the cursor stayed are those that belong to it.
            let steady = Stamp::at(&self.cursor_path()).is_ok_and(|at| at == loaded.stamp);
            if looks == LOOKS || steady && !loaded.torn {
                return Ok(loaded);
            }
            looks += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// Reads a checkpoint that nobody else writes to.
    pub fn load_locked(&self) -> Result<Loaded> {
        let (document, stamp) = self.read_cursor()?.unzip();
        let mut entries = Vec::new();
        let mut torn = false;
        for slot in Slot::BOTH {
            match slots::read(&self.folder, slot)? {
                Found::Nothing => {}
                Found::Torn => torn = true,
                Found::Entry(entry) => {
                    let path = slot.path(&self.folder);
                    self.belongs(&path, &entry.pack_key, &entry.output_id)?;
                    entries.push((slot, entry));
                }
            }
        }
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.sequence));
        let sequence = entries.first().map_or(0, |(_, entry)| entry.sequence);
        let output_id = match (&document, entries.first()) {
            (Some(document), _) => Some(document.output_id.clone()),
            (None, Some((_, entry))) => Some(entry.output_id.clone()),
            (None, None) => None,
        };
        let (mirrored, updated) = match document {
            Some(document) => (Some(document.cursor), document.updated_at_utc),
            None => (None, None),
        };
        // Only the newest entry may be ahead of the file.
        let own = entries.into_iter().enumerate().find(|(age, (_, entry))| {
            entry.cursor == mirrored || *age == 0 && entry.may_say.contains(&mirrored)
        });
        let mut loaded = Loaded {
            checkpoint: Checkpoint {
                cursor: mirrored.clone(),
                progress: None,
            },
            output_id,
            updated_at_utc: updated,
            mirrored,
            stamp,
            active: None,
            may_say: Vec::new(),
            sequence,
            torn,
        };
        if let Some((_, (slot, entry))) = own {
            if entry.cursor != loaded.mirrored {
                loaded.updated_at_utc = Some(entry.updated_at_utc);
            }
            loaded.checkpoint = Checkpoint {
                cursor: entry.cursor,
                progress: entry.progress,
            };
            loaded.active = Some(slot);
            loaded.may_say = entry.may_say;
        }
        Ok(loaded)
    }

    /// What `cursor.json` says.
    pub fn read_cursor(&self) -> Result<Option<(CursorDocument, Stamp)>> {
        let path = self.cursor_path();
        let Some((bytes, stamp)) = disk::read(&path)? else {
            return Ok(None);
        };
        let document = document::decode(&path.display().to_string(), &bytes)?;
        self.belongs(&path, &document.pack_key, &document.output_id)?;
        Ok(Some((document, stamp)))
    }

    fn belongs(&self, path: &Path, scope_key: &str, output_id: &str) -> Result<()> {
        let foreign = |field: &str, found: &str, expected: String| {
            Err(
                Failure::new(Reason::CheckpointUnreadable, path.display().to_string())
                    .field(field)
                    .found(format!("{found:?}"))
                    .expected(expected)
                    .detail("it is another stream's"),
            )
        };
        if scope_key != self.scope_key {
            return foreign("pack_key", scope_key, format!("{:?}", self.scope_key));
        }
        match &self.output {
            Output::Is(id) if id != output_id => foreign("output_id", output_id, format!("{id:?}")),
            Output::InFolder(name) if *name != output_folder(output_id) => {
                foreign("output_id", output_id, format!("that of the folder {name}"))
            }
            _ => Ok(()),
        }
    }
}
