//! A cluster of the bed's own, to test on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bed::{Bed, Reached, SharedFolder, empty_folder};
use crate::cluster::{Cluster, Signal};
use crate::command::output;
use crate::error::{BedError, Doing as _, Result};
use crate::page::page;
use crate::pins::Kit;
use crate::place::Place;

/// A cluster of the bed's own.
#[derive(Debug, Clone)]
pub struct OwnBed(Cluster);

impl OwnBed {
    /// The one of this name, brought up if it is down; it stays up.
    pub fn named(name: &str, nodes: usize) -> Result<OwnBed> {
        let cluster = Cluster::named(name)?;
        cluster.up(nodes)?;
        Ok(OwnBed(cluster))
    }

    /// One that is taken down when this process ends, however it ends. `bed` is the path of the
    /// program `bed`.
    pub fn of_this_process(bed: &Path, nodes: usize) -> Result<OwnBed> {
        let own = std::process::id();
        let cluster = Cluster::named(&format!("test-{own}"))?;
        let mut up = crate::command::command(bed);
        up.args(["--name", cluster.name(), "up"])
            .args(["--nodes", &nodes.to_string()])
            .args(["--while-runs", &own.to_string()])
            .stderr(std::process::Stdio::inherit());
        let status = up.status().doing(format_args!("{}", bed.display()))?;
        if !status.success() {
            return Err(BedError::new(format!(
                "the bed {} did not come up",
                cluster.name()
            )));
        }
        Ok(OwnBed(cluster))
    }

    /// Whether a kubeconfig is of such a cluster.
    pub fn is_own(kubeconfig: &Path) -> bool {
        crate::cluster::names()
            .iter()
            .filter_map(|name| Cluster::named(name).ok())
            .any(|cluster| cluster.kubeconfig() == kubeconfig)
    }

    /// The cluster itself.
    pub fn cluster(&self) -> &Cluster {
        &self.0
    }

    fn number(&self, node: &str) -> Result<usize> {
        node.strip_prefix("node-")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| BedError::new(format!("{node}: no node of the bed {}", self.0.name())))
    }
}

impl Bed for OwnBed {
    fn kubeconfig(&self) -> PathBuf {
        self.0.kubeconfig()
    }

    fn name(&self) -> Option<String> {
        Some(self.0.name().to_owned())
    }

    fn place(&self) -> Place {
        self.0.place()
    }

    fn command(&self, program: &str) -> Result<Command> {
        if program == "helm" {
            Kit::Helm.ensure()?;
        }
        self.0.command(program)
    }

    fn load(&self, archives: &[PathBuf]) -> Result<()> {
        self.0.load(archives)
    }

    fn shared_folder(&self, name: &str) -> Result<SharedFolder> {
        // The nodes are processes of this machine and see its files.
        let host = self.0.folder().join("shared").join(name);
        empty_folder(&host)?;
        Ok(SharedFolder {
            node: host.clone(),
            host,
        })
    }

    fn reach(&self, namespace: &str, service: &str, port: u16) -> Result<Reached> {
        let mut get = self.command("kubectl")?;
        get.args(["-n", namespace, "get", "service", service])
            .args(["-o", "jsonpath={.spec.clusterIP}"]);
        let address = output(&mut get)?;
        let address = address
            .trim()
            .parse()
            .doing(format_args!("the address of Service {namespace}/{service}"))?;
        Ok(Reached {
            address: SocketAddr::new(address, port),
            forwarding: None,
        })
    }

    fn signal_kubelet(&self, node: &str, signal: Signal) -> Result<()> {
        self.0.signal_kubelet(self.number(node)?, signal)
    }

    fn signal_api_server(&self, signal: Signal) -> Result<()> {
        self.0.signal_api_server(signal)
    }

    fn signal_containers(&self, node: &str, words: &str, signal: Signal) -> Result<usize> {
        self.0.signal_containers(self.number(node)?, words, signal)
    }

    fn pod_page(&self, address: &str, path: &str) -> Option<String> {
        page(address, path)
    }

    fn audit_log(&self) -> Option<PathBuf> {
        Some(self.0.audit_log())
    }
}
