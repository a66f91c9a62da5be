//! A lease on a checkpoint's rows: saves under its epoch, renewed by a heartbeat where nothing is
//! saved, given up at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::AbortHandle;
use worldstream_crds::Reason;

use super::LARGEST_ROW;
use super::link::{Line, Link};
use super::rows::{self, Place, Save, Saved};
use crate::checkpoint::hold::Hold;
use crate::checkpoint::holder::Holder;
use crate::checkpoint::{Checkpoint, Lease, order};
use crate::clock::{Mono, Monotonic};
use crate::failure::{Failure, Result};

/// The shortest wait between two tries of a renewal that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// The log hears of the first of them, and then at most this often.
const WORDS: Duration = Duration::from_secs(10);

/// What saving and renewing share.
struct Held {
    place: Place,
    holder: Arc<Holder>,
    epoch: i64,
    term: Duration,
    hold: Arc<Hold>,
}

/// A checkpoint that this process holds.
pub(super) struct PostgresLease {
    link: Arc<Link>,
    held: Arc<Held>,
    loaded: Checkpoint,
    /// What is committed for certain.
    current: Checkpoint,
    sequence: i64,
    heartbeat: AbortHandle,
    given_up: bool,
}

impl PostgresLease {
    pub fn new(
        link: Arc<Link>,
        place: Place,
        holder: Arc<Holder>,
        epoch: i64,
        term: Duration,
        until: Mono,
        loaded: Checkpoint,
    ) -> Self {
        if let Some(cursor) = &loaded.cursor
            && loaded.progress.is_none()
        {
            tracing::warn!(
                output = place.output_id,
                file = cursor.last_file,
                row = cursor.last_row_index,
                "no figures belong to this cursor, another producer left it: counting begins after it"
            );
        }
        let held = Arc::new(Held {
            place,
            holder,
            epoch,
            term,
            hold: Hold::until(until),
        });
        let heartbeat = link.keep(beat(link.line().clone(), held.clone()));
        PostgresLease {
            link,
            held,
            current: loaded.clone(),
            loaded,
            sequence: 0,
            heartbeat,
            given_up: false,
        }
    }

    /// Which rows, and under which epoch.
    pub fn rows(&self) -> (&Place, i64) {
        (&self.held.place, self.held.epoch)
    }

    fn check(&self, next: &Checkpoint) -> Result<()> {
        let name = self.held.place.name(self.link.line());
        order::forward(&name, &self.current, next)?;
        match &next.cursor {
            Some(cursor) if cursor.last_row_index > LARGEST_ROW => {
                Err(Failure::new(Reason::StreamFailed, name)
                    .field("last_row_index")
                    .found(cursor.last_row_index.to_string())
                    .expected(format!(
                        "at most {LARGEST_ROW}, what the column of the reference's table can hold"
                    )))
            }
            _ => Ok(()),
        }
    }

    /// Ends the lease on the server, once.
    fn give_up(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.heartbeat.abort();
        if std::mem::replace(&mut self.given_up, true) || self.held.hold.lost().is_some() {
            return None;
        }
        let (line, held) = (self.link.line().clone(), self.held.clone());
        Some(async move {
            if let Err(trouble) = rows::release(&line, &held.place, held.epoch).await {
                let failure = trouble.failure(&held.place.name(&line), "give the lease up");
                tracing::warn!(%failure, "the lease ends by itself");
            }
        })
    }
}

/// Renews the lease whenever a third of its term has passed without a save.
async fn beat(line: Arc<Line>, held: Arc<Held>) {
    let mut said: Option<Instant> = None;
    loop {
        let due = held.hold.end() - held.term * 2 / 3;
        let wait = due.since(Mono::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            continue;
        }
        let until = Mono::now() + held.term;
        let term = held.term.as_secs_f64();
        match rows::renew(&line, &held.place, held.epoch, term).await {
            Ok(true) => {
                held.hold.extend(until);
                said = None;
            }
            Ok(false) => return held.hold.lose(lost(&line, &held).await),
            Err(trouble) => {
                if said.is_none_or(|said| said.elapsed() >= WORDS) {
                    let failure = trouble.failure(&held.place.name(&line), "renew the lease");
                    tracing::warn!(%failure, "trying on");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(AGAIN.max(held.term / 20)).await;
            }
        }
    }
}

/// The failure of a lease that is another's by now.
async fn lost(line: &Line, held: &Held) -> Failure {
    let object = held.place.name(line);
    let failure = match rows::standing(line, &held.place).await {
        Ok(Some(standing)) => standing.conflict(object),
        _ => Failure::new(Reason::CheckpointConflict, object)
            .found("another holder, or none")
            .expected("this process"),
    };
    failure.detail(format!("this process held epoch {}", held.epoch))
}

impl Lease for PostgresLease {
    fn loaded(&self) -> &Checkpoint {
        &self.loaded
    }

    fn hold(&self) -> Arc<Hold> {
        self.held.hold.clone()
    }

    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        async move {
            if let Some(failure) = self.held.hold.lost() {
                return Err(failure);
            }
            self.check(checkpoint)?;
            self.sequence += 1;
            let (line, held) = (self.link.line().clone(), self.held.clone());
            let (next, known) = (checkpoint.clone(), self.current.cursor.clone());
            let sequence = self.sequence;
            let saving = async move { save(&line, &held, sequence, &next, known.as_ref()).await };
            self.link.run(saving).await?;
            self.current = checkpoint.clone();
            Ok(())
        }
        .boxed()
    }

    fn release<'a>(mut self: Box<Self>) -> BoxFuture<'a, ()> {
        async move {
            if let Some(last) = self.give_up() {
                let running = self.link.run(async move {
                    last.await;
                    Ok(())
                });
                // The server may be away; the lease ends by itself then.
                let _ = tokio::time::timeout(Duration::from_secs(2), running).await;
            }
        }
        .boxed()
    }
}

impl Drop for PostgresLease {
    fn drop(&mut self) {
        if let Some(last) = self.give_up() {
            self.link.farewell(last);
        }
    }
}

async fn save(
    line: &Line,
    held: &Held,
    sequence: i64,
    next: &Checkpoint,
    known: Option<&crate::checkpoint::Cursor>,
) -> Result<()> {
    let until = Mono::now() + held.term;
    let saved = rows::save(
        line,
        Save {
            place: &held.place,
            epoch: held.epoch,
            sequence,
            term: held.term.as_secs_f64(),
            holder: &held.holder.name,
            checkpoint: next,
            known,
        },
    )
    .await
    .map_err(|trouble| trouble.failure(&held.place.name(line), "save it"))?;
    match saved {
        Saved::Yes => {
            held.hold.extend(until);
            Ok(())
        }
        Saved::Lost => {
            let failure = lost(line, held).await;
            held.hold.lose(failure.clone());
            Err(failure)
        }
        Saved::Moved => {
            let there = rows::load(line, &held.place).await?.checkpoint.cursor;
            let failure = Failure::new(Reason::CheckpointConflict, held.place.name(line))
                .found(order::describe(there.as_ref()))
                .expected(order::describe(known))
                .detail("another producer moved the cursor while this one held it");
            held.hold.lose(failure.clone());
            Err(failure)
        }
    }
}
