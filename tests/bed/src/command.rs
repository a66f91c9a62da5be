//! Commands of the system, with what they said when they fail.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{BedError, Result};

/// Folders of system programs that the PATH of a plain user may lack.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A program of the system, found in the PATH or in the administrator's folders.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(ADMIN_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A command of the system.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let name = program.as_ref();
    let found = name
        .to_str()
        .and_then(|name| (!name.contains('/')).then(|| find(name)).flatten());
    let mut command = match found {
        Some(file) => Command::new(file),
        None => Command::new(name),
    };
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end; its stdout, or what went wrong.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.output();
    ended(command, done)
}

/// The same, with text for it to read.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let done = command.spawn().and_then(|mut child| {
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            // Beside the reading, or both sides could wait for one another. A command that ends
            // without having read all says so by its status.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
            child.wait_with_output()
        })
    });
    ended(command, done)
}

fn ended(command: &Command, done: std::io::Result<Output>) -> Result<String> {
    let shown = shown(command);
    let done = done.map_err(|error| BedError::new(format!("{shown}: {error}")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    let said = if said.is_empty() {
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    } else {
        said
    };
    Err(BedError::new(format!("{shown}: {}: {said}", done.status)))
}

/// Runs a program of the system with these arguments.
pub fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<String> {
    output(command(program).args(args))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}

/// Takes what cargo says of its caller's own package out of a command's environment: build
/// scripts that look at it would run again, and half of the dependencies would be built again,
/// each time that a test and a person build in turn.
pub fn plain_environment(command: &mut Command) {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_MANIFEST_"];
    const NAMES: [&str; 6] = [
        "CARGO",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "OUT_DIR",
        "LD_LIBRARY_PATH",
    ];
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| {
            NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        if own {
            command.env_remove(name);
        }
    }
}
