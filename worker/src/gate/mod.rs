//! The client of the Ingestion Gate: one connection pushes one envelope at a time until IG has
//! taken it, or it is clear that IG will not (contracts section 5).

mod answer;
mod auth;
mod client;
mod connection;
mod counters;
mod reply;
mod retry;
pub(crate) mod tls;
mod wire;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

pub use answer::BODY_MAX;
pub use auth::{API_KEY, SERVICE_TOKEN, sign};
pub use client::GateClient;
pub use connection::Connection;
pub(crate) use connection::random;
pub use counters::{GateCounts, Outage};
pub use retry::{RETRY_AFTER_MAX, RetryReason, Verdict, classify};

/// What IG decided about an event that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Decision {
    /// It is in.
    Admit,
    /// It was in already.
    Duplicate,
    /// It was put aside; still a 200.
    Quarantine,
}

/// How pushing one envelope ended.
#[derive(Debug, Clone)]
pub enum PushEnd {
    /// IG has it.
    Taken {
        /// What it decided; none only where the profile does not require a decision.
        decision: Option<Decision>,
        /// Attempts beyond the first.
        retries: u32,
    },
    /// IG does not take it, or could not be reached for longer than allowed. Nothing after it is
    /// sent.
    Failed(Failure),
    /// We were asked to stop while it was waited to try again: it was not taken, as far as we
    /// know.
    Interrupted,
}
