//! The sink, nginx with one worker that answers every push with IG's decision, and the peer, wrk,
//! which sends it the same body as fast as it can.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{self, Usage};

/// The route that is pushed to.
const ROUTE: &str = "/v1/ingest/push";
/// What the sink answers: a decision and what goes with it, shortened, as IG words it.
const DECISION: &str = r#"{"decision":"ADMIT","receipt":{"decision":"ADMIT","event_class":"traffic","reason_codes":[],"receipt_id":"5f9f2d3b1c7e4a60a7c5"},"receipt_ref":"ig/receipts/5f9f2d3b1c7e4a60a7c5.json"}"#;

/// nginx, ended when dropped.
pub struct Sink {
    child: Child,
    dir: tempfile::TempDir,
    /// Where it listens.
    pub url: String,
}

impl Sink {
    /// Starts it on a free port of the loopback interface and waits until it listens.
    pub fn start() -> Result<Sink, String> {
        let nginx = find("nginx")?;
        find("wrk")?;
        let broken = |error: std::io::Error| format!("the sink: {error}");
        let dir = tempfile::tempdir().map_err(broken)?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(broken)?
            .port();
        let config = dir.path().join("nginx.conf");
        fs::write(&config, self::config(dir.path(), port)).map_err(broken)?;
        let log = fs::File::create(dir.path().join("stderr.log")).map_err(broken)?;
        let mut child = Command::new(nginx)
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(broken)?;
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = child.try_wait().map_err(broken)? {
                let log = fs::read_to_string(dir.path().join("stderr.log")).unwrap_or_default();
                return Err(format!("nginx ended with {status}: {log}"));
            }
            if Instant::now() > until {
                // Started by us, and of no use.
                let _ = child.kill();
                let _ = child.wait();
                return Err("nginx does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Sink {
            child,
            dir,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Has wrk push `body` over so many connections for some time.
    pub fn wrk(&self, body: &[u8], connections: usize, time: Duration) -> Result<Wrk, String> {
        let broken = |error: std::io::Error| format!("wrk: {error}");
        let (file, script) = (
            self.dir.path().join("body"),
            self.dir.path().join("post.lua"),
        );
        fs::write(&file, body).map_err(broken)?;
        // The headers that we send, too.
        let text = format!(
            "local file = io.open({:?}, \"rb\")\nwrk.body = file:read(\"*a\")\nfile:close()\n\
             wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\n\
             wrk.headers[\"User-Agent\"] = \"worldstream/{}\"\n",
            file.display().to_string(),
            env!("CARGO_PKG_VERSION"),
        );
        fs::write(&script, text).map_err(broken)?;
        let usage = process::measure_done(
            Command::new(find("wrk")?)
                .arg("-t1")
                .arg(format!("-c{connections}"))
                .arg(format!("-d{}s", time.as_secs().max(1)))
                .arg("-s")
                .arg(&script)
                .arg(format!("{}{ROUTE}", self.url)),
        )?;
        Wrk::of(&usage)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A child that has ended already needs no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What wrk reached.
#[derive(Debug, Clone, Copy)]
pub struct Wrk {
    /// Requests a second.
    pub rate: f64,
    /// Its own processor time a request, in µs.
    pub cpu_micros: f64,
}

impl Wrk {
    fn of(usage: &Usage) -> Result<Wrk, String> {
        let text = &usage.stdout;
        let unreadable = || format!("wrk says something else than expected:\n{text}");
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(format!("wrk met errors:\n{text}"));
        }
        let rate = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
            .and_then(|rate| rate.trim().parse::<f64>().ok())
            .ok_or_else(unreadable)?;
        let requests = text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(requests, _)| requests.parse::<f64>().ok())
            .ok_or_else(unreadable)?;
        Ok(Wrk {
            rate,
            cpu_micros: usage.cpu.as_secs_f64() * 1e6 / requests.max(1.0),
        })
    }
}

fn config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body_temp;
  proxy_temp_path {dir}/proxy_temp;
  fastcgi_temp_path {dir}/fastcgi_temp;
  uwsgi_temp_path {dir}/uwsgi_temp;
  scgi_temp_path {dir}/scgi_temp;
  # A push arrives in one read.
  client_header_buffer_size 8k;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  tcp_nodelay on;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port};
    location = {ROUTE} {{ return 200 '{DECISION}'; }}
  }}
}}
"
    )
}

/// A program of the system's packages.
fn find(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is missing: apt-get install nginx-light wrk"))
}
