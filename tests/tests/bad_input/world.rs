//! Receipt, scenario, manifest and seal.

use serde_json::json;

use super::bed::*;

pub fn add(cases: &mut Cases) {
    roots(cases);
    receipts(cases);
    scenarios(cases);
    manifests(cases);
    seals(cases);
}

fn roots(cases: &mut Cases) {
    let unreadable = "RUN_RECEIPT_UNREADABLE";
    cases.add(
        "no run root",
        "ENGINE_ROOT_MISSING",
        &["engineRunRoot"],
        |it| {
            it.unflag("engine-run-root");
        },
    );
    cases.add(
        "an empty run root",
        "ENGINE_ROOT_MISSING",
        &["engineRunRoot"],
        |it| {
            it.flag("engine-run-root", " ");
        },
    );
    cases.add(
        "a run root that is nowhere",
        unreadable,
        &[ROOT, "found nothing at"],
        |it| {
            it.remove("");
        },
    );
    cases.add(
        "a run root that is a file",
        unreadable,
        &["found a file at"],
        |it| {
            it.remove("");
            it.side("world", "x");
        },
    );
    cases.add(
        "a run root whose store wants to know who asks",
        "STREAM_FAILED",
        &["world.s3", "credentials.accessKeyId", "no/such/id"],
        |it| {
            it.set("world/s3/endpoint", json!("http://127.0.0.1:1"));
            let key = json!({
                "accessKeyId": { "file": "no/such/id" },
                "secretAccessKey": { "file": "no/such/key" },
            });
            it.set("world/s3/credentials", key);
            it.flag("engine-run-root", "s3://other/x");
        },
    );
    cases.add(
        "a relative run root that is nowhere",
        unreadable,
        &["no/such"],
        |it| {
            it.flag("engine-run-root", "no/such");
        },
    );
    cases.add(
        "a run root outside the allowed ones",
        "ROOT_NOT_ALLOWED",
        &[ROOT, "/data"],
        |it| {
            it.set("world/allowedRoots", json!(["/data/worlds"]));
        },
    );
    cases.add(
        "a run root that leaves its mount",
        "ROOT_NOT_ALLOWED",
        &["`..`"],
        |it| {
            it.flag("engine-run-root", &format!("{ROOT}/../secrets"));
        },
    );
}

fn receipts(cases: &mut Cases) {
    let unreadable = "RUN_RECEIPT_UNREADABLE";
    let missing = "WORLD_KEY_MISSING";
    cases.add(
        "no receipt",
        unreadable,
        &[RECEIPT, "no such file", "the engine's receipt"],
        |it| {
            it.remove(RECEIPT);
        },
    );
    cases.add("receipt is a folder", unreadable, &[RECEIPT], |it| {
        it.folder_for(RECEIPT)
    });
    for (name, bytes, words) in [
        ("receipt is empty", &b""[..], "an empty file"),
        ("receipt is cut short", b"{\"run_id\": \"0123", "EOF"),
        ("receipt is no text", b"\xff\xfe{", "not UTF-8"),
        (
            "receipt has a byte order mark",
            b"\xef\xbb\xbf{}",
            "byte order mark",
        ),
        ("receipt is Python", b"{'run_id': 1}", "not JSON"),
        ("receipt has NaN", b"{\"seed\": NaN}", "not JSON"),
        ("receipt ends twice", b"{}{}", "not JSON"),
    ] {
        cases.add(
            name,
            unreadable,
            &[RECEIPT, words, "expected JSON"],
            move |it| it.write(RECEIPT, bytes),
        );
    }
    for (name, value) in [
        ("receipt is a list", json!([1])),
        ("receipt is null", json!(null)),
    ] {
        let found = format!("found {value}");
        cases.add(
            name,
            missing,
            &[RECEIPT, &found, "a JSON object"],
            move |it| it.write(RECEIPT, value.to_string()),
        );
    }
    for field in ["run_id", "manifest_fingerprint", "parameter_hash", "seed"] {
        let name = format!("receipt without {field}");
        cases.add(
            &name,
            missing,
            &[RECEIPT, field, "found nothing"],
            move |it| {
                it.edit_json(RECEIPT, |value| {
                    drop(value.as_object_mut().unwrap().remove(field))
                });
            },
        );
        let name = format!("receipt's {field} is null");
        cases.add(&name, missing, &[RECEIPT, field, "found null"], move |it| {
            it.edit_json(RECEIPT, |value| value[field] = json!(null));
        });
    }
    for (name, field, value) in [
        ("receipt's run id is short", "run_id", json!("abc")),
        (
            "receipt's run id is upper case",
            "run_id",
            json!("A".repeat(32)),
        ),
        (
            "receipt's fingerprint is no hex",
            "manifest_fingerprint",
            json!("g".repeat(64)),
        ),
        ("receipt's hash is a number", "parameter_hash", json!(12)),
        ("receipt's seed is a text", "seed", json!("42")),
        ("receipt's seed is negative", "seed", json!(-1)),
        ("receipt's seed is a fraction", "seed", json!(1.5)),
        ("receipt's seed is beyond 64 bits", "seed", json!(1.9e19)),
        ("receipt's seed is a boolean", "seed", json!(true)),
    ] {
        let found = format!("found {value}");
        cases.add(
            name,
            missing,
            &[RECEIPT, field, &found, "expected"],
            move |it| {
                it.edit_json(RECEIPT, |receipt| receipt[field] = value.clone());
            },
        );
    }
}

fn scenarios(cases: &mut Cases) {
    cases.add(
        "no scenario in S3",
        "SCENARIO_ID_MISSING",
        &["scenario"],
        |it| {
            it.unflag("scenario");
        },
    );
    cases.add(
        "no scenario in a local world",
        "SCENARIO_ID_MISSING",
        &["scenario_id="],
        |it| {
            it.unflag("scenario");
            it.remove("data");
            it.remove("reports");
            let world = it.world().display().to_string();
            it.flag("engine-run-root", &world);
        },
    );
    cases.add(
        "two scenarios",
        "SCENARIO_ID_AMBIGUOUS",
        &["a_v1", "b_v1"],
        |it| {
            it.unflag("scenario");
            let world = it.world().display().to_string();
            it.flag("engine-run-root", &world);
            for name in [
                "data/x/scenario_id=a_v1/f",
                "reports/y/z/scenario_id=b_v1/f",
            ] {
                it.write(name, "x");
            }
        },
    );
    cases.add(
        "another scenario",
        "WORLD_KEY_MISMATCH",
        &["scenario_id", "other_v1"],
        |it| {
            it.flag("scenario", "other_v1");
        },
    );
    cases.add(
        "another scenario, unsealed",
        "STREAM_VIEW_ID_MISMATCH",
        &["stream_view_id"],
        |it| {
            it.flag("scenario", "other_v1");
            it.remove(MANIFEST);
            it.remove(SEAL);
            it.set(
                "require",
                json!({"manifest": false, "seal": false, "gates": "Existence"}),
            );
        },
    );
}

fn manifests(cases: &mut Cases) {
    let invalid = "PACK_MANIFEST_INVALID";
    cases.add(
        "no manifest",
        "PACK_MANIFEST_MISSING",
        &[MANIFEST, "no such file"],
        |it| {
            it.remove(MANIFEST);
        },
    );
    cases.add("manifest is a folder", invalid, &[MANIFEST], |it| {
        it.folder_for(MANIFEST)
    });
    cases.add(
        "manifest is empty",
        invalid,
        &[MANIFEST, "an empty file"],
        |it| {
            it.write(MANIFEST, "");
        },
    );
    cases.add(
        "manifest is cut short",
        invalid,
        &[MANIFEST, "not JSON"],
        |it| {
            it.edit(MANIFEST, |bytes| bytes.truncate(bytes.len() / 2));
        },
    );
    cases.add(
        "manifest is a list",
        invalid,
        &[MANIFEST, "found []"],
        |it| {
            it.write(MANIFEST, "[]");
        },
    );
    for field in [
        "version",
        "oracle_pack_id",
        "world_key",
        "engine_release",
        "catalogue_digest",
        "gate_map_digest",
        "created_at_utc",
    ] {
        let name = format!("manifest without {field}");
        cases.add(
            &name,
            invalid,
            &[MANIFEST, field, "found nothing"],
            move |it| {
                it.edit_json(MANIFEST, |value| {
                    drop(value.as_object_mut().unwrap().remove(field))
                });
            },
        );
    }
    for (name, field, value) in [
        ("manifest's pack id is short", "oracle_pack_id", json!("ab")),
        (
            "manifest's pack id is another",
            "oracle_pack_id",
            json!("0".repeat(64)),
        ),
        ("manifest's release is empty", "engine_release", json!("")),
        (
            "manifest's release is too long",
            "engine_release",
            json!("x".repeat(129)),
        ),
        (
            "manifest's digest is a number",
            "catalogue_digest",
            json!(5),
        ),
        (
            "manifest's digest is no hex",
            "gate_map_digest",
            json!("z".repeat(64)),
        ),
        ("manifest's key is a text", "world_key", json!("key")),
        ("manifest has one field more", "extra", json!(1)),
    ] {
        cases.add(
            name,
            invalid,
            &[MANIFEST, field, "found", "expected"],
            move |it| {
                it.edit_json(MANIFEST, |manifest| manifest[field] = value.clone());
            },
        );
    }
    cases.add(
        "manifest's release is another",
        invalid,
        &["oracle_pack_id", "its fields"],
        |it| {
            it.edit_json(MANIFEST, |manifest| {
                manifest["engine_release"] = json!("other")
            });
        },
    );
    for (field, value) in [
        ("manifest_fingerprint", json!("1".repeat(64))),
        ("parameter_hash", json!("1".repeat(64))),
        ("scenario_id", json!("other_v1")),
        ("seed", json!(1)),
    ] {
        let name = format!("manifest of another {field}");
        cases.add(
            &name,
            "WORLD_KEY_MISMATCH",
            &[MANIFEST, field, "expected"],
            move |it| {
                it.edit_json(MANIFEST, |manifest| {
                    manifest["world_key"][field] = value.clone()
                });
            },
        );
    }
    cases.add(
        "manifest's key with one field more",
        invalid,
        &["world_key.extra"],
        |it| {
            it.edit_json(MANIFEST, |manifest| {
                manifest["world_key"]["extra"] = json!(1)
            });
        },
    );
    cases.add(
        "manifest's seed is a text",
        invalid,
        &["world_key.seed", "\"7\""],
        |it| {
            it.edit_json(MANIFEST, |manifest| {
                manifest["world_key"]["seed"] = json!("7")
            });
        },
    );
    cases.add(
        "another catalogue than sealed",
        "MANIFEST_MISMATCH",
        &["catalogue_digest"],
        |it| {
            it.set("require/packDigests", json!(true));
            let text = include_str!("../../../config/catalogue.yaml");
            let file = it.side("catalogue.yaml", format!("{text}# another byte\n"));
            it.set("catalogue", json!({"file": file}));
        },
    );
    cases.add(
        "another gate map than sealed",
        "MANIFEST_MISMATCH",
        &["gate_map_digest"],
        |it| {
            it.set("require/packDigests", json!(true));
            let text = include_str!("../../../config/gate_map.yaml");
            let file = it.side("gates.yaml", format!("{text}# another byte\n"));
            it.set("gateMap", json!({"file": file}));
        },
    );
}

fn seals(cases: &mut Cases) {
    let mismatch = "SEAL_MISMATCH";
    cases.add(
        "no seal",
        "PACK_NOT_SEALED",
        &[ROOT, "no seal", SEAL, "_SEALED.flag"],
        |it| {
            it.remove(SEAL);
        },
    );
    cases.add(
        "seal says failed",
        "PACK_NOT_SEALED",
        &[SEAL, "seal_status", "SEALED_FAILED"],
        |it| {
            it.edit_json(SEAL, |seal| seal["seal_status"] = json!("SEALED_FAILED"));
        },
    );
    cases.add(
        "seal says failed, none required",
        "PACK_NOT_SEALED",
        &["SEALED_FAILED"],
        |it| {
            it.edit_json(SEAL, |seal| seal["seal_status"] = json!("SEALED_FAILED"));
            it.set("require/seal", json!(false));
        },
    );
    cases.add(
        "seal of another pack",
        mismatch,
        &[SEAL, "oracle_pack_id", "the manifest's"],
        |it| {
            it.edit_json(SEAL, |seal| seal["oracle_pack_id"] = json!("0".repeat(64)));
        },
    );
    cases.add(
        "seal says something else",
        mismatch,
        &[SEAL, "seal_status", "found OK"],
        |it| {
            it.edit_json(SEAL, |seal| seal["seal_status"] = json!("OK"));
        },
    );
    cases.add("seal is empty", mismatch, &[SEAL, "an empty file"], |it| {
        it.write(SEAL, "")
    });
    cases.add("seal is cut short", mismatch, &[SEAL, "not JSON"], |it| {
        it.edit(SEAL, |bytes| bytes.truncate(10));
    });
    cases.add("seal is a number", mismatch, &[SEAL, "found 3"], |it| {
        it.write(SEAL, "3")
    });
    cases.add("seal is a folder", mismatch, &[SEAL], |it| {
        it.folder_for(SEAL)
    });
    for field in ["version", "oracle_pack_id", "seal_status", "sealed_at_utc"] {
        let name = format!("seal without {field}");
        cases.add(
            &name,
            mismatch,
            &[SEAL, field, "found nothing"],
            move |it| {
                it.edit_json(SEAL, |value| {
                    drop(value.as_object_mut().unwrap().remove(field))
                });
            },
        );
    }
}
