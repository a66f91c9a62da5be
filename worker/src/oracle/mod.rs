//! The Oracle Store's tools: views are built ([`crate::view::build`]), worlds sealed ([`seal`]),
//! checked ([`check`]), shown ([`show`]) and taken to S3 ([`upload`]).

pub mod check;
mod checks;
pub mod seal;
pub mod show;
pub mod upload;

use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::WorldPlan;
use crate::view::build::Target;
use crate::world::catalogue::{Catalogue, CatalogueOutput};
use crate::world::gatemap::GateMap;
use crate::world::gates::Gates;
use crate::world::root::{self, Place};
use crate::world::template::world_key;
use crate::world::{Receipt, WorldKey, WorldStore, receipt, scenario, selection};

/// A world that tools work on: its receipt was read, nothing else was verified.
#[derive(Debug, Clone)]
pub struct OpenWorld {
    /// What was asked for.
    pub plan: WorldPlan,
    /// Where it is read.
    pub store: WorldStore,
    /// Where that is.
    pub place: Place,
    /// The engine's receipt.
    pub receipt: Receipt,
    /// The world key.
    pub key: WorldKey,
    /// The outputs that the engine has.
    pub catalogue: Catalogue,
    /// The gates that it has.
    pub gate_map: GateMap,
}

impl OpenWorld {
    /// Opens the world that a plan names.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING`, `ROOT_NOT_ALLOWED`, `RUN_RECEIPT_UNREADABLE`, `WORLD_KEY_MISSING`,
    /// `SCENARIO_ID_MISSING`, `SCENARIO_ID_AMBIGUOUS`, and `STREAM_FAILED` for a catalogue or gate
    /// map that is none.
    pub async fn open(plan: WorldPlan) -> Result<OpenWorld> {
        let place = root::resolve(&plan)?.place;
        let store = root::open(&plan)?;
        let receipt = receipt::read(&store).await?;
        let scenario_id = scenario::resolve(&store, plan.scenario.as_deref()).await?;
        Ok(OpenWorld {
            key: world_key(&receipt, scenario_id),
            catalogue: Catalogue::parse(&plan.catalogue)?,
            gate_map: GateMap::parse(&plan.gate_map)?,
            plan,
            store,
            place,
            receipt,
        })
    }

    /// The world as views are built in it.
    pub fn target(&self) -> Target<'_> {
        Target {
            store: &self.store,
            place: &self.place,
            key: &self.key,
            run_id: &self.receipt.run_id,
        }
    }

    /// Its gates.
    pub fn gates(&self) -> Gates<'_> {
        Gates {
            store: &self.store,
            map: &self.gate_map,
            key: &self.key,
            run_id: &self.receipt.run_id,
        }
    }

    /// The outputs that are asked for by id, or those that the profile streams.
    ///
    /// # Errors
    /// `OUTPUT_UNKNOWN` for one that the catalogue lacks; those of the selection.
    pub fn outputs(&self, asked: &[String]) -> Result<Vec<CatalogueOutput>> {
        if asked.is_empty() {
            let selected = selection::select(&self.plan.selection, &self.catalogue)?;
            return Ok(selected.outputs.into_iter().map(|(_, it)| it).collect());
        }
        let mut outputs: Vec<CatalogueOutput> = Vec::new();
        for id in asked {
            let output = self.catalogue.get(id).ok_or_else(|| {
                Failure::new(Reason::OutputUnknown, &self.catalogue.name)
                    .field("output")
                    .found(id)
                    .expected("an output of the catalogue")
            })?;
            if outputs.iter().all(|known| known.id != output.id) {
                outputs.push(output.clone());
            }
        }
        Ok(outputs)
    }
}
