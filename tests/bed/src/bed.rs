//! What tests need of a cluster, and no more: one interface for the bed's own clusters and for those
//! that somebody else brought up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::cluster::Signal;
use crate::command::{output, output_with_input};
use crate::error::{BedError, Doing as _, Result};
use crate::given::GivenCluster;
use crate::own::OwnBed;
use crate::place::Place;

/// A cluster to test on.
pub trait Bed: Send + Sync {
    /// An administrator's kubeconfig. It leads to the cluster from [`Bed::place`].
    fn kubeconfig(&self) -> PathBuf;

    /// Where processes of the host listen for pods to reach them (gates, stores), and whence the
    /// API server is reached.
    fn place(&self) -> Place;

    /// What it is called, if it is one of the bed's own.
    fn name(&self) -> Option<String> {
        None
    }

    /// A command of the host at that place, with KUBECONFIG set, that finds kubectl and helm.
    fn command(&self, program: &str) -> Result<Command>;

    /// Makes the images in these archives known to every node.
    fn load(&self, archives: &[PathBuf]) -> Result<()>;

    /// A folder of this name, empty at first, that the host writes and every node sees.
    fn shared_folder(&self, name: &str) -> Result<SharedFolder>;

    /// Where a Service's port is reached from [`Bed::place`], for as long as the answer lives.
    fn reach(&self, namespace: &str, service: &str, port: u16) -> Result<Reached>;

    /// A page that a pod serves at `host:port`, also while the API server is away; none if it does
    /// not answer with 200.
    fn pod_page(&self, address: &str, path: &str) -> Option<String>;

    /// Sends a signal to a node's kubelet: `Stop` loses the node while its pods run on.
    fn signal_kubelet(&self, node: &str, signal: Signal) -> Result<()>;

    /// Sends a signal to the API server: `Stop` makes it hang for all, also for kubectl.
    fn signal_api_server(&self, signal: Signal) -> Result<()>;

    /// Sends a signal to the containers' processes on a node whose command line has these words,
    /// one after the other; how many there were.
    fn signal_containers(&self, node: &str, words: &str, signal: Signal) -> Result<usize>;

    /// What the API server was asked to change (audit.k8s.io/v1, JSON lines), where the bed can
    /// know.
    fn audit_log(&self) -> Option<PathBuf>;
}

/// A folder that host and nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFolder {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path on every node, for a volume of kind hostPath or local.
    pub node: PathBuf,
}

/// The way to a Service.
#[derive(Debug)]
pub struct Reached {
    /// Where to connect.
    pub address: SocketAddr,
    /// What forwards, ended with it.
    pub(crate) forwarding: Option<Child>,
}

impl Drop for Reached {
    fn drop(&mut self) {
        if let Some(forwarding) = &mut self.forwarding {
            let _ = forwarding.kill();
            let _ = forwarding.wait();
        }
    }
}

impl dyn Bed + '_ {
    /// Runs kubectl; what it printed.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        output(self.command("kubectl")?.args(args))
    }

    /// Runs helm; what it printed.
    pub fn helm<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        output(self.command("helm")?.args(args))
    }

    /// Applies documents as YAML or JSON, validated strictly by the server.
    pub fn apply(&self, documents: &str) -> Result<String> {
        let mut apply = self.command("kubectl")?;
        apply.args(["apply", "--server-side", "--validate=strict", "-f", "-"]);
        output_with_input(&mut apply, documents)
    }

    /// Makes a namespace in which Pod Security admission enforces the restricted standard.
    pub fn restricted_namespace(&self, name: &str) -> Result<()> {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n    \
             pod-security.kubernetes.io/enforce-version: latest\n"
        ))
        .map(drop)
    }

    /// Makes a Service of a process of the host that listens at [`Bed::place`].
    pub fn serve_host_port(&self, namespace: &str, name: &str, port: u16) -> Result<()> {
        let address = self.place().address;
        self.apply(&format!(
            r#"apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{{name: main, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-host
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{{name: main, port: {port}}}]
endpoints: [{{addresses: ["{address}"]}}]
"#
        ))
        .map(drop)
    }

    /// The names of its nodes.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let names = self.kubectl(["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"])?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }
}

/// The bed to test on: the cluster that KUBECONFIG names, unless that is one of the bed's own;
/// else the bed that BED names, brought up if it is down, and left so; else one for this process
/// alone, that is taken down when it ends. `bed` is the path of the program `bed`.
pub fn bed(bed: &Path, nodes: usize) -> Result<Box<dyn Bed>> {
    if let Some(given) = given()? {
        return Ok(given);
    }
    let named = setting("BED")
        .map(|name| name.into_string())
        .transpose()
        .map_err(|name| BedError::new(format!("BED={}: not UTF-8", name.display())))?;
    match named {
        Some(name) => Ok(Box::new(OwnBed::named(&name, nodes)?)),
        None => Ok(Box::new(OwnBed::of_this_process(bed, nodes)?)),
    }
}

/// The cluster that KUBECONFIG names, unless that is one of the bed's own; else the bed of this
/// name, brought up if it is down.
pub fn bed_or_named(name: &str) -> Result<Box<dyn Bed>> {
    match given()? {
        Some(given) => Ok(given),
        None => Ok(Box::new(OwnBed::named(name, 1)?)),
    }
}

fn setting(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A cluster of somebody else's.
fn given() -> Result<Option<Box<dyn Bed>>> {
    match setting("KUBECONFIG") {
        Some(kubeconfig) if !OwnBed::is_own(Path::new(&kubeconfig)) => {
            let kubeconfig = std::path::absolute(kubeconfig).doing("KUBECONFIG")?;
            Ok(Some(Box::new(GivenCluster::new(kubeconfig)?)))
        }
        _ => Ok(None),
    }
}

/// Makes a folder anew.
pub(crate) fn empty_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    crate::programs::remove(folder)?;
    std::fs::create_dir_all(folder).doing(format_args!("making {}", folder.display()))?;
    // Pods are of other users.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
        .doing(format_args!("opening {}", folder.display()))
}
