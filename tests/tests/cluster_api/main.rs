//! The API as a real API server takes it: definitions, samples, refused documents, what may change
//! when, and what a person sees of it.

mod changes;
mod cluster;
mod refused;
mod refused_profiles;
mod refused_triggers;
mod seen;
