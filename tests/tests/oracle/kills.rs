//! Builds that are killed, that run beside each other, and that find no room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use worldstream_tests::{MadeWorld, long, run};

use crate::bed::*;

fn world(rows: u64) -> (MadeWorld, PathBuf) {
    let world = MadeWorld::sample(rows, 30, |spec| {
        spec.raw = true;
        spec.outputs = vec![EVENTS.parse().unwrap()];
    });
    let aside = set_aside(&world).join(format!("output_id={EVENTS}"));
    (world, aside)
}

fn beside(world: &MadeWorld) -> Vec<String> {
    let views = PathBuf::from(world.root()).join("stream_view/ts_utc");
    let entries = fs::read_dir(views).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_build_that_is_killed_again_and_again_comes_to_its_end() {
    let (world, expected) = world(600_000);
    let args = [
        "oracle",
        "build-views",
        &world.root(),
        "--output",
        EVENTS,
        "--memory",
        "64MiB",
    ];
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut patience = Duration::from_millis(200);
    let (mut kills, mut resumed) = (0, 0);
    let building_again = |args: &[&str]| run(args).args(["--json"]).finish();
    let done = loop {
        let mut building = run(args).args(["--json"]).start();
        std::thread::sleep(patience.mul_f64(random.random_range(0.1..1.0)));
        if building.ended() {
            break building.finish();
        }
        building.kill();
        kills += 1;
        // A reader sees nothing of it, or all if the kill came too late.
        if world.view(EVENTS).exists() {
            break building_again(&args);
        }
        let journal = format!("stream_view/ts_utc/.building-{EVENTS}/spill/journal.json");
        resumed += u32::from(PathBuf::from(world.root()).join(journal).exists());
        // Every run is kept, but merging begins anew: it gets the time for it in the end.
        patience = patience.mul_f64(1.3);
    };
    let built = &done.expect(0).json()[0];
    assert!(kills > 0);
    let goes_on = built["already_there"] == true || built["resumed_rows"].as_u64() > Some(0);
    assert!(resumed == 0 || goes_on, "{built}");
    assert_eq!(same_rows(&world.view(EVENTS), &expected), 600_000);
    assert_eq!(beside(&world), [format!("output_id={EVENTS}")]);
}

#[test]
fn a_build_goes_on_with_what_was_sorted() {
    let (world, expected) = world(400_000);
    let spill = tempfile::tempdir().unwrap();
    let spill_dir = spill.path().display().to_string();
    let args = [
        "oracle",
        "build-views",
        &world.root(),
        "--output",
        EVENTS,
        "--memory",
        "64MiB",
    ];
    let args = run(args).args(["--spill-dir", &spill_dir, "--json"]);
    let building = args.start();
    worldstream_tests::inside::until("the first run", || runs_noted(spill.path()) > 0);
    building.kill();
    let built = args.finish().expect(0);
    assert!(
        built.json()[0]["resumed_rows"].as_u64() > Some(0),
        "{built:?}"
    );
    assert_eq!(same_rows(&world.view(EVENTS), &expected), 400_000);
    let left: Vec<_> = fs::read_dir(spill.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    if long() {
        a_changed_part_begins_anew();
    }
}

fn runs_noted(spill: &Path) -> usize {
    let folders = fs::read_dir(spill).into_iter().flatten();
    let journals = folders.map(|it| it.unwrap().path().join("journal.json"));
    let noted = journals.filter_map(|path| fs::read(path).ok());
    let noted = noted.filter_map(|it| serde_json::from_slice::<serde_json::Value>(&it).ok());
    noted
        .map(|it| it["runs"].as_array().map_or(0, Vec::len))
        .sum()
}

/// Runs of other raw parts are of no use.
fn a_changed_part_begins_anew() {
    let (world, _) = world(400_000);
    let spill = tempfile::tempdir().unwrap();
    let spill_dir = spill.path().display().to_string();
    let args = [
        "oracle",
        "build-views",
        &world.root(),
        "--output",
        EVENTS,
        "--memory",
        "64MiB",
    ];
    let args = run(args).args(["--spill-dir", &spill_dir, "--json"]);
    let building = args.start();
    worldstream_tests::inside::until("the first run", || runs_noted(spill.path()) > 0);
    building.kill();
    let part = files(&raw_folder(&world)).remove(1);
    fs::remove_file(part).unwrap();
    let built = args.finish().expect(0);
    assert_eq!(built.json()[0]["resumed_rows"], 0);
    oracle(["check", &world.root(), "--deep", "--output", EVENTS]).expect(0);
}

#[test]
fn an_interrupted_build_says_so_and_keeps_what_it_has() {
    let (world, _) = world(400_000);
    let args = [
        "oracle",
        "build-views",
        &world.root(),
        "--output",
        EVENTS,
        "--memory",
        "64MiB",
    ];
    let building = run(args).start();
    let work = PathBuf::from(world.root()).join(format!("stream_view/ts_utc/.building-{EVENTS}"));
    worldstream_tests::inside::until("the first run", || runs_noted(&work) > 0);
    building.signal("TERM");
    let ended = building.finish().expect(14);
    assert!(ended.stderr.contains("goes on from here"), "{ended:?}");
    assert!(work.is_dir() && !world.view(EVENTS).exists());
}

#[test]
fn of_two_builds_at_once_one_waits_and_finds_the_view() {
    let (world, expected) = world(200_000);
    let args = [
        "oracle",
        "build-views",
        &world.root(),
        "--output",
        EVENTS,
        "--json",
    ];
    let both = [run(args).start(), run(args).start(), run(args).start()];
    let both = both.map(|it| it.finish().expect(0));
    let there = |it: &&worldstream_tests::Finished| it.json()[0]["already_there"] == true;
    assert_eq!(both.iter().filter(there).count(), 2, "{both:?}");
    assert_eq!(same_rows(&world.view(EVENTS), &expected), 200_000);
    assert_eq!(beside(&world), [format!("output_id={EVENTS}")]);
}

#[test]
fn a_disk_that_is_full_is_said_and_leaves_nothing() {
    let (world, expected) = world(400_000);
    // A disk of the test's own, in a mount namespace that ends with the command.
    let small = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$1\" && shift && \"$@\"; code=$?; \
                  ls -A \"$SMALL\" >&2; exit $code";
    let build = |spill: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(small.path()).arg(worldstream_tests::program());
        command.args(["oracle", "build-views", &world.root(), "--output", EVENTS]);
        command.arg("--spill-dir").arg(spill);
        command.env("SMALL", small.path()).output().unwrap()
    };
    let full = build(small.path());
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(10), "{said}");
    assert!(
        said.contains("No space left") && said.contains("run-000000"),
        "{said}"
    );
    assert!(
        !said
            .lines()
            .any(|line| line.starts_with("worldstream-build")),
        "{said}"
    );
    assert_eq!(beside(&world), Vec::<String>::new());
    // With room the same command ends well.
    let elsewhere = tempfile::tempdir().unwrap();
    let built = build(elsewhere.path());
    assert!(built.status.success(), "{built:?}");
    assert_eq!(same_rows(&world.view(EVENTS), &expected), 400_000);
}
