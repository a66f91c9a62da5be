//! Packages of the system that the bed needs, installed where they are missing.

use crate::command::{command, find, output};
use crate::error::{BedError, Result};
use crate::say::{say, stage};

/// What a part of the bed needs of the system: a program or file, and the package that has it.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// A program's name, or the absolute path of a file.
    pub file: &'static str,
    /// Debian's package.
    pub package: &'static str,
}

/// What nodes are made of.
pub const NODES: [Need; 7] = [
    need("containerd", "containerd"),
    need("runc", "runc"),
    need("/usr/lib/cni/ptp", "containernetworking-plugins"),
    need("iptables", "iptables"),
    need("conntrack", "conntrack"),
    need("ip", "iproute2"),
    need("mount", "mount"),
];

/// What the Kinesis engine runs on.
pub const NODEJS: [Need; 2] = [need("node", "nodejs"), need("npm", "npm")];

/// Prometheus's own tool for rules.
pub const PROMETHEUS: [Need; 1] = [need("promtool", "prometheus")];

/// The pool before Postgres.
pub const POOL: [Need; 1] = [need("pgbouncer", "pgbouncer")];

const fn need(file: &'static str, package: &'static str) -> Need {
    Need { file, package }
}

/// Whether this process may do what the bed does to the machine.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs what is missing of these.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<_> = needs
        .iter()
        .filter(|need| find(need.file).is_none())
        .map(|need| need.package)
        .collect();
    install(&missing)
}

/// Installs Postgres unless its server is there; where its programs are.
pub fn ensure_postgres() -> Result<std::path::PathBuf> {
    if let Some(found) = postgres() {
        return Ok(found);
    }
    install(&["postgresql"])?;
    postgres().ok_or_else(|| {
        BedError::new("no Postgres server below /usr/lib/postgresql after its installation")
    })
}

/// The newest Postgres that the system has.
fn postgres() -> Option<std::path::PathBuf> {
    let mut found: Vec<(u32, std::path::PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("postgres").is_file().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if find("apt-get").is_none() || !is_root() {
        return Err(BedError::new(format!(
            "needs these packages of the system: {list}; install them (Debian: apt-get install \
             {list}) and try again"
        )));
    }
    say(format_args!("installing packages of the system: {list}"));
    stage("system packages", || {
        // The services that come with packages are not to start: the bed starts its own.
        let policy = ServicesOff::set();
        let apt = |args: &[&str]| {
            output(
                command("apt-get")
                    .args(args)
                    .env("DEBIAN_FRONTEND", "noninteractive"),
            )
        };
        let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
        args.extend(packages);
        // With a list of packages that is current this is enough.
        let done = apt(&args)
            .or_else(|_| apt(&["update", "-q"]).and_then(|_| apt(&args)))
            .map(drop);
        drop(policy);
        done
    })
}

/// Debian asks this file before it starts a service of a package that was just installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

struct ServicesOff;

impl ServicesOff {
    /// None where the machine has a policy of its own already.
    fn set() -> Option<ServicesOff> {
        use std::os::unix::fs::PermissionsExt as _;
        if std::path::Path::new(POLICY).exists() {
            return None;
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").ok()?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)).ok()?;
        Some(ServicesOff)
    }
}

impl Drop for ServicesOff {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(POLICY);
    }
}
