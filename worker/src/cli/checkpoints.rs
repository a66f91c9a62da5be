//! `worldstream checkpoints`: what a store of checkpoints holds, and starting some over.

mod store;

use std::io::Write;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;
use worldstream_crds::{ExitCode, Reason};

use self::store::{Database, Opened, Store};
use super::run::blocking;
use crate::checkpoint::postgres::Migrated;
use crate::checkpoint::survey::{Found, HeldBy, Spot};
use crate::checkpoint::{Cursor, Progress};
use crate::failure::{Failure, Result};

/// The command's arguments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  worldstream checkpoints list --platform-run-id platform_20260101T000000Z
  worldstream checkpoints show --checkpoint-root /srv/checkpoints --output arrival_events_5B
  worldstream checkpoints show --checkpoint-root /srv/checkpoints 5d8a2c
  worldstream checkpoints reset --checkpoint-root /srv/checkpoints 5d8a2c --output arrival_events_5B
  worldstream checkpoints reset --checkpoint-root /srv/checkpoints --all --yes
  worldstream checkpoints list --postgres-dsn-env WORLDSTREAM_CHECKPOINT_DSN
  worldstream checkpoints migrate --postgres-dsn-file /run/secrets/checkpoints/dsn")]
pub struct CheckpointsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every checkpoint: its output, cursor, figures, and who holds it
    #[command(after_help = "Example:
  worldstream checkpoints list --platform-run-id platform_20260101T000000Z")]
    List {
        #[command(flatten)]
        store: Store,
    },
    /// Show one checkpoint whole, or what is wrong with it
    #[command(after_help = "Example:
  worldstream checkpoints show --checkpoint-root /srv/checkpoints 5d8a2c --output arrival_events_5B")]
    Show {
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        which: Which,
    },
    /// Start outputs over: set their checkpoints aside (nothing is deleted)
    ///
    /// A checkpoint that a running process holds is refused. What was set aside can be put back by
    /// renaming its folder, or in a database by the row's `pack_key`.
    #[command(after_help = "Examples:
  worldstream checkpoints reset --checkpoint-root /srv/checkpoints --output arrival_events_5B
  worldstream checkpoints reset --checkpoint-root /srv/checkpoints --all --yes")]
    Reset {
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        which: Which,
        /// Every checkpoint of the store; needs --yes
        #[arg(long, conflicts_with_all = ["scope", "output"])]
        all: bool,
        /// Yes, all of them
        #[arg(long, requires = "all")]
        yes: bool,
    },
    /// Make the tables and columns that a database lacks; does nothing where none is missing
    ///
    /// A stream does the same at its start. This is for a role that may, where the streams' role
    /// may not.
    #[command(after_help = "Example:
  worldstream checkpoints migrate --postgres-dsn-env WORLDSTREAM_CHECKPOINT_DSN")]
    Migrate {
        #[command(flatten)]
        database: Database,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// The first characters of the scope key, as `list` shows it
    #[arg(value_name = "SCOPE")]
    scope: Option<String>,
    /// The output's id
    #[arg(long, value_name = "ID")]
    output: Option<String>,
}

/// Runs the command; `json` asks for one JSON document instead of text.
pub fn run(args: &CheckpointsArgs, json: bool, out: &mut dyn Write) -> Result<()> {
    match &args.command {
        Command::List { store } => list(&store.open()?.survey()?, json, out),
        Command::Show { store, which } => {
            let store = store.open()?;
            let found = store.survey()?;
            show(which.one_of(&found, &store.name())?, json, out)
        }
        Command::Reset {
            store,
            which,
            all,
            yes,
        } => {
            let store = store.open()?;
            let found = store.survey()?;
            let chosen: Vec<&Found> = match (all, yes) {
                (true, true) => found.iter().collect(),
                (true, false) => {
                    return Err(usage("--all")
                        .expected("--yes besides")
                        .detail(format!("{} checkpoints would start over", found.len())));
                }
                (false, _) => vec![which.one_of(&found, &store.name())?],
            };
            reset(&store, &chosen, json, out)
        }
        Command::Migrate { database } => migrate(database, json, out),
    }
}

fn migrate(database: &Database, json: bool, out: &mut dyn Write) -> Result<()> {
    let Some(store) = database.open() else {
        return Err(usage("the database")
            .found("none")
            .expected("--postgres-dsn-file or --postgres-dsn-env"));
    };
    let migrated = blocking(store.migrate())??;
    match (json, migrated) {
        (true, _) => print_json(&json!({"changed": migrated == Migrated::Done}), out),
        (false, Migrated::Done) => print(out, "the tables are there now\n"),
        (false, Migrated::WasThere) => print(out, "the tables were there already\n"),
    }
}

impl Which {
    fn matches(&self, found: &Found) -> bool {
        let scope = self.scope.as_deref().unwrap_or("");
        found.scope_key.starts_with(&scope.to_ascii_lowercase())
            && self
                .output
                .as_ref()
                .is_none_or(|output| *output == found.output_id)
    }

    fn one_of<'a>(&self, found: &'a [Found], store: &str) -> Result<&'a Found> {
        let matching: Vec<_> = found.iter().filter(|found| self.matches(found)).collect();
        let names = |found: &[&Found]| {
            let mut names: Vec<_> = found
                .iter()
                .take(8)
                .map(|found| format!("{} {}", short(&found.scope_key), found.output_id))
                .collect();
            if found.len() > names.len() {
                names.push("…".to_owned());
            }
            names.join(", ")
        };
        match matching[..] {
            [one] => Ok(one),
            [] => {
                let all: Vec<_> = found.iter().collect();
                Err(usage(store)
                    .found("no such checkpoint")
                    .expected(if all.is_empty() {
                        "any at all; there is none in this store".to_owned()
                    } else {
                        format!("one of {}", names(&all))
                    }))
            }
            _ => Err(usage(store)
                .found(format!("{} checkpoints", matching.len()))
                .expected("one: give its scope key's first characters and --output")
                .detail(names(&matching))),
        }
    }
}

/// Enough of a scope key to tell a few apart.
fn short(scope_key: &str) -> &str {
    scope_key.get(..12).unwrap_or(scope_key)
}

fn usage(object: &str) -> Failure {
    Failure::new(Reason::StreamFailed, object).exits(ExitCode::Usage)
}

/// One checkpoint for machines.
#[derive(Serialize)]
struct Row<'a> {
    scope_key: &'a str,
    output_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a str>,
    cursor: Option<&'a Cursor>,
    progress: Option<&'a Progress>,
    updated_at_utc: Option<&'a str>,
    locked_by: Option<serde_json::Value>,
    error: Option<serde_json::Value>,
}

impl<'a> Row<'a> {
    fn of(found: &'a Found) -> Self {
        let standing = found.state.as_ref().ok();
        Row {
            scope_key: &found.scope_key,
            output_id: &found.output_id,
            folder: match &found.spot {
                Spot::Folder(folder) => Some(folder.display().to_string()),
                Spot::Table(_) => None,
            },
            table: match &found.spot {
                Spot::Folder(_) => None,
                Spot::Table(table) => Some(table),
            },
            cursor: standing.and_then(|s| s.checkpoint.cursor.as_ref()),
            progress: standing.and_then(|s| s.checkpoint.progress.as_ref()),
            updated_at_utc: standing.and_then(|s| s.updated_at_utc.as_deref()),
            locked_by: match &found.held_by {
                HeldBy::Nobody => None,
                HeldBy::Process(holder) => Some(json!(holder)),
                HeldBy::Lease { holder, until } => Some(json!({"holder": holder, "until": until})),
                HeldBy::Unclear(text) => Some(json!(text)),
            },
            error: found
                .state
                .as_ref()
                .err()
                .map(|failure| json!({"reason": failure.reason(), "message": failure.message()})),
        }
    }
}

fn list(found: &[Found], json: bool, out: &mut dyn Write) -> Result<()> {
    if json {
        let rows: Vec<_> = found.iter().map(Row::of).collect();
        return print_json(&rows, out);
    }
    if found.is_empty() {
        return print(out, "no checkpoints\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "SCOPE",
        "OUTPUT",
        "ROWS",
        "FILE",
        "ROW",
        "EVENT TIME",
        "UPDATED",
        "COMPLETE",
        "LOCKED BY",
    ]);
    let mut broken = String::new();
    for found in found {
        let row = Row::of(found);
        let cursor = |text: fn(&Cursor) -> String| row.cursor.map_or("-".to_owned(), text);
        let own = |text: fn(&Progress) -> String| row.progress.map_or("-".to_owned(), text);
        table.add_row([
            short(row.scope_key).to_owned(),
            row.output_id.to_owned(),
            match &found.state {
                Ok(_) => own(|progress| progress.rows.to_string()),
                Err(_) => "unreadable".to_owned(),
            },
            cursor(|at| base_name(&at.last_file).to_owned()),
            cursor(|at| at.last_row_index.to_string()),
            cursor(|at| at.last_ts_utc.clone().unwrap_or("-".to_owned())),
            row.updated_at_utc.unwrap_or("-").to_owned(),
            own(|progress| if progress.complete { "yes" } else { "no" }.to_owned()),
            locked_by(&found.held_by),
        ]);
        if let Err(failure) = &found.state {
            broken.push_str(&format!("{failure}\n"));
        }
    }
    // Trailing blanks are of use to nobody.
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    print(out, &format!("{}\n", lines.join("\n")))?;
    if broken.is_empty() {
        return Ok(());
    }
    print(out, &format!("\n{broken}"))
}

fn show(found: &Found, json: bool, out: &mut dyn Write) -> Result<()> {
    let row = Row::of(found);
    if json {
        return print_json(&row, out);
    }
    let mut lines = vec![
        ("output", row.output_id.to_owned()),
        ("scope key", row.scope_key.to_owned()),
        (
            match found.spot {
                Spot::Folder(_) => "folder",
                Spot::Table(_) => "table",
            },
            found.spot.to_string(),
        ),
        ("locked by", locked_by(&found.held_by)),
    ];
    match &found.state {
        Err(failure) => {
            lines.push(("unreadable", failure.to_string()));
            lines.push(("advice", failure.reason().advice().to_owned()));
        }
        Ok(standing) => {
            let updated = standing.updated_at_utc.as_deref().unwrap_or("-");
            lines.push(("updated", updated.to_owned()));
            match row.cursor {
                Some(at) => lines.extend([
                    ("last file", at.last_file.clone()),
                    ("last row", at.last_row_index.to_string()),
                    ("event time", at.last_ts_utc.clone().unwrap_or("-".into())),
                ]),
                None => lines.push(("cursor", "none: nothing was taken yet".to_owned())),
            }
            match row.progress {
                Some(progress) => figures(progress, &mut lines),
                None if row.cursor.is_some() => lines.push((
                    "figures",
                    "none: another producer left this cursor; counting begins after it".to_owned(),
                )),
                None => {}
            }
        }
    }
    let text: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<13}{value}\n"))
        .collect();
    print(out, &text)
}

fn figures(progress: &Progress, lines: &mut Vec<(&'static str, String)>) {
    let from = match &progress.counts_from {
        Some(at) => format!("after row {} of {}", at.last_row_index, at.last_file),
        None => "the attempt's first row".to_owned(),
    };
    lines.extend([
        (
            "complete",
            if progress.complete { "yes" } else { "no" }.into(),
        ),
        ("rows", progress.rows.to_string()),
        ("admitted", progress.admitted.to_string()),
        ("duplicate", progress.duplicate.to_string()),
        ("quarantined", progress.quarantined.to_string()),
        ("undecided", progress.undecided.to_string()),
        ("retried", progress.retried.to_string()),
        ("disordered", progress.disordered.to_string()),
        ("counted from", from),
        ("digest", progress.digest.clone()),
        ("view", progress.view.view_id.clone()),
        ("view rows", progress.view.rows.to_string()),
        ("view digest", progress.view.digest.clone()),
    ]);
}

fn reset(store: &Opened, chosen: &[&Found], json: bool, out: &mut dyn Write) -> Result<()> {
    let moved = store.reset(chosen)?;
    let pairs = chosen.iter().zip(&moved);
    if json {
        let rows: Vec<_> = pairs
            .map(|(found, to)| {
                let mut row = json!({
                    "scope_key": found.scope_key,
                    "output_id": found.output_id,
                    "moved_to": to,
                });
                let (name, place) = match &found.spot {
                    Spot::Folder(folder) => ("folder", folder.display().to_string()),
                    Spot::Table(table) => ("table", table.clone()),
                };
                row[name] = place.into();
                row
            })
            .collect();
        return print_json(&rows, out);
    }
    if chosen.is_empty() {
        return print(out, "no checkpoints\n");
    }
    for (found, to) in pairs {
        let line = format!(
            "{} {} starts over; its checkpoint is now {}\n",
            short(&found.scope_key),
            found.output_id,
            to
        );
        print(out, &line)?;
    }
    Ok(())
}

fn locked_by(held_by: &HeldBy) -> String {
    match held_by {
        HeldBy::Nobody => "-".to_owned(),
        HeldBy::Process(holder) => holder.to_string(),
        HeldBy::Lease { holder, until } => format!("{holder}, until {until} unless renewed"),
        HeldBy::Unclear(text) => text.clone(),
    }
}

fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

fn print_json<T: Serialize>(value: &T, out: &mut dyn Write) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Reason::StreamFailed, "output").cause(&error))?;
    print(out, &format!("{text}\n"))
}

fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .map_err(|error| Failure::new(Reason::StreamFailed, "output").cause(&error))
}

#[cfg(test)]
mod tests;
