//! The measurements of `make bench`: each compares the real program with a peer in the same run,
//! or with a bound, and gives a line of the table and of `results.json`.

mod client;
mod encode;
mod figures;
mod object_store;
mod paced;
mod postgres;
pub mod process;
mod resume;
mod sink;
pub mod views;
mod whole_path;
mod worlds;

use std::path::PathBuf;

pub use figures::{Goal, Measurement, line, table};

/// What is measured, and where files go.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only measurements whose name begins with one of these; empty: all.
    pub only: Vec<String>,
    /// Short runs, to see that everything works; the figures say less.
    pub quick: bool,
    /// Worlds, runs and results: `target/bench`.
    pub dir: PathBuf,
}

impl Options {
    /// Whether a measurement of this name is wanted.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    /// Whether any of several measurements that are taken together is wanted.
    fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }
}

/// Takes all measurements that are wanted, hands each to `each` as soon as it is known, and says
/// on stderr what it is doing.
///
/// # Errors
///
/// A text for people: what could not be run, and why.
pub fn run(options: &Options, each: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    std::fs::create_dir_all(&options.dir)
        .map_err(|error| format!("{}: {error}", options.dir.display()))?;
    // Whatever one function measures besides what was asked for is not shown.
    let mut show = |measurement: Measurement| {
        if options.wants(&measurement.name) {
            each(measurement);
        }
    };
    encode::measure(options, &mut show)?;
    resume::measure(options, &mut show)?;
    client::measure(options, &mut show)?;
    whole_path::measure(options, &mut show)?;
    whole_path::memory(options, &mut show)?;
    object_store::measure(options, &mut show)?;
    paced::measure(options, &mut show)?;
    postgres::measure(options, &mut show)
}

/// What is going on, for people.
fn say(text: &str) {
    eprintln!("  … {text}");
}
