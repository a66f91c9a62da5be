//! The bed itself: that its cluster is a real one, its stores are real ones, and that it goes
//! without a trace.

mod cluster;
mod lifecycle;
mod pods;
mod stores;
