//! What the bed says while it works: a line a stage, on stderr, with its duration.

use std::time::Instant;

use crate::error::Result;

/// A line of its own.
pub fn say(what: impl std::fmt::Display) {
    eprintln!("bed: {what}");
}

/// Does a stage of the work and says how long it took.
pub fn stage<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = work();
    let end = if done.is_ok() { "" } else { "  FAILED" };
    say(format_args!(
        "{what:<52} {:6.1} s{end}",
        began.elapsed().as_secs_f64()
    ));
    done
}
