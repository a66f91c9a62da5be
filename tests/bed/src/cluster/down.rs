//! Taking a cluster down: what its `up` started, by record, and what that started in turn, by the
//! cluster's own control groups and sockets. Nothing is ended by name.

use super::network::{self, Namespace};
use super::process::{self, Signal, until};
use super::{State, cgroup, node};
use crate::error::Result;
use crate::programs::remove;
use crate::say::{say, stage};

const NODES: [usize; 2] = [1, 2];

/// Takes it down; nothing to do if it is down.
pub(super) fn down(state: &State) -> Result<()> {
    if !state.folder().exists() {
        say(format_args!("{} is down", state.name()));
        return Ok(());
    }
    let _held = state.hold()?;
    stage(&format!("taking {} down", state.name()), || {
        end(state)?;
        remove(state.folder())
    })
}

/// Ends everything of it. The folder stays.
pub(super) fn end(state: &State) -> Result<()> {
    let mut own: Vec<_> = state.all_recorded().into_iter().map(|(_, it)| it).collect();
    for process in &own {
        // What has ended already needs no signal; a node that stands still ends as well.
        let _ = process.signal(Signal::Kill);
    }
    // A shim outlives its containerd; whose it is its socket says.
    let folder = format!("{}/", state.folder().display());
    until("the cluster's processes to end", || {
        own.retain(process::Recorded::runs);
        let shims: Vec<_> = process::all()
            .into_iter()
            .filter(|id| is_shim(&process::command_line(*id), &folder))
            .collect();
        for id in &shims {
            let _ = process::send(*id, Signal::Kill);
        }
        Ok(own.is_empty() && shims.is_empty())
    })?;
    for node in NODES {
        cgroup::Groups::of_node(state, node).remove()?;
    }
    for node in NODES {
        let namespace = Namespace::of_node(state, node);
        for id in namespace.processes() {
            say(format_args!(
                "process {id} was started in the bed's network by somebody else and goes on: {}",
                process::command_line(id).join(" ")
            ));
        }
        namespace.remove()?;
    }
    for hidden in node::HIDDEN {
        // Somebody may have put something there: then it stays.
        give_back(state, &node::mark(hidden), || {
            drop(std::fs::remove_dir(hidden))
        });
    }
    give_back(state, network::MARK, network::remove_folder);
    Ok(())
}

/// Removes a folder of the machine that was not there before. The last bed does: to remove it
/// would take it from under the others.
fn give_back(state: &State, mark: &str, remove: impl FnOnce()) {
    if !state.file(mark).exists() {
        return;
    }
    let others = super::names().into_iter().filter(|it| it != state.name());
    match others.filter_map(|name| State::of(&name).ok()).next() {
        Some(other) => drop(other.write(mark, "")),
        None => remove(),
    }
}

/// Empties the folder, which stays as it is held.
pub(super) fn clear(state: &State) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(state.folder()) else {
        return Ok(());
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            remove(&path)?;
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

fn is_shim(words: &[String], folder: &str) -> bool {
    let shim = words
        .first()
        .is_some_and(|word| word.contains("containerd-shim"));
    shim && words.iter().any(|word| word.starts_with(folder))
}
