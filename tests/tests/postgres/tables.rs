//! Tables and rights, and looking at checkpoints from the command line.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::Value;
use worldstream::checkpoint::postgres::Migrated;
use worldstream::checkpoint::{Holder, PostgresStore};
use worldstream::plan::{PostgresPlan, SecretSource};
use worldstream_tests::postgres::PASSWORD;
use worldstream_tests::stream::{LONG, until};
use worldstream_tests::{Finished, GateProcess, PostgresServer, run};

use crate::bed::{Bed, EVENTS, OUTPUTS, TRAFFIC, assert_whole};

fn migrate(dsn: &Path) -> worldstream::failure::Result<Migrated> {
    let plan = PostgresPlan {
        dsn: SecretSource::File(dsn.to_owned()),
        ca_file: None,
        lease_term: Duration::from_secs(15),
        timeout: Duration::from_secs(60),
    };
    let store = PostgresStore::new(plan, Holder::of_this_process());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(store.migrate())
}

#[test]
fn forty_migrations_at_once_and_the_reference_beside() {
    let server = PostgresServer::start(&[]);
    let dsn = server.private_file("dsn", &server.dsn());
    let start = Barrier::new(44);
    let ended: Vec<_> = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                // Two references at once may trip over each other; it does so without us, too.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    server.reference_table();
                }));
            });
        }
        let ours: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    migrate(&dsn)
                })
            })
            .collect();
        ours.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for ended in ended {
        ended.unwrap();
    }
    assert_eq!(migrate(&dsn).unwrap(), Migrated::WasThere);
    let columns = server.query(
        "SELECT column_name, is_nullable FROM information_schema.columns
         WHERE table_name = 'wsp_checkpoint' ORDER BY ordinal_position;",
        &[],
    );
    assert_eq!(
        columns,
        [
            "pack_key|NO",
            "output_id|NO",
            "last_file|NO",
            "last_row_index|NO",
            "last_ts_utc|YES",
            "updated_at_utc|NO",
            "epoch|YES",
            "sequence|YES",
            "updated_by|YES",
            "lane|YES",
            "progress|YES"
        ]
    );
}

#[test]
fn a_role_that_may_make_no_tables_is_told_and_needs_none_once_they_are_there() {
    let bed = Bed::new();
    bed.server
        .sql(&format!("CREATE ROLE writer LOGIN PASSWORD '{PASSWORD}';"));
    let gate = GateProcess::start(bed.path(), &[]);
    let dsn = bed.server.dsn_by("writer", &bed.server.address());
    let stream = bed.stream_by(&gate.url, &dsn);
    let told = |ended: &Finished, what: &[&str]| {
        for what in what {
            assert!(ended.stderr.contains(what), "{what}: {ended:#?}");
        }
        assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
        assert_eq!(gate.pushes(), 0);
    };
    told(
        &stream.finish(10),
        &[
            "found no table wsp_checkpoint, no table wsp_checkpoint_lease, expected",
            "checkpoints migrate",
            "permission denied",
        ],
    );
    // The reference's own table is there, which is another role's.
    bed.server.reference_table();
    bed.server
        .query("GRANT SELECT ON wsp_checkpoint TO writer;", &[]);
    told(
        &stream.finish(10),
        &["no column wsp_checkpoint.epoch", "must be owner"],
    );
    let owner = bed.path().join("owner");
    std::fs::write(&owner, bed.server.dsn()).unwrap();
    let owner = owner.display().to_string();
    let migrate = run(["checkpoints", "migrate", "--postgres-dsn-file", &owner]);
    assert!(migrate.finish().expect(0).stdout.contains("are there now"));
    assert!(migrate.finish().expect(0).stdout.contains("already"));
    told(&stream.finish(10), &["no INSERT on wsp_checkpoint_lease"]);
    // It could take the lease, and would find out with its first save.
    bed.server.query(
        "GRANT SELECT, INSERT, UPDATE ON wsp_checkpoint_lease TO writer;
         GRANT INSERT ON wsp_checkpoint TO writer;",
        &[],
    );
    let rights = "the role's rights: found no UPDATE on wsp_checkpoint, expected SELECT";
    told(&stream.finish(10), &[rights]);
    bed.server
        .query("GRANT UPDATE ON wsp_checkpoint TO writer;", &[]);
    assert_whole(&stream.finish(0).json());
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn list_show_reset_and_plan() {
    let bed = Bed::new();
    // None of the outputs ends before it was looked at.
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=1s"]);
    let stream = bed.stream(&gate.url).set("checkpoints.flushEvery", 10);
    let command = |words: &[&str]| {
        let mut all = vec!["checkpoints"];
        all.extend(words);
        run(all)
            .args(["--postgres-dsn-env", "CHECKPOINTS"])
            .env("CHECKPOINTS", &bed.server.dsn())
    };
    // Before anybody made a table.
    let none = command(&["list"]).finish().expect(0);
    assert_eq!(none.stdout, "no checkpoints\n");
    let running = stream.command().start();
    bed.until_saved(1);
    let mut listed = Vec::new();
    until("each output has saved", || {
        let list = command(&["list", "--json"]).finish().expect(0).json();
        listed = list.as_array().unwrap().clone();
        let saved = |row: &Value| row["progress"]["rows"].as_u64() > Some(0);
        listed.len() as u64 == OUTPUTS && listed.iter().all(saved)
    });
    for row in &listed {
        let holder = row["locked_by"]["holder"].as_str().unwrap();
        assert!(holder.contains(&running.id().to_string()), "{row:#}");
        assert!(row["table"].as_str().unwrap().contains("wsp_checkpoint"));
    }
    let held = command(&["reset", "--output", TRAFFIC]).finish().expect(12);
    assert!(held.stderr.contains("held by process"), "{held:#?}");
    running.signal("TERM");
    running.finish_within(LONG).expect(14);
    let shown = command(&["show", "--output", TRAFFIC]).finish().expect(0);
    for text in ["wsp_checkpoint", "/part-00000", "locked by    -"] {
        assert!(shown.stdout.contains(text), "{text}: {}", shown.stdout);
    }
    let taken = gate.pushes();
    let reset = command(&["reset", "--all", "--yes"]).finish().expect(0);
    assert_eq!(reset.stdout.lines().count() as u64, OUTPUTS, "{reset:#?}");
    assert_eq!(command(&["list"]).finish().stdout, "no checkpoints\n");
    let aside = "SELECT count(*) FROM wsp_checkpoint WHERE pack_key ~ '[.]reset-';";
    assert_eq!(bed.server.query(aside, &[]), [OUTPUTS.to_string()]);
    gate.set_faults(&[]);
    assert_whole(&stream.finish(0).json());
    assert_eq!(gate.summary()["duplicates"].as_u64(), Some(taken));
    assert!(!shown.stdout.contains(PASSWORD) && !held.stderr.contains(PASSWORD));
}

/// What PgBouncer needs in transaction mode: no prepared statement has a name, nothing of a
/// session is kept, and one connection serves all outputs and lanes of a process.
#[test]
fn one_connection_without_named_statements() {
    let bed = Bed::with(&[
        ("log_min_duration_statement", "0"),
        ("log_connections", "on"),
    ]);
    let gate = GateProcess::start(bed.path(), &["--fault", "latency=60ms"]);
    let stream = bed
        .stream(&gate.url)
        .args(["--lanes", "3", "--in-flight", "2"]);
    let running = stream.command().start();
    bed.until_saved(200);
    let mut most = 0;
    until("it has ended", || {
        let sessions = bed.server.query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'worldstream';",
            &[],
        );
        most = most.max(sessions[0].parse().unwrap());
        sessions == ["0"]
    });
    assert_eq!(most, 1);
    running.finish_within(LONG).expect(0);
    let log = bed.server.log();
    let authorized = "connection authorized: user=stream database=checkpoints";
    assert_eq!(log.matches(authorized).count(), 1);
    assert!(log.contains("execute <unnamed>: WITH held AS"), "{log}");
    for word in ["execute s", "parse s", "PREPARE", "LISTEN"] {
        assert!(!log.contains(word), "{word}");
    }
}
