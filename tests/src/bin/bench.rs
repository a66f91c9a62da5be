//! `make bench`: takes the measurements of `docs/performance.md`, prints a table, and writes it to
//! `target/bench/results.json`. Ends with 0 also where a goal is not met; with 1 if something
//! could not be run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use worldstream_tests::bench::{self, Options};

/// Measures the program against its goals and its peers
#[derive(Parser)]
struct Args {
    /// Only measurements whose names begin so (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Short runs, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Where worlds, runs and results are kept
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        eprintln!(
            "bench measures a release build: cargo run --release -p worldstream-tests --bin bench"
        );
        return ExitCode::FAILURE;
    }
    let options = Options {
        only: args.only,
        quick: args.quick,
        dir: args.dir,
    };
    let mut taken = Vec::new();
    let ran = bench::run(&options, &mut |measurement| {
        eprintln!("{}", bench::line(&measurement));
        taken.push(measurement);
    });
    if !taken.is_empty() {
        println!("{}", bench::table(&taken));
    }
    let results = options.dir.join("results.json");
    let written = serde_json::to_vec_pretty(&taken)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            std::fs::write(&results, text)
                .map_err(|error| format!("{}: {error}", results.display()))
        });
    match ran.and(written) {
        Ok(()) => {
            println!("written to {}", results.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
