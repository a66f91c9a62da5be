//! The control bus: folders of this machine, folders in a real MinIO, and streams of a real Kinesis
//! engine, through whatever happens to them.

mod bed;
mod file;
mod kinesis;
mod kinesis_faults;
mod objects;
mod resharded;
mod soon;
