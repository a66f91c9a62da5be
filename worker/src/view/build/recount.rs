//! Recounts rows as they stand in Parquet: sums, time range and order. Knows nothing of how they
//! came there: a build is checked by it, and so is a view of any origin.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use worldstream_crds::Reason;

use super::super::{PartPlan, ReadLimits, RowReader, ViewPlan};
use super::parts::TimeKey;
use super::stats::{Scratch, Stats};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::world::WorldStore;

/// What bounds each reader's memory.
pub(super) const LIMITS: ReadLimits = ReadLimits {
    batch_rows: 8_192,
    buffer_bytes: 4 * 1024 * 1024,
    ahead_bytes: 16 * 1024 * 1024,
};

/// What the rows of some parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Of all parts.
    pub stats: Stats,
    /// The first row whose time is before the one ahead of it, if order was asked for.
    pub disorder: Option<Disorder>,
}

/// Where order breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    /// The part's full path.
    pub file: String,
    /// The row in it.
    pub row: u64,
}

/// What one part's rows are.
struct OfPart {
    stats: Stats,
    /// First and last key, in the order of rows.
    ends: Option<(i64, i64)>,
    disorder: Option<u64>,
}

/// Recounts the rows of parts, several at the same time. `rows` is told as they are counted.
///
/// # Errors
/// Those of reading: `STREAM_FAILED`, `STREAM_VIEW_CHANGED`.
pub fn recount(
    store: &WorldStore,
    parts: &[PartPlan],
    time: &TimeKey,
    threads: usize,
    rows: &(dyn Fn(u64) + Sync),
) -> Result<Counted> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<OfPart>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, parts.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(index) else { return };
                    let counted = recount_part(store, part, time, rows);
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    done.push((index, counted));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(index, _)| *index);
    if done.len() != parts.len() {
        return Err(Failure::new(Reason::StreamFailed, store.root()).field("a counting thread"));
    }
    let mut all = Counted {
        stats: Stats::default(),
        disorder: None,
    };
    let mut last = None;
    for ((_, counted), part) in done.into_iter().zip(parts) {
        let counted = counted?;
        all.stats.merge(&counted.stats);
        let broken = match (last, counted.ends) {
            (Some(last), Some((first, _))) if first < last => Some(0),
            _ => counted.disorder,
        };
        last = counted.ends.map(|(_, last)| last).or(last);
        if let (None, Some(row)) = (&all.disorder, broken) {
            let file = part.name.clone();
            all.disorder = Some(Disorder { file, row });
        }
    }
    Ok(all)
}

fn recount_part(
    store: &WorldStore,
    part: &PartPlan,
    time: &TimeKey,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<OfPart> {
    let plan = ViewPlan {
        output_id: String::new(),
        view_id: String::new(),
        folder: String::new(),
        parts: vec![part.clone()],
        rows: part.rows,
    };
    let mut reader = RowReader::open(store, &plan, None, RangePlan::default(), LIMITS)?;
    let mut found = OfPart {
        stats: Stats::default(),
        ends: None,
        disorder: None,
    };
    let mut scratch = Scratch::default();
    while let Some(batch) = reader.next()? {
        let keys = time.keys(&batch.rows, &part.name, batch.first)?;
        found.stats.add(&batch.rows, &keys, &mut scratch);
        let ahead = found.ends.map(|(_, last)| last);
        let before = ahead.into_iter().chain(keys.iter().copied());
        let skipped = usize::from(ahead.is_none());
        let mut pairs = before.zip(keys.iter().skip(skipped));
        if found.disorder.is_none()
            && let Some(at) = pairs.position(|(before, key)| *key < before)
        {
            found.disorder = Some(batch.first.row + (at + skipped) as u64);
        }
        if let (Some(first), Some(last)) = (keys.first(), keys.last()) {
            let start = found.ends.map_or(*first, |(start, _)| start);
            found.ends = Some((start, *last));
        }
        progress(keys.len() as u64);
    }
    Ok(found)
}
