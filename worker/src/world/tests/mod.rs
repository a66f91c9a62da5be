//! Whole worlds: golden ones, and small ones with one thing broken each.

mod broken;
mod golden;
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use serde_json::{Value, json};
use worldstream_crds::{GateCheck, Reason, TrafficMode};

use super::catalogue::Catalogue;
use super::gatemap::GateMap;
use super::gates::Gates;
use super::identity::fallback_pack_key;
use super::testkit::{self, CATALOGUE, GATE_MAP, PRODUCER, World};
use super::{Role, WorldKey, WorldStore, root, verify::verify_with};
use crate::failure::{Failure, Result};
use crate::plan::{Mount, Named, WorldPlan};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn named(text: impl Into<String>) -> Named {
    Named {
        name: "broken.yaml".into(),
        text: Ok(text.into()),
    }
}

fn verified(plan: &WorldPlan) -> Result<super::VerifiedWorld> {
    wait(super::verify(plan))
}
