//! The page of the command line: what `--help` says, for every subcommand.

use clap::{Command, CommandFactory};
use worldstream::cli::Cli;

use super::head;

/// A section a command.
pub fn page() -> String {
    let mut text = head("The command line");
    text.push_str(
        "What `worldstream COMMAND --help` says. Flags win over documents, and documents over the \
         profile's defaults ([documents](documents.md)).\n\n\
         `worldstream completions SHELL` prints completions for bash, zsh, fish, elvish and \
         PowerShell, and `worldstream man [COMMAND]` manual pages.\n",
    );
    // The width does not depend on the terminal that generates.
    let mut program = Cli::command().term_width(WIDTH);
    program.build();
    section(&mut program, "worldstream", &mut text);
    text
}

const WIDTH: usize = 100;

fn section(command: &mut Command, name: &str, text: &mut String) {
    let help = command
        .clone()
        .term_width(WIDTH)
        .render_long_help()
        .to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!(
        "\n## {name}\n\n```text\n{}\n```\n",
        lines.join("\n").trim()
    ));
    for inner in command.get_subcommands_mut() {
        if inner.get_name() == "help" {
            continue;
        }
        let name = format!("{name} {}", inner.get_name());
        section(inner, &name, text);
    }
}
