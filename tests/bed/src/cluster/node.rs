//! A node: containerd, kubelet and kube-proxy, in a mount namespace of their own. What they and the
//! pods mount is in nobody else's table and goes with the last of them, and so do their files in
//! places that are fixed (`/run/containerd`, `/var/lib/cni`, `/var/lib/kubelet`).

use std::path::Path;
use std::process::Command;

use super::network::{self, Namespace, address};
use super::process;
use super::state::until;
use super::{State, cgroup};
use crate::command::{command, find, output};
use crate::error::{BedError, Doing as _, Result};
use crate::pins::Kit;

/// Folders that are hidden behind the node's own, if the machine has them; made if it has not.
pub(super) const HIDDEN: [&str; 2] = ["/var/lib/cni", "/var/lib/kubelet"];

/// The name under which a process of a node is recorded.
pub(super) fn process_name(node: usize, process: &str) -> String {
    format!("{process}-{node}")
}

/// Starts containerd, and gives it the images that every node has.
pub(super) fn start_containerd(state: &State, node: usize) -> Result<()> {
    let folder = state.make(format!("node-{node}"))?;
    for name in ["cni", "cni-cache", "kubelet", "pods", "volumeplugins"] {
        state.make(format!("node-{node}/{name}"))?;
    }
    for hidden in HIDDEN {
        if !Path::new(hidden).exists() {
            std::fs::create_dir_all(hidden).doing(format_args!("making {hidden}"))?;
            // For `down` to remove it again.
            std::fs::write(state.file(mark(hidden)), "").doing("writing")?;
        }
    }
    let config = state.write(format!("node-{node}/containerd.toml"), &containerd(&folder))?;
    state.write(
        format!("node-{node}/cni/10-bed.conflist"),
        &cni(&folder, node),
    )?;
    let program = find("containerd").ok_or_else(|| BedError::new("containerd: not found"))?;
    // Mounts that the machine makes later are seen; those of the node are not, outside of it.
    let script = r#"set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 run /run
mount --bind "$1/cni-cache" /var/lib/cni
mount --bind "$1/kubelet" /var/lib/kubelet
shift
exec "$@""#;
    let mut start = Namespace::of_node(state, node).enter("unshare");
    start
        .args([
            "--mount",
            "--propagation",
            "slave",
            "--",
            "sh",
            "-c",
            script,
        ])
        .arg("node")
        .arg(&folder)
        .arg(program)
        .arg("--config")
        .arg(config);
    let recorded = process::start(&start, &state.log(&process_name(node, "containerd")))?;
    state.record(&process_name(node, "containerd"), &recorded)?;
    until(state, "containerd", || {
        ctr(state, node, &["version"]).is_ok()
    })?;
    let kubernetes = Kit::Kubernetes.ensure()?;
    import(state, node, &kubernetes.join("pause.tar"))?;
    import(state, node, &Kit::CoreDns.program("coredns.tar")?)
}

/// Starts the parts that need the API server.
pub(super) fn start_kubelet(state: &State, node: usize) -> Result<()> {
    cgroup::Groups::of_node(state, node).make()?;
    let folder = state.node(node);
    let resolv = state.write("resolv.conf", "nameserver 127.0.0.1\n")?;
    let config = state.write(
        format!("node-{node}/kubelet.yaml"),
        &kubelet(state, node, &resolv),
    )?;
    let kubeconfig = |name: &str| {
        let file = state.file(format!("{name}.kubeconfig"));
        format!("--kubeconfig={}", file.display())
    };
    spawn(
        state,
        node,
        "kubelet",
        &[
            kubeconfig(&format!("node-{node}")),
            format!("--config={}", config.display()),
            format!("--root-dir={}", folder.join("kubelet").display()),
            format!("--hostname-override=node-{node}"),
            format!("--node-ip={}", address(node)),
            format!("--cert-dir={}", folder.join("pki").display()),
        ],
    )?;
    spawn(
        state,
        node,
        "kube-proxy",
        &[
            kubeconfig("proxy"),
            format!("--hostname-override=node-{node}"),
            format!("--cluster-cidr={}", network::PODS),
            "--proxy-mode=iptables".into(),
            // The machine's table is not ours to size.
            "--conntrack-max-per-core=0".into(),
            "--conntrack-min=0".into(),
            format!("--bind-address={}", address(node)),
        ],
    )
}

fn spawn(state: &State, node: usize, program: &str, args: &[String]) -> Result<()> {
    let mut command = within(state, node, Kit::Kubernetes.program(program)?)?;
    command.args(args);
    let name = process_name(node, program);
    let recorded = process::start(&command, &state.log(&name))?;
    state.record(&name, &recorded)
}

/// A command in the node's network and among its mounts.
fn within(state: &State, node: usize, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let containerd = state.recorded(&process_name(node, "containerd"))?;
    let mut enter = command("nsenter");
    enter
        .arg(format!("--net=/proc/{}/ns/net", containerd.id))
        .arg(format!("--mount=/proc/{}/ns/mnt", containerd.id))
        .arg("--")
        .arg(program);
    Ok(enter)
}

/// Imports an image archive.
pub(super) fn import(state: &State, node: usize, archive: &Path) -> Result<()> {
    let archive = archive
        .to_str()
        .ok_or_else(|| BedError::new(format!("{}: not UTF-8", archive.display())))?;
    ctr(state, node, &["-n", "k8s.io", "images", "import", archive]).map(drop)
}

fn ctr(state: &State, node: usize, args: &[&str]) -> Result<String> {
    let socket = state.node(node).join("containerd.sock");
    output(command("ctr").arg("--address").arg(socket).args(args))
}

/// The file that says that a hidden folder was made by us.
pub(super) fn mark(hidden: &str) -> String {
    format!("made{}", hidden.replace('/', "-"))
}

fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    // Without the right to lower a process's OOM score, which virtual machines may lack, pods
    // could not start at all.
    format!(
        r#"version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
oom_score = 0
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/worldstream-bed/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"#
    )
}

/// A veth pair a pod, whose end in the node is a route: there is no bridge, so every packet meets
/// kube-proxy's rules.
fn cni(folder: &Path, node: usize) -> String {
    let folder = folder.display();
    let pods = network::pods(node);
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "bed", "plugins": [
  {{"type": "ptp", "ipMasq": false, "ipam": {{
    "type": "host-local", "dataDir": "{folder}/addresses",
    "ranges": [[{{"subnet": "{pods}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
]}}
"#
    )
}

fn kubelet(state: &State, node: usize, resolv: &Path) -> String {
    let folder = state.node(node);
    let folder = folder.display();
    let group = cgroup::name(state, node);
    let dns = network::DNS;
    let resolv = resolv.display();
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: /{group}
clusterDNS: ["{dns}"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{folder}/containerd.sock
failSwapOn: false
evictionHard: {{}}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
maxPods: 250
podLogsDir: {folder}/pods
resolvConf: {resolv}
volumePluginDir: {folder}/volumeplugins
"#
    )
}
