//! What every store of checkpoints must do. A new store's test implements [`Subject`] and awaits
//! [`run`]; nothing here knows what a store is made of. Not for use but in tests, which for stores
//! that are servers lie in a crate of their own.

use std::sync::Arc;

use futures::future::BoxFuture;
use worldstream_crds::{ExitCode, Reason};

use super::{Checkpoint, CheckpointKey, CheckpointStore, Cursor, Lease, Progress};
use crate::audit::chain::Chain;
use crate::clock::{Mono, Monotonic};
use crate::plan::Lane;
use crate::view::ViewFingerprint;

/// A kind of store under test.
pub trait Subject: Sync {
    /// The store as another process would open it: all that it gives share what is stored.
    fn store(&self) -> Arc<dyn CheckpointStore>;

    /// The reference producer at the same store; none for a store that it does not know.
    fn reference(&self) -> Option<&dyn Reference>;

    /// The store as a worker of a Job and its replacement in the same Job would open it, for
    /// stores that fence; none for those that do not.
    fn replacement(&self) -> Option<[Arc<dyn CheckpointStore>; 2]> {
        None
    }
}

/// What the reference does to a store, without our code.
pub trait Reference: Sync {
    /// It saves a cursor.
    fn write<'a>(&'a self, key: &'a CheckpointKey, cursor: &'a Cursor) -> BoxFuture<'a, ()>;

    /// It loads the cursor.
    fn read<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Option<Cursor>>;
}

/// Runs every case. Each uses keys of its own.
pub async fn run(subject: &dyn Subject) {
    fresh_is_empty(subject).await;
    saved_is_found_again(subject).await;
    every_part_of_the_key_counts(subject).await;
    one_holder_at_a_time(subject).await;
    peek_takes_nothing(subject).await;
    cursor_only_moves_on(subject).await;
    same_cursor_again(subject).await;
    complete_without_a_cursor(subject).await;
    large_rows_and_odd_names(subject).await;
    long_history_of_saves(subject).await;
    rows_beyond_the_store_are_refused(subject).await;
    released_is_free_at_once(subject).await;
    assert_eq!(
        subject.replacement().is_some(),
        subject.store().capabilities().fences,
        "what fences shows it, and what does not cannot"
    );
    if let Some(workers) = subject.replacement() {
        stale_holder_is_fenced(subject, workers).await;
    }
    if let Some(reference) = subject.reference() {
        reference_goes_on_with_ours(subject, reference).await;
        reference_beside_a_holder(subject, reference).await;
        we_go_on_with_the_references(subject, reference).await;
    }
}

/// A key that no other case uses.
pub fn key(case: &str) -> CheckpointKey {
    CheckpointKey {
        pack_key: "5c".repeat(32),
        platform_run_id: "platform_20260101T000000Z".into(),
        scenario_run_id: case.into(),
        lane: Lane::WHOLE,
        attempt: String::new(),
        output_id: "arrival_events_5B".into(),
    }
}

/// A cursor at a row of a part.
pub fn cursor(part: u32, row: u64) -> Cursor {
    Cursor {
        last_file: format!("s3://oracle-store/runs/w/out/part-{part:06}.parquet"),
        last_row_index: row,
        last_ts_utc: Some(format!("2026-01-01T00:00:00.{:06}Z", row % 1_000_000)),
    }
}

/// Figures after `rows` events, all different from one another.
pub fn progress(rows: u64) -> Progress {
    let mut chain = Chain::default();
    for row in 0..rows.min(100) {
        chain.push(format!("{row:064x}").as_bytes());
    }
    Progress {
        counts_from: None,
        rows,
        admitted: rows - rows / 2,
        duplicate: rows / 2 - rows / 3,
        quarantined: rows / 3 - rows / 4,
        undecided: rows / 4,
        retried: rows * 3 + 1,
        disordered: rows * 2 + 1,
        digest: chain.hex(),
        recent_quarantines: (1..=rows.min(9)).collect(),
        view: ViewFingerprint {
            view_id: "e1".repeat(32),
            rows: 12_345,
            digest: "f2".repeat(32),
        },
        complete: false,
        rate_micros: rows * 5,
    }
}

/// A checkpoint at a row with the figures of so many events.
pub fn checkpoint(part: u32, row: u64) -> Checkpoint {
    Checkpoint {
        cursor: Some(cursor(part, row)),
        progress: Some(progress(row + 1)),
    }
}

const EMPTY: Checkpoint = Checkpoint {
    cursor: None,
    progress: None,
};

async fn take(subject: &dyn Subject, key: &CheckpointKey) -> Box<dyn Lease> {
    match subject.store().take(key).await {
        Ok(lease) => lease,
        Err(failure) => panic!("take {key:?}: {failure}"),
    }
}

async fn fresh_is_empty(subject: &dyn Subject) {
    let key = key("fresh");
    assert_eq!(subject.store().peek(&key).await.unwrap(), EMPTY);
    assert_eq!(take(subject, &key).await.loaded(), &EMPTY);
    assert_eq!(take(subject, &key).await.loaded(), &EMPTY);
}

async fn saved_is_found_again(subject: &dyn Subject) {
    let key = key("saved");
    let mut at = EMPTY;
    for next in [checkpoint(0, 4), checkpoint(0, 5), checkpoint(1, 0)] {
        let mut lease = take(subject, &key).await;
        assert_eq!(lease.loaded(), &at);
        lease.save(&next).await.unwrap();
        assert_eq!(lease.loaded(), &at, "what was there when it was taken");
        drop(lease);
        assert_eq!(subject.store().peek(&key).await.unwrap(), next);
        at = next;
    }
}

async fn every_part_of_the_key_counts(subject: &dyn Subject) {
    let key = key("parts");
    let lane = |count, index| Lane { count, index };
    let with = |change: &dyn Fn(&mut CheckpointKey)| {
        let mut other = key.clone();
        change(&mut other);
        other
    };
    let others = [
        with(&|key| key.pack_key = "5d".repeat(32)),
        with(&|key| key.platform_run_id = "platform_20260101T000001Z".into()),
        with(&|key| key.scenario_run_id = "parts-2".into()),
        with(&|key| key.lane = lane(2, 0)),
        with(&|key| key.lane = lane(2, 1)),
        with(&|key| key.attempt = "rerun-2".into()),
        with(&|key| key.output_id = "s1_arrival_entities_6B".into()),
    ];
    let mut held = vec![take(subject, &key).await];
    held[0].save(&checkpoint(0, 0)).await.unwrap();
    for (row, other) in (1..).zip(&others) {
        let mut lease = take(subject, other).await;
        assert_eq!(lease.loaded(), &EMPTY, "{other:?}");
        lease.save(&checkpoint(0, row)).await.unwrap();
        held.push(lease);
    }
    drop(held);
    for (row, key) in (0..).zip(std::iter::once(&key).chain(&others)) {
        assert_eq!(subject.store().peek(key).await.unwrap(), checkpoint(0, row));
    }
}

async fn one_holder_at_a_time(subject: &dyn Subject) {
    let key = key("holder");
    let mut lease = take(subject, &key).await;
    let Err(failure) = subject.store().take(&key).await else {
        panic!("taken twice");
    };
    assert_eq!(failure.reason(), Reason::CheckpointConflict);
    assert!(failure.message().contains("held by"), "{failure}");
    // The holder is none the worse for it.
    lease.save(&checkpoint(0, 1)).await.unwrap();
    drop(lease);
    assert_eq!(take(subject, &key).await.loaded(), &checkpoint(0, 1));
}

async fn peek_takes_nothing(subject: &dyn Subject) {
    let key = key("peek");
    let store = subject.store();
    store.peek(&key).await.unwrap();
    let mut lease = take(subject, &key).await;
    lease.save(&checkpoint(0, 7)).await.unwrap();
    assert_eq!(store.peek(&key).await.unwrap(), checkpoint(0, 7));
    lease.save(&checkpoint(0, 8)).await.unwrap();
    assert_eq!(store.peek(&key).await.unwrap(), checkpoint(0, 8));
}

async fn cursor_only_moves_on(subject: &dyn Subject) {
    let key = key("forward");
    let mut lease = take(subject, &key).await;
    lease.save(&checkpoint(1, 5)).await.unwrap();
    for back in [checkpoint(1, 4), checkpoint(0, 999), EMPTY] {
        let failure = lease.save(&back).await.unwrap_err();
        assert!(failure.message().contains("backwards"), "{failure}");
    }
    assert_eq!(subject.store().peek(&key).await.unwrap(), checkpoint(1, 5));
    lease.save(&checkpoint(1, 6)).await.unwrap();
    drop(lease);
    assert_eq!(take(subject, &key).await.loaded(), &checkpoint(1, 6));
}

async fn same_cursor_again(subject: &dyn Subject) {
    let key = key("again");
    let mut lease = take(subject, &key).await;
    let mut end = checkpoint(0, 9);
    lease.save(&end).await.unwrap();
    lease.save(&end).await.unwrap();
    end.progress.as_mut().unwrap().complete = true;
    lease.save(&end).await.unwrap();
    drop(lease);
    assert_eq!(take(subject, &key).await.loaded(), &end);
}

async fn complete_without_a_cursor(subject: &dyn Subject) {
    let key = key("empty-output");
    let mut lease = take(subject, &key).await;
    let mut nothing = progress(0);
    nothing.complete = true;
    let end = Checkpoint {
        cursor: None,
        progress: Some(nothing),
    };
    lease.save(&end).await.unwrap();
    drop(lease);
    assert_eq!(take(subject, &key).await.loaded(), &end);
}

async fn large_rows_and_odd_names(subject: &dyn Subject) {
    let names = [
        "/data/worlds/world b/out/part-000000.parquet",
        "s3://oracle-store/runs/wörld-c/\u{1f30d}/part-000000.parquet",
        "/quotes \" and \\ and | and \u{7f}\u{1}\n/part-000000.parquet",
    ];
    for (case, name) in names.into_iter().enumerate() {
        let key = key(&format!("names-{case}"));
        let mut lease = take(subject, &key).await;
        let largest = subject.store().capabilities().largest_row;
        for row in [0, (u64::from(u32::MAX) + 1).min(largest - 1), largest] {
            let mut end = checkpoint(0, row.min(1_000));
            let cursor = end.cursor.as_mut().unwrap();
            cursor.last_file = name.into();
            cursor.last_row_index = row;
            cursor.last_ts_utc = (row > 0).then(|| "9999-12-31T23:59:59.999999Z".into());
            lease.save(&end).await.unwrap();
            assert_eq!(subject.store().peek(&key).await.unwrap(), end);
        }
    }
}

async fn long_history_of_saves(subject: &dyn Subject) {
    let key = key("long");
    let mut lease = take(subject, &key).await;
    for row in 0..40 {
        lease.save(&checkpoint(0, row)).await.unwrap();
    }
    drop(lease);
    let mut lease = take(subject, &key).await;
    assert_eq!(lease.loaded(), &checkpoint(0, 39));
    // From many figures to few: nothing of the old ones may shine through.
    let mut large = checkpoint(0, 40);
    large.progress.as_mut().unwrap().recent_quarantines = (0..3_000).collect();
    for next in [large, checkpoint(0, 41), checkpoint(0, 42)] {
        lease.save(&next).await.unwrap();
        assert_eq!(subject.store().peek(&key).await.unwrap(), next);
    }
}

async fn rows_beyond_the_store_are_refused(subject: &dyn Subject) {
    let key = key("beyond");
    let mut lease = take(subject, &key).await;
    lease.save(&checkpoint(0, 1)).await.unwrap();
    let mut beyond = checkpoint(0, 2);
    let row = subject.store().capabilities().largest_row + 1;
    beyond.cursor.as_mut().unwrap().last_row_index = row;
    let failure = lease.save(&beyond).await.unwrap_err();
    assert!(failure.message().contains("last_row_index"), "{failure}");
    assert!(failure.message().contains(&row.to_string()), "{failure}");
    lease.save(&checkpoint(0, 3)).await.unwrap();
    assert_eq!(subject.store().peek(&key).await.unwrap(), checkpoint(0, 3));
}

async fn released_is_free_at_once(subject: &dyn Subject) {
    let key = key("released");
    let mut lease = take(subject, &key).await;
    assert!(lease.hold().holds(Mono::now()));
    lease.save(&checkpoint(0, 1)).await.unwrap();
    lease.release().await;
    assert_eq!(take(subject, &key).await.loaded(), &checkpoint(0, 1));
}

/// A worker that is replaced while it still runs, as a frozen one is.
async fn stale_holder_is_fenced(subject: &dyn Subject, workers: [Arc<dyn CheckpointStore>; 2]) {
    let key = key("fenced");
    let [older, newer] = workers;
    let mut stale = older.take(&key).await.unwrap();
    stale.save(&checkpoint(0, 4)).await.unwrap();
    let mut lease = newer.take(&key).await.unwrap();
    assert_eq!(lease.loaded(), &checkpoint(0, 4));
    let failure = stale.save(&checkpoint(0, 5)).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::CheckpointConflict);
    assert_eq!(failure.exit_code(), ExitCode::Fenced);
    assert!(!stale.hold().holds(Mono::now()));
    assert_eq!(subject.store().peek(&key).await.unwrap(), checkpoint(0, 4));
    lease.save(&checkpoint(0, 6)).await.unwrap();
    // However it goes, the replacement's lease stays its own.
    stale.release().await;
    lease.save(&checkpoint(0, 7)).await.unwrap();
    assert!(subject.store().take(&key).await.is_err());
    assert_eq!(subject.store().peek(&key).await.unwrap(), checkpoint(0, 7));
}

async fn reference_goes_on_with_ours(subject: &dyn Subject, reference: &dyn Reference) {
    let key = key("reference-reads");
    assert_eq!(reference.read(&key).await, None);
    let mut lease = take(subject, &key).await;
    lease.save(&checkpoint(3, 77)).await.unwrap();
    drop(lease);
    assert_eq!(reference.read(&key).await, Some(cursor(3, 77)));
    reference.write(&key, &cursor(3, 99)).await;
    // Our figures are of another cursor now, and must not count for this one.
    let mut lease = take(subject, &key).await;
    let left = Checkpoint {
        cursor: Some(cursor(3, 99)),
        progress: None,
    };
    assert_eq!(lease.loaded(), &left);
    let mut next = checkpoint(3, 120);
    next.progress.as_mut().unwrap().counts_from = left.cursor;
    lease.save(&next).await.unwrap();
    drop(lease);
    assert_eq!(take(subject, &key).await.loaded(), &next);
    assert_eq!(reference.read(&key).await, Some(cursor(3, 120)));
}

/// The reference knows no leases: what it does to a checkpoint that is held is noticed by the next
/// save, or where its own files follow behind, when they are brought up to it.
async fn reference_beside_a_holder(subject: &dyn Subject, reference: &dyn Reference) {
    let key = key("reference-beside");
    let mut lease = take(subject, &key).await;
    lease.save(&checkpoint(3, 77)).await.unwrap();
    lease.settle().await.unwrap();
    reference.write(&key, &cursor(3, 99)).await;
    let failure = match lease.save(&checkpoint(3, 120)).await {
        Ok(()) => lease.settle().await.unwrap_err(),
        Err(failure) => failure,
    };
    assert_eq!(failure.reason(), Reason::CheckpointConflict);
    assert_eq!(reference.read(&key).await, Some(cursor(3, 99)));
}

async fn we_go_on_with_the_references(subject: &dyn Subject, reference: &dyn Reference) {
    let key = key("reference-writes");
    let mut without_time = cursor(0, 41);
    without_time.last_ts_utc = None;
    for left in [without_time, cursor(0, 42)] {
        reference.write(&key, &left).await;
        let expected = Checkpoint {
            cursor: Some(left),
            progress: None,
        };
        assert_eq!(subject.store().peek(&key).await.unwrap(), expected);
        assert_eq!(take(subject, &key).await.loaded(), &expected);
    }
}
