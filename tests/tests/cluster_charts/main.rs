//! The charts: linted, rendered as they were before, values checked, and installed into a real
//! cluster.

mod alerts;
mod helm;
mod installed;
mod parity;
mod rendered;
