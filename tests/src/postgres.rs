//! The bed's Postgres for a test of checkpoints: a database and a role for them, and what the
//! reference producer does to its table there.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use worldstream_bed::Place;
use worldstream_bed::stores::{self, PgBouncer, PostgresOptions};

/// The password of every role but the superuser: nothing that a program prints may hold it.
pub const PASSWORD: &str = "hush-5309";

/// The database of the checkpoints.
const DATABASE: &str = "checkpoints";

/// Settings of a server that need not outlive the machine, for many processes.
const SETTINGS: [(&str, &str); 3] = [
    ("fsync", "off"),
    ("max_connections", "350"),
    ("shared_buffers", "32MB"),
];

/// A server with a database `checkpoints` and a role `stream` that may do everything in it.
/// Stopped when dropped.
pub struct PostgresServer(stores::PostgresServer);

impl PostgresServer {
    /// Starts one; `settings` are those of `postgresql.conf`.
    pub fn start(settings: &[(&str, &str)]) -> PostgresServer {
        Self::start_at(Place::loopback(), settings)
    }

    /// Starts one at a place.
    pub fn start_at(place: Place, settings: &[(&str, &str)]) -> PostgresServer {
        let settings = SETTINGS.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = PostgresOptions {
            settings: settings.collect(),
            ..PostgresOptions::default()
        };
        let server = stores::PostgresServer::start_at(place, options);
        let server = PostgresServer(server.unwrap_or_else(|error| panic!("Postgres: {error}")));
        server.sql(&format!(
            "CREATE ROLE stream LOGIN PASSWORD '{PASSWORD}';
             CREATE DATABASE {DATABASE} OWNER stream;"
        ));
        server
    }

    /// Adds to a file in the data folder.
    pub fn append(&self, file: &str, text: &str) {
        done(self.0.append(file, text));
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.0.data
    }

    /// The server's programs, such as psql.
    pub fn programs(&self) -> &Path {
        self.0.programs()
    }

    /// Makes a file that belongs to the server's user, and that nobody else may read.
    pub fn private_file(&self, name: &str, text: &str) -> PathBuf {
        done(self.0.private_file(name, text))
    }

    /// Makes a folder for a tablespace in another one.
    pub fn tablespace(&self, below: &Path) -> PathBuf {
        let path = below.join("tablespace");
        done(self.0.folder(&path));
        path.canonicalize().expect("it is there")
    }

    /// Starts the server on what its folder holds, and waits until it answers.
    pub fn launch(&mut self) {
        done(self.0.server.start());
    }

    /// Ends the server by a signal: `INT` ends all sessions, `QUIT` is a crash.
    pub fn stop(&mut self, signal: &str) {
        done(self.0.stop_by(signal));
    }

    /// Another server that follows this one and takes no writes until it is promoted.
    pub fn standby(&self) -> PostgresServer {
        PostgresServer(done(self.0.standby()))
    }

    /// A pool before it in transaction mode, with so many connections to it.
    pub fn pool(&self, connections: u32) -> PgBouncer {
        done(PgBouncer::start(&self.0, "stream", PASSWORD, connections))
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        let server = &self.0.server;
        format!("{}:{}", server.place.address, server.port)
    }

    /// The connection string of a role, by way of an address.
    pub fn dsn_by(&self, role: &str, address: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@{address}/{DATABASE}")
    }

    /// The connection string of the role `stream`.
    pub fn dsn(&self) -> String {
        self.dsn_by("stream", &self.address())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.0.server.log()
    }

    /// Runs SQL as superuser in the database `postgres`.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.ask("postgres", sql, &[]);
    }

    /// Runs SQL as superuser in `checkpoints`; gives rows, their columns parted by `|`. Variables
    /// stand in it as `:'name'`.
    #[track_caller]
    pub fn query(&self, sql: &str, variables: &[(&str, &str)]) -> Vec<String> {
        self.ask(DATABASE, sql, variables)
    }

    #[track_caller]
    fn ask(&self, database: &str, sql: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let said = self.0.ask(database, sql, variables);
        let said = said.unwrap_or_else(|error| panic!("{sql}: {error}"));
        said.lines().map(str::to_owned).collect()
    }

    /// The reference makes its table.
    pub fn reference_table(&self) {
        self.query(
            "SET ROLE stream;
             CREATE TABLE IF NOT EXISTS wsp_checkpoint (
               pack_key TEXT NOT NULL, output_id TEXT NOT NULL, last_file TEXT NOT NULL,
               last_row_index INTEGER NOT NULL, last_ts_utc TEXT,
               updated_at_utc TIMESTAMPTZ NOT NULL, PRIMARY KEY (pack_key, output_id));",
            &[],
        );
    }

    /// The reference saves a cursor: it names its own columns and no others.
    pub fn reference_writes(&self, scope_key: &str, output: &str, cursor: &Value) {
        let text = |field: &str| cursor[field].as_str().unwrap_or_default().to_owned();
        self.query(
            "SET ROLE stream;
             INSERT INTO wsp_checkpoint (pack_key, output_id, last_file, last_row_index,
               last_ts_utc, updated_at_utc)
             VALUES (:'pack', :'output', :'file', :'row'::integer, nullif(:'ts', ''), now())
             ON CONFLICT (pack_key, output_id) DO UPDATE SET
               last_file = EXCLUDED.last_file, last_row_index = EXCLUDED.last_row_index,
               last_ts_utc = EXCLUDED.last_ts_utc, updated_at_utc = EXCLUDED.updated_at_utc;",
            &[
                ("pack", scope_key),
                ("output", output),
                ("file", &text("last_file")),
                ("row", &cursor["last_row_index"].to_string()),
                ("ts", &text("last_ts_utc")),
            ],
        );
    }

    /// The reference loads a cursor.
    pub fn reference_reads(&self, scope_key: &str, output: &str) -> Option<Value> {
        let rows = self.query(
            "SET ROLE stream;
             SELECT json_build_object('last_file', last_file, 'last_row_index', last_row_index,
               'last_ts_utc', last_ts_utc)
             FROM wsp_checkpoint WHERE pack_key = :'pack' AND output_id = :'output';",
            &[("pack", scope_key), ("output", output)],
        );
        assert!(rows.len() < 2, "{rows:?}");
        let row = rows.first()?;
        Some(serde_json::from_str(row).expect("Postgres writes JSON"))
    }

    /// What `spec.checkpoints.postgres` of a profile says about this server.
    pub fn spec(&self, dsn_file: &Path, dsn: &str) -> Value {
        std::fs::write(dsn_file, format!("{dsn}\n")).expect("a secret");
        json!({"dsn": {"file": dsn_file.display().to_string()}, "leaseTerm": "3s", "timeout": "5s"})
    }
}

#[track_caller]
fn done<T>(result: Result<T, worldstream_bed::BedError>) -> T {
    result.unwrap_or_else(|error| panic!("Postgres: {error}"))
}
