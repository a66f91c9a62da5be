//! Gates.

use super::*;

pub(super) fn cases() -> Vec<Broken> {
    use Reason::{GatePassInvalid as Invalid, GatePassMissing as Missing, StreamFailed};
    const FLAG: &str = "_passed.flag";
    const INDEX: &str = "index.json";
    fn map(w: &mut World, from: &str, to: &str) {
        assert!(GATE_MAP.contains(from));
        w.plan.gate_map = named(GATE_MAP.replace(from, to));
        w.plan.compare_digests = false;
    }
    vec![
        broken(
            "no flag",
            Missing,
            &["6B/validation", FLAG, "gate.layer3.6B"],
            |w| w.remove(&w.gate("6B", FLAG)),
        ),
        broken(
            "no flag, by existence",
            Missing,
            &["5B/validation", "gate.layer2.5B"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.remove(&w.gate("5B", FLAG));
            },
        ),
        broken(
            "no flag upstream, by existence",
            Missing,
            &["gate.layer1.1A"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.remove(&w.gate("1A", FLAG));
            },
        ),
        broken("a folder as flag", Missing, &["gate.layer3.6B"], |w| {
            w.make_folder(&w.gate("6B", FLAG))
        }),
        broken(
            "a folder as flag, by existence",
            Missing,
            &["gate.layer3.6B"],
            |w| {
                w.plan.gate_check = GateCheck::Existence;
                w.make_folder(&w.gate("6B", FLAG));
            },
        ),
        broken("a file above the flag", Missing, &["gate.layer3.6B"], |w| {
            w.remove("data/layer3/6B");
            w.write_bytes("data/layer3/6B", b"");
        }),
        broken(
            "an empty flag",
            Invalid,
            &["gate.layer3.6B", "empty flag"],
            |w| w.write_bytes(&w.gate("6B", FLAG), b""),
        ),
        broken(
            "another key",
            Invalid,
            &["other = 00", "sha256_hex = <"],
            |w| w.write_bytes(&w.gate("6B", FLAG), b"other = 00"),
        ),
        broken("a flag that is no text", Invalid, &["UTF-8"], |w| {
            w.write_bytes(&w.gate("6B", FLAG), b"\xff\xfe")
        }),
        broken(
            "an object without the field",
            Invalid,
            &["5B", "bundle_digest_sha256 ="],
            |w| w.write(&w.gate("5B", FLAG), &json!({"sha256_hex": "0"})),
        ),
        broken(
            "a wrong digest",
            Invalid,
            &["6B", "found 0000", "digest of its bundle"],
            |w| {
                let flag = format!("sha256_hex = {}", "0".repeat(64));
                w.write_bytes(&w.gate("6B", FLAG), flag.as_bytes());
            },
        ),
        broken(
            "a file that changed",
            Invalid,
            &["5B", "digest of its bundle"],
            |w| w.write_bytes(&w.gate("5B", "a.json"), b"[2]"),
        ),
        broken(
            "a file more in a whole bundle",
            Invalid,
            &["gate.layer1.1A"],
            |w| w.write_bytes(&w.gate("1A", "new"), b"x"),
        ),
        broken(
            "a file less in a whole bundle",
            Invalid,
            &["gate.layer1.1A"],
            |w| w.remove(&w.gate("1A", "a.json")),
        ),
        broken(
            "a listed file is absent",
            Missing,
            &["b/rows.json", "gate.layer2.5B"],
            |w| w.remove(&w.gate("5B", "b/rows.json")),
        ),
        broken(
            "a listed file is a folder",
            Missing,
            &["a.json", "gate.layer2.5B"],
            |w| w.make_folder(&w.gate("5B", "a.json")),
        ),
        broken("no index", Missing, &["5B", INDEX], |w| {
            w.remove(&w.gate("5B", INDEX))
        }),
        broken("no index of members", Missing, &["3A", INDEX], |w| {
            w.remove(&w.gate("3A", INDEX))
        }),
        broken(
            "an index that is no JSON",
            Invalid,
            &["5B", INDEX, "not JSON"],
            |w| w.write_bytes(&w.gate("5B", INDEX), b"- a"),
        ),
        broken(
            "an index without a list",
            Invalid,
            &[INDEX, "items or members"],
            |w| w.write(&w.gate("5B", INDEX), &json!({"paths": []})),
        ),
        broken(
            "an index of numbers",
            Invalid,
            &["1 in entry 0", "path"],
            |w| w.write(&w.gate("5B", INDEX), &json!({"items": [1]})),
        ),
        broken("an index with a null path", Invalid, &["entry 1"], |w| {
            w.write(
                &w.gate("5B", INDEX),
                &json!([{"path": "a.json"}, {"path": null}]),
            )
        }),
        broken(
            "a path that climbs",
            Invalid,
            &["../../x", "does not leave"],
            |w| {
                w.write(
                    &w.gate("5B", INDEX),
                    &json!([{"path": "b/../../../x"}, {"path": "../../x"}]),
                )
            },
        ),
        broken("an absolute path", Invalid, &["/etc/hostname"], |w| {
            w.write(&w.gate("5B", INDEX), &json!([{"path": "/etc/hostname"}]))
        }),
        broken(
            "a bare list of members",
            Invalid,
            &["3A", "members or items"],
            |w| w.write(&w.gate("3A", INDEX), &json!([{"sha256_hex": "00"}])),
        ),
        broken(
            "a member without digest",
            Invalid,
            &["3A", "entry 0", "sha256_hex"],
            |w| w.write(&w.gate("3A", INDEX), &json!({"members": [{"path": "B"}]})),
        ),
        broken(
            "members in another order",
            Invalid,
            &["gate.layer1.3A"],
            |w| {
                w.edit(&w.gate("3A", INDEX), |i| {
                    i["items"].as_array_mut().unwrap().reverse()
                })
            },
        ),
        broken("no bundle", Missing, &["elsewhere", "bundle"], |w| {
            let root = "bundle_root_template: data/layer2/5B/validation";
            map(w, root, "bundle_root_template: data/elsewhere")
        }),
        broken(
            "a gate that is not in the map",
            Missing,
            &["gate.layer2.5B", "arrival_"],
            |w| {
                map(
                    w,
                    "gate_id: gate.layer2.5B.validation",
                    "gate_id: gate.other",
                )
            },
        ),
        broken(
            "an upstream gate that is not",
            Missing,
            &["gate.layer1.1A", "3A"],
            |w| {
                map(
                    w,
                    "gate_id: gate.layer1.1A.validation",
                    "gate_id: gate.other",
                )
            },
        ),
        broken(
            "an unknown method",
            StreamFailed,
            &["gate.layer1.1A", "md5"],
            |w| map(w, "kind: sha256_bundle_digest", "kind: md5"),
        ),
        broken(
            "an unknown placeholder",
            StreamFailed,
            &["gate.layer2.5B", "{day}"],
            |w| {
                map(
                    w,
                    "path_template: data/layer2",
                    "path_template: data/{day}/layer2",
                )
            },
        ),
        broken(
            "a template that climbs",
            StreamFailed,
            &["leaves the run root"],
            |w| map(w, "path_template: data/layer2", "path_template: ../layer2"),
        ),
        broken(
            "a gate twice",
            StreamFailed,
            &["gates[1].gate_id", "a second time"],
            |w| map(w, "gate_id: gate.layer1.3A", "gate_id: gate.layer1.1A"),
        ),
        broken(
            "as listed is not ASCII order",
            Invalid,
            &["gate.layer2.5B"],
            |w| {
                map(
                    w,
                    "bundle_digest_sha256, ordering: ascii_lex",
                    "bundle_digest_sha256, ordering: index_order",
                )
            },
        ),
        broken(
            "not relative to the run root",
            Missing,
            &["gate.layer2.5B", "run/B"],
            |w| {
                map(
                    w,
                    "digest_field: bundle_digest_sha256",
                    "path_base: run_root, digest_field: bundle_digest_sha256",
                )
            },
        ),
    ]
}
