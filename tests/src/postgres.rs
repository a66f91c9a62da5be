//! A Postgres server of a test's own: the system's programs, run as an unprivileged user on a port
//! of its own, ended with the test. Plus what the reference producer does to its table there.

use std::fs::Permissions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The password of every role but the superuser: nothing that a program prints may hold it.
pub const PASSWORD: &str = "hush-5309";

/// A server with a database `checkpoints` and a role `stream` that may do everything in it.
/// Stopped when dropped.
pub struct PostgresServer {
    dir: TempDir,
    port: u16,
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl PostgresServer {
    /// Starts one; `settings` are lines of `postgresql.conf`.
    pub fn start(settings: &[&str]) -> PostgresServer {
        let mut server = PostgresServer::folder();
        server.run("initdb", |command| {
            command
                .args(["--no-sync", "--auth=trust", "--username=postgres"])
                .args(["--encoding=UTF8", "--locale=C", "-D"])
                .arg(server.data());
        });
        server.configure(settings);
        server.launch();
        server.sql(&format!(
            "CREATE ROLE stream LOGIN PASSWORD '{PASSWORD}';
             CREATE DATABASE checkpoints OWNER stream;"
        ));
        server
    }

    fn folder() -> PostgresServer {
        let dir = tempfile::Builder::new()
            .prefix("pg")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a folder for the server");
        let user = unprivileged();
        for name in ["data", "run"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            let mode = if name == "data" { 0o700 } else { 0o755 };
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
            if let Some((uid, gid)) = user {
                chown(&path, Some(uid), Some(gid)).expect("an owner");
            }
        }
        PostgresServer {
            port: free_port(),
            dir,
            user,
            child: None,
        }
    }

    fn configure(&self, settings: &[&str]) {
        let mut text = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n\
             fsync = off\nmax_connections = 350\nshared_buffers = '32MB'\nmax_wal_size = '256MB'\n",
            self.port,
            self.run_folder().display()
        );
        for line in settings {
            text.push_str(line);
            text.push('\n');
        }
        self.append("postgresql.conf", &text);
        std::fs::write(
            self.data().join("pg_hba.conf"),
            "local all all trust\nlocal replication all trust\n\
             host all all 127.0.0.1/32 scram-sha-256\n",
        )
        .expect("pg_hba.conf");
    }

    /// Adds to a file in the data folder.
    pub fn append(&self, file: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.data().join(file))
            .expect("a file of the server");
        file.write_all(text.as_bytes()).expect("it can be written");
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run_folder(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Makes a file that belongs to the server's user, and that nobody else may read.
    pub fn private_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).expect("an owner");
        }
        path
    }

    /// Makes a folder for a tablespace in another one.
    pub fn tablespace(&self, below: &Path) -> PathBuf {
        let path = below.join("tablespace");
        std::fs::create_dir(&path).expect("a folder");
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).expect("an owner");
        }
        path.canonicalize().expect("it is there")
    }

    /// Starts the server on what its folder holds, and waits until it answers.
    pub fn launch(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("a log");
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        self.child = Some(command.spawn().expect("postgres starts"));
        let end = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok());
            assert!(
                Instant::now() < end && ended.flatten().is_none(),
                "postgres does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        self.psql("postgres", "SELECT 1", &[]).is_ok()
    }

    /// Ends the server by a signal: `INT` ends all sessions, `QUIT` is a crash.
    pub fn stop(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status();
            assert!(sent.expect("kill runs").success());
            child.wait().expect("a child can be awaited");
        }
    }

    /// Another server that follows this one and takes no writes until it is promoted.
    pub fn standby(&self) -> PostgresServer {
        let mut standby = PostgresServer::folder();
        standby.run("pg_basebackup", |command| {
            command
                .args(["--no-sync", "-R", "-X", "stream", "-c", "fast"])
                .args(["-U", "postgres", "-h"])
                .arg(self.run_folder())
                .args(["-p", &self.port.to_string(), "-D"])
                .arg(standby.data());
        });
        standby.configure(&[]);
        standby.launch();
        standby
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The connection string of a role, by way of an address.
    pub fn dsn_by(&self, role: &str, address: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@{address}/checkpoints")
    }

    /// The connection string of the role `stream`.
    pub fn dsn(&self) -> String {
        self.dsn_by("stream", &self.address())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
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
        self.ask("checkpoints", sql, variables)
    }

    #[track_caller]
    fn ask(&self, database: &str, sql: &str, variables: &[(&str, &str)]) -> Vec<String> {
        self.psql(database, sql, variables)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn psql(
        &self,
        database: &str,
        sql: &str,
        variables: &[(&str, &str)],
    ) -> Result<Vec<String>, String> {
        let mut command = Command::new(programs().join("psql"));
        command
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d"])
            .arg(database)
            .arg("-h")
            .arg(self.run_folder())
            .args(["-p", &self.port.to_string(), "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        let mut child = command.spawn().expect("psql starts");
        let mut input = child.stdin.take().expect("it is piped");
        // A psql that could not connect reads nothing.
        let _ = input.write_all(sql.as_bytes());
        drop(input);
        let output = child.wait_with_output().expect("psql ends");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) {
        let mut command = self.command(program);
        arguments(&mut command);
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{program}: {output:?}");
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

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop("QUIT");
    }
}

/// The server's programs: of the newest version that the system has.
pub fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort();
    found
        .pop()
        .expect("Postgres: install the system's package `postgresql`")
}

/// Postgres refuses to run as root; whoever else we are, it may run as.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the users");
    let ids = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        ids("postgres")
            .or_else(|| ids("nobody"))
            .expect("a user without rights"),
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
