//! READY: `worldstream ready` follows buses, with real worlds, a real gate and, where it says so, a
//! real MinIO or a real Kinesis engine.

mod active;
mod bed;
mod broken;
mod deferral;
mod golden;
mod kills;
mod kinesis;
mod latency;
mod publish;
mod remote;
mod together;
