//! A checkpoint store that lets the report see what is saved, and since when nothing can be.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream_crds::ExitCode;

use crate::checkpoint::{Capabilities, Checkpoint, CheckpointKey, CheckpointStore, Lease};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// What is known of saving.
#[derive(Clone, Debug, Default)]
pub struct Saves {
    /// What was saved last.
    pub saved: Option<Checkpoint>,
    /// Since when saving fails, and how.
    pub away: Option<(EventTime, Failure)>,
}

/// A store, and what is seen of it.
pub struct Watched {
    inner: Arc<dyn CheckpointStore>,
    saves: Arc<Mutex<Saves>>,
}

impl Watched {
    /// Watches a store.
    pub fn new(inner: Arc<dyn CheckpointStore>) -> Self {
        Watched {
            inner,
            saves: Arc::default(),
        }
    }

    /// What is seen, at any time from now on.
    pub fn saves(&self) -> Arc<Mutex<Saves>> {
        self.saves.clone()
    }
}

impl CheckpointStore for Watched {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn take<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Box<dyn Lease>>> {
        async move {
            let inner = self.inner.take(key).await?;
            look(&self.saves).saved = Some(inner.loaded().clone());
            Ok(Box::new(WatchedLease {
                inner,
                saves: self.saves.clone(),
            }) as Box<dyn Lease>)
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint>> {
        self.inner.peek(key)
    }
}

/// What is seen now.
pub fn look(saves: &Mutex<Saves>) -> std::sync::MutexGuard<'_, Saves> {
    saves.lock().unwrap_or_else(PoisonError::into_inner)
}

struct WatchedLease {
    inner: Box<dyn Lease>,
    saves: Arc<Mutex<Saves>>,
}

impl Lease for WatchedLease {
    fn loaded(&self) -> &Checkpoint {
        self.inner.loaded()
    }

    fn ready(&mut self) -> BoxFuture<'_, ()> {
        self.inner.ready()
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<()>> {
        self.inner.settle()
    }

    fn save<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        async move {
            let result = self.inner.save(checkpoint).await;
            let mut saves = look(&self.saves);
            match &result {
                Ok(()) => {
                    *saves = Saves {
                        saved: Some(checkpoint.clone()),
                        away: None,
                    }
                }
                Err(failure) if failure.exit_code() == ExitCode::Unavailable => {
                    let since = saves.away.as_ref().map(|(since, _)| *since);
                    let since = since.unwrap_or_else(EventTime::wall_now);
                    saves.away = Some((since, failure.clone()));
                }
                Err(_) => {}
            }
            drop(saves);
            result
        }
        .boxed()
    }
}
