//! The outcome of checks, in the order in which they were made.

use serde::Serialize;
use worldstream_crds::{ExitCode, Reason};

use crate::failure::{Failure, Result};
use crate::view::build::audit::Finding;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// There was nothing to check.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The output's id, or `world`.
    pub of: String,
    /// What was checked.
    pub what: String,
    /// How it came out.
    pub state: State,
    /// The code of a failure.
    pub reason: Option<Reason>,
    /// It failed because the store did not answer, which says nothing of the world.
    pub unavailable: bool,
    /// What was found.
    pub message: String,
}

/// The checks of one object.
pub(super) struct Checks {
    of: String,
    pub made: Vec<Check>,
}

impl Checks {
    pub fn of(of: &str) -> Self {
        Checks {
            of: of.to_owned(),
            made: Vec::new(),
        }
    }

    /// Notes a check, and gives its value if it held.
    pub fn note<T>(
        &mut self,
        what: &str,
        found: Result<T>,
        said: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match found {
            Ok(value) => {
                let message = said(&value);
                self.add(what, State::Ok, None, message);
                Some(value)
            }
            Err(failure) => {
                self.failed(what, &failure);
                None
            }
        }
    }

    pub fn failed(&mut self, what: &str, failure: &Failure) {
        self.add(what, State::Failed, Some(failure), failure.message());
    }

    pub fn skipped(&mut self, what: &str, why: &str) {
        self.add(what, State::Skipped, None, why.to_owned());
    }

    pub fn findings(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            match (finding.skipped, finding.found) {
                (true, Ok(why)) => self.skipped(finding.what, &why),
                (_, found) => {
                    self.note(finding.what, found, String::clone);
                }
            }
        }
    }

    fn add(&mut self, what: &str, state: State, failure: Option<&Failure>, message: String) {
        self.made.push(Check {
            of: self.of.clone(),
            what: what.to_owned(),
            state,
            reason: failure.map(Failure::reason),
            unavailable: failure.is_some_and(|it| it.exit_code() == ExitCode::Unavailable),
            message,
        });
    }
}
