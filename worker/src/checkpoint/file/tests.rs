//! The file backend: the conformance suite, broken files, and other processes.

mod crashes;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::super::Cursor;
use super::*;
use crate::checkpoint::conformance::{self, Reference, Subject, checkpoint, cursor, key};
use crate::checkpoint::mirror;

struct Files {
    root: tempfile::TempDir,
}

impl Subject for Files {
    fn store(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(FileStore::new(self.root.path()))
    }

    fn reference(&self) -> Option<&dyn Reference> {
        Some(self)
    }
}

/// The contract's section 7 read once more, independently of the code above.
impl Reference for Files {
    fn write<'a>(&'a self, key: &'a CheckpointKey, cursor: &'a Cursor) -> BoxFuture<'a, ()> {
        let folder = key.folder(self.root.path());
        fs::create_dir_all(&folder).unwrap();
        let text = json!({
            "last_file": cursor.last_file, "last_row_index": cursor.last_row_index,
            "last_ts_utc": cursor.last_ts_utc, "output_id": key.output_id,
            "pack_key": key.scope_key(), "updated_at_utc": "2026-01-01T00:00:00.000001+00:00",
        })
        .to_string();
        fs::write(folder.join("reference.tmp"), &text).unwrap();
        fs::rename(folder.join("reference.tmp"), folder.join("cursor.json")).unwrap();
        async {}.boxed()
    }

    fn read<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Option<Cursor>> {
        let folder = self
            .root
            .path()
            .join(key.scope_key())
            .join(format!("output_id={}", key.output_id));
        let read = fs::read(folder.join("cursor.json")).ok().map(|bytes| {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let mut names: Vec<_> = value.as_object().unwrap().keys().collect();
            names.sort();
            assert_eq!(
                names,
                [
                    "last_file",
                    "last_row_index",
                    "last_ts_utc",
                    "output_id",
                    "pack_key",
                    "updated_at_utc"
                ]
            );
            assert_eq!(value["pack_key"], key.scope_key());
            assert_eq!(value["output_id"], key.output_id);
            let last = fs::read_to_string(folder.join("cursor.jsonl"));
            if let Ok(history) = last {
                assert!(history.ends_with('\n'));
            }
            Cursor {
                last_file: value["last_file"].as_str().unwrap().into(),
                last_row_index: value["last_row_index"].as_u64().unwrap(),
                last_ts_utc: value["last_ts_utc"].as_str().map(str::to_owned),
            }
        });
        async { read }.boxed()
    }
}

#[tokio::test]
async fn conforms() {
    let files = Files {
        root: tempfile::tempdir().unwrap(),
    };
    conformance::run(&files).await;
    assert!(!files.store().capabilities().fences);
}

/// A store in a fresh root, and the place of one key.
struct Bed {
    root: tempfile::TempDir,
    key: CheckpointKey,
}

impl Bed {
    fn new() -> Self {
        Bed {
            root: tempfile::tempdir().unwrap(),
            key: key("bed"),
        }
    }

    fn place(&self) -> Place {
        FileStore::new(self.root.path()).place(&self.key)
    }

    fn folder(&self) -> PathBuf {
        self.place().folder
    }

    fn take(&self) -> Both {
        let (held, file) = Held::take(&self.place(), &self.key.output_id).unwrap();
        Both { held, file }
    }

    fn lease(&self) -> FileLease {
        FileLease::take(&self.place(), &self.key.output_id).unwrap()
    }

    fn load(&self) -> Checkpoint {
        self.place().load().unwrap().checkpoint
    }

    /// What the reference would find.
    fn mirrored(&self) -> Option<Cursor> {
        let document = self.place().read_cursor().unwrap();
        document.map(|(document, _)| document.cursor)
    }

    /// What a process would find that starts with this folder as it is now.
    fn crash(&self) -> Checkpoint {
        let copy = Bed::new();
        copy_folder(&self.folder(), &copy.folder());
        let both = copy.take();
        let loaded = both.held.current.clone();
        assert!(!disk::temporary(&copy.folder().join(CURSOR_FILE)).exists());
        assert_eq!(copy.mirrored(), loaded.cursor);
        drop(both);
        assert_eq!(copy.load(), loaded);
        loaded
    }
}

/// A save and the replacement that follows it, one after the other, without a thread between.
struct Both {
    held: Held,
    file: CursorFile,
}

/// Where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Save(Step),
    Mirror(mirror::Step),
}

impl Both {
    fn save(
        &mut self,
        next: &Checkpoint,
        hook: &mut dyn FnMut(At) -> io::Result<()>,
    ) -> Result<()> {
        self.held.save(next, &mut |step| hook(At::Save(step)))?;
        self.file.replace(&mut |step| hook(At::Mirror(step)))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn pass(_: At) -> io::Result<()> {
    Ok(())
}

#[test]
fn every_save_is_a_line_of_the_history() {
    let bed = Bed::new();
    let history = bed.folder().join(HISTORY_FILE);
    for row in [1, 2] {
        let mut both = bed.take();
        both.save(&checkpoint(0, row), &mut pass).unwrap();
        drop(both);
        // A crash tore the last line.
        let mut file = OpenOptions::new().append(true).open(&history).unwrap();
        file.write_all(b"{\"last_f").unwrap();
    }
    let mut both = bed.take();
    both.save(&checkpoint(0, 3), &mut pass).unwrap();
    let text = fs::read_to_string(&history).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, row) in [(0, 1), (1, 2), (2, 3)] {
        let read = document::decode("x", lines[line].as_bytes()).unwrap();
        assert_eq!(read.cursor, cursor(0, row));
    }
    assert_eq!(
        lines[2].as_bytes(),
        fs::read(bed.folder().join(CURSOR_FILE)).unwrap()
    );
}

#[test]
fn a_cursor_that_another_producer_moves_meanwhile_is_a_conflict() {
    let files = Files {
        root: tempfile::tempdir().unwrap(),
    };
    let key = key("moved");
    let place = FileStore::new(files.root.path()).place(&key);
    let (held, file) = Held::take(&place, &key.output_id).unwrap();
    let mut both = Both { held, file };
    both.save(&checkpoint(0, 1), &mut pass).unwrap();
    // The same cursor once more is no harm.
    files.write(&key, &cursor(0, 1)).now_or_never().unwrap();
    both.save(&checkpoint(0, 2), &mut pass).unwrap();
    files.write(&key, &cursor(0, 9)).now_or_never().unwrap();
    for _ in 0..2 {
        let failure = both.save(&checkpoint(0, 3), &mut pass).unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointConflict);
        assert!(failure.message().contains("row 9"), "{failure}");
    }
    assert_eq!(files.read(&key).now_or_never().unwrap(), Some(cursor(0, 9)));
    drop(both);
    // What was saved beside it is not what the cursor says.
    let left = Checkpoint {
        cursor: Some(cursor(0, 9)),
        progress: None,
    };
    assert_eq!(place.load().unwrap().checkpoint, left);
    let (held, _file) = Held::take(&place, &key.output_id).unwrap();
    assert_eq!(held.current, left);
}

#[tokio::test]
async fn a_lease_says_so_when_its_cursor_is_moved() {
    let files = Files {
        root: tempfile::tempdir().unwrap(),
    };
    let key = key("moved");
    let mut lease = files.store().take(&key).await.unwrap();
    lease.save(&checkpoint(0, 1)).await.unwrap();
    lease.settle().await.unwrap();
    files.write(&key, &cursor(0, 9)).await;
    // It is found when the cursor is to follow, and then at every save.
    lease.save(&checkpoint(0, 2)).await.unwrap();
    for _ in 0..2 {
        let failure = lease.settle().await.unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointConflict);
        let failure = lease.save(&checkpoint(0, 3)).await.unwrap_err();
        assert_eq!(failure.reason(), Reason::CheckpointConflict);
        assert!(failure.message().contains("row 9"), "{failure}");
    }
    drop(lease);
    assert_eq!(files.read(&key).await, Some(cursor(0, 9)));
}

#[test]
fn a_folder_that_is_taken_away_is_a_conflict() {
    let bed = Bed::new();
    let mut both = bed.take();
    both.save(&checkpoint(0, 1), &mut pass).unwrap();
    fs::remove_dir_all(bed.folder()).unwrap();
    let failure = both.save(&checkpoint(0, 2), &mut pass).unwrap_err();
    assert_eq!(failure.reason(), Reason::CheckpointConflict);
    assert!(!bed.folder().exists());
}

#[test]
fn outputs_whose_folders_share_a_name_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::new(root.path());
    let place = |output: &str| {
        store.place(&CheckpointKey {
            output_id: output.into(),
            ..key("shared")
        })
    };
    let (mut held, file) = Held::take(&place("a/b"), "a/b").unwrap();
    let mut nothing = conformance::progress(0);
    nothing.complete = true;
    let end = Checkpoint {
        cursor: None,
        progress: Some(nothing),
    };
    held.save(&end, &mut |_| Ok(())).unwrap();
    drop((held, file));
    let failure = place("a_b").load().unwrap_err();
    assert_eq!(failure.reason(), Reason::CheckpointUnreadable);
    assert!(failure.message().contains("output_id"), "{failure}");
    assert_eq!(place("a/b").load().unwrap().checkpoint, end);
}

/// Broken cursor files: what is there, and parts of the message it must give.
#[test]
fn what_is_no_cursor_is_refused_by_file_and_field() {
    let sound = |field: &str, value: serde_json::Value| {
        let mut all = json!({
            "last_file": "f", "last_row_index": 3, "last_ts_utc": null,
            "output_id": "arrival_events_5B", "pack_key": key("bed").scope_key(),
            "updated_at_utc": "2026-01-01T00:00:00+00:00",
        });
        if value == json!("REMOVED") {
            all.as_object_mut().unwrap().remove(field);
        } else {
            all[field] = value;
        }
        all.to_string().into_bytes()
    };
    let whole = sound("more", json!("REMOVED"));
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (b"".to_vec(), &["found nothing"]),
        (b" \n\t".to_vec(), &["found nothing"]),
        (vec![0; 300], &["a JSON object"]),
        (whole[..1].to_vec(), &["ends too early"]),
        (whole[..40].to_vec(), &["ends too early"]),
        (whole[..whole.len() - 1].to_vec(), &["ends too early"]),
        ([&whole[..], b"}"].concat(), &["trailing characters"]),
        ([&whole[..], &whole[..]].concat(), &["trailing characters"]),
        (b"not json".to_vec(), &["not json", "a JSON object"]),
        (b"\xff\xfe{\x00}".to_vec(), &["a JSON object"]),
        (b"[]".to_vec(), &["found []", "a JSON object"]),
        (b"null".to_vec(), &["found null"]),
        (b"3".to_vec(), &["found 3"]),
        (b"{}".to_vec(), &["last_row_index", "no such field"]),
        (
            sound("pack_key", json!("REMOVED")),
            &["pack_key", "no such"],
        ),
        (
            sound("output_id", json!("REMOVED")),
            &["output_id", "no such"],
        ),
        (
            sound("last_file", json!("REMOVED")),
            &["last_file", "no such"],
        ),
        (
            sound("last_row_index", json!("REMOVED")),
            &["last_row_index", "no such"],
        ),
        (sound("last_file", json!("")), &["last_file", "not empty"]),
        (sound("last_file", json!(7)), &["last_file", "found 7"]),
        (
            sound("last_file", json!(null)),
            &["last_file", "found null"],
        ),
        (
            sound("last_row_index", json!(-1)),
            &["last_row_index", "found -1"],
        ),
        (
            sound("last_row_index", json!("3")),
            &["last_row_index", "found \"3\""],
        ),
        (
            sound("last_row_index", json!(3.0)),
            &["last_row_index", "found 3.0"],
        ),
        (
            sound("last_row_index", json!(true)),
            &["last_row_index", "found true"],
        ),
        (
            sound("last_row_index", json!(null)),
            &["last_row_index", "found null"],
        ),
        (
            sound("last_row_index", json!(1u64 << 63)),
            &["last_row_index", "2^63 - 1"],
        ),
        (
            sound("last_ts_utc", json!(17)),
            &["last_ts_utc", "found 17", "null"],
        ),
        (
            sound("last_ts_utc", json!("yesterday")),
            &["last_ts_utc", "yesterday"],
        ),
        (
            sound("last_ts_utc", json!("2026-01-01T00:00:00")),
            &["last_ts_utc", "2026-01-01T00:00:00.000000Z"],
        ),
        (
            sound("updated_at_utc", json!({})),
            &["updated_at_utc", "found {}"],
        ),
        (
            sound("pack_key", json!("5d8a")),
            &["pack_key", "5d8a", "another stream"],
        ),
        (sound("pack_key", json!(1)), &["pack_key", "found 1"]),
        (
            sound("output_id", json!("s1_arrival_entities_6B")),
            &["output_id", "s1_arrival", "arrival_events_5B"],
        ),
        (
            sound("output_id", json!("Arrival_events_5B")),
            &["output_id", "another stream"],
        ),
    ];
    assert!(cases.len() >= 25);
    let bed = Bed::new();
    fs::create_dir_all(bed.folder()).unwrap();
    let path = bed.folder().join(CURSOR_FILE);
    for (bytes, parts) in cases {
        fs::write(&path, &bytes).unwrap();
        let taken = Held::take(&bed.place(), &bed.key.output_id)
            .err()
            .unwrap_or_else(|| panic!("taken: {}", String::from_utf8_lossy(&bytes)));
        for failure in [taken, bed.place().load().unwrap_err()] {
            assert_eq!(failure.reason(), Reason::CheckpointUnreadable, "{failure}");
            let message = failure.message();
            assert!(message.starts_with(path.to_str().unwrap()), "{message}");
            for part in parts {
                assert!(message.contains(part), "{part:?} in {message:?}");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "left as it was");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(bed.load().cursor.unwrap().last_row_index, 3);
}

#[test]
fn what_is_no_file_is_refused() {
    type Make = fn(&Path);
    let odd: [(&str, Make); 4] = [
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| {
            std::os::unix::fs::symlink("elsewhere.json", path).unwrap()
        }),
        ("a special file", |path| {
            std::os::unix::net::UnixListener::bind(path).unwrap();
        }),
        ("bytes", |path| {
            let file = File::create(path).unwrap();
            file.set_len(disk::MAX_BYTES + 1).unwrap();
        }),
    ];
    for (found, make) in odd {
        // A socket's path must be short.
        let root = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let place = Place {
            folder: root.path().to_owned(),
            scope_key: "s".into(),
            output: Output::Is("o".into()),
        };
        make(&root.path().join(CURSOR_FILE));
        let failure = Held::take(&place, "o").err().unwrap();
        assert_eq!(failure.reason(), Reason::CheckpointUnreadable);
        assert!(failure.message().contains(found), "{failure}");
    }
}

#[test]
fn a_root_that_cannot_hold_checkpoints_fails_closed() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let key = key("root");
    let place = FileStore::new(file.join("below")).place(&key);
    let failure = Held::take(&place, &key.output_id).err().unwrap();
    assert_eq!(
        failure.exit_code(),
        worldstream_crds::ExitCode::FailClosed,
        "{failure}"
    );
    assert!(failure.message().contains("folder"), "{failure}");
}

/// Not a test of its own: the process that the tests below start, which holds a checkpoint.
#[test]
fn child_process() {
    let Some(root) = std::env::var_os("CHECKPOINT_CHILD_ROOT") else {
        return;
    };
    let key = key("bed");
    let place = FileStore::new(root).place(&key);
    let mut lease = match FileLease::take(&place, &key.output_id) {
        Ok(lease) => lease,
        Err(failure) => {
            println!("refused {failure}");
            return;
        }
    };
    println!("holds");
    for row in 0..u64::MAX {
        let next = checkpoint(0, row);
        lease.held.save(&next, &mut |_| Ok(())).unwrap();
    }
}

fn child(bed: &Bed) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "checkpoint::file::tests::child_process",
            "--nocapture",
        ])
        .env("CHECKPOINT_CHILD_ROOT", bed.root.path())
        .stdout(Stdio::piped());
    command
}

#[test]
fn a_second_process_is_refused_and_a_killed_one_is_no_obstacle() {
    use std::io::{BufRead, BufReader};
    let bed = Bed::new();
    let held = bed.take();
    let output = child(&bed).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("refused CHECKPOINT_CONFLICT"), "{text}");
    let us = format!("held by process {}", std::process::id());
    assert!(text.contains(&us), "{text}");
    drop(held);

    let mut last = 0;
    for round in 0..8 {
        let mut process = child(&bed).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let holds = lines.find(|line| line.as_ref().unwrap().contains("holds"));
        if round == 0 {
            assert!(holds.is_some());
            let failure = Held::take(&bed.place(), &bed.key.output_id).err().unwrap();
            let them = format!("process {}", process.id());
            assert!(failure.message().contains(&them), "{failure}");
        }
        // Looking while it writes always shows a cursor with its own figures.
        let mut looks = 0;
        while looks < 200 || last < round {
            assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
            looks += 1;
            let seen = bed.load();
            if let Some(cursor) = seen.cursor {
                assert_eq!(seen.progress, checkpoint(0, cursor.last_row_index).progress);
                last = cursor.last_row_index;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let found = bed.take();
        let cursor = found.held.current.cursor.clone();
        let row = cursor.expect("it saved").last_row_index;
        assert!(row >= last);
        assert_eq!(found.held.current, checkpoint(0, row));
        drop(found);
        fs::remove_dir_all(bed.folder()).unwrap();
        last = 0;
    }
}

#[tokio::test]
async fn a_lease_that_is_dropped_brings_the_cursor_up_before_the_lock_is_released() {
    let bed = Bed::new();
    let store = FileStore::new(bed.root.path());
    for row in 0..10 {
        let mut lease = store.take(&bed.key).await.unwrap();
        let next = checkpoint(0, row);
        lease.save(&next).await.unwrap();
        drop(lease);
        assert_eq!(bed.mirrored(), next.cursor);
        let lease = store.take(&bed.key).await.unwrap();
        assert_eq!(lease.loaded(), &next);
    }
}
