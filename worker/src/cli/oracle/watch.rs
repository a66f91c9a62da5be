//! Progress of work on a world: a bar on a terminal, a line every few seconds elsewhere, on stderr.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use worldstream_crds::{ExitCode, Reason};

use crate::cli::quiet::note;
use crate::failure::{Failure, Result};
use crate::report::figures::thousands;
use crate::view::build::{Phase, Progress, Standing};

/// How often a bar is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINES: Duration = Duration::from_secs(5);

/// Builds with progress, unless it is `silent`.
pub fn building<T>(title: &str, silent: bool, work: impl FnOnce(&Progress) -> T) -> T {
    let progress = Progress::default();
    let began = Instant::now();
    let shown = |bar: Option<&ProgressBar>| {
        let standing = progress.standing();
        let text = line(&standing, began.elapsed());
        match bar {
            Some(bar) => {
                bar.set_position((standing.share() * 1000.0) as u64);
                bar.set_message(text);
            }
            None => note(format!("{title}: {text}")),
        }
    };
    beside(title, silent, &shown, || work(&progress))
}

/// Counts rows with progress, unless it is `silent`.
pub fn counting<T>(silent: bool, work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T) -> T {
    let rows = AtomicU64::new(0);
    let shown = |bar: Option<&ProgressBar>| {
        let text = format!("{} rows counted", thousands(rows.load(Relaxed)));
        match bar {
            Some(bar) => bar.set_message(text),
            None => note(text),
        }
    };
    let add = |more: u64| {
        rows.fetch_add(more, Relaxed);
    };
    beside("checking", silent, &shown, || work(&add))
}

/// Works while another thread shows how far it is.
fn beside<T>(
    title: &str,
    silent: bool,
    shown: &(dyn Fn(Option<&ProgressBar>) + Sync),
    work: impl FnOnce() -> T,
) -> T {
    if silent {
        return work();
    }
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{prefix}\n  {wide_bar:.cyan/dim} {msg}");
        ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_prefix(title.to_owned())
    });
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let bar = bar.as_ref();
        scope.spawn(move || {
            let pause = if bar.is_some() { FRAME } else { LINES };
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
                shown(bar);
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Phase, rows, bytes, and how long it will take.
fn line(standing: &Standing, elapsed: Duration) -> String {
    let share = standing.share();
    let left = match share {
        0.02.. => {
            let left = elapsed.mul_f64((1.0 - share) / share);
            format!(", {} to go", HumanDuration(left))
        }
        _ => String::new(),
    };
    // Neither looking nor publishing goes row by row.
    let rows = match standing.phase {
        Phase::Looking | Phase::Publishing => String::new(),
        _ => format!(
            "{}/{} rows, ",
            thousands(standing.rows),
            thousands(standing.of)
        ),
    };
    format!(
        "{:>3.0}% {:<10} {rows}{}{left}",
        share * 100.0,
        standing.phase.word(),
        HumanBytes(standing.bytes),
    )
}

/// SIGINT and SIGTERM end the process at once: what was sorted stays, and the same command goes
/// on from there.
pub fn end_on_signals() -> Result<()> {
    let broken =
        |error: &std::io::Error| Failure::new(Reason::StreamFailed, "signals").cause(error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken(&error))?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(|error| broken(&error))?;
        let terminate = signal(SignalKind::terminate()).map_err(|error| broken(&error))?;
        (interrupt, terminate)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        note("interrupted: the same command goes on from here");
        std::process::exit(ExitCode::Interrupted.code().into());
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_phase_rows_bytes_and_what_is_left() {
        let standing = Standing {
            phase: Phase::Merging,
            rows: 1_000_000,
            of: 2_000_000,
            bytes: 3 << 20,
        };
        assert_eq!(
            line(&standing, Duration::from_secs(25)),
            " 62% merging    1,000,000/2,000,000 rows, 3.00 MiB, 15 seconds to go"
        );
        let standing = Standing {
            phase: Phase::Publishing,
            rows: 0,
            ..standing
        };
        assert_eq!(
            line(&standing, Duration::from_secs(99)),
            " 99% publishing 3.00 MiB, 1 second to go"
        );
    }
}
