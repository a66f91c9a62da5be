//! `worldstream run`: a replay from documents and flags to its end.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::quiet::note;
use crate::engine::Replay;
use crate::engine::replay::ReplayEnd;
use crate::failure::Failure;
use crate::plan::{RunFlags, StreamPlan};
use crate::report::live::{self, Style};
use crate::report::table;

const EXAMPLES: &str = "\
Examples:
  worldstream run -f worldstream.yaml
  worldstream run --profile local --engine-run-root demo/world --speedup 3600 \\
      --platform-run-id platform_20260101T000000Z --gate-url http://127.0.0.1:8081

Started again with the same ids, it goes on at its cursors. Ctrl-C stops it: nothing new is sent,
what is in flight is awaited, and the cursors are saved; a second Ctrl-C ends it at once.";

/// Replay a world to a gate
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Documents and flags of the replay.
    #[command(flatten)]
    pub flags: RunFlags,
}

/// Runs it. The result is on stdout then: a table, or the summary as JSON.
pub fn run(args: RunArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let plan = crate::plan::plan(&args.flags)?;
    let style = if json { Style::Silent } else { Style::Auto };
    let end = blocking(replay(plan, style))??;
    report(&end, args.flags.summary.as_ref(), json, out)
}

/// A replay and what it showed on its board.
pub struct Ran {
    /// How it ended.
    pub end: ReplayEnd,
    /// The table of it.
    pub table: String,
}

/// Streams a plan with progress on stderr, until its end, or until a signal has it stop.
pub async fn replay(plan: StreamPlan, style: Style) -> Result<Ran, Failure> {
    let broken =
        |error: std::io::Error| Failure::new(Reason::StreamFailed, "signals").cause(&error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let replay = tokio::select! {
        replay = Replay::prepare(plan) => replay?,
        _ = interrupt.recv() => std::process::exit(ExitCode::Interrupted.code().into()),
        _ = terminate.recv() => std::process::exit(ExitCode::Interrupted.code().into()),
    };
    let (board, remote) = (replay.board(), replay.remote());
    let progress = live::show(board.clone(), replay.clock(), style);
    let signals = async {
        for asked in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked > 0 {
                // Asked twice: what is saved is saved, and a start goes on from there.
                std::process::exit(130);
            }
            note("stopping: waiting for what is in flight, saving cursors");
            remote.stop();
        }
    };
    let end = {
        let running = replay.run();
        tokio::pin!(running, progress, signals);
        tokio::select! {
            end = &mut running => end,
            // These two never end.
            () = progress => running.await,
            () = signals => running.await,
        }
    };
    let table = table::of(&end, &board);
    Ok(Ran { end, table })
}

/// Prints the result and gives the exit code.
pub fn report(
    ran: &Ran,
    summary: Option<&PathBuf>,
    json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, CliError> {
    let interrupted = ran.end.failure.is_none() && ran.end.exit == ExitCode::Interrupted;
    if let Some(path) = summary {
        ran.end.summary.write(path)?;
    }
    let mut text = match json {
        true => serde_json::to_string_pretty(&ran.end.summary)
            .map_err(|error| Failure::new(Reason::StreamFailed, "the summary").cause(&error))?,
        false => ran.table.clone(),
    };
    text.push('\n');
    if interrupted && !json {
        text.push_str("interrupted, everything saved: the same command goes on from here\n");
    }
    print(out, &text)?;
    match &ran.end.failure {
        Some(failure) => Err(failure.clone().exits(ran.end.exit).into()),
        None => Ok(ran.end.exit),
    }
}

/// Writes text to stdout.
pub fn print(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Reason::StreamFailed, "stdout").cause(&error))
}

/// Runs a future on a runtime of this thread.
pub fn blocking<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "the runtime").cause(&error))?;
    Ok(runtime.block_on(future))
}
