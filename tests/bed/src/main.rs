//! The program `bed`: `make cluster-up` and its sisters.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use worldstream_bed::cluster::{self, Cluster, Status};
use worldstream_bed::image;
use worldstream_bed::{BedError, Kit, Result};

/// A real Kubernetes on this machine, for tests and to try things on.
#[derive(Parser)]
struct Args {
    /// Which bed; each has a network and a folder of its own. [default: BED, or dev]
    #[arg(long, global = true)]
    name: Option<String>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Bring it up, unless it is up.
    Up {
        /// Nodes, 1 or 2.
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Take it down by itself when the process of this id ends.
        #[arg(long, value_name = "PID")]
        while_runs: Option<u32>,
    },
    /// Take it down.
    Down {
        /// When the process of this id has ended.
        #[arg(long, value_name = "PID")]
        after: Option<u32>,
    },
    /// Which beds there are.
    Status,
    /// Run a command in its network, with KUBECONFIG, kubectl and helm: a shell, if none is given.
    Exec {
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Load image archives.
    Load {
        /// Archives as `docker save` writes them.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Build this checkout's two images, as archives below its target folder, and print their names.
    Images {
        /// The checkout.
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// dev or release.
        #[arg(long, default_value = "dev")]
        profile: String,
        /// Load them, too.
        #[arg(long)]
        load: bool,
    },
    /// Install the operator and make what a first replay needs: a world, a gate and a profile, in the
    /// cluster that KUBECONFIG names, else in the bed.
    Demo {
        /// The checkout.
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// The profile that the images are built with: dev or release.
        #[arg(long, default_value = "dev")]
        profile: String,
    },
    /// Print the bill of materials of a package, as CycloneDX JSON.
    Sbom {
        /// The package.
        package: String,
    },
    /// Build programs, unless they are there, and print where: all, or those named.
    Programs {
        /// kubernetes, coredns, helm, minio, kinesis.
        kits: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let name = args.name.or_else(|| std::env::var("BED").ok());
    let name = name.filter(|name| !name.is_empty());
    let cluster = Cluster::named(name.as_deref().unwrap_or("dev"))?;
    match args.task {
        Task::Up { nodes, while_runs } => up(&cluster, nodes, while_runs)?,
        Task::Down { after } => match after {
            Some(pid) => cluster::down_after(&cluster, pid)?,
            None => cluster.down()?,
        },
        Task::Status => status()?,
        Task::Exec { command } => return exec(&cluster, &command),
        Task::Load { archives } => cluster.load(&archives)?,
        Task::Images {
            root,
            profile,
            load,
        } => images(&cluster, &root, &profile, load)?,
        Task::Demo { root, profile } => demo(&cluster, &root, &profile)?,
        Task::Sbom { package } => {
            println!("{:#}", image::sbom(Path::new("."), &package)?);
        }
        Task::Programs { kits } => programs(&kits)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(cluster: &Cluster, nodes: usize, while_runs: Option<u32>) -> Result<()> {
    if let Some(pid) = while_runs {
        // First, so that a bed whose owner ends half way is taken down as well.
        let own = std::env::current_exe().map_err(|error| BedError::new(error.to_string()))?;
        std::process::Command::new(own)
            .args(["--name", cluster.name(), "down", "--after"])
            .arg(pid.to_string())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| BedError::new(error.to_string()))?;
    }
    cluster.up(nodes)?;
    if while_runs.is_some() {
        return Ok(());
    }
    let name = cluster.name();
    eprintln!(
        "bed: BED={name} make cluster-shell   # a shell with kubectl and helm, in its network"
    );
    eprintln!("bed: BED={name} make cluster-down    # ends it");
    Ok(())
}

fn status() -> Result<()> {
    let names = cluster::names();
    if names.is_empty() {
        println!("no bed is up");
    }
    for name in names {
        let cluster = Cluster::named(&name)?;
        let status = match cluster.status() {
            Status::Up { nodes } => format!("up, {nodes} node(s)"),
            Status::Down => "down".into(),
            Status::Broken { why } => format!("broken: {why}"),
        };
        println!("{name:<20} {status:<24} {}", cluster.folder().display());
    }
    Ok(())
}

fn exec(cluster: &Cluster, words: &[String]) -> Result<ExitCode> {
    if !matches!(cluster.status(), Status::Up { .. }) {
        return Err(BedError::new(format!(
            "the bed {} is not up: BED={} make cluster-up",
            cluster.name(),
            cluster.name()
        )));
    }
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into())];
    let words = if words.is_empty() { &shell } else { words };
    let (program, args) = words
        .split_first()
        .ok_or_else(|| BedError::new("no command"))?;
    let mut command = cluster.command(program)?;
    let error = command
        .args(args)
        .env("BED", cluster.name())
        .stdin(std::process::Stdio::inherit())
        .exec();
    Err(BedError::new(format!("{program}: {error}")))
}

fn built(root: &Path, profile: &str) -> Result<image::Images> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = std::path::absolute(&target)
        .map_err(|error| BedError::new(format!("{}: {error}", target.display())))?;
    image::images(root, &target, profile)
}

fn demo(cluster: &Cluster, root: &Path, profile: &str) -> Result<()> {
    let bed = worldstream_bed::bed::bed_or_named(cluster.name())?;
    let images = built(root, profile)?;
    bed.load(&images.archives)?;
    worldstream_bed::demo::demo(bed.as_ref(), root, &images)
}

fn images(cluster: &Cluster, root: &Path, profile: &str, load: bool) -> Result<()> {
    let images = built(root, profile)?;
    if load {
        cluster.load(&images.archives)?;
    }
    println!("{}\n{}", images.worker, images.operator);
    if !load {
        for archive in &images.archives {
            println!("{}", archive.display());
        }
    }
    Ok(())
}

fn programs(names: &[String]) -> Result<()> {
    for name in names {
        if !Kit::ALL.iter().any(|kit| kit.name() == name) {
            return Err(BedError::new(format!("{name}: no such kit of programs")));
        }
    }
    for kit in Kit::ALL {
        if names.is_empty() || names.iter().any(|name| name == kit.name()) {
            println!("{:<12} {}", kit.name(), kit.ensure()?.display());
        }
    }
    Ok(())
}
