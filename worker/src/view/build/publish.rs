//! Puts a finished view into its place, so that nobody ever reads half of it: a folder that is
//! renamed, or in an object store the parts first and the receipt, without which a view is none,
//! last.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use worldstream_crds::Reason;

use super::super::check::{MANIFEST, RECEIPT};
use super::Target;
use super::layout::CREATED_BY;
use super::notes::view_folder;
use super::progress::Progress;
use crate::failure::{Failure, Result};
use crate::store::{Expect, StoreError, Trouble};

/// Lies beside parts that are being sent to an object store: they are ours, and may be sent anew.
pub(super) const MARKER: &str = "_worldstream_build.json";

/// A view that lies finished in a folder of this machine.
pub(super) struct Finished<'a> {
    pub folder: &'a Path,
    pub parts: &'a [String],
    /// What parts grow to. Builds of one view that agree on it make the same bytes.
    pub part_bytes: u64,
    pub manifest: &'a Value,
    pub receipt: &'a Value,
}

/// Renames the folder into its place below a local root. The view is on disk when this returns.
pub(super) fn local(root: &Path, output_id: &str, view: &Finished<'_>) -> Result<()> {
    write_json(&view.folder.join(MANIFEST), view.manifest)?;
    write_json(&view.folder.join(RECEIPT), view.receipt)?;
    sync_folder(view.folder)?;
    let place = root.join(view_folder(output_id));
    // An empty folder is replaced; one that is not stops the renaming.
    fs::rename(view.folder, &place).map_err(|error| {
        failure(&place)
            .expected("no folder, or an empty one, to put the view into")
            .cause(&error)
    })?;
    match place.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(text(value).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| failure(path).cause(&error))
}

/// A document as it is written.
fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|it| it.sync_all());
    synced.map_err(|error| failure(folder).cause(&error))
}

fn failure(path: &Path) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).field("the finished view")
}

/// Sends the view to the store that the world is read from; false if another build's is there by
/// now.
///
/// Two builds may send at once. Those of one `part_bytes` make the same bytes, and do no harm. Of
/// others the one that began to send last goes on: the marker is its, and the other one, which looks
/// at it before each object, stops.
pub(super) async fn remote(
    target: &Target<'_>,
    output_id: &str,
    view: &Finished<'_>,
    progress: &Progress,
) -> Result<bool> {
    let sending = Sending {
        target,
        folder: view_folder(output_id),
        marker: json!({
            "created_by": CREATED_BY,
            "part_bytes": view.part_bytes,
            "parts": view.parts,
        }),
        receipt: view.receipt,
    };
    if sending.is_published().await? {
        return Ok(false);
    }
    sending
        .put(MARKER, &sending.marker, Expect::Anything)
        .await?;
    // Who finished meanwhile did not see the marker.
    if sending.is_published().await? {
        return sending.delete(MARKER).await.map(|()| false);
    }
    for part in view.parts {
        if !sending
            .send(part, &view.folder.join(part), progress)
            .await?
        {
            return Ok(false);
        }
    }
    if !sending.is_ours().await? {
        return Ok(false);
    }
    sending.only_ours(view).await?;
    sending
        .put(MANIFEST, view.manifest, Expect::Anything)
        .await?;
    if !sending.is_ours().await? {
        return Ok(false);
    }
    sending.put_receipt().await?;
    sending.delete(MARKER).await?;
    Ok(true)
}

/// A view on its way into an object store.
struct Sending<'a> {
    target: &'a Target<'a>,
    folder: String,
    /// What [`MARKER`] says while this build, or one that makes the same bytes, is sending.
    marker: Value,
    receipt: &'a Value,
}

impl Sending<'_> {
    fn relative(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    async fn get(&self, name: &str) -> Result<Option<Value>> {
        let relative = self.relative(name);
        let found = self.target.store.read(&relative).await;
        let found = found.map_err(|error| unsent(self.target, &relative, &error))?;
        Ok(found.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn put(&self, name: &str, value: &Value, expect: Expect<'_>) -> Result<()> {
        let bytes = text(value).into_bytes();
        let relative = self.relative(name);
        let place = self.target.store.location(&relative);
        let store = self.target.store.store();
        let sent = store.put(&place, bytes.into(), expect).await;
        sent.map(drop)
            .map_err(|error| unsent(self.target, &relative, &error))
    }

    /// Sends a part, as long as the marker is ours; else as [`Sending::is_ours`].
    async fn send(&self, part: &str, file: &Path, progress: &Progress) -> Result<bool> {
        let relative = self.relative(part);
        let location = |name: &str| self.target.store.location(&self.relative(name));
        let (place, marker) = (location(part), location(MARKER));
        let says = text(&self.marker);
        let count = |bytes| progress.bytes(bytes);
        let store = self.target.store.store();
        let sent = store.put_file(&place, file, &count, Some((&marker, says.as_bytes())));
        match sent.await {
            Ok(()) => Ok(true),
            Err(error) if error.trouble() == Trouble::Changed && !self.is_ours().await? => {
                Ok(false)
            }
            Err(error) => Err(unsent(self.target, &relative, &error)),
        }
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let relative = self.relative(name);
        let place = self.target.store.location(&relative);
        let gone = self.target.store.store().delete(&place).await;
        gone.map_err(|error| unsent(self.target, &relative, &error))
    }

    /// Whether a view of the same raw rows is there, which another build has sent.
    ///
    /// # Errors
    /// `STREAM_RECEIPT_MISMATCH` where it is another view.
    async fn is_published(&self) -> Result<bool> {
        let Some(found) = self.get(RECEIPT).await? else {
            return Ok(false);
        };
        if says_the_same(found, self.receipt.clone()) {
            return Ok(true);
        }
        let name = self.target.store.name(&self.relative(RECEIPT));
        Err(Failure::new(Reason::StreamReceiptMismatch, name)
            .found("that of another build, of other raw rows")
            .expected("none, or one that says the same"))
    }

    /// Whether this build's parts are still those that are being sent; not so where another build's
    /// view is there by now.
    ///
    /// # Errors
    /// `STREAM_VIEW_PARTIAL_EXISTS` where another build, of parts of another size, is sending.
    async fn is_ours(&self) -> Result<bool> {
        let found = self.get(MARKER).await?;
        if found.as_ref() == Some(&self.marker) {
            return Ok(true);
        }
        if self.is_published().await? {
            return Ok(false);
        }
        let size = |marker: &Value| format!("a build with parts of {} bytes", marker["part_bytes"]);
        let name = self.target.store.name(&self.relative(MARKER));
        Err(Failure::new(Reason::StreamViewPartialExists, name)
            .found(found.map_or("nothing".to_owned(), |it| size(&it)))
            .expected(format!("{}, which this is", size(&self.marker)))
            .detail("another build of this view took over, or was cleared away"))
    }

    /// Takes away what an earlier attempt left there, and sees that all parts are as they were sent.
    async fn only_ours(&self, view: &Finished<'_>) -> Result<()> {
        let listed = self.target.store.list(&self.folder).await;
        let listed = listed.map_err(|error| unsent(self.target, &self.folder, &error))?;
        for (name, _) in &listed {
            if name.ends_with(".parquet") && !view.parts.contains(name) {
                self.delete(name).await?;
            }
        }
        for part in view.parts {
            let sent = fs::metadata(view.folder.join(part));
            let sent = sent.map_err(|error| failure(&view.folder.join(part)).cause(&error))?;
            let there = listed.iter().find(|(name, _)| name == part);
            let there = there.map(|(_, meta)| meta.size);
            if there != Some(sent.len()) {
                let name = self.target.store.name(&self.relative(part));
                return Err(Failure::new(Reason::StreamViewPartialExists, name)
                    .found(there.map_or("nothing".to_owned(), |size| format!("{size} bytes")))
                    .expected(format!("the {} bytes that were sent", sent.len()))
                    .detail("another build of this view is sending parts of another size"));
            }
        }
        Ok(())
    }

    /// Writes the receipt where there is none. One that says the same is as good: our own, whose
    /// answer was lost, or that of another build, which made the same bytes.
    async fn put_receipt(&self) -> Result<()> {
        let bytes = text(self.receipt).into_bytes();
        let relative = self.relative(RECEIPT);
        let place = self.target.store.location(&relative);
        let store = self.target.store.store();
        let sent = store.put(&place, bytes.into(), Expect::Nothing).await;
        let Err(error) = sent else { return Ok(()) };
        if error.trouble() == Trouble::Changed && self.is_published().await? {
            return Ok(());
        }
        Err(unsent(self.target, &relative, &error))
    }
}

/// Whether two receipts differ in nothing but when they were written.
fn says_the_same(mut found: Value, mut receipt: Value) -> bool {
    for it in [&mut found, &mut receipt] {
        let fields = it.as_object_mut();
        fields.map(|fields| fields.remove("created_utc"));
    }
    found == receipt
}

fn unsent(target: &Target<'_>, relative: &str, error: &StoreError) -> Failure {
    error.explain(Failure::new(
        Reason::StreamFailed,
        target.store.name(relative),
    ))
}
