//! What went wrong with the bed, in words for the person at the terminal.

use std::fmt;

/// An error of the bed: one sentence, then what the machine said.
#[derive(Debug)]
pub struct BedError(String);

/// What the bed's functions give.
pub type Result<T, E = BedError> = std::result::Result<T, E>;

impl BedError {
    /// An error of these words.
    pub fn new(words: impl Into<String>) -> BedError {
        BedError(words.into())
    }
}

impl fmt::Display for BedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BedError {}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Puts `what` before the error's own words.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| BedError(format!("{what}: {error}")))
    }
}
