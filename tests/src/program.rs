//! The program `worldstream` as a process: built once, started, signalled, awaited. A process that
//! a test forgets is killed when it is dropped.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use worldstream_bed::plain_environment;

/// The program's path. Built on first use, so that a test never runs an old one.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("worldstream"))
}

/// The folder of the profile that the tests were built with, such as `target/debug`.
pub fn profile_folder() -> PathBuf {
    // Test programs lie in <target>/<profile>/deps.
    let own = std::env::current_exe().expect("a test knows its own path");
    own.ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .expect("a test lies below a profile's folder")
        .to_path_buf()
}

/// Builds a program of the workspace with the profile of the tests, and gives the path of a link to
/// it: where cargo puts it, the images of suites that run beside this one put theirs.
pub fn built(name: &str) -> PathBuf {
    let profile = profile_folder();
    let target = profile.parent().expect("a profile lies in a target folder");
    let _no_images = worldstream_bed::image::held_back(&profile)
        .unwrap_or_else(|error| panic!("the images: {error}"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", name, "--manifest-path"]);
    build.arg(super::repository().join("Cargo.toml"));
    build.arg("--target-dir").arg(target);
    if profile.file_name().and_then(OsStr::to_str) == Some("release") {
        build.arg("--release");
    }
    plain_environment(&mut build);
    let status = build.status().expect("cargo runs");
    assert!(status.success(), "{name} does not build");
    linked(&profile, name).unwrap_or_else(|error| panic!("a link to {name}: {error}"))
}

/// The link, renewed if the program is another one: there is always one to start.
fn linked(profile: &Path, name: &str) -> std::io::Result<PathBuf> {
    let folder = profile.join("tested");
    std::fs::create_dir_all(&folder)?;
    let beside = tempfile::tempdir_in(&folder)?;
    let new = beside.path().join(name);
    std::fs::hard_link(profile.join(name), &new)?;
    let link = folder.join(name);
    std::fs::rename(&new, &link)?;
    Ok(link)
}

/// A command line to be run.
#[derive(Debug, Clone, Default)]
pub struct Program {
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
}

/// `worldstream` with these arguments.
pub fn run<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Program {
    Program::default().args(args)
}

impl Program {
    /// More arguments.
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder that it runs in.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Starts it with its output caught.
    pub fn start(&self) -> Running {
        let mut command = Command::new(program());
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn().expect("worldstream starts");
        Running {
            stdout: Collected::start(child.stdout.take().expect("stdout is piped")),
            stderr: Collected::start(child.stderr.take().expect("stderr is piped")),
            child,
            began: Instant::now(),
        }
    }

    /// Runs it to its end.
    pub fn finish(&self) -> Finished {
        self.start().finish()
    }
}

/// What a pipe said up to now, read by a thread of its own.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Collected {
    fn start(mut from: impl Read + Send + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A process that is killed closes its pipes.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                into.lock()
                    .expect("nobody panics with it")
                    .extend(&buffer[..length]);
            }
        });
        Collected {
            bytes,
            reading: Some(reading),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with it")).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        self.text()
    }
}

/// A process that runs. Killed when dropped.
pub struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
    began: Instant,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `STOP`, `CONT`, `INT`, `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -{name} {}", self.id());
    }

    /// What it has printed to stderr up to now.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(mut self) -> Finished {
        self.child.kill().expect("a child can be killed");
        self.finish()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be asked")
            .is_some()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        let status = self.child.wait().expect("a child can be awaited");
        self.finished(status)
    }

    /// Waits for its end, and fails the test with what it printed if that takes too long.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return self.finished(status);
            }
            if Instant::now() >= end {
                let _ = self.child.kill();
                let status = self.child.wait().expect("a child can be awaited");
                panic!("not done within {limit:?}: {:?}", self.finished(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn finished(&mut self, status: ExitStatus) -> Finished {
        Finished {
            code: status.code(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// Fails the test, with everything that was printed, if the exit code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
