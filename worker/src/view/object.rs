//! One part as an object in a store: ranged reads that notice when it is no longer the object
//! that the plan saw.

use std::ops::Range;

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::store::{Store, StoreError, Trouble};

/// A part where it is read, and what identifies it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub store: Store,
    /// What it is called in messages: the part's full path below the resolved root.
    pub name: String,
    pub location: Path,
    pub size: u64,
    pub etag: Option<String>,
}

/// Bytes of an object, and whether they came from a file of this machine.
pub(super) struct Fetched {
    pub bytes: Bytes,
    pub local: bool,
}

impl Object {
    /// The bytes of `range`, which lies within the object, or why not: `STREAM_VIEW_CHANGED` if
    /// the object is gone or another one, `STREAM_FAILED` if it cannot be read.
    pub async fn range(&self, range: Range<u64>) -> Result<Fetched> {
        match self.try_range(range.clone()).await {
            Ok(fetched) => Ok(fetched),
            Err(Fault::Changed(failure)) => Err(failure),
            // It was tried for long enough.
            Err(Fault::Store(error)) if error.is_away() && self.store.io().is_some() => {
                Err(self.unreadable(&range, &error))
            }
            // A file that is cut between opening and reading fails like a broken disk: only
            // looking again tells them apart.
            Err(Fault::Store(error)) => match self.store.head(&self.location).await {
                Ok(None) => Err(self.gone()),
                Ok(Some(meta)) => match self.same(&meta) {
                    Ok(()) => Err(self.unreadable(&range, &error)),
                    Err(failure) => Err(failure),
                },
                Err(_) => Err(self.unreadable(&range, &error)),
            },
        }
    }

    async fn try_range(&self, range: Range<u64>) -> std::result::Result<Fetched, Fault> {
        let expected = range.end.saturating_sub(range.start);
        let tag = self.etag.as_deref();
        let found = match self.store.range(&self.location, range, tag).await {
            Ok(found) => found,
            Err(error) => {
                return Err(match error.trouble() {
                    Trouble::Missing => Fault::Changed(self.gone()),
                    Trouble::Changed => Fault::Changed(self.changed("another object")),
                    _ => Fault::Store(error),
                });
            }
        };
        self.same(&found.meta).map_err(Fault::Changed)?;
        let (bytes, local) = (found.bytes, found.local);
        if bytes.len() as u64 != expected {
            return Err(Fault::Changed(
                self.changed(&format!("{} of {expected} bytes", bytes.len())),
            ));
        }
        Ok(Fetched { bytes, local })
    }

    /// Not every store heeds `If-Match`, and not every store has tags.
    fn same(&self, meta: &ObjectMeta) -> Result<()> {
        if meta.size != self.size {
            return Err(self.changed(&format!("{} bytes", meta.size)));
        }
        match (&self.etag, &meta.e_tag) {
            (Some(planned), Some(now)) if planned != now => Err(self.changed("another object")),
            _ => Ok(()),
        }
    }

    /// The part is not what the plan saw.
    pub fn changed(&self, found: &str) -> Failure {
        Failure::new(Reason::StreamViewChanged, &self.name)
            .found(found)
            .expected(format!("the part of {} bytes that the plan saw", self.size))
    }

    fn gone(&self) -> Failure {
        self.changed("no such file any more")
    }

    fn unreadable(&self, range: &Range<u64>, error: &StoreError) -> Failure {
        let failure = Failure::new(Reason::StreamFailed, &self.name)
            .field(format!("bytes {} to {}", range.start, range.end));
        error.explain(failure)
    }
}

enum Fault {
    Changed(Failure),
    Store(StoreError),
}
