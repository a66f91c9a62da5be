//! Views that are not built, because of what is there, and one that is not what it was built of.

use serde_json::json;

use super::setup::{Seen, Setup, TRAFFIC};
use super::{Provocation, of_raw};
use crate::failure::Result;
use crate::oracle::{OpenWorld, check};
use crate::validate::blocking;
use crate::view::build::{self, BuildOptions, Progress};

pub const ALL: &[Provocation] = &[
    of_raw(
        "STREAM_RECEIPT_MISMATCH",
        "a view is built over one of other raw parts",
        |it| {
            let receipt = it.view("_stream_sort_receipt.json");
            it.edit(&receipt, "source_locator_digest", json!("0".repeat(64)))?;
            built(it)
        },
    ),
    of_raw(
        "STREAM_VIEW_PARTIAL_EXISTS",
        "a view is built where parts lie without a receipt",
        |it| {
            it.remove(&it.view("_stream_sort_receipt.json"))?;
            it.remove(&it.view("_stream_view_manifest.json"))?;
            built(it)
        },
    ),
    of_raw(
        "STREAM_RECEIPT_MISSING",
        "a view is built where a manifest lies without a receipt",
        |it| {
            it.remove(&it.view("_stream_sort_receipt.json"))?;
            it.remove(&it.view("part-000000.parquet"))?;
            it.remove(&it.view("part-000001.parquet"))?;
            built(it)
        },
    ),
    of_raw(
        "STREAM_SORT_VALIDATION_FAILED",
        "a view's rows are swapped for others, and counted again",
        |it| {
            let part = it.view("part-000000.parquet");
            std::fs::copy(it.view("part-000001.parquet"), &part)
                .map_err(|error| super::setup::cannot(&part, &error))?;
            let plan = match it.world() {
                Ok(plan) => plan,
                Err(error) => return Ok(Seen::planned(error)),
            };
            let report = check::check(plan, &[TRAFFIC.to_owned()], Some(1), &|_| {})?;
            let failed = report
                .checks
                .into_iter()
                .filter(|check| check.reason.is_some());
            let found =
                failed.map(|check| (check.reason, format!("{}: {}", check.what, check.message)));
            let wanted = worldstream_crds::Reason::StreamSortValidationFailed;
            let all: Vec<_> = found.collect();
            let first = all
                .iter()
                .find(|(reason, _)| *reason == Some(wanted))
                .or(all.first());
            Ok(Seen {
                code: first.and_then(|(reason, _)| reason.map(|it| it.to_string())),
                message: first
                    .map_or_else(|| "nothing failed".to_owned(), |(_, text)| text.clone()),
                pushed: 0,
            })
        },
    ),
];

/// Builds the traffic's view.
fn built(it: &Setup) -> Result<Seen> {
    let plan = match it.world() {
        Ok(plan) => plan,
        Err(error) => return Ok(Seen::planned(error)),
    };
    let world = blocking(OpenWorld::open(plan))??;
    let options = BuildOptions {
        threads: 1,
        ..BuildOptions::default()
    };
    let outputs = world.outputs(&[TRAFFIC.to_owned()])?;
    let built = outputs.iter().try_for_each(|output| {
        let progress = Progress::default();
        build::build(&world.target(), output, &options, &progress, &|_| {}).map(drop)
    });
    Ok(Seen::of(built))
}
