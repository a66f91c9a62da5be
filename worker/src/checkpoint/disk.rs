//! What files must do here: be replaced whole, be read without surprises, and be on the disk when
//! we say so.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    path.with_file_name(format!(".{name}.worldstream-tmp"))
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

/// A name beside `path` for what is to take its place, which nobody else uses: there may be
/// several writers.
pub fn own_temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let any = (crate::gate::random() * (1u64 << 52) as f64) as u64;
    path.with_file_name(format!(".{name}.{any:013x}.worldstream-tmp"))
}

/// Replaces a file at once and durably, making its folder if need be: readers see the old content
/// or the new, whatever crashes, and the last of several writers counts.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    let temporary = own_temporary(path);
    let put = File::create_new(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if put.is_err() {
        remove_if_there(&temporary)?;
    }
    put?;
    sync_folder(folder)
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
