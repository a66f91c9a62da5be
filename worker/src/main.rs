//! The program `worldstream`.

use clap::Parser;
use worldstream::cli::Cli;

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    std::process::ExitCode::from(worldstream::cli::main(cli).code())
}
