//! A topic's folder, on this machine or in S3: what lies in it, and what a file holds.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path as Key;
use sha2::{Digest as _, Sha256};
use worldstream_crds::Reason;

use super::Place;
use crate::checkpoint::disk;
use crate::failure::{Failure, Result};
use crate::plan::ready::{BusPlan, FileBusPlan};
use crate::store::{Expect, Store, s3};
use crate::time::EventTime;

/// The folder of a topic.
#[derive(Debug, Clone)]
pub(super) enum Folder {
    /// Of this machine.
    Local(PathBuf),
    /// In S3.
    Bucket {
        /// The bucket.
        store: Store,
        /// The prefix.
        prefix: Key,
        /// What the prefix is called: `s3://bucket/prefix`.
        name: String,
    },
}

/// Tells one state of a file from the next without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Which file it is: one that is put in another's place, whatever it holds, is another one.
    pub identity: String,
    /// Changes with what it holds; of an object, with nothing else.
    pub content: String,
}

/// A file that may be a message.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// Its state.
    pub version: Version,
    /// Its length.
    pub bytes: u64,
    /// When it changed last.
    pub modified: EventTime,
}

/// What came of reading a file.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it, and the state that it was read in.
    Bytes(Bytes, Version),
    /// It has more bytes than it may.
    TooLarge(u64, Version),
    /// It changed while it was read.
    Changing,
    /// It is gone.
    Gone,
}

impl Folder {
    /// The folder of a bus's topic; nothing is asked yet.
    pub fn open(plan: &BusPlan, file: &FileBusPlan) -> Result<Folder> {
        let root = file.root.as_str();
        if !root.starts_with(s3::SCHEME) {
            return Ok(Folder::Local(Path::new(root).join(&plan.topic)));
        }
        let found = s3::locate(root).ok_or_else(|| {
            Failure::new(Reason::StreamFailed, root)
                .field("bus.file.root")
                .expected("s3://, the name of a bucket, and a prefix")
        })?;
        Ok(Folder::Bucket {
            store: s3::open(&file.s3, &found.bucket)?,
            prefix: s3::below(found.prefix, &plan.topic),
            name: format!("{}/{}", root.trim_end_matches('/'), plan.topic),
        })
    }

    /// Whether it is known not to be there. A prefix of S3 is always there.
    pub fn missing(&self) -> bool {
        match self {
            Folder::Local(folder) => matches!(folder.try_exists(), Ok(false)),
            Folder::Bucket { .. } => false,
        }
    }

    /// What a file is called in messages; the folder, for no name.
    pub fn name(&self, file: &str) -> String {
        match self {
            Folder::Local(folder) if file.is_empty() => folder.display().to_string(),
            Folder::Local(folder) => folder.join(file).display().to_string(),
            Folder::Bucket { name, .. } if file.is_empty() => name.clone(),
            Folder::Bucket { name, .. } => format!("{name}/{file}"),
        }
    }

    /// The files that may be messages, the oldest first. A folder that is not there is empty.
    pub async fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = match self {
            Folder::Local(folder) => {
                let path = folder.clone();
                let listed = blocking(move || list(&path)).await?;
                listed.map_err(|error| disk::cannot("list", folder, &error))?
            }
            Folder::Bucket { store, prefix, .. } => {
                let listed = store.folder(prefix).await.map_err(|error| {
                    error.explain(Failure::new(Reason::StreamFailed, self.name("")))
                })?;
                listed.objects.iter().filter_map(object).collect()
            }
        };
        entries.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        Ok(entries)
    }

    /// What a file holds, if that is no more than `limit` bytes.
    pub async fn read(&self, entry: &Entry, limit: u64) -> Result<Content> {
        if entry.bytes > limit {
            return Ok(Content::TooLarge(entry.bytes, entry.version.clone()));
        }
        match self {
            Folder::Local(folder) => {
                let path = folder.join(&entry.name);
                let at = path.clone();
                let content = blocking(move || read(&at, limit)).await?;
                content.map_err(|error| disk::cannot("read", &path, &error))
            }
            Folder::Bucket { store, prefix, .. } => {
                let at = s3::below(prefix.clone(), &entry.name);
                let got = store.get(&at).await.map_err(|error| {
                    error.explain(Failure::new(Reason::StreamFailed, self.name(&entry.name)))
                })?;
                Ok(match got {
                    None => Content::Gone,
                    Some((bytes, _)) if bytes.len() as u64 > limit => Content::Changing,
                    Some((bytes, _)) => Content::Bytes(bytes, entry.version.clone()),
                })
            }
        }
    }
}

/// Publishes a message under a name of its own: when it was published, and what it holds.
pub(super) async fn publish(plan: &BusPlan, file: &FileBusPlan, bytes: Bytes) -> Result<Place> {
    let now = EventTime::wall_now().to_string().replace(['-', ':'], "");
    let digest = const_hex::encode(Sha256::digest(&bytes));
    let name = format!("{now}-{}.json", digest.get(..16).unwrap_or(&digest));
    let folder = Folder::open(plan, file)?;
    match &folder {
        Folder::Local(path) => {
            let path = path.join(&name);
            let at = path.clone();
            blocking(move || disk::replace(&at, &bytes))
                .await?
                .map_err(|error| disk::cannot("write", &path, &error))?;
        }
        Folder::Bucket { store, prefix, .. } => {
            let at = s3::below(prefix.clone(), &name);
            let put = store.put(&at, bytes, Expect::Anything).await;
            put.map_err(|error| {
                error.explain(Failure::new(Reason::StreamFailed, folder.name(&name)))
            })?;
        }
    }
    Ok(Place {
        source: folder.name(&name).into(),
        at: digest.get(..16).unwrap_or_default().into(),
    })
}

/// Whether a name may be that of a message: not those that files have while they are written.
fn is_message(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}

fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !is_message(&name) {
            continue;
        }
        let metadata = match fs::metadata(entry.path()) {
            // A folder, or a pipe, on which we would wait for ever.
            Ok(metadata) if !metadata.is_file() => continue,
            Ok(metadata) => metadata,
            // Moved away since, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Reading it says what is wrong with it, and with it alone.
            Err(_) => match fs::symlink_metadata(entry.path()) {
                Ok(metadata) => metadata,
                Err(_) => continue,
            },
        };
        entries.push(Entry {
            name,
            version: version(&metadata),
            bytes: metadata.len(),
            modified: modified(&metadata),
        });
    }
    Ok(entries)
}

fn read(path: &Path, limit: u64) -> io::Result<Content> {
    // Without waiting, should a pipe have taken its place.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Gone),
        opened => opened?,
    };
    let before = file.metadata()?;
    if !before.is_file() {
        return Ok(Content::Gone);
    }
    if before.len() > limit {
        return Ok(Content::TooLarge(before.len(), version(&before)));
    }
    let mut bytes = Vec::new();
    (&mut file).take(limit + 1).read_to_end(&mut bytes)?;
    let after = version(&file.metadata()?);
    if after != version(&before) || bytes.len() as u64 != before.len() {
        return Ok(Content::Changing);
    }
    Ok(Content::Bytes(bytes.into(), after))
}

fn version(metadata: &Metadata) -> Version {
    Version {
        identity: format!("{:x}:{:x}", metadata.dev(), metadata.ino()),
        content: format!(
            "{:x}:{:x}.{:x}",
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ),
    }
}

fn modified(metadata: &Metadata) -> EventTime {
    let micros = metadata.mtime().saturating_mul(1_000_000) + metadata.mtime_nsec() / 1000;
    EventTime::from_micros(micros).unwrap_or_default()
}

fn object(meta: &ObjectMeta) -> Option<Entry> {
    let name = meta.location.filename()?;
    let put = meta.last_modified.timestamp_micros();
    is_message(name).then(|| Entry {
        name: name.to_owned(),
        version: Version {
            identity: put.to_string(),
            content: match &meta.e_tag {
                Some(tag) => tag.clone(),
                None => meta.size.to_string(),
            },
        },
        bytes: meta.size,
        modified: EventTime::from_micros(put).unwrap_or_default(),
    })
}

/// Off the stores' thread: a disk may be slow.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Reason::StreamFailed, "the control bus").cause(&error))
}
