//! The world: where it is, what it is called, and whether it may be streamed (contracts sections
//! 1 and 2). Everything here happens before the first event.

pub mod gatemap;
pub mod gates;
pub mod identity;
mod json;
pub mod pack;
pub mod producer;
pub mod receipt;
pub mod root;
pub mod scenario;
pub mod store;
pub mod template;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
pub mod verify;

pub use root::open;
pub use store::WorldStore;
pub use verify::{verify, verify_output};

use worldstream_crds::TrafficMode;
pub use worldstream_crds::selection::Role;
pub use worldstream_crds::{catalogue, selection};

use crate::view::ViewPlan;

/// What one engine run materialised for one scenario, verified.
#[derive(Debug, Clone)]
pub struct VerifiedWorld {
    /// Where it is read.
    pub store: WorldStore,
    /// The resolved root's text, which ids are made from.
    pub root: String,
    /// The receipt's fields.
    pub receipt: Receipt,
    /// The world key.
    pub key: WorldKey,
    /// The pack, if the world has a manifest.
    pub pack: Option<Pack>,
    /// `oracle_pack_id`, or sha256 of the resolved root's text.
    pub pack_key: String,
    /// What is streamed: context first, then traffic.
    pub outputs: Vec<SelectedOutput>,
    /// The mode that the selection came out as.
    pub mode: TrafficMode,
    /// What is legal and worth saying, such as both traffic outputs in one plan.
    pub warnings: Vec<String>,
}

/// The fields of `run_receipt.json` that we read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// 32 hex.
    pub run_id: String,
    /// 64 hex.
    pub manifest_fingerprint: String,
    /// 64 hex.
    pub parameter_hash: String,
    /// Any unsigned 64-bit integer.
    pub seed: u64,
}

/// (manifest_fingerprint, parameter_hash, scenario_id, seed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldKey {
    /// 64 hex.
    pub manifest_fingerprint: String,
    /// 64 hex.
    pub parameter_hash: String,
    /// Not empty.
    pub scenario_id: String,
    /// Any unsigned 64-bit integer.
    pub seed: u64,
}

/// The fields of `_oracle_pack_manifest.json` that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// 64 hex.
    pub oracle_pack_id: String,
    /// Goes into every envelope as `span_id`.
    pub engine_release: String,
    /// 64 hex.
    pub catalogue_digest: String,
    /// 64 hex.
    pub gate_map_digest: String,
    /// Whether the world carries a seal that counts.
    pub sealed: bool,
}

/// One output of the plan.
#[derive(Debug, Clone)]
pub struct SelectedOutput {
    /// The output's id in the catalogue.
    pub id: String,
    /// Context or traffic.
    pub role: Role,
    /// Columns of the primary key, in order; never empty.
    pub primary_key: Vec<String>,
    /// The view that is read.
    pub view: ViewPlan,
}
