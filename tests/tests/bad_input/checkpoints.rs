//! Cursors and figures that are broken, of another stream, or of a view that was replaced since.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::bed::*;

/// Events behind the cursor that is broken.
const BEGUN: usize = 5;

pub fn add(cases: &mut Cases) {
    let unreadable = "CHECKPOINT_UNREADABLE";
    for (name, bytes, words) in [
        ("cursor empty", &b""[..], "found nothing"),
        ("cursor blank", b" \n", "found nothing"),
        (
            "cursor cut short",
            b"{\"last_file\": \"s3://",
            "ends too early",
        ),
        ("cursor no text", b"\xff\xfe", "a JSON object"),
        ("cursor null", b"null", "found null"),
        ("cursor a list", b"[]", "found []"),
        ("cursor without fields", b"{}", "no such field"),
    ] {
        cases.add(name, unreadable, &["cursor.json", words], move |it| {
            it.begin(BEGUN);
            fs::write(it.cursor(), bytes).unwrap();
        });
    }
    for field in ["pack_key", "output_id", "last_file", "last_row_index"] {
        let words = ["cursor.json", field, "no such field"];
        cases.add(
            &format!("cursor without {field}"),
            unreadable,
            &words,
            move |it| {
                it.begin(BEGUN);
                edit_json(&it.cursor(), |cursor| {
                    drop(cursor.as_object_mut().unwrap().remove(field))
                });
            },
        );
    }
    for (name, field, value, words) in [
        (
            "cursor of another scope",
            "pack_key",
            json!("0".repeat(64)),
            "another stream's",
        ),
        (
            "cursor of another output",
            "output_id",
            json!(CONTEXT),
            "another stream's",
        ),
        ("cursor without a file", "last_file", json!(""), "not empty"),
        (
            "cursor with a file that is a number",
            "last_file",
            json!(1),
            "found 1",
        ),
        (
            "cursor before the first row",
            "last_row_index",
            json!(-1),
            "found -1",
        ),
        (
            "cursor at a fraction",
            "last_row_index",
            json!(1.5),
            "found 1.5",
        ),
        (
            "cursor with a row as text",
            "last_row_index",
            json!("4"),
            "found \"4\"",
        ),
        (
            "cursor beyond 63 bits",
            "last_row_index",
            json!(u64::MAX),
            "2^63 - 1",
        ),
        (
            "cursor with a wrong time",
            "last_ts_utc",
            json!("soon"),
            "found \"soon\"",
        ),
        (
            "cursor with a time as number",
            "last_ts_utc",
            json!(17),
            "found 17",
        ),
    ] {
        cases.add(
            name,
            unreadable,
            &["cursor.json", field, words],
            move |it| {
                it.begin(BEGUN);
                edit_json(&it.cursor(), |cursor| cursor[field] = value.clone());
            },
        );
    }
    cases.add(
        "cursor is a folder",
        unreadable,
        &["cursor.json", "a folder"],
        |it| {
            it.begin(BEGUN);
            let cursor = it.cursor();
            fs::remove_file(&cursor).unwrap();
            fs::create_dir(&cursor).unwrap();
        },
    );
    cases.add(
        "cursor is a link",
        unreadable,
        &["cursor.json", "a symbolic link"],
        |it| {
            it.begin(BEGUN);
            let cursor = it.cursor();
            fs::rename(&cursor, it.dir.join("elsewhere.json")).unwrap();
            symlink(it.dir.join("elsewhere.json"), &cursor).unwrap();
        },
    );
    let changed = "STREAM_VIEW_CHANGED";
    for (name, field, value, words) in [
        (
            "cursor in a part that is not there",
            "last_file",
            json!(format!("{ROOT}/moon.parquet")),
            "moon.parquet",
        ),
        (
            "cursor beyond the part's rows",
            "last_row_index",
            json!(20),
            "below 20",
        ),
        (
            "cursor's time is of another row",
            "last_ts_utc",
            json!("2025-12-31T00:00:00Z"),
            "as the cursor says",
        ),
    ] {
        let case = cases.add(name, changed, &[words, "found", "expected"], move |it| {
            it.begin(BEGUN);
            // Left by another producer, so that only the view can tell.
            for slot in ["progress-a.json", "progress-b.json"] {
                let _ = fs::remove_file(it.checkpoint().join(slot));
            }
            edit_json(&it.cursor(), |cursor| cursor[field] = value.clone());
        });
        if field == "last_ts_utc" {
            // Seen when the row is read: before the first event, but not by a plan.
            case.sent = Sent::NothingButPlanned;
        }
    }
    cases.add(
        "the view was rebuilt since",
        changed,
        &[TRAFFIC, "found", "expected"],
        |it| {
            it.begin(BEGUN);
            it.rewrite(TRAFFIC, SECOND, |_| {});
        },
    );
    cases.add(
        "a part is gone since",
        changed,
        &[TRAFFIC, "found", "expected"],
        |it| {
            it.begin(BEGUN);
            it.remove(&view(TRAFFIC, SECOND));
        },
    );
    cases.add(
        "a part came since",
        changed,
        &[TRAFFIC, "found", "expected"],
        |it| {
            it.begin(BEGUN);
            let from = it.path(&view(TRAFFIC, SECOND));
            fs::copy(from, it.path(&view(TRAFFIC, "part-000002.parquet"))).unwrap();
        },
    );
    cases.add(
        "a context view was rebuilt since",
        changed,
        &[CONTEXT],
        |it| {
            it.begin(BEGUN);
            it.rewrite(CONTEXT, FIRST, |_| {});
        },
    );
    cases.add("parts changed places", changed, &[TRAFFIC], |it| {
        it.begin(BEGUN);
        let (first, second) = (
            it.path(&view(TRAFFIC, FIRST)),
            it.path(&view(TRAFFIC, SECOND)),
        );
        let away = it.dir.join("away");
        fs::rename(&first, &away).unwrap();
        fs::rename(&second, &first).unwrap();
        fs::rename(&away, &second).unwrap();
    });
    let case = cases.add(
        "a checkpoint that another holds",
        "CHECKPOINT_CONFLICT",
        &["held by process"],
        |it| {
            it.begin(BEGUN);
            let lock = fs::File::open(it.checkpoint().join("worldstream.lock")).unwrap();
            lock.lock().unwrap();
            // Held until the process of the tests ends.
            std::mem::forget(lock);
        },
    );
    case.sent = Sent::NothingButPlanned;
}
