//! The API of worldstream as Rust types: the documents that people write, their defaults and
//! ranges, the reason codes and the exit codes. Nothing in this crate does I/O.

pub mod bytes;
pub mod duration;
pub mod policy;
pub mod profile;
pub mod reason;
pub mod stream;
mod yaml;

pub use bytes::BytesText;
pub use duration::DurationText;
pub use policy::*;
pub use profile::*;
pub use reason::{ExitCode, Reason};
pub use stream::*;
pub use yaml::{crd_yaml, crds};

/// `apiVersion` of every document.
pub const API_VERSION: &str = "worldstream.io/v1alpha1";
