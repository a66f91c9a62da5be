//! How many rows of a view lie in a range, and from when to when: what a plan needs, read as
//! cheaply as the range allows.

use super::{ViewPlan, scan};
use crate::failure::Result;
use crate::plan::RangePlan;
use crate::time::EventTime;
use crate::world::WorldStore;

/// The rows of a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows in the range.
    pub rows: u64,
    /// The earliest event time; none: there are no rows.
    pub first: Option<EventTime>,
    /// The latest event time.
    pub last: Option<EventTime>,
}

/// The rows of a range: all of a view by its parts' footers, with the times of the first and the
/// last part alone; of a narrower range by the times of the row groups that may hold some.
///
/// Fails as [`scan`] does. Blocks; must not be called in a task of a runtime.
pub fn extent(store: &WorldStore, plan: &ViewPlan, range: RangePlan) -> Result<Extent> {
    let of = |plan: &ViewPlan| scan(store, plan, range, 0.0, |_| {});
    let filled: Vec<usize> = (0..plan.parts.len())
        .filter(|part| plan.parts[*part].rows > 0)
        .collect();
    let everything = range.start_from.is_none() && range.until.is_none();
    let (true, [first, .., last]) = (everything, filled.as_slice()) else {
        let found = of(plan)?;
        return Ok(Extent {
            rows: found.rows,
            first: found.first,
            last: found.last,
        });
    };
    let alone = |part: usize| ViewPlan {
        parts: vec![plan.parts[part].clone()],
        rows: plan.parts[part].rows,
        ..plan.clone()
    };
    // Views are in the order of event time but for rows out of order, which a whole scan counts.
    Ok(Extent {
        rows: plan.rows,
        first: of(&alone(*first))?.first,
        last: of(&alone(*last))?.last,
    })
}
