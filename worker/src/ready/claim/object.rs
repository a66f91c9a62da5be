//! A claim in S3: an object that names its holder and when it expires.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::AbortHandle;
use tracing::warn;
use worldstream_crds::Reason;

use super::{Claim, Document, Held, Memory, Taken, taken_over};
use crate::audit::Records;
use crate::failure::{Failure, Result};
use crate::stop::Stop;
use crate::store::{Expect, Store, StoreError, Trouble, s3};
use crate::time::EventTime;

/// How often taking a claim is tried while others write it, too.
const CONFLICTS: u32 = 20;
/// The pause after a conflict, with a random part of up to the same length.
const PAUSE: Duration = Duration::from_millis(50);

/// A claim's object that is ours until it expires.
#[derive(Debug)]
pub(super) struct Leased {
    shared: Arc<Shared>,
    renewing: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    at: object_store::path::Path,
    name: String,
    term: Duration,
    /// What we wrote last.
    document: Mutex<Document>,
    /// One write at a time, each over the one before.
    tag: tokio::sync::Mutex<Option<String>>,
    lost: Stop,
}

/// Takes a claim that is free, expired, or its holder's of before.
pub(super) async fn take(
    run: Records,
    relative: String,
    document: Document,
    term: Duration,
) -> Result<Taken> {
    let name = run.name(&relative);
    let cannot = |error: &StoreError| {
        let failure = Failure::new(Reason::StreamFailed, &name);
        error.explain(failure.field("claim".to_owned()))
    };
    let Records::Bucket { store, base, .. } = run else {
        return Err(Failure::new(Reason::StreamFailed, name).expected("a place in S3"));
    };
    let at = s3::below(base, &relative);
    let mut conflicts = 0;
    loop {
        let found = store.get(&at).await.map_err(|error| cannot(&error))?;
        let there = found.as_ref().map(|(bytes, _)| bytes);
        let there = there.and_then(|bytes| serde_json::from_slice::<Document>(bytes).ok());
        // The answer to our own write may have been lost.
        let ours = there.as_ref().filter(|it| it.nonce == document.nonce);
        if let (Some(ours), Some((_, tag))) = (ours, &found) {
            return Ok(leased(store, at, name, term, ours.clone(), tag.clone()));
        }
        if let Some(there) = there.as_ref().filter(|it| !is_free(it, &document)) {
            return Ok(Taken::Theirs(there.holder.clone()));
        }
        let document = Document {
            memory: there.map(|it| it.memory).unwrap_or_default(),
            expires_at_utc: Some(expiry(term)),
            ..document.clone()
        };
        let expect = match &found {
            None => Expect::Nothing,
            Some((_, Some(tag))) => Expect::Tag(tag),
            Some((_, None)) => Expect::Anything,
        };
        match store.put(&at, bytes(&name, &document)?, expect).await {
            Ok(tag) => return Ok(leased(store, at, name, term, document, tag)),
            Err(error) if error.trouble() == Trouble::Changed && conflicts < CONFLICTS => {
                conflicts += 1;
                tokio::time::sleep(PAUSE + PAUSE.mul_f64(crate::gate::random())).await;
            }
            Err(error) => return Err(cannot(&error)),
        }
    }
}

/// Whether a claim that is there may be taken.
fn is_free(there: &Document, ours: &Document) -> bool {
    let expired = there.expires_at_utc.as_deref().is_none_or(|text| {
        EventTime::parse_rfc3339(text).is_ok_and(|end| end <= EventTime::wall_now())
    });
    there.released || expired || there.holder == ours.holder
}

fn expiry(term: Duration) -> String {
    let end = EventTime::wall_now().micros() + term.as_micros() as i64;
    EventTime::from_micros(end)
        .unwrap_or(EventTime::MAX)
        .to_string()
}

fn bytes(name: &str, document: &Document) -> Result<Bytes> {
    serde_json::to_vec(document)
        .map(Bytes::from)
        .map_err(|error| Failure::new(Reason::StreamFailed, name).cause(&error))
}

fn leased(
    store: Store,
    at: object_store::path::Path,
    name: String,
    term: Duration,
    document: Document,
    tag: Option<String>,
) -> Taken {
    let io = store.io().cloned();
    let shared = Arc::new(Shared {
        store,
        at,
        name,
        term,
        document: Mutex::new(document),
        tag: tokio::sync::Mutex::new(tag),
        lost: Stop::new(),
    });
    let renewing = io.map(|io| io.spawn(renew(shared.clone())).abort_handle());
    Taken::Ours(Claim {
        held: Held::Object(Leased { shared, renewing }),
    })
}

impl Leased {
    pub(super) fn memory(&self) -> Memory {
        self.shared.document().memory.clone()
    }

    pub(super) fn lost(&self) -> &Stop {
        &self.shared.lost
    }

    pub(super) async fn write(&self, change: impl FnOnce(&mut Document)) -> Result<()> {
        self.shared.write(change).await
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
    }
}

/// Renews a claim four times in its term, as long as it is held.
async fn renew(shared: Arc<Shared>) {
    let mut until = Instant::now() + shared.term;
    loop {
        tokio::time::sleep(shared.term / 4).await;
        let began = Instant::now();
        // Released is released, and lost is lost.
        if shared.document().released || shared.lost.is_set() {
            return;
        }
        match shared.write(|_| ()).await {
            Ok(()) => until = began + shared.term,
            Err(failure) if shared.lost.is_set() => {
                warn!(%failure, "a claim was taken over");
                return;
            }
            Err(failure) if Instant::now() >= until => {
                warn!(%failure, "a claim could not be renewed and has expired");
                shared.lost.set();
                return;
            }
            Err(failure) => warn!(%failure, "a claim could not be renewed, trying again"),
        }
    }
}

impl Shared {
    fn document(&self) -> MutexGuard<'_, Document> {
        // Nothing is left half done where a panic could happen.
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the claim over what we wrote last, for another term.
    async fn write(&self, change: impl FnOnce(&mut Document)) -> Result<()> {
        let mut tag = self.tag.lock().await;
        if self.lost.is_set() {
            return Err(taken_over(&self.name, &self.lost));
        }
        let document = {
            let mut document = self.document();
            change(&mut document);
            document.expires_at_utc = Some(expiry(self.term));
            document.clone()
        };
        let bytes = bytes(&self.name, &document)?;
        let cannot = |error: &StoreError| {
            let failure = Failure::new(Reason::StreamFailed, &self.name);
            error.explain(failure.field("claim".to_owned()))
        };
        for _ in 0..CONFLICTS {
            let expect = match tag.as_deref() {
                Some(tag) => Expect::Tag(tag),
                None => Expect::Anything,
            };
            match self.store.put(&self.at, bytes.clone(), expect).await {
                Ok(new) => {
                    *tag = new;
                    return Ok(());
                }
                Err(error) if error.trouble() == Trouble::Changed => {}
                Err(error) => return Err(cannot(&error)),
            }
            // An earlier write of ours may have been taken, and only its answer lost.
            let found = self.store.get(&self.at).await;
            let found = found.map_err(|error| cannot(&error))?;
            let ours = found.as_ref().is_some_and(|(bytes, _)| {
                serde_json::from_slice::<Document>(bytes)
                    .is_ok_and(|there| there.nonce == document.nonce)
            });
            match found {
                Some((_, new)) if ours => *tag = new,
                _ => return Err(taken_over(&self.name, &self.lost)),
            }
        }
        Err(taken_over(&self.name, &self.lost))
    }
}
