//! `worldstream oracle`: the Oracle Store's tools on the command line.

mod say;
mod watch;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use worldstream_crds::ExitCode;

use super::CliError;
use super::quiet::note;
use super::run::{blocking, print};
use crate::failure::Failure;
use crate::oracle::{OpenWorld, check, seal, show, upload};
use crate::plan::{RunFlags, WorldPlan, world_plan};
use crate::view::build::{self, BuildOptions, DEFAULT_MEMORY, DEFAULT_PART_BYTES, LEAST_MEMORY};

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  worldstream oracle build-views s3://oracle-store/runs/run-1 --profile dev --scenario baseline_v1
  worldstream oracle build-views world --output arrival_events_5B --memory 1GiB
  worldstream oracle seal world --engine-release 2026.1
  worldstream oracle check world --deep
  worldstream oracle show world")]
pub struct OracleArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Sort an engine's raw parts into views, whole or not at all
    ///
    /// A view that is there already, of the same raw parts, is left as it is. A build that was
    /// killed goes on where it stood; a second one of the same view waits for the first.
    #[command(after_help = "Examples:
  worldstream oracle build-views world
  worldstream oracle build-views world --output arrival_events_5B --memory 1GiB --threads 8")]
    BuildViews(BuildArgs),
    /// Write a world's pack manifest and seal, once
    ///
    /// Sealing again with equal identity changes nothing; with another one it is refused.
    #[command(after_help = "Example:
  worldstream oracle seal world --engine-release 2026.1")]
    Seal(SealArgs),
    /// Check everything that a replay would check, and more; ends with 10 if anything fails, with 13
    /// if nothing does but the store
    #[command(after_help = "Examples:
  worldstream oracle check world
  worldstream oracle check world --deep --json")]
    Check(CheckArgs),
    /// Write a world that lies in a folder to S3, its seal last
    ///
    /// A world that is there already, sealed alike, is left as it is; another one is refused.
    #[command(after_help = "Example:
  worldstream oracle upload world s3://oracle-store/runs/run-1 --profile local_parity \\
      --make-bucket oracle-store")]
    Upload(UploadArgs),
    /// Show what is in a world
    #[command(after_help = "Example:
  worldstream oracle show world")]
    Show(ShowArgs),
}

#[derive(Args, Clone, Debug)]
struct World {
    /// The engine run root, a local path or s3://bucket/prefix, named as its views are
    #[arg(value_name = "RUN_ROOT")]
    run_root: String,
    /// The StreamProfile that says where worlds are and what they must have: a YAML file or the
    /// name of a built-in one
    #[arg(long, value_name = "FILE|NAME", default_value = "local")]
    profile: String,
    /// The scenario [default: the only one in the world]
    #[arg(long, value_name = "ID")]
    scenario: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct BuildArgs {
    #[command(flatten)]
    world: World,
    /// Only the view of this output of the catalogue; repeatable [default: those that the profile
    /// streams]
    #[arg(long = "output", value_name = "ID")]
    outputs: Vec<String>,
    /// Memory that the process may take, at least 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    memory: u64,
    /// Threads that encode and check [default: the machine's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// A part of a view ends when it has grown to this size
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    part_size: u64,
    /// Where sorted rows are kept meanwhile; takes about as much as the raw parts [default: beside
    /// the view, or among the temporary files for a world in S3]
    #[arg(long, value_name = "DIR")]
    spill_dir: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct SealArgs {
    #[command(flatten)]
    world: World,
    /// The engine's release, 1 to 128 characters: the span id of every event
    #[arg(long, value_name = "TEXT")]
    engine_release: String,
}

#[derive(Args, Clone, Debug)]
struct CheckArgs {
    #[command(flatten)]
    world: World,
    /// Only the view of this output; repeatable [default: those that the profile streams]
    #[arg(long = "output", value_name = "ID")]
    outputs: Vec<String>,
    /// Count everything again: rows, order, time range, digests of gate bundles, and raw parts
    /// against views
    #[arg(long)]
    deep: bool,
    /// Threads that count [default: the machine's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

#[derive(Args, Clone, Debug)]
struct UploadArgs {
    /// Where the world lies; it must have been made under the name RUN_ROOT
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    world: World,
    /// Make this bucket first, unless it is there; repeatable
    #[arg(long = "make-bucket", value_name = "NAME")]
    buckets: Vec<String>,
}

#[derive(Args, Clone, Debug)]
struct ShowArgs {
    #[command(flatten)]
    world: World,
    /// Do not read the rows' times: without time ranges and histograms, and at once
    #[arg(long)]
    quick: bool,
}

impl World {
    fn plan(&self) -> Result<WorldPlan, CliError> {
        Ok(world_plan(&RunFlags {
            profile: Some(self.profile.clone()),
            engine_run_root: Some(self.run_root.clone()),
            scenario: self.scenario.clone(),
            ..RunFlags::default()
        })?)
    }

    fn open(&self) -> Result<OpenWorld, CliError> {
        Ok(blocking(OpenWorld::open(self.plan()?))??)
    }
}

/// Runs the command; `json` asks for one JSON document instead of text.
pub fn run(args: &OracleArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::BuildViews(args) => build_views(args, json, out),
        Command::Seal(args) => {
            let world = args.world.open()?;
            let sealed = blocking(seal::seal(&world, &args.engine_release))??;
            print(out, &say::sealed(&sealed, json)?)?;
            Ok(ExitCode::Done)
        }
        Command::Check(args) => {
            let threads = args
                .threads
                .map_or_else(check::default_threads, usize::from);
            let deep = args.deep.then_some(threads);
            let report = watch::counting(json || !args.deep, |rows| {
                check::check(args.world.plan()?, &args.outputs, deep, rows).map_err(CliError::from)
            })?;
            print(out, &say::checked(&report, json)?)?;
            Ok(report.exit_code())
        }
        Command::Upload(args) => {
            let plan = args.world.plan()?;
            let uploaded = blocking(upload::upload(&args.folder, &plan, &args.buckets))??;
            print(out, &say::uploaded(&uploaded, json)?)?;
            Ok(ExitCode::Done)
        }
        Command::Show(args) => {
            let shown = show::show(&args.world.open()?, !args.quick)?;
            print(out, &say::shown(&shown, json)?)?;
            Ok(ExitCode::Done)
        }
    }
}

fn build_views(args: &BuildArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    if args.memory < LEAST_MEMORY {
        return Err(usage("--memory", args.memory, "64MiB or more"));
    }
    if args.part_size == 0 {
        return Err(usage("--part-size", 0, "1 or more bytes"));
    }
    watch::end_on_signals()?;
    let world = args.world.open()?;
    let outputs = world.outputs(&args.outputs)?;
    let options = BuildOptions {
        memory: args.memory,
        part_bytes: args.part_size,
        spill: args.spill_dir.clone(),
        threads: args
            .threads
            .map_or_else(|| BuildOptions::default().threads, usize::from),
    };
    let mut done = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        let title = format!("{} ({} of {})", output.id, number + 1, outputs.len());
        let built = watch::building(&title, json, |progress| {
            let waiting = |folder: &std::path::Path| {
                note(format!(
                    "{}: another build of this view is at work in {}; waiting for its end",
                    output.id,
                    folder.display()
                ));
            };
            build::build(&world.target(), output, &options, progress, &waiting)
        })?;
        if !json {
            print(out, &say::built(&built))?;
        }
        done.push(built);
    }
    if json {
        print(out, &say::json(&done)?)?;
    }
    Ok(ExitCode::Done)
}

fn usage(flag: &str, found: u64, expected: &str) -> CliError {
    let failure = Failure::new(worldstream_crds::Reason::StreamFailed, flag);
    let failure = failure.found(format!("{found} bytes")).expected(expected);
    failure.exits(ExitCode::Usage).into()
}

/// Bytes: a number with KiB, MiB, GiB (or Ki, Mi, Gi), or without.
fn size(text: &str) -> Result<u64, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim_end_matches('B') {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err("found another unit than KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number such as 256MiB")?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "more than there is anywhere".to_owned())
}

const _: () = assert!(DEFAULT_MEMORY == 256 << 20 && DEFAULT_PART_BYTES == 256 << 20);

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1Gi"), Ok(1 << 30));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "MiB", "1.5GiB", "1MB", "-1", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
