//! Checkpoints in the status of StreamCheckpoints, one object for each output, lane and attempt:
//! where a cluster has no other store. A cursor and the figures that belong to it are one write,
//! with the report that goes out anyway; a write of an older epoch is refused.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream_crds::{CursorStatus, Reason, StreamCheckpointStatus};

use super::order::forward;
use super::{Capabilities, Checkpoint, CheckpointKey, CheckpointStore, Cursor, Lease, Progress};
use crate::cluster::record::Record;
use crate::failure::{Failure, Result};

/// Saves are at least so far apart.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// And at most, however slow the API server is.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);
/// A save that takes a fiftieth of this long is followed by such an interval: where many workers
/// save and writes take longer, all of them save less often.
const SHARE: u32 = 50;

/// The store over a StreamCheckpoint that this process holds.
pub struct KubernetesStore {
    record: Record,
}

impl KubernetesStore {
    /// The store of one output, lane and attempt.
    pub fn of(record: Record) -> Self {
        KubernetesStore { record }
    }

    /// A StreamCheckpoint is of one stream's output, lane and attempt: no other may use it.
    fn belongs(&self, key: &CheckpointKey) -> Result<()> {
        let spec = self.record.spec();
        let fields = [
            ("output", spec.output.clone(), key.output_id.clone()),
            ("lane", spec.lane.to_string(), key.lane.index.to_string()),
            ("lanes", spec.lanes.to_string(), key.lane.count.to_string()),
            ("attempt", spec.attempt.clone(), key.attempt.clone()),
            (
                "platformRunId",
                spec.platform_run_id.clone(),
                key.platform_run_id.clone(),
            ),
        ];
        for (field, found, expected) in fields {
            if found != expected {
                return Err(
                    Failure::new(Reason::CheckpointUnreadable, self.record.object())
                        .field(field)
                        .found(format!("{found:?}"))
                        .expected(format!("{expected:?}"))
                        .detail("it is another stream's"),
                );
            }
        }
        Ok(())
    }
}

impl CheckpointStore for KubernetesStore {
    /// Every write names the resource version that it was made for, so that the API server refuses
    /// one of a holder that was followed by another.
    fn capabilities(&self) -> Capabilities {
        Capabilities { fences: true }
    }

    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>> {
        async move {
            let loaded = self.peek(key).await?;
            Ok(Box::new(KubernetesLease {
                record: self.record.clone(),
                loaded: loaded.clone(),
                current: loaded,
                interval: SHORTEST_INTERVAL,
                saved: None,
            }) as Box<dyn Lease>)
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>> {
        async move {
            self.belongs(key)?;
            checkpoint_of(&self.record.object(), &self.record.status().await)
        }
        .boxed()
    }
}

/// What a status says of the cursor.
///
/// Errors: `CHECKPOINT_UNREADABLE` for figures that are none. `object` is for the message.
pub fn checkpoint_of(object: &str, status: &StreamCheckpointStatus) -> Result<Checkpoint> {
    let progress = match &status.progress {
        None => None,
        Some(text) => Some(serde_json::from_str::<Progress>(text).map_err(|error| {
            Failure::new(Reason::CheckpointUnreadable, object)
                .field("status.progress")
                .found(text.clone())
                .cause(&error)
        })?),
    };
    Ok(Checkpoint {
        cursor: status.cursor.as_ref().map(|cursor| Cursor {
            last_file: cursor.last_file.clone(),
            last_row_index: cursor.last_row_index,
            last_ts_utc: cursor.last_ts_utc.clone(),
        }),
        progress,
    })
}

/// A cursor as a status has it.
pub fn cursor_status(cursor: &Cursor) -> CursorStatus {
    CursorStatus {
        last_file: cursor.last_file.clone(),
        last_row_index: cursor.last_row_index,
        last_ts_utc: cursor.last_ts_utc.clone(),
    }
}

struct KubernetesLease {
    record: Record,
    loaded: Checkpoint,
    current: Checkpoint,
    interval: Duration,
    saved: Option<Instant>,
}

impl Lease for KubernetesLease {
    fn loaded(&self) -> &Checkpoint {
        &self.loaded
    }

    fn ready(&mut self) -> BoxFuture<'_, ()> {
        let next = self.saved.map(|saved| saved + self.interval);
        async move {
            if let Some(next) = next {
                tokio::time::sleep_until(next.into()).await;
            }
        }
        .boxed()
    }

    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        async move {
            forward(&self.record.object(), &self.current, checkpoint)?;
            let cursor = checkpoint.cursor.as_ref().map(cursor_status);
            let progress = checkpoint
                .progress
                .as_ref()
                .map(serde_json::to_string)
                .transpose();
            let progress = progress.map_err(|error| {
                Failure::new(Reason::StreamFailed, self.record.object()).cause(&error)
            })?;
            let began = Instant::now();
            self.record
                .write(|status| {
                    status.cursor = cursor.clone();
                    status.progress = progress.clone();
                })
                .await?;
            self.current = checkpoint.clone();
            self.saved = Some(began);
            self.interval = interval(self.interval, began.elapsed());
            Ok(())
        }
        .boxed()
    }
}

/// How far apart saves are after one that took so long.
fn interval(before: Duration, took: Duration) -> Duration {
    let wanted = took * SHARE;
    ((before * 3 + wanted) / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saves_are_further_apart_where_they_take_longer() {
        let millis = Duration::from_millis;
        let settle = |took| (0..40).fold(SHORTEST_INTERVAL, |it, _| interval(it, took));
        assert_eq!(settle(millis(3)), SHORTEST_INTERVAL);
        let slow = settle(millis(100));
        assert!(slow > millis(4_900) && slow <= millis(5_000), "{slow:?}");
        assert_eq!(settle(Duration::from_secs(9)), LONGEST_INTERVAL);
    }

    #[test]
    fn figures_that_are_none_are_named() {
        let status = StreamCheckpointStatus {
            progress: Some("{\"rows\":".into()),
            ..StreamCheckpointStatus::default()
        };
        let failure = checkpoint_of("StreamCheckpoint x", &status).unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointUnreadable);
        assert!(failure.message().contains("status.progress"), "{failure}");
    }
}
