//! What may go wrong with a statement, and what it means: whether it is worth trying again, and
//! with which exit code the stream ends if it stays so.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use worldstream_crds::{ExitCode, Reason};

use crate::failure::Failure;

/// Why a statement has no answer, or no good one.
#[derive(Debug)]
pub enum Trouble {
    /// The server refused it, or the connection broke.
    Refused(tokio_postgres::Error),
    /// No answer in this time.
    Silent(Duration),
    /// A failure that was understood already: no connection could be made.
    Known(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Known(failure)
    }
}

impl Trouble {
    /// What the server said, as its code.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Trouble::Refused(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the server lacks a table or a column of ours.
    pub fn lacks_tables(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::UNDEFINED_TABLE) || code == Some(&SqlState::UNDEFINED_COLUMN)
    }

    /// Whether another connection may do better: this one is broken or silent, or leads to a
    /// standby, whose address may be the primary's by now.
    pub fn wants_another_connection(&self) -> bool {
        match self {
            Trouble::Silent(_) => true,
            Trouble::Refused(error) => match error.code() {
                None => true,
                Some(code) => {
                    *code == SqlState::READ_ONLY_SQL_TRANSACTION
                        || code.code().starts_with("08")
                        || code.code().starts_with("57P")
                }
            },
            Trouble::Known(_) => false,
        }
    }

    /// The failure of an action, such as `save the checkpoint`, at a database of this name.
    pub fn failure(self, name: &str, action: &str) -> Failure {
        let failure = Failure::new(Reason::StreamFailed, name);
        match self {
            Trouble::Known(failure) => failure,
            Trouble::Silent(limit) => failure
                .detail(format!("cannot {action}: no answer within {limit:?}"))
                .exits(ExitCode::Unavailable),
            Trouble::Refused(error) => {
                let exit = match passes(&error) {
                    true => ExitCode::Unavailable,
                    false => ExitCode::FailClosed,
                };
                let text = chain(&error);
                let code = error
                    .code()
                    .map_or(String::new(), |code| format!(" (SQLSTATE {})", code.code()));
                failure
                    .detail(format!("cannot {action}: {text}{code}"))
                    .exits(exit)
            }
        }
    }
}

/// Whether an error may pass by itself.
fn passes(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        // A certificate that is not trusted and a server without TLS stay what they are.
        return !chain(error).contains("TLS handshake: server does not support TLS")
            && !distrusts(error);
    };
    if *code == SqlState::PROTOCOL_VIOLATION
        && let Some(said) = error.as_db_error()
    {
        return !is_refusal_of_a_pool(said.message());
    }
    let class = code.code().get(..2).unwrap_or_default();
    matches!(
        class,
        // Connections, resources (a full disk among them), operators, the system, conflicts.
        "08" | "53" | "57" | "58" | "40" | "55" | "XX"
    ) || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// PgBouncer says with one code whatever is wrong: what a server that is away is to it passes, what
/// a server would have refused with a code of its own does not.
fn is_refusal_of_a_pool(said: &str) -> bool {
    [
        "no such database",
        "no such user",
        "does not exist",
        "authentication failed",
        "unsupported startup parameter",
    ]
    .iter()
    .any(|refusal| said.contains(refusal))
}

fn distrusts(error: &tokio_postgres::Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(_)) = inner {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with its causes. Postgres puts what a row held into the detail of some errors, and
/// nothing of that is secret.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_refusal_of_a_pool;

    #[test]
    fn what_a_pool_refuses_is_told_from_what_it_waits_for() {
        for (said, refusal) in [
            ("no such database: checkpoints", true),
            ("database \"nowhere\" does not exist", true),
            ("SASL authentication failed", true),
            ("password authentication failed", true),
            ("unsupported startup parameter: options", true),
            ("query_wait_timeout", false),
            ("no more connections allowed (max_client_conn)", false),
            (
                "server login has been failed, try again later (server_login_retry)",
                false,
            ),
            (
                "server login failed: FATAL the database system is starting up",
                false,
            ),
        ] {
            assert_eq!(is_refusal_of_a_pool(said), refusal, "{said}");
        }
    }
}
