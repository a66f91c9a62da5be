//! Lines on their way to a record in S3: kept in memory until they are there, so that nobody waits
//! for a store who only has something to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::warn;
use worldstream_crds::{ExitCode, Reason};

use super::records::Records;
use crate::failure::{Failure, Result};

/// The pause between two writes: what is said meanwhile is written together.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes that wait at most: an hour of a busy stream.
const WAITING: usize = 8 << 20;

/// A record's lines that are not there yet. Dropped, it gives up what waits.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    writing: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    records: Records,
    relative: String,
    waiting: Mutex<Waiting>,
    /// One write at a time, so that lines stay in order.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// These were tried, and may have come.
    doubtful: Vec<u8>,
}

impl Queue {
    /// Begins to write what is pushed, to a record in S3. A record in a folder needs no queue.
    pub fn start(records: &Records, relative: &str) -> Result<Queue> {
        let io = match records {
            Records::Bucket { store, .. } => store.io().cloned(),
            Records::Folder(_) => None,
        };
        let io = io.ok_or_else(|| {
            Failure::new(Reason::StreamFailed, records.name(relative))
                .expected("a record in a remote store")
        })?;
        let shared = Arc::new(Shared {
            records: records.clone(),
            relative: relative.to_owned(),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        });
        let writing = io.spawn(write(shared.clone())).abort_handle();
        Ok(Queue { shared, writing })
    }

    /// Adds a line, its newline included.
    ///
    /// # Errors
    /// `STREAM_FAILED` when too much waits already.
    pub fn push(&self, line: &[u8]) -> Result<()> {
        let mut waiting = self.shared.waiting();
        if waiting.lines.len() + waiting.doubtful.len() + line.len() > WAITING {
            let name = self.shared.records.name(&self.shared.relative);
            return Err(Failure::new(Reason::StreamFailed, name)
                .found(format!(
                    "{} bytes that wait to be written",
                    waiting.lines.len()
                ))
                .expected(format!("at most {WAITING}"))
                .exits(ExitCode::Unavailable));
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Writes what waits, now, and waits for it.
    pub async fn flush(&self) -> Result<()> {
        self.shared.drain().await
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

async fn write(shared: Arc<Shared>) {
    loop {
        shared.wake.notified().await;
        if let Err(failure) = shared.drain().await {
            warn!(%failure, "records could not be written, trying again");
            shared.wake.notify_one();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Shared {
    async fn drain(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        // What may have come goes by itself, so that it can be told whether it has.
        for doubtful in [true, false] {
            let lines = {
                let mut waiting = self.waiting();
                if !doubtful {
                    // Should this be given up half way, it is not lost.
                    waiting.doubtful = std::mem::take(&mut waiting.lines);
                }
                waiting.doubtful.clone()
            };
            if lines.is_empty() {
                continue;
            }
            self.records
                .append(&self.relative, &lines, doubtful)
                .await?;
            self.waiting().doubtful.clear();
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done where a panic could happen.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
