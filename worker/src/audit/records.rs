//! Where a run's records are written: a folder of this machine, or a prefix in S3. Lines are only
//! ever added and facts are written once, also by several writers at a time.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use worldstream_crds::Reason;

use crate::checkpoint::disk;
use crate::checkpoint::lines::Lines;
use crate::failure::{Failure, Result};
use crate::plan::S3Plan;
use crate::store::{Expect, Store, StoreError, Trouble, s3};
use crate::time::EventTime;

/// An object in S3 that lines are added to by writing it again is at most so large; what comes
/// then goes into objects of their own beside it.
const LARGEST: usize = 1 << 20;
/// How often adding to an object is tried while others add to it, too.
const CONFLICTS: u32 = 8;
/// The pause after a conflict, with a random part of up to the same length.
const PAUSE: Duration = Duration::from_millis(20);

/// The place of a run's records. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Records {
    /// A folder of this machine; made where it is missing.
    Folder(PathBuf),
    /// A prefix in S3.
    Bucket {
        /// The bucket.
        store: Store,
        /// The prefix.
        base: Path,
        /// What the prefix is called: `s3://bucket/prefix`.
        name: String,
    },
}

/// What became of an object that is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// It is new.
    Written,
    /// It was there, with the same bytes.
    Same,
    /// It was there, with other bytes, which stay.
    Other,
}

/// Lines that were added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The object that holds them, below the run's place: the one that was asked for, or one of
    /// their own beside it.
    pub relative: String,
}

impl Records {
    /// The place that a plan's `run_dir` names; nothing is made or asked yet.
    ///
    /// # Errors
    /// `STREAM_FAILED` for an `s3://` that names no bucket, and as [`s3::open`].
    pub fn open(run_dir: &FilePath, plan: &S3Plan) -> Result<Records> {
        let text = run_dir.to_string_lossy();
        if !text.starts_with(s3::SCHEME) {
            return Ok(Records::Folder(run_dir.to_owned()));
        }
        let found = s3::locate(&text).ok_or_else(|| {
            Failure::new(Reason::StreamFailed, text.clone())
                .field("runsRoot")
                .expected("s3://, the name of a bucket, and a prefix")
        })?;
        Ok(Records::Bucket {
            store: s3::open(plan, &found.bucket)?,
            base: found.prefix,
            name: text.trim_end_matches('/').to_owned(),
        })
    }

    /// What an object is called in messages.
    pub fn name(&self, relative: &str) -> String {
        match self {
            Records::Folder(folder) => folder.join(relative).display().to_string(),
            Records::Bucket { name, .. } => format!("{name}/{relative}"),
        }
    }

    /// The bytes of a record; none if there is none.
    pub async fn read(&self, relative: &str) -> Result<Option<Bytes>> {
        match self {
            Records::Folder(folder) => match std::fs::read(folder.join(relative)) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(disk::cannot("read", &folder.join(relative), &error)),
            },
            Records::Bucket { store, base, .. } => {
                let found = store.get(&s3::below(base.clone(), relative)).await;
                let found = found.map_err(|error| self.cannot("read", relative, &error))?;
                Ok(found.map(|(bytes, _)| bytes))
            }
        }
    }

    /// The names of what lies directly in a folder (empty: where all records are), sorted; folders
    /// left out. None if there is no such folder.
    pub async fn list(&self, relative: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Records::Folder(folder) => {
                let folder = folder.join(relative);
                let cannot = |error: &std::io::Error| disk::cannot("list", &folder, error);
                let listed = match std::fs::read_dir(&folder) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
                    listed => listed.map_err(|error| cannot(&error))?,
                };
                for entry in listed {
                    let entry = entry.map_err(|error| cannot(&error))?;
                    if entry.path().is_file() {
                        names.push(entry.file_name().to_string_lossy().into_owned());
                    }
                }
            }
            Records::Bucket { store, base, .. } => {
                let listed = store.folder(&s3::below(base.clone(), relative)).await;
                let listed = listed.map_err(|error| self.cannot("list", relative, &error))?;
                let objects = listed.objects.iter();
                names.extend(objects.filter_map(|it| it.location.filename().map(str::to_owned)));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a record in place of the one that is there, unless `keep` says of that one's bytes
    /// that it must stay. In S3, nothing that another writer wrote meanwhile is lost: it is looked
    /// at, too.
    pub async fn replace(
        &self,
        relative: &str,
        bytes: &[u8],
        keep: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let (store, at) = match self {
            Records::Folder(folder) => {
                let path = folder.join(relative);
                let write = disk::replace(&path, bytes);
                return write.map_err(|error| disk::cannot("write", &path, &error));
            }
            Records::Bucket { store, base, .. } => (store, s3::below(base.clone(), relative)),
        };
        let cannot = |error: &StoreError| self.cannot("write", relative, error);
        let mut conflicts = 0;
        loop {
            let found = store.get(&at).await.map_err(|error| cannot(&error))?;
            if found
                .as_ref()
                .is_some_and(|(found, _)| found == bytes || keep(found))
            {
                return Ok(());
            }
            let written = store.put(&at, Bytes::copy_from_slice(bytes), expect(&found));
            match written.await {
                Ok(_) => return Ok(()),
                Err(error) if error.trouble() == Trouble::Changed && conflicts < CONFLICTS => {
                    conflicts += 1;
                    pause().await;
                }
                Err(error) => return Err(cannot(&error)),
            }
        }
    }

    /// Writes a record that nobody ever changes, unless it is there.
    pub async fn once(&self, relative: &str, bytes: &[u8]) -> Result<Once> {
        let compare = |found: Option<Bytes>| match found {
            Some(found) if found == bytes => Once::Same,
            _ => Once::Other,
        };
        match self {
            Records::Folder(folder) => {
                let path = folder.join(relative);
                let made = disk::create(&path, bytes);
                match made.map_err(|error| disk::cannot("write", &path, &error))? {
                    true => Ok(Once::Written),
                    false => Ok(compare(self.read(relative).await?)),
                }
            }
            Records::Bucket { store, base, .. } => {
                let at = s3::below(base.clone(), relative);
                let put = store.put(&at, Bytes::copy_from_slice(bytes), Expect::Nothing);
                match put.await {
                    Ok(_) => Ok(Once::Written),
                    Err(error) if error.trouble() == Trouble::Changed => {
                        Ok(compare(self.read(relative).await?))
                    }
                    Err(error) => Err(self.cannot("write", relative, &error)),
                }
            }
        }
    }

    /// Adds whole lines to the end of a record, making it if need be. In a folder it is one write.
    /// In S3 the object is written again, on the condition that nobody did so meanwhile; where too
    /// many do, or it is large, the lines go into an object of their own beside it, named
    /// `<name>-<time>-<any>.jsonl`. Nothing is lost and nothing is mixed in either case.
    ///
    /// `doubtful`: the same lines were tried before, and may have come.
    pub async fn append(&self, relative: &str, lines: &[u8], doubtful: bool) -> Result<Added> {
        let added = |relative: &str| Added {
            relative: relative.to_owned(),
        };
        let (store, base) = match self {
            Records::Folder(folder) => {
                let path = folder.join(relative);
                path.parent()
                    .map_or(Ok(()), disk::create_folder)
                    .and_then(|()| Lines::open(&path)?.append(lines))
                    .map_err(|error| disk::cannot("append to", &path, &error))?;
                return Ok(added(relative));
            }
            Records::Bucket { store, base, .. } => (store, base),
        };
        let cannot = |error: &StoreError| self.cannot("append to", relative, error);
        let at = s3::below(base.clone(), relative);
        let mut doubtful = doubtful;
        for _ in 0..CONFLICTS {
            let found = store.get(&at).await.map_err(|error| cannot(&error))?;
            let old = found.as_ref().map_or(&[][..], |(bytes, _)| &bytes[..]);
            if doubtful && holds(old, lines) {
                return Ok(added(relative));
            }
            if old.len() + lines.len() > LARGEST && !old.is_empty() {
                break;
            }
            let mut all = Vec::with_capacity(old.len() + lines.len() + 1);
            all.extend_from_slice(old);
            if old.last().is_some_and(|last| *last != b'\n') {
                all.push(b'\n');
            }
            all.extend_from_slice(lines);
            match store.put(&at, all.into(), expect(&found)).await {
                Ok(_) => return Ok(added(relative)),
                Err(error) if error.trouble() == Trouble::Changed => {
                    // A first attempt may have been taken, and only its answer lost.
                    doubtful |= error.attempts() > 1;
                    pause().await;
                }
                Err(error) => return Err(cannot(&error)),
            }
        }
        let beside = beside(relative);
        let at = s3::below(base.clone(), &beside);
        let put = store.put(&at, Bytes::copy_from_slice(lines), Expect::Nothing);
        match put.await {
            Ok(_) => Ok(added(&beside)),
            // The name is nobody else's: an attempt of ours was taken.
            Err(error) if error.trouble() == Trouble::Changed => Ok(added(&beside)),
            Err(error) => Err(cannot(&error)),
        }
    }

    fn cannot(&self, action: &str, relative: &str, error: &StoreError) -> Failure {
        let failure = Failure::new(Reason::StreamFailed, self.name(relative));
        error.explain(failure.field(action.to_owned()))
    }
}

fn expect(found: &Option<(Bytes, Option<String>)>) -> Expect<'_> {
    match found {
        None => Expect::Nothing,
        Some((_, Some(tag))) => Expect::Tag(tag),
        // A store without tags cannot tell.
        Some((_, None)) => Expect::Anything,
    }
}

/// Whether these lines are among those of an object.
fn holds(object: &[u8], lines: &[u8]) -> bool {
    object
        .windows(lines.len().max(1))
        .any(|window| window == lines)
}

/// A name beside another that nobody else takes.
fn beside(relative: &str) -> String {
    let (stem, end) = relative.rsplit_once('.').unwrap_or((relative, "jsonl"));
    let now = EventTime::wall_now().to_string().replace([':', '.'], "-");
    let any = (crate::gate::random() * (1u64 << 52) as f64) as u64;
    format!("{stem}-{now}-{any:013x}.{end}")
}

async fn pause() {
    tokio::time::sleep(PAUSE + PAUSE.mul_f64(crate::gate::random())).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn bucket() -> Records {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Records::Bucket {
            store: Store::local(memory),
            base: Path::from("runs/x"),
            name: "s3://b/runs/x".into(),
        }
    }

    #[tokio::test]
    async fn lines_of_many_writers_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        for records in [bucket(), Records::Folder(folder.path().to_owned())] {
            let write = |writer: usize| {
                let records = records.clone();
                async move {
                    let mut places = std::collections::BTreeSet::new();
                    for line in 0..20 {
                        let line = format!("{{\"w\":{writer},\"n\":{line}}}\n");
                        let added = records
                            .append("session.jsonl", line.as_bytes(), false)
                            .await;
                        places.insert(added.unwrap().relative);
                    }
                    places
                }
            };
            let places: Vec<_> = futures::future::join_all((0..12).map(write)).await;
            let places: std::collections::BTreeSet<_> = places.into_iter().flatten().collect();
            let mut lines = Vec::new();
            for place in &places {
                let bytes = records.read(place).await.unwrap().unwrap();
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                lines.extend(text.lines().map(str::to_owned));
            }
            assert_eq!(lines.len(), 240);
            lines.sort();
            lines.dedup();
            assert_eq!(lines.len(), 240);
        }
    }

    #[tokio::test]
    async fn a_large_object_is_left_as_it_is() {
        let records = bucket();
        let line = vec![b'x'; LARGEST];
        let first = records.append("a.jsonl", &line, false).await.unwrap();
        assert_eq!(first.relative, "a.jsonl");
        let second = records.append("a.jsonl", b"y\n", false).await.unwrap();
        assert!(second.relative.starts_with("a-20"), "{second:?}");
        assert!(second.relative.ends_with(".jsonl"), "{second:?}");
    }

    #[tokio::test]
    async fn lines_that_may_have_come_are_not_added_twice() {
        let records = bucket();
        records.append("a.jsonl", b"1\n2\n", false).await.unwrap();
        records.append("a.jsonl", b"2\n", true).await.unwrap();
        records.append("a.jsonl", b"2\n", false).await.unwrap();
        let bytes = records.read("a.jsonl").await.unwrap().unwrap();
        assert_eq!(bytes, "1\n2\n2\n");
    }

    #[tokio::test]
    async fn a_fact_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        for records in [bucket(), Records::Folder(folder.path().to_owned())] {
            let place = "obs/governance/events/1.json";
            assert_eq!(records.once(place, b"1").await.unwrap(), Once::Written);
            assert_eq!(records.once(place, b"1").await.unwrap(), Once::Same);
            assert_eq!(records.once(place, b"2").await.unwrap(), Once::Other);
            assert_eq!(records.read(place).await.unwrap().unwrap(), "1");
        }
    }

    #[tokio::test]
    async fn a_record_that_must_stay_stays() {
        let records = bucket();
        for (bytes, keep, expect) in [("1", false, "1"), ("2", true, "1"), ("2", false, "2")] {
            let bytes = bytes.as_bytes();
            records.replace("r.json", bytes, |_| keep).await.unwrap();
            assert_eq!(records.read("r.json").await.unwrap().unwrap(), expect);
        }
    }

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        let open = |text: &str| {
            let plan = S3Plan {
                anonymous: true,
                ..S3Plan::default()
            };
            Records::open(FilePath::new(text), &plan)
        };
        assert!(matches!(open("runs/x").unwrap(), Records::Folder(_)));
        let bucket = open("s3://b/runs/x").unwrap();
        assert_eq!(bucket.name("session.jsonl"), "s3://b/runs/x/session.jsonl");
        assert!(open("s3:///x").unwrap_err().message().contains("bucket"));
    }
}
