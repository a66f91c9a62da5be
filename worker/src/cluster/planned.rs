//! What preflight writes down of an output, and what a worker compares before it sends the first
//! event: a world that was verified is the one that is streamed, or nothing is. Pure.

use worldstream_crds::{OutputPlan, OutputRole, PlannedFile, Reason};

use crate::failure::{Failure, Result};
use crate::view::{Extent, PartPlan, ViewPlan};
use crate::world::{Role, VerifiedWorld};

/// The plan of an output of a world that was verified.
pub fn plan_of(
    world: &VerifiedWorld,
    view: &ViewPlan,
    extent: &Extent,
    scenario_run_id: &str,
) -> OutputPlan {
    OutputPlan {
        pack_key: world.pack_key.clone(),
        engine_run_id: world.receipt.run_id.clone(),
        scenario: world.key.scenario_id.clone(),
        scenario_run_id: scenario_run_id.to_owned(),
        root: world.root.clone(),
        view_id: view.view_id.clone(),
        rows: extent.rows,
        first_event_time: extent.first.map(|time| time.to_string()),
        last_event_time: extent.last.map(|time| time.to_string()),
        files: view.parts.iter().map(planned).collect(),
    }
}

fn planned(part: &PartPlan) -> PlannedFile {
    PlannedFile {
        name: file_name(&part.name).to_owned(),
        rows: part.rows,
        size: part.size,
        etag: part.etag.clone(),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// A role as the API has it.
pub fn role(role: Role) -> OutputRole {
    match role {
        Role::Context => OutputRole::Context,
        Role::Traffic => OutputRole::Traffic,
    }
}

/// Whether a world and an output's view are what preflight found.
///
/// Errors: `MANIFEST_MISMATCH` for another world, `STREAM_VIEW_CHANGED` for a view whose parts are
/// not the planned ones, naming the first that differs.
pub fn compare(plan: &OutputPlan, world: &VerifiedWorld, view: &ViewPlan) -> Result<()> {
    let identity = [
        ("root", &plan.root, &world.root),
        ("pack key", &plan.pack_key, &world.pack_key),
        (
            "run_id of the receipt",
            &plan.engine_run_id,
            &world.receipt.run_id,
        ),
        ("scenario", &plan.scenario, &world.key.scenario_id),
    ];
    for (field, planned, found) in identity {
        if planned != found {
            return Err(Failure::new(Reason::ManifestMismatch, world.root.clone())
                .field(field)
                .found(found.clone())
                .expected(format!("{planned}, as preflight found it")));
        }
    }
    let changed = |object: &str, field: &str, found: String, planned: String| {
        Failure::new(Reason::StreamViewChanged, object)
            .field(field)
            .found(found)
            .expected(format!("{planned}, as preflight found it"))
    };
    if plan.view_id != view.view_id {
        let found = view.view_id.clone();
        return Err(changed(
            &view.folder,
            "stream_view_id",
            found,
            plan.view_id.clone(),
        ));
    }
    if plan.files.len() != view.parts.len() {
        let count = |parts: usize| format!("{parts} parts");
        let (found, planned) = (count(view.parts.len()), count(plan.files.len()));
        return Err(changed(&view.folder, "parts", found, planned));
    }
    for (expected, part) in plan.files.iter().zip(&view.parts) {
        let found = planned(part);
        let etag = |file: &PlannedFile| file.etag.clone().unwrap_or_default();
        let fields = [
            ("name", found.name.clone(), expected.name.clone()),
            ("rows", found.rows.to_string(), expected.rows.to_string()),
            ("size", found.size.to_string(), expected.size.to_string()),
            ("etag", etag(&found), etag(expected)),
        ];
        for (field, found, expected) in fields {
            if found != expected {
                return Err(changed(&part.name, field, found, expected));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;
    use crate::world::{Receipt, WorldKey, WorldStore};
    use object_store::path::Path;
    use std::sync::Arc;
    use worldstream_crds::TrafficMode;

    fn world() -> VerifiedWorld {
        let root = "s3://bucket-q/worlds/kappa";
        let store = Arc::new(object_store::memory::InMemory::new());
        VerifiedWorld {
            store: WorldStore::new(store, Path::default(), root),
            root: root.into(),
            receipt: Receipt {
                run_id: "aa".repeat(16),
                manifest_fingerprint: "bb".repeat(32),
                parameter_hash: "cc".repeat(32),
                seed: 9,
            },
            key: WorldKey {
                manifest_fingerprint: "bb".repeat(32),
                parameter_hash: "cc".repeat(32),
                scenario_id: "calm".into(),
                seed: 9,
            },
            pack: None,
            pack_key: "dd".repeat(32),
            outputs: Vec::new(),
            mode: TrafficMode::Baseline,
            warnings: Vec::new(),
        }
    }

    fn view() -> ViewPlan {
        let folder = "s3://bucket-q/worlds/kappa/stream_view/ts_utc/output_id=ledger_9X";
        let part = |index: u64| PartPlan {
            name: format!("{folder}/part-{index:06}.parquet"),
            location: Path::from("x"),
            size: 700 + index,
            rows: 40 + index,
            footer: "ee".repeat(32),
            etag: (index > 0).then(|| format!("tag-{index}")),
        };
        ViewPlan {
            output_id: "ledger_9X".into(),
            view_id: "ff".repeat(32),
            folder: folder.into(),
            parts: vec![part(0), part(1)],
            rows: 81,
        }
    }

    #[test]
    fn a_world_is_what_was_planned_or_the_difference_is_named() {
        let at = EventTime::from_micros(1).unwrap();
        let extent = Extent {
            rows: 81,
            first: Some(at),
            last: Some(at),
        };
        let plan = plan_of(&world(), &view(), &extent, "run-5");
        assert_eq!(plan.files[1].name, "part-000001.parquet");
        compare(&plan, &world(), &view()).unwrap();
        type Change = fn(&mut VerifiedWorld, &mut ViewPlan);
        let cases: [(&str, Reason, Change); 9] = [
            ("root", Reason::ManifestMismatch, |it, _| it.root.push('2')),
            ("pack key", Reason::ManifestMismatch, |it, _| {
                it.pack_key.push('0')
            }),
            ("run_id", Reason::ManifestMismatch, |it, _| {
                it.receipt.run_id = "0".into()
            }),
            ("scenario", Reason::ManifestMismatch, |it, _| {
                it.key.scenario_id = "storm".into()
            }),
            ("stream_view_id", Reason::StreamViewChanged, |_, it| {
                it.view_id.push('0')
            }),
            ("parts", Reason::StreamViewChanged, |_, it| {
                drop(it.parts.pop())
            }),
            ("rows", Reason::StreamViewChanged, |_, it| {
                it.parts[1].rows = 7
            }),
            ("size", Reason::StreamViewChanged, |_, it| {
                it.parts[0].size = 7
            }),
            ("etag", Reason::StreamViewChanged, |_, it| {
                it.parts[1].etag = None
            }),
        ];
        for (field, reason, change) in cases {
            let (mut world, mut view) = (world(), view());
            change(&mut world, &mut view);
            let failure = compare(&plan, &world, &view).unwrap_err();
            assert_eq!(failure.reason(), reason, "{failure}");
            assert!(
                failure.message().contains(&format!(": {field}")),
                "{failure}"
            );
        }
    }
}
