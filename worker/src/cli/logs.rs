//! Logs: `tracing` to stderr, above the progress bars, as text or JSON.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::report::live::above_bars;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal
    Text,
    /// An object a line
    Json,
}

/// Starts logging: what `RUST_LOG` asks for, or else `filter`.
pub fn start(format: Format, filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr);
    // A second start in one process (a test) keeps the first.
    let _ = match format {
        Format::Text => logs.with_ansi(colours).with_target(false).try_init(),
        Format::Json => logs.json().flatten_event(true).try_init(),
    };
}

/// Collects one event and writes it above the bars.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A log that cannot be written has nowhere to complain.
        let _ = above_bars(|stderr| stderr.write_all(&self.0));
    }
}
