//! The lock of an output's folder: held by the kernel for the life of a lease, so that two
//! processes of a machine never stream one output, and a killed one leaves nothing to clean up.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use super::disk::{self, Stamp};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// The lock's file in the output's folder. It stays when the lock is released: removing it would
/// let two processes lock two files of one name.
pub const LOCK_FILE: &str = "worldstream.lock";

/// A look at the locks takes them for a moment (see [`holder`]); taking one waits that out.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Who holds a lock, for messages; what is locked is the kernel's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The machine (or pod) that it runs on.
    pub host: String,
    /// When it took the lock, wall clock.
    pub started_at_utc: String,
}

impl Holder {
    /// This process, from now on.
    pub fn of_this_process() -> Holder {
        Holder {
            pid: std::process::id(),
            host: host(),
            started_at_utc: EventTime::wall_now().to_string(),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} on {} since {}",
            self.pid, self.host, self.started_at_utc
        )
    }
}

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Locks a folder, which must exist. `CHECKPOINT_CONFLICT`, naming the holder, if another has
    /// it. Blocks for up to 200 ms.
    pub fn take(folder: &Path) -> Result<Lock> {
        let path = folder.join(LOCK_FILE);
        let cannot = |error: &io::Error| disk::cannot("lock the checkpoint", &path, error);
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| cannot(&error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(cannot(&error)),
            }
            let lock = Lock {
                path: path.clone(),
                file,
            };
            // The folder may have been moved away between opening and locking.
            if lock.is_at_its_path().map_err(|error| cannot(&error))? {
                lock.sign().map_err(|error| cannot(&error))?;
                return Ok(lock);
            }
        }
        let holder = match read_holder(&path) {
            Some(holder) => holder.to_string(),
            None => "another process".to_owned(),
        };
        Err(
            Failure::new(Reason::CheckpointConflict, folder.display().to_string())
                .found(format!("held by {holder}"))
                .expected("no other holder"),
        )
    }

    /// `CHECKPOINT_CONFLICT` if the folder is no longer the one that was locked: it was reset,
    /// moved or removed, and another process may have the new one.
    pub fn check(&self) -> Result<()> {
        match self.is_at_its_path() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(
                Reason::CheckpointConflict,
                self.path.display().to_string(),
            )
            .found("another lock file, or none")
            .expected("the one that this process holds")
            .detail("the checkpoint was removed or reset while it was streamed")),
            Err(error) => Err(disk::cannot("look at the lock", &self.path, &error)),
        }
    }

    fn is_at_its_path(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sign(&self) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Holder::of_this_process())?;
        line.push(b'\n');
        self.file.set_len(0)?;
        (&self.file).write_all(&line)
    }
}

/// Who holds a folder's lock now; none if nobody does. `Err` says that somebody does without
/// having said who. Takes the lock for a moment, shared, so that two lookers do not see each
/// other.
pub fn holder(folder: &Path) -> io::Result<Option<Result<Holder, ()>>> {
    let path = folder.join(LOCK_FILE);
    if Stamp::at(&path)?.is_none() {
        return Ok(None);
    }
    match File::open(&path)?.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&path).ok_or(()))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_holder(path: &Path) -> Option<Holder> {
    serde_json::from_slice(&disk::read(path).ok()??.0).ok()
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "an unknown host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_who_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        let failure = Lock::take(dir.path()).unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointConflict);
        let pid = format!("process {}", std::process::id());
        assert!(failure.message().contains(&pid), "{failure}");
        let seen = holder(dir.path()).unwrap().unwrap().unwrap();
        assert_eq!(seen.pid, std::process::id());
        drop(held);
        assert_eq!(holder(dir.path()).unwrap(), None);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        for left in [
            "",
            "{\"pid\": 1",
            "{\"pid\":1,\"host\":\"h\",\"started_at_utc\":\"x\"}\n",
        ] {
            std::fs::write(dir.path().join(LOCK_FILE), left).unwrap();
            assert_eq!(holder(dir.path()).unwrap(), None);
            Lock::take(dir.path()).unwrap();
        }
    }

    #[test]
    fn a_holder_who_did_not_sign_is_still_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(Err(())));
        let failure = Lock::take(dir.path()).unwrap_err();
        assert!(failure.message().contains("held by another process"));
        drop(held);
    }

    #[test]
    fn a_folder_that_was_moved_away_is_a_lost_lock() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        let held = Lock::take(&folder).unwrap();
        held.check().unwrap();
        std::fs::rename(&folder, dir.path().join("b")).unwrap();
        assert_eq!(
            held.check().unwrap_err().reason(),
            Reason::CheckpointConflict
        );
        std::fs::create_dir(&folder).unwrap();
        let other = Lock::take(&folder).unwrap();
        assert_eq!(
            held.check().unwrap_err().reason(),
            Reason::CheckpointConflict
        );
        other.check().unwrap();
    }
}
