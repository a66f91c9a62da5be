//! The folder of a cluster's state: logs, kubeconfigs, and which processes are its own.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::process::{self, Recorded};
use crate::error::{BedError, Doing as _, Result};

const PREFIX: &str = "worldstream-bed-";

/// Where the state of one cluster lies. Sockets below it have paths of at most 107 bytes, so
/// names are short and the folder lies high.
#[derive(Debug, Clone)]
pub struct State {
    name: String,
    folder: PathBuf,
}

/// The right to change a cluster; others wait.
pub(crate) struct Held(#[expect(dead_code, reason = "the lock lasts as long as the file")] File);

fn parent() -> PathBuf {
    PathBuf::from("/tmp")
}

/// Names that have a state folder.
pub(super) fn names() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(parent()) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            Some(name.to_str()?.strip_prefix(PREFIX)?.to_owned())
        })
        .collect();
    names.sort();
    names
}

impl State {
    pub(super) fn of(name: &str) -> Result<State> {
        let good = (1..=20).contains(&name.len())
            && name
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
        if !good {
            return Err(BedError::new(format!(
                "{name:?}: a bed's name has 1 to 20 lower-case letters, digits and hyphens"
            )));
        }
        Ok(State {
            name: name.to_owned(),
            folder: parent().join(format!("{PREFIX}{name}")),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The whole folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file or folder in it.
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.file(format!("log/{process}.log"))
    }

    /// Where the files of a node lie.
    pub(super) fn node(&self, node: usize) -> PathBuf {
        self.file(format!("node-{node}"))
    }

    /// Makes a folder in it.
    pub(super) fn make(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let folder = self.file(path);
        std::fs::create_dir_all(&folder).doing(format_args!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// Writes a file of it.
    pub(super) fn write(&self, path: impl AsRef<Path>, text: &str) -> Result<PathBuf> {
        let file = self.file(path);
        std::fs::write(&file, text).doing(format_args!("writing {}", file.display()))?;
        Ok(file)
    }

    /// Makes the folder if it is not there, and takes the right to change the cluster.
    pub(super) fn hold(&self) -> Result<Held> {
        let doing = || format!("taking {}", self.folder.display());
        loop {
            match std::fs::DirBuilder::new().mode(0o700).create(&self.folder) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).doing(doing());
                }
                _ => {}
            }
            let folder = File::open(&self.folder).doing(doing())?;
            let held = folder.metadata().doing(doing())?;
            if held.uid() != rustix::process::geteuid().as_raw() {
                return Err(BedError::new(format!(
                    "{}: belongs to another user",
                    self.folder.display()
                )));
            }
            rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).doing(doing())?;
            // Who held it before may have removed it.
            let same = std::fs::metadata(&self.folder).is_ok_and(|now| now.ino() == held.ino());
            if same {
                return Ok(Held(folder));
            }
        }
    }

    /// Remembers a process as the cluster's own.
    pub(super) fn record(&self, name: &str, process: &Recorded) -> Result<()> {
        self.make("processes")?;
        self.write(format!("processes/{name}"), &process.to_string())
            .map(drop)
    }

    /// A process of the cluster.
    pub fn recorded(&self, name: &str) -> Result<Recorded> {
        let file = self.file(format!("processes/{name}"));
        let text =
            std::fs::read_to_string(&file).doing(format_args!("reading {}", file.display()))?;
        text.parse()
    }

    /// All processes of the cluster, by name.
    pub(super) fn all_recorded(&self) -> Vec<(String, Recorded)> {
        let Ok(entries) = std::fs::read_dir(self.file("processes")) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let recorded = self.recorded(&name).ok()?;
                Some((name, recorded))
            })
            .collect()
    }
}

/// Waits for a condition of a cluster whose processes all run.
pub(super) fn until(state: &State, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    process::until(what, || {
        let all = state.all_recorded();
        if let Some((name, _)) = all.iter().find(|(_, process)| !process.runs()) {
            let log = std::fs::read_to_string(state.log(name)).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default().to_owned();
            return Err(BedError::new(format!(
                "while waiting for {what}: {name} has ended: {last}"
            )));
        }
        Ok(holds())
    })
}
