//! `worldstream ready`: follows a control bus and streams the world of each READY message, in this
//! process.

mod publish;
mod say;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use worldstream_crds::{DurationText, ExitCode, Reason};

use self::say::Say;
use super::CliError;
use super::pod::stop_on_signals;
use super::run::blocking;
use crate::bus;
use crate::checkpoint::Holder;
use crate::failure::Failure;
use crate::plan::ready::{ReadyPlan, ReadyRun, ScopePlan};
use crate::plan::{Documents, FileSystem, Overrides, read_documents};
use crate::ready::{
    Claims, Consumer, Extent, Here, Parts, Place, Positions, StoredPosition, Totals, claim,
    downstream,
};
use crate::stop::Stop;

const EXAMPLES: &str = "\
Examples:
  worldstream ready -f trigger.yaml
  worldstream ready -f trigger.yaml --once --json
  worldstream ready publish -f trigger.yaml --engine-run-root world

Each READY message goes through the seven steps: repeat, run facts, ids, scope, downstream, world,
stream. A message that is not valid is passed over; one whose downstream is not ready is tried
again; one that failed is tried again when it comes again, or at the next start. Ctrl-C stops it:
replays save their cursors, and the next start goes on with them.

Exit codes: 0 when the end that was asked for is reached, 10 when a message failed until then, 14
when it was stopped.";

/// Follow a control bus, and stream the world of each READY message
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct ReadyArgs {
    /// Another command.
    #[command(subcommand)]
    pub command: Option<ReadyCommand>,

    /// What is followed.
    #[command(flatten)]
    pub follow: FollowArgs,
}

/// The subcommands.
#[derive(Subcommand, Clone, Debug)]
pub enum ReadyCommand {
    /// Publish a READY message with its run facts
    Publish(publish::PublishArgs),
}

/// Documents and flags of a trigger.
#[derive(Args, Clone, Debug, Default)]
pub struct FollowArgs {
    /// A YAML file with a ReadyTrigger, StreamProfiles, or both; repeatable; `-` reads the
    /// standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The platform run that is the active one [default: the trigger's scope]
    #[arg(long, value_name = "ID")]
    pub platform_run_id: Option<String>,

    /// Take each message once that is there now, then end: one that would wait is left
    #[arg(long)]
    pub once: bool,

    /// End after so many messages, of whatever kind
    #[arg(long, value_name = "N")]
    pub max_messages: Option<u64>,

    /// The Ingestion Gate's URL [default: the profile's]
    #[arg(long, value_name = "URL")]
    pub gate_url: Option<String>,

    /// The folder of the cursors [default: the profile's store]
    #[arg(long, value_name = "DIR")]
    pub checkpoint_root: Option<PathBuf>,

    /// How long a claim in S3 outlives a process that was killed, at least 1s: so long does its
    /// message wait for another
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(claim::TERM))]
    pub claim_term: DurationText,
}

/// Runs it.
pub fn run(args: &ReadyArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(ReadyCommand::Publish(args)) => publish::run(args, json, out),
        None => follow(&args.follow, json, out),
    }
}

/// Documents that name a trigger, and its plan.
fn documents(
    files: &[PathBuf],
    platform_run_id: Option<&str>,
) -> Result<(Documents, ReadyPlan), CliError> {
    let documents = read_documents(files).map_err(crate::plan::PlanError::from)?;
    let plan = crate::plan::ready::resolve(&documents, platform_run_id, &FileSystem)?;
    Ok((documents, plan))
}

/// The platform run that a plan and the flags name.
fn active_run(plan: &ReadyPlan) -> Result<String, Failure> {
    match &plan.scope {
        Some(ScopePlan::PlatformRun(id)) => Ok(id.clone()),
        _ => Err(Failure::new(
            Reason::PlatformRunIdMissing,
            format!("ReadyTrigger {}", plan.name),
        )
        .field("spec.scope.platformRunId")
        .found("nothing")
        .expected("the active platform run, there or in --platform-run-id")),
    }
}

fn follow(args: &FollowArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let (documents, plan) = documents(&args.files, args.platform_run_id.as_deref())?;
    let active = active_run(&plan)?;
    let term = args.claim_term.0;
    if term < std::time::Duration::from_secs(1) {
        return Err(Failure::new(Reason::StreamFailed, "--claim-term")
            .found(args.claim_term.to_string())
            .expected("at least 1s")
            .exits(ExitCode::Usage)
            .into());
    }
    let place = Place::open(&plan.store, &plan.s3)?;
    let stop = Stop::new();
    let launcher = Here {
        documents,
        plan: plan.clone(),
        flags: Overrides {
            gate_url: args.gate_url.clone(),
            checkpoint_root: args.checkpoint_root.clone(),
            ..Overrides::default()
        },
        place: place.clone(),
        stop: stop.clone(),
    };
    // What is written wrongly is said before the first message, not with it.
    launcher.stream(ReadyRun {
        platform_run_id: &active,
        scenario_run_id: &"0".repeat(32),
        engine_run_root: plan.engine_run_root.as_deref().unwrap_or("/"),
        scenario: "scenario",
    })?;
    let say = Say::new(out, json);
    let extent = Extent {
        once: args.once,
        max_messages: args.max_messages,
    };
    let following = async {
        let positions = StoredPosition::of_run(&place, &active, &plan.name, &plan.bus.name());
        let parts = Parts {
            plan: &plan,
            place: &place,
            launcher: &launcher,
            downstream: plan
                .downstream
                .iter()
                .filter_map(|part| downstream::open(part, &plan.s3).transpose())
                .collect::<Result<_, _>>()?,
            claims: Claims {
                holder: Holder::of_this_process().name,
                term,
            },
            scope: &active,
            stop: stop.clone(),
            observer: &say,
            positions: &positions,
        };
        let position = positions.load().await?;
        let mut bus = bus::open(&plan.bus, position.as_deref())?;
        let consumer = Consumer::new(parts)?;
        tokio::select! {
            totals = consumer.run(bus.as_mut(), extent) => totals,
            failure = stop_on_signals(stop.clone()) => Err(failure),
        }
    };
    let totals: Totals = blocking(following)??;
    say.totals(&totals)?;
    Ok(match totals {
        _ if stop.is_set() => ExitCode::Interrupted,
        Totals { failed: 1.., .. } => ExitCode::FailClosed,
        _ => ExitCode::Done,
    })
}
