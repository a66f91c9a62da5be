//! worldstream's engine: reads a sealed world, wraps every row in the canonical envelope, and
//! pushes it to the Ingestion Gate (IG) on the schedule of one shared clock.
//!
//! A folder is a room. A replay walks through them in this order: [`cli`] reads the command line,
//! [`plan`] resolves documents and flags into one validated plan, [`world`] verifies the world,
//! [`view`] reads rows, [`envelope`] makes them bytes, [`clock`] says when each is due, [`gate`]
//! pushes it, [`checkpoint`] remembers how far the stream is, [`audit`] and [`report`] say so.
//! [`bus`] is where READY messages come from.
//! [`store`] is where worlds are read and records are written, on this machine or in S3;
//! [`secret`] reads what the plan only names. [`engine`] connects them. [`sample`] and
//! [`devgate`] make a world and a gate to try it all on, and [`validate`] sees whether it all works.

pub mod audit;
pub mod bus;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod devgate;
pub mod engine;
pub mod envelope;
pub mod gate;
pub mod oracle;
pub mod plan;
pub mod ready;
pub mod report;
pub mod sample;
pub mod sched;
pub mod secret;
pub mod stop;
pub mod store;
pub mod trigger;
pub mod validate;
pub mod view;
pub mod world;

pub use failure::Failure;
pub use worldstream_crds::{failure, time};
