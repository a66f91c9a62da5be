//! The programs that the bed runs: built once from pinned sources, kept outside of the checkout.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::command::{command, find, output};
use crate::error::{BedError, Doing as _, Result};
use crate::image::Image;
use crate::pins::{KUBERNETES, Kit, cache};
use crate::say::{say, stage};
use crate::system;

/// Written last: a folder without it is not complete.
const COMPLETE: &str = "complete";
/// The oldest Go that builds the bed's modules.
const GO: (u32, u32) = (1, 24);

impl Kit {
    /// Its folder, built if it is not there yet. Others that want it wait.
    pub fn ensure(self) -> Result<PathBuf> {
        let folder = self.folder();
        if folder.join(COMPLETE).exists() {
            return Ok(folder);
        }
        std::fs::create_dir_all(cache()).doing(format_args!("making {}", cache().display()))?;
        let _lock = lock(&cache().join(format!("{}.lock", self.name())))?;
        if folder.join(COMPLETE).exists() {
            return Ok(folder);
        }
        say(format_args!(
            "building {} {}, once, {} on 2 cores; kept in {}",
            self.name(),
            self.version(),
            self.duration(),
            folder.display()
        ));
        stage(&format!("building {}", self.name()), || {
            let made = folder.with_extension("new");
            remove(&made)?;
            std::fs::create_dir_all(&made).doing(format_args!("making {}", made.display()))?;
            self.build(&made)?;
            std::fs::write(made.join(COMPLETE), self.version()).doing("writing")?;
            remove(&folder)?;
            std::fs::rename(&made, &folder).doing(format_args!("moving {}", made.display()))
        })?;
        Ok(folder)
    }

    /// One of its programs, built if it is not there yet.
    pub fn program(self, name: &str) -> Result<PathBuf> {
        let file = self.ensure()?.join(name);
        if file.exists() {
            Ok(file)
        } else {
            Err(BedError::new(format!(
                "{}: no such program",
                file.display()
            )))
        }
    }

    fn build(self, into: &Path) -> Result<()> {
        match self {
            Kit::Kubernetes => kubernetes(into),
            Kit::CoreDns => {
                install(
                    into,
                    &format!("github.com/coredns/coredns@v{}", self.version()),
                )?;
                Image::new("docker.io/worldstream-bed/coredns:1")
                    .program("coredns", &into.join("coredns"))
                    .write(&into.join("coredns.tar"))
            }
            Kit::Helm => install(
                into,
                &format!("helm.sh/helm/v3/cmd/helm@v{}", self.version()),
            ),
            Kit::Minio => install(into, &format!("github.com/minio/minio@{}", self.version())),
            Kit::Kinesis => {
                system::ensure(&system::NODEJS)?;
                write_sources(self, into)?;
                output(
                    command("npm")
                        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
                        .current_dir(into),
                )
                .map(drop)
            }
        }
    }
}

/// The six parts of Kubernetes and etcd are the module's tools.
fn kubernetes(into: &Path) -> Result<()> {
    let sources = into.join("src");
    write_sources(Kit::Kubernetes, &sources)?;
    let (major, minor) = KUBERNETES
        .split_once('.')
        .and_then(|(major, rest)| Some((major, rest.split_once('.')?.0)))
        .ok_or_else(|| BedError::new(format!("{KUBERNETES}: not a version of Kubernetes")))?;
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} \
         -X {version}.gitMinor={minor}"
    );
    let parts = [
        "go.etcd.io/etcd/server/v3",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
        "./pause",
        "./probe",
    ];
    output(
        go()?
            .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(into)
            .args(parts)
            .current_dir(&sources),
    )?;
    // The folder of etcd's main package is called so.
    std::fs::rename(into.join("server"), into.join("etcd")).doing("renaming etcd")?;
    remove(&sources)?;
    for name in ["pause", "probe"] {
        Image::new(&format!("docker.io/worldstream-bed/{name}:1"))
            .program(name, &into.join(name))
            .write(&into.join(format!("{name}.tar")))?;
    }
    Ok(())
}

fn install(into: &Path, package: &str) -> Result<()> {
    output(
        go()?
            .args(["install", "-trimpath", package])
            .env("GOBIN", into),
    )
    .map(drop)
}

/// Go, if it is there and new enough.
fn go() -> Result<std::process::Command> {
    let wanted = format!(
        "needs Go {}.{} or newer (https://go.dev/dl) in the PATH",
        GO.0, GO.1
    );
    if find("go").is_none() {
        return Err(BedError::new(wanted));
    }
    let found = output(command("go").args(["env", "GOVERSION"]))?;
    let version = found.trim().trim_start_matches("go");
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= GO => {
            let mut go = command("go");
            go.env("CGO_ENABLED", "0").env_remove("GOBIN");
            Ok(go)
        }
        _ => Err(BedError::new(format!("{wanted}; found {version}"))),
    }
}

fn write_sources(kit: Kit, into: &Path) -> Result<()> {
    for (name, text) in kit.sources() {
        let file = into.join(name);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).doing(format_args!("making {}", folder.display()))?;
        }
        std::fs::write(&file, text).doing(format_args!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(format_args!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Holds a lock file until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).doing(format_args!("making {}", path.display()))?;
    if file.try_lock().is_err() {
        say(format_args!(
            "waiting for another build ({})",
            path.display()
        ));
        file.lock()
            .doing(format_args!("locking {}", path.display()))?;
    }
    Ok(file)
}
