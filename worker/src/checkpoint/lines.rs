//! Files of lines that several processes append to, and that no crash may leave unreadable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often, and how far apart, a last line without its newline is looked at before it counts as
/// torn: another process may be in the middle of writing it.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// A file open to append.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
    /// The last line lacks its newline, or may: a crash or a full disk tore it.
    torn: AtomicBool,
}

impl Lines {
    /// Opens a file, making it if need be, and looks whether its last line is whole.
    pub fn open(path: &Path) -> io::Result<Lines> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let torn = AtomicBool::new(is_torn(&file)?);
        Ok(Lines {
            path: path.to_owned(),
            file,
            torn,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, its newline included, in one write: lines of several writers do not mix. A
    /// torn line that was found at the opening, or that a failure of ours left, is ended first.
    pub fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        let whole = match self.torn.swap(false, Ordering::Relaxed) {
            true if is_torn(file).inspect_err(|_| self.torn.store(true, Ordering::Relaxed))? => {
                &[b"\n", line].concat()
            }
            _ => line,
        };
        // Not write_all: the rest in a second write might land behind another process's line.
        let written = file
            .write(whole)
            .inspect_err(|_| self.torn.store(true, Ordering::Relaxed))?;
        if written < whole.len() {
            self.torn.store(true, Ordering::Relaxed);
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{written} of {} bytes written", whole.len()),
            ));
        }
        Ok(())
    }
}

fn is_torn(file: &File) -> io::Result<bool> {
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        let Some(last) = file.metadata()?.len().checked_sub(1) else {
            return Ok(false);
        };
        let mut byte = [0];
        // A device has no last byte.
        if file.read_at(&mut byte, last)? == 0 || byte == [b'\n'] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_torn_line_is_ended_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        fs::write(&path, "whole\ntor").unwrap();
        let lines = Lines::open(&path).unwrap();
        lines.append(b"a\n").unwrap();
        lines.append(b"b\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\ntor\na\nb\n");
        // After a failure of ours it is looked at once more, and what is whole is left alone.
        lines.torn.store(true, Ordering::Relaxed);
        lines.append(b"c\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\ntor\na\nb\nc\n");
    }

    #[test]
    fn a_full_disk_is_an_error_every_time() {
        let lines = Lines::open(Path::new("/dev/full")).unwrap();
        for _ in 0..2 {
            let error = lines.append(b"a\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
