//! `worldstream audit`: the story of a platform run, from everything that was written about it.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use worldstream_crds::{ExitCode, Reason};

use super::CliError;
use super::run::{blocking, print};
use crate::audit::Records;
use crate::audit::story::{self, Story};
use crate::failure::Failure;
use crate::plan::values::platform_run_id;
use crate::plan::{FileSystem, Overrides, PlanError, UsageError, read_documents, resolve};
use crate::ready::Place;

/// Tell the story of a platform run
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  worldstream audit show platform_20260101T000000Z")]
pub struct AuditArgs {
    /// What to do
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// The subcommands.
#[derive(Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// Show everything that was written about a run, in order
    Show(ShowArgs),
}

/// Show everything that was written about a run, in order
///
/// Session events, governance facts, receipts and READY records, from the folder or the bucket that
/// runs are written to. The document of a trigger of a cluster is as good as one of this machine:
/// only its store counts, and credentials that it leaves out are those of the environment.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  worldstream audit show platform_20260101T000000Z
  worldstream audit show platform_20260101T000000Z -f trigger.yaml --json
  worldstream audit show platform_20260101T000000Z --runs-root s3://fraud-platform --profile prod")]
pub struct ShowArgs {
    /// The platform run
    #[arg(value_name = "PLATFORM_RUN_ID")]
    pub platform_run_id: String,

    /// A YAML file with a ReadyTrigger, whose store is looked into, or with a StreamProfile;
    /// repeatable
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The StreamProfile: a YAML file, or the name of one [default: local, if no file is given]
    #[arg(long, value_name = "FILE|NAME")]
    pub profile: Option<String>,

    /// The folder (or s3://bucket/prefix) that each platform run has its own in [default: the
    /// trigger's store, else the profile's]
    #[arg(long, value_name = "DIR")]
    pub runs_root: Option<PathBuf>,

    /// Leave the cursors' saves out
    #[arg(long)]
    pub no_checkpoints: bool,
}

/// Runs it.
pub fn run(args: &AuditArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let AuditCommand::Show(args) = &args.command;
    let records = records(args)?;
    let mut story = blocking(story::read(&records))??;
    if args.no_checkpoints {
        story.entries.retain(|it| it.kind != "checkpoint_saved");
    }
    if story.entries.is_empty() && story.unreadable.is_empty() {
        return Err(Failure::new(Reason::StreamFailed, records.name(""))
            .found("nothing")
            .expected("what a run has written")
            .into());
    }
    let text = match json {
        true => serde_json::to_string_pretty(&story)
            .map_err(|error| Failure::new(Reason::StreamFailed, "the story").cause(&error))?,
        false => text(&story),
    };
    print(out, &format!("{}\n", text.trim_end()))?;
    Ok(ExitCode::Done)
}

/// Where the run's records are.
fn records(args: &ShowArgs) -> Result<Records, CliError> {
    let id = &args.platform_run_id;
    platform_run_id(id.clone())
        .map_err(|why| PlanError::Usage(UsageError::new("PLATFORM_RUN_ID", why)))?;
    let mut documents = read_documents(&args.files).map_err(PlanError::from)?;
    if documents.trigger.is_some() && args.runs_root.is_none() {
        // Also of a trigger of a cluster, whose profile and active run are there alone.
        let (root, s3) = crate::plan::ready::store(&documents, &FileSystem)?;
        return Ok(Place::open(&root, &s3)?.run(id));
    }
    documents.trigger = None;
    documents.stream = None;
    let none = documents.profiles.is_empty();
    // Only the profile's place for runs matters; what a stream needs besides is given here.
    let flags = Overrides {
        profile: args.profile.clone().or(none.then(|| "local".to_owned())),
        platform_run_id: Some(id.clone()),
        engine_run_root: Some("/".to_owned()),
        gate_url: Some("http://127.0.0.1".to_owned()),
        checkpoint_root: Some(PathBuf::from(".")),
        runs_root: args.runs_root.clone(),
        ..Overrides::default()
    };
    let plan = resolve(&documents, &flags, &FileSystem)?;
    Ok(Records::open(&plan.run_dir, &plan.world.s3)?)
}

fn text(story: &Story) -> String {
    let width = |text: fn(&story::Entry) -> &str| {
        let widths = story.entries.iter().map(|it| text(it).chars().count());
        widths.max().unwrap_or(0)
    };
    let source = width(|it| it.source.as_str());
    let kind = width(|it| &it.kind);
    let mut text = String::new();
    for entry in &story.entries {
        let said: Vec<_> = entry
            .says()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let line = format!(
            "{}  {:<source$}  {:<kind$}  {}",
            entry.ts_utc,
            entry.source.as_str(),
            entry.kind,
            said.join(" ")
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for name in &story.unreadable {
        text.push_str(&format!("unreadable: {name}\n"));
    }
    text
}
