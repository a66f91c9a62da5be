//! What files must do here: be replaced whole, be read without surprises, and be on the disk when
//! we say so.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use worldstream_crds::{ExitCode, Reason};

use crate::failure::{Failure, Result};

/// More than any cursor or progress needs; a file beyond it is something else.
pub const MAX_BYTES: u64 = 16 << 20;

/// Tells one version of a replaced file from the next without reading it.
#[derive(Debug, Clone)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// While a file is open, no other gets the number of its inode.
    _open: Option<Arc<File>>,
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        let identity = |s: &Stamp| (s.device, s.inode, s.bytes, s.modified);
        identity(self) == identity(other)
    }
}

impl Stamp {
    fn new(metadata: &Metadata, open: Option<Arc<File>>) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            _open: open,
        }
    }

    /// The stamp of an open file, which stays unique as long as the stamp is kept.
    fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Stamp::new(&metadata, Some(Arc::new(file))))
    }

    /// The stamp of the file at a path, not followed if it is a link; none if there is none.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Stamp::new(&metadata, None))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads a small file whole; none if it (or its folder) is not there. `CHECKPOINT_UNREADABLE` for
/// anything but a plain, readable file: a pipe would block for ever, and a link may be shared.
pub fn read(path: &Path) -> Result<Option<(Vec<u8>, Stamp)>> {
    let unreadable = || {
        Failure::new(Reason::CheckpointUnreadable, path.display().to_string()).expected("a file")
    };
    let seen = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable().cause(&error)),
    };
    if !seen.is_file() {
        let kind = if seen.is_dir() {
            "a folder"
        } else if seen.is_symlink() {
            "a symbolic link"
        } else {
            "a special file"
        };
        return Err(unreadable().found(kind));
    }
    if seen.len() > MAX_BYTES {
        return Err(unreadable()
            .found(format!("{} bytes", seen.len()))
            .expected(format!("a file of at most {MAX_BYTES} bytes")));
    }
    let opened = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        (&file).take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok((bytes, Stamp::of(file)?))
    });
    match opened {
        Ok(read) => Ok(Some(read)),
        // It was moved away since.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable()
            .found("a file that cannot be read")
            .cause(&error)),
    }
}

/// Makes the entries of a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, and makes their entries durable.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        // Another process was faster.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where a replacement of `path` is written first: in the same folder, hidden.
pub fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{SUFFIX}"))
}

/// Writes the temporary file of `path` and makes its content durable; gives its stamp, which a
/// rename keeps. What a crash left there is replaced.
pub fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<Stamp> {
    let temporary = temporary(path);
    remove_if_there(&temporary)?;
    // A new file, never somebody's link.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Stamp::of(file)
}

/// Removes a file; one that is not there is fine.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the names of files end in that are to take another's place.
const SUFFIX: &str = ".worldstream-tmp";
/// Nobody writes to such a file for longer than this.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// How many folders a process remembers to have swept.
const SWEPT: usize = 1_000;

/// A name beside `path` for what is to take its place, which nobody else uses: there may be
/// several writers.
fn own_temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let any = (crate::gate::random() * (1u64 << 52) as f64) as u64;
    path.with_file_name(format!(".{name}.{any:013x}{SUFFIX}"))
}

/// Whether a name is one that [`own_temporary`] gives.
fn is_own_temporary(name: &str) -> bool {
    let any = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(SUFFIX))
        .and_then(|name| name.rsplit_once('.'));
    any.is_some_and(|(of, any)| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        !of.is_empty() && any.len() == 13 && any.bytes().all(hex)
    })
}

/// Replaces a file at once and durably, making its folder if need be: readers see the old content
/// or the new, whatever crashes, and the last of several writers counts.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, |new| fs::rename(new, path))
}

/// Makes a file with this content likewise; false if there is one, which stays.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    // A link is never made over a file that is there.
    match put(path, bytes, |new| fs::hard_link(new, path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file beside `path`, whole and durable, and has it put there.
fn put(
    path: &Path,
    bytes: &[u8],
    into_place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    sweep(folder);
    let new = own_temporary(path);
    let done = File::create_new(&new)
        .and_then(|mut file| {
            // Held for as long as it is written, for those who sweep; some file systems cannot.
            let _ = file.try_lock();
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| into_place(&new));
    remove_if_there(&new)?;
    done?;
    sync_folder(folder)
}

/// Removes what crashes left of [`put`] in a folder, once a process: files with such a name that
/// are older than a day and that nobody holds. What cannot be removed is in nobody's way.
fn sweep(folder: &Path) {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    {
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() >= SWEPT {
            done.clear();
        }
        if !done.insert(folder.to_owned()) {
            return;
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let left = entry.file_name().to_str().is_some_and(is_own_temporary);
        if left && is_abandoned(&entry.path()).unwrap_or(false) {
            let _ = remove_if_there(&entry.path());
        }
    }
}

/// Whether a file is older than a day and nobody holds it.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    let seen = fs::symlink_metadata(path)?;
    // One of the future is of another clock, and may be new.
    let old = seen.modified()?.elapsed().is_ok_and(|age| age > LONG);
    Ok(seen.is_file() && old && File::open(path)?.try_lock().is_ok())
}

/// A failure to write below `path`. The contract has no code for a store that is away, so
/// `STREAM_FAILED`: unavailable where trying again may help, failed closed where only a person
/// can.
pub fn cannot(action: &str, path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let exit = match error.kind() {
        Kind::PermissionDenied
        | Kind::ReadOnlyFilesystem
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::InvalidInput
        | Kind::InvalidFilename
        | Kind::Unsupported => ExitCode::FailClosed,
        _ => ExitCode::Unavailable,
    };
    Failure::new(Reason::StreamFailed, path.display().to_string())
        .detail(format!("cannot {action}: {error}"))
        .exits(exit)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_another_writer_left_is_in_nobodys_way_and_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        let theirs = own_temporary(&path);
        fs::write(&theirs, b"half of th").unwrap();
        assert_ne!(own_temporary(&path), theirs);
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(&theirs).unwrap(), b"half of th");
    }

    #[test]
    fn what_crashes_left_goes_after_a_day_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, days: u64| {
            let file = File::create_new(dir.path().join(name)).unwrap();
            let age = Duration::from_secs(days * 24 * 60 * 60 + 60);
            file.set_modified(SystemTime::now() - age).unwrap();
            file
        };
        let left = own_temporary(Path::new("c.json"));
        drop(put(left.to_str().unwrap(), 1));
        let others = [
            // It may be written at this moment.
            (".c.json.00000000000aa.worldstream-tmp", 0),
            // Nobody else's, however old.
            (".c.json.worldstream-tmp", 9),
            (".c.json.00000000000AA.worldstream-tmp", 9),
            (".c.json.000000000000aa.worldstream-tmp", 9),
            ("c.json.00000000000aa.worldstream-tmp", 9),
            (".c.json.00000000000aa.tmp", 9),
            ("d.json", 9),
        ];
        for (name, days) in others {
            drop(put(name, days));
        }
        // However slow its writer is.
        let held = ".d.json.0123456789abc.worldstream-tmp";
        let holder = put(held, 9);
        holder.try_lock().unwrap();
        // Not a file of anybody's.
        let folder = ".e.json.0123456789abc.worldstream-tmp";
        fs::create_dir(dir.path().join(folder)).unwrap();

        replace(&dir.path().join("c.json"), b"two").unwrap();
        let mut expected: Vec<&str> = others.map(|(name, _)| name).to_vec();
        expected.extend([held, folder, "c.json"]);
        expected.sort_unstable();
        let mut found: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/c.json");
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_that_fails_leaves_what_was_there_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        // A folder with something in it cannot be replaced by a file.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"one").unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_only_a_person_can_mend_is_no_outage() {
        for (kind, exit) in [
            (io::ErrorKind::PermissionDenied, ExitCode::FailClosed),
            (io::ErrorKind::ReadOnlyFilesystem, ExitCode::FailClosed),
            (io::ErrorKind::StorageFull, ExitCode::Unavailable),
            (io::ErrorKind::TimedOut, ExitCode::Unavailable),
        ] {
            let failure = cannot("write", Path::new("/x"), &io::Error::from(kind));
            assert_eq!(failure.exit_code(), exit, "{kind:?}");
        }
    }
}
