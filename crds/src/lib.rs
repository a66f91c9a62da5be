//! The API of worldstream as Rust types: the documents that people write, their defaults and
//! ranges, the reason codes and the exit codes. Nothing in this crate does I/O.

pub mod policy;
pub mod reason;

pub use policy::*;
pub use reason::{ExitCode, Reason};
