//! Checkpoints in files, byte-compatible with the reference (contracts section 7):
//! `<root>/<scope key>/output_id=<output id>/cursor.json`, replaced at once, and its history
//! `cursor.jsonl`.
//!
//! A save is three syncs, and each is needed: our figures must be on the disk before the cursor
//! that they belong to (1), the new cursor's bytes before the rename that puts them in place (2),
//! and the rename itself, in its folder, before we say that it is saved (3). The history is
//! appended to afterwards and not synced: nothing is ever read back from it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream_crds::Reason;

use super::disk::{self, Stamp};
use super::document::{self, CursorDocument};
use super::key::output_folder;
use super::lines::Lines;
use super::lock::Lock;
use super::order::{describe, forward};
use super::slots::{self, Entry, Slot};
use super::{Capabilities, Checkpoint, CheckpointKey, CheckpointStore, Lease};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// The cursor's file in an output's folder.
pub const CURSOR_FILE: &str = "cursor.json";
/// Every cursor that was saved, a line each.
pub const HISTORY_FILE: &str = "cursor.jsonl";

/// The file backend.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// A store below `root`, which is made when the first checkpoint is taken.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FileStore { root: root.into() }
    }

    fn place(&self, key: &CheckpointKey) -> Place {
        Place {
            folder: key.folder(&self.root),
            scope_key: key.scope_key(),
            output: Output::Is(key.output_id.clone()),
        }
    }
}

impl CheckpointStore for FileStore {
    /// A lock does not fence: it is the kernel's of one machine, never expires, and is never taken
    /// over from a process that may still run.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            fences: false,
            server: false,
            largest_row: i64::MAX as u64,
        }
    }

    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>> {
        let place = self.place(key);
        let output_id = key.output_id.clone();
        async move {
            let held = blocking(move || Held::take(place, output_id)).await?;
            Ok(Box::new(FileLease {
                loaded: held.current.clone(),
                held: Arc::new(Mutex::new(held)),
            }) as Box<dyn Lease>)
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>> {
        let place = self.place(key);
        async move { Ok(blocking(move || place.load()).await?.checkpoint) }.boxed()
    }
}

/// Disks may take long; the caller's thread has sockets to serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Reason::StreamFailed, "checkpoint store").cause(&error)),
    }
}

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
    stamp: Option<Stamp>,
    /// The slot of the checkpoint's progress.
    active: Option<Slot>,
    sequence: u64,
}

impl Place {
    fn cursor_path(&self) -> PathBuf {
        self.folder.join(CURSOR_FILE)
    }

    /// Reads a checkpoint whole. Without the lock a writer may be at work: then it is read again.
    pub fn load(&self) -> Result<Loaded> {
        let mut tries = 0;
        loop {
            let loaded = self.load_once()?;
            tries += 1;
            // While the cursor stays, the slot that belongs to it is not written to.
            if tries == 10 || Stamp::at(&self.cursor_path()).is_ok_and(|at| at == loaded.stamp) {
                return Ok(loaded);
            }
        }
    }

    fn load_once(&self) -> Result<Loaded> {
        let (document, stamp) = self.read_cursor()?.unzip();
        let mut entries = Vec::new();
        for slot in Slot::BOTH {
            if let Some(entry) = slots::read(&self.folder, slot)? {
                let path = slot.path(&self.folder);
                self.belongs(&path, &entry.pack_key, &entry.output_id)?;
                entries.push((slot, entry));
            }
        }
        let sequence = entries.iter().map(|(_, e)| e.sequence).max().unwrap_or(0);
        let output_id = match (&document, entries.first()) {
            (Some(document), _) => Some(document.output_id.clone()),
            (None, Some((_, entry))) => Some(entry.output_id.clone()),
            (None, None) => None,
        };
        let (cursor, updated_at_utc) = match document {
            Some(document) => (Some(document.cursor), document.updated_at_utc),
            None => (None, None),
        };
        let own = entries
            .into_iter()
            .filter(|(_, entry)| entry.cursor == cursor)
            .max_by_key(|(_, entry)| entry.sequence);
        let (active, progress) = match own {
            Some((slot, entry)) => (Some(slot), entry.progress),
            None => (None, None),
        };
        Ok(Loaded {
            checkpoint: Checkpoint { cursor, progress },
            output_id,
            updated_at_utc,
            stamp,
            active,
            sequence,
        })
    }

    fn read_cursor(&self) -> Result<Option<(CursorDocument, Stamp)>> {
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

/// Where in a save a test may stop it, look, or make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    ProgressWritten,
    CursorWritten,
    CursorReplaced,
    FolderSynced,
}

/// A checkpoint's folder, locked. All of it runs where it may block.
pub(super) struct Held {
    place: Place,
    output_id: String,
    lock: Lock,
    /// What is durable.
    pub current: Checkpoint,
    /// The cursor file as we last saw or left it.
    stamp: Option<Stamp>,
    slots: [File; 2],
    active: Option<Slot>,
    sequence: u64,
    /// A checkpoint whose cursor may or may not have replaced the current one: the rename or the
    /// folder's sync failed.
    staged: Option<(Slot, Checkpoint)>,
    history: Lines,
}

impl Held {
    pub fn take(place: Place, output_id: String) -> Result<Held> {
        let folder = &place.folder;
        let cannot = |action: &str, error: io::Error| disk::cannot(action, folder, &error);
        disk::create_folder(folder)
            .map_err(|error| cannot("make the checkpoint's folder", error))?;
        let lock = Lock::take(folder)?;
        let loaded = place.load()?;
        if let Some(cursor) = &loaded.checkpoint.cursor
            && loaded.checkpoint.progress.is_none()
        {
            tracing::warn!(
                output = output_id,
                file = cursor.last_file,
                row = cursor.last_row_index,
                "no figures belong to this cursor, another producer left it: counting begins after it"
            );
        }
        let open = |slot| slots::open(folder, slot).map_err(|error| cannot("write", error));
        let slots = [open(Slot::A)?, open(Slot::B)?];
        let history =
            Lines::open(&folder.join(HISTORY_FILE)).map_err(|error| cannot("write", error))?;
        disk::remove_if_there(&disk::temporary(&place.cursor_path()))
            .and_then(|()| disk::sync_folder(folder))
            .map_err(|error| cannot("write", error))?;
        Ok(Held {
            output_id,
            lock,
            current: loaded.checkpoint,
            stamp: loaded.stamp,
            slots,
            active: loaded.active,
            sequence: loaded.sequence,
            staged: None,
            history,
            place,
        })
    }

    /// Saves; `hook` is called after each step.
    pub fn save(
        &mut self,
        next: &Checkpoint,
        hook: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<()> {
        self.lock.check()?;
        self.reconcile()?;
        let path = self.place.cursor_path();
        forward(&path.display().to_string(), &self.current, next)?;
        let cannot = |error: io::Error| disk::cannot("save the checkpoint", &path, &error);
        hook(Step::Begun).map_err(cannot)?;

        let slot = self.active.map_or(Slot::A, Slot::other);
        self.sequence += 1;
        let entry = Entry::new(
            self.sequence,
            &self.place.scope_key,
            &self.output_id,
            next.cursor.clone(),
            next.progress.clone(),
        );
        let slot_file = &self.slots[slot as usize];
        slots::write(slot_file, &entry).map_err(cannot)?;
        hook(Step::ProgressWritten).map_err(cannot)?;
        let Some(cursor) = &next.cursor else {
            slot_file.sync_data().map_err(cannot)?;
            self.commit(slot, next.clone());
            return Ok(());
        };

        let mut bytes = document::encode(
            &self.place.scope_key,
            &self.output_id,
            cursor,
            EventTime::wall_now(),
        )?;
        // Both must be durable before the cursor is replaced, in whichever order: waiting for the
        // disk once instead of twice is a third of a save's time.
        let stamp = std::thread::scope(|threads| {
            let slot = threads.spawn(|| slot_file.sync_data());
            let stamp = disk::write_temporary(&path, &bytes);
            match slot.join() {
                Ok(synced) => synced.and(stamp),
                Err(_) => Err(io::Error::other("the syncing thread broke")),
            }
        })
        .map_err(cannot)?;
        hook(Step::CursorWritten).map_err(cannot)?;
        self.staged = Some((slot, next.clone()));
        std::fs::rename(disk::temporary(&path), &path).map_err(cannot)?;
        self.stamp = Some(stamp);
        hook(Step::CursorReplaced).map_err(cannot)?;
        disk::sync_folder(&self.place.folder).map_err(cannot)?;
        self.commit(slot, next.clone());
        hook(Step::FolderSynced).map_err(cannot)?;

        bytes.push(b'\n');
        self.history
            .append(&bytes)
            .map_err(|error| disk::cannot("append to", self.history.path(), &error))
    }

    fn commit(&mut self, slot: Slot, checkpoint: Checkpoint) {
        self.staged = None;
        self.active = Some(slot);
        self.current = checkpoint;
    }

    /// Finds out what the cursor on disk is: the one that we left, or one that we staged and did
    /// not see through. `CHECKPOINT_CONFLICT` if it is a third: the reference takes no lock.
    fn reconcile(&mut self) -> Result<()> {
        let path = self.place.cursor_path();
        let cannot = |error: io::Error| disk::cannot("look at the cursor", &path, &error);
        if self.staged.is_none() && Stamp::at(&path).map_err(cannot)? == self.stamp {
            return Ok(());
        }
        let (document, stamp) = self.place.read_cursor()?.unzip();
        let there = document.map(|document| document.cursor);
        if let Some((slot, staged)) = self.staged.take_if(|(_, staged)| staged.cursor == there) {
            // Neither slot may be written to before it is certain which cursor is on the disk.
            if let Err(error) = disk::sync_folder(&self.place.folder) {
                self.staged = Some((slot, staged));
                return Err(cannot(error));
            }
            self.commit(slot, staged);
        } else if there != self.current.cursor {
            return Err(
                Failure::new(Reason::CheckpointConflict, path.display().to_string())
                    .found(document::describe(there.as_ref()))
                    .expected(document::describe(self.current.cursor.as_ref()))
                    .detail("another producer moved the cursor while this one held it"),
            );
        }
        self.staged = None;
        self.stamp = stamp;
        Ok(())
    }
}

/// A lease on a folder. What is being written when it is dropped is written to its end, and only
/// then is the lock released.
struct FileLease {
    loaded: Checkpoint,
    held: Arc<Mutex<Held>>,
}

impl Lease for FileLease {
    fn loaded(&self) -> &Checkpoint {
        &self.loaded
    }

    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        let held = Arc::clone(&self.held);
        let checkpoint = checkpoint.clone();
        blocking(move || {
            held.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .save(&checkpoint, &mut |_| Ok(()))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests;
