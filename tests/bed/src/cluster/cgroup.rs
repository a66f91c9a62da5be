//! The control groups of a node's pods, on machines of either version. A kubelet wants its root
//! group in every hierarchy, and would clear another's.

use std::path::{Path, PathBuf};

use super::State;
use super::process::{Signal, send, until};
use crate::error::{BedError, Doing as _, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// A node's group in each hierarchy.
pub(super) struct Groups {
    folders: Vec<PathBuf>,
}

/// The group's name, from the root of each hierarchy.
pub(super) fn name(state: &State, node: usize) -> String {
    format!("wsbed-{}-{node}", state.name())
}

/// Where hierarchies are mounted: one of version 2, or all of version 1.
enum Hierarchies {
    Unified(PathBuf),
    Separate(Vec<PathBuf>),
}

fn hierarchies() -> Hierarchies {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Hierarchies::Unified(root);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut found: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
            // Version 2 may be mounted beside, without controllers: runc makes groups there, too.
            let one = matches!(kind, "cgroup" | "cgroup2") && at.starts_with(ROOT);
            one.then(|| PathBuf::from(at))
        })
        .collect();
    found.sort();
    found.dedup();
    Hierarchies::Separate(found)
}

impl Groups {
    pub(super) fn of_node(state: &State, node: usize) -> Groups {
        let name = name(state, node);
        let folders = match hierarchies() {
            Hierarchies::Unified(root) => vec![root.join(name)],
            Hierarchies::Separate(roots) => roots.iter().map(|root| root.join(&name)).collect(),
        };
        Groups { folders }
    }

    /// Makes them.
    pub(super) fn make(&self) -> Result<()> {
        match hierarchies() {
            Hierarchies::Unified(root) => give_controllers(&root)?,
            Hierarchies::Separate(roots) if roots.is_empty() => {
                return Err(BedError::new(format!("no control groups below {ROOT}")));
            }
            Hierarchies::Separate(_) => {}
        }
        for folder in &self.folders {
            std::fs::create_dir_all(folder).doing(format_args!("making {}", folder.display()))?;
            inherit_cpuset(folder)?;
        }
        Ok(())
    }

    /// The ids of all processes in them.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .folders
            .iter()
            .flat_map(|folder| tree(folder))
            .flat_map(|folder| {
                let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                text.lines()
                    .filter_map(|line| line.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Ends every process in them, and removes them.
    pub(super) fn remove(&self) -> Result<()> {
        until("the pods' processes to end", || {
            let left = self.processes();
            for id in &left {
                // It may have ended by itself.
                let _ = send(*id, Signal::Kill);
            }
            Ok(left.is_empty())
        })?;
        until("the pods' control groups to be removed", || {
            let mut left = false;
            for folder in &self.folders {
                for group in tree(folder).iter().rev() {
                    left |= std::fs::remove_dir(group)
                        .is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound);
                }
            }
            Ok(!left)
        })
    }
}

/// A folder and all below it, parents first.
fn tree(folder: &Path) -> Vec<PathBuf> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let mut all = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(next) = all.get(at) {
        let below = std::fs::read_dir(next).into_iter().flatten();
        let folders: Vec<_> = below
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()))
            .map(|entry| entry.path())
            .collect();
        all.extend(folders);
        at += 1;
    }
    all
}

/// In version 1 a new group has no processors and no memory nodes, and takes no process then.
fn inherit_cpuset(folder: &Path) -> Result<()> {
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let from = parent.join(file);
        let to = folder.join(file);
        if let Ok(value) = std::fs::read_to_string(&from)
            && std::fs::read_to_string(&to).is_ok_and(|own| own.trim().is_empty())
        {
            std::fs::write(&to, value).doing(format_args!("writing {}", to.display()))?;
        }
    }
    Ok(())
}

/// In version 2 the root hands its controllers to the groups below it.
fn give_controllers(root: &Path) -> Result<()> {
    let has = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let given = root.join("cgroup.subtree_control");
    let already = std::fs::read_to_string(&given).unwrap_or_default();
    for controller in ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"] {
        let word = |text: &str| text.split_whitespace().any(|it| it == controller);
        if word(&has) && !word(&already) {
            std::fs::write(&given, format!("+{controller}"))
                .doing(format_args!("giving {controller} to groups below {ROOT}"))?;
        }
    }
    Ok(())
}
