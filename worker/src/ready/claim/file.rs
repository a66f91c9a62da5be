//! A claim in a folder: a file that the kernel locks for as long as its holder lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Claim, Document, Held, Memory, Taken};
use crate::checkpoint::disk;
use crate::failure::Result;

/// A claim's file, locked by this process. The lock goes with the file.
#[derive(Debug)]
pub(super) struct Locked {
    path: PathBuf,
    file: File,
    document: Mutex<Document>,
}

/// Locks the file of a claim, or says who has.
pub(super) fn take(path: &Path, document: Document) -> Result<Taken> {
    let cannot = |error: &io::Error| disk::cannot("claim the message with", path, error);
    let parent = path.parent().map_or(Ok(()), disk::create_folder);
    parent.map_err(|error| cannot(&error))?;
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| cannot(&error))?;
        let locked = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        };
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        read.map_err(|error| cannot(&error))?;
        let found = serde_json::from_slice::<Document>(&bytes).ok();
        if !locked {
            let who = found.map_or("another process".into(), |found| found.holder);
            return Ok(Taken::Theirs(who));
        }
        // Somebody may have taken the file away between opening and locking it.
        if !is_at(&file, path).map_err(|error| cannot(&error))? {
            continue;
        }
        let memory = found.map(|found| found.memory).unwrap_or_default();
        let locked = Locked {
            path: path.to_owned(),
            file,
            document: Mutex::new(Document { memory, ..document }),
        };
        locked.remember(|_| ())?;
        return Ok(Taken::Ours(Claim {
            held: Held::File(locked),
        }));
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Locked {
    fn document(&self) -> MutexGuard<'_, Document> {
        // Nothing is left half done where a panic could happen.
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> Memory {
        self.document().memory.clone()
    }

    /// Writes the whole document over the old one and syncs it. One write, so that a reader sees
    /// the old one or the new one; what a longer one left behind it is white space or cut off.
    pub(super) fn remember(&self, change: impl FnOnce(&mut Memory)) -> Result<()> {
        let mut document = self.document();
        change(&mut document.memory);
        let write = || -> io::Result<()> {
            let mut bytes = serde_json::to_vec(&*document)?;
            bytes.push(b'\n');
            let old = self.file.metadata()?.len() as usize;
            let new = bytes.len();
            bytes.resize(new.max(old), b' ');
            self.file.write_all_at(&bytes, 0)?;
            self.file.set_len(new as u64)?;
            self.file.sync_data()
        };
        write().map_err(|error| disk::cannot("write", &self.path, &error))
    }
}
