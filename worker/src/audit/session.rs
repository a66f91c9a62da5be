//! `session.jsonl`: what happened in a run, an object a line, appended by whoever takes part
//! (contracts section 9).

use std::path::Path;

use serde::Serialize;

use super::queue::Queue;
use super::records::Records;
use crate::checkpoint::lines::Lines;
use crate::checkpoint::{CheckpointKey, Cursor, disk, json};
use crate::failure::{Failure, Result};
use crate::time::EventTime;
use worldstream_crds::Reason;

/// The file's name below the run's root.
pub const SESSION_FILE: &str = "session.jsonl";

/// Why a cursor was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushReason {
    /// Enough events or time since the last save.
    PeriodicFlush,
    /// The end of a part.
    FileComplete,
    /// The last row of the output (or of the range) was taken.
    OutputComplete,
    /// The cap of events was reached.
    MaxEvents,
    /// The stream is stopping: interrupted, or failed.
    Stopping,
}

/// One event, its details as the reference writes them: fields in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The world was found.
    EngineWorldSelected(WorldSelected),
    /// All checks hold and sending begins.
    StreamStart(StreamStart),
    /// A cursor is durable.
    CheckpointSaved(CheckpointSaved),
    /// All outputs are at their end.
    EngineWorldStreamed(WorldStreamed),
    /// The stream is over.
    StreamComplete(StreamComplete),
    /// A READY message was read.
    ReadyReceived(ReadyReceived),
    /// A world is being checked without being streamed.
    ValidationStart(ValidationStart),
    /// That check is over.
    ValidationComplete(ValidationComplete),
}

/// See [`Event::EngineWorldSelected`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorldSelected {
    engine_run_root: String,
}

/// See [`Event::StreamStart`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamStart {
    context_output_ids: Vec<String>,
    engine_run_root: String,
    output_ids: Vec<String>,
    pack_key: String,
    producer_id: String,
    scenario_id: String,
    stream_mode: &'static str,
    traffic_output_ids: Vec<String>,
}

/// See [`Event::CheckpointSaved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointSaved {
    checkpoint_attempt_id: Option<String>,
    last_file: String,
    last_row_index: u64,
    last_ts_utc: Option<String>,
    output_id: String,
    pack_key: String,
    pack_key_base: String,
    platform_run_id: String,
    reason: FlushReason,
    scenario_run_id: String,
}

/// See [`Event::EngineWorldStreamed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorldStreamed {
    context_output_ids: Vec<String>,
    emitted: u64,
    engine_run_root: String,
    output_ids: Vec<String>,
    scenario_id: String,
    traffic_output_ids: Vec<String>,
}

/// See [`Event::StreamComplete`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamComplete {
    emitted: u64,
    engine_run_root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    status: &'static str,
}

/// See [`Event::ReadyReceived`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadyReceived {
    message_id: String,
    run_id: String,
}

/// See [`Event::ValidationStart`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidationStart {
    engine_run_root: String,
}

/// See [`Event::ValidationComplete`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidationComplete {
    engine_run_root: String,
    reason: Option<String>,
    status: &'static str,
}

/// What is streamed, as several events say it. `root` is the resolved root's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedWorld {
    /// The resolved root.
    pub root: String,
    /// The scenario.
    pub scenario_id: String,
    /// Context outputs, in the plan's order.
    pub context: Vec<String>,
    /// Traffic outputs, in the plan's order.
    pub traffic: Vec<String>,
}

impl StreamedWorld {
    fn outputs(&self) -> Vec<String> {
        self.context.iter().chain(&self.traffic).cloned().collect()
    }
}

impl Event {
    /// The world was found below this resolved root.
    pub fn world_selected(root: &str) -> Self {
        Event::EngineWorldSelected(WorldSelected {
            engine_run_root: root.to_owned(),
        })
    }

    /// Sending begins. `pack_key` is the world's, not the scope key.
    pub fn stream_start(world: &StreamedWorld, pack_key: &str, producer_id: &str) -> Self {
        Event::StreamStart(StreamStart {
            context_output_ids: world.context.clone(),
            engine_run_root: world.root.clone(),
            output_ids: world.outputs(),
            pack_key: pack_key.to_owned(),
            producer_id: producer_id.to_owned(),
            scenario_id: world.scenario_id.clone(),
            stream_mode: "stream_view",
            traffic_output_ids: world.traffic.clone(),
        })
    }

    /// A cursor was saved.
    pub fn checkpoint_saved(key: &CheckpointKey, cursor: &Cursor, reason: FlushReason) -> Self {
        Event::CheckpointSaved(CheckpointSaved {
            checkpoint_attempt_id: Some(key.attempt.clone()).filter(|id| !id.is_empty()),
            last_file: cursor.last_file.clone(),
            last_row_index: cursor.last_row_index,
            last_ts_utc: cursor.last_ts_utc.clone(),
            output_id: key.output_id.clone(),
            pack_key: key.scope_key(),
            pack_key_base: key.pack_key.clone(),
            platform_run_id: key.platform_run_id.clone(),
            reason,
            scenario_run_id: key.scenario_run_id.clone(),
        })
    }

    /// All outputs are at their end, after `emitted` events of this process.
    pub fn world_streamed(world: &StreamedWorld, emitted: u64) -> Self {
        Event::EngineWorldStreamed(WorldStreamed {
            context_output_ids: world.context.clone(),
            emitted,
            engine_run_root: world.root.clone(),
            output_ids: world.outputs(),
            scenario_id: world.scenario_id.clone(),
            traffic_output_ids: world.traffic.clone(),
        })
    }

    /// The stream is over: `STREAMED`, or `FAILED` with the reason's code.
    pub fn stream_complete(root: &str, emitted: u64, failure: Option<&Failure>) -> Self {
        Event::StreamComplete(StreamComplete {
            emitted,
            engine_run_root: root.to_owned(),
            reason: failure.map(|failure| failure.reason().to_string()),
            status: if failure.is_some() {
                "FAILED"
            } else {
                "STREAMED"
            },
        })
    }

    /// A READY message with SR's run id.
    pub fn ready_received(message_id: &str, run_id: &str) -> Self {
        Event::ReadyReceived(ReadyReceived {
            message_id: message_id.to_owned(),
            run_id: run_id.to_owned(),
        })
    }

    /// A world is being checked.
    pub fn validation_start(root: &str) -> Self {
        Event::ValidationStart(ValidationStart {
            engine_run_root: root.to_owned(),
        })
    }

    /// That check is over: `OK`, or `FAILED` with the reason's code.
    pub fn validation_complete(root: &str, failure: Option<&Failure>) -> Self {
        Event::ValidationComplete(ValidationComplete {
            engine_run_root: root.to_owned(),
            reason: failure.map(|failure| failure.reason().to_string()),
            status: if failure.is_some() { "FAILED" } else { "OK" },
        })
    }

    fn line(&self, platform_run_id: &str) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a, D> {
            component: &'static str,
            details: &'a D,
            event_kind: &'static str,
            platform_run_id: &'a str,
            ts_utc: EventTime,
        }
        fn line<D: Serialize>(
            kind: &'static str,
            run: &str,
            details: &D,
        ) -> Result<Vec<u8>, serde_json::Error> {
            json::line(&Line {
                component: "wsp",
                details,
                event_kind: kind,
                platform_run_id: run,
                ts_utc: EventTime::wall_now(),
            })
        }
        let run = platform_run_id;
        match self {
            Event::EngineWorldSelected(details) => line("engine_world_selected", run, details),
            Event::StreamStart(details) => line("stream_start", run, details),
            Event::CheckpointSaved(details) => line("checkpoint_saved", run, details),
            Event::EngineWorldStreamed(details) => line("engine_world_streamed", run, details),
            Event::StreamComplete(details) => line("stream_complete", run, details),
            Event::ReadyReceived(details) => line("ready_received", run, details),
            Event::ValidationStart(details) => line("validation_start", run, details),
            Event::ValidationComplete(details) => line("validation_complete", run, details),
        }
    }
}

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

    /// Appends an event, at the wall clock's now: one write to the page cache, not synced. A last
    /// line that a crash left without its newline is ended first. A failure leaves the stream as
    /// it was; whether it goes on is the caller's to say.
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
    use crate::plan::Lane;
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
    fn a_torn_last_line_is_ended_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SESSION_FILE), "{\"component\": \"ws").unwrap();
        let log = SessionLog::open(dir.path(), RUN).unwrap();
        log.append(&Event::world_selected("w")).unwrap();
        log.append(&Event::world_selected("v")).unwrap();
        let lines = lines(dir.path());
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "{\"component\": \"ws");
        for line in &lines[1..] {
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
