//! A view's manifest, receipt and parts, as far as they are looked at before the first event.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use serde_json::json;

use super::bed::*;

pub fn add(cases: &mut Cases) {
    documents(cases);
    parts(cases);
}

fn documents(cases: &mut Cases) {
    let missing = "STREAM_VIEW_MISSING";
    cases.add("no views", missing, &["no such file"], |it| {
        it.remove("stream_view")
    });
    cases.add(
        "no view of a context output",
        missing,
        &[CONTEXT, VIEW_MANIFEST],
        |it| {
            it.remove(&view(CONTEXT, ""));
        },
    );
    for file in [VIEW_MANIFEST, VIEW_RECEIPT] {
        let path = view(TRAFFIC, file);
        cases.add(
            &format!("no {file}"),
            missing,
            &[&path, "no such file"],
            move |it| {
                it.remove(&view(TRAFFIC, file));
            },
        );
        cases.add(
            &format!("{file} is a folder"),
            missing,
            &[&path],
            move |it| {
                it.folder_for(&view(TRAFFIC, file));
            },
        );
        for (name, bytes, words) in [
            ("empty", &b""[..], "an empty file"),
            ("cut short", b"{\"status\": \"O", "no JSON"),
            ("no text", b"{\"a\": \"\xff\"}", "no JSON"),
            ("a list", b"[]", "found []"),
            ("without fields", b"{}", "found {}"),
        ] {
            cases.add(
                &format!("{file} {name}"),
                missing,
                &[&path, words],
                move |it| {
                    it.write(&view(TRAFFIC, file), bytes);
                },
            );
        }
    }
    for (name, status) in [
        ("sorting failed", json!("FAILED")),
        ("sorting is pending", json!("PENDING")),
        ("status is a number", json!(1)),
        ("status in small letters", json!("ok")),
    ] {
        let words = [VIEW_RECEIPT, "status", "expected OK"];
        cases.add(name, "STREAM_VIEW_RECEIPT_BAD", &words, move |it| {
            it.edit_json(&view(TRAFFIC, VIEW_RECEIPT), |fields| {
                fields["status"] = status.clone()
            });
        });
    }
    for (name, id) in [
        ("view of another id", json!("0".repeat(64))),
        ("view id is a number", json!(7)),
        ("view id is empty", json!("")),
    ] {
        let words = [VIEW_MANIFEST, "stream_view_id", "found", "expected"];
        cases.add(name, "STREAM_VIEW_ID_MISMATCH", &words, move |it| {
            it.edit_json(&view(TRAFFIC, VIEW_MANIFEST), |fields| {
                fields["stream_view_id"] = id.clone()
            });
        });
    }
    cases.add(
        "a world of another name",
        "STREAM_VIEW_ID_MISMATCH",
        &["stream_view_id"],
        |it| {
            it.flag("engine-run-root", &it.world().display().to_string());
        },
    );
    for file in [VIEW_MANIFEST, VIEW_RECEIPT] {
        let words = [file, "output_id", CONTEXT, TRAFFIC];
        cases.add(
            &format!("{file} of another output"),
            "STREAM_VIEW_OUTPUT_MISMATCH",
            &words,
            move |it| {
                it.edit_json(&view(TRAFFIC, file), |fields| {
                    fields["output_id"] = json!(CONTEXT)
                });
            },
        );
    }
}

fn parts(cases: &mut Cases) {
    cases.add(
        "no part",
        "STREAM_VIEW_EMPTY",
        &[TRAFFIC, "no part", "part-*.parquet"],
        |it| {
            it.remove(&view(TRAFFIC, FIRST));
            it.remove(&view(TRAFFIC, SECOND));
        },
    );
    cases.add(
        "parts of other names",
        "STREAM_VIEW_EMPTY",
        &[TRAFFIC],
        |it| {
            for (part, name) in [(FIRST, "data-0.parquet"), (SECOND, "part-1.csv")] {
                let from = it.path(&view(TRAFFIC, part));
                std::fs::rename(from, it.path(&view(TRAFFIC, name))).unwrap();
            }
        },
    );
    let failed = "STREAM_FAILED";
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change, &str); 8] = [
        ("part empty", |bytes| bytes.clear(), "0 bytes"),
        ("part of a few bytes", |bytes| bytes.truncate(7), "7 bytes"),
        (
            "part cut in half",
            |bytes| bytes.truncate(bytes.len() / 2),
            "no Parquet",
        ),
        (
            "part without its last byte",
            |bytes| bytes.truncate(bytes.len() - 1),
            "no Parquet",
        ),
        ("part with a byte more", |bytes| bytes.push(0), "no Parquet"),
        (
            "part is text",
            |bytes| *bytes = b"a,b\n1,2\n".repeat(9),
            "no Parquet",
        ),
        (
            "part cut in its middle",
            |bytes| drop(bytes.drain(50..1050)),
            "expected",
        ),
        (
            "footer of zeros",
            |bytes| {
                let end = bytes.len() - 8;
                bytes[end - 200..end].fill(0);
            },
            "footer",
        ),
    ];
    for (name, change, words) in changes {
        for part in [FIRST, SECOND] {
            let name = format!("{name}: {part}");
            cases.add(&name, failed, &[&view(TRAFFIC, part), words], move |it| {
                it.edit(&view(TRAFFIC, part), change);
            });
        }
    }
    cases.add(
        "footer longer than the part",
        failed,
        &[SECOND, "a footer of"],
        |it| {
            it.edit(&view(TRAFFIC, SECOND), |bytes| {
                let end = bytes.len() - 8;
                bytes[end..end + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            });
        },
    );
    cases.add("encrypted footer", failed, &[FIRST, "encrypted"], |it| {
        it.edit(&view(TRAFFIC, FIRST), |bytes| {
            let end = bytes.len() - 1;
            bytes[end] = b'E';
        });
    });
    let columns = |cases: &mut Cases,
                   name: &str,
                   words: &[&str],
                   change: fn(&mut Vec<(String, ArrayRef)>)| {
        cases.add(name, failed, words, move |it| {
            it.rewrite(TRAFFIC, SECOND, change)
        });
    };
    columns(cases, "no time key", &[SECOND, "ts_utc"], |columns| {
        columns.retain(|(name, _)| name != "ts_utc");
    });
    columns(
        cases,
        "a number as time key",
        &[SECOND, "column ts_utc", "Int64"],
        |columns| {
            let rows = columns[0].1.len() as i64;
            let at = columns
                .iter()
                .position(|(name, _)| name == "ts_utc")
                .unwrap();
            columns[at].1 = Arc::new(Int64Array::from_iter_values(0..rows));
        },
    );
    columns(
        cases,
        "two columns of one name",
        &[SECOND, "amount"],
        |columns| {
            let amount = columns
                .iter()
                .find(|(name, _)| name == "amount")
                .unwrap()
                .clone();
            columns.push(amount);
        },
    );
    columns(cases, "two time keys", &[SECOND, "ts_utc"], |columns| {
        let time = columns
            .iter()
            .find(|(name, _)| name == "ts_utc")
            .unwrap()
            .clone();
        columns.insert(0, time);
    });
    // The first row of all: nothing is sent, of no output.
    let mut first = |name: &str, code, words: &[&str], change: fn(&mut Vec<(String, ArrayRef)>)| {
        let case = cases.add(name, code, words, move |it| {
            it.rewrite(TRAFFIC, FIRST, change)
        });
        case.sent = Sent::NothingButPlanned;
    };
    first(
        "no column of the key",
        "PRIMARY_KEY_MISSING",
        &[FIRST, "row 0", "flow_id"],
        |columns| {
            columns.retain(|(name, _)| name != "flow_id");
        },
    );
    first(
        "a payload that is null at once",
        "STREAM_VIEW_PAYLOAD_MISSING",
        &[FIRST, "row 0"],
        |columns| {
            let rows = columns[0].1.len();
            let nulls: Vec<Option<&str>> = vec![None; rows];
            columns.push(("payload_json".into(), Arc::new(StringArray::from(nulls))));
        },
    );
    first(
        "binary at once",
        "STREAM_FAILED",
        &[FIRST, "row 0", "column blob"],
        |columns| {
            let rows = columns[0].1.len();
            let blob = arrow_array::BinaryArray::from_vec(vec![&b"\0"[..]; rows]);
            columns.push(("blob".into(), Arc::new(blob)));
        },
    );
    let case = cases.add(
        "the first time is unreadable",
        "STREAM_FAILED",
        &[FIRST, "row 0", "ts_utc"],
        |it| {
            it.rewrite(TRAFFIC, FIRST, |columns| {
                super::rows::set_text(columns, "ts_utc", 0, Some("soon"))
            });
        },
    );
    case.sent = Sent::Nothing;
    let case = cases.add(
        "a broken context row stops the traffic",
        "PRIMARY_KEY_MISSING",
        &[CONTEXT, "row 0"],
        |it| {
            it.rewrite(CONTEXT, FIRST, |columns| {
                super::rows::set_null(columns, "merchant_id", 0)
            });
        },
    );
    case.sent = Sent::NothingButPlanned;
}
