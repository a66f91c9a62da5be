//! What may happen in a run, in the words of its session log (contracts section 9).

use serde::Serialize;

use crate::checkpoint::{CheckpointKey, Cursor, json};
use crate::failure::Failure;
use crate::time::EventTime;

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

    /// The event as a line of the log, without the newline, at the wall clock's now.
    pub(super) fn line(&self, platform_run_id: &str) -> serde_json::Result<Vec<u8>> {
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
        ) -> serde_json::Result<Vec<u8>> {
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
