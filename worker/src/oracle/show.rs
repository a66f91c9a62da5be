//! What is in a world: outputs with their rows, time range, size and views; gates; the seal; and
//! how events lie in time.

use serde::Serialize;
use worldstream_crds::{ExitCode, GateCheck, Reason};

use super::OpenWorld;
use crate::failure::{Failure, Result};
use crate::time::EventTime;
use crate::view::{self, build};
use crate::world::catalogue::CatalogueOutput;
use crate::world::pack;

/// Steps of a histogram.
pub const STEPS: usize = 60;

/// A world, shown.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The resolved root's text.
    pub engine_run_root: String,
    /// The engine's run id.
    pub run_id: String,
    /// The scenario.
    pub scenario_id: String,
    /// The world key's other fields.
    pub manifest_fingerprint: String,
    /// Its hash of parameters.
    pub parameter_hash: String,
    /// Its seed.
    pub seed: u64,
    /// The pack's id, or why there is none.
    pub pack: Word,
    /// The seal.
    pub seal: Word,
    /// One for each gate that the outputs require.
    pub gates: Vec<GateShown>,
    /// Outputs that have raw parts or a view.
    pub outputs: Vec<OutputShown>,
}

/// What was found, or what is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Word {
    /// Whether it is there and sound.
    pub ok: bool,
    /// In words.
    pub text: String,
}

/// A gate.
#[derive(Debug, Clone, Serialize)]
pub struct GateShown {
    /// Its id.
    pub gate_id: String,
    /// Whether its flag is there.
    pub passed: bool,
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputShown {
    /// Its id.
    pub output_id: String,
    /// Raw parts.
    pub raw_parts: usize,
    /// Bytes of the raw parts.
    pub raw_bytes: u64,
    /// Rows of the view; none if there is no sound one.
    pub rows: Option<u64>,
    /// Parts of the view.
    pub view_parts: usize,
    /// Bytes of the view's parts.
    pub view_bytes: u64,
    /// `ok`, `none`, or what is wrong.
    pub view: Word,
    /// Event time of the earliest row.
    pub first: Option<EventTime>,
    /// Event time of the latest row.
    pub last: Option<EventTime>,
    /// Rows of each of [`STEPS`] equal steps from the first event time to the last; empty if it
    /// was not asked for.
    pub histogram: Vec<u64>,
}

/// Looks at a world; `histograms` reads the time key of every row. Not to be called in a task of
/// a runtime.
///
/// # Errors
/// Those of a store that cannot be read; what is wrong with the world is shown.
pub fn show(world: &OpenWorld, histograms: bool) -> Result<Shown> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "runtime").cause(&error))?;
    let (pack, seal) = runtime.block_on(identity(world))?;
    let ids = runtime.block_on(known(world))?;
    let mut outputs = Vec::new();
    let mut gates: Vec<GateShown> = Vec::new();
    for output in &ids {
        let shown = runtime.block_on(output_shown(world, output))?;
        let Some((mut shown, plan)) = shown else {
            continue;
        };
        if let (true, Some(plan)) = (histograms, &plan) {
            match view::histogram(&world.store, plan, STEPS) {
                Ok(found) => {
                    shown.first = found.first;
                    shown.last = found.last;
                    shown.histogram = found.steps;
                }
                Err(failure) => shown.view = wrong(failure)?,
            }
        }
        outputs.push(shown);
        for gate in &output.gates {
            if gates.iter().any(|known| known.gate_id == *gate) {
                continue;
            }
            let alone = CatalogueOutput {
                gates: vec![gate.clone()],
                ..output.clone()
            };
            let checks = world.gates();
            let checked = checks.check([&alone], GateCheck::Existence, false);
            let passed = match runtime.block_on(checked) {
                Ok(()) => true,
                Err(failure) => wrong(failure)?.ok,
            };
            gates.push(GateShown {
                gate_id: gate.clone(),
                passed,
            });
        }
    }
    Ok(Shown {
        engine_run_root: world.store.root().to_owned(),
        run_id: world.receipt.run_id.clone(),
        scenario_id: world.key.scenario_id.clone(),
        manifest_fingerprint: world.key.manifest_fingerprint.clone(),
        parameter_hash: world.key.parameter_hash.clone(),
        seed: world.key.seed,
        pack,
        seal,
        gates,
        outputs,
    })
}

/// What is wrong is shown; a store that is away is a failure, as nothing is known then.
fn wrong(failure: Failure) -> Result<Word> {
    match failure.exit_code() {
        ExitCode::Unavailable => Err(failure),
        _ => Ok(Word {
            ok: false,
            text: failure.to_string(),
        }),
    }
}

async fn identity(world: &OpenWorld) -> Result<(Word, Word)> {
    let (pack, text) = match pack::read_manifest(&world.store, &world.key, false).await {
        Ok(Some(pack)) => {
            let text = format!("{} (release {})", pack.oracle_pack_id, pack.engine_release);
            (Some(pack), Word { ok: true, text })
        }
        Ok(None) => (
            None,
            Word {
                ok: false,
                text: "none".into(),
            },
        ),
        Err(failure) => (None, wrong(failure)?),
    };
    let seal = match pack::read_seal(&world.store, pack.as_ref(), false).await {
        Ok(true) => Word {
            ok: true,
            text: "sealed".into(),
        },
        Ok(false) => Word {
            ok: false,
            text: "none".into(),
        },
        Err(failure) => wrong(failure)?,
    };
    Ok((text, seal))
}

/// The outputs of the catalogue, and those that have a view.
async fn known(world: &OpenWorld) -> Result<Vec<CatalogueOutput>> {
    let mut outputs: Vec<CatalogueOutput> = world.catalogue.iter().cloned().collect();
    let folders = world.store.folders("stream_view/ts_utc").await;
    let folders = folders.map_err(|error| {
        error.explain(Failure::new(
            Reason::StreamFailed,
            world.store.name("stream_view/ts_utc"),
        ))
    })?;
    for id in folders
        .iter()
        .filter_map(|name| name.strip_prefix("output_id="))
    {
        if outputs.iter().all(|known| known.id != id) {
            outputs.push(CatalogueOutput {
                id: id.to_owned(),
                class: String::new(),
                path_template: String::new(),
                primary_key: Vec::new(),
                gates: Vec::new(),
            });
        }
    }
    Ok(outputs)
}

/// An output with the plan of its view; none if the world has nothing of it.
async fn output_shown(
    world: &OpenWorld,
    output: &CatalogueOutput,
) -> Result<Option<(OutputShown, Option<view::ViewPlan>)>> {
    let (raw_parts, raw_bytes) = build::raw_size(&world.target(), output).await?;
    let folder = build::view_folder(&output.id);
    let there = world.store.any(&folder).await.map_err(|error| {
        error.explain(Failure::new(
            Reason::StreamFailed,
            world.store.name(&folder),
        ))
    })?;
    if raw_parts == 0 && !there {
        return Ok(None);
    }
    let (view, plan) = match there {
        false => (
            Word {
                ok: false,
                text: "none".into(),
            },
            None,
        ),
        true => match view::plan_view(&world.store, &world.key.scenario_id, &output.id).await {
            Ok(plan) => (
                Word {
                    ok: true,
                    text: "ok".into(),
                },
                Some(plan),
            ),
            Err(failure) => (wrong(failure)?, None),
        },
    };
    let parts = plan.as_ref().map_or(&[][..], |plan| &plan.parts);
    let shown = OutputShown {
        output_id: output.id.clone(),
        raw_parts,
        raw_bytes,
        rows: plan.as_ref().map(|plan| plan.rows),
        view_parts: parts.len(),
        view_bytes: parts.iter().map(|part| part.size).sum(),
        view,
        first: None,
        last: None,
        histogram: Vec::new(),
    };
    Ok(Some((shown, plan)))
}
