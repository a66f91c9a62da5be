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
    #[arg(long, default_value = "parity", value_parser = namespace)]
    namespace: String,
    /// Rows of each event stream of the world.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// The run that is announced.
    #[arg(long, default_value = "platform_20260101T000000Z", value_parser = platform_run_id)]
    platform_run_id: String,
    /// Leave everything in the cluster; where the stores are processes of this machine, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where parity.json, parity.txt and story.txt are written, and where a step could not be made
    /// left.txt, with what was there then.
    #[arg(long, default_value = "target/parity")]
    report: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoresAre {
    Inside,
    Outside,
}

/// A name as Kubernetes wants it, before anything is built.
fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let bad = text.is_empty() || text.len() > 63 || text.starts_with('-') || text.ends_with('-');
    match bad || !text.chars().all(inner) {
        false => Ok(text.to_owned()),
        true => Err("expected up to 63 lower-case letters, digits and hyphens".to_owned()),
    }
}

fn platform_run_id(text: &str) -> Result<String, String> {
    worldstream_crds::plan::values::platform_run_id(text.to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let write = {
        let folder = args.report.clone();
        move |name: &str, text: &str| {
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(folder.join(name), text))
                .unwrap_or_else(|error| eprintln!("{name}: {error}"));
        }
    };
    // A step that cannot be made says why, for whoever runs this and not for who wrote it.
    let (left, folder, kept) = (write.clone(), args.report.clone(), args.namespace.clone());
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or("a step could not be made");
        let Some((why, there)) = said.split_once(parity::WHAT_IS_THERE) else {
            return eprintln!("make parity: {said}");
        };
        left("left.txt", there);
        eprintln!("make parity: {why}");
        eprintln!(
            "make parity: what was there is in {}/left.txt",
            folder.display()
        );
        eprintln!(
            "make parity: namespace {kept} is left as it is; take it away before the next run"
        );
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
    let outcome = parity::run(bed, &options, &|line| eprintln!("{line}"));
    let report = &outcome.report;
    let text = report.text();
    write("story.txt", &outcome.story);
    write("parity.txt", &text);
    write("parity.json", &report.json().expect("a report is JSON"));
    print!("{text}");
    let folder = args.report.display();
    eprintln!("make parity: the report is {folder}/parity.txt, the run's story {folder}/story.txt");
    if options.keep || !report.ok {
        let namespace = &options.namespace;
        eprintln!(
            "make parity: namespace {namespace} is left as it is: kubectl -n {namespace} get rt,ws,pods; \
             in the end helm uninstall parity -n {namespace}, kubectl delete namespace {namespace}"
        );
    }
    if options.keep && options.stores == Where::Outside {
        eprintln!("make parity: its stores are processes of this one, and live until Ctrl-C");
        loop {
            std::thread::park();
        }
    }
    match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
