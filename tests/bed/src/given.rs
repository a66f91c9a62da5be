//! A cluster that somebody else brought up, named by KUBECONFIG: kind, or any other whose environment
//! says what this cannot find out.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bed::{Bed, Reached, SharedFolder, empty_folder};
use crate::cluster::Signal;
use crate::command::{command, find, output, run};
use crate::error::{BedError, Doing as _, Result};
use crate::pins::Kit;
use crate::place::Place;

/// The folder that `kind-config.yaml` mounts into every node, on the host and there.
const KIND_SHARED: (&str, &str) = ("/tmp/worldstream-kind", "/worldstream");

/// A cluster of somebody else's.
#[derive(Debug, Clone)]
pub struct GivenCluster {
    kubeconfig: PathBuf,
    /// The name of the kind cluster, if it is one.
    kind: Option<String>,
    address: IpAddr,
}

impl GivenCluster {
    /// The cluster that a kubeconfig's current context leads to.
    pub fn new(kubeconfig: PathBuf) -> Result<GivenCluster> {
        let mut context = command("kubectl");
        context
            .args(["config", "current-context"])
            .env("KUBECONFIG", &kubeconfig);
        let context = output(&mut context)?;
        let kind = context.trim().strip_prefix("kind-").map(str::to_owned);
        let address = match (setting("WORLDSTREAM_BED_HOST"), &kind) {
            (Some(address), _) => address
                .parse()
                .doing(format_args!("WORLDSTREAM_BED_HOST={address}"))?,
            (None, Some(cluster)) => gateway(cluster)?,
            (None, None) => {
                return Err(missing(
                    "WORLDSTREAM_BED_HOST",
                    "this machine's address as pods see it",
                ));
            }
        };
        Ok(GivenCluster {
            kubeconfig,
            kind,
            address,
        })
    }

    fn kind_alone(&self, node: &str) -> Result<()> {
        match self.kind {
            Some(_) => Ok(()),
            None => Err(BedError::new(format!(
                "{node}: processes of nodes are reached in kind's clusters alone"
            ))),
        }
    }

    fn on_node(&self, node: &str, words: &[&str]) -> Result<String> {
        self.kind_alone(node)?;
        run("docker", ["exec", node].iter().chain(words))
    }
}

impl Bed for GivenCluster {
    fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    fn place(&self) -> Place {
        Place {
            address: self.address,
            namespace: None,
        }
    }

    fn command(&self, program: &str) -> Result<Command> {
        // Somebody with a cluster has these; the bed's own are built where they are missing.
        let mut command = match (program, find(program)) {
            ("helm", None) => command(Kit::Helm.program("helm")?),
            ("kubectl", None) => command(Kit::Kubernetes.program("kubectl")?),
            _ => command(program),
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        Ok(command)
    }

    fn load(&self, archives: &[PathBuf]) -> Result<()> {
        for archive in archives {
            let file = archive.display().to_string();
            match (&self.kind, setting("WORLDSTREAM_BED_LOAD")) {
                (_, Some(words)) => run("sh", ["-c", &words, "load", &file])?,
                (Some(name), None) => {
                    run("kind", ["load", "image-archive", &file, "--name", name])?
                }
                (None, None) => {
                    return Err(missing(
                        "WORLDSTREAM_BED_LOAD",
                        "a shell command that loads the image archive $1 into every node",
                    ));
                }
            };
        }
        Ok(())
    }

    fn shared_folder(&self, name: &str) -> Result<SharedFolder> {
        let pair = setting("WORLDSTREAM_BED_SHARED");
        let (host, node) = match (&pair, &self.kind) {
            (Some(pair), _) => pair.split_once(':').ok_or_else(|| {
                BedError::new(format!(
                    "WORLDSTREAM_BED_SHARED={pair}: HOST:NODE, two paths"
                ))
            })?,
            (None, Some(_)) => KIND_SHARED,
            (None, None) => {
                return Err(missing(
                    "WORLDSTREAM_BED_SHARED",
                    "HOST:NODE, the path of a folder on this machine and on every node",
                ));
            }
        };
        let shared = SharedFolder {
            host: PathBuf::from(host).join(name),
            node: PathBuf::from(node).join(name),
        };
        empty_folder(&shared.host)?;
        Ok(shared)
    }

    fn reach(&self, namespace: &str, service: &str, port: u16) -> Result<Reached> {
        let doing = format!("forwarding to Service {namespace}/{service}");
        let mut forward = self.command("kubectl")?;
        forward
            .args(["-n", namespace, "port-forward"])
            .args([format!("service/{service}"), format!(":{port}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut forwarding = forward.spawn().doing(&doing)?;
        let first = forwarding.stdout.take().and_then(|stdout| {
            let mut lines = BufReader::new(stdout).lines();
            let first = lines.next()?.ok()?;
            // Read on, or it would stop at a full pipe.
            std::thread::spawn(move || lines.for_each(drop));
            Some(first)
        });
        // Forwarding from 127.0.0.1:40001 -> 8080
        let local = first
            .as_deref()
            .and_then(|line| line.split(':').nth(1)?.split(' ').next()?.parse().ok());
        let reached = Reached {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), local.unwrap_or(0)),
            forwarding: Some(forwarding),
        };
        match local {
            Some(_) => Ok(reached),
            None => Err(BedError::new(format!("{doing}: kubectl ended: {first:?}"))),
        }
    }

    fn signal_kubelet(&self, node: &str, signal: Signal) -> Result<()> {
        let name = format!("--signal={}", signal.name());
        self.on_node(node, &["systemctl", "kill", &name, "kubelet"])
            .map(drop)
    }

    fn signal_api_server(&self, signal: Signal) -> Result<()> {
        let Some(name) = &self.kind else {
            return Err(BedError::new(
                "the API server's process is reached in kind's clusters alone",
            ));
        };
        let node = format!("{name}-control-plane");
        let name = format!("-{}", signal.name());
        self.on_node(&node, &["pkill", &name, "-x", "kube-apiserver"])
            .map(drop)
    }

    fn signal_containers(&self, node: &str, words: &str, signal: Signal) -> Result<usize> {
        self.kind_alone(node)?;
        // By no shell, which would find itself: it has the words among its own.
        let mut find = command("docker");
        find.args(["exec", node, "pgrep", "-f", "--", words]);
        let found = find.output().doing(format_args!("pgrep on {node}"))?;
        let ids = String::from_utf8_lossy(&found.stdout).into_owned();
        let ids: Vec<_> = ids.split_whitespace().collect();
        match found.status.code() {
            Some(0) => {}
            // None is none, and no failure.
            Some(1) => return Ok(0),
            _ => {
                let said = String::from_utf8_lossy(&found.stderr).trim().to_owned();
                return Err(BedError::new(format!("pgrep on {node}: {said}")));
            }
        }
        let name = format!("-{}", signal.name());
        let mut kill = vec!["kill", name.as_str()];
        kill.extend(&ids);
        self.on_node(node, &kill)?;
        Ok(ids.len())
    }

    fn audit_log(&self) -> Option<PathBuf> {
        None
    }
}

/// This machine's address in the network of a kind cluster's nodes: what they have as their gateway.
/// The network itself may not say it, where it was made without one.
fn gateway(cluster: &str) -> Result<IpAddr> {
    let node = format!("{cluster}-control-plane");
    let format = "{{range .NetworkSettings.Networks}}{{.Gateway}} {{end}}";
    let gateways = run("docker", ["inspect", &node, "-f", format])?;
    gateways
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .find(IpAddr::is_ipv4)
        .ok_or_else(|| BedError::new(format!("container {node} has no gateway: {gateways}")))
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn missing(name: &str, what: &str) -> BedError {
    BedError::new(format!(
        "KUBECONFIG names a cluster that is not kind's: {name} must say {what}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_of_kinds_has_the_shared_folder() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kind-config.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let (host, node) = KIND_SHARED;
        assert!(text.contains(&format!("{{hostPath: {host}, containerPath: {node}}}")));
        assert_eq!(
            text.matches("extraMounts:").count(),
            text.matches("- role:").count()
        );
    }
}
