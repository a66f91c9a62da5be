//! `make parity`: the platform in parity on a cluster, and a report of what a run in it left.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use worldstream_tests::parity::{self, Options, Where};

/// Installs the platform into a cluster, announces a run on its control bus, follows the WorldStream
/// to its end, and compares everything that it left with what the same world gives in this process.
///
/// The cluster is the one that KUBECONFIG or BED names, else a bed of this process alone.
#[derive(Parser)]
struct Args {
    /// Where the stores are: pods of the chart, or processes of this machine behind Services.
    #[arg(long, value_enum, default_value_t = StoresAre::Outside)]
    stores: StoresAre,
    /// The namespace, which is made.
    #[arg(long, default_value = "parity")]
    namespace: String,
    /// Rows of each event stream of the world.
    #[arg(long, default_value_t = 2_000)]
    rows: u64,
    /// The run that is announced.
    #[arg(long, default_value = "platform_20260101T000000Z", value_parser = platform_run_id)]
    platform_run_id: String,
    /// Leave everything in the cluster.
    #[arg(long)]
    keep: bool,
    /// Where parity.json and parity.txt are written.
    #[arg(long, default_value = "target/parity")]
    report: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoresAre {
    Inside,
    Outside,
}

fn platform_run_id(text: &str) -> Result<String, String> {
    worldstream_crds::plan::values::platform_run_id(text.to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    // A step that cannot be made says why, for whoever runs this and not for who wrote it.
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or("a step could not be made");
        eprintln!("make parity: {said}");
    }));
    let options = Options {
        namespace: args.namespace,
        stores: match args.stores {
            StoresAre::Inside => Where::Inside,
            StoresAre::Outside => Where::Outside,
        },
        rows: args.rows,
        platform_run_id: args.platform_run_id,
        keep: args.keep,
    };
    let bed = worldstream_tests::cluster(1);
    // Everything below runs where the cluster is reached.
    bed.place().enter().expect("the cluster's network");
    let report = parity::run(bed, &options, &|line| eprintln!("{line}"));
    let text = report.text();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(&args.report)
            .and_then(|()| std::fs::write(args.report.join(name), text))
            .unwrap_or_else(|error| eprintln!("{name}: {error}"));
    };
    write("parity.txt", &text);
    write("parity.json", &report.json().expect("a report is JSON"));
    print!("{text}");
    match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
