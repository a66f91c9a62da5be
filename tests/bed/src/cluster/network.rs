//! The network of a cluster: a namespace a node, which are joined by a veth pair. Nothing of it is
//! on the machine's own network, so every bed has the same addresses.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use super::{State, ip};
use crate::command::{command, output};
use crate::error::Result;

/// Services' addresses.
pub(super) const SERVICES: &str = "10.231.0.0/20";
/// The address of the cluster's DNS.
pub(super) const DNS: &str = "10.231.0.10";
/// All pods' addresses.
pub(super) const PODS: &str = "10.232.0.0/16";

/// The folder of named namespaces, a mount of its own.
const NAMED: &str = "/run/netns";
/// The file that says that [`NAMED`] was not there before.
pub(super) const MARK: &str = "made-run-netns";

/// The address of a node.
pub(super) fn address(node: usize) -> String {
    format!("10.230.0.{node}")
}

/// The addresses of a node's pods.
pub(super) fn pods(node: usize) -> String {
    format!("10.232.{}.0/22", 4 * (node - 1))
}

/// A network namespace of a node.
#[derive(Debug, Clone)]
pub struct Namespace(String);

impl Namespace {
    pub(super) fn of_node(state: &State, node: usize) -> Namespace {
        Namespace(match node {
            1 => format!("wsbed-{}", state.name()),
            _ => format!("wsbed-{}-{node}", state.name()),
        })
    }

    /// The file that `nsenter --net=` takes.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(NAMED).join(&self.0)
    }

    pub(super) fn exists(&self) -> bool {
        self.path().exists()
    }

    /// A command that runs in it. The host's files, `/sys` too, are as outside of it.
    pub fn enter(&self, program: impl AsRef<OsStr>) -> Command {
        let mut enter = command("nsenter");
        let mut net = std::ffi::OsString::from("--net=");
        net.push(self.path());
        enter.arg(net).arg("--").arg(program);
        enter
    }

    /// The ids of the processes in it.
    pub(super) fn processes(&self) -> Vec<u32> {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(own) = std::fs::metadata(self.path()) else {
            return Vec::new();
        };
        let is_in = |id: &u32| {
            std::fs::metadata(format!("/proc/{id}/ns/net"))
                .is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()))
        };
        super::process::all().into_iter().filter(is_in).collect()
    }

    fn run(&self, words: &str) -> Result<()> {
        let mut words = words.split_whitespace();
        let program = words.next().unwrap_or_default();
        output(self.enter(program).args(words)).map(drop)
    }

    fn make(&self, state: &State, node: usize) -> Result<()> {
        if !is_mounted() {
            // `ip` makes it; for the last bed's `down` to remove it again.
            state.write(MARK, "")?;
        }
        ip(&format!("netns add {}", self.0))?;
        let address = address(node);
        self.run("ip link set lo up")?;
        self.run(&format!("ip addr add {address}/32 dev lo"))?;
        // Without a route a process of the node could not begin to reach a Service's address,
        // which the rules of kube-proxy replace only then.
        self.run(&format!("ip route add {SERVICES} dev lo src {address}"))?;
        self.run(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1 \
             net.ipv6.conf.all.disable_ipv6=1",
        )
    }

    pub(super) fn remove(&self) -> Result<()> {
        if self.exists() {
            ip(&format!("netns del {}", self.0))?;
        }
        Ok(())
    }
}

/// Makes the namespaces of so many nodes, as far as they are not there.
pub(super) fn make(state: &State, nodes: usize) -> Result<()> {
    let first = Namespace::of_node(state, 1);
    if !first.exists() {
        first.make(state, 1)?;
    }
    let second = Namespace::of_node(state, 2);
    if nodes < 2 || second.exists() {
        return Ok(());
    }
    second.make(state, 2)?;
    // The pair's ends are born in their namespaces: their names collide with nobody's.
    first.run(&format!(
        "ip link add to-2 type veth peer name to-1 netns {}",
        second.0
    ))?;
    let join = |from: &Namespace, own: usize, other: usize| {
        let link = format!("to-{other}");
        let (here, there) = (format!("10.230.9.{own}"), format!("10.230.9.{other}"));
        let source = address(own);
        from.run(&format!("ip addr add {here}/30 dev {link}"))?;
        from.run(&format!("ip link set {link} up"))?;
        for to in [format!("{}/32", address(other)), pods(other)] {
            from.run(&format!("ip route add {to} via {there} src {source}"))?;
        }
        Ok(())
    };
    // A route's gateway is reached once its end is up.
    second.run("ip link set to-1 up")?;
    join(&first, 1, 2)?;
    join(&second, 2, 1)
}

fn is_mounted() -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(NAMED))
}

/// Removes the folder of named namespaces, if nobody has any.
pub(super) fn remove_folder() {
    let empty = std::fs::read_dir(NAMED).is_ok_and(|mut entries| entries.next().is_none());
    if empty && crate::command::run("umount", [NAMED]).is_ok() {
        // It stays if it was there before.
        let _ = std::fs::remove_dir(NAMED);
    }
}
