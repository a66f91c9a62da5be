//! From flags to a plan: reads the documents that a command line names and resolves them with its
//! flags. The plan itself and how it is resolved are shared with the operator
//! ([`worldstream_crds::plan`]); what is ours alone is the command line and the file system.

pub mod flags;

#[cfg(test)]
mod tests;

pub use flags::RunFlags;
pub use worldstream_crds::plan::*;

use std::io;
use std::path::Path;

/// The files of this machine.
pub struct FileSystem;

impl Files for FileSystem {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }
}

/// Reads the files that the flags name, and makes the plan. What the command line does.
///
/// Errors: as [`resolve`], and files that cannot be read.
pub fn plan(flags: &RunFlags) -> Result<StreamPlan, PlanError> {
    resolve(
        &read_documents(&flags.files)?,
        &flags.overrides(),
        &FileSystem,
    )
}

/// The world's part of the plan that [`plan`] would make; what is only of sending may be missing.
///
/// Errors: as [`worldstream_crds::plan::world`], and files that cannot be read.
pub fn world_plan(flags: &RunFlags) -> Result<WorldPlan, PlanError> {
    world(
        &read_documents(&flags.files)?,
        &flags.overrides(),
        &FileSystem,
    )
}

/// Reads documents from files, in their order; `-` is the standard input.
///
/// Errors: as [`Documents::add_file`].
pub fn read_documents<P: AsRef<Path>>(files: &[P]) -> Result<Documents, UsageError> {
    let mut documents = Documents::default();
    for file in files {
        let file = file.as_ref();
        match file.to_str() {
            Some("-") => {
                documents.add_file("standard input", io::read_to_string(io::stdin()))?;
            }
            _ => documents.add_file(&file.display().to_string(), FileSystem.read_text(file))?,
        }
    }
    Ok(documents)
}
