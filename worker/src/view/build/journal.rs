//! What a build has done so far, so that one that was killed goes on: written behind each run.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use super::super::PartPlan;
use super::coding::Coding;
use super::runs::Run;
use super::stats::Stats;
use crate::failure::{Failure, Result};

const FILE: &str = "journal.json";
/// Goes up when runs of an earlier version could not be read.
const VERSION: u32 = 1;

/// The runs that are whole, and where reading stood behind the last of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// What was read.
    inputs: String,
    pub runs: Vec<Run>,
    /// How often runs were merged into fewer.
    passes: u32,
    pub standing: Standing,
}

/// Where reading stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Rows of the raw parts that are in the runs.
    pub rows: u64,
    /// Of these rows.
    pub stats: Stats,
    /// How columns are held.
    pub codings: Vec<Coding>,
    pub dictionaries: Vec<Vec<String>>,
    /// For which columns a dictionary pays.
    pub pays: Vec<bool>,
}

impl Journal {
    pub fn new(parts: &[PartPlan]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            let etag = part.etag.as_deref().unwrap_or_default();
            let line = format!("{}|{}|{}|{etag}\n", part.name, part.size, part.footer);
            digest.update(line);
        }
        Journal {
            version: VERSION,
            inputs: const_hex::encode(digest.finalize()),
            runs: Vec::new(),
            passes: 0,
            standing: Standing::default(),
        }
    }

    /// Takes up what is in the folder if it is of the same inputs and whole, and takes everything
    /// else in the folder away.
    pub fn resume(&mut self, folder: &Path) -> Result<()> {
        let found = fs::read(folder.join(FILE)).ok();
        let found: Option<Journal> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let usable = |it: &Journal| {
            let same = it.version == self.version && it.inputs == self.inputs;
            same && it
                .runs
                .iter()
                .all(|run| run.file.is_file() && run.file.starts_with(folder))
        };
        if let Some(found) = found.filter(usable) {
            *self = found;
        }
        let failed = |error: &std::io::Error| unusable(folder, error);
        for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
            let path = entry.map_err(|error| failed(&error))?.path();
            let ours = self.runs.iter().any(|run| run.file == path);
            if !ours && path.file_name().is_none_or(|name| name != FILE) {
                fs::remove_file(&path).map_err(|error| unusable(&path, &error))?;
            }
        }
        Ok(())
    }

    /// The file of the next run.
    pub fn next_file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("run-{:06}.arrow", self.runs.len()))
    }

    /// The file of a run that others are merged into.
    pub fn merged_file(&self, folder: &Path, number: usize) -> PathBuf {
        folder.join(format!("merged-{}-{number:06}.arrow", self.passes))
    }

    /// Notes a run that is whole.
    pub fn note(&mut self, run: Run, standing: Standing, folder: &Path) -> Result<()> {
        self.runs.push(run);
        self.standing = standing;
        self.write(folder)
    }

    /// Notes that all runs were merged into these, and takes the old ones away.
    pub fn replace(&mut self, runs: Vec<Run>, folder: &Path) -> Result<()> {
        let old = std::mem::replace(&mut self.runs, runs);
        self.passes += 1;
        self.write(folder)?;
        old.iter().try_for_each(|run| {
            fs::remove_file(&run.file).map_err(|error| unusable(&run.file, &error))
        })
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let next = folder.join("journal.next");
        let text = serde_json::to_vec(self).map_err(|error| unusable(&next, &error))?;
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, folder.join(FILE)));
        written.map_err(|error| unusable(&next, &error))
    }
}

fn unusable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string())
        .field("journal of the build")
        .cause(error)
}
