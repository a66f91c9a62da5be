//! Cursors: how far an output is, kept so that a crash repeats a bounded number of events and
//! loses none (contracts section 7). One trait, one file a backend.

pub mod conformance;
pub mod disk;
pub mod document;
pub mod file;
pub mod hold;
pub mod holder;
pub mod json;
mod key;
pub mod kubernetes;
pub mod lines;
pub mod lock;
mod mirror;
pub mod order;
mod place;
pub mod postgres;
mod slots;
pub mod survey;

pub use file::FileStore;
pub use hold::Hold;
pub use holder::Holder;
pub use kubernetes::KubernetesStore;
pub use postgres::PostgresStore;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use crate::audit::Chain;
use crate::failure::{Failure, Result};
use crate::plan::{CheckpointStorePlan, Lane};
use crate::view::ViewFingerprint;

/// Who a checkpoint is for. Two keys of one scope and output are the same checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckpointKey {
    /// The world's pack key.
    pub pack_key: String,
    /// `platform_YYYYMMDDTHHMMSSZ`.
    pub platform_run_id: String,
    /// SR's, or the receipt's `run_id`.
    pub scenario_run_id: String,
    /// The lane.
    pub lane: Lane,
    /// Empty by default.
    pub attempt: String,
    /// The output.
    pub output_id: String,
}

/// The last event that IG has taken with everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Full path as text, below the resolved root.
    pub last_file: String,
    /// Row in that file, from 0, counted before lanes.
    pub last_row_index: u64,
    /// The row's event time, canonical.
    pub last_ts_utc: Option<String>,
}

/// What we keep beside a cursor so that a receipt is whole however often a run is interrupted.
/// Stores whose format is not ours keep it apart, naming the cursor that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Where counting began: none at the attempt's first row, else the cursor that another
    /// producer had left.
    pub counts_from: Option<Cursor>,
    /// Events taken: admitted + duplicate + quarantined (+ undecided).
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
    /// `d = sha256(d ‖ event id)` over the events in order, from 32 zero bytes; 64 hex.
    pub digest: String,
    /// Which of the last `window` events were quarantined, as counts of `rows` (from 1), oldest
    /// first.
    pub recent_quarantines: Vec<u64>,
    /// What the view looked like; a later start compares.
    pub view: ViewFingerprint,
    /// The last row of the range was taken: nothing is left to send.
    pub complete: bool,
    /// Running time of the rate plan, in µs: in which step it goes on. 0 without a rate plan.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rate_micros: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Progress {
    /// No event was taken yet, of a view that looks so; counting begins after `counts_from`.
    pub fn zero(counts_from: Option<Cursor>, view: ViewFingerprint) -> Self {
        Progress {
            counts_from,
            rows: 0,
            admitted: 0,
            duplicate: 0,
            quarantined: 0,
            undecided: 0,
            retried: 0,
            disordered: 0,
            digest: Chain::default().hex(),
            recent_quarantines: Vec::new(),
            view,
            complete: false,
            rate_micros: 0,
        }
    }
}

/// A cursor with our own figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// None while nothing was taken (an empty output that is complete).
    pub cursor: Option<Cursor>,
    /// Our figures at that cursor; none if another producer left the cursor.
    pub progress: Option<Progress>,
}

/// What a kind of store can do beyond the trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A lease that was lost is noticed by the store itself: it refuses the older holder's write.
    /// Only then may a worker be given up for dead and replaced while it might still run.
    pub fences: bool,
    /// A server that may be away for a while and come back: taking a checkpoint is waited for as
    /// long as saving one is.
    pub server: bool,
    /// The largest row in a part that a cursor can name; a save beyond it fails by name.
    pub largest_row: u64,
}

/// The store that a plan names. Opens nothing yet.
///
/// # Errors
/// `STREAM_FAILED` for the store of a cluster, which a worker in the cluster opens by itself.
pub fn open(plan: &CheckpointStorePlan) -> Result<Arc<dyn CheckpointStore>> {
    match plan {
        CheckpointStorePlan::File { root } => Ok(Arc::new(FileStore::new(root))),
        CheckpointStorePlan::Postgres(plan) => Ok(Arc::new(PostgresStore::new(
            plan.clone(),
            Holder::of_this_process(),
        ))),
        CheckpointStorePlan::Kubernetes {} => {
            Err(Failure::new(Reason::StreamFailed, "the checkpoint store")
                .found("kubernetes")
                .expected("a store that is there without a cluster, such as file"))
        }
    }
}

/// A store of checkpoints. A new store is a new file in this folder, and passes the conformance
/// suite.
pub trait CheckpointStore: Send + Sync {
    /// What this kind of store can do.
    fn capabilities(&self) -> Capabilities;

    /// Takes the checkpoint for this process. `CHECKPOINT_CONFLICT` if another holds it,
    /// `CHECKPOINT_UNREADABLE` if what is there is no checkpoint.
    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>>;

    /// Reads without taking, for `plan` and `checkpoints show`.
    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>>;
}

/// A checkpoint that this process holds.
pub trait Lease: Send {
    /// What was there when it was taken.
    fn loaded(&self) -> &Checkpoint;

    /// How long it holds, and whether it was lost. A stream sends nothing while its lease does not
    /// hold. The lease renews itself; a store without a term holds for ever.
    fn hold(&self) -> Arc<Hold> {
        Hold::forever()
    }

    /// Waits until the store takes another save, where it takes one at most so often. May be
    /// dropped at any time.
    fn ready(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Saves durably: when it returns, a crash of process or machine finds this checkpoint.
    /// `CHECKPOINT_CONFLICT` if the lease was lost, or another producer moved the cursor. A
    /// failure with the exit code `Unavailable` may be tried again, with the same checkpoint or a
    /// later one; any other will not go away. None damages what was saved before. A save whose
    /// future is dropped may or may not take place. It may block its thread, which is one that
    /// does nothing else.
    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>>;

    /// Brings what others read up to what was saved last, where that follows behind; for the end.
    /// Fails and blocks as [`Lease::save`] does.
    fn settle(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Gives it up, so that another need not wait for it to end; for some seconds at most.
    /// Dropping it does the same, later.
    fn release<'a>(self: Box<Self>) -> BoxFuture<'a, ()>
    where
        Self: 'a,
    {
        Box::pin(async move { drop(self) })
    }
}
