//! The charts: linted, rendered as they were before, values checked, and installed into a real
//! cluster.

mod helm;
mod installed;
mod parity;
mod rendered;
