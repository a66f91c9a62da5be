//! What a run says for the record: session.jsonl and receipts (contracts section 9).

pub mod chain;
pub mod event;
pub mod queue;
pub mod receipt;
pub mod records;
pub mod session;
pub mod story;

pub use chain::Chain;
pub use event::{Event, FlushReason, StreamedWorld};
pub use receipt::{OutputReceipt, RunSummary};
pub use records::Records;
pub use session::SessionLog;
