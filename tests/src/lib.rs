//! The bed of the end-to-end tests: the program itself, started as a person would start it, worlds
//! and gates to run it against, and what was recorded of it. Everything that a test starts ends
//! with the test.

pub mod apiserver;
pub mod bench;
pub mod cases;
pub mod exact;
pub mod generated;
pub mod inside;
pub mod kinesis;
pub mod made;
pub mod page;
pub mod parity;
pub mod postgres;
pub mod proxy;
pub mod relay;
pub mod s3;
pub mod stream;

mod cluster;
mod gate;
mod program;
mod record;

pub use cluster::{cluster, images};
pub use exact::Exact;
pub use gate::GateProcess;
pub use made::MadeWorld;
pub use postgres::PostgresServer;
pub use program::{Finished, Program, Running, built, profile_folder, program, run};
pub use proxy::Proxy;
pub use record::{Arrival, Repeats, arrivals, envelopes, json_lines, monotonic};
pub use relay::Relay;
pub use worldstream_bed as bed;
pub use worldstream_bed::plain_environment;

use std::path::PathBuf;

/// The golden data of the reference producer: worlds, expected envelopes, vectors.
pub fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether suites run in their long form (`make test-long`).
pub fn long() -> bool {
    std::env::var_os("WORLDSTREAM_TESTS").is_some_and(|form| form == "long")
}

/// The platform run id of the golden envelopes, and of tests that do not care.
pub const PLATFORM_RUN_ID: &str = "platform_20260101T000000Z";
/// The scenario run id of the golden envelopes.
pub const SCENARIO_RUN_ID: &str = "abababababababababababababababab";
