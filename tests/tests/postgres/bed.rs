//! A server, a world, and streams of it whose cursors lie in the server.

use std::path::{Path, PathBuf};

use serde_json::Value;
use worldstream_tests::PostgresServer;
use worldstream_tests::stream::{Stream, assert_complete, sample, until};

pub const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
/// Rows of the world's traffic; each of its three contexts has half as many.
pub const ROWS: u64 = 1000;
/// Events of the world.
pub const EVENTS: u64 = ROWS + 3 * ROWS / 2;
pub const OUTPUTS: u64 = 4;

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub server: PostgresServer,
    pub world: PathBuf,
}

impl Bed {
    pub fn new() -> Bed {
        Bed::with(&[])
    }

    /// With settings of `postgresql.conf`.
    pub fn with(settings: &[(&str, &str)]) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let world = dir.path().join("world");
        sample(&world, ROWS, &["--days", "1"]);
        Bed {
            server: PostgresServer::start(settings),
            dir,
            world,
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A stream of the role `stream`.
    pub fn stream(&self, url: &str) -> Stream {
        self.stream_by(url, &self.server.dsn())
    }

    pub fn stream_by(&self, url: &str, dsn: &str) -> Stream {
        let spec = self.server.spec(&self.path().join("dsn"), dsn);
        Stream::new(self.path(), &self.world, url).set("checkpoints.postgres", spec)
    }

    /// Has the server remember every cursor that is written from now on.
    pub fn remember_cursors(&self) {
        self.server.reference_table();
        self.server.query(
            "SET ROLE stream;
             CREATE TABLE history (id bigserial, pack_key text, output_id text, last_file text,
               last_row_index integer);
             CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO history (pack_key, output_id, last_file, last_row_index)
               VALUES (NEW.pack_key, NEW.output_id, NEW.last_file, NEW.last_row_index);
               RETURN NEW; END $$;
             CREATE TRIGGER remember AFTER INSERT OR UPDATE ON wsp_checkpoint
               FOR EACH ROW EXECUTE FUNCTION remember();",
            &[],
        );
    }

    /// Fails if a cursor ever went back. Gives how many were written.
    #[track_caller]
    pub fn assert_never_back(&self, server: &PostgresServer) -> u64 {
        let back = server.query(
            "SELECT * FROM (SELECT id, output_id, last_row_index, last_file COLLATE \"C\" AS file,
               lag(last_row_index) OVER one AS row_before,
               lag(last_file COLLATE \"C\") OVER one AS file_before
             FROM history WINDOW one AS (PARTITION BY pack_key, output_id ORDER BY id)) h
             WHERE (file, last_row_index) < (file_before, row_before);",
            &[],
        );
        assert!(back.is_empty(), "{back:#?}");
        server.query("SELECT count(*) FROM history;", &[])[0]
            .parse()
            .unwrap()
    }

    /// Events that are behind saved cursors.
    pub fn saved(&self) -> u64 {
        let rows = self.server.query(
            "SELECT coalesce(sum((progress->'progress'->>'rows')::bigint), 0) FROM wsp_checkpoint
             WHERE pack_key ~ '^[0-9a-f]{64}$';",
            &[],
        );
        rows[0].parse().unwrap()
    }

    /// Waits until something was saved.
    pub fn until_saved(&self, events: u64) {
        until("saved cursors", || {
            let table = "SELECT to_regclass('wsp_checkpoint_lease');";
            !self.server.query(table, &[])[0].is_empty() && self.saved() >= events
        });
    }
}

/// All of the world was sent.
#[track_caller]
pub fn assert_whole(summary: &Value) {
    assert_complete(summary, |output| match output {
        TRAFFIC => ROWS,
        _ => ROWS / 2,
    });
}
