//! The replay: connects the rooms, one pipeline an output.
