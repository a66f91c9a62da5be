//! Checkpoints in a real Postgres: the conformance suite, the reference beside us, two workers on
//! one checkpoint, a server that goes away in every way that servers do, tables and rights, and
//! connections that are not to be trusted.

mod bed;
mod conformance;
mod faults;
mod pool;
mod reference;
mod secrets;
mod tables;
mod workers;
