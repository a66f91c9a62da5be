//! The Oracle Store's tools: views that are built are the raw parts in order, whole or not there;
//! worlds are sealed once; and a check finds what was changed.

mod bed;
mod found;
mod kills;
mod order;
mod refusals;
mod remote;
mod sealed;
mod uploaded;
