//! `worldstream sample`: writes a world like the engine's to try things on.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use worldstream_crds::{ExitCode, Reason};

use crate::failure::{Failure, Result};
use crate::sample::{self, Parts, SampleReport, SampleSpec, Table};

const EXAMPLES: &str = "\
Examples:
  worldstream sample --out target/world --seed 7 --rows 24000 --days 30
  worldstream sample --out /tmp/large --seed 1 --rows 5000000 --days 30 --raw none \\
      --output s3_event_stream_with_fraud_6B --part-rows 1000000

Rows: each of the two event streams has --rows rows, each of the other four outputs one row for
each flow, half as many, rounded up. With fraud traffic and its three context outputs, --rows
24000 is 60000 events. The same parameters give the same bytes, everywhere and at any time.";

/// Write a world like the engine's: sealed, gates passing, views sorted, the same to the byte for
/// the same parameters
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SampleArgs {
    /// The folder to write: empty or not there. One that holds this very sample is left as it is
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Decides every value
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// Rows of each event stream
    #[arg(long, value_name = "N", default_value_t = 24_000)]
    pub rows: u64,
    /// Days of event time, from 2026-01-01
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub days: u32,
    /// The scenario id
    #[arg(long, value_name = "S", default_value = sample::DEFAULT_SCENARIO)]
    pub scenario: String,
    /// Let the views' rows step back in time here and there
    #[arg(long)]
    pub disorder: bool,
    /// Only this output (repeatable); all six by default
    #[arg(long = "output", value_name = "ID")]
    pub outputs: Vec<Table>,
    /// Parts of each view
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        conflicts_with = "part_rows"
    )]
    pub parts: u64,
    /// Rows of each part of a view, instead of a number of parts
    #[arg(long, value_name = "N")]
    pub part_rows: Option<u64>,
    /// Rows of a Parquet row group
    #[arg(long, value_name = "N", default_value_t = sample::DEFAULT_ROW_GROUP_ROWS)]
    pub row_group_rows: usize,
    /// Whether the raw parts are written, too, that the views are the sorted form of
    #[arg(long, value_enum, default_value_t = RawParts::All)]
    pub raw: RawParts,
    /// What the world is called in its views' ids, a path or an s3:// URI; by default the text of
    /// --out without doubled or trailing slashes
    #[arg(long, value_name = "NAME")]
    pub run_root: Option<String>,
    /// Without pack manifest and seal
    #[arg(long)]
    pub unsealed: bool,
    /// Replace another sample that is in the folder (never anything but a sample)
    #[arg(long)]
    pub force: bool,
}

/// Which raw parts are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawParts {
    /// A world to replay, and half the size
    None,
    /// Those of every output
    All,
}

impl SampleArgs {
    /// The world that the arguments ask for.
    pub fn spec(&self) -> SampleSpec {
        SampleSpec {
            out: self.out.clone(),
            run_root: self.run_root.clone(),
            seed: self.seed,
            rows: self.rows,
            days: self.days,
            scenario: self.scenario.clone(),
            disorder: self.disorder,
            outputs: self.outputs.clone(),
            parts: self
                .part_rows
                .map_or(Parts::Number(self.parts), Parts::Rows),
            row_group_rows: self.row_group_rows,
            raw: self.raw == RawParts::All,
            sealed: !self.unsealed,
            force: self.force,
        }
    }
}

/// Writes the world, with a progress bar on stderr where that is a terminal, and says on `out`
/// what is there now: for people, or as one JSON object.
///
/// # Errors
///
/// Those of [`sample::write`], and `out` that cannot be written.
pub fn run(args: &SampleArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let spec = args.spec();
    let rows = spec
        .tables()
        .iter()
        .map(|table| {
            if table.is_events() {
                spec.rows
            } else {
                spec.flows()
            }
        })
        .fold(0, u64::saturating_add);
    let bar = ProgressBar::new(rows).with_style(
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {eta} to go")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = sample::write(&spec, &|progress| bar.inc(progress.added));
    bar.finish_and_clear();
    let report = report?;
    let text = match json {
        true => serde_json::to_string(&report).map_err(|error| unsaid(&error))? + "\n",
        false => summary(&spec, &report),
    };
    out.write_all(text.as_bytes())
        .map_err(|error| unsaid(&error))?;
    Ok(ExitCode::Done)
}

fn summary(spec: &SampleSpec, report: &SampleReport) -> String {
    let mut text = match report.already_there {
        true => format!("The sample is there already: {}\n", spec.out.display()),
        false => format!("Wrote a sample world: {}\n", spec.out.display()),
    };
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<13}{value}\n"));
    line("run root", &report.run_root);
    line("scenario", &report.scenario_id);
    line("event time", &format!("{} to {}", report.start, report.end));
    line(
        "pack",
        report.oracle_pack_id.as_deref().unwrap_or("not sealed"),
    );
    for output in &report.outputs {
        text.push_str(&format!(
            "  {:<30}{:>12} rows{:>6} parts{:>14} bytes\n",
            output.output_id, output.rows, output.parts, output.bytes
        ));
    }
    text
}

fn unsaid(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, "standard output").cause(error)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> clap::error::Result<SampleArgs> {
        let command = SampleArgs::augment_args(clap::Command::new("sample"));
        SampleArgs::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    #[test]
    fn the_arguments_become_a_spec_and_the_report_is_said_twice() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("world");
        let dir = dir.to_str().unwrap();
        let args = parse(&[
            "sample",
            "--out",
            dir,
            "--seed",
            "9",
            "--rows",
            "100",
            "--days",
            "2",
            "--part-rows",
            "30",
            "--unsealed",
            "--raw",
            "none",
            "--output",
            "arrival_events_5B",
        ])
        .unwrap();
        let mut out = Vec::new();
        assert_eq!(run(&args, true, &mut out).unwrap(), ExitCode::Done);
        let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(said["runRoot"], dir);
        assert_eq!(said["outputs"][0]["rows"], 50);
        assert_eq!(said["outputs"][0]["parts"], 2);
        assert_eq!(said["oraclePackId"], serde_json::Value::Null);
        assert_eq!(said["alreadyThere"], false);
        let mut out = Vec::new();
        run(&args, false, &mut out).unwrap();
        let said = String::from_utf8(out).unwrap();
        assert!(said.starts_with("The sample is there already"), "{said}");
        assert!(said.contains("not sealed"), "{said}");
    }

    #[test]
    fn unknown_outputs_and_parts_cut_in_two_ways_are_refused() {
        let unknown = parse(&["sample", "--out", "x", "--output", "s4_truth"]).unwrap_err();
        assert!(
            unknown.to_string().contains("arrival_events_5B"),
            "{unknown}"
        );
        let both = ["sample", "--out", "x", "--parts", "3", "--part-rows", "3"];
        assert!(parse(&both).is_err());
    }
}
