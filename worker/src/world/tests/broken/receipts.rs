//! Receipts, and what a world is called.

use super::*;

pub(super) fn cases() -> Vec<Broken> {
    use Reason::{RunReceiptUnreadable as Unreadable, WorldKeyMissing as Missing};
    vec![
        broken(
            "no root at all",
            Unreadable,
            &["run root", "nothing at"],
            |w| w.plan.engine_run_root.push_str("/nowhere"),
        ),
        broken(
            "a file as root",
            Unreadable,
            &["run_receipt.json", "a file at"],
            |w| w.plan.engine_run_root.push_str("/run_receipt.json"),
        ),
        broken(
            "s3 without a bucket",
            Unreadable,
            &["s3:///x", "bucket"],
            |w| w.plan.engine_run_root = "s3:///x".into(),
        ),
        broken(
            "no root given",
            Reason::EngineRootMissing,
            &["engineRunRoot"],
            |w| w.plan.engine_run_root = "  ".into(),
        ),
        broken(
            "not allowed",
            Reason::RootNotAllowed,
            &["/srv/worlds", "run"],
            |w| w.plan.allowed_roots = vec!["/srv/worlds".into()],
        ),
        broken("climbing out", Reason::RootNotAllowed, &["/allowed"], |w| {
            w.plan.allowed_roots = vec!["/allowed".into()];
            w.plan.engine_run_root = format!("/allowed/..{}", w.plan.engine_run_root);
        }),
        broken("no receipt", Unreadable, &[RECEIPT, "no such file"], |w| {
            w.remove(RECEIPT)
        }),
        broken("a folder as receipt", Unreadable, &[RECEIPT], |w| {
            w.make_folder(RECEIPT)
        }),
        broken(
            "an empty receipt",
            Unreadable,
            &[RECEIPT, "an empty file"],
            |w| w.write_bytes(RECEIPT, b""),
        ),
        broken(
            "a truncated receipt",
            Unreadable,
            &[RECEIPT, "not JSON", "EOF"],
            |w| {
                let text = std::fs::read(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, &text[..text.len() / 2]);
            },
        ),
        broken(
            "a receipt and more",
            Unreadable,
            &[RECEIPT, "trailing"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, format!("{text}{text}").as_bytes());
            },
        ),
        broken(
            "a byte order mark",
            Unreadable,
            &[RECEIPT, "byte order mark"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                w.write_bytes(RECEIPT, format!("\u{feff}{text}").as_bytes());
            },
        ),
        broken("not UTF-8", Unreadable, &[RECEIPT, "not UTF-8"], |w| {
            w.write_bytes(RECEIPT, b"{\"run_id\": \"\xff\"}")
        }),
        broken("NaN is not JSON", Unreadable, &[RECEIPT, "not JSON"], |w| {
            w.write_bytes(RECEIPT, b"{\"seed\": NaN}")
        }),
        broken("a list", Missing, &[RECEIPT, "a JSON object"], |w| {
            w.write(RECEIPT, &json!([1]))
        }),
        broken("null", Missing, &[RECEIPT, "found null"], |w| {
            w.write(RECEIPT, &Value::Null)
        }),
        broken(
            "no run id",
            Missing,
            &[RECEIPT, "run_id: found nothing", "32"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r.as_object_mut().unwrap().remove("run_id");
                })
            },
        ),
        broken("a long run id", Missing, &["run_id", "32"], |w| {
            w.edit(RECEIPT, |r| r["run_id"] = json!("a".repeat(64)))
        }),
        broken("a run id in capitals", Missing, &["run_id", "AAAA"], |w| {
            w.edit(RECEIPT, |r| r["run_id"] = json!("A".repeat(32)))
        }),
        broken(
            "no fingerprint",
            Missing,
            &["manifest_fingerprint: found nothing"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r.as_object_mut().unwrap().remove("manifest_fingerprint");
                })
            },
        ),
        broken(
            "a fingerprint with a g",
            Missing,
            &["manifest_fingerprint", "64"],
            |w| {
                w.edit(RECEIPT, |r| {
                    r["manifest_fingerprint"] = json!("g".repeat(64))
                })
            },
        ),
        broken(
            "no parameter hash",
            Missing,
            &["parameter_hash: found null"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = Value::Null),
        ),
        broken(
            "a number as hash",
            Missing,
            &["parameter_hash: found 5"],
            |w| w.edit(RECEIPT, |r| r["parameter_hash"] = json!(5)),
        ),
        broken("no seed", Missing, &["seed: found nothing"], |w| {
            w.edit(RECEIPT, |r| {
                r.as_object_mut().unwrap().remove("seed");
            })
        }),
        broken(
            "a seed of -1",
            Missing,
            &["seed: found -1", "from 0 to"],
            |w| w.edit(RECEIPT, |r| r["seed"] = json!(-1)),
        ),
        broken("a seed of 1.0", Missing, &["seed: found 1.0"], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!(1.0))
        }),
        broken("a seed as text", Missing, &["seed: found \"7\""], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!("7"))
        }),
        broken("a seed of true", Missing, &["seed: found true"], |w| {
            w.edit(RECEIPT, |r| r["seed"] = json!(true))
        }),
        broken(
            "a seed of 2^64",
            Missing,
            &["seed: found 1.84", "18446744073709551615"],
            |w| {
                let text = std::fs::read_to_string(w.path(RECEIPT)).unwrap();
                let text = text.replace("18446744073709551615", "18446744073709551616");
                w.write_bytes(RECEIPT, text.as_bytes());
            },
        ),
        broken(
            "no scenario",
            Reason::ScenarioIdMissing,
            &["scenario_id="],
            |w| w.plan.scenario = None,
        ),
        broken(
            "scenario without a name",
            Reason::ScenarioIdMissing,
            &["scenario_id="],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/scenario_id=/x", b"");
            },
        ),
        broken(
            "two scenarios",
            Reason::ScenarioIdAmbiguous,
            &["found a, b"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/x/scenario_id=b/y", b"");
                w.write_bytes("config/scenario_id=a/y", b"");
            },
        ),
        broken(
            "nested scenarios",
            Reason::ScenarioIdAmbiguous,
            &["found a, b"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("reports/scenario_id=a/x/scenario_id=b/y", b"");
            },
        ),
        broken(
            "s3 is not searched",
            Reason::ScenarioIdMissing,
            &["s3://b/x"],
            |w| {
                w.plan.scenario = None;
                w.write_bytes("data/scenario_id=calm_v2/x", b"");
                w.plan.mounts = vec![Mount {
                    from: "s3://b/x".into(),
                    to: w.plan.engine_run_root.clone(),
                }];
                w.plan.engine_run_root = "s3://b/x".into();
            },
        ),
    ]
}
