//! A folder of this machine, with everything that people and programs do to folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use worldstream::bus::Arrival;
use worldstream::plan::ready::{BusKind, BusPlan};
use worldstream_crds::{ExitCode, Reason};

use crate::bed::{Reading, TOPIC, each_once, file_plan, message, publish, text};

/// A root with the topic's folder in it.
struct Folder {
    root: TempDir,
    topic: PathBuf,
    plan: BusPlan,
}

fn folder() -> Folder {
    let root = tempfile::tempdir().unwrap();
    let topic = root.path().join(TOPIC);
    fs::create_dir(&topic).unwrap();
    let plan = file_plan(root.path().to_str().unwrap());
    Folder { root, topic, plan }
}

impl Folder {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.topic.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self) -> Reading {
        Reading::open(&self.plan, None)
    }

    /// The same, looked at so seldom that only being told of changes helps.
    fn told(&self) -> Reading {
        self.polled(Duration::from_secs(24 * 3600))
    }

    fn polled(&self, every: Duration) -> Reading {
        let mut plan = self.plan.clone();
        if let BusKind::File(file) = &mut plan.kind {
            file.poll_interval = every;
        }
        Reading::open(&plan, None)
    }
}

fn all(count: usize) -> Vec<String> {
    (0..count).map(message).collect()
}

#[test]
fn what_lies_there_comes_in_order_and_then_what_is_new() {
    let folder = folder();
    for number in 0..20 {
        publish(&folder.plan, &message(number));
    }
    let mut reading = folder.read();
    let old: Vec<_> = reading.old().iter().map(text).collect();
    assert_eq!(old, all(20));
    for number in 20..40 {
        publish(&folder.plan, &message(number));
    }
    let new = reading.texts(20);
    each_once(&new, (20..40).map(message));
    assert!(
        reading.position().is_some(),
        "all of the new ones are settled"
    );
}

#[test]
fn changes_are_told_at_once() {
    let folder = folder();
    let mut reading = folder.told();
    assert!(reading.old().is_empty());
    // Written in place, renamed from beside it, and moved in from elsewhere.
    folder.write("a.json", &message(0));
    assert_eq!(reading.texts(1), [message(0)]);
    let beside = folder.write("b.json.tmp", &message(1));
    fs::rename(beside, folder.topic.join("b.json")).unwrap();
    assert_eq!(reading.texts(1), [message(1)]);
    let elsewhere = folder.root.path().join("c");
    fs::write(&elsewhere, message(2)).unwrap();
    fs::rename(elsewhere, folder.topic.join("c.json")).unwrap();
    assert_eq!(reading.texts(1), [message(2)]);
    // What was given is replaced by another message.
    publish(&folder.plan, &message(3));
    folder.write("a.json", &message(4));
    each_once(&reading.texts(2), [message(3), message(4)]);
}

#[test]
fn what_is_not_told_is_found_by_looking() {
    let folder = folder();
    // Changes through another name of a file, or behind a link, are nobody's of this folder.
    let (one, two) = (
        folder.root.path().join("one"),
        folder.root.path().join("two"),
    );
    fs::write(&one, message(0)).unwrap();
    fs::write(&two, message(1)).unwrap();
    fs::hard_link(&one, folder.topic.join("one.json")).unwrap();
    symlink(&two, folder.topic.join("two.json")).unwrap();
    let mut reading = folder.polled(Duration::from_millis(200));
    each_once(&reading.texts(2), all(2));
    fs::write(&one, message(2)).unwrap();
    assert_eq!(reading.texts(1), [message(2)]);
    fs::write(&two, message(3)).unwrap();
    assert_eq!(reading.texts(1), [message(3)]);
}

#[test]
fn a_folder_may_come_later_go_and_come_back() {
    let root = tempfile::tempdir().unwrap();
    let bus = root.path().join("not/there/yet");
    let plan = file_plan(bus.to_str().unwrap());
    let mut reading = Reading::open(&plan, None);
    assert!(matches!(reading.arrival().unwrap(), Arrival::CaughtUp));
    publish(&plan, &message(0));
    assert_eq!(reading.texts(1), [message(0)]);
    fs::remove_dir_all(root.path().join("not")).unwrap();
    publish(&plan, &message(1));
    assert_eq!(reading.texts(1), [message(1)]);
    // The other folder is told of, too.
    publish(&plan, &message(2));
    assert_eq!(reading.texts(1), [message(2)]);
}

#[test]
fn a_file_that_is_being_written_is_given_once_and_whole() {
    let folder = folder();
    let mut reading = folder.told();
    assert!(reading.old().is_empty());
    let whole = message(0);
    let (first, second) = whole.split_at(whole.len() / 2);
    let path = folder.write("a.json", first);
    // In one go with what comes next, however long that takes.
    fs::write(&path, format!("{first}{second}")).unwrap();
    assert_eq!(reading.texts(1), [message(0)]);
}

#[test]
fn a_file_that_stays_half_written_is_given_as_it_is_and_again_when_it_is_whole() {
    let folder = folder();
    let whole = message(0);
    let half = &whole[..whole.len() / 2];
    let path = folder.write("a.json", half);
    folder.write("b.json", &message(1));
    let mut reading = folder.told();
    // Nobody waits for it.
    assert_eq!(reading.texts(1), [message(1)]);
    assert_eq!(reading.texts(1), [half]);
    assert!(reading.old().is_empty());
    fs::write(path, &whole).unwrap();
    assert_eq!(reading.texts(1), [whole]);
}

#[test]
fn only_files_with_the_right_name_are_messages() {
    let folder = folder();
    for name in [
        ".a.json",
        "a.json.tmp",
        "a.json~",
        "a.txt",
        "json",
        "a.JSON",
        ".json",
    ] {
        folder.write(name, &message(0));
    }
    fs::create_dir(folder.topic.join("folder.json")).unwrap();
    fs::write(folder.topic.join("folder.json/a.json"), message(0)).unwrap();
    fs::create_dir(folder.topic.join("below")).unwrap();
    fs::write(folder.topic.join("below/a.json"), message(0)).unwrap();
    fs::create_dir(folder.root.path().join("another.topic")).unwrap();
    fs::write(folder.root.path().join("another.topic/a.json"), message(0)).unwrap();
    fs::write(folder.root.path().join("a.json"), message(0)).unwrap();
    symlink("nowhere", folder.topic.join("link.json")).unwrap();
    symlink("loop.json", folder.topic.join("loop.json")).unwrap();
    // Reading it would wait for ever.
    let pipe = folder.topic.join("pipe.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    // No text.
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.json");
    fs::write(folder.topic.join(name), message(0)).unwrap();
    folder.write("a b#%20ü.json", &message(1));
    let mut reading = folder.read();
    let old: Vec<_> = reading.old().iter().map(text).collect();
    assert_eq!(old, [message(1)]);
}

#[test]
fn what_is_broken_or_too_large_holds_nobody_up() {
    let mut folder = folder();
    folder.plan.max_message_bytes = 1000;
    publish(&folder.plan, &message(0));
    for (name, bytes) in [
        ("garbage.json", &b"\0\xff{"[..]),
        ("empty.json", b""),
        ("large.json", &[b' '; 1001]),
        ("limit.json", &[b'1'; 1000]),
    ] {
        fs::write(folder.topic.join(name), bytes).unwrap();
    }
    publish(&folder.plan, &message(1));
    let mut reading = folder.read();
    let (mut found, mut large) = (Vec::new(), Vec::new());
    loop {
        match reading.arrival().unwrap() {
            Arrival::Message(message) => found.push(message.bytes.to_vec()),
            Arrival::TooLarge {
                bytes,
                limit,
                place,
                ..
            } => large.push((bytes, limit, place.to_string())),
            Arrival::CaughtUp => break,
        }
    }
    found.sort();
    let mut expected = [
        b"".to_vec(),
        b"\0\xff{".to_vec(),
        vec![b'1'; 1000],
        message(0).into_bytes(),
        message(1).into_bytes(),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(large.len(), 1, "{large:?}");
    assert_eq!((large[0].0, large[0].1), (1001, 1000));
    assert!(large[0].2.contains("large.json"), "{large:?}");
}

#[test]
fn the_same_content_comes_again_only_as_another_file_and_unsettled() {
    let folder = folder();
    let (settled, open) = (folder.topic.join("a.json"), folder.topic.join("b.json"));
    fs::write(&settled, message(0)).unwrap();
    fs::write(&open, message(1)).unwrap();
    let mut reading = folder.told();
    for given in reading.old() {
        if text(&given) == message(0) {
            reading.settle(&given.place);
        }
    }
    let again = |path: &Path, number| {
        // Written over in place: nobody meant to publish it again.
        fs::write(path, message(number)).unwrap();
        let beside = path.with_extension("new");
        fs::write(&beside, message(number)).unwrap();
        fs::rename(beside, path).unwrap();
    };
    again(&settled, 0);
    again(&open, 1);
    assert_eq!(reading.texts(1), [message(1)]);
    // Now it is settled as well.
    again(&open, 1);
    publish(&folder.plan, &message(2));
    assert_eq!(reading.texts(1), [message(2)]);
    // What is gone and comes again is published again.
    fs::remove_file(&settled).unwrap();
    publish(&folder.plan, &message(3));
    assert_eq!(reading.texts(1), [message(3)]);
    fs::write(&settled, message(0)).unwrap();
    assert_eq!(reading.texts(1), [message(0)]);
}

#[test]
fn after_a_restart_what_was_settled_is_passed_over() {
    let folder = folder();
    for number in 0..5 {
        folder.write(&format!("{number}.json"), &message(number));
    }
    let mut reading = folder.read();
    assert_eq!(reading.position(), None);
    let old = reading.old();
    for given in old.iter().filter(|it| text(it) != message(3)) {
        reading.settle(&given.place);
    }
    let position = reading.position();
    assert!(position.is_some());
    drop(reading);
    let touch = |name: &str, time: SystemTime| {
        let file = fs::File::options()
            .write(true)
            .open(folder.topic.join(name));
        file.unwrap().set_modified(time).unwrap();
    };
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    // Whatever their names and their times: one that is new, one that was touched, one that holds
    // something else than when it was settled, and one that does so at the time that it had before.
    folder.write("0-before-all.json", &message(10));
    touch("0-before-all.json", long_ago);
    touch("1.json", SystemTime::now());
    folder.write("2.json", &message(12));
    let four = folder.topic.join("4.json");
    let time = fs::metadata(&four).unwrap().modified().unwrap();
    folder.write("4.json", &message(5));
    touch("4.json", time);
    let again = |position: Option<&str>| {
        let found = Reading::open(&folder.plan, position).old();
        found.iter().map(text).collect::<Vec<_>>()
    };
    let new = [3, 5, 10, 12].map(message);
    each_once(&again(position.as_deref()), new.clone());
    // What is said of another folder says nothing of this one.
    let others = position.map(|text| text.replace("bus", "sub"));
    let all = [0, 1].map(message).into_iter().chain(new);
    each_once(&again(others.as_deref()), all);
}

#[test]
fn many_files_at_once_come_once_each() {
    let folder = folder();
    let mut reading = folder.read();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                for number in (writer..200).step_by(4) {
                    publish(&folder.plan, &message(number));
                }
            });
        }
        each_once(&reading.texts(200), (0..200).map(message));
    });
    publish(&folder.plan, &message(200));
    assert_eq!(reading.texts(1), [message(200)]);
}

#[test]
fn a_root_that_can_be_no_folder_is_said_at_once() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let mut reading = Reading::open(&file_plan(file.to_str().unwrap()), None);
    for _ in 0..2 {
        let failure = reading.arrival().unwrap_err();
        assert_eq!(failure.reason(), Reason::StreamFailed, "{failure}");
        assert_eq!(failure.exit_code(), ExitCode::FailClosed, "{failure}");
        assert!(failure.message().contains("file/"), "{failure}");
    }
}
