//! A process that is measured: its processor time and the peak of its memory, as the kernel
//! counts them.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How often the peak of the memory is looked at. The kernel keeps it, so only what grows in the
/// last of these moments is missed.
const LOOK: Duration = Duration::from_millis(10);

/// What Linux counts times in where it shows them to programs, on every machine.
const TICKS_PER_SECOND: u64 = 100;

/// How a process went.
#[derive(Debug)]
pub struct Usage {
    /// What it printed.
    pub stdout: String,
    /// What it printed.
    pub stderr: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// From start to end.
    pub took: Duration,
    /// User and system time of all its threads, to a hundredth of a second.
    pub cpu: Duration,
    /// The most memory that was resident at any time, in MiB. Not `ru_maxrss`: that one begins
    /// with what the starting process had.
    pub peak_mib: f64,
}

/// Runs a command to its end.
pub fn measure(command: &mut Command) -> Result<Usage, String> {
    let shown = format!("{:?}", command.get_program());
    let broken = |error: &dyn std::fmt::Display| format!("{shown}: {error}");
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| broken(&error))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let watched = watch(&child, began);
    let status = child.wait().map_err(|error| broken(&error))?;
    let (took, cpu, peak_mib) = watched.map_err(|error| broken(&error))?;
    Ok(Usage {
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
        status,
        took,
        cpu,
        peak_mib,
    })
}

/// Like [`measure`], but another exit code than 0 is an error with all that was printed.
pub fn measure_done(command: &mut Command) -> Result<Usage, String> {
    let usage = measure(command)?;
    if usage.status.success() {
        return Ok(usage);
    }
    Err(format!(
        "{command:?} ended with {}\n{}{}",
        usage.status, usage.stdout, usage.stderr
    ))
}

type Collected = std::thread::JoinHandle<String>;

fn collect(from: Option<impl Read + Send + 'static>) -> Collected {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came until the pipe broke is what there is.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Looks at a process until it has ended, and leaves it to be awaited.
fn watch(child: &Child, began: Instant) -> Result<(Duration, Duration, f64), String> {
    let id = child.id();
    let pid = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("no process id")?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let mut peak = 0.0f64;
    loop {
        let ended = waitid(WaitId::Pid(pid), options).map_err(|error| error.to_string())?;
        if ended.is_some() {
            break;
        }
        peak = peak.max(peak_mib(id).unwrap_or(0.0));
        std::thread::sleep(LOOK);
    }
    let took = began.elapsed();
    // It has ended and nobody has awaited it: its times are whole now and still there.
    let cpu = cpu(id).ok_or("no processor time in /proc")?;
    Ok((took, cpu, peak))
}

fn peak_mib(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn cpu(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in brackets may hold blanks; user and system time are the 12th and 13th behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}
