//! The command line: one file a subcommand.

pub mod checkpoints;
pub mod dev_gate;
pub mod sample;
