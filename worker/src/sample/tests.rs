//! What must hold of a sample world, seen from outside: read with a Parquet reader, hashed anew,
//! and compared with the catalogue and gate map.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use worldstream_crds::ExitCode;

use super::*;
use crate::plan::Named;
use crate::view::ViewPlan;
use crate::world::identity::stream_view_id;
use crate::world::verify::verify_with;
use crate::world::{WorldStore, testkit};

struct Sample {
    folder: TempDir,
    report: SampleReport,
    spec: SampleSpec,
}

impl Sample {
    fn out(&self) -> &Path {
        &self.spec.out
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.out().join(path)).unwrap()).unwrap()
    }

    fn view(&self, table: Table) -> Vec<RecordBatch> {
        let folder = format!("stream_view/ts_utc/output_id={table}");
        read(&parts(&self.out().join(folder)))
    }

    fn raw(&self, table: Table) -> Vec<PathBuf> {
        let files = self.files();
        let part = |path: &&String| {
            path.starts_with("data/")
                && path.ends_with(".parquet")
                && path.contains(table.id().trim_end_matches("_5B"))
        };
        let raw = files.keys().filter(part);
        raw.map(|path| self.out().join(path)).collect()
    }

    /// Every file of the world, by its path, with its digest.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.out().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.out()).unwrap().to_str().unwrap();
                    files.insert(name.to_owned(), sha256(&fs::read(&path).unwrap()));
                }
            }
        }
        files
    }
}

fn sample(change: impl FnOnce(&mut SampleSpec)) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = SampleSpec::new(folder.path().join("world"), 7, 1_001, 3);
    // The name of the folder changes from test to test, and must not be in the bytes.
    spec.run_root = Some("s3://oracle-store/runs/wörld".to_owned());
    change(&mut spec);
    let report = write(&spec, &|_| ()).unwrap();
    Sample {
        folder,
        report,
        spec,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut parts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    parts.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
    parts.sort();
    parts
}

fn read(parts: &[PathBuf]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for part in parts {
        let file = fs::File::open(part).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        batches.extend(reader.build().unwrap().map(|batch| batch.unwrap()));
    }
    batches
}

/// A column as texts; a null is none.
fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let mut texts = Vec::new();
    for batch in batches {
        let array = batch.column_by_name(column).unwrap();
        for row in 0..array.len() {
            texts.push(array.is_valid(row).then(|| match array.data_type() {
                DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
                DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
                DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
                DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
                DataType::Boolean => array.as_boolean().value(row).to_string(),
                other => panic!("{column} is {other}"),
            }));
        }
    }
    texts
}

/// Several columns of each row, joined.
fn keys(batches: &[RecordBatch], columns: &[&str]) -> Vec<String> {
    let columns: Vec<_> = columns
        .iter()
        .map(|column| texts(batches, column))
        .collect();
    (0..columns[0].len())
        .map(|row| {
            let values = columns.iter().map(|column| column[row].clone());
            let values: Vec<_> = values
                .map(|value| value.unwrap_or("null".to_owned()))
                .collect();
            values.join("|")
        })
        .collect()
}

fn set(keys: Vec<String>) -> BTreeSet<String> {
    keys.into_iter().collect()
}

fn names(batches: &[RecordBatch]) -> Vec<String> {
    let fields = batches[0].schema();
    fields
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

#[test]
fn the_same_parameters_give_the_same_bytes_and_another_seed_others() {
    let (one, two) = (sample(|_| ()), sample(|_| ()));
    assert_eq!(one.files(), two.files());
    assert_eq!(one.report, two.report);
    let other = sample(|spec| spec.seed = 8);
    for table in Table::ALL {
        assert_ne!(
            keys(&one.view(table), &["ts_utc"]),
            keys(&other.view(table), &["ts_utc"])
        );
    }
    assert_ne!(
        one.report.manifest_fingerprint,
        other.report.manifest_fingerprint
    );
    assert_ne!(one.report.oracle_pack_id, other.report.oracle_pack_id);
}

#[test]
fn row_counts_are_exact_and_rows_are_in_order() {
    for rows in [0, 1, 2, 7, 1_001] {
        let world = sample(|spec| spec.rows = rows);
        for (table, report) in Table::ALL.into_iter().zip(&world.report.outputs) {
            let expected = if table.is_events() {
                rows
            } else {
                rows.div_ceil(2)
            };
            let view = world.view(table);
            let times = texts(&view, "ts_utc");
            assert_eq!(
                (times.len() as u64, report.rows),
                (expected, expected),
                "{table}"
            );
            assert_eq!(report.output_id, table.id());
            assert!(times.is_sorted(), "{table}");
            assert!(times.iter().flatten().all(|time| time.len() == 27
                && **time >= *"2026-01-01T00:00:00.000000Z"
                && **time < *"2026-01-04T00:00:00.000000Z"));
            let receipt = world.json(&format!(
                "stream_view/ts_utc/output_id={table}/_stream_sort_receipt.json"
            ));
            for stats in ["raw_stats", "sorted_stats"] {
                assert_eq!(receipt[stats]["row_count"], expected);
                let ends = (times.first().cloned(), times.last().cloned());
                assert_eq!(
                    receipt[stats]["min_ts_utc"].as_str().map(str::to_owned),
                    ends.0.flatten()
                );
                assert_eq!(
                    receipt[stats]["max_ts_utc"].as_str().map(str::to_owned),
                    ends.1.flatten()
                );
            }
        }
    }
}

#[test]
fn a_stable_sort_of_the_raw_parts_is_the_view() {
    // One day of many rows: enough equal event times, within and across merchants.
    let world = sample(|spec| (spec.rows, spec.days) = (30_000, 1));
    for table in Table::ALL {
        let raw_parts = world.raw(table);
        assert_eq!(raw_parts.len(), 3, "{table}");
        let (raw, view) = (read(&raw_parts), world.view(table));
        let columns = names(&view);
        let columns: Vec<_> = columns
            .iter()
            .map(String::as_str)
            .filter(|c| *c != "bucket_index")
            .collect();
        let zip = |batches: &[RecordBatch]| -> Vec<(String, String)> {
            let times = keys(batches, &["ts_utc"]);
            times.into_iter().zip(keys(batches, &columns)).collect()
        };
        let mut raw = zip(&raw);
        assert!(!raw.is_sorted_by_key(|(time, _)| time.clone()), "{table}");
        raw.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(raw.windows(2).any(|pair| pair[0].0 == pair[1].0), "{table}");
        assert!(raw == zip(&view), "{table}");
    }
}

#[test]
fn traffic_and_context_belong_together() {
    let world = sample(|_| ());
    let flows = set(keys(&world.view(Table::BaselineAnchor), &["flow_id"]));
    assert_eq!(flows.len(), 501);
    let arrivals = ["merchant_id", "arrival_seq", "ts_utc"];
    let arrived = set(keys(&world.view(Table::ArrivalEvents), &arrivals));
    assert_eq!(arrived.len(), 501);
    for table in [
        Table::ArrivalEntities,
        Table::FraudAnchor,
        Table::BaselineAnchor,
    ] {
        assert_eq!(set(keys(&world.view(table), &arrivals)), arrived, "{table}");
    }
    let who = [
        "merchant_id",
        "arrival_seq",
        "party_id",
        "account_id",
        "instrument_id",
        "device_id",
        "ip_id",
    ];
    let entities = set(keys(&world.view(Table::ArrivalEntities), &who));
    for table in [Table::FraudAnchor, Table::BaselineAnchor] {
        assert_eq!(set(keys(&world.view(table), &who)), entities, "{table}");
        assert_eq!(
            set(keys(&world.view(table), &["flow_id"])),
            flows,
            "{table}"
        );
    }
    for (events, anchor) in [
        (Table::FraudEvents, Table::FraudAnchor),
        (Table::BaselineEvents, Table::BaselineAnchor),
    ] {
        let (events, anchor) = (world.view(events), world.view(anchor));
        // A request carries its anchor's time, and every event its amount.
        let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (flow, time) in keys(&events, &["flow_id"])
            .into_iter()
            .zip(keys(&events, &["ts_utc"]))
        {
            times.entry(flow).or_default().push(time);
        }
        assert_eq!(times.len(), 501);
        assert_eq!(times.values().filter(|times| times.len() == 2).count(), 500);
        for (flow, time) in keys(&anchor, &["flow_id"])
            .into_iter()
            .zip(keys(&anchor, &["ts_utc"]))
        {
            assert_eq!(times[&flow][0], time);
            assert!(times[&flow].is_sorted_by(|a, b| a < b));
        }
        let amounts = ["flow_id", "amount"];
        assert_eq!(set(keys(&events, &amounts)), set(keys(&anchor, &amounts)));
        assert_eq!(set(keys(&events, &["flow_id", "event_seq"])).len(), 1_001);
    }
    // The overlay changes what is flagged, and nothing else.
    let (fraud, baseline) = (
        world.view(Table::FraudEvents),
        world.view(Table::BaselineEvents),
    );
    let same = ["flow_id", "event_seq", "event_type", "ts_utc"];
    assert_eq!(keys(&fraud, &same), keys(&baseline, &same));
    let flags = texts(&fraud, "fraud_flag");
    let campaigns = texts(&fraud, "campaign_id");
    let amounts = keys(&fraud, &["amount"])
        .into_iter()
        .zip(keys(&baseline, &["amount"]));
    let mut overlaid = 0;
    for ((flag, campaign), (with, without)) in flags.iter().zip(&campaigns).zip(amounts) {
        if flag.as_deref() == Some("true") {
            assert!(campaign.is_some());
            overlaid += 1;
        } else {
            assert_eq!(with, without);
        }
    }
    assert!((1..300).contains(&overlaid), "{overlaid}");
}

#[test]
fn there_are_nulls_unicode_and_ids_above_2_to_63() {
    for rows in [1, 2, 1_001] {
        let world = sample(|spec| spec.rows = rows);
        let wide = |table: Table, column: &str| {
            let ids = keys(&world.view(table), &[column]);
            ids.iter()
                .any(|id| id.parse::<u64>().unwrap() > i64::MAX as u64)
        };
        assert!(wide(Table::BaselineEvents, "flow_id"));
        assert!(wide(Table::FraudAnchor, "flow_id"));
        assert!(wide(Table::ArrivalEvents, "merchant_id"));
        assert!(wide(Table::ArrivalEntities, "merchant_id"));
        let campaigns = texts(&world.view(Table::FraudEvents), "campaign_id");
        assert!(campaigns.iter().flatten().any(|name| !name.is_ascii()));
        let settlement = texts(&world.view(Table::ArrivalEvents), "tzid_settlement");
        assert!(settlement.contains(&None));
        if rows > 2 {
            assert!(campaigns.contains(&None));
            assert!(settlement.iter().any(Option::is_some));
        }
    }
}

#[test]
fn names_order_and_types_of_the_columns_are_the_engines() {
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/world-a/stream_view/ts_utc");
    let world = sample(|_| ());
    let huge = sample(|spec| spec.seed = u64::MAX);
    for table in Table::ALL {
        let theirs = read(&parts(&golden.join(format!("output_id={table}"))))[0].schema();
        let ours = world.view(table)[0].schema();
        let expected = theirs.fields().iter().map(|field| {
            let wide = ["merchant_id", "flow_id"].contains(&field.name().as_str());
            let wide = wide.then_some(DataType::UInt64);
            (
                field.name().clone(),
                wide.unwrap_or(field.data_type().clone()),
            )
        });
        let found = ours
            .fields()
            .iter()
            .map(|f| (f.name().clone(), f.data_type().clone()));
        assert!(found.eq(expected), "{table}: {ours:?}");
        assert_eq!(
            texts(&huge.view(table), "seed")[0],
            Some(u64::MAX.to_string())
        );
    }
}

#[test]
fn ids_and_view_files_are_the_contracts() {
    let world = sample(|_| ());
    let (receipt, pack) = (
        world.json("run_receipt.json"),
        world.json("_oracle_pack_manifest.json"),
    );
    let seal = world.json("_SEALED.json");
    let config = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../config")
            .join(name);
        sha256(&fs::read(path).unwrap())
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pack_id = sha256(
        [
            text(&receipt["manifest_fingerprint"]),
            text(&receipt["parameter_hash"]),
            "baseline_v1".to_owned(),
            "7".to_owned(),
            text(&pack["engine_release"]),
            config("catalogue.yaml"),
            config("gate_map.yaml"),
        ]
        .join("|")
        .as_bytes(),
    );
    assert_eq!(pack["oracle_pack_id"], pack_id);
    assert_eq!(seal["oracle_pack_id"], pack_id);
    assert_eq!(seal["seal_status"], "SEALED_OK");
    assert_eq!(pack.as_object().unwrap().len(), 7);
    assert_eq!(pack["world_key"].as_object().unwrap().len(), 4);
    assert_eq!(text(&receipt["run_id"]).len(), 32);
    for table in Table::ALL {
        let folder = format!("stream_view/ts_utc/output_id={table}");
        let canonical = format!(
            r#"{{"engine_run_root":"s3://oracle-store/runs/w\u00f6rld","output_id":"{table}","partition_granularity":"flat","scenario_id":"baseline_v1","sort_keys":["ts_utc","filename","file_row_number"]}}"#
        );
        let view_id = sha256(canonical.as_bytes());
        let root = "s3://oracle-store/runs/wörld";
        let raw = world.raw(table);
        let raw = raw
            .iter()
            .map(|path| path.strip_prefix(world.out()).unwrap().to_str().unwrap());
        let raw: Vec<_> = raw.map(|path| format!("{root}/{path}")).collect();
        let manifest = world.json(&format!("{folder}/_stream_view_manifest.json"));
        let receipt = world.json(&format!("{folder}/_stream_sort_receipt.json"));
        for file in [&manifest, &receipt] {
            assert_eq!(file["stream_view_id"], view_id);
            assert_eq!(file["engine_run_root"], root);
            assert_eq!(file["stream_view_root"], format!("{root}/{folder}"));
            assert_eq!(file["output_id"], table.id());
            assert_eq!(file["output_ids"], serde_json::json!([table.id()]));
            assert_eq!(file["partition_granularity"], "flat");
            assert!(file["sort_keys"].is_array() && file["created_utc"].is_string());
        }
        assert_eq!(manifest["world_key"], pack["world_key"]);
        assert_eq!(manifest["scenario_id"], "baseline_v1");
        assert_eq!(manifest["engine_run_id"], world.report.run_id);
        assert_eq!(receipt["status"], "OK");
        assert_eq!(
            receipt["source_locator_digest"],
            sha256(raw.join("\n").as_bytes())
        );
        assert_eq!(
            (
                manifest.as_object().unwrap().len(),
                receipt.as_object().unwrap().len()
            ),
            (11, 12)
        );
        for stats in ["raw_stats", "sorted_stats"] {
            let sum = |name: &str| text(&receipt[stats][name]).parse::<u128>().unwrap();
            assert!(sum("hash_sum") > 0 && sum("hash_sum") != sum("hash_sum2"));
        }
    }
}

/// Fills a template of catalogue or gate map in.
fn rendered(template: &str, report: &SampleReport) -> String {
    template
        .trim_end()
        .replace("{seed}", &report.seed.to_string())
        .replace("{manifest_fingerprint}", &report.manifest_fingerprint)
        .replace("{parameter_hash}", &report.parameter_hash)
        .replace("{scenario_id}", &report.scenario_id)
}

fn config(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config")
        .join(name);
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn raw_parts_lie_where_the_catalogue_says() {
    let world = sample(|_| ());
    for table in Table::ALL {
        let catalogue = config("catalogue.yaml");
        let outputs = catalogue["outputs"].as_array().unwrap();
        let output = outputs
            .iter()
            .find(|output| output["output_id"] == table.id())
            .unwrap();
        let template = rendered(output["path_template"].as_str().unwrap(), &world.report);
        let folder = template.strip_suffix("/part-*.parquet").unwrap();
        assert_eq!(parts(&world.out().join(folder)), world.raw(table));
    }
}

#[test]
fn the_digests_of_every_gate_hold() {
    let world = sample(|_| ());
    let map = config("gate_map.yaml");
    let gates = map["gates"].as_array().unwrap();
    assert_eq!(gates.len(), 10);
    for gate in gates {
        let path = |name: &str| {
            world
                .out()
                .join(rendered(gate[name].as_str().unwrap(), &world.report))
        };
        let root = path("bundle_root_template");
        let index: Value =
            serde_json::from_slice(&fs::read(path("index_path_template")).unwrap()).unwrap();
        let items = index["items"].as_array().unwrap();
        let listed: Vec<_> = items
            .iter()
            .map(|item| item["path"].as_str().unwrap())
            .collect();
        assert!(!listed.is_sorted());
        for (item, path) in items.iter().zip(&listed) {
            assert_eq!(
                item["sha256_hex"],
                sha256(&fs::read(root.join(path)).unwrap())
            );
        }
        let method = &gate["verification_method"];
        let mut paths: Vec<_> = listed.iter().map(|path| (*path).to_owned()).collect();
        let mut bytes = Vec::new();
        match (
            method["kind"].as_str().unwrap(),
            method["ordering"].as_str().unwrap(),
        ) {
            ("sha256_bundle_digest", _) => {
                let index = path("index_path_template");
                paths.push(
                    index
                        .strip_prefix(&root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
                paths.sort();
            }
            ("sha256_index_json_ascii_lex_raw_bytes", "index_order") => {}
            ("sha256_index_json_ascii_lex_raw_bytes", _) => paths.sort(),
            ("sha256_member_digest_concat", _) => {
                paths.clear();
                for item in items {
                    bytes.extend(item["sha256_hex"].as_str().unwrap().bytes());
                }
            }
            other => panic!("{other:?}"),
        }
        for path in paths {
            bytes.extend(fs::read(root.join(path)).unwrap());
        }
        let flag = fs::read_to_string(path("passed_flag_path_template")).unwrap();
        let field = method["digest_field"].as_str().unwrap();
        assert_eq!(
            flag,
            format!("{field} = {}\n", sha256(&bytes)),
            "{}",
            gate["gate_id"]
        );
    }
}

#[test]
fn disorder_steps_back_in_time_within_the_same_rows() {
    let (order, disorder) = (sample(|_| ()), sample(|spec| spec.disorder = true));
    for table in Table::ALL {
        let (order, disorder) = (order.view(table), disorder.view(table));
        let times = keys(&disorder, &["ts_utc"]);
        assert!(times.windows(2).any(|pair| pair[1] < pair[0]), "{table}");
        // A displaced row is no further away than a run is long.
        let sorted = keys(&order, &["ts_utc"]);
        for (row, time) in times.iter().enumerate() {
            let near = &sorted[row.saturating_sub(7)..(row + 8).min(sorted.len())];
            assert!(near.contains(time), "{table} row {row}");
        }
        let columns = names(&order);
        let columns: Vec<_> = columns
            .iter()
            .map(String::as_str)
            .filter(|c| *c != "bucket_index")
            .collect();
        assert_eq!(set(keys(&order, &columns)), set(keys(&disorder, &columns)));
    }
    assert_eq!(order.report.oracle_pack_id, disorder.report.oracle_pack_id);
    let raw = |world: &Sample| -> Vec<_> {
        let data = |(path, _): &(String, String)| path.starts_with("data/");
        world.files().into_iter().filter(data).collect()
    };
    assert_eq!(raw(&order), raw(&disorder));
}

#[test]
fn layout_is_as_asked_for_and_does_not_change_the_rows() {
    let plain = sample(|_| ());
    let cut = sample(|spec| {
        spec.parts = Parts::Rows(300);
        spec.row_group_rows = 64;
        spec.raw = false;
        spec.sealed = false;
        spec.outputs = vec![Table::BaselineEvents, Table::ArrivalEvents];
    });
    let outputs: Vec<_> = cut
        .report
        .outputs
        .iter()
        .map(|o| (o.output_id.as_str(), o.rows, o.parts))
        .collect();
    assert_eq!(
        outputs,
        [
            ("arrival_events_5B", 501, 2),
            ("s2_event_stream_baseline_6B", 1_001, 4)
        ]
    );
    let all = ["flow_id", "event_seq", "ts_utc", "amount"];
    let table = Table::BaselineEvents;
    assert_eq!(keys(&plain.view(table), &all), keys(&cut.view(table), &all));
    let folder = cut
        .out()
        .join(format!("stream_view/ts_utc/output_id={table}"));
    let mut bytes = 0;
    for (part, rows) in parts(&folder).iter().zip([300, 300, 300, 101]) {
        let file = fs::File::open(part).unwrap();
        bytes += file.metadata().unwrap().len();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let meta = reader.metadata();
        assert_eq!(meta.file_metadata().num_rows(), rows);
        assert_eq!(meta.num_row_groups() as i64, (rows + 63) / 64);
        assert!(meta.row_group(0).column(0).statistics().is_some());
        assert!(meta.row_group(0).column(0).offset_index_offset().is_some());
        assert!(meta.row_group(0).column(0).column_index_offset().is_some());
    }
    assert_eq!(cut.report.outputs[1].bytes, bytes);
    let files = cut.files();
    assert!(
        files
            .keys()
            .all(|path| !(path.starts_with("data/") && path.ends_with(".parquet")))
    );
    assert!(
        !files.contains_key("_SEALED.json") && !files.contains_key("_oracle_pack_manifest.json")
    );
    // The scenario is found without raw parts, too.
    assert!(files.contains_key("reports/scenario_id=baseline_v1/summary.json"));
    let empty_parts = sample(|spec| (spec.rows, spec.parts) = (3, Parts::Number(5)));
    assert_eq!(
        empty_parts
            .view(Table::FraudEvents)
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        3
    );
    assert_eq!(empty_parts.report.outputs[4].parts, 5);
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_the_same_sample_is_left_alone() {
    let world = sample(|_| ());
    let again = write(&world.spec, &|_| panic!("nothing is to be written")).unwrap();
    assert!(again.already_there);
    assert_eq!(
        SampleReport {
            already_there: false,
            ..again
        },
        world.report
    );

    let mut other = world.spec.clone();
    other.seed = 8;
    let failure = write(&other, &|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), ExitCode::Usage);
    assert!(
        failure.to_string().contains("a sample of other parameters"),
        "{failure}"
    );
    other.force = true;
    let replaced = write(&other, &|_| ()).unwrap();
    assert_eq!(replaced.seed, 8);
    assert_eq!(sample(|spec| spec.seed = 8).files(), world.files());

    // An unfinished sample of the same parameters is begun anew.
    other.force = false;
    let note = world.out().join("_sample.json");
    let mut unfinished = world.json("_sample.json");
    unfinished["report"] = Value::Null;
    fs::write(&note, unfinished.to_string()).unwrap();
    fs::remove_file(world.out().join("run_receipt.json")).unwrap();
    assert!(!write(&other, &|_| ()).unwrap().already_there);
    assert!(world.out().join("run_receipt.json").exists());

    let foreign = world.folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("run_receipt.json"), "{}").unwrap();
    for force in [false, true] {
        let mut spec = SampleSpec::new(&foreign, 7, 10, 1);
        spec.force = force;
        let failure = write(&spec, &|_| ()).unwrap_err();
        assert!(failure.to_string().contains("holds no sample"), "{failure}");
    }
    assert_eq!(fs::read(foreign.join("run_receipt.json")).unwrap(), b"{}");
}

#[test]
fn parameters_out_of_range_are_named() {
    let changes: [(&str, fn(&mut SampleSpec)); 8] = [
        ("days", |spec| spec.days = 0),
        ("days", |spec| spec.days = 4_000),
        ("rows", |spec| spec.rows = u64::MAX),
        ("row group rows", |spec| spec.row_group_rows = 0),
        ("parts", |spec| spec.parts = Parts::Number(0)),
        ("parts", |spec| {
            (spec.rows, spec.parts) = (2_000_000, Parts::Rows(1))
        }),
        ("scenario", |spec| spec.scenario = "a/b".to_owned()),
        ("run root", |spec| spec.run_root = Some(String::new())),
    ];
    for (field, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = SampleSpec::new(folder.path().join("world"), 7, 10, 1);
        change(&mut spec);
        let failure = write(&spec, &|_| ()).unwrap_err();
        assert!(
            failure.message().contains(&format!(": {field}: found")),
            "{failure}"
        );
        assert_eq!(failure.exit_code(), ExitCode::Usage);
        assert!(!spec.out.exists());
    }
}

#[test]
fn the_name_is_the_text_of_the_folder_and_progress_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().to_str().unwrap();
    let spec = SampleSpec::new(format!("{text}//a/./b/"), 7, 20_000, 1);
    let added = Mutex::new(BTreeMap::<Table, u64>::new());
    let report = write(&spec, &|progress| {
        let mut added = added.lock().unwrap();
        let sum = added.entry(progress.table).or_default();
        *sum += progress.added;
        assert_eq!(progress.rows, *sum);
        assert!(progress.rows <= progress.of);
    })
    .unwrap();
    assert_eq!(report.run_root, format!("{text}/a/b"));
    let rows: Vec<_> = report.outputs.iter().map(|output| output.rows).collect();
    assert_eq!(
        added
            .into_inner()
            .unwrap()
            .into_values()
            .collect::<Vec<_>>(),
        rows
    );
}

#[tokio::test]
async fn the_world_is_verified_with_everything_required() {
    let mut world = sample(|spec| spec.run_root = None);
    let named = |name: &str| Named {
        name: name.to_owned(),
        text: Ok(fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../config")
                .join(name),
        )
        .unwrap()),
    };
    let mut plan = testkit::plan(&world.report.run_root);
    plan.catalogue = named("catalogue.yaml");
    plan.gate_map = named("gate_map.yaml");
    // The only one below data/ and reports/.
    plan.scenario = None;
    assert!(plan.gate_upstream && plan.compare_digests && plan.require_seal);
    let views = async |store: &WorldStore, scenario: &str, output: &str| {
        let folder = store.name(&format!("stream_view/ts_utc/output_id={output}"));
        Ok(ViewPlan {
            output_id: output.to_owned(),
            view_id: stream_view_id(store.root(), scenario, output),
            folder,
            parts: Vec::new(),
            rows: 0,
        })
    };
    let verified = verify_with(&plan, views).await.unwrap();
    assert_eq!(Some(verified.pack_key), world.report.oracle_pack_id);
    assert_eq!(verified.outputs.len(), 4);
    for output in &verified.outputs {
        let mut reports = world.report.outputs.iter();
        let report = reports
            .find(|report| report.output_id == output.id)
            .unwrap();
        assert_eq!(output.view.view_id, report.stream_view_id);
    }
    // An unsealed world is one without a manifest.
    world.spec.sealed = false;
    world.spec.force = true;
    write(&world.spec, &|_| ()).unwrap();
    let failure = verify_with(&plan, views).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::PackManifestMissing);
    (plan.require_manifest, plan.require_seal) = (false, false);
    assert!(verify_with(&plan, views).await.unwrap().pack.is_none());
}
