//! Who streams the world of a message: the trait that the consumer calls, once for this process
//! and once for a cluster.

use super::claim::Claim;
use super::record::Status;
use crate::failure::{Failure, Result};

/// A stream that a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The message.
    pub message_id: String,
    /// SR's run.
    pub run_id: String,
    /// The platform run.
    pub platform_run_id: String,
    /// What goes into every event.
    pub scenario_run_id: String,
    /// The scenario.
    pub scenario_id: String,
    /// The engine run root.
    pub engine_run_root: String,
}

/// How a stream ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Events that were sent since the message's last record.
    pub emitted: u64,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Somebody deleted it half way, and it is not to be streamed again by itself.
    pub deleted: bool,
}

/// Streams worlds.
pub trait Launcher {
    /// Starts a stream, or goes on following one that was started before, and waits for its end.
    /// Called again with the same launch after a restart. May be dropped at any moment, as when the
    /// claim was lost.
    ///
    /// # Errors
    /// Where the end was not seen: it was asked to stop, or what streams cannot be reached. Nothing
    /// is recorded then, and it is called again later.
    fn run(&self, launch: &Launch, claim: &Claim) -> impl Future<Output = Result<Ended>>;

    /// The message has a record of this status, or had one already. Called again whenever the
    /// message comes again.
    ///
    /// # Errors
    /// Where it could not be noted: it is called again later.
    fn recorded(&self, message_id: &str, status: Status) -> impl Future<Output = Result<()>>;
}
