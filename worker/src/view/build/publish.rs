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
        file.write_all(format!("{value:#}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| failure(path).cause(&error))
}

fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|it| it.sync_all());
    synced.map_err(|error| failure(folder).cause(&error))
}

fn failure(path: &Path) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).field("the finished view")
}

/// Sends the view to the store that the world is read from.
pub(super) async fn remote(
    target: &Target<'_>,
    output_id: &str,
    view: &Finished<'_>,
    progress: &Progress,
) -> Result<()> {
    let folder = view_folder(output_id);
    let put = async |name: &str, value: &Value, expect: Expect<'_>| {
        let bytes = format!("{value:#}\n").into_bytes();
        let relative = format!("{folder}/{name}");
        let place = target.store.location(&relative);
        let sent = target.store.store().put(&place, bytes.into(), expect).await;
        sent.map(drop)
            .map_err(|error| unsent(target, &relative, &error))
    };
    let marker = json!({ "parts": view.parts });
    put(MARKER, &marker, Expect::Anything).await?;
    for part in view.parts {
        let relative = format!("{folder}/{part}");
        send(target, &relative, &view.folder.join(part), progress).await?;
    }
    // What an earlier attempt left there is not of this view.
    let listed = target.store.list(&folder).await;
    let listed = listed.map_err(|error| unsent(target, &folder, &error))?;
    for (name, meta) in listed {
        if name.ends_with(".parquet") && !view.parts.contains(&name) {
            let gone = target.store.store().delete(&meta.location).await;
            gone.map_err(|error| unsent(target, &format!("{folder}/{name}"), &error))?;
        }
    }
    put(MANIFEST, view.manifest, Expect::Anything).await?;
    put_receipt(target, &format!("{folder}/{RECEIPT}"), view.receipt).await?;
    let marker = format!("{folder}/{MARKER}");
    let gone = target
        .store
        .store()
        .delete(&target.store.location(&marker))
        .await;
    gone.map_err(|error| unsent(target, &marker, &error))
}

/// Writes the receipt where there is none. One that says the same is as good: our own, whose answer
/// was lost, or that of another build, which made the same bytes.
async fn put_receipt(target: &Target<'_>, relative: &str, receipt: &Value) -> Result<()> {
    let bytes = format!("{receipt:#}\n").into_bytes();
    let place = target.store.location(relative);
    let store = target.store.store();
    let sent = store.put(&place, bytes.into(), Expect::Nothing).await;
    let Err(error) = sent else { return Ok(()) };
    if error.trouble() == Trouble::Changed {
        let found = store.get(&place).await;
        let found = found.map_err(|error| unsent(target, relative, &error))?;
        let found = found.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok());
        if found.is_some_and(|found| says_the_same(found, receipt.clone())) {
            return Ok(());
        }
    }
    Err(unsent(target, relative, &error))
}

/// Whether two receipts differ in nothing but when they were written.
fn says_the_same(mut found: Value, mut receipt: Value) -> bool {
    for it in [&mut found, &mut receipt] {
        let fields = it.as_object_mut();
        fields.map(|fields| fields.remove("created_utc"));
    }
    found == receipt
}

async fn send(target: &Target<'_>, relative: &str, path: &Path, progress: &Progress) -> Result<()> {
    let place = target.store.location(relative);
    let sent = target
        .store
        .store()
        .put_file(&place, path, &|bytes| progress.bytes(bytes))
        .await;
    sent.map_err(|error| unsent(target, relative, &error))
}

fn unsent(target: &Target<'_>, relative: &str, error: &StoreError) -> Failure {
    error.explain(Failure::new(
        Reason::StreamFailed,
        target.store.name(relative),
    ))
}
