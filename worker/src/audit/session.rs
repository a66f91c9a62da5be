//! `session.jsonl`: what happened in a run, an object a line, appended by whoever takes part
//! (contracts section 9).

use std::path::Path;

use super::event::Event;
use super::queue::Queue;
use super::records::Records;
use crate::checkpoint::disk;
use crate::checkpoint::lines::Lines;
use crate::failure::{Failure, Result};
use worldstream_crds::Reason;

/// The file's name below the run's root.
pub const SESSION_FILE: &str = "session.jsonl";

/// The log of one run, open to append. Several tasks and processes may have it open: a line is one
/// write, or in S3 part of one.
#[derive(Debug)]
pub struct SessionLog {
    platform_run_id: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(Lines),
    Bucket(Queue),
}

impl SessionLog {
    /// Opens `<run_dir>/session.jsonl`, making what is missing.
    pub fn open(run_dir: &Path, platform_run_id: &str) -> Result<Self> {
        let path = run_dir.join(SESSION_FILE);
        let lines = disk::create_folder(run_dir)
            .and_then(|()| Lines::open(&path))
            .map_err(|error| disk::cannot("open the session log", &path, &error))?;
        Ok(SessionLog {
            platform_run_id: platform_run_id.to_owned(),
            place: Place::File(lines),
        })
    }

    /// Opens the log where a run's records are.
    pub fn on(records: &Records, platform_run_id: &str) -> Result<Self> {
        match records {
            Records::Folder(folder) => Self::open(folder, platform_run_id),
            Records::Bucket { .. } => Ok(SessionLog {
                platform_run_id: platform_run_id.to_owned(),
                place: Place::Bucket(Queue::start(records, SESSION_FILE)?),
            }),
        }
    }

    /// Appends an event, at the wall clock's now: one write to the page cache, not synced. What a
    /// crash left of a last line was taken away when the log was opened. A failure leaves the stream
    /// as it was; whether it goes on is the caller's to say.
    ///
    /// In S3, the line waits in memory for its turn to be written, a second at most while the store
    /// answers; see [`SessionLog::flush`].
    pub fn append(&self, event: &Event) -> Result<()> {
        let mut line = event
            .line(&self.platform_run_id)
            .map_err(|error| Failure::new(Reason::StreamFailed, SESSION_FILE).cause(&error))?;
        line.push(b'\n');
        match &self.place {
            Place::File(lines) => lines
                .append(&line)
                .map_err(|error| disk::cannot("append to the session log", lines.path(), &error)),
            Place::Bucket(queue) => queue.push(&line),
        }
    }

    /// Waits until everything that was appended is where it belongs.
    pub async fn flush(&self) -> Result<()> {
        match &self.place {
            Place::File(_) => Ok(()),
            Place::Bucket(queue) => queue.flush().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{FlushReason, StreamedWorld};
    use crate::checkpoint::{CheckpointKey, Cursor};
    use crate::plan::Lane;
    use crate::time::EventTime;
    use serde_json::Value;
    use std::fs;

    const RUN: &str = "platform_20260101T000000Z";

    fn lines(dir: &Path) -> Vec<String> {
        fs::read_to_string(dir.join(SESSION_FILE))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn events_are_the_references() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/golden/ready/session_events.json"
        );
        let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let text =
            |kind: &str, field: &str| golden[kind]["details"][field].as_str().unwrap().to_owned();
        let pack_key = text("checkpoint_saved", "pack_key_base");
        let scenario_run_id = text("checkpoint_saved", "scenario_run_id");
        let world = StreamedWorld {
            root: "$WORLD".into(),
            scenario_id: "baseline_v1".into(),
            context: vec!["arrival_events_5B".into()],
            traffic: vec!["s3_event_stream_with_fraud_6B".into()],
        };
        let key = CheckpointKey {
            pack_key: pack_key.clone(),
            platform_run_id: RUN.into(),
            scenario_run_id: scenario_run_id.clone(),
            lane: Lane::WHOLE,
            attempt: String::new(),
            output_id: "arrival_events_5B".into(),
        };
        let cursor = Cursor {
            last_file: "$WORLD/stream_view/ts_utc/output_id=arrival_events_5B/part-000000.parquet"
                .into(),
            last_row_index: 49,
            last_ts_utc: Some("2026-01-01T00:03:58.008284Z".into()),
        };
        let events = [
            Event::ready_received(&text("ready_received", "message_id"), &scenario_run_id),
            Event::world_selected("$WORLD"),
            Event::stream_start(&world, &pack_key, "svc:world_stream_producer"),
            Event::checkpoint_saved(&key, &cursor, FlushReason::PeriodicFlush),
            Event::world_streamed(&world, 240),
            Event::stream_complete("$WORLD", 240, None),
        ];
        assert_eq!(golden.as_object().unwrap().len(), events.len());
        let dir = tempfile::tempdir().unwrap();
        let log = SessionLog::open(&dir.path().join("runs/x"), RUN).unwrap();
        for event in &events {
            log.append(event).unwrap();
        }
        let lines = lines(&dir.path().join("runs/x"));
        assert_eq!(lines.len(), events.len());
        for line in lines {
            let mut line: Value = serde_json::from_str(&line).unwrap();
            let time = line["ts_utc"].as_str().unwrap().to_owned();
            let parsed = EventTime::parse_rfc3339(&time).unwrap();
            assert_eq!(parsed.to_string(), time, "canonical");
            line["ts_utc"] = "*".into();
            let kind = line["event_kind"].as_str().unwrap();
            assert_eq!(line, golden[kind]);
        }
    }

    #[test]
    fn an_attempt_and_a_failure_are_said() {
        let key = CheckpointKey {
            pack_key: "p".into(),
            platform_run_id: RUN.into(),
            scenario_run_id: "s".into(),
            lane: Lane { count: 4, index: 3 },
            attempt: "rerun-2".into(),
            output_id: "o".into(),
        };
        let cursor = Cursor {
            last_file: "wörld".into(),
            last_row_index: 0,
            last_ts_utc: None,
        };
        let failure = Failure::new(Reason::IgPushRejected, "http://ig");
        let dir = tempfile::tempdir().unwrap();
        let log = SessionLog::open(dir.path(), RUN).unwrap();
        for event in [
            Event::checkpoint_saved(&key, &cursor, FlushReason::OutputComplete),
            Event::stream_complete("w", 3, Some(&failure)),
            Event::validation_start("w"),
            Event::validation_complete("w", None),
            Event::validation_complete("w", Some(&failure)),
        ] {
            log.append(&event).unwrap();
        }
        let read: Vec<Value> = lines(dir.path())
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let details = &read[0]["details"];
        assert_eq!(details["checkpoint_attempt_id"], "rerun-2");
        assert_eq!(details["reason"], "output_complete");
        assert_eq!(details["last_ts_utc"], Value::Null);
        assert_eq!(details["pack_key"], key.scope_key());
        assert_eq!(read[1]["details"]["status"], "FAILED");
        assert_eq!(read[1]["details"]["reason"], "IG_PUSH_REJECTED");
        assert_eq!(read[2]["event_kind"], "validation_start");
        assert_eq!(read[3]["details"]["reason"], Value::Null);
        assert_eq!(read[4]["details"]["reason"], "IG_PUSH_REJECTED");
    }

    #[test]
    fn a_torn_last_line_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SESSION_FILE), "{\"component\": \"ws").unwrap();
        let log = SessionLog::open(dir.path(), RUN).unwrap();
        log.append(&Event::world_selected("w")).unwrap();
        log.append(&Event::world_selected("v")).unwrap();
        let lines = lines(dir.path());
        assert_eq!(lines.len(), 2);
        for line in &lines {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }

    #[test]
    fn writers_do_not_mix_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                // A log of its own each, as processes have.
                let log = SessionLog::open(dir.path(), RUN).unwrap();
                scope.spawn(move || {
                    for _ in 0..250 {
                        let root = format!("{writer}").repeat(300);
                        log.append(&Event::world_selected(&root)).unwrap();
                    }
                });
            }
        });
        let lines = lines(dir.path());
        assert_eq!(lines.len(), 1_000);
        for line in lines {
            let line: Value = serde_json::from_str(&line).unwrap();
            let root = line["details"]["engine_run_root"].as_str().unwrap();
            assert_eq!(root.len(), 300);
            assert!(root.bytes().all(|b| b == root.as_bytes()[0]));
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let failure = SessionLog::open(&dir.path().join("file/below"), RUN).unwrap_err();
        assert!(failure.message().contains("session log"), "{failure}");
        fs::create_dir(dir.path().join(SESSION_FILE)).unwrap();
        let failure = SessionLog::open(dir.path(), RUN).unwrap_err();
        assert!(failure.message().contains(SESSION_FILE), "{failure}");
        // A device that is always full.
        let full = SessionLog {
            platform_run_id: RUN.into(),
            place: Place::File(Lines::open(Path::new("/dev/full")).unwrap()),
        };
        let failure = full.append(&Event::world_selected("w")).unwrap_err();
        assert_eq!(failure.exit_code(), worldstream_crds::ExitCode::Unavailable);
    }
}
