//! Receipts: what became of each output (and lane), and of a run, for machines to check.

use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use super::records::Records;
use crate::checkpoint::{CheckpointKey, Cursor, Progress, disk};
use crate::failure::{Failure, Result};
use crate::plan::Lane;
use crate::time::EventTime;
use crate::view::ViewFingerprint;

/// The version of [`OutputReceipt`] and [`RunSummary`].
pub const RECEIPT_VERSION: u32 = 1;

/// How an output stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing is left to send.
    Complete,
    /// Rows are left: it was interrupted, capped, or stopped because of another output.
    Incomplete,
    /// It failed for good; `failure` says why.
    Failed,
}

/// Why an output failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureNote {
    /// The reason code.
    pub reason: String,
    /// The message, one line.
    pub message: String,
}

/// What became of one output and lane since its attempt's start, however often it was
/// interrupted. Invariant: `rows = admitted + duplicate + quarantined + undecided`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputReceipt {
    /// [`RECEIPT_VERSION`].
    pub version: u32,
    /// The output.
    pub output_id: String,
    /// The lane.
    pub lane: Lane,
    /// The platform run.
    pub platform_run_id: String,
    /// The scenario run.
    pub scenario_run_id: String,
    /// Empty by default.
    pub attempt: String,
    /// The world's pack key.
    pub pack_key: String,
    /// The scope key, which names the checkpoint.
    pub scope_key: String,
    /// How it stands.
    pub outcome: Outcome,
    /// Why it failed; none unless it did.
    pub failure: Option<FailureNote>,
    /// Events that IG has taken.
    pub rows: u64,
    /// Decisions of IG.
    pub admitted: u64,
    /// Decisions of IG.
    pub duplicate: u64,
    /// Decisions of IG.
    pub quarantined: u64,
    /// Taken without a decision, where the profile allows that.
    pub undecided: u64,
    /// Attempts beyond the first.
    pub retried: u64,
    /// Rows sent although an earlier row was later in event time.
    pub disordered: u64,
    /// The chained digest over the event ids in order, 64 hex; one a lane.
    pub digest: String,
    /// The cursor after which rows are counted, where another producer began the stream; none:
    /// from the attempt's first row.
    pub counts_from: Option<Cursor>,
    /// The last event that was taken; none if there was none.
    pub cursor: Option<Cursor>,
    /// The view that was read.
    pub view: ViewFingerprint,
    /// When this was written, wall clock.
    pub written_at_utc: EventTime,
}

impl OutputReceipt {
    /// The receipt of an output as it was last saved. `STREAM_FAILED` if the figures do not add
    /// up: a receipt that lies is worse than none.
    pub fn new(
        key: &CheckpointKey,
        cursor: Option<&Cursor>,
        progress: &Progress,
        failure: Option<&Failure>,
    ) -> Result<Self> {
        let receipt = OutputReceipt {
            version: RECEIPT_VERSION,
            output_id: key.output_id.clone(),
            lane: key.lane,
            platform_run_id: key.platform_run_id.clone(),
            scenario_run_id: key.scenario_run_id.clone(),
            attempt: key.attempt.clone(),
            pack_key: key.pack_key.clone(),
            scope_key: key.scope_key(),
            outcome: match failure {
                Some(_) => Outcome::Failed,
                None if progress.complete => Outcome::Complete,
                None => Outcome::Incomplete,
            },
            failure: failure.map(FailureNote::from),
            rows: progress.rows,
            admitted: progress.admitted,
            duplicate: progress.duplicate,
            quarantined: progress.quarantined,
            undecided: progress.undecided,
            retried: progress.retried,
            disordered: progress.disordered,
            digest: progress.digest.clone(),
            counts_from: progress.counts_from.clone(),
            cursor: cursor.cloned(),
            view: progress.view.clone(),
            written_at_utc: EventTime::wall_now(),
        };
        receipt.check()?;
        Ok(receipt)
    }

    /// Whether the figures add up.
    pub fn check(&self) -> Result<()> {
        let sum = [
            self.admitted,
            self.duplicate,
            self.quarantined,
            self.undecided,
        ]
        .iter()
        .try_fold(0u64, |sum, count| sum.checked_add(*count));
        if sum == Some(self.rows) {
            return Ok(());
        }
        Err(Failure::new(
            Reason::StreamFailed,
            format!("receipt of {}", self.output_id),
        )
        .field("rows")
        .found(self.rows.to_string())
        .expected(format!(
            "admitted {} + duplicate {} + quarantined {} + undecided {}",
            self.admitted, self.duplicate, self.quarantined, self.undecided
        )))
    }

    /// Where it is kept: `<run_dir>/wsp/receipts/<output, / as _>[.lane-<n>-<i>].json`.
    pub fn path(&self, run_dir: &Path) -> PathBuf {
        let lane = match self.lane {
            Lane { count: 1, .. } => String::new(),
            Lane { count, index } => format!(".lane-{count}-{index}"),
        };
        let output = self.output_id.replace('/', "_");
        run_dir
            .join("wsp/receipts")
            .join(format!("{output}{lane}.json"))
    }

    /// Keeps it where a run's records are, in place of an earlier one; one of the same attempt that
    /// counts more rows stays.
    pub async fn keep(&self, records: &Records) -> Result<()> {
        let relative = self.path(Path::new(""));
        let bytes = json(&self.output_id, self)?;
        let newer = |found: &[u8]| {
            serde_json::from_slice::<OutputReceipt>(found)
                .is_ok_and(|found| found.scope_key == self.scope_key && found.rows > self.rows)
        };
        records
            .replace(&relative.to_string_lossy(), &bytes, newer)
            .await
    }

    /// Writes it there, replacing an earlier one at once and durably. Blocks. Gives the path.
    pub fn write(&self, run_dir: &Path) -> Result<PathBuf> {
        let path = self.path(run_dir);
        write_json(&path, self, "write the receipt")?;
        Ok(path)
    }
}

/// What became of a run: the receipts of its outputs, for `--summary FILE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSummary {
    /// [`RECEIPT_VERSION`].
    pub version: u32,
    /// The platform run.
    pub platform_run_id: String,
    /// The scenario run.
    pub scenario_run_id: String,
    /// The resolved root's text.
    pub engine_run_root: String,
    /// The scenario.
    pub scenario_id: String,
    /// The world's pack key.
    pub pack_key: String,
    /// The process's exit code.
    pub exit_code: u8,
    /// Why it failed; none if it did not.
    pub failure: Option<FailureNote>,
    /// When the process began, wall clock.
    pub started_at_utc: EventTime,
    /// When it was done, wall clock.
    pub ended_at_utc: EventTime,
    /// A receipt for each output and lane, in the plan's order.
    pub outputs: Vec<OutputReceipt>,
    /// How late each lane sent, for those that had a schedule; this process's alone, so it is in
    /// no receipt.
    #[serde(default)]
    pub lateness: Vec<Lateness>,
}

/// How late a lane's events were sent, from the moment they were due, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lateness {
    /// The output.
    pub output_id: String,
    /// The lane.
    pub lane: Lane,
    /// Events that had a moment to be late by.
    pub events: u64,
    /// Half of the events were at most so late.
    pub p50_us: u64,
    /// 99 of 100 were.
    pub p99_us: u64,
    /// All were.
    pub max_us: u64,
}

impl Lateness {
    /// Of a lane's figures; none if no event had a schedule.
    pub fn of(output_id: &str, lane: Lane, micros: &Histogram<u64>) -> Option<Self> {
        (!micros.is_empty()).then(|| Lateness {
            output_id: output_id.to_owned(),
            lane,
            events: micros.len(),
            p50_us: micros.value_at_quantile(0.5),
            p99_us: micros.value_at_quantile(0.99),
            max_us: micros.max(),
        })
    }
}

impl RunSummary {
    /// Writes it to a file, replacing an earlier one at once. Blocks.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self, "write the summary")
    }
}

impl From<&Failure> for FailureNote {
    fn from(failure: &Failure) -> Self {
        FailureNote {
            reason: failure.reason().to_string(),
            message: failure.message(),
        }
    }
}

fn json<T: Serialize>(object: &str, value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Failure::new(Reason::StreamFailed, object).cause(&error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_json<T: Serialize>(path: &Path, value: &T, action: &str) -> Result<()> {
    let bytes = json(&path.display().to_string(), value)?;
    disk::replace(path, &bytes).map_err(|error| disk::cannot(action, path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::conformance::{cursor, key, progress};
    use std::fs;

    #[test]
    fn a_receipt_is_written_where_its_output_and_lane_say() {
        let dir = tempfile::tempdir().unwrap();
        let mut key = key("receipt");
        for (lane, output, name) in [
            (Lane::WHOLE, "out", "out.json"),
            (Lane { count: 3, index: 2 }, "out", "out.lane-3-2.json"),
            (Lane::WHOLE, "a/../b", "a_.._b.json"),
        ] {
            key.lane = lane;
            key.output_id = output.into();
            let mut done = progress(40);
            for complete in [false, true] {
                done.complete = complete;
                let receipt = OutputReceipt::new(&key, Some(&cursor(0, 39)), &done, None).unwrap();
                let path = receipt.write(dir.path()).unwrap();
                assert_eq!(path, dir.path().join("wsp/receipts").join(name));
                let read: OutputReceipt =
                    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                assert_eq!(read, receipt);
                let outcome = if complete {
                    Outcome::Complete
                } else {
                    Outcome::Incomplete
                };
                assert_eq!(read.outcome, outcome);
                assert_eq!(read.digest, done.digest);
            }
        }
        assert_eq!(
            fs::read_dir(dir.path().join("wsp/receipts"))
                .unwrap()
                .count(),
            3
        );
    }

    #[test]
    fn figures_that_do_not_add_up_give_no_receipt() {
        let key = key("receipt");
        for change in [
            (|p| p.rows += 1) as fn(&mut Progress),
            |p| p.admitted += 1,
            |p| p.duplicate -= 1,
            |p| p.quarantined += 1,
            |p| p.undecided = u64::MAX,
        ] {
            let mut wrong = progress(40);
            change(&mut wrong);
            let failure = OutputReceipt::new(&key, None, &wrong, None).unwrap_err();
            assert!(failure.message().contains("rows"), "{failure}");
        }
    }

    fn late() -> Histogram<u64> {
        let mut micros = Histogram::new(3).unwrap();
        (1..=200).for_each(|late| micros.record(late).unwrap());
        micros
    }

    #[test]
    fn lateness_is_of_events_that_had_a_schedule() {
        let none = Histogram::new(3).unwrap();
        assert_eq!(Lateness::of("out", Lane::WHOLE, &none), None);
        let lateness = Lateness::of("out", Lane::WHOLE, &late()).unwrap();
        assert_eq!((lateness.events, lateness.p50_us), (200, 100));
        assert_eq!((lateness.p99_us, lateness.max_us), (198, 200));
    }

    #[test]
    fn a_failure_is_named_in_receipt_and_summary() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Failure::new(Reason::IgPushRejected, "http://ig").found("403");
        let receipt = OutputReceipt::new(&key("r"), None, &progress(0), Some(&failure)).unwrap();
        assert_eq!(receipt.outcome, Outcome::Failed);
        let summary = RunSummary {
            version: RECEIPT_VERSION,
            platform_run_id: receipt.platform_run_id.clone(),
            scenario_run_id: receipt.scenario_run_id.clone(),
            engine_run_root: "/w".into(),
            scenario_id: "s".into(),
            pack_key: receipt.pack_key.clone(),
            exit_code: failure.exit_code().code(),
            failure: Some((&failure).into()),
            started_at_utc: EventTime::MIN,
            ended_at_utc: EventTime::MAX,
            lateness: vec![Lateness::of(&receipt.output_id, receipt.lane, &late()).unwrap()],
            outputs: vec![receipt],
        };
        let path = dir.path().join("new/summary.json");
        summary.write(&path).unwrap();
        let read: RunSummary = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, summary);
        let note = read.outputs[0].failure.as_ref().unwrap();
        assert_eq!(note.reason, "IG_PUSH_REJECTED");
        assert!(note.message.contains("403"));
        assert!(summary.write(dir.path()).is_err());
    }
}
