//! What the workers report, gathered by output: lanes added up, coarse enough to be looked at.

use std::sync::Arc;
use std::time::Duration;

use worldstream_crds::clock::Observation;
use worldstream_crds::time::EventTime;
use worldstream_crds::{
    ConditionReason, DurationText, OutputReceiptStatus, OutputStatus, StreamClockSpec, WorkerState,
    names,
};

use crate::build;
use crate::conduct::Report;
use crate::invalid::Invalid;
use crate::outputs::{Facts, Verdict};
use crate::picture::Picture;
use crate::runs;
use crate::situation::Situation;
use crate::validate::{Live, Output, Validated};
use crate::views::CheckpointView;

/// The checkpoints of an output, one a lane; none where there is none yet.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// By lane.
    pub lanes: Vec<Option<Arc<CheckpointView>>>,
}

impl Lanes {
    /// Whether a lane has no checkpoint.
    pub fn is_empty_lane(&self) -> bool {
        self.lanes.iter().any(Option::is_none)
    }

    /// Whether preflight wrote the plans of all lanes.
    pub fn planned(&self, lanes: u32) -> bool {
        let planned = self.lanes.iter().flatten();
        planned.filter(|it| it.status.plan.is_some()).count() == lanes as usize
    }
}

/// The outputs of a stream: those of the status, which the frozen plan has, else of the plan that
/// it would have now.
pub fn outputs_of(status: &[OutputStatus], validated: &Result<Validated, Invalid>) -> Vec<Output> {
    if !status.is_empty() {
        let each = status.iter();
        return each
            .map(|it| Output {
                id: it.output.clone(),
                role: it.role,
            })
            .collect();
    }
    let validated = validated.as_ref();
    validated.map_or_else(|_| Vec::new(), |it| it.outputs.clone())
}

/// The checkpoints of each output, found by their names; one that another owner left is not ours.
pub fn by_lane(situation: &Situation<'_>, outputs: &[Output], lanes: u32) -> Vec<Lanes> {
    let stream = situation.stream;
    let run = runs::known(stream).unwrap_or_default();
    let find = |output: &str, lane| {
        let name = build::checkpoint_name(stream, run, output, lane, lanes);
        let ours = situation.checkpoints.iter();
        ours.clone()
            .find(|it| it.name == name && it.owner == stream.uid)
            .cloned()
    };
    outputs
        .iter()
        .map(|output| Lanes {
            lanes: (0..lanes).map(|lane| find(&output.id, lane)).collect(),
        })
        .collect()
}

/// What there is of an output.
pub fn facts<'a>(
    situation: &Situation<'a>,
    output: &'a Output,
    lanes: u32,
    checkpoints: &Lanes,
) -> Facts<'a> {
    let stream = situation.stream;
    let jobs: Vec<_> = situation
        .jobs
        .iter()
        .filter(|job| job.component == names::WORKER)
        .filter(|job| job.owner == stream.uid && job.notes.output == output.id)
        .cloned()
        .collect();
    let pods = situation.pods.iter();
    Facts {
        output,
        lanes,
        pods: pods
            .filter(|pod| jobs.iter().any(|job| job.uid == pod.job))
            .cloned()
            .collect(),
        jobs,
        checkpoints: checkpoints.lanes.iter().flatten().cloned().collect(),
        before: stream
            .status
            .outputs
            .iter()
            .find(|it| it.output == output.id),
    }
}

/// A worker's report, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct OutputReport {
    /// Index of the output.
    pub output: usize,
    /// What it says.
    pub report: Report,
}

/// What the unfinished lanes report. One that has not reported yet is where its cursor or its plan
/// begins.
pub fn reports(
    situation: &Situation<'_>,
    facts: &[Facts<'_>],
    verdicts: &[Verdict],
    clock: &StreamClockSpec,
    live: &Live,
) -> Vec<OutputReport> {
    let _ = (situation, clock, live);
    let time = |text: &Option<String>| {
        let text = text.as_deref()?;
        EventTime::parse_rfc3339(text).ok()
    };
    let mut reports = Vec::new();
    for (index, (facts, verdict)) in facts.iter().zip(verdicts).enumerate() {
        if verdict.state == WorkerState::Finished || verdict.failure.is_some() {
            continue;
        }
        for checkpoint in &facts.checkpoints {
            let status = &checkpoint.status;
            if status.state == Some(WorkerState::Finished) {
                continue;
            }
            let first = status.plan.as_ref().map(|it| it.first_event_time.clone());
            let next = time(&status.next)
                .or(status.cursor.as_ref().and_then(|it| time(&it.last_ts_utc)))
                .or(first.as_ref().and_then(time));
            // An output without rows holds nobody up.
            let Some(next) = next else { continue };
            reports.push(OutputReport {
                output: index,
                report: Report {
                    observation: Observation {
                        next,
                        oldest: time(&status.oldest).unwrap_or(next),
                        known: status.clock_revision,
                    },
                    lag: status.lag.map_or(Duration::ZERO, |lag| lag.0),
                },
            });
        }
    }
    reports
}

/// Puts the outputs and what is wrong with them into the picture.
pub fn picture(
    situation: &Situation<'_>,
    facts: &[Facts<'_>],
    verdicts: &[Verdict],
    picture: &mut Picture,
) {
    let max_lag = situation.live.max_lag;
    let max_skew = situation.live.max_skew;
    picture.outputs = facts
        .iter()
        .zip(verdicts)
        .map(|(facts, verdict)| output(facts, verdict))
        .collect();
    for (facts, verdict) in facts.iter().zip(verdicts) {
        let id = &facts.output.id;
        picture.troubles.extend(verdict.trouble.clone());
        for checkpoint in &facts.checkpoints {
            let status = &checkpoint.status;
            if verdict.state == WorkerState::Finished {
                continue;
            }
            if let Some(since) = &status.gate_away_since {
                let what = told(status);
                let message = format!("{id}: IG has not been reached since {since}{what}");
                picture.troubles.push((ConditionReason::GateAway, message));
            }
            if let Some(since) = &status.store_away_since {
                let what = told(status);
                let message = format!("{id}: nothing could be saved since {since}{what}");
                picture.troubles.push((ConditionReason::StoreAway, message));
            }
            if let Some(lag) = status.lag.filter(|lag| lag.0 > max_lag)
                && verdict.state == WorkerState::Streaming
            {
                // Whole seconds: a message that changes all the time is a write all the time.
                let message = format!(
                    "{id}: behind the clock by more than {}",
                    DurationText(max_lag)
                );
                let _ = lag;
                picture
                    .troubles
                    .push((ConditionReason::OutputLate, message));
            }
            let skew = status.clock_skew_millis.unwrap_or_default();
            if skew.unsigned_abs() > max_skew.as_millis() as u64 {
                picture.skew = Some(format!(
                    "{id}: the worker's wall clock is more than {} from the API server's",
                    DurationText(max_skew)
                ));
            }
        }
    }
}

fn told(status: &worldstream_crds::StreamCheckpointStatus) -> String {
    match &status.failure {
        Some(failure) => format!(": {}: {}", failure.reason, failure.message),
        None => String::new(),
    }
}

fn output(facts: &Facts<'_>, verdict: &Verdict) -> OutputStatus {
    let mut folded = OutputStatus {
        output: facts.output.id.clone(),
        role: facts.output.role,
        lanes: facts.lanes,
        state: verdict.state,
        crashes: verdict.crashes,
        failure: verdict.failure.clone(),
        view: facts
            .checkpoints
            .first()
            .and_then(|it| it.status.view.clone()),
        ..OutputStatus::default()
    };
    let finished = verdict.state == WorkerState::Finished;
    let mut receipt = OutputReceiptStatus {
        complete: true,
        ..OutputReceiptStatus::default()
    };
    let mut receipts = 0;
    let mut reached: Option<&str> = None;
    // A plan counts the rows of the whole output, before lanes.
    for checkpoint in &facts.checkpoints {
        let status = &checkpoint.status;
        let rows = status.plan.as_ref().map_or(0, |plan| plan.rows);
        folded.rows = folded.rows.max(rows);
        if let Some(counts) = &status.counts {
            folded.sent += counts.rows;
            folded.admitted += counts.admitted;
            folded.duplicate += counts.duplicate;
            folded.quarantined += counts.quarantined;
            folded.undecided += counts.undecided;
            folded.retried += counts.retried;
        }
        if !finished && let Some(lag) = status.lag {
            folded.lag = Some(folded.lag.map_or(lag, |known| known.max(lag)));
        }
        let at = status
            .cursor
            .as_ref()
            .and_then(|it| it.last_ts_utc.as_deref());
        reached = match (reached, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
        if let Some(of_lane) = &status.receipt {
            receipts += 1;
            receipt.rows += of_lane.rows;
            receipt.admitted += of_lane.admitted;
            receipt.duplicate += of_lane.duplicate;
            receipt.quarantined += of_lane.quarantined;
            receipt.undecided += of_lane.undecided;
            receipt.digests.push(of_lane.digest.clone());
            receipt.complete &= of_lane.complete;
        }
    }
    folded.event_time = reached.map(str::to_owned);
    let percent = folded.sent.saturating_mul(100).checked_div(folded.rows);
    folded.percent = match finished {
        true => 100,
        false => percent.unwrap_or(0).min(99) as u32,
    };
    if receipts == facts.lanes {
        folded.receipt = Some(receipt);
    } else if let Some(before) = facts.before.filter(|_| finished) {
        // What was recorded at the end stays, whatever becomes of the checkpoints.
        return before.clone();
    }
    folded
}
