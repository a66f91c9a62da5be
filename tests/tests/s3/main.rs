//! Worlds and records in S3, with a real MinIO: the same stream as from disk, whatever happens to
//! the store on the way.

mod access;
mod ambient;
mod bed;
mod faults;
mod parity;
mod records;
