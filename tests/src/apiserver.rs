//! A bare API server: etcd and kube-apiserver as processes on loopback, with our resources
//! installed and no nodes. What a worker needs of a cluster, and nothing else. Ended when dropped.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tempfile::TempDir;
use worldstream_bed::Kit;

/// A worker's user, and its token.
const WORKER: (&str, &str) = ("worker", "token-of-a-worker");
const ADMIN: (&str, &str) = ("admin", "token-of-the-admin");

/// The processes.
pub struct ApiServer {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    etcd_port: u16,
    etcd: Child,
    server: Mutex<Option<Child>>,
}

impl ApiServer {
    /// Starts one, and installs our resources.
    pub fn start() -> ApiServer {
        let dir = tempfile::tempdir().expect("a folder");
        let programs = Kit::Kubernetes
            .ensure()
            .expect("the programs of Kubernetes");
        let path = |name: &str| dir.path().join(name);
        let tokens = format!(
            "{},{},{},\"system:masters\"\n{},{},{},\"\"\n",
            ADMIN.1, ADMIN.0, ADMIN.0, WORKER.1, WORKER.0, WORKER.0
        );
        std::fs::write(path("tokens.csv"), tokens).expect("a file can be written");
        let key = rcgen::KeyPair::generate().expect("a key");
        std::fs::write(path("accounts.pem"), key.serialize_pem()).expect("a file");
        std::fs::write(path("accounts.pub"), key.public_key_pem()).expect("a file");
        let [port, etcd_port, peer_port] = free_ports();
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peers = format!("http://127.0.0.1:{peer_port}");
        let etcd = spawn(
            Command::new(programs.join("etcd"))
                .arg("--data-dir")
                .arg(path("etcd"))
                .args(["--listen-client-urls", &etcd_url])
                .args(["--advertise-client-urls", &etcd_url])
                .args(["--listen-peer-urls", &peers])
                .args(["--initial-advertise-peer-urls", &peers])
                .args(["--initial-cluster", &format!("default={peers}")])
                .arg("--unsafe-no-fsync"),
            &path("etcd.log"),
        );
        let server = ApiServer {
            dir,
            programs,
            port,
            etcd_port,
            etcd,
            server: Mutex::new(None),
        };
        for (user, token) in [ADMIN, WORKER] {
            server.write_kubeconfig(user, token);
        }
        server.up();
        server.install();
        server
    }

    /// Starts the API server, if it does not run, and waits until it is ready.
    pub fn up(&self) {
        let path = |name: &str| self.dir.path().join(name);
        let mut running = self.server.lock().expect("nobody panics with it");
        if running.is_none() {
            let [key, public] = ["accounts.pem", "accounts.pub"].map(path);
            let (key, public) = (key.display(), public.display());
            *running = Some(spawn(
                Command::new(self.programs.join("kube-apiserver"))
                    .arg(format!(
                        "--etcd-servers=http://127.0.0.1:{}",
                        self.etcd_port
                    ))
                    .arg(format!("--cert-dir={}", path("pki").display()))
                    .args(["--advertise-address=127.0.0.1", "--bind-address=127.0.0.1"])
                    .arg(format!("--secure-port={}", self.port))
                    .arg("--service-account-issuer=https://kubernetes.default.svc")
                    .arg(format!("--service-account-key-file={public}"))
                    .arg(format!("--service-account-signing-key-file={key}"))
                    .arg("--service-cluster-ip-range=10.231.0.0/24")
                    .arg(format!(
                        "--token-auth-file={}",
                        path("tokens.csv").display()
                    ))
                    .arg("--authorization-mode=RBAC")
                    .arg("--disable-admission-plugins=ServiceAccount"),
                &path("apiserver.log"),
            ));
        }
        drop(running);
        let end = Instant::now() + Duration::from_secs(120);
        while !self.is_ready() {
            let log = || std::fs::read_to_string(path("apiserver.log")).unwrap_or_default();
            let mut running = self.server.lock().expect("nobody panics with it");
            let ended = running
                .as_mut()
                .is_none_or(|it| !matches!(it.try_wait(), Ok(None)));
            drop(running);
            assert!(!ended && Instant::now() < end, "no API server: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the API server; what it keeps stays in etcd.
    pub fn down(&self) {
        let child = self.server.lock().expect("nobody panics with it").take();
        end(child);
    }

    /// A kubeconfig with all rights.
    pub fn admin(&self) -> PathBuf {
        self.kubeconfig(ADMIN.0)
    }

    /// A kubeconfig with the rights that are given to the user `worker`.
    pub fn worker(&self) -> PathBuf {
        self.kubeconfig(WORKER.0)
    }

    /// A client with all rights. To be used on the runtime that it was made on.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.admin()).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.expect("a configuration")).expect("a client")
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.path().join(format!("{user}.kubeconfig"))
    }

    fn write_kubeconfig(&self, user: &str, token: &str) {
        let certificate = self.dir.path().join("pki/apiserver.crt");
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bare", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": certificate,
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "bare", "context": {"cluster": "bare", "user": user}}],
            "current-context": "bare",
        });
        std::fs::write(self.kubeconfig(user), document.to_string()).expect("a file");
    }

    fn is_ready(&self) -> bool {
        // The certificate is made by the server at its first start.
        if !self.dir.path().join("pki/apiserver.crt").exists() {
            return false;
        }
        blocking(async {
            let client = self.client().await;
            let request = http::Request::get("/readyz").body(Vec::new());
            client
                .request_text(request.expect("a request"))
                .await
                .is_ok()
        })
    }

    fn install(&self) {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
        blocking(async {
            let definitions: Api<CustomResourceDefinition> = Api::all(self.client().await);
            for definition in worldstream_crds::crds() {
                let made = definitions
                    .create(&PostParams::default(), &definition)
                    .await;
                made.expect("the API server takes our resources");
            }
            let end = Instant::now() + Duration::from_secs(60);
            for definition in worldstream_crds::crds() {
                let name = definition.metadata.name.unwrap_or_default();
                loop {
                    let found = definitions.get(&name).await.expect("it was made");
                    let conditions = found.status.and_then(|status| status.conditions);
                    let established = conditions
                        .unwrap_or_default()
                        .iter()
                        .any(|it| it.type_ == "Established" && it.status == "True");
                    if established {
                        break;
                    }
                    assert!(Instant::now() < end, "{name} is not established");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.down();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

/// Runs a future to its end on a runtime of its own.
pub fn blocking<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let out = File::options().create(true).append(true).open(log);
    let out = out.expect("a log can be made");
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a log can be shared"))
        .stderr(out)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are taken before one is let go of.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|held| held.local_addr().expect("an address").port())
}
