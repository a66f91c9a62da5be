//! Where a world is read: an object store and a prefix in it, kept apart from what the world is
//! called.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::{Path, PathPart};
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};

/// A world's place. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorldStore {
    store: Arc<dyn ObjectStore>,
    base: Path,
    root: Arc<str>,
}

impl WorldStore {
    /// A world called `root` (the resolved root's text) that is read below `base` of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, base: Path, root: &str) -> Self {
        WorldStore {
            store,
            base,
            root: root.into(),
        }
    }

    /// The resolved root's text, which ids are made from.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The store that the world is read from.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// What an object is called: the resolved root, one slash, and its path in the world.
    pub fn name(&self, relative: &str) -> String {
        format!("{}/{relative}", self.root.trim_end_matches('/'))
    }

    /// Where an object is read. `relative` is a path below the run root, with single slashes.
    ///
    /// Names are taken as they are (`a#b%20` is a file of that name), but for what no object can
    /// be called (`..`, control characters), which is escaped and so names nothing outside.
    pub fn location(&self, relative: &str) -> Path {
        relative
            .split('/')
            .filter(|segment| !segment.is_empty())
            .fold(self.base.clone(), |path, segment| {
                match PathPart::parse(segment) {
                    Ok(part) => path.join(part),
                    Err(_) => path.join(segment),
                }
            })
    }

    /// The bytes of a small object (a receipt, a flag); none if there is no such object.
    pub async fn read(&self, relative: &str) -> Result<Option<Bytes>, Error> {
        match self.store.get(&self.location(relative)).await {
            Ok(found) => found.bytes().await.map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is such an object.
    pub async fn exists(&self, relative: &str) -> Result<bool, Error> {
        match self.store.head(&self.location(relative)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The bytes of an object that may be large, as they come; none if there is no such object.
    pub async fn stream(
        &self,
        relative: &str,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, Error>>>, Error> {
        match self.store.get(&self.location(relative)).await {
            Ok(found) => Ok(Some(found.into_stream())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is any object below a folder.
    pub async fn any(&self, folder: &str) -> Result<bool, Error> {
        let mut listed = self.store.list(Some(&self.location(folder)));
        Ok(listed.try_next().await?.is_some())
    }

    /// The names of the folders directly in a folder, in the order of the names as text.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let listed = self
            .store
            .list_with_delimiter(Some(&self.location(folder)))
            .await?;
        let mut names: Vec<_> = listed
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The objects directly in a folder, with their file names, in the order of the names as
    /// text.
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, ObjectMeta)>, Error> {
        let listed = self
            .store
            .list_with_delimiter(Some(&self.location(folder)))
            .await?;
        Ok(named(listed.objects.into_iter().map(|meta| {
            (
                meta.location.filename().unwrap_or_default().to_owned(),
                meta,
            )
        })))
    }

    /// All objects below a folder, with their paths relative to it, in the order of the paths as
    /// text.
    pub async fn walk(&self, folder: &str) -> Result<Vec<(String, ObjectMeta)>, Error> {
        let prefix = self.location(folder);
        let listed: Vec<ObjectMeta> = self.store.list(Some(&prefix)).try_collect().await?;
        Ok(named(listed.into_iter().filter_map(|meta| {
            let parts: Vec<_> = meta
                .location
                .prefix_match(&prefix)?
                .map(|part| part.as_ref().to_owned())
                .collect();
            Some((parts.join("/"), meta))
        })))
    }
}

fn named(objects: impl Iterator<Item = (String, ObjectMeta)>) -> Vec<(String, ObjectMeta)> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    objects
}
