//! Real stores as processes of the host, on its loopback or in a bed's network: MinIO, Postgres
//! (with PgBouncer before it), Kinesis. Each has a port and a folder of its own and ends when it is dropped.

mod certs;
mod http;
mod kinesis;
mod minio;
mod pgbouncer;
mod postgres;
mod s3;
mod server;

pub use certs::Authority;
pub use http::{Answer, Request};
pub use kinesis::KinesisServer;
pub use minio::{MinioOptions, MinioServer};
pub use pgbouncer::PgBouncer;
pub use postgres::{PostgresOptions, PostgresServer};
pub use s3::Bucket;
pub use server::Server;
