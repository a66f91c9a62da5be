//! `worldstream ready publish` makes messages that are streamed, and `audit show` tells their
//! story.

use serde_json::{Value, json};
use worldstream_tests::{MadeWorld, PLATFORM_RUN_ID, run};

use super::bed::{Bed, LONG, WORLD, said, totals};

#[test]
fn what_is_published_is_streamed_and_told() {
    let mut bed = Bed::capped();
    bed.trigger.as_object_mut().unwrap().remove("engineRunRoot");
    let documents = bed.documents();
    let publish = |more: &[&str]| -> Value {
        run(["ready", "publish", "--json", "-f", &documents])
            .args(["--engine-run-root", WORLD, "--scenario", "baseline_v1"])
            .args(more)
            .finish()
            .expect(0)
            .json()
    };
    let first = publish(&[]);
    // The same again is a repeat, with an id of its own it is not.
    let repeat = publish(&[]);
    assert_eq!(first["message_id"], repeat["message_id"]);
    let again = publish(&["--again", "--scenario-run-id", &"cd".repeat(16)]);
    assert_ne!(first["message_id"], again["message_id"]);
    let end = bed.once().expect(0);
    let said = said(&end);
    let count = |status: &str| said.iter().filter(|it| it["status"] == status).count();
    assert_eq!(count("STREAMED"), 2, "{end:#?}");
    let id = first["message_id"].as_str().unwrap();
    assert_eq!(bed.records(id)[0]["emitted"], 10);

    let show = |more: &[&str]| {
        run(["audit", "show", PLATFORM_RUN_ID, "-f", &documents])
            .args(more)
            .finish()
            .expect(0)
    };
    let story = show(&["--json"]).json();
    assert_eq!(story["unreadable"], json!([]));
    let entries = story["entries"].as_array().unwrap();
    let times: Vec<_> = entries
        .iter()
        .map(|it| it["ts_utc"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    let at = |kind: &str| entries.iter().position(|it| it["kind"] == kind).unwrap();
    let order = [
        "ready_received",
        "RUN_READY_SEEN",
        "RUN_STARTED",
        "engine_world_selected",
        "stream_start",
        "checkpoint_saved",
        "RUN_ENDED",
        "STREAMED",
    ];
    let order: Vec<_> = order.iter().map(|kind| at(kind)).collect();
    assert!(order.is_sorted(), "{order:?}");
    let sources = |source: &str| entries.iter().filter(|it| it["source"] == source).count();
    assert_eq!((sources("ready"), sources("governance")), (2, 6));
    let text = show(&["--no-checkpoints"]).stdout;
    assert!(
        text.contains("RUN_STARTED") && !text.contains("checkpoint_saved"),
        "{text}"
    );
    // Without the trigger: the same place, by the folder of all runs.
    let runs = bed.store().join("fraud-platform").display().to_string();
    let same = run([
        "audit",
        "show",
        PLATFORM_RUN_ID,
        "--runs-root",
        &runs,
        "--json",
    ]);
    assert_eq!(same.finish().expect(0).json(), story);
    // By a document that is meant for a cluster: only its store counts, for publishing its bus too.
    bed.trigger["profile"] = json!("somebodys");
    bed.trigger["scope"] = json!({"configMap": {"name": "active-run", "key": "id"}});
    bed.documents();
    assert_eq!(show(&["--json"]).json(), story);
    bed.trigger["profile"] = json!("golden");
    bed.documents();
    let published = publish(&["--platform-run-id", PLATFORM_RUN_ID]);
    assert_eq!(published["message_id"], first["message_id"]);
    let bad = run(["audit", "show", "run-1", "-f", &documents]).finish();
    let bad = bad.expect(2);
    assert!(bad.stderr.contains("PLATFORM_RUN_ID: found"), "{bad:#?}");
    let none = run([
        "audit",
        "show",
        "platform_20270101T000000Z",
        "-f",
        &documents,
    ]);
    let none = none.finish().expect(10);
    assert!(none.stderr.contains("found nothing"), "{none:#?}");
}

#[test]
fn a_world_of_this_machine_is_found_by_its_own_name() {
    let world = MadeWorld::small();
    let mut bed = Bed::capped();
    bed.trigger.as_object_mut().unwrap().remove("engineRunRoot");
    bed.profile["world"] = json!({});
    bed.profile["require"] = json!({"manifest": false, "seal": false, "gates": "Existence"});
    let documents = bed.documents();
    let root = world.root();
    run([
        "ready",
        "publish",
        "-f",
        &documents,
        "--engine-run-root",
        &root,
    ])
    .finish()
    .expect(0);
    let end = bed
        .ready(&["--max-messages", "1"])
        .start()
        .finish_within(LONG);
    let end = end.expect(0);
    assert_eq!(said(&end)[0]["engine_run_root"], json!(root), "{end:#?}");
}

#[test]
fn an_id_that_is_none_is_told_by_its_flag_and_nothing_is_published() {
    let bed = Bed::capped();
    let documents = bed.documents();
    for (flag, id, expected) in [
        ("--scenario-run-id", "12", "32 lower-case hex digits"),
        ("--run-id", "AB", "32 lower-case hex digits"),
        ("--message-id", "../../x", "64 lower-case hex digits"),
        ("--platform-run-id", "x", "platform_YYYYMMDDTHHMMSSZ"),
    ] {
        let end = run(["ready", "publish", "-f", &documents])
            .args(["--engine-run-root", WORLD, flag, id])
            .finish()
            .expect(2);
        let said = format!("{flag}: found {id:?}, expected");
        assert!(end.stderr.contains(&said), "{end:#?}");
        assert!(end.stderr.contains(expected), "{end:#?}");
    }
    assert_eq!(totals(&bed.once().expect(0))["seen"], 0);
}

#[test]
fn a_folder_that_is_not_there_is_told_and_is_empty() {
    let mut bed = Bed::capped();
    let gone = bed.dir.path().join("gone");
    bed.trigger["bus"]["file"]["root"] = json!(gone);
    let end = bed.once().expect(0);
    assert_eq!(totals(&end)["seen"], 0);
    let said = format!("{}", gone.display());
    assert!(end.stderr.contains(&said), "{end:#?}");
    assert!(end.stderr.contains("is not there"), "{end:#?}");
}

#[test]
fn a_trigger_that_lacks_something_says_what() {
    type Change = fn(&mut Bed);
    let changes: [(&str, i32, Change); 7] = [
        ("spec.store.root: found", 2, |bed| {
            bed.trigger["store"] = json!({"root": "s3:/store"});
        }),
        ("PLATFORM_RUN_ID_MISSING", 10, |bed| {
            bed.trigger["scope"] = json!({})
        }),
        ("CONTROL_BUS_KIND_UNSUPPORTED", 10, |bed| {
            bed.trigger["bus"] = json!({})
        }),
        ("CONTROL_BUS_STREAM_MISSING", 10, |bed| {
            bed.trigger["bus"] = json!({"file": {}});
        }),
        ("CONTROL_BUS_STREAM_MISSING", 10, |bed| {
            bed.trigger["bus"] = json!({"kinesis": {}});
        }),
        ("spec.stream.speed", 2, |bed| {
            bed.trigger["stream"] = json!({"speed": 1})
        }),
        ("spec.gate", 2, |bed| {
            drop(bed.profile.as_object_mut().unwrap().remove("gate"))
        }),
    ];
    for (expect, code, change) in changes {
        let mut bed = Bed::capped();
        change(&mut bed);
        let end = bed.once().expect(code);
        assert!(end.stderr.contains(expect), "{expect}: {end:#?}");
    }
}
