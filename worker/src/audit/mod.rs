//! What a run says for the record: session.jsonl and receipts (contracts section 9).

pub mod chain;
pub mod queue;
pub mod receipt;
pub mod records;
pub mod session;

pub use chain::Chain;
pub use receipt::{OutputReceipt, RunSummary};
pub use records::Records;
pub use session::{Event, SessionLog};
