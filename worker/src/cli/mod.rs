//! The command line: one file a subcommand.

pub mod dev_gate;
