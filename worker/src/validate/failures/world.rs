//! A world that is not what it says, or not all there.

use serde_json::{Value, json};

use super::setup::{MANIFEST, RECEIPT, SEAL, Seen, Setup, TRAFFIC, cannot};
use super::{Provocation, before};
use crate::failure::Result;
use crate::oracle::{OpenWorld, seal};
use crate::validate::blocking;

pub const ALL: &[Provocation] = &[
    before("ENGINE_ROOT_MISSING", "no run root is given", |it| {
        it.flags.engine_run_root = None;
        it.stream()
    }),
    before(
        "PLATFORM_RUN_ID_MISSING",
        "no platform run id is given",
        |it| {
            it.flags.platform_run_id = None;
            it.stream()
        },
    ),
    before(
        "ROOT_NOT_ALLOWED",
        "the world lies outside the allowed roots",
        |it| {
            it.set("world/allowedRoots", json!(["s3://oracle-store/elsewhere"]));
            it.stream()
        },
    ),
    before(
        "RUN_RECEIPT_UNREADABLE",
        "run_receipt.json is taken away",
        |it| {
            it.remove(&it.path(RECEIPT))?;
            it.stream()
        },
    ),
    before("WORLD_KEY_MISSING", "run_receipt.json has no seed", |it| {
        it.edit(&it.path(RECEIPT), "seed", Value::Null)?;
        it.stream()
    }),
    before(
        "SCENARIO_ID_MISSING",
        "no scenario is given, and the world names none",
        |it| {
            it.flags.scenario = None;
            it.remove(&it.path("data"))?;
            it.remove(&it.path("reports"))?;
            locally(it)
        },
    ),
    before(
        "SCENARIO_ID_AMBIGUOUS",
        "no scenario is given, and the world names two",
        |it| {
            it.flags.scenario = None;
            it.write(&it.path("reports/scenario_id=other_v1/report"), "")?;
            locally(it)
        },
    ),
    before(
        "PACK_MANIFEST_MISSING",
        "the pack manifest is taken away",
        |it| {
            it.remove(&it.path(MANIFEST))?;
            it.stream()
        },
    ),
    before(
        "PACK_MANIFEST_INVALID",
        "the pack manifest is a list",
        |it| {
            it.write(&it.path(MANIFEST), "[]")?;
            it.stream()
        },
    ),
    before(
        "WORLD_KEY_MISMATCH",
        "another scenario than the manifest's is asked for",
        |it| {
            it.flags.scenario = Some("other_v1".into());
            it.stream()
        },
    ),
    before("PACK_NOT_SEALED", "the seal is taken away", |it| {
        it.remove(&it.path(SEAL))?;
        it.stream()
    }),
    before("SEAL_MISMATCH", "the seal is of another pack", |it| {
        it.edit(&it.path(SEAL), "oracle_pack_id", json!("0".repeat(64)))?;
        it.stream()
    }),
    before(
        "MANIFEST_MISMATCH",
        "the world is sealed again, of another release",
        |it| {
            let plan = match it.world() {
                Ok(plan) => plan,
                Err(error) => return Ok(Seen::planned(error)),
            };
            let sealed = async { seal::seal(&OpenWorld::open(plan).await?, "another").await };
            Ok(Seen::of(blocking(sealed)?))
        },
    ),
    before("GATE_PASS_MISSING", "a gate's flag is taken away", |it| {
        it.remove(&flag(it)?)?;
        it.stream()
    }),
    before(
        "GATE_PASS_INVALID",
        "a gate's bundle is another one than its flag says",
        |it| {
            let flag = flag(it)?;
            let beside = flag.with_file_name("summary.json");
            it.write(&beside, "{\"changed\": true}")?;
            it.stream()
        },
    ),
    before(
        "STREAM_VIEW_MISSING",
        "a view's receipt is taken away",
        |it| {
            it.remove(&it.view("_stream_sort_receipt.json"))?;
            it.stream()
        },
    ),
    before(
        "STREAM_VIEW_RECEIPT_BAD",
        "a view's receipt says FAILED",
        |it| {
            it.edit(
                &it.view("_stream_sort_receipt.json"),
                "status",
                json!("FAILED"),
            )?;
            it.stream()
        },
    ),
    before(
        "STREAM_VIEW_ID_MISMATCH",
        "a view is of another world",
        |it| {
            let other = json!("0".repeat(64));
            it.edit(
                &it.view("_stream_view_manifest.json"),
                "stream_view_id",
                other,
            )?;
            it.stream()
        },
    ),
    before(
        "STREAM_VIEW_OUTPUT_MISMATCH",
        "a view is of another output",
        |it| {
            let other = json!("s4_event_labels_6B");
            it.edit(&it.view("_stream_view_manifest.json"), "output_id", other)?;
            it.stream()
        },
    ),
    before("STREAM_VIEW_EMPTY", "a view's parts are taken away", |it| {
        it.remove(&it.view("part-000000.parquet"))?;
        it.remove(&it.view("part-000001.parquet"))?;
        it.stream()
    }),
];

/// Streams the world by the path where it lies: a root in S3 is not searched for scenarios.
fn locally(it: &mut Setup) -> Result<Seen> {
    it.flags.engine_run_root = Some(it.dir.join("world").display().to_string());
    it.stream()
}

/// The flag of the traffic's gate.
fn flag(it: &Setup) -> Result<std::path::PathBuf> {
    let folder = it.path("data/layer3/6B/validation");
    let below = std::fs::read_dir(&folder).map_err(|error| cannot(&folder, &error))?;
    let mut below = below
        .flatten()
        .map(|entry| entry.path().join("_passed.flag"));
    below.find(|flag| flag.is_file()).ok_or_else(|| {
        crate::Failure::new(worldstream_crds::Reason::StreamFailed, TRAFFIC)
            .expected("a sample world with the gate of its traffic")
    })
}
