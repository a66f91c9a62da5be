//! The control plane: etcd, API server, controller manager and scheduler, with a user each.

use std::io::Read as _;
use std::path::Path;

use super::network::{self, Namespace};
use super::process;
use super::state::until;
use super::{ADDRESS, State};
use crate::command::output;
use crate::error::{Doing as _, Result};
use crate::pins::Kit;

/// Where the API server listens.
const PORT: u16 = 6443;

/// Users, with their groups. Each has a kubeconfig of its name.
fn users() -> [(&'static str, String, &'static str); 6] {
    [
        ("admin", "admin".into(), "system:masters"),
        ("controllers", "system:kube-controller-manager".into(), ""),
        ("scheduler", "system:kube-scheduler".into(), ""),
        ("proxy", "system:kube-proxy".into(), ""),
        ("node-1", "system:node:node-1".into(), "system:nodes"),
        ("node-2", "system:node:node-2".into(), "system:nodes"),
    ]
}

/// Writes what is changed and by whom into a log, so that tests can count: reads, events, leases
/// and what the nodes report are left out.
const AUDIT: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: None, userGroups: ["system:nodes"]}
- level: None
  resources:
  - {group: "", resources: [events]}
  - {group: events.k8s.io, resources: [events]}
- {level: Metadata}
"#;

/// Starts etcd and the API server.
pub(super) fn start_api(state: &State) -> Result<()> {
    secrets(state)?;
    state.make("etcd")?;
    let audit = state.write("audit.yaml", AUDIT)?;
    let etcd = "http://127.0.0.1:2379";
    let run = |name: &str, program: &str, args: &[String]| spawn(state, name, program, args);
    run(
        "etcd",
        "etcd",
        &[
            format!("--data-dir={}", state.file("etcd").display()),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            "--listen-peer-urls=http://127.0.0.1:2380".into(),
            // What a bed holds need not outlive the machine.
            "--unsafe-no-fsync".into(),
            "--quota-backend-bytes=4294967296".into(),
        ],
    )?;
    let key = state.file("service-accounts.pem");
    let public = state.file("service-accounts.pub");
    run(
        "apiserver",
        "kube-apiserver",
        &[
            format!("--etcd-servers={etcd}"),
            format!("--cert-dir={}", state.file("pki").display()),
            format!("--advertise-address={ADDRESS}"),
            format!("--secure-port={PORT}"),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", public.display()),
            format!("--service-account-signing-key-file={}", key.display()),
            format!("--service-cluster-ip-range={}", network::SERVICES),
            format!("--token-auth-file={}", state.file("tokens.csv").display()),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            // Else logs and exec look for a name that no DNS knows.
            "--kubelet-preferred-address-types=InternalIP".into(),
            format!("--audit-policy-file={}", audit.display()),
            format!(
                "--audit-log-path={}",
                state.file("log/audit.jsonl").display()
            ),
        ],
    )
}

/// Waits until the API server is ready, and starts what works with it.
pub(super) fn start_controllers(state: &State) -> Result<()> {
    until(state, "the API server", || {
        kubectl(state, &["get", "--raw", "/readyz"]).is_ok()
    })?;
    let with = |name: &str| format!("{}", state.file(format!("{name}.kubeconfig")).display());
    let common = |name: &str| {
        vec![
            format!("--kubeconfig={}", with(name)),
            format!("--authentication-kubeconfig={}", with(name)),
            format!("--authorization-kubeconfig={}", with(name)),
            "--leader-elect=false".into(),
        ]
    };
    let key = state.file("service-accounts.pem");
    let mut controllers = common("controllers");
    controllers.extend([
        "--use-service-account-credentials".into(),
        format!("--service-account-private-key-file={}", key.display()),
        format!("--root-ca-file={}", ca(state)),
        "--allocate-node-cidrs=false".into(),
        // Tests make hundreds of Jobs, and wait for them to come to rest.
        "--kube-api-qps=100".into(),
        "--kube-api-burst=200".into(),
    ]);
    spawn(
        state,
        "controllers",
        "kube-controller-manager",
        &controllers,
    )?;
    spawn(state, "scheduler", "kube-scheduler", &common("scheduler"))
}

/// The certificate that the API server made for itself, which is its own authority.
fn ca(state: &State) -> String {
    state.file("pki/apiserver.crt").display().to_string()
}

/// Runs `kubectl` as the administrator.
pub(super) fn kubectl(state: &State, args: &[&str]) -> Result<String> {
    let kubectl = Kit::Kubernetes.program("kubectl")?;
    let mut command = Namespace::of_node(state, 1).enter(kubectl);
    command
        .arg(format!(
            "--kubeconfig={}",
            state.file("admin.kubeconfig").display()
        ))
        .args(args);
    output(&mut command)
}

fn spawn(state: &State, name: &str, program: &str, args: &[String]) -> Result<()> {
    let mut command = Namespace::of_node(state, 1).enter(Kit::Kubernetes.program(program)?);
    command.args(args);
    let recorded = process::start(&command, &state.log(name))?;
    state.record(name, &recorded)
}

/// A key for the tokens of service accounts; a token and a kubeconfig a user.
fn secrets(state: &State) -> Result<()> {
    let key = rcgen::KeyPair::generate().doing("making a key")?;
    private(&state.file("service-accounts.pem"), &key.serialize_pem())?;
    private(&state.file("service-accounts.pub"), &key.public_key_pem())?;
    let mut tokens = String::new();
    for (name, user, group) in users() {
        let token = random()?;
        tokens += &format!("{token},{user},{user},\"{group}\"\n");
        let kubeconfig = format!(
            r#"apiVersion: v1
kind: Config
clusters: [{{name: bed, cluster: {{server: "https://{ADDRESS}:{PORT}", certificate-authority: "{}"}}}}]
users: [{{name: {name}, user: {{token: "{token}"}}}}]
contexts: [{{name: bed, context: {{cluster: bed, user: {name}}}}}]
current-context: bed
"#,
            ca(state)
        );
        private(&state.file(format!("{name}.kubeconfig")), &kubeconfig)?;
    }
    private(&state.file("tokens.csv"), &tokens)
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut from| from.read_exact(&mut bytes))
        .doing("reading /dev/urandom")?;
    Ok(const_hex::encode(bytes))
}

/// Writes a file that only its owner reads.
fn private(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut to| to.write_all(text.as_bytes()))
        .doing(format_args!("writing {}", file.display()))
}
