//! A view that was missing, and how far its build is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FailureStatus;

/// A view that preflight found missing, and how far its build is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ViewStatus {
    /// Whether it is being built.
    pub state: ViewState,
    /// What the build is doing: `looking`, `sorting`, `merging`, `checking` or `publishing`. Left
    /// out: it has not begun, or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How much of the whole build is done, 0 to 100, rounded down.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// Rows that are through this step; of a view that is built, all that it has.
    #[schemars(range(min = 0))]
    pub rows: u64,
    /// Rows of the table.
    #[schemars(range(min = 0))]
    pub of: u64,
    /// Rows that an earlier pod had sorted already, where the build went on from them.
    #[schemars(range(min = 0))]
    pub resumed_rows: u64,
    /// Why it cannot be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
}

/// What becomes of a view that was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ViewState {
    /// Preflight found none, and no pod has begun.
    #[default]
    Missing,
    /// A pod builds it.
    Building,
    /// It is there.
    Built,
    /// It could not be built.
    Failed,
}
