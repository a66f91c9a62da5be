//! `worldstream ready publish`: a READY message with its run facts, as the Scenario Runner makes
//! them.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use worldstream_crds::{ExitCode, Reason};

use super::{active_run, documents};
use crate::cli::CliError;
use crate::cli::run::{blocking, print};
use crate::failure::Failure;
use crate::plan::values::hex;
use crate::plan::{FileSystem, Overrides, PlanError, UsageError, WorldPlan};
use crate::ready::Place;
use crate::ready::publish::{Announcement, make, publish};
use crate::world::identity::sha256_hex;
use crate::world::{WorldKey, receipt, root, scenario};

/// Publish a READY message with its run facts
///
/// Reads the world's receipt, writes the run facts into the trigger's object store, and then the
/// message to its bus. The message's id is made of what it says, so that publishing the same again
/// is a repeat; `--again` gives it an id of its own.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  worldstream ready publish -f trigger.yaml --engine-run-root world")]
pub struct PublishArgs {
    /// A YAML file with a ReadyTrigger, StreamProfiles, or both; repeatable
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The world [default: the trigger's engineRunRoot]
    #[arg(long, value_name = "ROOT")]
    pub engine_run_root: Option<String>,

    /// The scenario [default: the only one in the world]
    #[arg(long, value_name = "ID")]
    pub scenario: Option<String>,

    /// The platform run [default: the trigger's scope]
    #[arg(long, value_name = "ID")]
    pub platform_run_id: Option<String>,

    /// The scenario run, 32 hex digits [default: made of the platform run and the world]
    #[arg(long, value_name = "ID")]
    pub scenario_run_id: Option<String>,

    /// The Scenario Runner's run, 32 hex digits [default: the scenario run's id]
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,

    /// The message's id, 64 hex digits [default: made of what the message says]
    #[arg(long, value_name = "ID", conflicts_with = "again")]
    pub message_id: Option<String>,

    /// Give the message an id of its own, so that it is no repeat
    #[arg(long)]
    pub again: bool,
}

/// Runs it.
pub fn run(args: &PublishArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    for (flag, given, digits) in [
        ("--scenario-run-id", &args.scenario_run_id, 32),
        ("--run-id", &args.run_id, 32),
        ("--message-id", &args.message_id, 64),
    ] {
        if let Some(id) = given {
            let wrong = |why| PlanError::Usage(UsageError::new(flag, why));
            hex(id.clone(), digits).map_err(wrong)?;
        }
    }
    let (documents, plan) = documents(&args.files, args.platform_run_id.as_deref())?;
    let platform_run_id = active_run(&plan)?;
    let given = args.engine_run_root.clone();
    let flags = Overrides {
        profile: Some(plan.profile.clone()),
        engine_run_root: given.or_else(|| plan.engine_run_root.clone()),
        scenario: args.scenario.clone(),
        ..Overrides::default()
    };
    let world = crate::plan::world(&documents, &flags, &FileSystem)?;
    let place = Place::open(&plan.store, &plan.s3)?;
    let any = || {
        let now = crate::time::EventTime::wall_now();
        sha256_hex(format!(
            "{now}|{}|{}",
            std::process::id(),
            crate::gate::random()
        ))
    };
    let (made, at) = blocking(async {
        let run = Announcement {
            platform_run_id,
            scenario_run_id: args.scenario_run_id.clone(),
            run_id: args.run_id.clone(),
            message_id: args.message_id.clone().or_else(|| args.again.then(any)),
            engine_run_root: world.engine_run_root.clone(),
            key: key(&world).await?,
            outputs: world.selection.traffic.clone(),
        };
        let made = make(&place, &plan.bus.topic, &run)?;
        let at = publish(&place, &plan.bus, &made).await?;
        Ok::<_, Failure>((made, at))
    })??;
    let facts = place.root().name(&made.facts_view_ref);
    let text = match json {
        true => json!({
            "message_id": made.message_id,
            "run_id": made.run_id,
            "scenario_run_id": made.scenario_run_id,
            "place": at.to_string(),
            "facts": facts,
        })
        .to_string(),
        false => format!(
            "message  {}\nbus      {at}\nfacts    {facts}",
            made.message_id
        ),
    };
    print(out, &format!("{text}\n"))?;
    Ok(ExitCode::Done)
}

/// The world key of what lies at a plan's root: its receipt's, and its scenario.
async fn key(world: &WorldPlan) -> Result<WorldKey, Failure> {
    if world.engine_run_root.trim().is_empty() {
        return Err(Failure::new(Reason::EngineRootMissing, "--engine-run-root")
            .found("nothing")
            .expected("a local path or s3://bucket/prefix"));
    }
    let store = root::open(world)?;
    let receipt = receipt::read(&store).await?;
    Ok(WorldKey {
        manifest_fingerprint: receipt.manifest_fingerprint,
        parameter_hash: receipt.parameter_hash,
        scenario_id: scenario::resolve(&store, world.scenario.as_deref()).await?,
        seed: receipt.seed,
    })
}
