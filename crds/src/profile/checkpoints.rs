//! Where cursors are kept, in a profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, SecretRef, VolumeSpec};
use crate::duration::DurationText;

/// Where cursors are kept, and how often they are saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointsSpec {
    /// Cursors as files, in the layout of the reference producer. Left out, and no other store
    /// given: so, in the default folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileCheckpoints>,
    /// Cursors in Postgres, in the reference producer's table. One store at most is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresCheckpoints>,
    /// Cursors in the status of the stream's StreamCheckpoints, which the API server keeps. In a
    /// cluster this is the store of a profile that names no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesCheckpoints>,
    /// At most so many events of an output and lane are taken and not yet saved; 1 or more.
    #[schemars(range(min = 1))]
    pub flush_every: u64,
    /// An event that was taken is saved after at most this long.
    pub flush_interval: DurationText,
    /// How long saving may fail before the stream ends as unavailable; it waits meanwhile. Left
    /// out: `1h` in a cluster, else `1m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_for: Option<DurationText>,
    /// How long a stream whose cursors the API server keeps goes on while that is away, which
    /// bounds what a crash would repeat; then it waits.
    pub max_unsaved: DurationText,
}

impl Default for CheckpointsSpec {
    fn default() -> Self {
        CheckpointsSpec {
            file: None,
            postgres: None,
            kubernetes: None,
            flush_every: 500,
            flush_interval: DurationText::secs(1),
            unavailable_for: None,
            max_unsaved: DurationText::secs(30),
        }
    }
}

/// Cursors as files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FileCheckpoints {
    /// The folder. Left out: `wsp/checkpoints` below the platform run's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The volume that holds the folder, mounted read-write into the workers; in a cluster, where
    /// the file store needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSpec>,
}

/// Cursors in StreamCheckpoints. There is nothing to choose: `kubernetes: {}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesCheckpoints {}

/// Cursors in Postgres: the table `wsp_checkpoint`, and `wsp_checkpoint_lease` beside it. Each
/// process has one connection, which PgBouncer in transaction mode may pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresCheckpoints {
    /// Where the connection string is read, each time that a connection is made. Its text is a
    /// URL such as `postgres://user:password@host:5432/database`, or keywords and values. TLS is
    /// used and verified in full, whatever `sslmode` says, but for `disable`, and for a server on
    /// the same machine where nothing is said. Required; `CHECKPOINT_DSN_MISSING` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dsn: Option<SecretRef>,
    /// A file of PEM certificates to trust instead of the built-in roots (or of `sslrootcert`).
    /// Without a cluster alone. Example: `/etc/worldstream/postgres-ca.pem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The same from a ConfigMap in the profile's namespace, in a cluster alone. Example:
    /// `{name: postgres-ca, key: ca.pem}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<KeyRef>,
    /// How long a checkpoint is held unless the lease is renewed, 1s to 1h. It is renewed by
    /// saves, and by a heartbeat whenever a third of it has passed. After a crash another process
    /// waits for its end; a replacement in the same Job does not.
    pub lease_term: DurationText,
    /// How long connecting may take, and the answer to a statement, more than 0; then the
    /// connection is given up and made anew.
    pub timeout: DurationText,
}

impl Default for PostgresCheckpoints {
    fn default() -> Self {
        PostgresCheckpoints {
            dsn: None,
            ca_file: None,
            ca_config_map: None,
            lease_term: DurationText::secs(15),
            timeout: DurationText::secs(10),
        }
    }
}
