//! Where a world is read: an object store and a prefix in it, kept apart from what the world is
//! called.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::store::{Result, Store, s3};
use crate::view::Footers;

/// A world's place. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorldStore {
    store: Store,
    base: Path,
    root: Arc<str>,
    /// Bytes that may be read ahead for each output, where the store is remote.
    read_ahead: u64,
    footers: Footers,
}

impl WorldStore {
    /// A world called `root` (the resolved root's text) that is read below `base` of a store of
    /// this machine.
    pub fn new(store: Arc<dyn ObjectStore>, base: Path, root: &str) -> Self {
        Self::of(Store::local(store), base, root, 0)
    }

    /// The same in any store.
    pub fn of(store: Store, base: Path, root: &str, read_ahead: u64) -> Self {
        WorldStore {
            store,
            base,
            root: root.into(),
            read_ahead,
            footers: Footers::default(),
        }
    }

    /// Bytes that may be read ahead for each output, where the store is remote.
    pub fn read_ahead(&self) -> u64 {
        self.read_ahead
    }

    /// Footers that were read already.
    pub(crate) fn footers(&self) -> &Footers {
        &self.footers
    }

    /// The resolved root's text, which ids are made from.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The store that the world is read from.
    pub fn store(&self) -> &Store {
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
        s3::below(self.base.clone(), relative)
    }

    /// The bytes of a small object (a receipt, a flag); none if there is no such object.
    pub async fn read(&self, relative: &str) -> Result<Option<Bytes>> {
        let found = self.store.get(&self.location(relative)).await?;
        Ok(found.map(|(bytes, _)| bytes))
    }

    /// Whether there is such an object.
    pub async fn exists(&self, relative: &str) -> Result<bool> {
        let found = self.store.head(&self.location(relative)).await?;
        Ok(found.is_some())
    }

    /// The bytes of an object that may be large, as they come; none if there is no such object.
    pub async fn stream(
        &self,
        relative: &str,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        self.store.stream(&self.location(relative)).await
    }

    /// Whether there is any object below a folder.
    pub async fn any(&self, folder: &str) -> Result<bool> {
        self.store.any(&self.location(folder)).await
    }

    /// The names of the folders directly in a folder, in the order of the names as text.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.store.folder(&self.location(folder)).await?;
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
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, ObjectMeta)>> {
        let listed = self.store.folder(&self.location(folder)).await?;
        Ok(named(listed.objects.into_iter().map(|meta| {
            (
                meta.location.filename().unwrap_or_default().to_owned(),
                meta,
            )
        })))
    }

    /// All objects below a folder, with their paths relative to it, in the order of the paths as
    /// text.
    pub async fn walk(&self, folder: &str) -> Result<Vec<(String, ObjectMeta)>> {
        let prefix = self.location(folder);
        let listed = self.store.walk(&prefix).await?;
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
