//! Hearing of changes of a folder at once, where the system can tell of them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::warn;

/// A folder that is watched whenever it is there.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    watched: Option<Watched>,
    changed: Arc<Notify>,
    told: bool,
}

#[derive(Debug)]
struct Watched {
    /// The folder's device and inode: another folder may have taken its name.
    identity: (u64, u64),
    /// Something happened to the folder itself: it may be gone, and its number used again.
    stale: Arc<AtomicBool>,
    #[expect(dead_code, reason = "what is dropped is watched no more")]
    watcher: RecommendedWatcher,
}

impl Watch {
    /// Of a folder that need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Watch {
            folder: folder.to_owned(),
            watched: None,
            changed: Arc::default(),
            told: false,
        }
    }

    /// Watches the folder, if it is there and not watched. Called before the folder is looked at,
    /// so that nothing happens unseen between the two.
    pub fn renew(&mut self) {
        let metadata = std::fs::metadata(&self.folder).ok();
        let identity = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
        let good = self.watched.as_ref().is_some_and(|watched| {
            Some(watched.identity) == identity && !watched.stale.load(Ordering::SeqCst)
        });
        if good {
            return;
        }
        self.watched = None;
        let Some(identity) = identity else { return };
        match self.watch(identity) {
            Ok(watched) => self.watched = Some(watched),
            Err(error) if !self.told => {
                self.told = true;
                let folder = self.folder.display();
                warn!(%folder, %error, "changes of this folder are not told, it is looked at again and again");
            }
            Err(_) => {}
        }
    }

    /// Waits until something changed since this was called last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn watch(&self, identity: (u64, u64)) -> notify::Result<Watched> {
        let stale = Arc::new(AtomicBool::new(false));
        let (changed, gone, folder) = (self.changed.clone(), stale.clone(), self.folder.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = &event {
                if is_reading(event.kind) {
                    return;
                }
                if event.paths.contains(&folder) {
                    gone.store(true, Ordering::SeqCst);
                }
            }
            // What went wrong in telling is a reason to look, too.
            changed.notify_one();
        })?;
        watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
        Ok(Watched {
            identity,
            stale,
            watcher,
        })
    }
}

/// We read what changed: if that counted as a change, we would never rest.
fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}
