//! Processes that outlive the program that starts them, and that are known again later: a process
//! id alone may belong to somebody else by then.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::command::command;
use crate::error::{BedError, Doing as _, Result};

/// A process as it was when it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its id.
    pub id: u32,
    /// When it began, in ticks since the machine's start.
    start: u64,
    /// Which start of the machine that was.
    boot: String,
}

/// What may be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It stands still.
    Stop,
    /// It goes on.
    Continue,
    /// It is asked to end.
    Terminate,
    /// It ends at once.
    Kill,
}

impl Signal {
    /// Its name, as `kill` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
        }
    }

    fn raw(self) -> rustix::process::Signal {
        match self {
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Continue => rustix::process::Signal::CONT,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.start, self.boot)
    }
}

impl FromStr for Recorded {
    type Err = BedError;

    fn from_str(text: &str) -> Result<Recorded> {
        let mut words = text.split_whitespace();
        let parsed = (|| {
            Some(Recorded {
                id: words.next()?.parse().ok()?,
                start: words.next()?.parse().ok()?,
                boot: words.next()?.to_owned(),
            })
        })();
        parsed.ok_or_else(|| BedError::new(format!("{text:?}: not the record of a process")))
    }
}

impl Recorded {
    /// The process of this id as it is now; none if there is none.
    pub fn of(id: u32) -> Option<Recorded> {
        let (state, start) = stat(id)?;
        (state != 'Z').then(|| Recorded {
            id,
            start,
            boot: boot(),
        })
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        Recorded::of(self.id).as_ref() == Some(self)
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.runs() {
            return Err(BedError::new(format!("process {}: has ended", self.id)));
        }
        send(self.id, signal).doing(format_args!("a signal to process {}", self.id))
    }
}

/// Runs its arguments with no files but stdin, stdout and stderr: a lock of whoever called `up`,
/// inherited, would be held for as long as the cluster lives.
const ALONE: &str = r#"for file in /proc/self/fd/*; do
    number=${file##*/}
    if [ "$number" -gt 2 ]; then eval "exec $number>&-"; fi
done
exec "$@""#;

/// Starts a command that goes on when this program ends, its output in a file.
pub(super) fn start(wanted: &Command, log: &Path) -> Result<Recorded> {
    use std::os::unix::process::CommandExt as _;
    let mut command = command("bash");
    command
        .args(["-c", ALONE, "bed"])
        .arg(wanted.get_program())
        .args(wanted.get_args());
    let doing = || format!("starting {:?}", wanted.get_program());
    let out = File::create(log).doing(format_args!("making {}", log.display()))?;
    let error = out.try_clone().doing(doing())?;
    let doing = doing();
    let child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        // A terminal's Ctrl-C is not for it.
        .process_group(0)
        .spawn()
        .doing(&doing)?;
    Recorded::of(child.id())
        .ok_or_else(|| BedError::new(format!("{doing}: ended at once; see {}", log.display())))
}

/// Sends a signal to a process id.
pub(super) fn send(id: u32, signal: Signal) -> std::io::Result<()> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let id = id.ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(id, signal.raw())?)
}

/// The words of a process's command line.
pub(super) fn command_line(id: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The ids of all processes.
pub(super) fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Waits until a process has ended.
pub(super) fn wait_for(id: u32) -> Result<()> {
    let Some(recorded) = Recorded::of(id) else {
        return Ok(());
    };
    while recorded.runs() {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Waits for a condition; what was waited for, if it does not come within two minutes.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(120);
    while !holds()? {
        if Instant::now() >= end {
            return Err(BedError::new(format!("waited two minutes for {what}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A process's state letter and start time.
fn stat(id: u32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // proc(5) counts from 1: the state is field 3, the start time 22.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_and_another_of_its_id_is_not() {
        let own = Recorded::of(std::process::id()).unwrap();
        let read: Recorded = own.to_string().parse().unwrap();
        assert_eq!(read, own);
        assert!(read.runs());
        let other = Recorded {
            start: own.start + 1,
            ..own
        };
        assert!(!other.runs());
        assert!(other.signal(Signal::Kill).is_err());
        assert!("12".parse::<Recorded>().is_err());
    }
}
