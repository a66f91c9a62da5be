//! A world that lies in a folder, written to S3, whole or not at all: the receipts of its views come
//! behind their parts, and its seal comes last.

use std::fs;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::WorldPlan;
use crate::store::s3::{self, Location};
use crate::store::{Expect, Store};
use crate::view::VIEW_RECEIPT;
use crate::world::pack::{SEAL_FLAG, SEAL_JSON};
use crate::world::root::{self, Place};

/// What says which world it is.
const RECEIPT: &str = "run_receipt.json";
/// Objects that are sent at the same time.
const AT_ONCE: usize = 8;
/// Files up to this size are sent in one request.
const ONE_REQUEST: u64 = 8 << 20;

/// What an upload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// Where the world is now.
    pub run_root: String,
    /// Files of the world.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Nothing was sent: this very world was there, sealed.
    pub already_there: bool,
    /// Buckets that were made.
    pub made_buckets: Vec<String>,
}

/// Writes the world in `folder` to the run root that the plan names, after making those of the
/// buckets that are not there. A seal is written when everything else is there; a world that is
/// there already, sealed alike, is left as it is.
///
/// # Errors
/// `ENGINE_ROOT_MISSING` and `ROOT_NOT_ALLOWED` for the root, `STREAM_FAILED` for one that is not
/// in S3, a folder that cannot be read and a store that does not take it, `RUN_RECEIPT_UNREADABLE`
/// for a folder without a world, `SEAL_MISMATCH` and `WORLD_KEY_MISMATCH` where another world is.
pub async fn upload(folder: &Path, plan: &WorldPlan, buckets: &[String]) -> Result<Uploaded> {
    let root = root::resolve(plan)?;
    let (Place::Remote(uri), text) = (&root.place, &root.text) else {
        return Err(not_remote(&root.text));
    };
    let at = s3::locate(uri).ok_or_else(|| not_remote(text))?;
    let files = files(folder)?;
    let receipt = read(&folder.join(RECEIPT)).map_err(|failure| {
        Failure::new(Reason::RunReceiptUnreadable, folder.display().to_string())
            .detail(failure.message())
    })?;
    let mut made_buckets = Vec::new();
    for bucket in buckets {
        if !made_buckets.contains(bucket) && s3::make_bucket(&plan.s3, bucket).await? {
            made_buckets.push(bucket.clone());
        }
    }
    let to = Destination {
        store: s3::open(&plan.s3, &at.bucket)?,
        at,
        root: text.clone(),
    };
    let (seals, rest): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|(name, _)| name == SEAL_JSON || name == SEAL_FLAG);
    // Without its receipt a view is none: whoever reads before the end reads no half of one.
    let (receipts, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|(name, _)| name.rsplit('/').next() == Some(VIEW_RECEIPT));
    let mut uploaded = Uploaded {
        run_root: text.clone(),
        objects: (seals.len() + receipts.len() + rest.len()) as u64,
        bytes: [&seals, &receipts, &rest]
            .into_iter()
            .flatten()
            .map(|(_, size)| size)
            .sum(),
        already_there: !seals.is_empty(),
        made_buckets,
    };
    to.same_or_nothing(RECEIPT, &receipt, Reason::WorldKeyMismatch)
        .await?;
    for (name, _) in &seals {
        let seal = read(&folder.join(name))?;
        let same = to.same_or_nothing(name, &seal, Reason::SealMismatch);
        uploaded.already_there &= same.await?;
    }
    if uploaded.already_there {
        return Ok(uploaded);
    }
    for group in [&rest, &receipts, &seals] {
        futures::stream::iter(group)
            .map(|(name, size)| to.send(folder.join(name), name, *size))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    Ok(uploaded)
}

struct Destination {
    store: Store,
    at: Location,
    root: String,
}

impl Destination {
    fn path(&self, name: &str) -> object_store::path::Path {
        s3::below(self.at.prefix.clone(), name)
    }

    fn failure(&self, reason: Reason, name: &str) -> Failure {
        Failure::new(
            reason,
            format!("{}/{name}", self.root.trim_end_matches('/')),
        )
    }

    /// Whether an object is there with these bytes; another one is a failure.
    async fn same_or_nothing(&self, name: &str, bytes: &[u8], reason: Reason) -> Result<bool> {
        match self.store.get(&self.path(name)).await {
            Ok(None) => Ok(false),
            Ok(Some((found, _))) if found == bytes => Ok(true),
            Ok(Some(_)) => Err(self
                .failure(reason, name)
                .found("that of another world")
                .expected("nothing there, or the world that is uploaded")),
            Err(error) => Err(error.explain(self.failure(Reason::StreamFailed, name))),
        }
    }

    async fn send(&self, file: PathBuf, name: &str, size: u64) -> Result<()> {
        let path = self.path(name);
        let sent = if size <= ONE_REQUEST {
            let bytes = read(&file)?;
            let put = self.store.put(&path, bytes.into(), Expect::Anything);
            put.await.map(drop)
        } else {
            self.store.put_file(&path, &file, &|_| {}, None).await
        };
        sent.map_err(|error| error.explain(self.failure(Reason::StreamFailed, name)))
    }
}

fn not_remote(root: &str) -> Failure {
    Failure::new(Reason::StreamFailed, root)
        .field("run root")
        .expected("s3://, the name of a bucket, and a prefix")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

/// All files below a folder by their names with slashes, with their sizes, in order; nothing that
/// a writer left half done.
fn files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|name| {
                Failure::new(Reason::StreamFailed, folder.display().to_string())
                    .found(format!("the name {}", name.display()))
                    .expected("names in UTF-8")
            })?;
            // Hidden files are a writer's own notes.
            if name.starts_with('.') {
                continue;
            }
            let about = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
            let name = format!("{prefix}{name}");
            match about.is_dir() {
                true => folders.push((path, format!("{name}/"))),
                false => found.push((name, about.len())),
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names_below_the_folder_and_notes_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c d")).unwrap();
        fs::write(dir.path().join("b/c d/x.parquet"), "12345").unwrap();
        fs::write(dir.path().join("a.json"), "{}").unwrap();
        fs::write(dir.path().join(".notes"), "x").unwrap();
        let found = files(dir.path()).unwrap();
        let expected = [("a.json", 2), ("b/c d/x.parquet", 5)];
        assert_eq!(found, expected.map(|(name, size)| (name.to_owned(), size)));
        let nowhere = files(&dir.path().join("none")).unwrap_err();
        assert!(nowhere.message().contains("none"), "{nowhere}");
    }
}
