//! Checkpoints in files, byte-compatible with the reference (contracts section 7):
//! `<root>/<scope key>/output_id=<output id>/cursor.json`, replaced at once, and its history
//! `cursor.jsonl`.
//!
//! A save is one sync: cursor and figures are written over the [slot](super::slots) that the last
//! save did not use, and when its data is on the disk they are saved. The reference's files take
//! three syncs and follow [behind](super::mirror); a slot names what they may say meanwhile, so
//! that after a crash it is clear whether the slot is ahead of them or another producer is.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream_crds::Reason;

use super::disk;
use super::document;
use super::lock::Lock;
use super::mirror::{CursorFile, Mirror, Saved, Shared};
use super::order::forward;
use super::place::{Output, Place};
use super::slots::{self, Entry, Slot};
use super::{Capabilities, Checkpoint, CheckpointKey, CheckpointStore, Lease};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

pub use super::mirror::HISTORY_FILE;
pub use super::place::CURSOR_FILE;

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
        Capabilities { fences: false }
    }

    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>> {
        let place = self.place(key);
        let output_id = key.output_id.clone();
        async move {
            let lease = blocking(move || FileLease::take(&place, &output_id)).await?;
            Ok(Box::new(lease) as Box<dyn Lease>)
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>> {
        let place = self.place(key);
        async move { Ok(blocking(move || place.load()).await?.checkpoint) }.boxed()
    }
}

/// Disks may take long; the caller's thread may have other things to do.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Reason::StreamFailed, "checkpoint store").cause(&error)),
    }
}

/// Where in a save a test may stop it, look, or make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    Written,
    Synced,
}

/// A checkpoint's folder, locked. All of it runs where it may block.
pub(super) struct Held {
    place: Place,
    output_id: String,
    /// Released when everything else is at rest.
    lock: Lock,
    /// What is durable.
    pub current: Checkpoint,
    slots: [File; 2],
    active: Option<Slot>,
    /// The active slot says no more of `cursor.json` than that it has the slot's own cursor.
    at_rest: bool,
    sequence: u64,
    shared: Arc<Shared>,
}

impl Held {
    /// Locks and reads a checkpoint, and brings the reference's files up to it where a crash left
    /// them behind.
    pub fn take(place: &Place, output_id: &str) -> Result<(Held, CursorFile)> {
        let folder = &place.folder;
        let cannot = |action: &str, error: io::Error| disk::cannot(action, folder, &error);
        disk::create_folder(folder)
            .map_err(|error| cannot("make the checkpoint's folder", error))?;
        let lock = Lock::take(folder)?;
        let loaded = place.load_locked()?;
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
        let shared = Shared::new(loaded.mirrored.clone());
        let mut file = CursorFile::open(place, output_id, &loaded, shared.clone())
            .map_err(|error| cannot("write", error))?;
        if let Some(cursor) = &loaded.checkpoint.cursor {
            let at = EventTime::wall_now();
            let cursor = cursor.clone();
            shared.want(Saved { cursor, at });
            file.replace(&mut |_| Ok(()))?;
        }
        let held = Held {
            output_id: output_id.to_owned(),
            lock,
            current: loaded.checkpoint,
            slots,
            active: loaded.active,
            at_rest: loaded.may_say.is_empty(),
            sequence: loaded.sequence,
            shared,
            place: place.clone(),
        };
        Ok((held, file))
    }

    /// Saves; `hook` is called after each step. While the reference's files cannot follow, nothing
    /// more is saved.
    pub fn save(
        &mut self,
        next: &Checkpoint,
        hook: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<()> {
        self.lock.check()?;
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        forward(
            &self.place.cursor_path().display().to_string(),
            &self.current,
            next,
        )?;
        if let Some(cursor) = &next.cursor {
            document::fits(cursor)?;
        }
        self.write(next, hook)
    }

    /// Once the reference's files say what was saved last, nothing else is theirs to say.
    pub fn rest(&mut self) -> Result<()> {
        if self.at_rest || self.active.is_none() {
            return Ok(());
        }
        self.lock.check()?;
        let current = self.current.clone();
        self.write(&current, &mut |_| Ok(()))
    }

    fn write(
        &mut self,
        next: &Checkpoint,
        hook: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<()> {
        let slot = self.active.map_or(Slot::A, Slot::other);
        let path = slot.path(&self.place.folder);
        let cannot = |error: io::Error| disk::cannot("save the checkpoint", &path, &error);
        hook(Step::Begun).map_err(cannot)?;
        self.sequence += 1;
        let at = EventTime::wall_now();
        let may_say = self.shared.may_say(next.cursor.as_ref());
        let at_rest = may_say.is_empty();
        let entry = Entry {
            version: slots::VERSION,
            sequence: self.sequence,
            pack_key: self.place.scope_key.clone(),
            output_id: self.output_id.clone(),
            cursor: next.cursor.clone(),
            may_say,
            progress: next.progress.clone(),
            updated_at_utc: at.to_string(),
        };
        let file = &self.slots[slot as usize];
        slots::write(file, &entry).map_err(cannot)?;
        hook(Step::Written).map_err(cannot)?;
        file.sync_data().map_err(cannot)?;
        self.active = Some(slot);
        self.at_rest = at_rest;
        self.current = next.clone();
        if let Some(cursor) = entry.cursor {
            self.shared.want(Saved { cursor, at });
        }
        hook(Step::Synced).map_err(cannot)
    }
}

/// A lease on a folder. When it is dropped, the reference's files are brought up to what was saved,
/// and only then is the lock released.
struct FileLease {
    loaded: Checkpoint,
    // Before what holds the lock.
    mirror: Mirror,
    held: Held,
}

impl FileLease {
    fn take(place: &Place, output_id: &str) -> Result<FileLease> {
        let (held, file) = Held::take(place, output_id)?;
        let mirror = Mirror::start(file)
            .map_err(|error| disk::cannot("start a thread for", &place.cursor_path(), &error))?;
        Ok(FileLease {
            loaded: held.current.clone(),
            mirror,
            held,
        })
    }
}

impl Lease for FileLease {
    fn loaded(&self) -> &Checkpoint {
        &self.loaded
    }

    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        async { self.held.save(checkpoint, &mut |_| Ok(())) }.boxed()
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<()>> {
        async {
            self.mirror.settle()?;
            self.held.rest()
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
