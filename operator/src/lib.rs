//! worldstream's operator: turns WorldStream resources into paced worker Jobs, and keeps a pod for
//! each ReadyTrigger ([`trigger`]).
//!
//! A look at a stream is a row of steps, a file each: [`dereference`] reads what it points at,
//! [`validate`] makes one struct of that, [`decide`] says what follows (with [`outputs`] for an
//! output's workers and [`conduct`] for the clock), [`build`] makes the children that are to be
//! there, [`apply`] carries it out, [`status`] derives phase and conditions. Only the first and
//! [`apply`] have a client; the rest is pure. It never opens a world, never talks to IG or to a
//! store of events, and never reads a Secret.

pub mod api;
pub mod apply;
pub mod args;
pub mod build;
pub mod conduct;
pub mod context;
pub mod controller;
pub mod decide;
pub mod dereference;
pub mod events;
#[cfg(test)]
mod fixtures;
pub mod fold;
pub mod index;
pub mod invalid;
pub mod leader;
pub mod lower;
pub mod metrics;
pub mod outputs;
pub mod picture;
pub mod process;
pub mod queue;
pub mod reconcile;
pub mod rivals;
pub mod runs;
pub mod situation;
pub mod status;
pub mod trigger;
pub mod validate;
pub mod views;
