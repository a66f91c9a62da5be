//! Why a store did not do what it was asked, and how hard it was tried.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use object_store::client::HttpError;
use worldstream_crds::ExitCode;

use super::credentials::NoCredentials;
use crate::failure::{Failure, chain};

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such object.
    Missing,
    /// The object is another one than was asked for, or exists where none should.
    Changed,
    /// The store answers, and says no: a bucket that is not there, credentials that are refused,
    /// a request that it does not take.
    Refused,
    /// The store does not answer, or is not able to: worth trying again later.
    Away,
    /// Anything else: a broken file, an answer that is none.
    Broken,
}

/// How hard it was tried, and how hard it may be.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// Attempts that were made.
    pub attempts: u32,
    /// Attempts that may be made.
    pub of: u32,
    /// How long it took.
    pub took: Duration,
    /// After how long no new attempt begins.
    pub within: Duration,
}

/// A request to a store that failed for good.
#[derive(Debug, Clone)]
pub struct StoreError {
    trouble: Trouble,
    text: String,
    tries: Option<Tries>,
}

/// An answer of an HTTP store that is no success, and no outcome of its own such as "no such
/// object".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub status: u16,
    /// S3's code, such as `AccessDenied`; empty if the body had none.
    pub code: String,
    /// S3's message, or the beginning of the body.
    pub message: String,
}

impl Answer {
    /// What an answer's body says: XML with a code and a message, or anything.
    pub fn new(status: u16, body: &str) -> Self {
        let tag = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>"))
                .map(|(text, _)| text.trim().to_owned())
        };
        let code = tag("Code").unwrap_or_default();
        let message = tag("Message").unwrap_or_else(|| match code.is_empty() {
            true => body.trim().chars().take(200).collect(),
            false => String::new(),
        });
        Answer {
            status,
            code,
            message,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", self.message.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

impl Error for Answer {}

impl StoreError {
    /// What a local store (or one that a test made) said: never tried again.
    pub(super) fn local(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let trouble = match error {
            // The store of this machine's files has no other variant for most of what goes wrong.
            E::Generic { store, .. } if *store != "LocalFileSystem" => Trouble::Away,
            error => plain(error),
        };
        StoreError {
            trouble,
            text: chain(error),
            tries: None,
        }
    }

    /// What a store at the other end of HTTP said. `place` is the store, `credentials` who we
    /// said that we are.
    pub(super) fn remote(error: &object_store::Error, place: &str, credentials: &str) -> Self {
        let (trouble, text) = remote(error, credentials);
        StoreError {
            trouble,
            text: format!("{place}: {text}"),
            tries: None,
        }
    }

    /// The same with how hard it was tried.
    pub(super) fn tried(mut self, tries: Tries) -> Self {
        self.tries = Some(tries);
        self
    }

    /// What kind of trouble it is.
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// Attempts that were made.
    pub fn attempts(&self) -> u32 {
        self.tries.map_or(1, |tries| tries.attempts)
    }

    /// Whether the store, and not the object, is the trouble: worth trying again later.
    pub fn is_away(&self) -> bool {
        self.trouble == Trouble::Away
    }

    /// A failure with this as its cause: where the store is away, one that is worth another try.
    pub fn explain(&self, failure: Failure) -> Failure {
        let failure = failure.cause(self);
        match self.is_away() {
            true => failure.exits(ExitCode::Unavailable),
            false => failure,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        let Some(tries) = self.tries else {
            return Ok(());
        };
        write!(
            f,
            ", after {} of at most {} attempts, in {:.1?} of at most {:.0?}",
            tries.attempts, tries.of, tries.took, tries.within
        )
    }
}

impl Error for StoreError {}

fn plain(error: &object_store::Error) -> Trouble {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Trouble::Missing,
        E::Precondition { .. } | E::NotModified { .. } | E::AlreadyExists { .. } => {
            Trouble::Changed
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Trouble::Refused,
        _ => Trouble::Broken,
    }
}

fn remote(error: &object_store::Error, credentials: &str) -> (Trouble, String) {
    let plain = plain(error);
    if matches!(plain, Trouble::Missing | Trouble::Changed) {
        return (plain, chain(error));
    }
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    let mut transport = None;
    while let Some(error) = link {
        if let Some(none) = error.downcast_ref::<NoCredentials>() {
            let trouble = match none.passing {
                true => Trouble::Away,
                false => Trouble::Refused,
            };
            return (trouble, none.to_string());
        }
        if let Some(answer) = error.downcast_ref::<Answer>() {
            return match answer.status {
                408 | 429 | 500..=599 => (Trouble::Away, answer.to_string()),
                400 | 401 | 403 => (Trouble::Refused, format!("{answer} to {credentials}")),
                _ => (Trouble::Refused, answer.to_string()),
            };
        }
        if let Some(http) = error.downcast_ref::<HttpError>() {
            transport = Some(http);
        }
        link = error.source();
    }
    match transport {
        Some(http) if is_distrust(http) => (Trouble::Refused, chain(http)),
        Some(http) => (Trouble::Away, chain(http)),
        None => (plain, chain(error)),
    }
}

/// Whether a connection failed because we do not trust the other end: that does not pass by itself.
pub(crate) fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return matches!(error, rustls::Error::InvalidCertificate(_));
        }
        // An I/O error shows its cause's causes, and not the cause.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        link = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_code_and_message() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>\
                    <Message>Access Denied.</Message><Resource>/b/x</Resource></Error>";
        let answer = Answer::new(403, body);
        assert_eq!(
            answer.to_string(),
            "the answer is 403 AccessDenied (Access Denied)"
        );
        assert_eq!(Answer::new(503, "").to_string(), "the answer is 503");
        let other = Answer::new(502, "<html>bad gateway</html>\n").to_string();
        assert_eq!(other, "the answer is 502 (<html>bad gateway</html>)");
        assert!(Answer::new(500, &"x".repeat(5_000)).message.len() == 200);
    }

    #[test]
    fn an_error_says_how_hard_it_was_tried() {
        let error = StoreError {
            trouble: Trouble::Away,
            text: "http://s3: refused".into(),
            tries: None,
        };
        let error = error.tried(Tries {
            attempts: 7,
            of: 50,
            took: Duration::from_millis(20_440),
            within: Duration::from_secs(60),
        });
        assert_eq!(
            error.to_string(),
            "http://s3: refused, after 7 of at most 50 attempts, in 20.4s of at most 60s"
        );
    }
}
