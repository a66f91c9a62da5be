//! `worldstream-operator`: turns WorldStream resources into paced worker Jobs.

use std::process::ExitCode;

use clap::Parser;
use worldstream_operator::args::Args;
use worldstream_operator::process;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    process::run(Args::parse()).await
}
