//! The operator, installed by its chart for as long as this lives.

use crate::bed::{Bed, Images};
use crate::repository;

/// The namespace that it is installed in.
pub const SYSTEM: &str = "worldstream-suite";

/// An operator that runs in the cluster with the rights of its chart, and looks after all
/// namespaces.
pub struct Operator {
    /// The cluster.
    pub bed: &'static dyn Bed,
    /// This checkout's images.
    pub images: &'static Images,
    /// The node that it runs on.
    pub node: String,
}

impl Operator {
    /// Installs it and waits until it leads.
    pub fn install() -> Operator {
        let bed = crate::cluster(2);
        // Built before threads ask for it.
        crate::program();
        let images = crate::images(bed);
        bed.place().enter().unwrap();
        bed.restricted_namespace(SYSTEM).unwrap();
        let node = bed.nodes().unwrap().swap_remove(0);
        let operator = Operator { bed, images, node };
        // Other suites may have applied the definitions by hand.
        operator.upgrade("worldstream-crds", &["--take-ownership".to_owned()]);
        let mut values = vec!["--wait".to_owned(), "--timeout=3m".to_owned()];
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
    fn until_it_leads(&self) {
        let names = |kind: &str, path: &str| {
            let path = format!("jsonpath={{.items[*]{path}}}");
            self.bed
                .kubectl(["-n", SYSTEM, "get", kind, "-o", &path])
                .unwrap()
        };
        crate::stream::until("an operator that leads", || {
            let holders = names("leases", ".spec.holderIdentity");
            let pods = names("pods", ".metadata.name");
            let mut holders = holders.split_whitespace();
            holders.any(|it| pods.split_whitespace().any(|pod| pod == it))
        });
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
            "--timeout=180s",
        ];
        self.bed.kubectl(rollout).unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let args = ["-n", SYSTEM, "logs", "deployment/worldstream", "--tail=-1"];
        self.bed.kubectl(args).unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // The next suite installs its own.
        for release in ["worldstream", "worldstream-crds"] {
            if let Err(error) = self
                .bed
                .helm(["uninstall", release, "-n", SYSTEM, "--wait"])
            {
                println!("{error}");
            }
        }
    }
}
