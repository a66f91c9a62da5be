//! Views that must not be read: each with its code, and words that help to mend it.

use arrow_array::*;

use super::*;

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(25)
        .build()
}

fn sound() -> World {
    let world = World::new();
    world.part("part-000000.parquet", &rows(0..300), properties());
    world.part("part-000001.parquet", &rows(300..600), properties());
    world
}

const MANIFEST: &str = "_stream_view_manifest.json";
const RECEIPT: &str = "_stream_sort_receipt.json";
const FIRST: &str = "part-000000.parquet";
const SECOND: &str = "part-000001.parquet";

type Break = Box<dyn Fn(&World)>;

fn write(file: &'static str, bytes: &'static [u8]) -> Break {
    Box::new(move |world| world.write(file, bytes))
}

fn remove(file: &'static str) -> Break {
    Box::new(move |world| std::fs::remove_file(world.path(file)).unwrap())
}

fn edit(file: &'static str, change: impl Fn(&mut Vec<u8>) + 'static) -> Break {
    Box::new(move |world| {
        let mut bytes = std::fs::read(world.path(file)).unwrap();
        change(&mut bytes);
        world.write(file, &bytes);
    })
}

fn replace(columns: fn() -> Vec<(&'static str, ArrayRef)>) -> Break {
    Box::new(move |world| world.part(FIRST, &batch(columns()), properties()))
}

fn time_column() -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![T0]))
}

/// What a view breaks by, the code, and words of the message; the first error of planning or else
/// of reading.
fn cases() -> Vec<(&'static str, Break, &'static str, Vec<&'static str>)> {
    let mut cases: Vec<(&'static str, Break, &'static str, Vec<&'static str>)> = Vec::new();
    let mut case = |name, change, code, words: &[&'static str]| {
        cases.push((name, change, code, words.to_vec()));
    };
    let missing = "STREAM_VIEW_MISSING";
    let folder: Break = Box::new(|world| std::fs::remove_dir_all(world.folder()).unwrap());
    case("no folder", folder, missing, &[MANIFEST, "no such file"]);
    case(
        "no manifest",
        remove(MANIFEST),
        missing,
        &[MANIFEST, "no such file"],
    );
    case(
        "no receipt",
        remove(RECEIPT),
        missing,
        &[RECEIPT, "no such file"],
    );
    case(
        "empty manifest",
        write(MANIFEST, b""),
        missing,
        &[MANIFEST, "an empty file"],
    );
    case(
        "empty receipt",
        write(RECEIPT, b""),
        missing,
        &[RECEIPT, "an empty file"],
    );
    case(
        "blank receipt",
        write(RECEIPT, b" \n"),
        missing,
        &[RECEIPT, "no JSON"],
    );
    case(
        "manifest without fields",
        write(MANIFEST, b"{}"),
        missing,
        &[MANIFEST, "{}"],
    );
    case(
        "receipt of null",
        write(RECEIPT, b"null"),
        missing,
        &[RECEIPT, "found null"],
    );
    case(
        "manifest is a list",
        write(MANIFEST, b"[1]"),
        missing,
        &[MANIFEST, "[1]"],
    );
    case(
        "manifest cut short",
        write(MANIFEST, b"{\"output_id\": \"arr"),
        missing,
        &["no JSON", "EOF"],
    );
    case(
        "receipt is no UTF-8",
        write(RECEIPT, b"{\"status\": \"\xff\"}"),
        missing,
        &[RECEIPT, "no JSON"],
    );
    let folder: Break = Box::new(|world| {
        std::fs::remove_file(world.path(MANIFEST)).unwrap();
        std::fs::create_dir(world.path(MANIFEST)).unwrap();
    });
    case("manifest is a folder", folder, missing, &[MANIFEST]);

    let bad = "STREAM_VIEW_RECEIPT_BAD";
    case(
        "receipt says failed",
        write(RECEIPT, br#"{"status":"FAILED"}"#),
        bad,
        &[RECEIPT, "status", "found FAILED", "expected OK"],
    );
    case(
        "status in other letters",
        write(RECEIPT, br#"{"status":"ok"}"#),
        bad,
        &["found ok"],
    );
    case(
        "status is no text",
        write(RECEIPT, br#"{"status":true}"#),
        bad,
        &["found true"],
    );
    let both: Break = Box::new(|world| {
        world.write(RECEIPT, br#"{"status":"FAILED","output_id":"other"}"#);
        world.write(MANIFEST, br#"{"stream_view_id":"0"}"#);
    });
    case("receipt is checked before the id", both, bad, &["FAILED"]);

    let id = "STREAM_VIEW_ID_MISMATCH";
    case(
        "view of another root",
        write(MANIFEST, br#"{"stream_view_id":"00ff"}"#),
        id,
        &[MANIFEST, "stream_view_id", "found 00ff"],
    );
    case(
        "view id is no text",
        write(MANIFEST, br#"{"stream_view_id":7}"#),
        id,
        &["found 7"],
    );
    case(
        "id is checked before the output",
        write(MANIFEST, br#"{"stream_view_id":"0","output_id":"other"}"#),
        id,
        &[MANIFEST],
    );
    let other = "STREAM_VIEW_OUTPUT_MISMATCH";
    case(
        "manifest of another output",
        write(MANIFEST, br#"{"output_id":"s1_arrival_entities_6B"}"#),
        other,
        &[
            MANIFEST,
            "output_id",
            "found s1_arrival_entities_6B",
            "expected arrival_events_5B",
        ],
    );
    case(
        "receipt of another output",
        write(
            RECEIPT,
            br#"{"status":"","output_id":"s1_arrival_entities_6B"}"#,
        ),
        other,
        &[RECEIPT, "found s1_arrival_entities_6B"],
    );
    let both: Break = Box::new(|world| {
        world.write(RECEIPT, br#"{"output_id":"other"}"#);
        std::fs::remove_file(world.path(FIRST)).unwrap();
        std::fs::remove_file(world.path(SECOND)).unwrap();
    });
    case(
        "output is checked before the parts",
        both,
        other,
        &[RECEIPT],
    );

    let empty = "STREAM_VIEW_EMPTY";
    let none: Break = Box::new(|world| {
        std::fs::remove_file(world.path(FIRST)).unwrap();
        std::fs::remove_file(world.path(SECOND)).unwrap();
    });
    case(
        "no part",
        none,
        empty,
        &["output_id=arrival_events_5B", "part-*.parquet"],
    );
    let elsewhere: Break = Box::new(|world| {
        std::fs::create_dir(world.path("more")).unwrap();
        std::fs::rename(world.path(FIRST), world.path("more").join(FIRST)).unwrap();
        std::fs::rename(world.path(SECOND), world.path("data.parquet")).unwrap();
    });
    case("parts elsewhere", elsewhere, empty, &["no part"]);

    let failed = "STREAM_FAILED";
    case(
        "part of zero bytes",
        write(SECOND, b""),
        failed,
        &[SECOND, "0 bytes", "truncated"],
    );
    case(
        "part of three bytes",
        write(FIRST, b"PAR"),
        failed,
        &[FIRST, "3 bytes"],
    );
    case(
        "part is text",
        write(FIRST, b"ts_utc,id\n2026-01-01,1\n"),
        failed,
        &[FIRST, "no Parquet"],
    );
    case(
        "part without its end",
        edit(SECOND, |bytes| bytes.truncate(bytes.len() * 2 / 3)),
        failed,
        &[SECOND, "truncated"],
    );
    case(
        "part without its middle",
        edit(SECOND, |bytes| {
            bytes.drain(100..6000);
        }),
        failed,
        &[SECOND, "row group", "truncated"],
    );
    case(
        "footer longer than the part",
        edit(FIRST, |bytes| {
            let at = bytes.len() - 8;
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        }),
        failed,
        &[FIRST, "a footer of"],
    );
    case(
        "footer of zeros",
        edit(FIRST, |bytes| {
            let (at, end) = (bytes.len() - 3000, bytes.len() - 8);
            bytes[at..end].fill(0);
        }),
        failed,
        &[FIRST],
    );
    case(
        "encrypted footer",
        edit(FIRST, |bytes| {
            let at = bytes.len() - 4;
            bytes[at..].copy_from_slice(b"PARE");
        }),
        failed,
        &[FIRST, "an encrypted footer"],
    );
    case(
        "no time key",
        replace(|| vec![("id", Arc::new(UInt64Array::from(vec![1])))]),
        failed,
        &[FIRST, "column ts_utc", "no such column, only id"],
    );
    case(
        "time key in other letters",
        replace(|| vec![("TS_UTC", time_column())]),
        failed,
        &["column ts_utc", "only TS_UTC"],
    );
    case(
        "time key is a number",
        replace(|| vec![("ts_utc", Arc::new(Int64Array::from(vec![T0])))]),
        failed,
        &[
            FIRST,
            "column ts_utc",
            "found Int64",
            "a timestamp or a text",
        ],
    );
    case(
        "time key is a date",
        replace(|| vec![("ts_utc", Arc::new(Date32Array::from(vec![20_000])))]),
        failed,
        &["found Date32"],
    );
    case(
        "two columns of one name",
        replace(|| {
            vec![
                ("ts_utc", time_column()),
                ("id", Arc::new(UInt64Array::from(vec![1]))),
                ("id", Arc::new(UInt64Array::from(vec![2]))),
            ]
        }),
        failed,
        &[FIRST, "column id", "two columns of this name"],
    );
    case(
        "first page overwritten",
        edit(FIRST, |bytes| bytes[4..400].fill(0xff)),
        failed,
        &[FIRST, "row group 0, rows 0 to 99", "corrupt"],
    );
    case(
        "page headers of zeros",
        edit(SECOND, |bytes| bytes[4..40].fill(0)),
        failed,
        &[SECOND, "row group 0"],
    );
    case(
        "text that is no UTF-8",
        edit(SECOND, |bytes| {
            let at = find(bytes, b"note 00000000000000000000000000000555");
            bytes[at] = 0xff;
        }),
        failed,
        &[SECOND, "row group 2", "corrupt"],
    );
    cases
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes
        .windows(text.len())
        .position(|window| window == text)
        .unwrap()
}

#[test]
fn broken_views_fail_with_their_code() {
    assert_eq!(
        placed(&drain(&mut sound().reader(None).unwrap()).unwrap()).len(),
        600
    );
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (name, change, code, words) in cases {
        let world = sound();
        change(&world);
        let failure = match world.reader(None).and_then(|mut reader| drain(&mut reader)) {
            Ok(_) => panic!("{name}: read"),
            Err(failure) => failure,
        };
        let text = failure.to_string();
        assert!(text.starts_with(&format!("{code}: ")), "{name}: {text}");
        for word in words {
            assert!(text.contains(word), "{name}: {text} does not say {word}");
        }
        assert!(text.contains(ROOT), "{name}: {text} does not say where");
    }
}

#[test]
fn what_is_absent_or_null_in_manifest_and_receipt_is_not_checked() {
    for (manifest, receipt) in [
        (r#"{"a":1}"#, r#"{"a":1}"#),
        (
            r#"{"stream_view_id":null,"output_id":null}"#,
            r#"{"status":null,"output_id":null}"#,
        ),
        (r#"{"output_id":"arrival_events_5B"}"#, r#"{"status":""}"#),
        // The receipt's view id is nobody's to check.
        (
            r#"{"a":1}"#,
            r#"{"status":"OK","stream_view_id":"another"}"#,
        ),
    ] {
        let world = sound();
        world.write(MANIFEST, manifest.as_bytes());
        world.write(RECEIPT, receipt.as_bytes());
        assert_eq!(world.plan().unwrap().rows, 600);
    }
}

/// Whatever byte is wrong, reading ends with an error or with rows, never in a panic or a loop.
#[test]
fn random_damage_never_panics() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let sound = parquet(&rows(0..300), properties());
    let mut refused = 0;
    for _ in 0..300 {
        let world = World::new();
        let mut bytes = sound.clone();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        world.write(FIRST, &bytes);
        match world.reader(None).and_then(|mut reader| drain(&mut reader)) {
            Ok(batches) => assert_eq!(placed_rows(&batches), 300),
            Err(failure) => {
                refused += 1;
                says(&failure, "STREAM_FAILED", &[FIRST]);
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

fn placed_rows(batches: &[RowBatch]) -> usize {
    batches.iter().map(|batch| batch.rows.num_rows()).sum()
}
