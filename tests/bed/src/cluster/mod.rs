//! A real Kubernetes of one or two nodes as processes of this machine, in network namespaces of its
//! own: brought up, looked at, taken down.

mod cgroup;
mod control;
mod dns;
mod down;
mod network;
mod node;
mod process;
mod state;
mod up;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{command, output};
use crate::error::{BedError, Doing as _, Result};
use crate::pins::Kit;
use crate::place::Place;
use crate::say::stage;

pub use network::Namespace;
pub use process::{Recorded, Signal};
pub use state::State;

/// The address of the first node, where the API server and the host's own processes listen.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 230, 0, 1));

/// A cluster that may be up or not, known by its name.
#[derive(Debug, Clone)]
pub struct Cluster {
    state: State,
}

/// What a cluster is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// There is nothing.
    Down,
    /// All of its processes run.
    Up {
        /// How many nodes it has.
        nodes: usize,
    },
    /// Something of it is there, and not all.
    Broken {
        /// What is missing.
        why: String,
    },
}

impl Cluster {
    /// The cluster of this name: at most 20 lower-case letters, digits and hyphens.
    pub fn named(name: &str) -> Result<Cluster> {
        Ok(Cluster {
            state: State::of(name)?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.state.name()
    }

    /// The folder of all that it writes.
    pub fn folder(&self) -> &Path {
        self.state.folder()
    }

    /// Brings it up with so many nodes (1 or 2), unless it is up.
    pub fn up(&self, nodes: usize) -> Result<()> {
        up::up(&self.state, nodes)
    }

    /// Ends what was brought up under its name, and removes every trace.
    pub fn down(&self) -> Result<()> {
        down::down(&self.state)
    }

    /// Whether it is up.
    pub fn status(&self) -> Status {
        up::status(&self.state)
    }

    /// The administrator's kubeconfig. The address in it is that of the cluster's network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.file("admin.kubeconfig")
    }

    /// The network namespace of its first node.
    pub fn namespace(&self) -> Namespace {
        Namespace::of_node(&self.state, 1)
    }

    /// Its network, for processes of the host.
    pub fn place(&self) -> Place {
        Place {
            address: ADDRESS,
            namespace: Some(self.namespace().path()),
        }
    }

    /// A command in its network, with the administrator's kubeconfig and the bed's programs first
    /// in the PATH.
    pub fn command(&self, program: &str) -> Result<Command> {
        let kubernetes = Kit::Kubernetes.ensure()?;
        let mut folders = vec![kubernetes];
        let helm = Kit::Helm.folder();
        if helm.is_dir() {
            folders.push(helm);
        }
        let own = std::env::var_os("PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&own));
        let path = std::env::join_paths(&folders).doing("making a PATH")?;
        let mut command = self.namespace().enter(program);
        command
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    /// Loads image archives into every node.
    pub fn load(&self, archives: &[impl AsRef<Path>]) -> Result<()> {
        let Status::Up { nodes } = self.status() else {
            return Err(BedError::new(format!("the bed {} is not up", self.name())));
        };
        for archive in archives {
            let archive = archive.as_ref();
            let name = archive.file_stem().unwrap_or_default().to_string_lossy();
            stage(&format!("loading {name}"), || {
                (1..=nodes).try_for_each(|node| node::import(&self.state, node, archive))
            })?;
        }
        Ok(())
    }

    /// Sends a signal to a node's kubelet: `Stop` loses the node, `Continue` gives it back.
    pub fn signal_kubelet(&self, node: usize, signal: Signal) -> Result<()> {
        self.state
            .recorded(&node::process_name(node, "kubelet"))?
            .signal(signal)
    }

    /// Sends a signal to the API server: `Stop` makes it hang, with its connections open.
    pub fn signal_api_server(&self, signal: Signal) -> Result<()> {
        self.state.recorded("apiserver")?.signal(signal)
    }

    /// Sends a signal to the containers' processes on a node whose command line has these words,
    /// one after the other; how many there were.
    pub fn signal_containers(&self, node: usize, words: &str, signal: Signal) -> Result<usize> {
        let mut found = 0;
        let words: Vec<&str> = words.split_whitespace().collect();
        for id in cgroup::Groups::of_node(&self.state, node).processes() {
            let line = process::command_line(id);
            if line.windows(words.len().max(1)).any(|some| some == words) {
                process::send(id, signal).doing(format_args!("a signal to process {id}"))?;
                found += 1;
            }
        }
        Ok(found)
    }

    /// What the API server was asked to change, one JSON document (audit.k8s.io/v1 Event) a line.
    pub fn audit_log(&self) -> PathBuf {
        self.state.file("log/audit.jsonl")
    }

    /// The log of one of its processes, such as `kubelet-1` or `apiserver`.
    pub fn log(&self, process: &str) -> PathBuf {
        self.state.log(process)
    }

    /// Runs `kubectl` to its end; what it printed.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        output(self.command("kubectl")?.args(args))
    }
}

/// Names of the clusters that have a state folder.
pub fn names() -> Vec<String> {
    state::names()
}

/// Takes the cluster down when the process with this id has ended.
pub fn down_after(cluster: &Cluster, pid: u32) -> Result<()> {
    process::wait_for(pid)?;
    cluster.down()
}

pub(crate) fn ip(args: &str) -> Result<String> {
    output(command("ip").args(args.split_whitespace()))
}
