//! The run facts that a message points at: found below the allowed roots alone, read, and held
//! against their schema (contracts section 8, step 2).

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use worldstream_crds::Reason;

use super::message::PackRef;
use super::schema::Schemas;
use crate::failure::{Failure, Result};
use crate::plan::S3Plan;
use crate::store::Store;
use crate::store::s3::{self, Location};

/// The largest facts that are read.
const LARGEST: u64 = 16 << 20;

/// Run facts, as far as they decide anything. They hold against the schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunFacts {
    /// The platform run.
    pub platform_run_id: Option<String>,
    /// What goes into every event, 32 hex.
    pub scenario_run_id: Option<String>,
    /// The world key.
    pub pins: Pins,
    /// The world, if the facts name one.
    pub oracle_pack_ref: Option<PackRef>,
}

/// The world key of run facts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pins {
    /// 64 hex.
    pub manifest_fingerprint: String,
    /// 64 hex.
    pub parameter_hash: String,
    /// Any unsigned 64-bit integer.
    pub seed: u64,
    /// The scenario.
    pub scenario_id: Option<String>,
}

impl RunFacts {
    /// The engine run root that the facts name.
    pub fn engine_run_root(&self) -> Option<&str> {
        self.oracle_pack_ref.as_ref()?.engine_run_root.as_deref()
    }
}

/// Reads run facts.
#[derive(Debug, Clone)]
pub struct FactsReader {
    store: String,
    allowed: Vec<String>,
    s3: S3Plan,
    /// Buckets that were opened.
    buckets: Arc<Mutex<BTreeMap<String, Store>>>,
}

/// Where facts are, as a reference says it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// A path: absolute, or relative as the store's root is.
    File(PathBuf),
    /// An object, and the segments of its key.
    Object(Location),
}

impl FactsReader {
    /// Reads what lies below the allowed roots; a reference that says nothing else is below
    /// `store`. Roots are paths, or `s3://bucket` with or without a prefix.
    pub fn new(store: &str, allowed: &[String], s3: &S3Plan) -> FactsReader {
        FactsReader {
            store: store.to_owned(),
            allowed: allowed.to_vec(),
            s3: s3.clone(),
            buckets: Arc::default(),
        }
    }

    /// Reads and checks the facts at a reference.
    ///
    /// # Errors
    /// `RUN_FACTS_INVALID`; where the store is away, one with the exit code of that, which is worth
    /// another try and no verdict about the facts.
    pub async fn read(&self, schemas: &Schemas, reference: &str) -> Result<RunFacts> {
        let bytes = match self.locate(reference)? {
            At::File(path) => self.file(reference, &path)?,
            At::Object(at) => self.object(reference, &at).await?,
        };
        parse(schemas, reference, &bytes)
    }

    /// Where a reference points, by its text alone.
    fn locate(&self, reference: &str) -> Result<At> {
        let named = match reference.starts_with(s3::SCHEME) || reference.starts_with('/') {
            true => reference.to_owned(),
            false => format!("{}/{reference}", self.store.trim_end_matches('/')),
        };
        let segments = |text: &str| -> Vec<String> {
            let filled = |it: &&str| !it.is_empty() && *it != ".";
            text.split('/').filter(filled).map(str::to_owned).collect()
        };
        // Only what the message says: the store's own root is the operator's to write.
        if let Some(bad) = segments(reference).iter().find(|it| escapes(it)) {
            return Err(invalid(reference)
                .found(format!("{bad:?} in it"))
                .expected("names of folders and a file"));
        }
        let Some(rest) = named.strip_prefix(s3::SCHEME) else {
            let root = if named.starts_with('/') { "/" } else { "" };
            let path = PathBuf::from(format!("{root}{}", segments(&named).join("/")));
            return Ok(At::File(path));
        };
        let clean = format!("{}{}", s3::SCHEME, segments(rest).join("/"));
        let found = s3::locate(&clean).ok_or_else(|| {
            invalid(reference)
                .found("no bucket")
                .expected("s3://, the name of a bucket, and a key")
        })?;
        let below = |root: &String| {
            s3::locate(root).is_some_and(|root| {
                root.bucket == found.bucket && found.prefix.prefix_match(&root.prefix).is_some()
            })
        };
        match self.allowed.iter().any(below) {
            true => Ok(At::Object(found)),
            false => Err(self.outside(reference, &clean)),
        }
    }

    fn outside(&self, reference: &str, at: &str) -> Failure {
        invalid(reference)
            .found(format!("{at}, which lies outside of the allowed roots"))
            .expected(format!("a place below {}", self.allowed.join(", ")))
    }

    /// Reads a file, wherever links lead to, if that lies below an allowed root.
    fn file(&self, reference: &str, path: &Path) -> Result<Vec<u8>> {
        let failed = |error: &std::io::Error| {
            invalid(reference)
                .found(format!("{}, which cannot be read", path.display()))
                .cause(error)
        };
        // By its text first, so that nothing outside is even opened.
        let absolute = std::path::absolute(path).map_err(|error| failed(&error))?;
        let absolute = plain(&absolute);
        let inside = |root: &String, place: &Path, real: bool| {
            let root = Path::new(root);
            let root = match real {
                true => std::fs::canonicalize(root).ok(),
                false => std::path::absolute(root).ok().map(|root| plain(&root)),
            };
            root.is_some_and(|root| place.starts_with(root))
        };
        let any = |place: &Path, real: bool| {
            let mut local = self.allowed.iter().filter(|it| !it.starts_with(s3::SCHEME));
            local.any(|root| inside(root, place, real))
        };
        if !any(&absolute, false) {
            return Err(self.outside(reference, &absolute.display().to_string()));
        }
        // What is opened is what is looked at: a link that is turned meanwhile changes nothing.
        let file = std::fs::OpenOptions::new()
            .read(true)
            // A pipe would wait for a writer.
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&absolute)
            .map_err(|error| failed(&error))?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(|error| failed(&error))?;
        if !any(&real, true) {
            return Err(self.outside(reference, &real.display().to_string()));
        }
        let found = file.metadata().map_err(|error| failed(&error))?;
        if !found.is_file() || found.len() > LARGEST {
            let what = match found.is_file() {
                true => format!("{} bytes", found.len()),
                false => "something that is no file".to_owned(),
            };
            return Err(invalid(reference)
                .found(what)
                .expected(format!("a file of at most {LARGEST} bytes")));
        }
        let mut bytes = Vec::new();
        (&file)
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
        Ok(bytes)
    }

    fn bucket(&self, name: &str) -> Result<Store> {
        // Nothing is left half done where a panic could happen.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = buckets.get(name) {
            return Ok(store.clone());
        }
        let store = s3::open(&self.s3, name)?;
        buckets.insert(name.to_owned(), store.clone());
        Ok(store)
    }

    async fn object(&self, reference: &str, at: &Location) -> Result<Vec<u8>> {
        let store = self.bucket(&at.bucket)?;
        let head = store.head(&at.prefix).await;
        let head = head.map_err(|error| error.explain(invalid(reference)))?;
        let found = match head {
            None => "no such object".to_owned(),
            Some(head) if head.size > LARGEST => format!("{} bytes", head.size),
            Some(_) => {
                let got = store.get(&at.prefix).await;
                let got = got.map_err(|error| error.explain(invalid(reference)))?;
                match got {
                    Some((bytes, _)) => return Ok(bytes.into()),
                    None => "no such object".to_owned(),
                }
            }
        };
        Err(invalid(reference)
            .found(found)
            .expected(format!("an object of at most {LARGEST} bytes")))
    }
}

/// A path without `..`, by its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Whether a segment could lead elsewhere, as it is or when somebody takes percent forms out of it.
fn escapes(segment: &str) -> bool {
    let mut text = segment.to_owned();
    loop {
        let bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
        if text == ".." || text.chars().any(bad) || (text != segment && text == ".") {
            return true;
        }
        let plain = unpercent(&text);
        if plain == text {
            return false;
        }
        text = plain;
    }
}

/// A text with one layer of percent forms taken out.
fn unpercent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let form = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let value = form.and_then(|form| {
            let form = std::str::from_utf8(form).ok()?;
            let digits = form.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(form, 16).ok().filter(|_| digits)
        });
        match value {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn invalid(reference: &str) -> Failure {
    Failure::new(Reason::RunFactsInvalid, reference).field("facts_view_ref")
}

fn parse(schemas: &Schemas, reference: &str, bytes: &[u8]) -> Result<RunFacts> {
    let facts: Value = serde_json::from_slice(bytes)
        .map_err(|error| invalid(reference).found("no JSON").cause(&error))?;
    schemas
        .facts
        .check(&facts)
        .map_err(|why| invalid(reference).detail(why))?;
    RunFacts::deserialize(&facts).map_err(|error| invalid(reference).cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn facts() -> String {
        let (a, b, run) = ("a".repeat(64), "b".repeat(32), "platform_20260101T000000Z");
        serde_json::json!({
            "run_id": b, "platform_run_id": run, "scenario_run_id": b,
            "pins": {
                "manifest_fingerprint": a, "parameter_hash": a, "seed": 18446744073709551615u64,
                "scenario_id": "baseline_v1", "run_id": b, "platform_run_id": run,
                "scenario_run_id": b,
            },
            "locators": [], "gate_receipts": [], "bundle_hash": a,
            "policy_rev": {"policy_id": "p", "revision": "r", "content_digest": a},
            "plan_ref": "x", "record_ref": "x", "status_ref": "x",
        })
        .to_string()
    }

    async fn read(reader: &FactsReader, reference: &str) -> Result<RunFacts> {
        reader.read(&Schemas::new().unwrap(), reference).await
    }

    #[tokio::test]
    async fn facts_are_read_below_their_roots_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/facts.json"), facts()).unwrap();
        fs::write(dir.path().join("secret.json"), facts()).unwrap();
        fs::create_dir(dir.path().join("store-2")).unwrap();
        fs::write(dir.path().join("store-2/facts.json"), facts()).unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        link("../secret.json", "out.json");
        link("..", "up");
        link("a/b", "in");
        link("/proc/self/environ", "environ");
        fs::write(root.join("%2e%2e"), facts()).unwrap();
        let text = root.display().to_string();
        let reader = FactsReader::new(&text, std::slice::from_ref(&text), &S3Plan::default());
        for good in [
            "a/b/facts.json",
            "a//b/./facts.json",
            "in/facts.json",
            &format!("{text}/a/b/facts.json"),
            &format!("/{text}//a/b/facts.json"),
        ] {
            let found = read(&reader, good).await.unwrap();
            assert_eq!(found.pins.seed, u64::MAX, "{good}");
        }
        let outside = dir.path().display().to_string();
        for bad in [
            "",
            "a",
            "a/b/none.json",
            "../secret.json",
            "a/../../secret.json",
            "a/../a/b/facts.json",
            "%2e%2e",
            "%2E%2e/secret.json",
            "..%2fsecret.json",
            "%252e%252e/secret.json",
            "a\\..\\b",
            "out.json",
            "up/secret.json",
            "environ",
            &format!("{outside}/secret.json"),
            &format!("{outside}/store-2/facts.json"),
            &format!("{text}/../secret.json"),
            "/etc/passwd",
            "/dev/zero",
            "s3://elsewhere/facts.json",
            "s3://",
            "file:///etc/passwd",
        ] {
            let failure = read(&reader, bad).await.unwrap_err();
            assert_eq!(
                failure.reason(),
                Reason::RunFactsInvalid,
                "{bad}: {failure}"
            );
        }
    }

    #[tokio::test]
    async fn a_root_may_itself_be_a_link_and_relative() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/facts.json"), facts()).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let text = dir.path().join("link").display().to_string();
        let reader = FactsReader::new(&text, std::slice::from_ref(&text), &S3Plan::default());
        read(&reader, "facts.json").await.unwrap();
    }

    #[test]
    fn objects_are_those_of_allowed_buckets() {
        let allowed = ["s3://b/runs/".to_owned(), "s3://c".to_owned()];
        let reader = FactsReader::new("s3://b/runs", &allowed, &S3Plan::default());
        for (reference, expect) in [
            ("x/f.json", Some("runs/x/f.json")),
            ("s3://b/runs/f.json", Some("runs/f.json")),
            ("s3://c//y//f.json", Some("y/f.json")),
            ("s3://b/run/f.json", None),
            ("s3://b/runs-2/f.json", None),
            ("s3://b/runs/../f.json", None),
            ("s3://b/runs/%2e%2e/f.json", None),
            ("s3://d/f.json", None),
        ] {
            let found = match reader.locate(reference) {
                Ok(At::Object(at)) => Some(at.prefix.to_string()),
                Ok(at) => panic!("{at:?}"),
                Err(_) => None,
            };
            assert_eq!(found.as_deref(), expect, "{reference}");
        }
        assert!(matches!(reader.locate("/etc/passwd").unwrap(), At::File(_)));
    }
}
