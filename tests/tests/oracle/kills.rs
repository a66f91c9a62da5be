//! Builds that are killed, that run beside each other, and that find no room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use worldstream_tests::inside::until;
use worldstream_tests::{Finished, MadeWorld, Program, Running, long, run};

use crate::bed::*;

/// A world with raw parts and no view, the view that it is to have, and a folder to spill to.
struct Round {
    world: MadeWorld,
    aside: PathBuf,
    rows: u64,
    spill: TempDir,
}

impl Round {
    fn new(rows: u64) -> Round {
        let world = MadeWorld::sample(rows, 30, |spec| {
            spec.raw = true;
            spec.outputs = vec![EVENTS.parse().unwrap()];
        });
        let aside = set_aside(&world).join(format!("output_id={EVENTS}"));
        Round {
            world,
            aside,
            rows,
            spill: tempfile::tempdir().unwrap(),
        }
    }

    /// A build in so little memory that it spills many runs, beside the view.
    fn build(&self) -> Program {
        let root = self.world.root();
        run(["oracle", "build-views", &root, "--output", EVENTS])
            .args(["--memory", "64MiB", "--json"])
    }

    /// The same, spilling to the folder.
    fn build_aside(&self) -> Program {
        let spill = self.spill.path().display().to_string();
        self.build().args(["--spill-dir", &spill])
    }

    /// A build that has noted a run below a folder.
    fn begun(&self, build: &Program, spill: &Path) -> Running {
        let building = build.start();
        until("the first run", || runs_noted(spill) > 0);
        building
    }

    /// Where a build beside the view works.
    fn work(&self) -> PathBuf {
        let name = format!("stream_view/ts_utc/.building-{EVENTS}");
        PathBuf::from(self.world.root()).join(name)
    }

    /// The view is whole, and nothing else was left.
    #[track_caller]
    fn is_whole(&self) {
        assert_eq!(same_rows(&self.world.view(EVENTS), &self.aside), self.rows);
        assert_eq!(self.beside(), [format!("output_id={EVENTS}")]);
        let left: Vec<_> = fs::read_dir(self.spill.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn beside(&self) -> Vec<String> {
        let views = PathBuf::from(self.world.root()).join("stream_view/ts_utc");
        let entries = fs::read_dir(views).into_iter().flatten();
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Runs that the builds in the folders below have noted, and those of the folder's own.
fn runs_noted(below: &Path) -> usize {
    let folders = fs::read_dir(below).into_iter().flatten();
    let journals = folders.map(|it| it.unwrap().path().join("journal.json"));
    let noted = journals.filter_map(|path| fs::read(path).ok());
    let noted = noted.filter_map(|it| serde_json::from_slice::<serde_json::Value>(&it).ok());
    noted
        .map(|it| it["runs"].as_array().map_or(0, Vec::len))
        .sum()
}

fn resumed(built: &Finished) -> u64 {
    built.json()[0]["resumed_rows"].as_u64().unwrap()
}

#[test]
fn a_build_that_is_killed_again_and_again_comes_to_its_end() {
    let round = Round::new(600_000);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut patience = Duration::from_millis(200);
    let (mut kills, mut noted) = (0, 0);
    let done = loop {
        let mut building = round.build().start();
        std::thread::sleep(patience.mul_f64(random.random_range(0.1..1.0)));
        if building.ended() {
            break building.finish();
        }
        building.kill();
        kills += 1;
        // A reader sees nothing of it, or all if the kill came too late.
        if round.world.view(EVENTS).exists() {
            break round.build().finish();
        }
        noted += u32::from(runs_noted(&round.work()) > 0);
        // Every run is kept, but merging begins anew: it gets the time for it in the end.
        patience = patience.mul_f64(1.3);
    };
    let done = done.expect(0);
    assert!(kills > 0);
    let goes_on = done.json()[0]["already_there"] == true || resumed(&done) > 0;
    assert!(noted == 0 || goes_on, "{done:?}");
    round.is_whole();
}

#[test]
fn a_build_goes_on_with_what_was_sorted() {
    let round = Round::new(400_000);
    let build = round.build_aside();
    round.begun(&build, round.spill.path()).kill();
    let built = build.finish().expect(0);
    assert!(resumed(&built) > 0, "{built:?}");
    round.is_whole();
    if long() {
        a_changed_part_begins_anew();
    }
}

/// Runs of other raw parts are of no use.
fn a_changed_part_begins_anew() {
    let round = Round::new(400_000);
    let build = round.build_aside();
    round.begun(&build, round.spill.path()).kill();
    let part = files(&raw_folder(&round.world)).remove(1);
    fs::remove_file(part).unwrap();
    assert_eq!(resumed(&build.finish().expect(0)), 0);
    let root = round.world.root();
    oracle(["check", &root, "--deep", "--output", EVENTS]).expect(0);
}

#[test]
fn an_interrupted_build_says_so_and_keeps_what_it_has() {
    let round = Round::new(400_000);
    let building = round.begun(&round.build(), &round.work());
    building.signal("TERM");
    let ended = building.finish().expect(14);
    assert!(ended.stderr.contains("goes on from here"), "{ended:?}");
    assert!(round.work().is_dir() && !round.world.view(EVENTS).exists());
}

#[test]
fn of_builds_at_once_one_builds_and_the_others_find_its_view() {
    let round = Round::new(200_000);
    let all = [0; 3].map(|_| round.build().start());
    let all = all.map(|it| it.finish().expect(0));
    let there = |it: &&Finished| it.json()[0]["already_there"] == true;
    assert_eq!(all.iter().filter(there).count(), 2, "{all:?}");
    round.is_whole();
}

#[test]
fn a_disk_that_is_full_is_said_and_leaves_nothing() {
    let round = Round::new(400_000);
    // A disk of the test's own, in a mount namespace that ends with the command.
    let small = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$1\" && shift && \"$@\"; code=$?; \
                  ls -A \"$SMALL\" >&2; exit $code";
    let root = round.world.root();
    let build = |spill: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(small.path()).arg(worldstream_tests::program());
        command.args(["oracle", "build-views", &root, "--output", EVENTS]);
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
    assert_eq!(round.beside(), Vec::<String>::new());
    // With room the same command ends well.
    let built = build(round.spill.path());
    assert!(built.status.success(), "{built:?}");
    round.is_whole();
}
