//! Catalogue, selection, gates and producer.

use std::fs;

use serde_json::{Value, json};

use super::bed::*;

const CATALOGUE: &str = include_str!("../../../config/catalogue.yaml");
const GATES: &str = include_str!("../../../config/gate_map.yaml");

pub fn add(cases: &mut Cases) {
    catalogues(cases);
    selections(cases);
    gates(cases);
    producers(cases);
    order(cases);
}

/// Uses another text as the catalogue (`catalogue`) or the gate map (`gateMap`).
fn policy(it: &mut Setup, field: &str, bytes: impl AsRef<[u8]>) {
    let file = it.side(&format!("{field}.yaml"), bytes);
    it.set(field, json!({"file": file}));
}

fn catalogues(cases: &mut Cases) {
    let failed = "STREAM_FAILED";
    for (field, what) in [("catalogue", "outputs"), ("gateMap", "gates")] {
        let file = format!("{field}.yaml");
        cases.add(
            &format!("no {field}"),
            failed,
            &["absent.yaml", "No such file"],
            move |it| {
                it.set(field, json!({"file": "absent.yaml"}));
            },
        );
        for (name, bytes) in [
            ("empty", &b""[..]),
            ("a list", b"- a\n"),
            ("of another field", b"things: []\n"),
            ("no list", b"outputs: 3\ngates: 3\n"),
            ("cut short", b"outputs: [{output_id: \"a\ngates: [{"),
            ("no text", b"outputs: \xff\xfe"),
        ] {
            cases.add(&format!("{field} {name}"), failed, &[&file], move |it| {
                policy(it, field, bytes);
            });
        }
        cases.add(
            &format!("{field} without any {what}"),
            match field {
                "catalogue" => "NO_TRAFFIC_OUTPUTS",
                _ => "GATE_PASS_MISSING",
            },
            &[&file],
            move |it| policy(it, field, format!("{what}: []\n")),
        );
    }
    cases.add(
        "an output twice in the catalogue",
        failed,
        &["catalogue.yaml", "a second time"],
        |it| {
            let entry = CATALOGUE.split("  - output_id:").nth(1).unwrap();
            policy(it, "catalogue", format!("{CATALOGUE}  - output_id:{entry}"));
        },
    );
    cases.add(
        "an empty primary key",
        "PRIMARY_KEY_MISSING",
        &["catalogue.yaml", TRAFFIC, "[]"],
        |it| {
            let old = "[seed, manifest_fingerprint, scenario_id, flow_id, event_seq]";
            policy(it, "catalogue", CATALOGUE.replace(old, "[]"));
        },
    );
    cases.add(
        "an unknown placeholder",
        failed,
        &["gateMap.yaml", "{moon}"],
        |it| {
            policy(
                it,
                "gateMap",
                GATES.replace(
                    "/6B/validation/manifest_fingerprint={manifest",
                    "/6B/{moon}/{manifest",
                ),
            );
        },
    );
    cases.add(
        "an unknown kind of digest",
        failed,
        &["gateMap.yaml", "sha1"],
        |it| {
            policy(
                it,
                "gateMap",
                GATES.replace("kind: sha256_index_json_ascii_lex_raw_bytes", "kind: sha1"),
            );
        },
    );
}

fn selections(cases: &mut Cases) {
    let none = "NO_TRAFFIC_OUTPUTS";
    cases.add(
        "an output that is not allowed",
        none,
        &["s4_event_labels_6B", TRAFFIC],
        |it| {
            it.flag("output", "s4_event_labels_6B");
        },
    );
    cases.add("a context output as traffic", none, &[CONTEXT], |it| {
        it.flag("output", CONTEXT)
    });
    cases.add("truth on the allowlist", none, &["s4_event_labels_6B", "truth"], |it| {
        policy(it, "catalogue", format!(
            "{CATALOGUE}  - {{output_id: s4_event_labels_6B, path_template: x, primary_key: [a]}}\n"
        ));
        it.set("trafficOutputs", json!({"allowlist": {"outputIds": ["s4_event_labels_6B"]}}));
    });
    cases.add(
        "an empty allowlist",
        none,
        &["traffic", "an empty list"],
        |it| {
            it.set("trafficOutputs", json!({"allowlist": {"outputIds": []}}));
        },
    );
    cases.add(
        "allowed traffic that is not in the catalogue",
        none,
        &["s9_new"],
        |it| {
            it.set(
                "trafficOutputs",
                json!({"allowlist": {"outputIds": [TRAFFIC, "s9_new"]}}),
            );
        },
    );
    cases.add(
        "context that is not in the catalogue",
        "OUTPUT_UNKNOWN",
        &["s9_new", "context"],
        |it| {
            it.set(
                "contextOutputs",
                json!({"fraud": {"outputIds": ["s9_new"]}}),
            );
        },
    );
}

/// The folder of the traffic's gate.
fn bundle(it: &Setup) -> String {
    let layer = "data/layer3/6B/validation";
    let found: Vec<_> = fs::read_dir(it.path(layer)).unwrap().collect();
    assert_eq!(found.len(), 1);
    let name = found[0].as_ref().unwrap().file_name();
    format!("{layer}/{}", name.to_str().unwrap())
}

fn gates(cases: &mut Cases) {
    let missing = "GATE_PASS_MISSING";
    let invalid = "GATE_PASS_INVALID";
    let gate = "gate.layer3.6B.validation";
    for file in [
        "_passed.flag",
        "index.json",
        "summary.json",
        "checks/rows.json",
    ] {
        cases.add(
            &format!("gate without {file}"),
            missing,
            &[gate, file],
            move |it| {
                it.remove(&format!("{}/{file}", bundle(it)));
            },
        );
    }
    cases.add("no bundle of the gate", missing, &[gate], |it| {
        it.remove(&bundle(it))
    });
    cases.add(
        "no flag, by existence",
        missing,
        &[gate, "_passed.flag"],
        |it| {
            it.remove(&format!("{}/_passed.flag", bundle(it)));
            it.set("require/gates", json!("Existence"));
        },
    );
    cases.add(
        "flag is a folder, by existence",
        missing,
        &[gate, "_passed.flag"],
        |it| {
            it.folder_for(&format!("{}/_passed.flag", bundle(it)));
            it.set("require/gates", json!("Existence"));
        },
    );
    for (name, text) in [
        ("empty", "".to_owned()),
        ("without a key", "0".repeat(64)),
        ("of another key", format!("md5 = {}", "0".repeat(64))),
        ("short", "sha256_hex = 0123".to_owned()),
        ("upper case", format!("sha256_hex = {}", "A".repeat(64))),
        ("broken JSON", "{\"sha256_hex\": ".to_owned()),
        (
            "of another digest",
            format!("sha256_hex = {}", "0".repeat(64)),
        ),
    ] {
        cases.add(
            &format!("flag {name}"),
            invalid,
            &[gate, "_passed.flag", "found"],
            move |it| {
                it.write(&format!("{}/_passed.flag", bundle(it)), &text);
            },
        );
    }
    cases.add("flag is no text", invalid, &[gate, "not UTF-8"], |it| {
        it.write(&format!("{}/_passed.flag", bundle(it)), b"\xff\xfe");
    });
    cases.add(
        "a byte of the bundle changed",
        invalid,
        &[gate, "the digest of its bundle"],
        |it| {
            it.edit(&format!("{}/summary.json", bundle(it)), |bytes| {
                bytes[5] ^= 1
            });
        },
    );
    for (name, text, words) in [
        ("empty", "", "an empty file"),
        ("cut short", "{\"items\": [", "not JSON"),
        ("a number", "3", "found 3"),
        ("without a list", "{\"version\": 1}", "found nothing"),
        (
            "with an entry without a path",
            "{\"items\": [{\"x\": 1}]}",
            "entry 0",
        ),
        (
            "with a path that leaves",
            "{\"items\": [{\"path\": \"../../../x\"}]}",
            "does not leave",
        ),
    ] {
        cases.add(
            &format!("index {name}"),
            invalid,
            &[gate, "index.json", words],
            move |it| {
                it.write(&format!("{}/index.json", bundle(it)), text);
            },
        );
    }
    cases.add(
        "index lists what is not there",
        missing,
        &[gate, "moon.json"],
        |it| {
            it.edit_json(&format!("{}/index.json", bundle(it)), |index| {
                index["items"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"path": "moon.json"}));
            });
        },
    );
    cases.add(
        "a gate upstream that did not pass",
        missing,
        &["gate.layer1.1A.validation"],
        |it| {
            it.remove("data/layer1/1A");
            it.set("require/upstream", json!(true));
        },
    );
    cases.add(
        "the context's gate did not pass",
        missing,
        &["gate.layer2.5B.validation"],
        |it| {
            it.remove("data/layer2/5B");
        },
    );
    cases.add(
        "a gate that the map lacks",
        missing,
        &["gate.moon", TRAFFIC],
        |it| {
            policy(
                it,
                "catalogue",
                CATALOGUE.replace("[gate.layer3.6B.validation]", "[gate.moon]"),
            );
            it.traffic_only();
        },
    );
}

fn producers(cases: &mut Cases) {
    let allowlist = |it: &mut Setup, bytes: &[u8]| {
        let file = it.side("allow.txt", bytes);
        it.set("producer/allowlist", json!({"file": file}));
    };
    for (name, id) in [
        ("no producer", Value::Null),
        ("a blank producer", json!(" ")),
    ] {
        cases.add(
            name,
            "PRODUCER_ID_MISSING",
            &["producer.id", "found nothing"],
            move |it| {
                it.set("producer/id", id.clone());
            },
        );
    }
    cases.add(
        "no allowlist named",
        "PRODUCER_ALLOWLIST_MISSING",
        &["producer.allowlist"],
        |it| {
            it.set("producer/allowlist", Value::Null);
        },
    );
    cases.add(
        "an absent allowlist",
        "PRODUCER_ALLOWLIST_MISSING",
        &["absent.txt", "No such"],
        |it| {
            it.set("producer/allowlist", json!({"file": "absent.txt"}));
        },
    );
    cases.add(
        "an allowlist that is a folder",
        "PRODUCER_ALLOWLIST_UNREADABLE",
        &["world"],
        |it| {
            let folder = it.world();
            it.set("producer/allowlist", json!({"file": folder}));
        },
    );
    cases.add(
        "an allowlist that is no text",
        "PRODUCER_ALLOWLIST_UNREADABLE",
        &["UTF-8"],
        move |it| {
            allowlist(it, b"svc:\xff\n");
        },
    );
    cases.add(
        "an empty allowlist of producers",
        "PRODUCER_ALLOWLIST_EMPTY",
        &["allow.txt"],
        move |it| {
            allowlist(it, b"");
        },
    );
    cases.add(
        "an allowlist of comments",
        "PRODUCER_ALLOWLIST_EMPTY",
        &["allow.txt"],
        move |it| {
            allowlist(it, b"# nobody\n\n  # yet\n");
        },
    );
    cases.add(
        "a producer that is not allowed",
        "PRODUCER_NOT_ALLOWED",
        &[
            "producer.id",
            "svc:world_stream_producer",
            "one of svc:other",
        ],
        move |it| allowlist(it, b"svc:other\n"),
    );
}

/// Two things broken at once: the check that comes first in the contract's list says so.
fn order(cases: &mut Cases) {
    cases.add(
        "receipt before producer",
        "RUN_RECEIPT_UNREADABLE",
        &[RECEIPT],
        |it| {
            it.remove(RECEIPT);
            it.set("producer/allowlist", json!({"file": "absent.txt"}));
        },
    );
    cases.add(
        "gates before producer",
        "GATE_PASS_MISSING",
        &["_passed.flag"],
        |it| {
            it.remove(&format!("{}/_passed.flag", bundle(it)));
            it.set("producer/allowlist", json!({"file": "absent.txt"}));
        },
    );
    cases.add(
        "producer before views",
        "PRODUCER_NOT_ALLOWED",
        &["svc:other"],
        |it| {
            it.set("producer/allowlist", json!({"inline": "svc:other"}));
            it.remove("stream_view");
        },
    );
    cases.add(
        "manifest before seal",
        "PACK_MANIFEST_MISSING",
        &[MANIFEST],
        |it| {
            it.remove(MANIFEST);
            it.remove(SEAL);
        },
    );
    cases.add("seal before selection", "PACK_NOT_SEALED", &[SEAL], |it| {
        it.remove(SEAL);
        it.flag("output", "s4_event_labels_6B");
    });
    cases.add(
        "selection before gates",
        "NO_TRAFFIC_OUTPUTS",
        &["s4_event_labels_6B"],
        |it| {
            it.remove("data");
            it.flag("output", "s4_event_labels_6B");
        },
    );
    cases.add(
        "views before checkpoints",
        "STREAM_VIEW_MISSING",
        &[VIEW_MANIFEST],
        |it| {
            it.begin(3);
            fs::write(it.cursor(), "x").unwrap();
            it.remove(&view(TRAFFIC, VIEW_MANIFEST));
        },
    );
}
