//! What a run shows while it goes on: progress on a terminal, plain lines elsewhere, the table at
//! the end.

pub mod figures;
pub mod live;
pub mod table;
