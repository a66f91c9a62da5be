//! Worlds that fail closed: the resource says the code, and nothing arrives.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{BASELINE, FRAUD, Space, condition};

/// What is broken of a sound world, and the code that is expected.
struct Refusal {
    name: &'static str,
    code: &'static str,
    spoil: fn(&Path),
    spec: fn() -> Value,
}

const NOTHING: fn(&Path) = |_| {};
const SAME: fn() -> Value = || json!({});

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "nowhere",
        code: "RUN_RECEIPT_UNREADABLE",
        spoil: |world| std::fs::remove_dir_all(world).unwrap(),
        spec: SAME,
    },
    Refusal {
        name: "outside",
        code: "ROOT_NOT_ALLOWED",
        spoil: NOTHING,
        spec: || json!({ "engineRunRoot": "/elsewhere/outside" }),
    },
    Refusal {
        name: "no-key",
        code: "WORLD_KEY_MISSING",
        spoil: |world| {
            edit(&world.join("run_receipt.json"), |receipt| {
                receipt
                    .as_object_mut()
                    .unwrap()
                    .remove("manifest_fingerprint");
            });
        },
        spec: SAME,
    },
    Refusal {
        name: "other-key",
        code: "WORLD_KEY_MISMATCH",
        spoil: |world| {
            edit(&world.join("run_receipt.json"), |receipt| {
                receipt["manifest_fingerprint"] = json!("0".repeat(64));
            });
        },
        spec: SAME,
    },
    Refusal {
        name: "no-scenario",
        code: "SCENARIO_ID_MISSING",
        spoil: |world| {
            for folder in ["data", "reports"] {
                let _ = std::fs::remove_dir_all(world.join(folder));
            }
        },
        spec: SAME,
    },
    Refusal {
        name: "two-scenarios",
        code: "SCENARIO_ID_AMBIGUOUS",
        spoil: |world| {
            for scenario in ["a_v1", "b_v1"] {
                let folder = world.join(format!("data/x/scenario_id={scenario}"));
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join("f"), "x").unwrap();
            }
        },
        spec: SAME,
    },
    Refusal {
        name: "no-manifest",
        code: "PACK_MANIFEST_MISSING",
        spoil: |world| std::fs::remove_file(world.join("_oracle_pack_manifest.json")).unwrap(),
        spec: SAME,
    },
    Refusal {
        name: "empty-manifest",
        code: "PACK_MANIFEST_INVALID",
        spoil: |world| std::fs::write(world.join("_oracle_pack_manifest.json"), "").unwrap(),
        spec: SAME,
    },
    Refusal {
        name: "not-sealed",
        code: "PACK_NOT_SEALED",
        spoil: |world| std::fs::remove_file(world.join("_SEALED.json")).unwrap(),
        spec: SAME,
    },
    Refusal {
        name: "other-seal",
        code: "SEAL_MISMATCH",
        spoil: |world| {
            edit(&world.join("_SEALED.json"), |seal| {
                seal["oracle_pack_id"] = json!("0".repeat(64));
            });
        },
        spec: SAME,
    },
    Refusal {
        name: "no-view",
        code: "STREAM_VIEW_MISSING",
        spoil: |world| std::fs::remove_dir_all(view(world, FRAUD)).unwrap(),
        spec: SAME,
    },
    Refusal {
        name: "unsorted",
        code: "STREAM_VIEW_RECEIPT_BAD",
        spoil: |world| {
            edit(
                &view(world, FRAUD).join("_stream_sort_receipt.json"),
                |receipt| {
                    receipt["status"] = json!("FAILED");
                },
            );
        },
        spec: SAME,
    },
    Refusal {
        name: "other-view",
        code: "STREAM_VIEW_ID_MISMATCH",
        spoil: |world| {
            edit(
                &view(world, FRAUD).join("_stream_view_manifest.json"),
                |manifest| {
                    manifest["stream_view_id"] = json!("0".repeat(64));
                },
            );
        },
        spec: SAME,
    },
    Refusal {
        name: "other-output",
        code: "STREAM_VIEW_OUTPUT_MISMATCH",
        spoil: |world| {
            edit(
                &view(world, FRAUD).join("_stream_view_manifest.json"),
                |manifest| {
                    manifest["output_id"] = json!(BASELINE);
                },
            );
        },
        spec: SAME,
    },
    Refusal {
        name: "no-part",
        code: "STREAM_VIEW_EMPTY",
        spoil: |world| {
            for entry in std::fs::read_dir(view(world, FRAUD)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|it| it == "parquet") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        },
        spec: SAME,
    },
];

fn view(world: &Path, output: &str) -> PathBuf {
    world.join(format!("stream_view/ts_utc/output_id={output}"))
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut document = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut document);
    std::fs::write(path, serde_json::to_vec(&document).unwrap()).unwrap();
}

pub fn a_world_that_fails_closed_sends_nothing(operator: &Operator) {
    let space = Space::new(operator, "refusals", |_| {});
    let mut streams = Vec::new();
    for refusal in REFUSALS {
        space.world(refusal.name, 2);
        (refusal.spoil)(&space.path(refusal.name));
        streams.push(space.stream(refusal.name, refusal.name, (refusal.spec)()));
    }
    space.start(&streams);
    let codes = || -> Vec<(String, Vec<String>)> {
        let all = space.list("ws");
        let of = |stream: &Value| {
            let conditions = stream["status"]["conditions"].as_array();
            let reasons = conditions.into_iter().flatten();
            let reasons = reasons.map(|it| it["reason"].as_str().unwrap().to_owned());
            let name = stream["metadata"]["name"].as_str().unwrap();
            (name.to_owned(), reasons.collect())
        };
        all.iter().map(of).collect()
    };
    let wrong = || -> Vec<String> {
        let codes = codes();
        let missing = |refusal: &&Refusal| {
            let found = codes.iter().find(|(name, _)| name == refusal.name);
            !found.is_some_and(|(_, found)| found.iter().any(|code| code == refusal.code))
        };
        let wrong = REFUSALS.iter().filter(missing);
        wrong
            .map(|it| format!("{}: expected {}, found {codes:?}", it.name, it.code))
            .collect()
    };
    space.wait("every code", || wrong().is_empty(), |_| wrong().join("\n"));
    for refusal in REFUSALS {
        let status = space.status(refusal.name);
        // Who waits for the end of a stream that fails closed need not wait.
        assert_ne!(condition(&status, "WorldVerified").0, "True", "{status:#}");
        assert!(status["startedAt"].is_null(), "{status:#}");
    }
    assert_eq!(space.arrivals().len(), 0);
    println!("refusals: {} codes", REFUSALS.len());
}
