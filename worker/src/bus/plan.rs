//! What a bus is opened by.

use std::path::{Path, PathBuf};
use std::time::Duration;

use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::{S3CredentialsPlan, S3Plan};
use crate::store::s3;

/// A bus: what is read of it, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlan {
    /// The topic (contracts section 8: `fp.bus.control.v1`); the folder of that name is read.
    pub topic: String,
    /// Larger messages are passed over.
    pub max_message_bytes: u64,
    /// Where it is.
    pub kind: BusKind,
}

/// The kinds of buses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusKind {
    /// A folder with a folder for each topic and one JSON file for each message.
    File(FileBusPlan),
    /// A Kinesis stream.
    Kinesis(KinesisBusPlan),
}

/// A folder with one JSON file a message: `<root>/<topic>/*.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBusPlan {
    /// An absolute path, or `s3://bucket[/prefix]`.
    pub root: String,
    /// How often it is looked at, where nothing tells of changes.
    pub poll_interval: Duration,
    /// How S3 is reached, for a root there.
    pub s3: S3Plan,
}

/// A Kinesis stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KinesisBusPlan {
    /// Its name.
    pub stream: String,
    /// Its region; none: the environment's.
    pub region: Option<String>,
    /// http or https and a host; none: the environment's, else AWS's.
    pub endpoint: Option<String>,
    /// None: those of the environment, from AWS's sources.
    pub credentials: Option<S3CredentialsPlan>,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
}

impl BusPlan {
    /// What can be seen to be wrong without asking anybody.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |field: &str| Failure::new(Reason::StreamFailed, "bus").field(field);
        let name = self.topic.as_str();
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(bad("topic")
                .found(format!("{name:?}"))
                .expected("a name that a folder can have, such as fp.bus.control.v1"));
        }
        match &self.kind {
            BusKind::File(file) => {
                let root = file.root.as_str();
                let good = match root.starts_with(s3::SCHEME) {
                    true => s3::locate(root).is_some(),
                    false => Path::new(root).is_absolute(),
                };
                if !good {
                    return Err(bad("file.root")
                        .found(format!("{root:?}"))
                        .expected("an absolute path, or s3:// and the name of a bucket"));
                }
            }
            BusKind::Kinesis(kinesis) if kinesis.stream.is_empty() => {
                return Err(
                    Failure::new(Reason::ControlBusStreamMissing, "bus.kinesis")
                        .field("stream")
                        .found("none")
                        .expected("the name of a stream"),
                );
            }
            BusKind::Kinesis(_) => {}
        }
        Ok(())
    }
}
