//! What became of a message, for good: `<run prefix>/wsp/ready_runs/<message_id>.jsonl`
//! (contracts section 8). Records are only ever added.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use crate::audit::Records;
use crate::checkpoint::{disk, json};
use crate::failure::{Failure, Result};
use crate::store::{Expect, Trouble, s3};
use crate::time::EventTime;

/// How often adding to an object is tried while others add to it, too.
const CONFLICTS: u32 = 100;
/// The pause after a conflict, with a random part of up to the same length.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The world was streamed to its end.
    Streamed,
    /// It is of another platform run than the active one.
    SkippedOutOfScope,
    /// It has its record already; nothing is written.
    SkippedDuplicate,
    /// What must be up is not; nothing is written, and it is tried again.
    DeferredDownstreamNotReady,
    /// It failed, with a reason.
    Failed,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] = [
        Status::Streamed,
        Status::SkippedOutOfScope,
        Status::SkippedDuplicate,
        Status::DeferredDownstreamNotReady,
        Status::Failed,
    ];

    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Streamed => "STREAMED",
            Status::SkippedOutOfScope => "SKIPPED_OUT_OF_SCOPE",
            Status::SkippedDuplicate => "SKIPPED_DUPLICATE",
            Status::DeferredDownstreamNotReady => "DEFERRED_DOWNSTREAM_NOT_READY",
            Status::Failed => "FAILED",
        }
    }

    /// The status that a message with such a record is done with.
    fn is_final(text: &str) -> Option<Status> {
        let all = [Status::Streamed, Status::SkippedOutOfScope];
        all.into_iter().find(|it| text == it.as_str())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record: fields in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Events that were sent; none where it failed before a stream began.
    pub emitted: Option<u64>,
    /// The engine run root, where it was found out.
    pub engine_run_root: Option<String>,
    /// The message.
    pub message_id: String,
    /// Why it failed or was skipped.
    pub reason: Option<Reason>,
    /// SR's run.
    pub run_id: String,
    /// The scenario, where it was found out.
    pub scenario_id: Option<String>,
    /// What became of it.
    pub status: Status,
    /// When this was written, wall clock.
    pub ts_utc: EventTime,
}

impl Record {
    /// The record as a line of its file, with the newline.
    ///
    /// # Errors
    /// `STREAM_FAILED`; none for a record as it is made here.
    pub fn line(&self) -> Result<String> {
        let broken = |error: &dyn std::error::Error| {
            Failure::new(Reason::StreamFailed, relative(&self.message_id)).detail(error.to_string())
        };
        let mut line = json::line(self).map_err(|error| broken(&error))?;
        line.push(b'\n');
        String::from_utf8(line).map_err(|error| broken(&error))
    }
}

/// The records of the messages of one platform run.
#[derive(Debug, Clone)]
pub struct ReadyRuns {
    run: Records,
}

/// What a record's file says of a message, as far as it decides anything.
#[derive(Deserialize)]
struct Seen {
    status: String,
    #[serde(default)]
    ts_utc: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    emitted: Option<u64>,
}

/// What the records of a message say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// What it is done with, if it is.
    pub done: Option<Status>,
    /// How it failed, as often as it did, in the order of the records.
    pub failed: Vec<FailedBefore>,
}

/// A record `FAILED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBefore {
    /// When it was written, wall clock.
    pub at: EventTime,
    /// Why.
    pub reason: Option<Reason>,
    /// Events that were sent; none where it failed before a stream began.
    pub emitted: Option<u64>,
}

impl ReadyRuns {
    /// Those below a run's prefix.
    pub fn of(run: Records) -> ReadyRuns {
        ReadyRuns { run }
    }

    /// Step 1: whether a record `STREAMED` or `SKIPPED_OUT_OF_SCOPE` exists, and which; and how the
    /// message failed before.
    ///
    /// # Errors
    /// `STREAM_FAILED` where the records cannot be read.
    pub async fn look(&self, message_id: &str) -> Result<Recorded> {
        let found = self.run.read(&relative(message_id)).await?;
        Ok(found.map(|bytes| recorded(&bytes)).unwrap_or_default())
    }

    /// Appends a record's line, unless the message is done with already; says whether it is there.
    /// The same bytes are appended once, however often that is tried.
    /// Who races here waits for the other: under a lock of the file, or in S3 by writing the object
    /// only over what was read.
    ///
    /// # Errors
    /// `STREAM_FAILED` where it cannot be written.
    pub async fn append(&self, message_id: &str, line: &[u8]) -> Result<bool> {
        let relative = relative(message_id);
        let (store, base) = match &self.run {
            Records::Folder(folder) => {
                let path = folder.join(&relative);
                let added = append_file(&path, line);
                return added.map_err(|error| disk::cannot("append to", &path, &error));
            }
            Records::Bucket { store, base, .. } => (store, base),
        };
        let at = s3::below(base.clone(), &relative);
        let cannot = |error: &crate::store::StoreError| {
            error.explain(
                Failure::new(Reason::StreamFailed, self.run.name(&relative))
                    .field("append to".to_owned()),
            )
        };
        let mut conflicts = 0;
        loop {
            let found = store.get(&at).await.map_err(|error| cannot(&error))?;
            let old = found.as_ref().map_or(&[][..], |(bytes, _)| &bytes[..]);
            // An attempt of ours may have been taken, and only its answer lost.
            if holds(old, line) {
                return Ok(true);
            }
            if final_of(old).is_some() {
                return Ok(false);
            }
            let mut all = old.to_vec();
            if all.last().is_some_and(|last| *last != b'\n') {
                all.push(b'\n');
            }
            all.extend_from_slice(line);
            let expect = match &found {
                None => Expect::Nothing,
                Some((_, Some(tag))) => Expect::Tag(tag),
                Some((_, None)) => Expect::Anything,
            };
            match store.put(&at, Bytes::from(all), expect).await {
                Ok(_) => return Ok(true),
                Err(error) if error.trouble() == Trouble::Changed && conflicts < CONFLICTS => {
                    conflicts += 1;
                    tokio::time::sleep(PAUSE + PAUSE.mul_f64(crate::gate::random())).await;
                }
                Err(error) => return Err(cannot(&error)),
            }
        }
    }
}

/// The place of a message's records, below the run prefix.
pub fn relative(message_id: &str) -> String {
    format!("wsp/ready_runs/{message_id}.jsonl")
}

/// What one of these lines says that the message is done with.
fn final_of(lines: &[u8]) -> Option<Status> {
    seen(lines).find_map(|seen| Status::is_final(&seen.status))
}

/// What these lines say.
fn recorded(lines: &[u8]) -> Recorded {
    let failed = seen(lines).filter(|it| it.status == Status::Failed.as_str());
    let failed = failed.filter_map(|it| {
        let text = it.reason.unwrap_or_default();
        Some(FailedBefore {
            at: EventTime::parse_rfc3339(&it.ts_utc).ok()?,
            reason: Reason::ALL.iter().copied().find(|it| it.as_str() == text),
            emitted: it.emitted,
        })
    });
    Recorded {
        done: final_of(lines),
        failed: failed.collect(),
    }
}

/// The lines that are records. One that a crash cut off says nothing.
fn seen(lines: &[u8]) -> impl Iterator<Item = Seen> {
    let lines = lines.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

/// Whether this line is among others.
fn holds(lines: &[u8], line: &[u8]) -> bool {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .any(|it| it == line)
}

fn append_file(path: &Path, line: &[u8]) -> io::Result<bool> {
    path.parent().map_or(Ok(()), disk::create_folder)?;
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    // The lock goes with the file, however this ends.
    append_locked(&file, line)
}

fn append_locked(mut file: &File, line: &[u8]) -> io::Result<bool> {
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    if holds(&old, line) {
        return Ok(true);
    }
    if final_of(&old).is_some() {
        return Ok(false);
    }
    // A line that a crash cut off is taken away.
    let whole = old.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(0, |last| last + 1);
    if whole < old.len() {
        file.set_len(whole as u64)?;
    }
    let added = file.write_all(line).and_then(|()| file.sync_data());
    if added.is_err() {
        // The failure that is told is the first one.
        let _ = file.set_len(whole as u64);
    }
    added.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn record(status: Status, n: u64) -> Record {
        Record {
            emitted: Some(n),
            engine_run_root: None,
            message_id: "m".into(),
            reason: None,
            run_id: "r".into(),
            scenario_id: None,
            status,
            ts_utc: EventTime::wall_now(),
        }
    }

    fn both(dir: &Path) -> [ReadyRuns; 2] {
        [
            ReadyRuns::of(Records::Folder(dir.join("run"))),
            ReadyRuns::of(Records::Bucket {
                store: Store::local(Arc::new(InMemory::new())),
                base: object_store::path::Path::from("run"),
                name: "s3://b/run".into(),
            }),
        ]
    }

    async fn append(runs: &ReadyRuns, record: &Record) -> Result<bool> {
        let line = record.line().unwrap();
        runs.append("m", line.as_bytes()).await
    }

    async fn lines(runs: &ReadyRuns) -> Vec<serde_json::Value> {
        let bytes = runs.run.read(&relative("m")).await.unwrap().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let line = |line: &str| serde_json::from_str(line).unwrap();
        text.lines().map(line).collect()
    }

    #[tokio::test]
    async fn a_message_is_done_with_once() {
        let dir = tempfile::tempdir().unwrap();
        for runs in both(dir.path()) {
            assert_eq!(runs.look("m").await.unwrap(), Recorded::default());
            let failed = Record {
                reason: Some(Reason::RunFactsInvalid),
                ..record(Status::Failed, 1)
            };
            assert!(append(&runs, &failed).await.unwrap());
            let expected = Recorded {
                done: None,
                failed: vec![FailedBefore {
                    at: failed.ts_utc,
                    reason: failed.reason,
                    emitted: Some(1),
                }],
            };
            assert_eq!(runs.look("m").await.unwrap(), expected);
            assert!(append(&runs, &record(Status::Streamed, 2)).await.unwrap());
            let expected = Recorded {
                done: Some(Status::Streamed),
                ..expected
            };
            assert_eq!(runs.look("m").await.unwrap(), expected);
            assert!(!append(&runs, &record(Status::Streamed, 3)).await.unwrap());
            let found: Vec<_> = lines(&runs).await;
            let emitted: Vec<_> = found.iter().map(|it| it["emitted"].clone()).collect();
            assert_eq!(emitted, [1, 2]);
            assert_eq!(found[0]["status"], "FAILED");
            // The same bytes come once, and are there.
            let same = record(Status::Failed, 4);
            let again = ReadyRuns {
                run: runs.run.clone(),
            };
            let line = same.line().unwrap();
            assert!(again.append("n", line.as_bytes()).await.unwrap());
            assert!(again.append("n", line.as_bytes()).await.unwrap());
            let bytes = runs.run.read(&relative("n")).await.unwrap().unwrap();
            assert_eq!(bytes, line);
        }
    }

    #[tokio::test]
    async fn what_is_out_of_scope_is_done_with_as_what_was_streamed() {
        for (status, done) in [
            (Status::Streamed, true),
            (Status::SkippedOutOfScope, true),
            (Status::Failed, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for runs in both(dir.path()) {
                assert!(append(&runs, &record(status, 1)).await.unwrap());
                assert_eq!(
                    runs.look("m").await.unwrap().done,
                    done.then_some(status),
                    "{status}"
                );
                let later = append(&runs, &record(Status::Streamed, 2)).await.unwrap();
                assert_eq!(later, !done, "{status}");
            }
        }
    }

    #[tokio::test]
    async fn of_many_who_race_one_appends() {
        let dir = tempfile::tempdir().unwrap();
        for runs in both(dir.path()) {
            let racing = (0..20).map(|n| {
                let runs = runs.clone();
                async move { append(&runs, &record(Status::Streamed, n)).await.unwrap() }
            });
            let appended = futures::future::join_all(racing).await;
            assert_eq!(appended.iter().filter(|it| **it).count(), 1);
            assert_eq!(lines(&runs).await.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_says_nothing_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let [runs, _] = both(dir.path());
        let path = dir.path().join("run").join(relative("m"));
        append(&runs, &record(Status::Failed, 1)).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        let torn = [&whole[..], &br#"{"status": "STREAMED""#[..]].concat();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(runs.look("m").await.unwrap().done, None);
        append(&runs, &record(Status::Streamed, 2)).await.unwrap();
        assert_eq!(lines(&runs).await.len(), 2);
    }

    #[test]
    fn a_status_is_one_text() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
