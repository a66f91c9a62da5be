//! The one error type that leaves a room: a reason code, the object, the field, what was found
//! and what was expected, and the cause.

use std::fmt;

use crate::{ExitCode, Reason};

/// Why something failed, in the words that a person needs to mend it.
///
/// Displays as `REASON: object: field: found X, expected Y: detail`, on one line.
#[derive(Debug, Clone)]
pub struct Failure(Box<Parts>);

/// Boxed, so that a result is no larger for the failure that it seldom holds.
#[derive(Debug, Clone)]
struct Parts {
    reason: Reason,
    object: String,
    field: Option<String>,
    found: Option<String>,
    expected: Option<String>,
    detail: Option<String>,
    exit: Option<ExitCode>,
}

/// A result whose error is a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of `object`: a path, a URL, a document, or an output id.
    pub fn new(reason: Reason, object: impl Into<String>) -> Self {
        Failure(Box::new(Parts {
            reason,
            object: object.into(),
            field: None,
            found: None,
            expected: None,
            detail: None,
            exit: None,
        }))
    }

    /// The field of the object that is wrong, such as `seed` or `row 17, column amount`.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// What was found there.
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(clip(found.into()));
        self
    }

    /// What was expected there.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// More to know: the cause, usually another error's whole chain.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// More than the detail that is there already.
    pub fn and(mut self, more: &str) -> Self {
        let detail = self.0.detail.take();
        self.0.detail = Some(match detail {
            Some(detail) => format!("{detail}, {more}"),
            None => more.to_owned(),
        });
        self
    }

    /// The cause, with its own causes.
    pub fn cause(self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.detail(chain(error))
    }

    /// The reason code.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Ends the process otherwise than the reason says: a store that is away has no code of its
    /// own in the contract (section 10), but an exit code.
    pub fn exits(mut self, exit: ExitCode) -> Self {
        self.0.exit = Some(exit);
        self
    }

    /// How a process that fails with this ends.
    pub fn exit_code(&self) -> ExitCode {
        self.0.exit.unwrap_or(self.0.reason.exit_code())
    }

    /// The text without the reason code.
    pub fn message(&self) -> String {
        let mut text = self.0.object.clone();
        if let Some(field) = &self.0.field {
            text.push_str(": ");
            text.push_str(field);
        }
        match (&self.0.found, &self.0.expected) {
            (Some(found), Some(expected)) => {
                text.push_str(&format!(": found {found}, expected {expected}"))
            }
            (Some(found), None) => text.push_str(&format!(": found {found}")),
            (None, Some(expected)) => text.push_str(&format!(": expected {expected}")),
            (None, None) => {}
        }
        if let Some(detail) = &self.0.detail {
            text.push_str(": ");
            text.push_str(detail);
        }
        one_line(&text)
    }
}

/// An error's text with those of its causes that it does not hold already.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}

/// A text as it can stand in one line of a log or a terminal: what was found in a broken file may
/// hold anything.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// What was found may be a whole file: the first 200 characters say enough.
fn clip(text: String) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.message())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_was_found() {
        let failure = Failure::new(Reason::GatePassInvalid, "a\tb")
            .found("x\0\u{1b}[31m\r\ny\u{85}é")
            .detail("1\n2");
        assert_eq!(
            failure.message(),
            "a b: found x\\u{0}\\u{1b}[31m  y\\u{85}é: 1 2"
        );
    }
}
