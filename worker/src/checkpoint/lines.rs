//! Files of lines that several processes append to, and that no crash may leave unreadable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Bytes of a torn line that are looked at at once.
const LOOK: u64 = 4096;

/// A file open to append.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Opens a file, making it if need be, and takes away what a crash left of a last line.
    pub fn open(path: &Path) -> io::Result<Lines> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let lines = Lines {
            path: path.to_owned(),
            file,
        };
        lines.locked(FlockOperation::LockExclusive, mend)?;
        Ok(lines)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines, their newlines included, in one write: those of several writers do not mix.
    /// What a failure leaves of them is taken away again.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        let append = |mut file: &File| {
            // Not write_all: the rest in a second write might land behind another process's line.
            let written = file.write(lines)?;
            match written < lines.len() {
                true => Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!("{written} of {} bytes written", lines.len()),
                )),
                false => Ok(()),
            }
        };
        let appended = self.locked(FlockOperation::LockShared, append);
        if appended.is_err() {
            // The failure that is told is the first one; what is left is found at the next opening.
            let _ = self.locked(FlockOperation::LockExclusive, mend);
        }
        appended
    }

    /// Writers share the lock and hold it for one write, so that whoever has it alone sees no line
    /// that is being written: one that lacks its end then will never have it.
    fn locked(
        &self,
        how: FlockOperation,
        act: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        flock(&self.file, how)?;
        let result = act(&self.file);
        flock(&self.file, FlockOperation::Unlock)?;
        result
    }
}

/// Cuts a file behind its last newline.
fn mend(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(LOOK);
        let mut piece = vec![0; (end - start) as usize];
        // A device has a length and no bytes.
        if file.read_at(&mut piece, start)? < piece.len() {
            return Ok(());
        }
        if let Some(last) = piece.iter().rposition(|byte| *byte == b'\n') {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    match end < length {
        true => file.set_len(end),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_torn_line_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let long = "x".repeat(2 * LOOK as usize);
        for (left, kept) in [
            ("whole\ntor", "whole\n"),
            ("whole\n", "whole\n"),
            ("tor", ""),
            ("", ""),
            (&format!("{long}\n{long}"), &format!("{long}\n")),
            (&long, ""),
        ] {
            fs::write(&path, left).unwrap();
            let lines = Lines::open(&path).unwrap();
            lines.append(b"a\n").unwrap();
            lines.append(b"b\n").unwrap();
            let found = fs::read_to_string(&path).unwrap();
            assert_eq!(found, format!("{kept}a\nb\n"));
        }
    }

    #[test]
    fn whoever_mends_takes_no_line_of_a_writer_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::thread::scope(|threads| {
            for writer in 0..4 {
                let path = &path;
                threads.spawn(move || {
                    let line = format!("{}\n", writer.to_string().repeat(9_000));
                    for _ in 0..200 {
                        Lines::open(path).unwrap().append(line.as_bytes()).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 800);
        assert!(text.lines().all(|line| line.len() == 9_000));
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
