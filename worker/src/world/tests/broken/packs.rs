//! Manifests and seals.

use super::*;

pub(super) fn cases() -> Vec<Broken> {
    use Reason::{
        ManifestMismatch, PackManifestInvalid as Invalid, PackManifestMissing, PackNotSealed,
        SealMismatch, WorldKeyMismatch as Mismatch,
    };
    vec![
        broken(
            "no manifest",
            PackManifestMissing,
            &[MANIFEST, "requires"],
            |w| w.remove(MANIFEST),
        ),
        broken(
            "a folder as manifest",
            Invalid,
            &[MANIFEST, "a folder"],
            |w| {
                w.make_folder(MANIFEST);
                w.plan.require_manifest = false;
            },
        ),
        broken(
            "an empty manifest",
            Invalid,
            &[MANIFEST, "an empty file"],
            |w| w.write_bytes(MANIFEST, b""),
        ),
        broken(
            "a manifest that is a list",
            Invalid,
            &[MANIFEST, "a JSON object"],
            |w| w.write(MANIFEST, &json!([])),
        ),
        broken(
            "one field more",
            Invalid,
            &[MANIFEST, "extra: found 1", "no field but"],
            |w| w.edit(MANIFEST, |m| m["extra"] = json!(1)),
        ),
        broken("one more in the key", Invalid, &["world_key.extra"], |w| {
            w.edit(MANIFEST, |m| m["world_key"]["extra"] = json!(1))
        }),
        broken(
            "no version",
            Invalid,
            &["version: found nothing", "a text"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m.as_object_mut().unwrap().remove("version");
                })
            },
        ),
        broken("a version of 1", Invalid, &["version: found 1"], |w| {
            w.edit(MANIFEST, |m| m["version"] = json!(1))
        }),
        broken(
            "no creation time",
            Invalid,
            &["created_at_utc: found \"\""],
            |w| w.edit(MANIFEST, |m| m["created_at_utc"] = json!("")),
        ),
        broken(
            "no world key",
            Invalid,
            &["world_key: found null", "an object"],
            |w| w.edit(MANIFEST, |m| m["world_key"] = Value::Null),
        ),
        broken(
            "a seed as text",
            Invalid,
            &["world_key.seed: found \"1\""],
            |w| w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!("1")),
        ),
        broken(
            "no scenario",
            Invalid,
            &["world_key.scenario_id: found nothing"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m["world_key"]
                        .as_object_mut()
                        .unwrap()
                        .remove("scenario_id");
                })
            },
        ),
        broken(
            "an empty scenario",
            Invalid,
            &["world_key.scenario_id", "1 to 256"],
            |w| w.edit(MANIFEST, |m| m["world_key"]["scenario_id"] = json!("")),
        ),
        broken(
            "no release",
            Invalid,
            &["engine_release: found \"\"", "1 to 128"],
            |w| w.edit(MANIFEST, |m| m["engine_release"] = json!("")),
        ),
        broken(
            "a short digest",
            Invalid,
            &["catalogue_digest", "64"],
            |w| w.edit(MANIFEST, |m| m["catalogue_digest"] = json!("00")),
        ),
        broken(
            "no digest",
            Invalid,
            &["gate_map_digest: found false"],
            |w| w.edit(MANIFEST, |m| m["gate_map_digest"] = json!(false)),
        ),
        broken(
            "an id that is none",
            Invalid,
            &["oracle_pack_id: found \"x\""],
            |w| w.edit(MANIFEST, |m| m["oracle_pack_id"] = json!("x")),
        ),
        broken(
            "another id",
            Invalid,
            &["oracle_pack_id: found 00", "id of its fields"],
            |w| w.edit(MANIFEST, |m| m["oracle_pack_id"] = json!("0".repeat(64))),
        ),
        broken(
            "an id of other fields",
            Invalid,
            &["oracle_pack_id", "of its fields"],
            |w| w.edit(MANIFEST, |m| m["engine_release"] = json!("rel-10")),
        ),
        broken(
            "another seed",
            Mismatch,
            &["world_key.seed: found 5, expected 1844"],
            |w| {
                w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!(5));
                w.reseal();
            },
        ),
        broken(
            "another seed, not resealed",
            Mismatch,
            &["world_key.seed"],
            |w| w.edit(MANIFEST, |m| m["world_key"]["seed"] = json!(5)),
        ),
        broken(
            "another fingerprint",
            Mismatch,
            &["world_key.manifest_fingerprint"],
            |w| {
                w.edit(MANIFEST, |m| {
                    m["world_key"]["manifest_fingerprint"] = json!("0".repeat(64))
                });
                w.reseal();
            },
        ),
        broken(
            "another hash",
            Mismatch,
            &["world_key.parameter_hash"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = json!("0".repeat(64))),
        ),
        broken(
            "another scenario",
            Mismatch,
            &["found calm_v2, expected stormy"],
            |w| w.plan.scenario = Some("stormy".into()),
        ),
        broken(
            "another catalogue",
            ManifestMismatch,
            &["catalogue_digest", "broken.yaml"],
            |w| w.plan.catalogue = named(format!("{CATALOGUE}# more")),
        ),
        broken(
            "another gate map",
            ManifestMismatch,
            &["gate_map_digest", "broken.yaml"],
            |w| w.plan.gate_map = named(format!("{GATE_MAP}\n")),
        ),
        broken(
            "no seal",
            PackNotSealed,
            &["no seal", SEAL, "_SEALED.flag"],
            |w| w.remove(SEAL),
        ),
        broken(
            "a seal that failed",
            PackNotSealed,
            &[SEAL, "SEALED_FAILED"],
            |w| w.edit(SEAL, |s| s["seal_status"] = json!("SEALED_FAILED")),
        ),
        broken(
            "failed, and a flag",
            PackNotSealed,
            &["SEALED_FAILED"],
            |w| {
                w.edit(SEAL, |s| s["seal_status"] = json!("SEALED_FAILED"));
                w.write_bytes("_SEALED.flag", b"");
                w.plan.require_seal = false;
            },
        ),
        broken(
            "a seal of another pack",
            SealMismatch,
            &[SEAL, "the manifest's"],
            |w| {
                w.edit(SEAL, |s| s["oracle_pack_id"] = json!("0".repeat(64)));
                w.plan.require_seal = false;
            },
        ),
        broken(
            "a seal without id",
            SealMismatch,
            &["oracle_pack_id: found nothing"],
            |w| {
                w.edit(SEAL, |s| {
                    s.as_object_mut().unwrap().remove("oracle_pack_id");
                })
            },
        ),
        broken(
            "a seal of no status",
            SealMismatch,
            &["seal_status: found MAYBE"],
            |w| w.edit(SEAL, |s| s["seal_status"] = json!("MAYBE")),
        ),
        broken(
            "an empty seal",
            SealMismatch,
            &[SEAL, "an empty file"],
            |w| w.write_bytes(SEAL, b""),
        ),
        broken("a folder as seal", SealMismatch, &[SEAL, "a folder"], |w| {
            w.make_folder(SEAL)
        }),
        broken("a folder as flag", PackNotSealed, &["no seal"], |w| {
            w.remove(SEAL);
            std::fs::create_dir(w.path("_SEALED.flag")).unwrap();
        }),
    ]
}
