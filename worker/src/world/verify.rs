//! Verifying a world: every check that must hold before the first event, in a fixed order, so
//! that the code that is given is that of the first that does not.

use super::catalogue::{self, Catalogue};
use super::gatemap::GateMap;
use super::gates::Gates;
use super::identity::{fallback_pack_key, sha256_hex};
use super::selection::Selection;
use super::template::world_key;
use super::{
    Pack, Receipt, SelectedOutput, VerifiedWorld, WorldKey, WorldStore, pack, producer, receipt,
    root, scenario, selection,
};
use crate::failure::{Failure, Result};
use crate::plan::WorldPlan;
use crate::view::ViewPlan;
use worldstream_crds::Reason;

/// Verifies the world that a plan names; reads no row and sends nothing.
///
/// The order is that of the codes in contracts section 10: root, receipt and world key, scenario,
/// manifest, seal, catalogue and selection, the gates of all selected outputs, producer, the view
/// of each output.
///
/// # Errors
/// The first check that fails, with its reason code (contracts section 10).
pub async fn verify(plan: &WorldPlan) -> Result<VerifiedWorld> {
    verify_with(plan, crate::view::plan_view).await
}

/// [`verify`] with views checked by `plan_view(store, scenario id, output id)`.
pub async fn verify_with(
    plan: &WorldPlan,
    plan_view: impl AsyncFn(&WorldStore, &str, &str) -> Result<ViewPlan>,
) -> Result<VerifiedWorld> {
    let world = Opened::read(plan).await?;
    let Opened {
        store,
        receipt,
        key,
        ..
    } = &world;
    let catalogue = Catalogue::parse(&plan.catalogue)?;
    let gate_map = GateMap::parse(&plan.gate_map)?;
    let selection = selection::select(&plan.selection, &catalogue)?;
    let gates = Gates {
        store,
        map: &gate_map,
        key,
        run_id: &receipt.run_id,
    };
    let selected = selection.outputs.iter().map(|(_, output)| output);
    gates
        .check(selected, plan.gate_check, plan.gate_upstream)
        .await?;
    producer::check(&plan.producer_id, plan.producer_allowlist.as_ref())?;
    world.with_views(selection, plan_view).await
}

/// [`verify`] of what a worker needs of a world that was verified as a whole before: the world's
/// identity and the view of its own output, and neither the gates nor other views.
///
/// # Errors
/// As [`verify`], and `OUTPUT_UNKNOWN` for an output that is not selected.
pub async fn verify_output(plan: &WorldPlan, output_id: &str) -> Result<VerifiedWorld> {
    let world = Opened::read(plan).await?;
    let catalogue = Catalogue::parse(&plan.catalogue)?;
    let mut selection = selection::select(&plan.selection, &catalogue)?;
    selection
        .outputs
        .retain(|(_, output)| output.id == output_id);
    if selection.outputs.is_empty() {
        return Err(Failure::new(Reason::OutputUnknown, output_id)
            .found("an output that the plan does not select"));
    }
    producer::check(&plan.producer_id, plan.producer_allowlist.as_ref())?;
    world.with_views(selection, crate::view::plan_view).await
}

/// A world whose identity is known: which run made it, and which pack it is.
struct Opened {
    store: WorldStore,
    receipt: Receipt,
    key: WorldKey,
    pack: Option<Pack>,
}

impl Opened {
    async fn read(plan: &WorldPlan) -> Result<Self> {
        let store = root::open(plan)?;
        let receipt = receipt::read(&store).await?;
        let scenario_id = scenario::resolve(&store, plan.scenario.as_deref()).await?;
        let key = world_key(&receipt, scenario_id);
        let pack = read_pack(plan, &store, &key).await?;
        Ok(Opened {
            store,
            receipt,
            key,
            pack,
        })
    }

    /// Checks the view of each selected output.
    async fn with_views(
        self,
        selection: Selection,
        plan_view: impl AsyncFn(&WorldStore, &str, &str) -> Result<ViewPlan>,
    ) -> Result<VerifiedWorld> {
        let mut outputs = Vec::with_capacity(selection.outputs.len());
        for (role, output) in selection.outputs {
            let view = plan_view(&self.store, &self.key.scenario_id, &output.id).await?;
            outputs.push(SelectedOutput {
                id: output.id,
                role,
                primary_key: output.primary_key,
                view,
            });
        }
        let pack_key = match &self.pack {
            Some(pack) => pack.oracle_pack_id.clone(),
            None => fallback_pack_key(self.store.root()),
        };
        Ok(VerifiedWorld {
            root: self.store.root().to_owned(),
            store: self.store,
            receipt: self.receipt,
            key: self.key,
            pack: self.pack,
            pack_key,
            outputs,
            mode: selection.mode,
            warnings: selection.warnings,
        })
    }
}

async fn read_pack(
    plan: &WorldPlan,
    store: &WorldStore,
    key: &super::WorldKey,
) -> Result<Option<Pack>> {
    let pack = pack::read_manifest(store, key, plan.require_manifest).await?;
    if let (true, Some(pack)) = (plan.compare_digests, &pack) {
        let digest = |file| catalogue::text(file).map(sha256_hex);
        pack::compare_digests(
            store,
            pack,
            (&plan.catalogue.name, &digest(&plan.catalogue)?),
            (&plan.gate_map.name, &digest(&plan.gate_map)?),
        )?;
    }
    let sealed = pack::read_seal(store, pack.as_ref(), plan.require_seal).await?;
    Ok(pack.map(|pack| Pack { sealed, ..pack }))
}
