//! The command line: one file a subcommand, and what they share: logs, colours, and how a
//! process says why it failed.

pub mod audit;
pub mod build_view;
pub mod checkpoints;
pub mod demo;
pub mod dev_gate;
pub mod logs;
pub mod oracle;
pub mod pages;
pub mod plan;
pub mod pod;
pub mod preflight;
pub mod quiet;
pub mod ready;
pub mod run;
pub mod sample;
pub mod trigger;
pub mod validate;
pub mod worker;

use clap::{Parser, Subcommand};
use worldstream_crds::{ExitCode, Reason};

use self::quiet::note;
use crate::failure::Failure;
use crate::plan::PlanError;

const AFTER_HELP: &str = "\
Exit codes:
   0  done
   2  usage, or a plan of another version
  10  failed closed, with a reason code
  11  refused by IG, or beyond the quarantine limit
  12  fenced: somebody else holds the checkpoint
  13  IG or a store unavailable for longer than allowed
  14  interrupted, everything saved

Start with:
  worldstream demo";

/// Replay a sealed synthetic world as live traffic: event by event, in time, never losing one
#[derive(Parser, Debug)]
#[command(name = "worldstream", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print results as JSON on stdout, and no progress
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,

    /// How logs are written to stderr; RUST_LOG chooses which
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = logs::Format::Text, env = "WORLDSTREAM_LOG_FORMAT", hide_env_values = true, display_order = 901)]
    pub log_format: logs::Format,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Replay a world to a gate
    Run(run::RunArgs),
    /// Verify a world and say what a replay would send; sends nothing
    Plan(plan::PlanArgs),
    /// Write a sample world
    Sample(sample::SampleArgs),
    /// Run an Ingestion Gate for development
    DevGate(dev_gate::DevGateArgs),
    /// Look at cursors, or reset them
    Checkpoints(checkpoints::CheckpointsArgs),
    /// A world, a gate and a replay in one process
    Demo(demo::DemoArgs),
    /// Build, seal, check and show worlds
    Oracle(oracle::OracleArgs),
    /// See whether the platform works: smoke, completion, failure paths
    Validate(validate::ValidateArgs),
    /// Verify a world for a WorldStream, in its cluster
    Preflight(preflight::PreflightArgs),
    /// Build the view of an output for a WorldStream, in its cluster
    BuildView(build_view::BuildViewArgs),
    /// Stream one output of a WorldStream, in its cluster
    Worker(worker::WorkerArgs),
    /// Follow a control bus, and stream the world of each READY message
    Ready(ready::ReadyArgs),
    /// Tell the story of a platform run
    Audit(audit::AuditArgs),
    /// Follow the control bus of a ReadyTrigger, in its cluster
    Trigger(trigger::TriggerArgs),
    /// Print shell completions
    Completions(pages::CompletionsArgs),
    /// Print the manual page
    Man(pages::ManArgs),
}

impl Command {
    /// What is logged where `RUST_LOG` does not say: a pod has no screen, and its log tells what it
    /// does; elsewhere the log is for what goes wrong.
    fn logs(&self) -> &'static str {
        match self {
            Command::Preflight(_)
            | Command::BuildView(_)
            | Command::Worker(_)
            | Command::Trigger(_) => "info",
            _ => "warn",
        }
    }
}

/// Why a command failed: with a reason code, or by the way it was called.
#[derive(Debug)]
pub enum CliError {
    /// A reason code and its exit code.
    Failure(Failure),
    /// Usage, or a failure of the documents.
    Plan(PlanError),
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        CliError::Failure(failure)
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Failure(failure) => CliError::Failure(failure),
            usage => CliError::Plan(usage),
        }
    }
}

/// Runs a command line that was parsed, and gives the exit code. What went wrong is on stderr
/// then.
pub fn main(cli: Cli) -> ExitCode {
    logs::start(cli.log_format, cli.command.logs());
    let json = cli.json;
    let mut out = quiet::Quiet::new(std::io::stdout());
    let done = |()| ExitCode::Done;
    let result: Result<ExitCode, CliError> = match cli.command {
        Command::Run(args) => run::run(args, json, &mut out),
        Command::Demo(args) => demo::run(&args, json, &mut out),
        Command::DevGate(args) => dev_gate::run(&args, json).map_err(Into::into),
        Command::Plan(args) => plan::run(&args, json, &mut out),
        Command::Sample(args) => sample::run(&args, json, &mut out).map_err(Into::into),
        Command::Checkpoints(args) => checkpoints::run(&args, json, &mut out)
            .map_err(Into::into)
            .map(done),
        Command::Oracle(args) => oracle::run(&args, json, &mut out),
        Command::Validate(args) => validate::run(&args, json, &mut out),
        Command::Preflight(args) => preflight::run(&args),
        Command::BuildView(args) => build_view::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Ready(args) => ready::run(&args, json, &mut out),
        Command::Audit(args) => audit::run(&args, json, &mut out),
        Command::Trigger(args) => trigger::run(&args),
        Command::Completions(args) => pages::completions(&args, &mut out)
            .map_err(Into::into)
            .map(done),
        Command::Man(args) => pages::man(&args, &mut out).map_err(Into::into).map(done),
    };
    conclude(result, json)
}

fn conclude(result: Result<ExitCode, CliError>, json: bool) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let code = match &error {
        CliError::Failure(failure) => failure.exit_code(),
        CliError::Plan(error) => error.exit_code(),
    };
    complain(&error, code, json);
    code
}

/// Says on stderr why a command failed and what to do about it.
pub fn complain(error: &CliError, code: ExitCode, json: bool) {
    // A mistake on the command line has no code in the contract: the message says it all.
    let (reason, message, advice) = match error {
        CliError::Failure(failure)
            if code == ExitCode::Usage && failure.reason() == Reason::StreamFailed =>
        {
            ("USAGE", failure.message(), None)
        }
        CliError::Failure(failure) => (
            failure.reason().as_str(),
            failure.message(),
            Some(failure.reason().advice()),
        ),
        CliError::Plan(error) => ("USAGE", error.to_string(), None),
    };
    if json {
        let mut told = serde_json::json!({
            "reason": reason, "message": message, "exit_code": code.code()
        });
        if let Some(advice) = advice {
            told["advice"] = advice.into();
        }
        note(serde_json::json!({ "error": told }));
        return;
    }
    let mut text = match advice {
        Some(advice) => format!("error: {reason}: {message}\n  what to do: {advice}\n"),
        None => format!("error: {message}\n"),
    };
    text.push_str(&format!("  exit code {}", code.code()));
    note(text);
}
