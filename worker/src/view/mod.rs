//! The view of an output: its parts, rows in order, and finding the place to go on (contracts
//! section 3).

mod ahead;
pub mod build;
mod check;
mod columns;
mod extent;
mod footer;
mod guarded;
mod histogram;
mod object;
mod part;
mod prune;
mod reader;
mod scan;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use check::RECEIPT as VIEW_RECEIPT;
pub use check::{fingerprint, plan_view};
pub use extent::{Extent, extent};
pub use footer::Footers;
pub use histogram::{Histogram, histogram};
pub use reader::{ReadLimits, ResumeAt, RowReader, Usage, place_of};
pub use scan::{StepBack, ViewScan, scan};

use serde::{Deserialize, Serialize};

/// A view that was checked: what is read, and what must not change while it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewPlan {
    /// The output's id.
    pub output_id: String,
    /// sha256 of the view's identity (contracts section 3).
    pub view_id: String,
    /// The view's folder as text, below the resolved root: what cursors and messages say.
    pub folder: String,
    /// The parts in the order of their full path as text.
    pub parts: Vec<PartPlan>,
    /// Rows of all parts.
    pub rows: u64,
}

/// One part of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct PartPlan {
    /// The full path as text, below the resolved root: what cursors carry as `last_file`.
    pub name: String,
    /// Where it is in the store that the world is read from.
    pub location: object_store::path::Path,
    /// Bytes.
    pub size: u64,
    /// Rows by its footer.
    pub rows: u64,
    /// sha256 hex of the footer's bytes: changes with anything in the part.
    pub footer: String,
    /// The store's own tag, if it has one; compared at every read, so that a part that changes
    /// while it streams is noticed.
    pub etag: Option<String>,
}

/// What a cursor remembers of the view it points into; a view's id says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewFingerprint {
    /// The view's id.
    pub view_id: String,
    /// Rows of all parts.
    pub rows: u64,
    /// sha256 hex over each part's file name, size, rows and footer digest.
    pub digest: String,
}

/// The place of a row: part index in the plan, and row in that part, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPlace {
    /// Index into [`ViewPlan::parts`].
    pub part: usize,
    /// Row in the part, from 0.
    pub row: u64,
}

/// Rows as they come out of a view: consecutive rows of one part.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// The place of the first row.
    pub first: RowPlace,
    /// The rows.
    pub rows: arrow_array::RecordBatch,
}
