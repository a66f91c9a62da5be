//! How a view's rows lie in event time, by its time key alone.

use std::collections::BTreeMap;

use super::reader::{Columns, times};
use super::{ReadLimits, RowReader, ViewPlan};
use crate::failure::Result;
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::world::WorldStore;

/// Buckets that are kept while rows are counted; more are joined in pairs.
const BUCKETS: usize = 4_096;

/// Rows over event time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Rows of all.
    pub rows: u64,
    /// The earliest event time; none without rows.
    pub first: Option<EventTime>,
    /// The latest event time; none without rows.
    pub last: Option<EventTime>,
    /// Rows of each step, from the first event time to the last, in equal steps.
    pub steps: Vec<u64>,
}

/// Counts the rows of a view into so many steps. Reads only `ts_utc`; memory does not grow with
/// the view. Blocks; must not be called in a task of a runtime.
///
/// Fails as [`RowReader`] does, and with `STREAM_FAILED` for a time that is null or unreadable.
pub fn histogram(store: &WorldStore, plan: &ViewPlan, steps: usize) -> Result<Histogram> {
    let limits = ReadLimits {
        batch_rows: 8_192,
        ..ReadLimits::default()
    };
    let range = RangePlan::default();
    let mut reader = RowReader::with_columns(store, plan, range, limits, Columns::TimeKey);
    let mut counts = Counts::default();
    while let Some(batch) = reader.next()? {
        // Batches are of parts that there are.
        let file = &plan.parts[batch.first.part].name;
        for micros in times(&batch.rows, file, batch.first.row)? {
            counts.add(micros);
        }
    }
    Ok(counts.finish(steps))
}

/// Rows by buckets of a width that doubles whenever there are too many.
#[derive(Debug)]
struct Counts {
    width: i64,
    buckets: BTreeMap<i64, u64>,
    /// The bucket that the last row fell into: rows come in order.
    open: (i64, u64),
    rows: u64,
    range: Option<(i64, i64)>,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            width: 1_000,
            buckets: BTreeMap::new(),
            open: (i64::MIN, 0),
            rows: 0,
            range: None,
        }
    }
}

impl Counts {
    fn add(&mut self, micros: i64) {
        self.rows += 1;
        let (first, last) = self.range.unwrap_or((micros, micros));
        self.range = Some((first.min(micros), last.max(micros)));
        let bucket = micros.div_euclid(self.width);
        if bucket == self.open.0 {
            self.open.1 += 1;
            return;
        }
        self.close();
        self.open = (micros.div_euclid(self.width), 1);
    }

    fn close(&mut self) {
        let (bucket, rows) = std::mem::take(&mut self.open);
        if rows > 0 {
            *self.buckets.entry(bucket).or_default() += rows;
        }
        while self.buckets.len() > BUCKETS {
            self.width *= 2;
            let narrow = std::mem::take(&mut self.buckets);
            for (bucket, rows) in narrow {
                *self.buckets.entry(bucket.div_euclid(2)).or_default() += rows;
            }
        }
    }

    fn finish(mut self, steps: usize) -> Histogram {
        self.close();
        let Some((first, last)) = self.range else {
            return Histogram::default();
        };
        let mut counted = vec![0; steps.max(1)];
        let span = i128::from(last) - i128::from(first) + 1;
        for (bucket, rows) in self.buckets {
            let middle = (bucket * self.width + self.width / 2).clamp(first, last);
            let step = (i128::from(middle) - i128::from(first)) * counted.len() as i128 / span;
            if let Some(count) = usize::try_from(step)
                .ok()
                .and_then(|it| counted.get_mut(it))
            {
                *count += rows;
            }
        }
        Histogram {
            rows: self.rows,
            first: EventTime::from_micros(first),
            last: EventTime::from_micros(last),
            steps: counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_step_however_long_the_world_is() {
        for spacing in [1, 1_000, 3_600_000_000] {
            let mut counts = Counts::default();
            for row in 0..100_000 {
                counts.add(1_767_225_600_000_000 + row * spacing);
            }
            assert!(counts.buckets.len() <= BUCKETS);
            let found = counts.finish(10);
            assert_eq!(found.rows, 100_000);
            assert_eq!(found.steps.iter().sum::<u64>(), 100_000);
            if spacing > 1 {
                let even = |rows: &u64| (9_000..=11_000).contains(rows);
                assert!(found.steps.iter().all(even), "{spacing}: {:?}", found.steps);
            }
        }
        assert_eq!(Counts::default().finish(10), Histogram::default());
    }
}
