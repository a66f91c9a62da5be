//! Makes a world like the engine's, small or large, deterministic to the byte.
