//! What lies below a root of checkpoints, sound or not, for `worldstream checkpoints`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use worldstream_crds::Reason;

use super::lock::{self, Holder, Lock};
use super::place::{Output, Place};
use super::{Checkpoint, disk};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// One checkpoint's folder.
#[derive(Debug)]
pub struct Found {
    /// The folder of the scope: the scope key.
    pub scope_key: String,
    /// The output's id; where nothing in the folder names it, as the folder has it (`/` as `_`).
    pub output_id: String,
    /// The folder.
    pub folder: PathBuf,
    /// What it holds, or what is wrong with it.
    pub state: Result<Standing>,
    /// Who streams it now.
    pub held_by: HeldBy,
}

/// What a sound checkpoint says.
#[derive(Debug)]
pub struct Standing {
    /// Cursor and figures.
    pub checkpoint: Checkpoint,
    /// When the cursor was written, as its writer put it.
    pub updated_at_utc: Option<String>,
}

/// Whether a checkpoint is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldBy {
    /// By nobody.
    Nobody,
    /// By a process that said who it is.
    Process(Holder),
    /// By somebody, or it cannot be found out; the text says which.
    Unclear(String),
}

/// Every checkpoint below a root, by scope key and output. A root that is not there has none.
/// What was reset before, and what is no checkpoint's folder, is left out.
pub fn survey(root: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for scope_key in folders(root)? {
        if scope_key.len() != 64 || !scope_key.bytes().all(|b| b.is_ascii_hexdigit()) {
            continue;
        }
        let scope = root.join(&scope_key);
        for name in folders(&scope)? {
            if let Some(output) = name.strip_prefix("output_id=")
                && !is_reset(&name)
            {
                found.push(look(&scope_key, output, scope.join(&name), &name));
            }
        }
    }
    Ok(found)
}

fn look(scope_key: &str, output: &str, folder: PathBuf, name: &str) -> Found {
    let place = Place {
        folder: folder.clone(),
        scope_key: scope_key.to_owned(),
        output: Output::InFolder(name.to_owned()),
    };
    let loaded = place.load();
    let held_by = match lock::holder(&folder) {
        Ok(None) => HeldBy::Nobody,
        Ok(Some(Ok(holder))) => HeldBy::Process(holder),
        Ok(Some(Err(()))) => HeldBy::Unclear("a process that has not said who it is".into()),
        Err(error) => HeldBy::Unclear(format!("cannot look at the lock: {error}")),
    };
    let output_id = match &loaded {
        Ok(loaded) => loaded.output_id.clone(),
        Err(_) => None,
    };
    Found {
        scope_key: scope_key.to_owned(),
        output_id: output_id.unwrap_or_else(|| output.to_owned()),
        folder,
        state: loaded.map(|loaded| Standing {
            checkpoint: loaded.checkpoint,
            updated_at_utc: loaded.updated_at_utc,
        }),
        held_by,
    }
}

/// Moves checkpoints out of the way, so that their outputs start over: to a folder beside with
/// `.reset-<time>` behind its name. All or none: first every lock is taken
/// (`CHECKPOINT_CONFLICT` if one is held), then they are moved. Gives the new folders.
pub fn reset(found: &[&Found]) -> Result<Vec<PathBuf>> {
    let locks = found
        .iter()
        .map(|found| Lock::take(&found.folder))
        .collect::<Result<Vec<_>>>()?;
    let now = EventTime::wall_now();
    let moved = found
        .iter()
        .map(|found| {
            set_aside(&found.folder, now)
                .map_err(|error| disk::cannot("set the checkpoint aside", &found.folder, &error))
        })
        .collect();
    drop(locks);
    moved
}

fn set_aside(folder: &Path, now: EventTime) -> io::Result<PathBuf> {
    // 2026-01-01T00:00:00.000000 without what file names dislike, and without fractions.
    let stamp: String = now.to_string()[..19]
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut count = 0;
    let target = loop {
        let again = match count {
            0 => String::new(),
            count => format!("-{count}"),
        };
        let target = folder.with_file_name(format!("{name}.reset-{stamp}Z{again}"));
        if !target.try_exists()? {
            break target;
        }
        count += 1;
    };
    fs::rename(folder, &target)?;
    if let Some(parent) = folder.parent() {
        disk::sync_folder(parent)?;
    }
    Ok(target)
}

/// Whether a folder's name ends in what [`reset`] puts there.
fn is_reset(name: &str) -> bool {
    let Some((_, end)) = name.rsplit_once(".reset-") else {
        return false;
    };
    let shape: String = end
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    match shape.strip_prefix("00000000T000000Z") {
        Some("") => true,
        Some(again) => again
            .strip_prefix('-')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b == b'0')),
        None => false,
    }
}

/// Names of the folders in a folder, in order.
fn folders(path: &Path) -> Result<Vec<String>> {
    let unreadable = |error: &io::Error| {
        Failure::new(Reason::CheckpointUnreadable, path.display().to_string())
            .expected("a folder of checkpoints")
            .cause(error)
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reset_made_is_left_out() {
        for (name, reset) in [
            ("output_id=a.reset-20260101T000000Z", true),
            ("output_id=a.reset-20260101T000000Z-2", true),
            ("output_id=a.reset-20260101T000000Z-", false),
            ("output_id=a.reset-soon", false),
            ("output_id=a", false),
        ] {
            assert_eq!(is_reset(name), reset, "{name}");
        }
    }
}
