//! The folder that a sample goes into: whether it may, and the note `_sample.json` that says what
//! is there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use worldstream_crds::{ExitCode, Reason};

use super::world::{unwritten, write_file};
use super::{Parts, SampleReport, SampleSpec, Table};
use crate::failure::{Failure, Result};

/// The note's name. It lies at the run root, where the contract's readers pass it over.
const NOTE: &str = "_sample.json";
/// Goes up with every change of the bytes that the same parameters give.
const VERSION: u32 = 1;
/// What a sample consists of, besides the note: nothing else is ever removed.
const OWN: [&str; 6] = [
    "data",
    "reports",
    "stream_view",
    "run_receipt.json",
    "_oracle_pack_manifest.json",
    "_SEALED.json",
];

/// Everything that decides the bytes of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Parameters {
    version: u32,
    run_root: String,
    seed: u64,
    rows: u64,
    days: u32,
    scenario: String,
    disorder: bool,
    outputs: Vec<Table>,
    parts: Parts,
    row_group_rows: usize,
    raw: bool,
    sealed: bool,
}

/// `_sample.json`: without a report the writing was interrupted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    parameters: Parameters,
    report: Option<SampleReport>,
}

impl Parameters {
    pub(super) fn new(spec: &SampleSpec, root: &str) -> Self {
        Parameters {
            version: VERSION,
            run_root: root.to_owned(),
            seed: spec.seed,
            rows: spec.rows,
            days: spec.days,
            scenario: spec.scenario.clone(),
            disorder: spec.disorder,
            outputs: spec.tables(),
            parts: spec.parts,
            row_group_rows: spec.row_group_rows,
            raw: spec.raw,
            sealed: spec.sealed,
        }
    }
}

/// Makes the folder ready to be written into, or gives the report of the same sample if it is
/// there already.
///
/// A folder that holds anything but a sample is refused, `force` or not: what a real engine
/// wrote is never removed from here.
pub(super) fn prepare(spec: &SampleSpec, parameters: &Parameters) -> Result<Option<SampleReport>> {
    let out = &spec.out;
    if is_empty(out)? {
        begin(spec, parameters)?;
        return Ok(None);
    }
    let note = read_note(out)?.ok_or_else(|| {
        refusal(out)
            .found("a folder that is not empty and holds no sample")
            .expected("an empty folder, or one that does not exist")
    })?;
    let there = serde_json::from_slice::<Note>(&note).ok();
    match there {
        Some(Note {
            parameters: found,
            report,
        }) if found == *parameters && !spec.force => {
            if let Some(report) = report {
                return Ok(Some(SampleReport {
                    already_there: true,
                    ..report
                }));
            }
        }
        _ if spec.force => {}
        _ => {
            return Err(refusal(out)
                .found("a sample of other parameters")
                .expected("an empty folder, or --force to replace the sample"));
        }
    }
    for name in OWN {
        remove(&out.join(name))?;
    }
    begin(spec, parameters)?;
    Ok(None)
}

/// Notes that the sample is whole.
pub(super) fn finish(
    spec: &SampleSpec,
    parameters: &Parameters,
    report: &SampleReport,
) -> Result<()> {
    note(spec, parameters, Some(report.clone()))
}

fn begin(spec: &SampleSpec, parameters: &Parameters) -> Result<()> {
    note(spec, parameters, None)
}

fn note(spec: &SampleSpec, parameters: &Parameters, report: Option<SampleReport>) -> Result<()> {
    let note = Note {
        parameters: parameters.clone(),
        report,
    };
    let text = serde_json::to_string_pretty(&note)
        .map_err(|error| unwritten(&spec.out.join(NOTE), &error))?;
    write_file(spec, NOTE, format!("{text}\n").as_bytes())
}

fn is_empty(out: &Path) -> Result<bool> {
    match fs::read_dir(out) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(refusal(out).expected("a folder").cause(&error)),
    }
}

fn read_note(out: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(out.join(NOTE)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refusal(&out.join(NOTE)).cause(&error)),
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| unwritten(path, &error))
}

fn refusal(path: &Path) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).exits(ExitCode::Usage)
}
