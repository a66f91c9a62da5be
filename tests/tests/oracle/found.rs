//! A check finds what was changed in a world: a look what shows in names, ids and footers, a deep
//! one every row.

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use worldstream_tests::MadeWorld;

use crate::bed::*;

/// A sealed world with gates, raw parts, and views that were built from them.
fn world() -> MadeWorld {
    let world = sample(600);
    set_aside(&world);
    for output in [EVENTS, "arrival_events_5B"] {
        build(&world, output, &Default::default()).unwrap();
    }
    world
}

fn check(world: &MadeWorld, more: &[&str]) -> (Option<i32>, Value) {
    let root = world.root();
    let args = ["check", &root, "--json", "--output", EVENTS];
    let finished = oracle(args.into_iter().chain(more.iter().copied()));
    (finished.code, finished.json())
}

fn failed(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["state"] == "failed");
    failed
        .map(|it| {
            format!(
                "{} {}",
                it["what"].as_str().unwrap(),
                it["reason"].as_str().unwrap()
            )
        })
        .collect()
}

/// Changes a JSON file.
fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = json(path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Writes a part anew with other rows.
fn rewrite(part: &Path, change: impl Fn(RecordBatch) -> Vec<RecordBatch>) {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(part, copy.path().join("part-0.parquet")).unwrap();
    let rows = read(copy.path()).next(usize::MAX).unwrap();
    let file = fs::File::create(part).unwrap();
    let how =
        WriterProperties::builder().set_created_by(worldstream::view::build::CREATED_BY.into());
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, rows.schema(), Some(how.build())).unwrap();
    for rows in change(rows) {
        writer.write(&rows).unwrap();
    }
    writer.close().unwrap();
}

/// The rows with one value of a column of numbers changed.
fn another_amount(rows: RecordBatch) -> Vec<RecordBatch> {
    let column = rows.schema().index_of("amount").unwrap();
    let mut columns = rows.columns().to_vec();
    let amounts: &arrow_array::Float64Array = columns[column].as_any().downcast_ref().unwrap();
    let mut amounts = amounts.values().to_vec();
    amounts[77] += 0.01;
    columns[column] = std::sync::Arc::new(arrow_array::Float64Array::from(amounts));
    vec![RecordBatch::try_new(rows.schema(), columns).unwrap()]
}

/// Swaps two rows that are of different times.
fn swapped(rows: RecordBatch) -> Vec<RecordBatch> {
    vec![
        rows.slice(0, 10),
        rows.slice(100, 1),
        rows.slice(10, 90),
        rows.slice(101, rows.num_rows() - 101),
    ]
}

#[test]
fn a_sound_world_passes_both_checks() {
    let world = world();
    for more in [&[][..], &["--deep"]] {
        let (code, report) = check(&world, more);
        assert_eq!((code, failed(&report).len()), (Some(0), 0), "{report:#}");
        assert_eq!(report["ok"], true);
    }
    let text = oracle(["check", &world.root(), "--deep", "--output", EVENTS]).expect(0);
    for part in [
        "everything holds",
        "the same 600 rows",
        "the digests of their bundles",
    ] {
        assert!(text.stdout.contains(part), "{part} in {}", text.stdout);
    }
    // An output without a view is a failure, and so is a world that is nowhere.
    let none = oracle(["check", &world.root()]).expect(10);
    assert!(none.stdout.contains("STREAM_VIEW_MISSING"), "{none:?}");
    let nowhere = oracle(["check", "/nowhere/at/all"]).expect(10);
    assert!(
        nowhere.stdout.contains("RUN_RECEIPT_UNREADABLE"),
        "{nowhere:?}"
    );
}

type Change = fn(&Places);

struct Places {
    root: PathBuf,
    part: PathBuf,
    raw: PathBuf,
    manifest: PathBuf,
    receipt: PathBuf,
    bundle: PathBuf,
}

#[test]
fn every_change_is_found() {
    // A change, whether a look finds it, and which check of the deep one does.
    let changes: &[(&str, bool, &str, Change)] = &[
        (
            "a value of the view",
            false,
            "rows of the view STREAM_SORT_VALIDATION_FAILED",
            |at| rewrite(&at.part, another_amount),
        ),
        (
            "two rows swapped",
            false,
            "order STREAM_SORT_VALIDATION_FAILED",
            |at| rewrite(&at.part, swapped),
        ),
        (
            "a row left out",
            true,
            "receipt's rows STREAM_RECEIPT_MISMATCH",
            |at| rewrite(&at.part, |rows| vec![rows.slice(1, rows.num_rows() - 1)]),
        ),
        (
            "a row twice instead of another",
            false,
            "raw against view STREAM_SORT_VALIDATION_FAILED",
            |at| {
                rewrite(&at.part, |rows| {
                    vec![
                        rows.slice(0, 1),
                        rows.slice(0, 1),
                        rows.slice(2, rows.num_rows() - 2),
                    ]
                })
            },
        ),
        (
            "a raw value",
            false,
            "raw against view STREAM_SORT_VALIDATION_FAILED",
            |at| rewrite(&at.raw, another_amount),
        ),
        (
            "a raw row less",
            false,
            "raw against view STREAM_SORT_VALIDATION_FAILED",
            |at| rewrite(&at.raw, |rows| vec![rows.slice(1, rows.num_rows() - 1)]),
        ),
        (
            "a raw part more",
            true,
            "raw parts STREAM_RECEIPT_MISMATCH",
            |at| {
                fs::copy(&at.raw, at.raw.with_file_name("part-9.parquet")).unwrap();
            },
        ),
        (
            "a raw part less",
            true,
            "raw parts STREAM_RECEIPT_MISMATCH",
            |at| fs::remove_file(&at.raw).unwrap(),
        ),
        (
            "a raw part cut short",
            false,
            "raw against view STREAM_FAILED",
            |at| {
                let bytes = fs::read(&at.raw).unwrap();
                fs::write(&at.raw, &bytes[..bytes.len() / 2]).unwrap();
            },
        ),
        ("a part cut short", true, "view STREAM_FAILED", |at| {
            let bytes = fs::read(&at.part).unwrap();
            fs::write(&at.part, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("no part", true, "view STREAM_VIEW_EMPTY", |at| {
            fs::remove_file(&at.part).unwrap()
        }),
        ("no receipt", true, "view STREAM_VIEW_MISSING", |at| {
            fs::remove_file(&at.receipt).unwrap()
        }),
        (
            "a receipt's sum",
            false,
            "rows of the view STREAM_SORT_VALIDATION_FAILED",
            |at| {
                edit(&at.receipt, |it| {
                    it["raw_stats"]["hash_sum"] = "1".into();
                    it["sorted_stats"]["hash_sum"] = "1".into();
                });
            },
        ),
        (
            "one of the sums",
            true,
            "receipt's rows STREAM_RECEIPT_MISMATCH",
            |at| edit(&at.receipt, |it| it["raw_stats"]["hash_sum2"] = "1".into()),
        ),
        (
            "a receipt's range",
            false,
            "rows of the view STREAM_SORT_VALIDATION_FAILED",
            |at| {
                edit(&at.receipt, |it| {
                    it["raw_stats"]["max_ts_utc"] = "2027-01-01T00:00:00.000000Z".into();
                    it["sorted_stats"]["max_ts_utc"] = "2027-01-01T00:00:00.000000Z".into();
                });
            },
        ),
        (
            "counts that are none",
            true,
            "receipt's rows STREAM_RECEIPT_MISMATCH",
            |at| {
                edit(&at.receipt, |it| {
                    it["raw_stats"] = "x".into();
                    it["sorted_stats"] = "x".into();
                });
            },
        ),
        (
            "a count less",
            false,
            "rows of the view STREAM_SORT_VALIDATION_FAILED",
            |at| {
                edit(&at.receipt, |it| {
                    for stats in ["raw_stats", "sorted_stats"] {
                        it[stats].as_object_mut().unwrap().remove("max_ts_utc");
                    }
                });
            },
        ),
        (
            "raw parts that cannot be listed",
            true,
            "raw parts STREAM_FAILED",
            |at| {
                let folder = at.raw.parent().unwrap().parent().unwrap();
                fs::remove_dir_all(folder).unwrap();
                fs::write(folder, "no folder").unwrap();
            },
        ),
        (
            "a receipt's status",
            true,
            "view STREAM_VIEW_RECEIPT_BAD",
            |at| edit(&at.receipt, |it| it["status"] = "FAILED".into()),
        ),
        (
            "a field less",
            false,
            "receipt STREAM_RECEIPT_MISMATCH",
            |at| {
                edit(&at.receipt, |it| {
                    drop(it.as_object_mut().unwrap().remove("sort_keys"))
                })
            },
        ),
        (
            "a manifest's id",
            true,
            "view STREAM_VIEW_ID_MISMATCH",
            |at| {
                edit(&at.manifest, |it| {
                    it["stream_view_id"] = "0".repeat(64).into()
                })
            },
        ),
        (
            "a manifest's world",
            true,
            "manifest STREAM_RECEIPT_MISMATCH",
            |at| edit(&at.manifest, |it| it["world_key"]["seed"] = 8.into()),
        ),
        (
            "a manifest's run",
            true,
            "manifest STREAM_RECEIPT_MISMATCH",
            |at| edit(&at.manifest, |it| it["engine_run_id"] = "0".into()),
        ),
        ("a gate's bundle", false, "gates GATE_PASS_INVALID", |at| {
            let mut bytes = fs::read(&at.bundle).unwrap();
            bytes.push(b' ');
            fs::write(&at.bundle, bytes).unwrap();
        }),
        ("a gate's flag", true, "gates GATE_PASS_MISSING", |at| {
            fs::remove_file(at.bundle.with_file_name("_passed.flag")).unwrap()
        }),
        (
            "the pack's release",
            true,
            "pack manifest PACK_MANIFEST_INVALID",
            |at| {
                edit(&at.root.join("_oracle_pack_manifest.json"), |it| {
                    it["engine_release"] = "x".into()
                })
            },
        ),
        ("the seal's pack", true, "seal SEAL_MISMATCH", |at| {
            edit(&at.root.join("_SEALED.json"), |it| {
                it["oracle_pack_id"] = "0".repeat(64).into()
            })
        }),
        (
            "the run receipt",
            true,
            "run receipt and scenario WORLD_KEY_MISSING",
            |at| {
                edit(&at.root.join("run_receipt.json"), |it| {
                    it["seed"] = "7".into()
                })
            },
        ),
    ];
    std::thread::scope(|scope| {
        for half in changes.chunks(changes.len().div_ceil(2)) {
            scope.spawn(move || {
                half.iter().for_each(|(name, look, deep, change)| {
                    let world = world();
                    let view = world.view(EVENTS);
                    let root = PathBuf::from(world.root());
                    let it = &world.report;
                    let gate = format!(
                        "data/layer3/6B/validation/manifest_fingerprint={}",
                        it.manifest_fingerprint
                    );
                    let bundle = fs::read_dir(root.join(gate))
                        .unwrap()
                        .map(|it| it.unwrap().path());
                    let mut bundle: Vec<_> = bundle
                        .filter(|it| {
                            it.is_file()
                                && !it.ends_with("_passed.flag")
                                && !it.ends_with("index.json")
                        })
                        .collect();
                    bundle.sort();
                    change(&Places {
                        part: files(&view).remove(0),
                        raw: files(&raw_folder(&world)).remove(1),
                        manifest: view.join("_stream_view_manifest.json"),
                        receipt: view.join("_stream_sort_receipt.json"),
                        bundle: bundle.remove(0),
                        root,
                    });
                    let (code, report) = check(&world, &["--deep"]);
                    assert_eq!(code, Some(10), "{name}: {report:#}");
                    assert!(
                        failed(&report).iter().any(|it| it == deep),
                        "{name}: {:?}",
                        failed(&report)
                    );
                    let (code, report) = check(&world, &[]);
                    assert_eq!(code == Some(10), *look, "{name}: {report:#}");
                })
            });
        }
    });
}
