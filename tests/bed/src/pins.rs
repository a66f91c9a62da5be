//! What the bed is made of: versions, and where the programs that were built of them are kept.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Kubernetes. From 1.35 on kubelets refuse machines with cgroup v1. Tied to `go/go.mod`.
pub const KUBERNETES: &str = "1.34.4";
const COREDNS: &str = "1.12.4";
const HELM: &str = "3.22.0";
const MINIO: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
const KINESIS: &str = "0.6.2";

/// Programs that are built and kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kit {
    /// etcd, the parts of Kubernetes, kubectl, and the pods' `pause` and `probe`.
    Kubernetes,
    /// The cluster's DNS.
    CoreDns,
    /// helm.
    Helm,
    /// The object store.
    Minio,
    /// The Kinesis engine, a package for Node.js.
    Kinesis,
}

impl Kit {
    /// All of them.
    pub const ALL: [Kit; 5] = [
        Kit::Kubernetes,
        Kit::CoreDns,
        Kit::Helm,
        Kit::Minio,
        Kit::Kinesis,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kit::Kubernetes => "kubernetes",
            Kit::CoreDns => "coredns",
            Kit::Helm => "helm",
            Kit::Minio => "minio",
            Kit::Kinesis => "kinesis",
        }
    }

    /// Its pinned version.
    pub fn version(self) -> &'static str {
        match self {
            Kit::Kubernetes => KUBERNETES,
            Kit::CoreDns => COREDNS,
            Kit::Helm => HELM,
            Kit::Minio => MINIO,
            Kit::Kinesis => KINESIS,
        }
    }

    /// How long it takes where nothing is cached, on two cores.
    pub fn duration(self) -> &'static str {
        match self {
            Kit::Kubernetes => "about 10 minutes",
            Kit::CoreDns | Kit::Helm => "about 3 minutes",
            Kit::Minio => "about 4 minutes",
            Kit::Kinesis => "seconds",
        }
    }

    /// Everything that decides what comes out: a change of it is another folder.
    pub(crate) fn sources(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Kit::Kubernetes => vec![
                ("go.mod", include_str!("../go/go.mod")),
                ("go.sum", include_str!("../go/go.sum")),
                ("pause/main.go", include_str!("../go/pause/main.go")),
                ("probe/main.go", include_str!("../go/probe/main.go")),
            ],
            Kit::Kinesis => vec![
                ("package.json", include_str!("../kinesis/package.json")),
                (
                    "package-lock.json",
                    include_str!("../kinesis/package-lock.json"),
                ),
                ("listen.js", include_str!("../kinesis/listen.js")),
            ],
            Kit::CoreDns | Kit::Helm | Kit::Minio => Vec::new(),
        }
    }

    /// Where it is kept, named by the digest of its pins.
    pub fn folder(self) -> PathBuf {
        let mut digest = Sha256::new();
        digest.update(self.version());
        for (name, text) in self.sources() {
            digest.update(name);
            digest.update(text);
        }
        let digest = const_hex::encode(&digest.finalize()[..6]);
        cache().join(format!("{}-{digest}", self.name()))
    }
}

/// The folder of everything that the bed has built: `WORLDSTREAM_BED_CACHE`, else below the
/// user's cache folder.
pub fn cache() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("WORLDSTREAM_BED_CACHE").unwrap_or_else(|| {
        set("XDG_CACHE_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("worldstream/bed")
    })
}
