//! Checkpoints in Postgres, in a profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, SecretRef};
use crate::duration::DurationText;

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
