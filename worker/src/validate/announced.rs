//! Smoke and completion: a world is announced by a READY message on a control bus of the run's own,
//! streamed, and announced again; then everything that it left is looked at.

use std::collections::BTreeSet;
use std::path::Path;

use worldstream_crds::Reason;

use super::report::{Checks, Report};
use super::stage::{ENVIRONMENT, Stage};
use super::told::Told;
use super::{Own, Session, blocking};
use crate::failure::{Failure, Result};
use crate::ready::{Conclusion, Status};
use crate::time::EventTime;

/// What is announced, and how much of it is streamed.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Where it works.
    pub own: Own,
    /// The StreamProfile: a file, or the name of a built-in one.
    pub profile: String,
    /// The world; none: one of our own.
    pub engine_run_root: Option<String>,
    /// Its scenario; none: the only one.
    pub scenario: Option<String>,
    /// The gate; none: one of our own; `profile`: the profile's.
    pub gate_url: Option<String>,
    /// The object store; none: a folder of the run's own.
    pub store: Option<String>,
    /// Event seconds a wall-clock second; 0: no waiting.
    pub speedup: f64,
    /// At most so many events of each output; none: all.
    pub events: Option<u64>,
}

/// Streams a little of a world that is announced.
///
/// # Errors
/// Only for what keeps it from being announced; what does not hold is in the report.
pub fn smoke(asked: &Announced, said: &mut dyn FnMut(&str)) -> Result<Report> {
    run("smoke", asked, said)
}

/// Streams all of a world that is announced.
///
/// # Errors
/// As [`smoke`].
pub fn completion(asked: &Announced, said: &mut dyn FnMut(&str)) -> Result<Report> {
    run("completion", asked, said)
}

fn run(validation: &'static str, asked: &Announced, said: &mut dyn FnMut(&str)) -> Result<Report> {
    let started = EventTime::wall_now();
    let run = asked.own.platform_run_id()?;
    let stage = Stage::new(asked, &run, said)?;
    let records = stage.place.run(&run);
    let session = Session::open(&records, &run, &stage.world.root)?;
    session.began()?;
    let ready = stage.announcement()?;
    let mut checks = Checks::default();
    said("READY is published, and its world is streamed");
    stage.publish(&ready)?;
    let first = stage.consume(&ready.message_id, &run)?;
    concluded(&first, Status::Streamed, &mut checks);
    let outputs: Vec<(String, u64)> = stage
        .world
        .outputs
        .iter()
        .map(|output| {
            let rows = output.view.rows;
            (
                output.id.clone(),
                asked.events.map_or(rows, |most| rows.min(most)),
            )
        })
        .collect();
    let emitted: u64 = outputs.iter().map(|(_, rows)| rows).sum();
    let sent = first.first().and_then(|it| it.emitted).unwrap_or(0);
    checks.equal("events that were sent", sent, emitted);
    let complete = stage.world.outputs.iter().zip(&outputs);
    let told = Told {
        message_id: ready.message_id.clone(),
        platform_run_id: run.clone(),
        scenario_run_id: ready.scenario_run_id.clone(),
        engine_run_root: stage.world.root.clone(),
        key: stage.world.key.clone(),
        complete: complete
            .into_iter()
            .all(|(output, (_, rows))| output.view.rows == *rows),
        outputs,
        environment: ENVIRONMENT.to_owned(),
    };
    blocking(told.check(&records, &mut checks))??;
    gate(&stage, &told, &mut checks)?;
    said("the same READY is published again");
    stage.publish(&ready)?;
    let again = stage.consume(&ready.message_id, &run)?;
    concluded(&again, Status::SkippedDuplicate, &mut checks);
    blocking(told.check_again(&records, &mut checks))??;
    let report = Report::new(validation, &run, &stage.world.root, started, checks.made());
    session.ended(&report)?;
    Ok(report)
}

/// The message was worked on, and it must have come to this, each time that it was.
fn concluded(all: &[Conclusion], must: Status, checks: &mut Checks) {
    let name = "what became of the message";
    let other = all.iter().find(|it| it.status != must);
    let Some(found) = other.or(all.first()) else {
        return checks.so(name, false, "nothing", must.to_string());
    };
    let because = |code: Reason| format!(", {code}: {}", found.detail.as_deref().unwrap_or(""));
    let why = found.reason.map_or_else(String::new, because);
    checks.so(
        name,
        found.status == must,
        format!("{}{why}", found.status),
        must.to_string(),
    );
}

/// What a gate of our own has seen: every event once, in the order of its view.
fn gate(stage: &Stage, told: &Told, checks: &mut Checks) -> Result<()> {
    let Some((gate, record)) = &stage.gate else {
        return Ok(());
    };
    let summary = gate.summary();
    let all: u64 = told.outputs.iter().map(|(_, rows)| rows).sum();
    checks.equal("the gate: events let in", summary.admitted, all);
    checks.equal("the gate: events put aside", summary.quarantined, 0);
    let ids = ids(record)?;
    let different: BTreeSet<&String> = ids.iter().collect();
    checks.equal("the gate: different events", different.len() as u64, all);
    Ok(())
}

fn ids(record: &Path) -> Result<Vec<String>> {
    let failure = || Failure::new(Reason::StreamFailed, record.display().to_string());
    let text = std::fs::read_to_string(record).map_err(|error| failure().cause(&error))?;
    text.lines()
        .map(|line| {
            let event: serde_json::Value =
                serde_json::from_str(line).map_err(|error| failure().cause(&error))?;
            Ok(event["event_id"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}
