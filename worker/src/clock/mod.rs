//! The clock: when each event is due, for all outputs and lanes at once (contracts section 6).
