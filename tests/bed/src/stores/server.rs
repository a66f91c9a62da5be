//! A server as a child process: started, frozen, killed, started again on its old port and folder.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{BedError, Doing as _, Result};
use crate::place::Place;

/// A server process that can be started again. Ended when dropped.
pub struct Server {
    /// Where it listens.
    pub place: Place,
    /// The port that it listens on.
    pub port: u16,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    ready: Box<dyn Fn() -> bool + Send + Sync>,
    child: Option<Child>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("place", &self.place)
            .field("port", &self.port)
            .field("log", &self.log)
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server that is started by `command` and answers when `ready` says so. It runs when this
    /// returns.
    pub(super) fn start_new(
        place: Place,
        port: u16,
        log: PathBuf,
        command: impl Fn() -> Command + Send + Sync + 'static,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Server> {
        let mut server = Server {
            place,
            port,
            log,
            command: Box::new(command),
            ready: Box::new(ready),
            child: None,
        };
        server.start()?;
        Ok(server)
    }

    /// Starts it, if it does not run, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let end = Instant::now() + Duration::from_secs(120);
        while !(self.ready)() {
            if !self.runs() {
                return Err(self.trouble("ended at its start"));
            }
            if Instant::now() >= end {
                return Err(self.trouble("does not answer after two minutes"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Starts it, if it does not run, and does not wait.
    pub fn spawn(&mut self) -> Result<()> {
        if self.runs() {
            return Ok(());
        }
        let doing = || format!("making {}", self.log.display());
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .doing(doing())?;
        let error = out.try_clone().doing(doing())?;
        let mut command = (self.command)();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error);
        self.child = Some(child.spawn().doing("starting a server")?);
        Ok(())
    }

    /// Its process id; none if it does not run.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs, frozen or not.
    pub fn runs(&mut self) -> bool {
        let runs = self
            .child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !runs {
            self.child = None;
        }
        runs
    }

    /// Asks it to end, as a service manager would, and waits until it has; kills it after half a
    /// minute.
    pub fn stop(&mut self) -> Result<()> {
        self.end("TERM")
    }

    /// Ends it at once (SIGKILL), with all of its children.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(id) = self.id() {
            for child in descendants(id) {
                signal("KILL", child)?;
            }
        }
        self.end("KILL")
    }

    /// Freezes it and its children (SIGSTOP): connections stay open, nothing is answered.
    pub fn freeze(&self) -> Result<()> {
        self.signal_all("STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> Result<()> {
        self.signal_all("CONT")
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it alone a signal by name.
    pub fn signal(&self, name: &str) -> Result<()> {
        match self.id() {
            Some(id) => signal(name, id),
            None => Err(self.trouble("does not run")),
        }
    }

    fn signal_all(&self, name: &str) -> Result<()> {
        let id = self.id().ok_or_else(|| self.trouble("does not run"))?;
        signal(name, id)?;
        descendants(id)
            .into_iter()
            .try_for_each(|child| match signal(name, child) {
                // A server ends children of its own accord, a background writer for one.
                Err(_) if !runs(child) => Ok(()),
                told => told,
            })
    }

    pub(super) fn end(&mut self, name: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // One that stands still hears of it once it goes on.
        let _ = signal(name, child.id());
        let _ = signal("CONT", child.id());
        let end = Instant::now() + Duration::from_secs(30);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                child.kill().doing("killing a server")?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn trouble(&self, what: &str) -> BedError {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        let tail: Vec<_> = lines.into_iter().rev().collect();
        BedError::new(format!(
            "the server of {} {what}:\n{}",
            self.log.display(),
            tail.join("\n")
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.thaw();
        let _ = self.end("KILL");
    }
}

fn signal(name: &str, id: u32) -> Result<()> {
    crate::command::run("kill", [format!("-{name}"), id.to_string()]).map(drop)
}

/// Whether there is such a process, one that has ended and waits to be asked for aside.
fn runs(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))
        .is_some_and(|state| !state.trim_start().starts_with('Z'))
}

fn descendants(id: u32) -> Vec<u32> {
    let file = format!("/proc/{id}/task/{id}/children");
    let children: Vec<u32> = std::fs::read_to_string(file)
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect();
    let below: Vec<u32> = children.iter().flat_map(|id| descendants(*id)).collect();
    children.into_iter().chain(below).collect()
}
