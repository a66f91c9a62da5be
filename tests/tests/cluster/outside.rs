//! Operators as processes of the host: they can be killed without a back-off, frozen and asked,
//! and there can be several. Each looks after the namespace of its case alone.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::built;
use worldstream_tests::page::page;

use crate::operator::{Operator, SYSTEM};
use crate::space::PATIENCE;

/// An operator that runs on the host. Ended when dropped.
pub struct Outside<'a> {
    operator: &'a Operator,
    namespace: String,
    identity: String,
    child: Child,
    folder: TempDir,
    /// Where it serves its figures.
    metrics: String,
}

impl<'a> Outside<'a> {
    /// One that looks after a namespace, with a Lease of that name.
    pub fn start(operator: &'a Operator, namespace: &str, identity: &str) -> Outside<'a> {
        let place = operator.bed.place();
        let metrics = format!("{}:{}", place.address, place.free_port().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command: Command = operator.bed.command(program()).unwrap();
        command.args(["--worker-image", &operator.images.worker]);
        command.args(["--namespace", namespace, "--metrics-addr", &metrics]);
        command.args(["--lease-namespace", SYSTEM, "--lease-name", namespace]);
        command.args(["--identity", identity]);
        command.stdout(Stdio::null()).stderr(log);
        Outside {
            operator,
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            child: command.spawn().unwrap(),
            folder,
            metrics,
        }
    }

    /// Whether it has the Lease.
    pub fn leads(&self) -> bool {
        holder(self.operator, &self.namespace) == self.identity
    }

    /// Waits until it leads.
    #[track_caller]
    pub fn until_it_leads(&self) {
        let what = format!("{} leads {}", self.identity, self.namespace);
        until(&what, || self.leads(), || self.log());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.kill();
        *self = Outside::start(self.operator, &self.namespace, &self.identity);
    }

    pub fn signal(&self, signal: Signal) {
        let name = format!("-{}", signal.name());
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let mut end = None;
        let what = format!("{}: its end", self.identity);
        let log = self.folder.path().join("log");
        until(
            &what,
            || {
                end = self.child.try_wait().unwrap();
                end.is_some()
            },
            || std::fs::read_to_string(log).unwrap(),
        );
        end.unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Its memory in KiB: now, and at most so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// The processor time that it has used so far, in seconds.
    pub fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let field = |n| rest.split_whitespace().nth(n).unwrap().parse::<f64>();
        // proc(5): utime and stime, in ticks of a hundredth of a second.
        (field(11).unwrap() + field(12).unwrap()) / 100.0
    }

    /// How many requests it has made at the API server: reads, and writes.
    pub fn requests(&self) -> (u64, u64) {
        let page = page(&self.metrics, "/metrics").expect("it serves its figures");
        let (mut reads, mut writes) = (0, 0);
        for line in page.lines() {
            let Some(labels) = line.strip_prefix("worldstream_operator_requests_total{") else {
                continue;
            };
            let count: u64 = labels.rsplit(' ').next().unwrap().parse().unwrap();
            match labels.contains("verb=\"get\"") || labels.contains("verb=\"list\"") {
                true => reads += count,
                false => writes += count,
            }
        }
        (reads, writes)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The operator's program. Figures are those of a release build, where one is given.
fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        std::env::var("WORLDSTREAM_OPERATOR")
            .unwrap_or_else(|_| built("worldstream-operator").display().to_string())
    });
    &PROGRAM
}

/// Who has the Lease of that name; empty: nobody.
pub fn holder(operator: &Operator, name: &str) -> String {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{name}");
    let lease = operator.pages.get(&path).unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str();
    holder.unwrap_or_default().to_owned()
}

#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool, explain: impl FnOnce() -> String) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > end {
            panic!("{what}: not within {PATIENCE:?}\n{}", explain());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
