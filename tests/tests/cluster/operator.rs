//! The operator, installed by its chart for as long as this lives.

use std::time::{Duration, Instant};

use worldstream_tests::bed::{Bed, Images};
use worldstream_tests::page::Pages;
use worldstream_tests::repository;

use crate::space::PATIENCE;

pub const SYSTEM: &str = "worldstream-suite";

/// An operator that runs in the cluster with the rights of its chart, and looks after all
/// namespaces.
pub struct Operator {
    pub bed: &'static dyn Bed,
    pub images: &'static Images,
    /// The node that it runs on.
    pub node: String,
    /// The API server, for looking often.
    pub pages: Pages,
}

impl Operator {
    pub fn install() -> Operator {
        let bed = worldstream_tests::cluster(2);
        // Built before threads ask for it.
        worldstream_tests::program();
        let images = worldstream_tests::images(bed);
        bed.place().enter().unwrap();
        bed.restricted_namespace(SYSTEM).unwrap();
        let node = bed.nodes().unwrap().swap_remove(0);
        let pages = Pages::of(bed);
        let operator = Operator {
            bed,
            images,
            node,
            pages,
        };
        // Other suites may have applied the definitions by hand.
        operator.upgrade("worldstream-crds", &["--take-ownership".to_owned()]);
        let mut values = vec!["--wait".to_owned(), "--timeout=10m".to_owned()];
        for (value, image) in [
            ("image", &images.operator),
            ("worker.image", &images.worker),
        ] {
            let (repository, tag) = image.rsplit_once(':').unwrap();
            values.push("--set".into());
            values.push(format!("{value}.repository={repository},{value}.tag={tag}"));
        }
        let node = &operator.node;
        let selector = format!("pod.nodeSelector.kubernetes\\.io/hostname={node}");
        values.extend(["--set".into(), selector]);
        operator.upgrade("worldstream", &values);
        operator.until_it_leads();
        operator
    }

    /// One that is ready may still wait for the Lease of one that was here before.
    pub fn until_it_leads(&self) {
        let leads = || self.pods().contains(&self.holder("worldstream"));
        wait("an operator that leads", leads);
    }

    /// Its pods, by name.
    pub fn pods(&self) -> Vec<String> {
        self.names("pods", ".metadata.name")
    }

    /// Who has a Lease; nobody: an empty name.
    pub fn holder(&self, lease: &str) -> String {
        let path = "jsonpath={.spec.holderIdentity}";
        let get = ["-n", SYSTEM, "get", "lease", lease, "-o", path];
        let get = get.iter().chain(&["--ignore-not-found"]);
        self.bed.kubectl(get).unwrap().trim().to_owned()
    }

    /// A field of all objects of a kind beside it, where they have it.
    pub fn names(&self, kind: &str, path: &str) -> Vec<String> {
        let path = format!("jsonpath={{.items[*]{path}}}");
        let said = self
            .bed
            .kubectl(["-n", SYSTEM, "get", kind, "-o", &path])
            .unwrap();
        said.split_whitespace().map(str::to_owned).collect()
    }

    fn upgrade(&self, chart: &str, more: &[String]) {
        let folder = repository()
            .join("charts")
            .join(chart)
            .display()
            .to_string();
        let mut args: Vec<String> = ["upgrade", "--install", chart, &folder, "-n", SYSTEM]
            .map(str::to_owned)
            .to_vec();
        args.extend_from_slice(more);
        self.bed.helm(args).unwrap();
    }

    /// So many of it run.
    pub fn scale(&self, replicas: u32) {
        let replicas = format!("--replicas={replicas}");
        let args = ["-n", SYSTEM, "scale", "deployment/worldstream", &replicas];
        self.bed.kubectl(args).unwrap();
        let rollout = [
            "-n",
            SYSTEM,
            "rollout",
            "status",
            "deployment/worldstream",
            "--timeout=600s",
        ];
        self.bed.kubectl(rollout).unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let args = ["-n", SYSTEM, "logs", "deployment/worldstream", "--tail=-1"];
        self.bed.kubectl(args).unwrap()
    }
}

impl Operator {
    /// Takes it away: its Lease goes with it, although its rights go first.
    pub fn uninstall(self) {
        self.remove();
        wait("the Lease to go", || {
            !self
                .names("leases", ".metadata.name")
                .contains(&"worldstream".to_owned())
        });
    }

    fn remove(&self) {
        for release in ["worldstream", "worldstream-crds"] {
            let uninstall = ["uninstall", release, "-n", SYSTEM, "--ignore-not-found"];
            if let Err(error) = self.bed.helm(uninstall.iter().chain(&["--wait"])) {
                println!("{error}");
            }
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // The next suite installs its own.
        if std::thread::panicking() {
            self.remove();
        }
    }
}

/// Waits for a condition of the cluster.
#[track_caller]
pub fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(
            began.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(250));
    }
}
