//! Where a build works: a hidden folder beside the view, or for a world that is not on this
//! machine one among its temporary files. One build at a time; a killed one's is found again.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use worldstream_crds::Reason;

use super::notes::view_folder;
use super::{BuildOptions, Target};
use crate::failure::{Failure, Result};
use crate::world::identity::stream_view_id;
use crate::world::root::Place;

/// The folders of one build, held under a lock.
#[derive(Debug)]
pub(super) struct Workplace {
    /// Everything else is below it, unless spilled rows are kept elsewhere.
    home: PathBuf,
    spill: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Workplace {
    /// Takes the lock, and waits for it while another build of this view has it; `waiting` is
    /// called once then.
    pub fn enter(
        target: &Target<'_>,
        output_id: &str,
        options: &BuildOptions,
        waiting: &dyn Fn(&Path),
    ) -> Result<Self> {
        let (home, spill) = places(target, output_id, options);
        let lock = lock(&home, waiting)?;
        Ok(Workplace {
            home,
            spill,
            _lock: lock,
        })
    }

    /// Whether there is anything of a build: one that is at work, or one that was killed.
    pub fn is_used(target: &Target<'_>, output_id: &str, options: &BuildOptions) -> bool {
        let (home, spill) = places(target, output_id, options);
        home.exists() || spill.exists()
    }

    /// The folder of spilled runs, made if it is not there.
    pub fn spill(&self) -> Result<&Path> {
        make(&self.spill)?;
        Ok(&self.spill)
    }

    /// An empty folder for the view's files.
    pub fn view(&self) -> Result<PathBuf> {
        let view = self.home.join("view");
        remove(&view)?;
        make(&view)?;
        Ok(view)
    }

    /// Takes everything of the build away.
    pub fn clean(self) -> Result<()> {
        remove(&self.spill)?;
        remove(&self.home)
    }
}

/// The folders of a build, the same each time: its home, and that of its runs.
fn places(target: &Target<'_>, output_id: &str, options: &BuildOptions) -> (PathBuf, PathBuf) {
    let view_id = stream_view_id(target.store.root(), &target.key.scenario_id, output_id);
    let own = format!(
        "worldstream-build-{}",
        view_id.get(..16).unwrap_or(&view_id)
    );
    let elsewhere = options.spill.as_ref().map(|folder| folder.join(&own));
    let home = match target.place {
        Place::Local(root) => {
            let folder = root.join(view_folder(output_id));
            folder.with_file_name(format!(".building-{output_id}"))
        }
        Place::Remote(_) => elsewhere
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(&own)),
    };
    let spill = match (target.place, elsewhere) {
        (Place::Local(_), Some(elsewhere)) => elsewhere,
        _ => home.join("spill"),
    };
    (home, spill)
}

/// Locks the folder itself, which whoever had the lock before may have taken away.
fn lock(home: &Path, waiting: &dyn Fn(&Path)) -> Result<File> {
    let failed = |error: &(dyn std::error::Error + 'static)| unusable(home, error);
    let mut said = false;
    loop {
        make(home)?;
        let folder = match File::open(home) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&error)),
        };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                if !std::mem::replace(&mut said, true) {
                    waiting(home);
                }
                flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed(&error))?;
            }
            Err(error) => return Err(failed(&error)),
        }
        let ours = folder.metadata().map_err(|error| failed(&error))?;
        match fs::metadata(home) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                return Ok(folder);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))
}

/// Takes a folder away with all that is in it, if it is there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unusable(folder, &error)),
        _ => Ok(()),
    }
}

fn unusable(folder: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, folder.display().to_string())
        .field("folder of the build")
        .cause(error)
}
