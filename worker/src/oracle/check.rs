//! Checking a world: everything that a replay would check, for every output at once instead of up
//! to the first failure; and deep, everything that can be counted again.

use serde::Serialize;
use worldstream_crds::{ExitCode, GateCheck, Reason};

pub use super::checks::{Check, State};

use super::OpenWorld;
use super::checks::Checks;
use crate::failure::{Failure, Result};
use crate::plan::WorldPlan;
use crate::view::build::audit::audit;
use crate::view::{self, build};
use crate::world::catalogue::CatalogueOutput;
use crate::world::identity::sha256_hex;
use crate::world::pack;

/// All checks of a world.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The resolved root's text.
    pub engine_run_root: String,
    /// The scenario; none if that could not be found out.
    pub scenario_id: Option<String>,
    /// Whether every row and bundle was counted again.
    pub deep: bool,
    /// Whether no check failed.
    pub ok: bool,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// The first check that failed; one that failed by the world before one whose store was away.
    pub fn first_failed(&self) -> Option<&Check> {
        let mut failed = self.checks.iter().filter(|it| it.state == State::Failed);
        let first = failed.clone().next();
        failed.find(|it| !it.unavailable).or(first)
    }

    /// How a process that checked ends: with `Unavailable` where nothing failed but the store.
    pub fn exit_code(&self) -> ExitCode {
        match self.first_failed() {
            None => ExitCode::Done,
            Some(check) if check.unavailable => ExitCode::Unavailable,
            Some(_) => ExitCode::FailClosed,
        }
    }
}

/// Checks the world that a plan names, and the views of these outputs (none: those that the
/// profile streams). `deep` has so many threads count rows again; `rows` is told how many were.
/// What fails is in the report, and never an error. Not to be called in a task of a runtime.
///
/// # Errors
/// Only for what keeps anything from being looked at.
pub fn check(
    plan: WorldPlan,
    outputs: &[String],
    deep: Option<usize>,
    rows: &(dyn Fn(u64) + Sync),
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "runtime").cause(&error))?;
    let mut checks = Checks::of("world");
    let root = plan.engine_run_root.clone();
    let opened = runtime.block_on(OpenWorld::open(plan));
    let world = checks.note("run receipt and scenario", opened, |world| {
        format!(
            "run {}, scenario {}",
            world.receipt.run_id, world.key.scenario_id
        )
    });
    let Some(world) = world else {
        return Ok(report(root, None, deep, checks.made));
    };
    runtime.block_on(pack_checks(&world, &mut checks));
    let outputs = checks.note("outputs", world.outputs(outputs), |outputs| {
        outputs
            .iter()
            .map(|it| it.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    });
    let mut made = checks.made;
    for output in outputs.unwrap_or_default() {
        let mut checks = Checks::of(&output.id);
        runtime.block_on(gate_checks(&world, &output, deep.is_some(), &mut checks));
        let planned = view::plan_view(&world.store, &world.key.scenario_id, &output.id);
        let view = checks.note("view", runtime.block_on(planned), |view| {
            format!("{} rows in {} parts", view.rows, view.parts.len())
        });
        if let Some(view) = view {
            match audit(&world.target(), &output, &view, deep, rows) {
                Ok(findings) => checks.findings(findings),
                Err(failure) => checks.failed("view's content", &failure),
            }
        }
        made.extend(checks.made);
    }
    let root = world.store.root().to_owned();
    Ok(report(root, Some(world.key.scenario_id), deep, made))
}

fn report(
    engine_run_root: String,
    scenario_id: Option<String>,
    deep: Option<usize>,
    checks: Vec<Check>,
) -> Report {
    Report {
        engine_run_root,
        scenario_id,
        deep: deep.is_some(),
        ok: checks.iter().all(|check| check.state != State::Failed),
        checks,
    }
}

async fn pack_checks(world: &OpenWorld, checks: &mut Checks) {
    let plan = &world.plan;
    let manifest = pack::read_manifest(&world.store, &world.key, plan.require_manifest).await;
    let pack = match manifest {
        Ok(None) => {
            checks.skipped(
                "pack manifest",
                "there is none, and the profile asks for none",
            );
            None
        }
        Ok(Some(pack)) => checks.note("pack manifest", Ok(pack), |pack| {
            format!(
                "pack {}, release {}",
                pack.oracle_pack_id, pack.engine_release
            )
        }),
        Err(failure) => {
            checks.failed("pack manifest", &failure);
            None
        }
    };
    if let Some(pack) = &pack {
        let digest = |file: &crate::plan::Named| sha256_hex(file.text.as_deref().unwrap_or(""));
        let compared = pack::compare_digests(
            &world.store,
            pack,
            (&plan.catalogue.name, &digest(&plan.catalogue)),
            (&plan.gate_map.name, &digest(&plan.gate_map)),
        );
        match compared {
            Err(failure) if !plan.compare_digests => {
                checks.skipped(
                    "catalogue and gate map",
                    &format!(
                        "others than the profile's, which does not ask: {}",
                        failure.message()
                    ),
                );
            }
            compared => {
                let said = |_: &()| "those that the world was sealed with".to_owned();
                checks.note("catalogue and gate map", compared, said);
            }
        }
    }
    match pack::read_seal(&world.store, pack.as_ref(), plan.require_seal).await {
        Ok(false) => checks.skipped("seal", "there is none, and the profile asks for none"),
        sealed => {
            checks.note("seal", sealed, |_| "sealed".to_owned());
        }
    }
}

async fn gate_checks(world: &OpenWorld, output: &CatalogueOutput, deep: bool, checks: &mut Checks) {
    if output.gates.is_empty() {
        checks.skipped("gates", "it requires none");
        return;
    }
    let how = match deep {
        true => GateCheck::Digest,
        false => world.plan.gate_check,
    };
    let upstream = world.plan.gate_upstream;
    let passed = world.gates().check([output], how, upstream).await;
    checks.note("gates", passed, |()| match how {
        GateCheck::Digest => format!("{}: the digests of their bundles", output.gates.join(", ")),
        GateCheck::Existence => format!("{}: passed", output.gates.join(", ")),
    });
}

/// The threads that count if nobody says otherwise.
pub fn default_threads() -> usize {
    build::BuildOptions::default().threads
}
