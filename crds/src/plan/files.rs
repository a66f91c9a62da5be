//! What documents name and do not hold: files. Read through a trait, so that resolving a plan is
//! the same without a cluster, where files are there, and in one, where they are not.

use std::io;
use std::path::Path;

/// Where the files come from that a profile or a flag names.
pub trait Files {
    /// The bytes of a file.
    ///
    /// Errors: whatever keeps it from being read; the message says it to a person.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// Whether the documents are those of a cluster, where ConfigMaps and Secrets are there and
    /// files are not.
    fn in_cluster(&self) -> bool {
        false
    }

    /// The text of a file. Errors: as [`Files::read`], and what is not UTF-8.
    fn read_text(&self, file: &Path) -> io::Result<String> {
        String::from_utf8(self.read(file)?).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("is not UTF-8: {error}"))
        })
    }
}

/// In a cluster there are none: a profile gives its texts inline, by the name of one that comes
/// with the program, or as a ConfigMap.
pub struct NoFiles;

impl Files for NoFiles {
    fn in_cluster(&self) -> bool {
        true
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "files are for runs without a cluster; here a text is inline, builtIn or a configMap",
        ))
    }
}
