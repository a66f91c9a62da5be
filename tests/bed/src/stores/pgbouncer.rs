//! PgBouncer: a pool in front of a Postgres, in transaction mode.

use tempfile::TempDir;

use super::postgres::{PostgresServer, as_postgres, in_place, own};
use super::server::Server;
use crate::command::run;
use crate::error::{Doing as _, Result};
use crate::system::{POOL, ensure};

/// A PgBouncer that runs, at the place of its Postgres. Ended when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    /// The process.
    pub server: Server,
    #[expect(
        dead_code,
        reason = "its configuration lies in it for as long as it lives"
    )]
    folder: TempDir,
}

impl PgBouncer {
    /// One that lets a role in with its password, and gives all of its clients together so many
    /// connections to the server, each for a transaction at a time.
    pub fn start(
        postgres: &PostgresServer,
        role: &str,
        password: &str,
        connections: u32,
    ) -> Result<PgBouncer> {
        ensure(&POOL)?;
        let folder = tempfile::tempdir().doing("making a folder for PgBouncer")?;
        own(folder.path())?;
        let place = postgres.server.place.clone();
        let port = place.free_port()?;
        let (users, config) = (folder.path().join("users"), folder.path().join("config"));
        let text = format!(
            "[databases]\n* = host={address} port={behind}\n\n[pgbouncer]\n\
             listen_addr = {address}\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {users}\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 1000\nserver_login_retry = 1\nserver_round_robin = 1\nadmin_users = {role}\n",
            address = place.address,
            behind = postgres.server.port,
            users = users.display(),
        );
        for (file, text) in [
            (&users, format!("\"{role}\" \"{password}\"\n")),
            (&config, text),
        ] {
            std::fs::write(file, text).doing(format_args!("writing {}", file.display()))?;
            run("chmod", ["600", &file.display().to_string()])?;
            own(file)?;
        }
        let log = folder.path().join("log");
        let start = {
            let place = place.clone();
            move || {
                let program = crate::command::find("pgbouncer");
                let program = program.unwrap_or_else(|| "pgbouncer".into());
                let mut command = in_place(&place, as_postgres(&program));
                command.arg(&config);
                command
            }
        };
        let ready = {
            let place = place.clone();
            move || place.connect(port).is_ok()
        };
        Ok(PgBouncer {
            server: Server::start_new(place, port, log, start, ready)?,
            folder,
        })
    }

    /// Where it listens: `address:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.server.place.address, self.server.port)
    }
}
