//! Crashes and failures between any two steps of a save and of the replacement that follows it,
//! of the process and of the machine: what was not synced may be on the disk, or not, or in part.

use super::*;
use crate::checkpoint::mirror::Step as Mirrored;

const STEPS: [At; 7] = [
    At::Save(Step::Begun),
    At::Save(Step::Written),
    At::Save(Step::Synced),
    At::Mirror(Mirrored::Begun),
    At::Mirror(Mirrored::CursorWritten),
    At::Mirror(Mirrored::CursorReplaced),
    At::Mirror(Mirrored::FolderSynced),
];

const NOTHING: Checkpoint = Checkpoint {
    cursor: None,
    progress: None,
};

/// What of a folder's files is certainly on the disk.
struct Durable {
    files: [(PathBuf, Vec<u8>); 3],
}

impl Durable {
    fn of(bed: &Bed) -> Durable {
        let folder = bed.folder();
        let paths = [
            Slot::A.path(&folder),
            Slot::B.path(&folder),
            folder.join(CURSOR_FILE),
        ];
        Durable {
            files: paths.map(|path| {
                let bytes = fs::read(&path).unwrap_or_default();
                (path, bytes)
            }),
        }
    }

    /// After a sync of the slots, or of the folder.
    fn step(&mut self, at: At) {
        let synced = match at {
            At::Save(Step::Synced) => 0..2,
            At::Mirror(Mirrored::FolderSynced) => 2..3,
            _ => return,
        };
        for (path, bytes) in &mut self.files[synced] {
            *bytes = fs::read(path).unwrap_or_default();
        }
    }

    /// Everything that a crash of the machine may leave now.
    fn crashes(&self) -> Vec<Checkpoint> {
        let versions = self.files.each_ref().map(|(path, old)| {
            let new = fs::read(path).unwrap_or_default();
            let mut torn = old.clone();
            let part = 700.min(new.len());
            torn.resize(torn.len().max(part), 0);
            torn[..part].copy_from_slice(&new[..part]);
            match path.ends_with(CURSOR_FILE) {
                // It is replaced whole, after its bytes were synced.
                true => vec![old.clone(), new],
                false => vec![old.clone(), new, torn],
            }
        });
        let copy = Bed::new();
        fs::create_dir_all(copy.folder()).unwrap();
        let mut found = Vec::new();
        for a in &versions[0] {
            for b in &versions[1] {
                for cursor in &versions[2] {
                    for ((path, _), bytes) in self.files.iter().zip([a, b, cursor]) {
                        let path = copy.folder().join(path.file_name().unwrap());
                        match bytes.is_empty() {
                            true => disk::remove_if_there(&path).unwrap(),
                            false => fs::write(path, bytes).unwrap(),
                        }
                    }
                    found.push(copy.place().load_locked().unwrap().checkpoint);
                }
            }
        }
        found
    }
}

#[test]
fn a_crash_after_any_step_leaves_the_old_checkpoint_or_the_new() {
    let bed = Bed::new();
    let mut both = bed.take();
    let mut durable = Durable::of(&bed);
    let mut old = NOTHING;
    for row in 0..6 {
        let mut new = checkpoint(0, row / 2);
        new.progress.as_mut().unwrap().retried = row;
        let mut seen = Vec::new();
        both.save(&new, &mut |at| {
            durable.step(at);
            let expected = if at == STEPS[0] { &old } else { &new };
            assert_eq!(bed.crash(), *expected, "{at:?}");
            for found in durable.crashes() {
                match at {
                    At::Save(Step::Begun) => assert_eq!(found, old, "{at:?}"),
                    At::Save(Step::Written) => assert!(found == old || found == new, "{at:?}"),
                    // Durable from here on, whatever becomes of the reference's file.
                    _ => assert_eq!(found, new, "{at:?}"),
                }
            }
            seen.push(at);
            Ok(())
        })
        .unwrap();
        // The same cursor again is not replaced.
        let steps = if row % 2 == 0 {
            &STEPS[..]
        } else {
            &STEPS[..3]
        };
        assert_eq!(seen, steps);
        old = new;
    }
}

#[test]
fn saves_during_a_replacement_are_as_durable_and_the_newest_follows() {
    for during in &STEPS[3..] {
        for saves in 1..4 {
            let bed = Bed::new();
            let Both { mut held, mut file } = bed.take();
            let mut durable = Durable::of(&bed);
            let mut row = 0;
            let mut lines = 1;
            held.save(&checkpoint(0, row), &mut |_| Ok(())).unwrap();
            durable.step(At::Save(Step::Synced));
            for _ in 0..3 {
                file.replace(&mut |step| {
                    durable.step(At::Mirror(step));
                    if At::Mirror(step) != *during {
                        for found in durable.crashes() {
                            assert_eq!(found, checkpoint(0, row), "{step:?}");
                        }
                        return Ok(());
                    }
                    for _ in 0..saves {
                        let (old, new) = (checkpoint(0, row), checkpoint(0, row + 1));
                        held.save(&new, &mut |at| {
                            durable.step(At::Save(at));
                            for found in durable.crashes() {
                                let right = match at {
                                    Step::Begun => found == old,
                                    Step::Written => found == old || found == new,
                                    Step::Synced => found == new,
                                };
                                assert!(right, "{step:?} {at:?}: {found:?}");
                            }
                            Ok(())
                        })
                        .unwrap();
                        row += 1;
                    }
                    Ok(())
                })
                .unwrap();
                assert_eq!(bed.crash(), checkpoint(0, row));
                lines += 1;
            }
            file.replace(&mut |_| Ok(())).unwrap();
            assert_eq!(bed.mirrored(), Some(cursor(0, row)));
            // Those that were overtaken are left out.
            let history = fs::read_to_string(bed.folder().join(HISTORY_FILE)).unwrap();
            assert_eq!(history.lines().count(), lines);
        }
    }
}

#[test]
fn a_write_that_a_crash_tore_leaves_what_was_whole() {
    let bed = Bed::new();
    let mut both = bed.take();
    for row in 0..4 {
        both.save(&checkpoint(0, row), &mut pass).unwrap();
    }
    for row in 4..6 {
        both.save(&checkpoint(0, row), &mut |at| {
            let files: &[PathBuf] = match at {
                At::Save(Step::Written) => &Slot::BOTH.map(|slot| slot.path(&bed.folder())),
                At::Mirror(Mirrored::CursorWritten) => {
                    &[disk::temporary(&bed.folder().join(CURSOR_FILE))]
                }
                _ => return Ok(()),
            };
            for file in files {
                let copy = Bed::new();
                copy_folder(&bed.folder(), &copy.folder());
                let name = copy.folder().join(file.file_name().unwrap());
                let bytes = fs::read(&name).unwrap();
                let entry = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
                // Damage to the slot of before is no crash of ours, and harms nothing either.
                let left = match entry["cursor"]["last_row_index"] == row {
                    true => row - 1,
                    false => row,
                };
                let text = bytes.trim_ascii_end().len();
                for cut in (0..text).step_by(7) {
                    fs::write(&name, &bytes[..cut]).unwrap();
                    let found = copy.place().load_locked().unwrap().checkpoint;
                    assert_eq!(found, checkpoint(0, left), "{at:?} {cut}");
                }
            }
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_save_that_fails_at_any_step_can_be_tried_again() {
    for failing in STEPS {
        for later in [false, true] {
            let bed = Bed::new();
            let mut both = bed.take();
            both.save(&checkpoint(0, 1), &mut pass).unwrap();
            for _ in 0..3 {
                let failure = both
                    .save(&checkpoint(0, 2), &mut |at| {
                        if at == failing {
                            return Err(io::Error::from(io::ErrorKind::StorageFull));
                        }
                        Ok(())
                    })
                    .unwrap_err();
                assert_eq!(failure.reason(), Reason::StreamFailed);
                assert_eq!(failure.exit_code(), worldstream_crds::ExitCode::Unavailable);
                let found = bed.crash();
                assert!(
                    found == checkpoint(0, 1) || found == checkpoint(0, 2),
                    "{failing:?}: {found:?}"
                );
            }
            let next = checkpoint(0, if later { 5 } else { 2 });
            both.save(&next, &mut |_| {
                let found = bed.crash();
                assert!(
                    [checkpoint(0, 1), checkpoint(0, 2), next.clone()].contains(&found),
                    "{failing:?}: {found:?}"
                );
                Ok(())
            })
            .unwrap();
            assert_eq!(bed.crash(), next);
            assert_eq!(bed.mirrored(), next.cursor, "{failing:?}");
        }
    }
}

#[test]
fn a_replacement_that_the_disk_refuses_is_made_good() {
    let bed = Bed::new();
    let mut both = bed.take();
    both.save(&checkpoint(0, 1), &mut pass).unwrap();
    // A folder where the temporary file must go: no write of the cursor can succeed.
    let blocked = disk::temporary(&bed.folder().join(CURSOR_FILE));
    fs::create_dir(&blocked).unwrap();
    for row in 2..5 {
        both.save(&checkpoint(0, row), &mut pass).unwrap_err();
        assert_eq!(bed.load(), checkpoint(0, row));
        assert_eq!(bed.mirrored(), Some(cursor(0, 1)));
    }
    drop(both);
    assert!(Held::take(&bed.place(), &bed.key.output_id).is_err());
    fs::remove_dir(&blocked).unwrap();
    let mut lease = bed.lease();
    assert_eq!(lease.held.current, checkpoint(0, 4));
    assert_eq!(bed.mirrored(), Some(cursor(0, 4)));

    // A lease goes on with nothing while its reference's files cannot follow.
    fs::create_dir(&blocked).unwrap();
    lease.held.save(&checkpoint(0, 5), &mut |_| Ok(())).unwrap();
    let failure = lease.mirror.settle().unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamFailed);
    lease
        .held
        .save(&checkpoint(0, 6), &mut |_| Ok(()))
        .unwrap_err();
    assert_eq!(bed.load(), checkpoint(0, 5));
    fs::remove_dir(&blocked).unwrap();
    lease.mirror.settle().unwrap();
    lease.held.save(&checkpoint(0, 6), &mut |_| Ok(())).unwrap();
    lease.mirror.settle().unwrap();
    assert_eq!(bed.mirrored(), Some(cursor(0, 6)));
}

#[test]
fn a_cursor_counts_unless_it_is_an_older_one_of_ours() {
    let write = |bed: &Bed, cursor: Option<Cursor>| {
        let path = bed.folder().join(CURSOR_FILE);
        match cursor {
            None => disk::remove_if_there(&path).unwrap(),
            Some(cursor) => {
                let scope = bed.key.scope_key();
                let now = EventTime::wall_now();
                let bytes = document::encode(&scope, &bed.key.output_id, &cursor, now).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    };
    let bed = Bed::new();
    let mut both = bed.take();
    // Killed before the first cursor was mirrored: there is none, and that is known.
    both.held.save(&checkpoint(0, 2), &mut |_| Ok(())).unwrap();
    assert_eq!((bed.mirrored(), bed.crash()), (None, checkpoint(0, 2)));
    both.file.replace(&mut |_| Ok(())).unwrap();
    // Killed after two more saves, the second not mirrored.
    both.save(&checkpoint(0, 4), &mut pass).unwrap();
    both.held.save(&checkpoint(0, 6), &mut |_| Ok(())).unwrap();
    drop(both);
    for (left, counts) in [
        (Some(cursor(0, 4)), checkpoint(0, 6)),
        (Some(cursor(0, 6)), checkpoint(0, 6)),
    ] {
        write(&bed, left);
        assert_eq!(bed.load(), counts);
        assert_eq!(bed.crash(), counts);
    }
    // Another producer moved it: ahead, between, behind; or somebody took it away.
    for row in [Some(9), Some(5), Some(3), Some(2), Some(0), None] {
        let left = row.map(|row| cursor(0, row));
        write(&bed, left.clone());
        let counts = Checkpoint {
            cursor: left,
            progress: None,
        };
        assert_eq!(bed.load(), counts);
        assert_eq!(bed.crash(), counts);
    }
}

#[tokio::test]
async fn at_rest_the_cursor_alone_counts() {
    let bed = Bed::new();
    let mut lease = bed.lease();
    lease.save(&checkpoint(0, 3)).await.unwrap();
    lease.settle().await.unwrap();
    lease.settle().await.unwrap();
    drop(lease);
    assert_eq!(bed.crash(), checkpoint(0, 3));
    // Taking the file away is starting over, also after a single save.
    fs::remove_file(bed.folder().join(CURSOR_FILE)).unwrap();
    assert_eq!(bed.load(), NOTHING);
    assert_eq!(bed.lease().loaded, NOTHING);
}
