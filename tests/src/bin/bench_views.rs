//! `make bench-views`: builds views by `worldstream` and by DuckDB, prints a table, and writes it
//! to `target/bench/views.json`. Ends with 0 also where a goal is not met; with 1 if something
//! could not be run, or rows differ.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use worldstream_tests::bench::views;

/// Builds views of generated raw parts, against DuckDB
#[derive(Parser)]
struct Args {
    /// Rows of the table (repeatable)
    #[arg(long, value_name = "N", default_values_t = [20_000_000u64])]
    rows: Vec<u64>,
    /// What `worldstream` may take
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory: String,
    /// Where worlds and results are kept
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        eprintln!("bench-views measures a release build: make bench-views");
        return ExitCode::FAILURE;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-views: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    std::fs::create_dir_all(&args.dir)
        .map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let mut compared = Vec::new();
    for rows in &args.rows {
        compared.push(views::compare(&args.dir, *rows, &args.memory)?);
    }
    print!("{}", views::table(&compared));
    let file = args.dir.join("views.json");
    let text = serde_json::to_vec_pretty(&compared).map_err(|error| error.to_string())?;
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("written to {}", file.display());
    Ok(())
}
