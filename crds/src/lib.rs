//! The API of worldstream as Rust types: the documents that people write, their defaults and
//! ranges, the reason codes and the exit codes; and what the worker and the operator must work out
//! alike: the stream plan ([`plan`]) and which outputs it streams ([`selection`]). Nothing in this
//! crate does I/O.

pub mod bytes;
pub mod catalogue;
pub mod clock;
mod columns;
pub mod conditions;
pub mod duration;
pub mod failure;
pub mod names;
pub mod plan;
pub mod policy;
pub mod profile;
pub mod ready_trigger;
pub mod reason;
pub mod rules;
pub mod selection;
pub mod stream;
pub mod stream_checkpoint;
pub mod stream_clock;
pub mod time;
mod yaml;

pub use bytes::BytesText;
pub use conditions::{ConditionReason, ConditionType};
pub use duration::DurationText;
pub use failure::Failure;
pub use policy::*;
pub use profile::*;
pub use ready_trigger::*;
pub use reason::{ExitCode, Reason};
pub use stream::*;
pub use stream_checkpoint::*;
pub use stream_clock::*;
pub use yaml::{crd_yaml, crds};

/// `apiVersion` of every document.
pub const API_VERSION: &str = "worldstream.io/v1alpha1";
