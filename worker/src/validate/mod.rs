//! Validation runs: what is to be seen before a platform is trusted, as one report each. A smoke
//! run sends a little of a world that a READY message announces, a completion run all of it, and
//! the failure paths provoke each reason code. All parts are real; the gate and the world may be
//! our own, for the run alone.

pub mod announced;
pub mod failures;
pub mod report;
mod stage;
mod told;

use std::path::PathBuf;

pub use announced::{Announced, completion, smoke};
pub use report::{Check, Checks, LeftOut, Report};

use worldstream_crds::{ExitCode, Reason};

use crate::audit::{Event, Records, SessionLog};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// Where a validation works, and what it is made as.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its folder; each run has one of its own in it.
    pub dir: PathBuf,
    /// The platform run; none: one of now, or of the next second that has no folder yet.
    pub platform_run_id: Option<String>,
}

impl Own {
    fn platform_run_id(&self) -> Result<String> {
        match &self.platform_run_id {
            None => self.free(EventTime::wall_now()),
            Some(given) => {
                let checked = worldstream_crds::plan::values::platform_run_id(given.clone());
                checked.map_err(|wrong| {
                    Failure::new(Reason::StreamFailed, "--platform-run-id")
                        .detail(wrong)
                        .exits(ExitCode::Usage)
                })
            }
        }
    }
}

impl Own {
    /// The run of a moment, or of the first second after it that nobody has here: what a run before
    /// recorded would be taken for this one's. Its folder is made, and so it is taken.
    fn free(&self, moment: EventTime) -> Result<String> {
        let cannot = |error: std::io::Error| {
            Failure::new(Reason::StreamFailed, self.dir.display().to_string()).cause(&error)
        };
        std::fs::create_dir_all(&self.dir).map_err(cannot)?;
        let mut micros = moment.micros();
        loop {
            let run = run_id_of(EventTime::from_micros(micros).unwrap_or(EventTime::MAX));
            match std::fs::create_dir(self.dir.join(&run)) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    micros += 1_000_000;
                }
                made => return made.map(|()| run).map_err(cannot),
            }
        }
    }
}

/// `platform_20260101T000000Z` of a moment.
fn run_id_of(moment: EventTime) -> String {
    let text = moment.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, "000000"));
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    let time: String = digits(time).chars().take(6).collect();
    format!("platform_{}T{time}Z", digits(date))
}

/// Provokes each reason code that can be reached.
///
/// # Errors
/// Only for what keeps a provocation from being made. What does not hold is in the report.
pub fn failure_paths(own: &Own, said: &mut dyn FnMut(&str)) -> Result<Report> {
    let started = EventTime::wall_now();
    let run = own.platform_run_id()?;
    let dir = own.dir.join(&run);
    let session = Session::open(
        &Records::Folder(dir.join("store/fraud-platform").join(&run)),
        &run,
        failures::ROOT,
    )?;
    session.began()?;
    let mut checks = Checks::default();
    failures::all(&dir.join("failures"), &run, &mut checks, said)?;
    let mut report = Report::new("failures", &run, failures::ROOT, started, checks.made());
    report.left_out = failures::left_out();
    session.ended(&report)?;
    Ok(report)
}

/// What a validation leaves in its run's own folder: two lines in the session log, and its report.
struct Session {
    records: Records,
    log: SessionLog,
    root: String,
}

impl Session {
    fn open(records: &Records, run: &str, root: &str) -> Result<Session> {
        Ok(Session {
            log: SessionLog::on(records, run)?,
            records: records.clone(),
            root: root.to_owned(),
        })
    }

    fn began(&self) -> Result<()> {
        self.log.append(&Event::validation_start(&self.root))?;
        blocking(self.log.flush())?
    }

    fn ended(&self, report: &Report) -> Result<()> {
        let failure = report.failure();
        self.log
            .append(&Event::validation_complete(&self.root, failure.as_ref()))?;
        blocking(async {
            self.log.flush().await?;
            let place = format!("wsp/validation/{}", report.validation);
            for (end, text) in [("json", report.json()?), ("txt", report.text())] {
                let at = format!("{place}.{end}");
                self.records
                    .replace(&at, text.as_bytes(), |_| false)
                    .await?;
            }
            Ok(())
        })?
    }
}

/// Runs a future on a runtime of this thread. Not to be called in a task of one.
fn blocking<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "the runtime").cause(&error))?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_second() {
        let moment = EventTime::parse_rfc3339("2026-11-22T19:30:05.123456Z").unwrap();
        assert_eq!(run_id_of(moment), "platform_20261122T193005Z");
    }

    #[test]
    fn runs_of_one_second_are_two() {
        let dir = tempfile::tempdir().unwrap();
        let own = Own {
            dir: dir.path().join("validation"),
            platform_run_id: None,
        };
        let moment = EventTime::parse_rfc3339("2026-12-31T23:59:59.9Z").unwrap();
        assert_eq!(own.free(moment).unwrap(), "platform_20261231T235959Z");
        assert_eq!(own.free(moment).unwrap(), "platform_20270101T000000Z");
    }
}
