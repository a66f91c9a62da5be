//! Object stores: this machine's files, and S3. One set of rules for trying again, and one kind of
//! error; what is read and written is the caller's to know.

mod container;
mod credentials;
mod error;
mod http;
pub mod s3;
pub(crate) mod service;
mod shared;
mod upload;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutOptions, UpdateVersion,
};
use tokio::runtime::Handle;
use tracing::warn;

pub(crate) use credentials::is_passing;
pub(crate) use error::is_distrust;
pub use error::{StoreError, Tries, Trouble};
pub(crate) use http::io;

/// The first pause between two attempts, doubled up to [`LONGEST_PAUSE`], each with a random part
/// of up to the same length.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After how long an outage is worth a word.
const AWAY: Duration = Duration::from_secs(3);
/// Bytes of a large remote object that are asked for at a time.
const STREAMED: u64 = 4 << 20;

/// What a request to a store gives.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// None: this machine's own, which is never tried twice.
    remote: Option<Remote>,
}

/// What is different where a network lies between.
#[derive(Debug, Clone)]
struct Remote {
    io: Handle,
    bounds: Bounds,
    /// What it is called in messages.
    place: Arc<str>,
    /// Who we say that we are, in messages.
    credentials: Arc<str>,
    /// An outage was told of.
    away: Arc<AtomicBool>,
}

/// How hard a request is tried.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    attempts: u32,
    within: Duration,
}

/// Bytes of a part of an object.
#[derive(Debug)]
pub struct Ranged {
    /// The bytes.
    pub bytes: Bytes,
    /// The object that they are of.
    pub meta: ObjectMeta,
    /// They came from a file of this machine.
    pub local: bool,
}

/// What must be there when an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// Whatever is there is replaced.
    Anything,
    /// There must be no such object.
    Nothing,
    /// The object with this tag.
    Tag(&'a str),
}

impl Store {
    /// A store of this machine (or of a test): nothing is tried again.
    pub fn local(objects: Arc<dyn ObjectStore>) -> Store {
        Store {
            objects,
            remote: None,
        }
    }

    /// Where requests may be sent ahead of their time; none for files of this machine, which need
    /// no reading ahead.
    pub fn io(&self) -> Option<&Handle> {
        self.remote.as_ref().map(|remote| &remote.io)
    }

    /// The bytes of a small object, with its tag; none if there is no such object.
    pub async fn get(&self, at: &Path) -> Result<Option<(Bytes, Option<String>)>> {
        let found = self.tried(|| async {
            let found = self.objects.get(at).await?;
            let tag = found.meta.e_tag.clone();
            Ok((found.bytes().await?, tag))
        });
        if_there(found.await)
    }

    /// What is known of an object; none if there is no such object.
    pub async fn head(&self, at: &Path) -> Result<Option<ObjectMeta>> {
        if_there(self.tried(|| self.objects.head(at)).await)
    }

    /// A part of an object, which must have this tag if one is given: else it is
    /// [`Trouble::Changed`].
    pub async fn range(&self, at: &Path, range: Range<u64>, tag: Option<&str>) -> Result<Ranged> {
        self.tried(|| async {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                if_match: tag.map(str::to_owned),
                ..GetOptions::default()
            };
            let found = self.objects.get_opts(at, options).await?;
            let meta = found.meta.clone();
            let local = matches!(found.payload, GetResultPayload::File(..));
            let bytes = found.bytes().await?;
            Ok(Ranged { bytes, meta, local })
        })
        .await
    }

    /// The bytes of an object that may be large, as they come; none if there is no such object.
    /// Of a remote one so many at a time, so that a connection that breaks costs little.
    pub async fn stream(&self, at: &Path) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        if self.remote.is_none() {
            let found = if_there(self.tried(|| self.objects.get(at)).await)?;
            return Ok(found.map(|found| {
                let bytes = found.into_stream();
                Box::pin(bytes.map_err(|error| StoreError::local(&error))) as BoxStream<_>
            }));
        }
        let Some(meta) = self.head(at).await? else {
            return Ok(None);
        };
        let store = self.clone();
        Ok(Some(Box::pin(futures::stream::try_unfold(
            0,
            move |start| {
                let (store, meta) = (store.clone(), meta.clone());
                async move {
                    if start >= meta.size {
                        return Ok(None);
                    }
                    let end = (start + STREAMED).min(meta.size);
                    let tag = meta.e_tag.as_deref();
                    let found = store.range(&meta.location, start..end, tag).await?;
                    Ok(Some((found.bytes, end)))
                }
            },
        ))))
    }

    /// Whether there is any object below a folder.
    pub async fn any(&self, folder: &Path) -> Result<bool> {
        self.tried(|| async {
            let mut listed = self.objects.list(Some(folder));
            Ok(listed.try_next().await?.is_some())
        })
        .await
    }

    /// The objects and folders directly in a folder.
    pub async fn folder(&self, folder: &Path) -> Result<ListResult> {
        self.tried(|| self.objects.list_with_delimiter(Some(folder)))
            .await
    }

    /// All objects below a folder.
    pub async fn walk(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        self.tried(|| self.objects.list(Some(folder)).try_collect())
            .await
    }

    /// Writes an object, and gives its tag if the store has such. [`Trouble::Changed`] if what is
    /// there is not as expected; also where our own first attempt was taken and its answer lost,
    /// which the caller can only tell by the bytes.
    pub async fn put(&self, at: &Path, bytes: Bytes, expect: Expect<'_>) -> Result<Option<String>> {
        let mode = match expect {
            Expect::Anything => PutMode::Overwrite,
            Expect::Nothing => PutMode::Create,
            Expect::Tag(tag) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.to_owned()),
                version: None,
            }),
        };
        let put = self.tried(|| {
            let options = PutOptions::from(mode.clone());
            self.objects.put_opts(at, bytes.clone().into(), options)
        });
        Ok(put.await?.e_tag)
    }

    /// Tries until it works, it cannot work, or a bound is reached.
    async fn tried<T, F>(&self, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let Some(remote) = &self.remote else {
            return attempt().await.map_err(|error| StoreError::local(&error));
        };
        let Bounds {
            attempts: of,
            within,
        } = remote.bounds;
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match attempt().await {
                Ok(found) => {
                    if remote.away.swap(false, Ordering::Relaxed) {
                        warn!(store = &*remote.place, "the store is back");
                    }
                    return Ok(found);
                }
                Err(error) => error,
            };
            let error = StoreError::remote(&error, &remote.place, &remote.credentials);
            let pause = pause(attempts);
            let took = began.elapsed();
            if !error.is_away() || attempts >= of || took + pause > within {
                return Err(error.tried(Tries {
                    attempts,
                    of,
                    took,
                    within,
                }));
            }
            if took + pause >= AWAY && !remote.away.swap(true, Ordering::Relaxed) {
                warn!(%error, attempts, "the store does not answer, trying on");
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// An object that is not there is an outcome.
fn if_there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.trouble() == Trouble::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

/// The pause after so many attempts.
fn pause(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let base = doubled.min(LONGEST_PAUSE);
    base + base.mul_f64(crate::gate::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        for (attempts, least) in [(1, 100), (2, 200), (3, 400), (6, 2_000), (60, 2_000)] {
            let least = Duration::from_millis(least);
            for _ in 0..100 {
                let pause = pause(attempts);
                assert!(
                    (least..=least * 2).contains(&pause),
                    "{attempts}: {pause:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn files_are_written_only_over_what_is_expected() {
        let store = Store::local(Arc::new(object_store::memory::InMemory::new()));
        let at = Path::from("a/b");
        assert!(store.get(&at).await.unwrap().is_none());
        let first = store.put(&at, "1".into(), Expect::Nothing).await.unwrap();
        let taken = store.put(&at, "2".into(), Expect::Nothing).await;
        assert_eq!(taken.unwrap_err().trouble(), Trouble::Changed);
        let first = first.unwrap();
        let second = store.put(&at, "2".into(), Expect::Tag(&first)).await;
        assert!(second.is_ok());
        let stale = store.put(&at, "3".into(), Expect::Tag(&first)).await;
        assert_eq!(stale.unwrap_err().trouble(), Trouble::Changed);
        assert_eq!(store.get(&at).await.unwrap().unwrap().0, "2");
    }
}
