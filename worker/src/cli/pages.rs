//! `worldstream completions` and `worldstream man`: what a package installs beside the program.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use worldstream_crds::Reason;

use super::Cli;
use crate::failure::{Failure, Result};

/// Print shell completions
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  worldstream completions bash > /etc/bash_completion.d/worldstream"
)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Print the manual page
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  worldstream man | man -l -\n  worldstream man run | man -l -")]
pub struct ManArgs {
    /// The subcommand that the page is of; without one, the program's
    pub subcommand: Option<String>,
}

/// Writes the completions of a shell.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "worldstream", &mut text);
    out.write_all(&text).map_err(|error| unwritten(&error))
}

/// Writes a manual page in roff.
pub fn man(args: &ManArgs, out: &mut dyn Write) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let page = match &args.subcommand {
        None => clap_mangen::Man::new(command),
        Some(name) => {
            let found = command.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::new(Reason::StreamFailed, "man")
                    .field("SUBCOMMAND")
                    .found(format!("{name:?}"))
                    .expected("a subcommand of worldstream, such as run")
                    .exits(worldstream_crds::ExitCode::Usage)
            })?;
            clap_mangen::Man::new(found.display_name(format!("worldstream-{name}")))
        }
    };
    page.render(out).map_err(|error| unwritten(&error))
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Reason::StreamFailed, "stdout").cause(error)
}
