//! What follows a control bus in a cluster: each READY message becomes a WorldStream, which the
//! operator streams and which is followed to its end. How messages are read, decided and recorded
//! is the room [`crate::ready`]; here are its parts that talk to the API server.
//!
//! [`cluster`] makes the requests; [`streams`] watches the WorldStreams that this trigger made, and
//! [`seen`] is what counts of one; [`launcher`] makes, resumes and releases them, [`history`] says
//! which are cleared away; [`report`] is the status and [`failures`] which failures it counts, [`condition`] asks a Kubernetes object whether
//! a part of the platform is up, [`scope`] which platform run is the active one, and [`follow`]
//! connects it all. [`seen`], [`history`] [`report`] and [`failures`] are pure.

pub mod cluster;
mod condition;
mod failures;
mod follow;
mod history;
mod launcher;
mod metrics;
mod report;
mod scope;
mod seen;
mod streams;
mod writer;

pub use follow::{Task, run};
