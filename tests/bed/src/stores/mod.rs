//! Real stores as processes of the host, on its loopback or in a bed's network: MinIO, Postgres,
//! Kinesis. Each has a port and a folder of its own and ends when it is dropped.

mod certs;
mod http;
mod kinesis;
mod minio;
mod postgres;
mod s3;
mod server;

pub use certs::Authority;
pub use http::{Answer, Request};
pub use kinesis::KinesisServer;
pub use minio::{MinioOptions, MinioServer};
pub use postgres::{PostgresOptions, PostgresServer};
pub use s3::Bucket;
pub use server::Server;
