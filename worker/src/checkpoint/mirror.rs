//! `cursor.json` and `cursor.jsonl`, the reference's files: they follow what is saved, behind the
//! stream's back. The file is always whole and replaced at once; of several saves that were made
//! meanwhile, the newest is mirrored.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use worldstream_crds::Reason;

use super::Cursor;
use super::disk::{self, Stamp};
use super::document;
use super::lines::Lines;
use super::order::describe;
use super::place::{Loaded, Place};
use crate::failure::{Failure, Result};
use crate::sched;
use crate::time::EventTime;

/// Every cursor that was mirrored, a line each.
pub const HISTORY_FILE: &str = "cursor.jsonl";

/// The shortest time from one replacement to the next, unless somebody waits: what follows behind
/// shall not keep the disk busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Where in a replacement a test may stop it, look, or make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    CursorWritten,
    CursorReplaced,
    FolderSynced,
}

/// A cursor that is durable in a slot.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub cursor: Cursor,
    pub at: EventTime,
}

/// What `cursor.json` may say, and what it is to say next.
#[derive(Debug)]
pub(super) struct Standing {
    /// What it may say on the disk: more than one thing only while it is being replaced, or after
    /// that has failed.
    possible: Vec<Option<Cursor>>,
    /// Saved, and not begun to be mirrored.
    wanted: Option<Saved>,
    busy: bool,
    /// Attempts that have ended.
    attempts: u64,
    /// Why the last attempt failed.
    failure: Option<Failure>,
    /// Somebody waits.
    urgent: bool,
    closing: bool,
}

/// What whoever saves and whoever mirrors share.
#[derive(Debug)]
pub(super) struct Shared {
    standing: Mutex<Standing>,
    changed: Condvar,
}

impl Shared {
    pub fn new(mirrored: Option<Cursor>) -> Arc<Self> {
        Arc::new(Shared {
            standing: Mutex::new(Standing {
                possible: vec![mirrored],
                wanted: None,
                busy: false,
                attempts: 0,
                failure: None,
                urgent: false,
                closing: false,
            }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that the file may say until `next` is durable itself.
    pub fn may_say(&self, next: Option<&Cursor>) -> Vec<Option<Cursor>> {
        let standing = self.lock();
        let wanted = standing.wanted.as_ref().map(|it| Some(it.cursor.clone()));
        let mut all: Vec<_> = standing.possible.iter().cloned().chain(wanted).collect();
        all.retain(|cursor| cursor.as_ref() != next);
        all.dedup();
        all
    }

    /// A cursor is durable: the file is to say so.
    pub fn want(&self, saved: Saved) {
        let mut standing = self.lock();
        if standing.possible == [Some(saved.cursor.clone())] {
            return;
        }
        // Whoever has something to mirror already sleeps no longer for something newer.
        if standing.wanted.replace(saved).is_none() {
            self.changed.notify_all();
        }
    }

    /// Why the last replacement failed, if it did. It is tried again at once then.
    pub fn failure(&self) -> Option<Failure> {
        let mut standing = self.lock();
        let failure = standing.failure.clone();
        if failure.is_some() {
            standing.urgent = true;
            self.changed.notify_all();
        }
        failure
    }
}

/// The reference's files in a folder that is locked.
#[derive(Debug)]
pub(super) struct CursorFile {
    place: Place,
    output_id: String,
    /// The file as we last saw or left it.
    stamp: Option<Stamp>,
    history: Lines,
    shared: Arc<Shared>,
}

impl CursorFile {
    pub fn open(
        place: &Place,
        output_id: &str,
        loaded: &Loaded,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let history = Lines::open(&place.folder.join(HISTORY_FILE))?;
        disk::remove_if_there(&disk::temporary(&place.cursor_path()))?;
        disk::sync_folder(&place.folder)?;
        Ok(CursorFile {
            place: place.clone(),
            output_id: output_id.to_owned(),
            stamp: loaded.stamp.clone(),
            history,
            shared,
        })
    }

    /// Has the file say what is wanted, if anything is; `hook` is called after each step. What
    /// fails stays wanted.
    pub fn replace(&mut self, hook: &mut dyn FnMut(Step) -> io::Result<()>) -> Result<()> {
        if self.shared.lock().wanted.is_none() {
            return Ok(());
        }
        self.reconcile()?;
        let shared = self.shared.clone();
        let saved = {
            let mut standing = shared.lock();
            let Some(saved) = standing.wanted.take() else {
                return Ok(());
            };
            standing.possible.push(Some(saved.cursor.clone()));
            saved
        };
        let result = self.write(&saved, hook);
        let mut standing = shared.lock();
        match result {
            Ok(()) => {
                standing.possible = vec![Some(saved.cursor)];
                Ok(())
            }
            Err(failure) => {
                standing.wanted.get_or_insert(saved);
                Err(failure)
            }
        }
    }

    fn write(&mut self, saved: &Saved, hook: &mut dyn FnMut(Step) -> io::Result<()>) -> Result<()> {
        let path = self.place.cursor_path();
        let cannot = |error: io::Error| disk::cannot("save the checkpoint", &path, &error);
        let scope = &self.place.scope_key;
        let mut bytes = document::encode(scope, &self.output_id, &saved.cursor, saved.at)?;
        hook(Step::Begun).map_err(cannot)?;
        // Its bytes must be durable before the rename that puts them in place.
        let stamp = disk::write_temporary(&path, &bytes).map_err(cannot)?;
        hook(Step::CursorWritten).map_err(cannot)?;
        std::fs::rename(disk::temporary(&path), &path).map_err(cannot)?;
        self.stamp = Some(stamp);
        hook(Step::CursorReplaced).map_err(cannot)?;
        // Until this is done, a crash may bring the file before it back.
        disk::sync_folder(&self.place.folder).map_err(cannot)?;
        hook(Step::FolderSynced).map_err(cannot)?;
        bytes.push(b'\n');
        // Not synced: nothing is ever read back from it.
        self.history
            .append(&bytes)
            .map_err(|error| disk::cannot("append to", self.history.path(), &error))
    }

    /// Finds out what the file says: what we left, or what we began and did not see through.
    /// `CHECKPOINT_CONFLICT` if it is anything else: the reference takes no lock.
    fn reconcile(&mut self) -> Result<()> {
        let path = self.place.cursor_path();
        let cannot = |error: io::Error| disk::cannot("look at the cursor", &path, &error);
        let possible = self.shared.lock().possible.clone();
        if possible.len() == 1 && Stamp::at(&path).map_err(cannot)? == self.stamp {
            return Ok(());
        }
        // What is seen must be what a crash leaves.
        disk::sync_folder(&self.place.folder).map_err(cannot)?;
        let (document, stamp) = self.place.read_cursor()?.unzip();
        let there = document.map(|document| document.cursor);
        if !possible.contains(&there) {
            return Err(
                Failure::new(Reason::CheckpointConflict, path.display().to_string())
                    .found(describe(there.as_ref()))
                    .expected(describe(possible.last().and_then(Option::as_ref)))
                    .detail("another producer moved the cursor while this one held it"),
            );
        }
        self.shared.lock().possible = vec![there];
        self.stamp = stamp;
        Ok(())
    }
}

/// The thread that replaces the file. When it is dropped, what is wanted is tried once more.
#[derive(Debug)]
pub(super) struct Mirror {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    pub fn start(file: CursorFile) -> io::Result<Self> {
        let shared = file.shared.clone();
        let thread = std::thread::Builder::new()
            .name("mirror".to_owned())
            .spawn(move || {
                sched::works_ahead();
                run(file);
            })?;
        Ok(Mirror {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits until the file says what was saved last, or an attempt to have it say so failed.
    pub fn settle(&self) -> Result<()> {
        let mut standing = self.shared.lock();
        let before = standing.attempts + u64::from(standing.busy);
        while standing.busy || standing.wanted.is_some() {
            if standing.attempts > before
                && let Some(failure) = &standing.failure
            {
                return Err(failure.clone());
            }
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                let what = "the thread that mirrors the cursor";
                return Err(Failure::new(Reason::StreamFailed, what).detail("it broke"));
            }
            standing.urgent = true;
            self.shared.changed.notify_all();
            standing = self
                .shared
                .changed
                .wait_timeout(standing, Duration::from_secs(1))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panic, if that is what ended it, was printed.
            let _ = thread.join();
        }
    }
}

fn run(mut file: CursorFile) {
    let shared = file.shared.clone();
    let mut not_before = Instant::now();
    loop {
        let mut standing = shared.lock();
        let last = loop {
            let now = Instant::now();
            match (&standing.wanted, standing.closing) {
                (None, true) => return,
                (Some(_), true) => break true,
                (Some(_), false) if standing.urgent || now >= not_before => break false,
                _ => {}
            }
            let wait = match standing.wanted {
                Some(_) => not_before - now,
                None => Duration::from_secs(3600),
            };
            standing = shared
                .changed
                .wait_timeout(standing, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        standing.urgent = false;
        standing.busy = true;
        drop(standing);
        let failure = file.replace(&mut |_| Ok(())).err();
        not_before = Instant::now() + PAUSE;
        let mut standing = shared.lock();
        if let Some(failure) = &failure
            && last
        {
            tracing::warn!(%failure, "cursor.json lags behind what was saved");
        }
        standing.busy = false;
        standing.attempts += 1;
        standing.failure = failure;
        shared.changed.notify_all();
        drop(standing);
        if last {
            return;
        }
    }
}
