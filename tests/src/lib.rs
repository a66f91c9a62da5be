//! End-to-end tests of worldstream, and what the project generates.

pub mod generated;
