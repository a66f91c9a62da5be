//! Whether a finished view is what its manifest and receipt say, and what the raw parts hold: a
//! look at the files that are there, or deep, at every row.

use serde_json::{Map, Value};
use worldstream_crds::Reason;

use super::super::check::{MANIFEST, RECEIPT};
use super::super::object::Object;
use super::super::{PartPlan, ViewPlan};
use super::layout::CREATED_BY;
use super::notes::view_folder;
use super::parts::{RawParts, digest_of, find_any, open};
use super::recount::{Counted, recount};
use super::{Target, stats::Stats};
use crate::envelope::parse_event_time;
use crate::failure::{Failure, Result};
use crate::world::catalogue::CatalogueOutput;
use crate::world::identity::{PARTITION_GRANULARITY, stream_view_id};

/// What one look found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at, such as `rows`.
    pub what: &'static str,
    /// What was found, or what is wrong.
    pub found: Result<String>,
    /// It could not be looked at, which is no failure.
    pub skipped: bool,
}

fn finding(what: &'static str, found: Result<String>) -> Finding {
    let skipped = false;
    Finding {
        what,
        found,
        skipped,
    }
}

fn skipped(what: &'static str, why: &str) -> Finding {
    Finding {
        what,
        found: Ok(why.to_owned()),
        skipped: true,
    }
}

/// The fields that a builder's manifest and receipt have (contracts section 3).
const MANIFEST_FIELDS: [&str; 11] = [
    "stream_view_id",
    "engine_run_root",
    "stream_view_root",
    "engine_run_id",
    "scenario_id",
    "output_id",
    "output_ids",
    "world_key",
    "sort_keys",
    "partition_granularity",
    "created_utc",
];
const RECEIPT_FIELDS: [&str; 12] = [
    "stream_view_id",
    "engine_run_root",
    "stream_view_root",
    "output_id",
    "output_ids",
    "sort_keys",
    "partition_granularity",
    "source_locator_digest",
    "raw_stats",
    "sorted_stats",
    "created_utc",
    "status",
];

/// Audits a view that [`super::super::plan_view`] found readable. `rows` is told as rows are
/// counted, if `deep`; then it blocks for as long as reading view and raw parts takes. Not to be
/// called in a task of a runtime.
pub fn audit(
    target: &Target<'_>,
    output: &CatalogueOutput,
    view: &ViewPlan,
    deep: Option<usize>,
    rows: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "runtime").cause(&error))?;
    let folder = view_folder(&output.id);
    let manifest = runtime.block_on(Notes::read(target, &format!("{folder}/{MANIFEST}")))?;
    let receipt = runtime.block_on(Notes::read(target, &format!("{folder}/{RECEIPT}")))?;
    let raw = runtime.block_on(find_any(target, output));
    let mut findings = vec![
        finding(
            "manifest",
            manifest.check(target, output, &MANIFEST_FIELDS, deep.is_some()),
        ),
        finding(
            "receipt",
            receipt.check(target, output, &RECEIPT_FIELDS, deep.is_some()),
        ),
        finding("receipt's rows", receipt.same_rows(view.rows)),
        match &raw {
            Ok(found) if found.is_empty() => skipped("raw parts", "there are none"),
            Ok(found) => finding("raw parts", receipt.same_locators(found)),
            Err(failure) => finding("raw parts", Err(failure.clone())),
        },
    ];
    let Some(threads) = deep else {
        return Ok(findings);
    };
    let parts = view.parts.iter().map(|part| object(target, part)).collect();
    let parts = runtime.block_on(open(parts))?;
    let counted = recount(target.store, &parts.parts, &parts.time, threads, rows)?;
    findings.push(finding("order", in_order(&counted)));
    findings.push(finding(
        "rows of the view",
        receipt.same_stats(&parts, &counted.stats),
    ));
    let Some(found) = raw.ok().filter(|found| !found.is_empty()) else {
        findings.push(skipped("raw against view", "there are no raw parts"));
        return Ok(findings);
    };
    let compared = runtime
        .block_on(open(found))
        .and_then(|raw| same_as_raw(target, view, &parts, &counted, &raw, threads, rows));
    findings.push(finding("raw against view", compared));
    Ok(findings)
}

fn object(target: &Target<'_>, part: &PartPlan) -> Object {
    Object {
        store: target.store.store().clone(),
        name: part.name.clone(),
        location: part.location.clone(),
        size: part.size,
        etag: part.etag.clone(),
    }
}

fn in_order(counted: &Counted) -> Result<String> {
    match &counted.disorder {
        None => Ok("every row at or behind the time of the one ahead of it".to_owned()),
        Some(at) => Err(Failure::new(Reason::StreamSortValidationFailed, &at.file)
            .field(format!("row {}", at.row))
            .found("a time before that of the row ahead of it")
            .expected("rows in the order of time")),
    }
}

fn same_as_raw(
    target: &Target<'_>,
    view: &ViewPlan,
    parts: &RawParts,
    counted: &Counted,
    raw: &RawParts,
    threads: usize,
    rows: &(dyn Fn(u64) + Sync),
) -> Result<String> {
    let names = |parts: &RawParts| -> Vec<String> {
        let fields = parts.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    };
    let failure =
        |field: String| Failure::new(Reason::StreamSortValidationFailed, &view.folder).field(field);
    if names(parts) != names(raw) {
        return Err(failure("columns".into())
            .found(names(parts).join(", "))
            .expected(format!("{}, as in the raw parts", names(raw).join(", "))));
    }
    let expected = recount(target.store, &raw.parts, &raw.time, threads, rows)?.stats;
    let (found, expected) = (
        counted.stats.json(parts.time.unit),
        expected.json(raw.time.unit),
    );
    for field in [
        "row_count",
        "min_ts_utc",
        "max_ts_utc",
        "hash_sum",
        "hash_sum2",
    ] {
        if found[field] != expected[field] {
            return Err(failure(field.into())
                .found(found[field].to_string())
                .expected(format!("{}, as in the raw parts", expected[field])));
        }
    }
    Ok(format!("the same {} rows", counted.stats.rows))
}

/// Whether two values say the same: builders write times in forms of their own.
fn same_value(found: &Value, now: &Value) -> bool {
    let time = |value: &Value| value.as_str().and_then(parse_event_time);
    found == now || time(found).is_some_and(|found| Some(found) == time(now))
}

/// A manifest or a receipt.
struct Notes {
    name: String,
    fields: Map<String, Value>,
}

impl Notes {
    async fn read(target: &Target<'_>, relative: &str) -> Result<Notes> {
        let name = target.store.name(relative);
        let failure = || Failure::new(Reason::StreamViewMissing, &name);
        let bytes = target.store.read(relative).await;
        let bytes = bytes.map_err(|error| error.explain(failure()))?;
        let fields = serde_json::from_slice(&bytes.unwrap_or_default());
        let fields = fields.map_err(|error| failure().cause(&error))?;
        Ok(Notes { name, fields })
    }

    fn wrong(&self, field: &str, expected: String) -> Failure {
        let found = self.fields.get(field);
        Failure::new(Reason::StreamReceiptMismatch, &self.name)
            .field(field)
            .found(found.map_or("nothing".to_owned(), Value::to_string))
            .expected(expected)
    }

    /// Fields that are there say what they must; all are there if that is asked for.
    fn check(
        &self,
        target: &Target<'_>,
        output: &CatalogueOutput,
        fields: &[&str],
        all: bool,
    ) -> Result<String> {
        let key = target.key;
        let folder = target.store.name(&view_folder(&output.id));
        for &field in fields {
            let expected = match field {
                "stream_view_id" => {
                    Some(stream_view_id(target.store.root(), &key.scenario_id, &output.id).into())
                }
                "engine_run_root" => Some(target.store.root().into()),
                "stream_view_root" => Some(folder.clone().into()),
                "engine_run_id" => Some(target.run_id.into()),
                "scenario_id" => Some(key.scenario_id.clone().into()),
                "output_id" => Some(output.id.clone().into()),
                "output_ids" => Some(vec![output.id.clone()].into()),
                "partition_granularity" => Some(PARTITION_GRANULARITY.into()),
                "sort_keys" => Some(Value::from(
                    crate::world::identity::SORT_KEYS.map(Value::from).to_vec(),
                )),
                "world_key" => Some(serde_json::json!({
                    "manifest_fingerprint": key.manifest_fingerprint,
                    "parameter_hash": key.parameter_hash,
                    "scenario_id": key.scenario_id,
                    "seed": key.seed,
                })),
                _ => None,
            };
            match (self.fields.get(field), expected) {
                (None, _) if all => return Err(self.wrong(field, "a value".to_owned())),
                (Some(found), Some(expected)) if *found != expected => {
                    return Err(self.wrong(field, expected.to_string()));
                }
                _ => {}
            }
        }
        let there = fields
            .iter()
            .filter(|field| self.fields.contains_key(**field));
        Ok(format!("{} of {} fields", there.count(), fields.len()))
    }

    fn stats(&self, which: &str, field: &str) -> Option<&Value> {
        self.fields.get(which)?.get(field)
    }

    /// The rows that it counted are those of the parts' footers, raw and sorted.
    fn same_rows(&self, rows: u64) -> Result<String> {
        for stats in ["raw_stats", "sorted_stats"] {
            if self.fields.get(stats).is_some_and(|it| !it.is_object()) {
                return Err(self.wrong(stats, "an object with counts".to_owned()));
            }
        }
        if self.fields.get("raw_stats") != self.fields.get("sorted_stats") {
            let raw = self
                .fields
                .get("raw_stats")
                .map_or("nothing".into(), Value::to_string);
            return Err(self.wrong("sorted_stats", format!("{raw}, as in raw_stats")));
        }
        match self.stats("sorted_stats", "row_count") {
            None => Ok("not counted".to_owned()),
            Some(found) if found.as_u64() == Some(rows) => Ok(format!("{rows} in the parts, too")),
            Some(_) => Err(self.wrong("sorted_stats", format!("{rows} rows, as in the parts"))),
        }
    }

    fn same_locators(&self, raw: &[Object]) -> Result<String> {
        let digest = digest_of(raw);
        match self.fields.get("source_locator_digest") {
            Some(found) if found.as_str() != Some(&digest) => {
                let expected = format!("{digest}, that of {} raw parts", raw.len());
                Err(self.wrong("source_locator_digest", expected))
            }
            Some(_) => Ok(format!("the {} that it was built from", raw.len())),
            None => Ok(format!("{}, not named in the receipt", raw.len())),
        }
    }

    /// What was counted now is what the receipt says. Its hash sums are its builder's own, and
    /// compared only where that was this program.
    fn same_stats(&self, parts: &RawParts, counted: &Stats) -> Result<String> {
        let now = counted.json(parts.time.unit);
        let own = parts.created_by.as_deref() == Some(CREATED_BY);
        let mut fields = vec!["row_count", "min_ts_utc", "max_ts_utc"];
        if own {
            fields.extend(["hash_sum", "hash_sum2"]);
        }
        for field in fields {
            let found = self.stats("sorted_stats", field);
            if !found.is_some_and(|found| same_value(found, &now[field])) {
                return Err(Failure::new(Reason::StreamSortValidationFailed, &self.name)
                    .field(format!("sorted_stats.{field}"))
                    .found(found.map_or("nothing".to_owned(), Value::to_string))
                    .expected(format!("{}, as counted now", now[field])));
            }
        }
        Ok(match own {
            true => format!(
                "{} rows, hash sums and time range as in the receipt",
                counted.rows
            ),
            false => format!("{} rows and time range as in the receipt", counted.rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_as_times_and_all_else_as_it_is() {
        for (found, now, same) in [
            ("2026-01-01 00:00:00", "2026-01-01T00:00:00.000000Z", true),
            (
                "2026-01-01T01:00:00+01:00",
                "2026-01-01T00:00:00.000000Z",
                true,
            ),
            ("2026-01-01 00:00:01", "2026-01-01T00:00:00.000000Z", false),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            assert_eq!(same_value(&found.into(), &now.into()), same, "{found}");
        }
        assert!(same_value(&Value::Null, &Value::Null));
        assert!(!same_value(&"3".into(), &3.into()));
    }
}
