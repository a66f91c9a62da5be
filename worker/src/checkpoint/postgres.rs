//! Checkpoints in Postgres (contracts section 7): the reference's table `wsp_checkpoint` with our
//! figures in columns beside its own, and `wsp_checkpoint_lease` with who holds what.
//!
//! A lease has an epoch, which taking it raises, and a term by the server's clock, which saving
//! and a heartbeat renew. A save is one statement that counts only under its epoch: a holder that
//! was frozen or cut off and has been replaced cannot write any more, and finds out at once. The
//! reference knows nothing of leases; a cursor that it moved is noticed, and is a conflict while
//! the checkpoint is held.

mod dsn;
mod lease;
mod link;
mod rows;
mod schema;
mod survey;
mod trouble;

pub use schema::Migrated;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use self::lease::PostgresLease;
use self::link::{Line, Link};
use self::rows::{Place, Standing, Take};
use super::holder::Holder;
use super::{Capabilities, Checkpoint, CheckpointKey, CheckpointStore, Lease};
use crate::clock::{Mono, Monotonic};
use crate::failure::Result;
use crate::plan::PostgresPlan;

/// What the column `last_row_index` of the reference's table can hold.
const LARGEST_ROW: u64 = i32::MAX as u64;

/// How long is waited between two looks at a lease that another holds.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LATER_LOOKS: Duration = Duration::from_millis(250);

/// The Postgres backend: one connection for all that one process holds.
pub struct PostgresStore {
    plan: PostgresPlan,
    holder: Arc<Holder>,
    link: Mutex<Option<Arc<Link>>>,
    migrated: Arc<AtomicBool>,
}

impl PostgresStore {
    /// A store that is connected to when it is first used.
    pub fn new(plan: PostgresPlan, holder: Holder) -> Self {
        PostgresStore {
            plan,
            holder: Arc::new(holder),
            link: Mutex::new(None),
            migrated: Arc::new(AtomicBool::new(false)),
        }
    }

    fn link(&self) -> Result<Arc<Link>> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = link.as_ref() {
            return Ok(link.clone());
        }
        Ok(link
            .insert(Arc::new(Link::start(self.plan.clone())?))
            .clone())
    }

    /// Runs work on the connection.
    async fn on_line<T, W>(&self, work: impl FnOnce(Arc<Line>) -> W + Send) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let link = self.link()?;
        link.run(work(link.line().clone())).await
    }

    /// Makes the tables and columns that are missing, if any are.
    pub async fn migrate(&self) -> Result<Migrated> {
        self.on_line(|line| async move { schema::migrate(&line).await })
            .await
    }

    async fn take_lease(&self, place: Place, patience: Patience) -> Result<PostgresLease> {
        let link = self.link()?;
        let line = link.line().clone();
        let (holder, migrated) = (self.holder.clone(), self.migrated.clone());
        let term = self.plan.lease_term;
        let taking = async move {
            if !migrated.load(Ordering::Acquire) {
                schema::migrate(&line).await?;
                schema::check_rights(&line).await?;
                migrated.store(true, Ordering::Release);
            }
            let (epoch, until) = acquire(&line, &place, &holder, term, patience).await?;
            let loaded = match rows::load(&line, &place).await {
                Ok(loaded) => loaded,
                Err(failure) => {
                    // Nobody will stream under it.
                    let _ = rows::release(&line, &place, epoch).await;
                    return Err(failure);
                }
            };
            Ok((place, epoch, until, loaded.checkpoint))
        };
        let (place, epoch, until, loaded) = link.run(taking).await?;
        let holder = self.holder.clone();
        Ok(PostgresLease::new(
            link, place, holder, epoch, term, until, loaded,
        ))
    }
}

/// What is done about a lease that another holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// A holder that crashed cannot give its lease up: it is waited until the lease has ended, or
    /// has been renewed, which a crashed holder does not.
    UntilItEnds,
    /// It is a conflict at once.
    None,
}

async fn acquire(
    line: &Line,
    place: &Place,
    holder: &Holder,
    term: Duration,
    patience: Patience,
) -> Result<(i64, Mono)> {
    let began = Instant::now();
    let mut first: Option<Standing> = None;
    let mut pause = FIRST_LOOK;
    loop {
        let until = Mono::now() + term;
        let taken = rows::take(line, place, holder, term.as_secs_f64())
            .await
            .map_err(|trouble| trouble.failure(&place.name(line), "take it"))?;
        let held = match taken {
            Take::Taken(epoch) => return Ok((epoch, until)),
            Take::Held(held) => held,
        };
        let alive = first.as_ref().is_some_and(|first| {
            (first.epoch, &first.expires_at) != (held.epoch, &held.expires_at)
                // It was given up, and somebody else was quicker.
                && held.remaining > 0.0
        });
        let waited = began.elapsed() > term + Duration::from_secs(1);
        if alive || waited || patience == Patience::None {
            return Err(held.conflict(place.name(line)));
        }
        if first.is_none() {
            tracing::warn!(
                output = place.output_id,
                holder = held.holder,
                expires_at = held.expires_at,
                "another holds the checkpoint; waiting to see whether its lease ends or is renewed"
            );
            first = Some(held);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATER_LOOKS);
    }
}

impl CheckpointStore for PostgresStore {
    /// The epoch fences: a lease is taken over when its term has passed, or by a replacement in
    /// the same Job.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            fences: true,
            server: true,
            largest_row: LARGEST_ROW,
        }
    }

    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>> {
        async move {
            let lease = self
                .take_lease(Place::of(key), Patience::UntilItEnds)
                .await?;
            Ok(Box::new(lease) as Box<dyn Lease>)
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>> {
        let place = Place::of(key);
        async move {
            let loaded = self.on_line(|line| async move { rows::load(&line, &place).await });
            Ok(loaded.await?.checkpoint)
        }
        .boxed()
    }
}
