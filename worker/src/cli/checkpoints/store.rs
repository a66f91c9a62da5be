//! Which store `worldstream checkpoints` looks at, and what can be done to either kind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::super::run::blocking;
use super::usage;
use crate::checkpoint::survey::{self, Found, Spot};
use crate::checkpoint::{Holder, PostgresStore};
use crate::failure::Result;
use crate::plan::{PostgresPlan, SecretSource};

#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    database: Database,
}

/// A database of checkpoints.
#[derive(Debug, Args)]
#[group(required = false, multiple = true)]
pub(super) struct Database {
    /// A file with the connection string of the database that checkpoints are kept in
    #[arg(long, value_name = "FILE", conflicts_with = "postgres_dsn_env")]
    postgres_dsn_file: Option<PathBuf>,
    /// The environment variable with the connection string
    #[arg(long, value_name = "NAME")]
    postgres_dsn_env: Option<String>,
    /// PEM certificates to trust for the database instead of the built-in roots
    #[arg(long, value_name = "FILE")]
    postgres_ca_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = false, multiple = false)]
struct Root {
    /// The folder that checkpoints are kept in
    #[arg(long, value_name = "DIR")]
    checkpoint_root: Option<PathBuf>,
    /// The run whose checkpoints are in the default place,
    /// runs/fraud-platform/<ID>/wsp/checkpoints
    #[arg(long, value_name = "ID")]
    platform_run_id: Option<String>,
}

impl Database {
    /// The store, if one is named.
    pub(super) fn open(&self) -> Option<PostgresStore> {
        let dsn = match (&self.postgres_dsn_file, &self.postgres_dsn_env) {
            (Some(file), _) => SecretSource::File(file.clone()),
            (None, Some(name)) => SecretSource::Env(name.clone()),
            (None, None) => return None,
        };
        let plan = PostgresPlan {
            dsn,
            ca_file: self.postgres_ca_file.clone(),
            // What is taken here is given up at once.
            lease_term: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        };
        Some(PostgresStore::new(plan, Holder::of_this_process()))
    }
}

/// A store that was opened.
pub(super) enum Opened {
    Folder(PathBuf),
    Database(PostgresStore),
}

impl Store {
    pub(super) fn open(&self) -> Result<Opened> {
        let root = match (&self.root.checkpoint_root, &self.root.platform_run_id) {
            (Some(root), _) => Some(root.clone()),
            (None, Some(id)) => Some(
                PathBuf::from("runs/fraud-platform")
                    .join(id)
                    .join("wsp/checkpoints"),
            ),
            (None, None) => None,
        };
        match (root, self.database.open()) {
            (Some(root), None) => Ok(Opened::Folder(root)),
            (None, Some(database)) => Ok(Opened::Database(database)),
            (root, _) => Err(usage("the store of checkpoints")
                .found(if root.is_some() { "two" } else { "none" })
                .expected(
                    "one of --checkpoint-root, --platform-run-id, --postgres-dsn-file, --postgres-dsn-env",
                )),
        }
    }
}

impl Opened {
    /// What is there. A root that is not there is an error here: it is more likely a slip than a
    /// store without checkpoints.
    pub(super) fn survey(&self) -> Result<Vec<Found>> {
        match self {
            Opened::Folder(path) if !path.is_dir() => Err(usage(&self.name())
                .found("no such folder")
                .expected("a root of checkpoints")),
            Opened::Folder(path) => survey::survey(path),
            Opened::Database(database) => blocking(database.survey())?,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Opened::Folder(path) => path.display().to_string(),
            Opened::Database(_) => "the database".to_owned(),
        }
    }

    /// Sets checkpoints aside, and says where each is now.
    pub(super) fn reset(&self, chosen: &[&Found]) -> Result<Vec<String>> {
        match self {
            Opened::Folder(_) => {
                let folders: Vec<&Path> = chosen
                    .iter()
                    .filter_map(|found| match &found.spot {
                        Spot::Folder(folder) => Some(folder.as_path()),
                        Spot::Table(_) => None,
                    })
                    .collect();
                let moved = survey::reset(&folders)?;
                Ok(moved
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect())
            }
            Opened::Database(database) => blocking(database.reset(chosen))?,
        }
    }
}
