//! Postgres: a server of its own in a temporary folder, run by the system's user `postgres` where
//! the test is root, which Postgres refuses to be.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::certs::Authority;
use super::server::Server;
use crate::command::{output, output_with_input, run};
use crate::error::{Doing as _, Result};
use crate::place::Place;
use crate::system::{ensure_postgres, is_root};

const DATABASE: &str = "worldstream";
const OWNER: &str = "owner";
const PASSWORD: &str = "password-of-the-test-bed";

/// How a Postgres is started.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// TLS only, with a certificate of an authority of its own; else plain only.
    pub tls: bool,
    /// Settings, as in postgresql.conf.
    pub settings: Vec<(String, String)>,
    /// More names that its certificate is for, such as a Service's.
    pub names: Vec<String>,
}

/// A Postgres that runs, with a database `worldstream` that belongs to `owner`. Ended when
/// dropped, with everything in it.
#[derive(Debug)]
pub struct PostgresServer {
    /// The process. Its `stop` waits for clients: see [`PostgresServer::stop`].
    pub server: Server,
    /// The folder of its cluster.
    pub data: PathBuf,
    tls: bool,
    bin: PathBuf,
    folder: TempDir,
}

impl PostgresServer {
    /// One on the machine's loopback, without TLS.
    pub fn start() -> Result<PostgresServer> {
        Self::start_at(Place::loopback(), PostgresOptions::default())
    }

    /// One at a place.
    pub fn start_at(place: Place, options: PostgresOptions) -> Result<PostgresServer> {
        let bin = ensure_postgres()?;
        let folder = tempfile::tempdir().doing("making a folder for Postgres")?;
        let data = folder.path().join("data");
        own(folder.path())?;
        // Postgres's own folder is closed; what leads there need not be.
        run("chmod", ["755", &folder.path().display().to_string()])?;
        output(
            as_postgres(&bin.join("initdb"))
                .arg("--pgdata")
                .arg(&data)
                .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
                .args(["--no-locale", "--no-sync"]),
        )?;
        configure(&data, &place, &options)?;
        Self::start_in(place, &bin, data, folder, options.tls).and_then(|server| {
            server.create_owner()?;
            Ok(server)
        })
    }

    fn start_in(
        place: Place,
        bin: &Path,
        data: PathBuf,
        folder: TempDir,
        tls: bool,
    ) -> Result<PostgresServer> {
        let port = place.free_port()?;
        let log = folder.path().join("log");
        let start = {
            let (place, program) = (place.clone(), bin.join("postgres"));
            let (data, sockets) = (data.clone(), folder.path().to_owned());
            move || {
                let mut command = in_place(&place, as_postgres(&program));
                command
                    .arg("-D")
                    .arg(&data)
                    .args(["-p", &port.to_string()])
                    .arg("-c")
                    .arg(format!("unix_socket_directories={}", sockets.display()));
                command
            }
        };
        let ready = {
            let (program, sockets) = (bin.join("pg_isready"), folder.path().to_owned());
            move || {
                let mut ask = crate::command::command(&program);
                ask.arg("-h").arg(&sockets).args(["-p", &port.to_string()]);
                output(&mut ask).is_ok()
            }
        };
        Ok(PostgresServer {
            server: Server::start_new(place, port, log, start, ready)?,
            data,
            tls,
            bin: bin.to_owned(),
            folder,
        })
    }

    fn create_owner(&self) -> Result<()> {
        self.administer(
            "postgres",
            &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"),
        )?;
        self.administer(
            "postgres",
            &format!("CREATE DATABASE {DATABASE} OWNER {OWNER}"),
        )?;
        // Since 15 the right to make tables is the owner's alone; before, everybody had it.
        self.administer(DATABASE, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            .map(drop)
    }

    /// The owner's DSN: he may do everything in the database. With TLS, of mode verify-full.
    pub fn dsn(&self) -> String {
        self.dsn_of(OWNER)
    }

    /// A role's DSN.
    pub fn dsn_of(&self, role: &str) -> String {
        let (address, port) = (self.server.place.address, self.server.port);
        let tls = match self.root_file() {
            None => "sslmode=disable".to_owned(),
            Some(root) => format!("sslmode=verify-full&sslrootcert={}", root.display()),
        };
        format!("postgresql://{role}:{PASSWORD}@{address}:{port}/{DATABASE}?{tls}")
    }

    /// The password of every role that the bed makes.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The file of its authority's certificate, where it speaks TLS.
    pub fn root_file(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path().join("ca.crt"))
    }

    /// Runs statements as the administrator, in the database `worldstream`; rows a line each,
    /// columns with `|` between them.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.administer(DATABASE, sql)
    }

    /// Makes a role that may log in and read every table, now and later, and no more; its DSN.
    pub fn read_only_role(&self, name: &str) -> Result<String> {
        self.query(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; \
             GRANT pg_read_all_data TO {name};"
        ))?;
        Ok(self.dsn_of(name))
    }

    /// Makes a role that may read and write every table, now and later, and make none; its DSN.
    pub fn writing_role(&self, name: &str) -> Result<String> {
        self.query(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; \
             GRANT pg_read_all_data, pg_write_all_data TO {name};"
        ))?;
        Ok(self.dsn_of(name))
    }

    /// Runs a script as the administrator; rows a line each, columns with `|` between them.
    /// Variables stand in it as `:'name'`.
    pub fn ask(&self, database: &str, script: &str, variables: &[(&str, &str)]) -> Result<String> {
        let mut psql = crate::command::command(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", "postgres", "-d", database, "-f", "-"])
            .arg("-h")
            .arg(self.folder.path())
            .args(["-p", &self.server.port.to_string()]);
        for (name, value) in variables {
            psql.args(["-v", &format!("{name}={value}")]);
        }
        output_with_input(&mut psql, script)
    }

    /// The folder of its programs, such as psql.
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    /// Adds to a file in its folder, such as `postgresql.conf`; counts when it is started again.
    pub fn append(&self, file: &str, text: &str) -> Result<()> {
        append(&self.data.join(file), text)
    }

    /// Makes a file in its folder that nobody but its user may read.
    pub fn private_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        std::fs::write(&path, text).doing(format_args!("writing {}", path.display()))?;
        run("chmod", ["600", &path.display().to_string()])?;
        own(&path)?;
        Ok(path)
    }

    /// Makes a folder that belongs to its user.
    pub fn folder(&self, path: &Path) -> Result<()> {
        std::fs::create_dir(path).doing(format_args!("making {}", path.display()))?;
        own(path)
    }

    /// Ends it as a restart does: open connections are cut (SIGINT, "fast").
    pub fn stop(&mut self) -> Result<()> {
        self.stop_by("INT")
    }

    /// Ends it by a signal: `INT` ends all sessions, `QUIT` is a crash.
    pub fn stop_by(&mut self, signal: &str) -> Result<()> {
        self.server.end(signal)
    }

    /// Ends it and starts it again, on its old port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.server.start()
    }

    /// Starts a hot standby of it at the same place: it follows, and is read-only.
    pub fn standby(&self) -> Result<PostgresServer> {
        let folder = tempfile::tempdir().doing("making a folder for a standby")?;
        own(folder.path())?;
        run("chmod", ["755", &folder.path().display().to_string()])?;
        let data = folder.path().join("data");
        output(
            as_postgres(&self.bin.join("pg_basebackup"))
                .arg("-h")
                .arg(self.folder.path())
                .args(["-p", &self.server.port.to_string(), "-U", "postgres"])
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
                .arg("-D")
                .arg(&data),
        )?;
        if let Some(root) = self.root_file() {
            let copy = folder.path().join("ca.crt");
            std::fs::copy(root, copy).doing("copying a certificate")?;
        }
        let place = self.server.place.clone();
        Self::start_in(place, &self.bin, data, folder, self.tls)
    }

    /// As the administrator, over the socket in its folder, which needs no password.
    fn administer(&self, database: &str, sql: &str) -> Result<String> {
        self.ask(database, sql, &[])
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Its children see to their own end; a kill would leave shared memory behind.
        let _ = self.server.thaw();
        let _ = self.server.end("QUIT");
    }
}

fn configure(data: &Path, place: &Place, options: &PostgresOptions) -> Result<()> {
    let mut settings = format!(
        "listen_addresses = '{}'\nfsync = on\nlogging_collector = off\n\
         max_wal_size = '256MB'\nshared_memory_type = mmap\n",
        place.address
    );
    let how = if options.tls { "hostssl" } else { "hostnossl" };
    let access = format!(
        "local all all trust\nlocal replication all trust\n\
         {how} all all 0.0.0.0/0 scram-sha-256\n{how} all all ::/0 scram-sha-256\n"
    );
    if options.tls {
        let mut names = vec![place.address.to_string(), "localhost".into()];
        names.extend(options.names.iter().cloned());
        let (certificate, key) = (data.join("server.crt"), data.join("server.key"));
        let root = Authority::new()?.write(&names, &certificate, &key)?;
        let beside = data.with_file_name("ca.crt");
        std::fs::rename(root, &beside).doing("moving a certificate")?;
        own(&certificate)?;
        own(&key)?;
        run("chmod", ["600", &key.display().to_string()])?;
        settings += "ssl = on\n";
    }
    for (name, value) in &options.settings {
        settings += &format!("{name} = '{}'\n", value.replace('\'', "''"));
    }
    append(&data.join("postgresql.conf"), &settings)?;
    let access_file = data.join("pg_hba.conf");
    std::fs::write(&access_file, access).doing(format_args!("writing {}", access_file.display()))
}

fn append(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    std::fs::OpenOptions::new()
        .append(true)
        .open(file)
        .and_then(|mut to| to.write_all(text.as_bytes()))
        .doing(format_args!("writing {}", file.display()))
}

/// Gives a file to the user that Postgres runs as.
pub(super) fn own(path: &Path) -> Result<()> {
    if is_root() {
        run("chown", ["postgres", &path.display().to_string()])?;
    }
    Ok(())
}

/// A program run as that user. It replaces the commands before it, so its id is the child's.
pub(super) fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return crate::command::command(program);
    }
    let mut command = crate::command::command("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ])
        .arg(program);
    command
}

/// The same command, at a place.
pub(super) fn in_place(place: &Place, command: Command) -> Command {
    if place.namespace.is_none() {
        return command;
    }
    let mut there = place.command(command.get_program());
    there.args(command.get_args());
    there
}
