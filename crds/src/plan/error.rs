//! What is wrong with documents and flags: a mistake in writing them, named by its place, or a
//! failure with a reason code.

use std::fmt;

use crate::ExitCode;

use crate::failure::{Failure, one_line};

/// A mistake in a document, a policy file or on the command line. Displays as
/// `stream.yaml:7: spec.speedup: …` or `--lanes: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The file as it was named, or the flag.
    pub place: String,
    /// The line in the file, from 1.
    pub line: Option<u64>,
    /// The field's path in the document, such as `spec.ratePlan[1].target_eps`.
    pub path: Option<String>,
    /// What is wrong with it: what was found, and what is expected.
    pub message: String,
}

impl UsageError {
    /// A mistake in a flag or a file as a whole.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        UsageError {
            place: place.into(),
            line: None,
            path: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(path) = self.path.as_deref().filter(|path| !path.is_empty()) {
            write!(f, ": {path}")?;
        }
        write!(f, ": {}", one_line(&self.message))
    }
}

impl std::error::Error for UsageError {}

/// Why documents and flags do not make a plan.
#[derive(Clone, Debug)]
pub enum PlanError {
    /// They are written wrongly; exit code 2.
    Usage(UsageError),
    /// They are well written, and something that a stream needs is not there.
    Failure(Failure),
}

impl PlanError {
    /// How a process that fails with this ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            PlanError::Usage(_) => ExitCode::Usage,
            PlanError::Failure(failure) => failure.exit_code(),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Usage(error) => error.fmt(f),
            PlanError::Failure(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for PlanError {}

impl From<UsageError> for PlanError {
    fn from(error: UsageError) -> Self {
        PlanError::Usage(error)
    }
}

impl From<Failure> for PlanError {
    fn from(failure: Failure) -> Self {
        PlanError::Failure(failure)
    }
}
