//! Container images without a daemon: files to one layer, a configuration and a manifest, in one
//! archive that containerd, Docker and kind all import. The same input gives the same bytes.

mod sbom;
mod tar;
mod worldstream;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use sbom::sbom;
pub use worldstream::{Images, held_back, images};

use crate::error::{Doing as _, Result};
use tar::Tar;

/// The user of every image: nobody that a node knows.
const USER: &str = "65532:65532";

/// An image FROM scratch.
#[derive(Debug, Clone)]
pub struct Image {
    reference: String,
    files: Vec<(String, Content, u32)>,
    entrypoint: Vec<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Content {
    File(std::path::PathBuf),
    Bytes(Vec<u8>),
}

impl Image {
    /// An empty image of this full name, with registry and tag.
    pub fn new(reference: &str) -> Image {
        Image {
            reference: reference.to_owned(),
            files: Vec::new(),
            entrypoint: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Its program: lies at `/name` and is the entry point.
    pub fn program(mut self, name: &str, file: &Path) -> Image {
        self.files
            .push((name.to_owned(), Content::File(file.to_owned()), 0o755));
        self.entrypoint = vec![format!("/{name}")];
        self
    }

    /// A file that everybody may read, at a path without leading slash, in a folder that is there.
    pub fn file(mut self, path: &str, bytes: Vec<u8>) -> Image {
        self.files
            .push((path.to_owned(), Content::Bytes(bytes), 0o644));
        self
    }

    /// A label.
    pub fn label(mut self, name: &str, value: &str) -> Image {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes it as an archive, as `docker save` does.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let layer = self.layer()?;
        let layer_digest = hex(&layer);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "User": USER,
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        })
        .to_string();
        let config_name = format!("{}.json", hex(config.as_bytes()));
        let layer_name = format!("{layer_digest}/layer.tar");
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [self.reference],
            "Layers": [layer_name],
        }])
        .to_string();
        let doing = format!("writing {}", archive.display());
        let mut tar = Tar::default();
        tar.file(&config_name, config.as_bytes(), 0o644);
        tar.file(&layer_name, &layer, 0o644);
        tar.file("manifest.json", manifest.as_bytes(), 0o644);
        let mut out = BufWriter::new(File::create(archive).doing(&doing)?);
        out.write_all(&tar.end()).doing(&doing)?;
        out.flush().doing(&doing)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Tar::default();
        for (path, content, mode) in &self.files {
            match content {
                Content::Bytes(bytes) => tar.file(path, bytes, *mode),
                Content::File(file) => {
                    let bytes =
                        std::fs::read(file).doing(format_args!("reading {}", file.display()))?;
                    tar.file(path, &bytes, *mode);
                }
            }
        }
        Ok(tar.end())
    }
}

fn hex(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
