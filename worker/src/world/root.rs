//! What a world is called, and where it is read: the resolved root, allowed roots and mounts
//! (contracts section 1).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use worldstream_crds::Reason;

use super::WorldStore;
use crate::failure::{Failure, Result};
use crate::plan::{Mount, WorldPlan};
use crate::store::s3;

const S3: &str = s3::SCHEME;

/// A run root, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The resolved root's text, which ids are made from.
    pub text: String,
    /// Where it is read.
    pub place: Place,
}

/// Where a world is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine, which may not exist.
    Local(PathBuf),
    /// A URI of S3.
    Remote(String),
}

/// Whether a root's text is one in S3.
pub(super) fn is_s3(root: &str) -> bool {
    root.starts_with(S3)
}

/// Opens the world that a plan names: resolves its root and finds it where it is read.
///
/// # Errors
/// `ENGINE_ROOT_MISSING` without a root, `ROOT_NOT_ALLOWED` for one outside the allowed roots or
/// a mount, `RUN_RECEIPT_UNREADABLE` for one that is nowhere, `STREAM_FAILED` where S3 cannot be
/// reached as the plan says. Nothing is asked of S3 yet.
pub fn open(plan: &WorldPlan) -> Result<WorldStore> {
    let root = resolve(plan)?;
    match &root.place {
        Place::Local(folder) => open_local(&root.text, folder),
        Place::Remote(uri) => open_remote(&root.text, uri, plan),
    }
}

fn open_remote(root: &str, uri: &str, plan: &WorldPlan) -> Result<WorldStore> {
    let found = s3::locate(uri).ok_or_else(|| {
        nowhere(root)
            .found(uri)
            .expected("s3://, the name of a bucket, and a prefix")
    })?;
    let store = s3::open(&plan.s3, &found.bucket)?;
    Ok(WorldStore::of(store, found.prefix, root, plan.read_ahead))
}

fn open_local(root: &str, folder: &Path) -> Result<WorldStore> {
    let failure = || nowhere(root).expected("a folder");
    let place = format!("{} (where it is read)", folder.display());
    match std::fs::metadata(folder) {
        Err(error) => return Err(failure().found(format!("nothing at {place}")).cause(&error)),
        Ok(found) if !found.is_dir() => {
            return Err(failure().found(format!("a file at {place}")));
        }
        Ok(_) => {}
    }
    let store = LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| failure().found(place).cause(&error))?;
    Ok(WorldStore::new(
        Arc::new(store),
        object_store::path::Path::default(),
        root,
    ))
}

fn nowhere(root: &str) -> Failure {
    Failure::new(Reason::RunReceiptUnreadable, root).field("run root")
}

/// Resolves a plan's root. A relative one that does not exist as given is joined to the oracle
/// root; nothing is ever searched for.
///
/// # Errors
/// `ENGINE_ROOT_MISSING`, `ROOT_NOT_ALLOWED`.
pub fn resolve(plan: &WorldPlan) -> Result<Root> {
    let given = plan.engine_run_root.as_str();
    if given.trim().is_empty() {
        return Err(Failure::new(Reason::EngineRootMissing, "engineRunRoot")
            .found("nothing")
            .expected("a local path or s3://bucket/prefix"));
    }
    let text = resolve_text(plan, given)?;
    check_allowed(&text, &plan.allowed_roots)?;
    let place = place(&text, &plan.mounts)?;
    Ok(Root { text, place })
}

fn resolve_text(plan: &WorldPlan, given: &str) -> Result<String> {
    let text = clean(given);
    let oracle_root = plan.oracle_root.as_deref().filter(|root| !root.is_empty());
    let (false, false, Some(oracle_root)) = (is_s3(&text), text.starts_with('/'), oracle_root)
    else {
        return Ok(text);
    };
    if let Place::Local(folder) = place(&text, &plan.mounts)?
        && folder.exists()
    {
        return Ok(text);
    }
    Ok(clean(&format!(
        "{}/{text}",
        oracle_root.trim_end_matches('/')
    )))
}

/// A root's text: one in S3 to the letter, a local path without doubled and trailing slashes and
/// `.` segments, and not made absolute.
pub(crate) fn clean(root: &str) -> String {
    if is_s3(root) {
        return root.to_owned();
    }
    let segments: Vec<&str> = root
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect();
    match (root.starts_with('/'), segments.is_empty()) {
        (true, _) => format!("/{}", segments.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => segments.join("/"),
    }
}

/// Fails unless the root lies at or below one of the allowed ones; with none, all are allowed.
fn check_allowed(root: &str, allowed: &[String]) -> Result<()> {
    let normal = normal(root);
    let below = |allowed: &String| normal.starts_with(&self::normal(allowed));
    if allowed.is_empty() || allowed.iter().any(below) {
        return Ok(());
    }
    Err(Failure::new(Reason::RootNotAllowed, root)
        .field("run root")
        .found(normal.join("/").replacen("s3:/", S3, 1))
        .expected(format!("a root at or below {}", allowed.join(", "))))
}

/// The segments of a root, absolute and without `..`, for comparing: `["", "data", "x"]` of a
/// path, `["s3:", "bucket", "x"]` of a URI.
fn normal(root: &str) -> Vec<String> {
    let (head, rest) = match root.strip_prefix(S3) {
        Some(rest) => ("s3:", rest.to_owned()),
        // Only a path without a working directory cannot be made absolute: it stays as it is,
        // and is below no allowed root that is absolute.
        None => (
            "",
            std::path::absolute(root)
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_else(|_| root.to_owned()),
        ),
    };
    // Never above the root of all: `/..` is `/`, and there is nothing above a bucket.
    let least = if is_s3(root) { 2 } else { 1 };
    let mut segments = vec![head.to_owned()];
    for segment in rest.split('/') {
        match segment {
            "" | "." => {}
            ".." => segments.truncate(least.max(segments.len() - 1)),
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

/// Where a root is read: below the first mount whose `from` is a prefix of it at a path boundary,
/// else where it says.
fn place(root: &str, mounts: &[Mount]) -> Result<Place> {
    let mounted = mounts.iter().find_map(|mount| {
        let from = clean(&mount.from);
        let rest = root.strip_prefix(from.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some((mount, rest))
    });
    let at = match mounted {
        None => root.to_owned(),
        Some((mount, rest)) => {
            if rest.split('/').any(|segment| segment == "..") {
                return Err(Failure::new(Reason::RootNotAllowed, root)
                    .field("run root")
                    .found("a `..` below a mount")
                    .expected(format!("a root below {}", mount.from)));
            }
            let rest: String = rest
                .split('/')
                .filter(|segment| !segment.is_empty())
                .map(|segment| format!("/{segment}"))
                .collect();
            format!("{}{rest}", mount.to.trim_end_matches('/'))
        }
    };
    Ok(match is_s3(&at) {
        true => Place::Remote(at),
        false if at.is_empty() => Place::Local(PathBuf::from("/")),
        false => Place::Local(PathBuf::from(at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::testkit;

    fn resolved(given: &str, change: impl FnOnce(&mut WorldPlan)) -> Result<Root> {
        let mut plan = testkit::plan(given);
        change(&mut plan);
        resolve(&plan)
    }

    fn text(given: &str) -> String {
        resolved(given, |_| {}).unwrap().text
    }

    #[test]
    fn a_local_root_loses_doubled_slashes_and_dots_and_stays_relative() {
        for (given, expect) in [
            ("/data/worlds/run-1", "/data/worlds/run-1"),
            ("/data//worlds/./run-1//", "/data/worlds/run-1"),
            ("//data/x", "/data/x"),
            ("./runs/a/", "runs/a"),
            ("././runs/./a", "runs/a"),
            ("runs/a/.", "runs/a"),
            ("../runs/a", "../runs/a"),
            ("/a/../b", "/a/../b"),
            (".", "."),
            ("./", "."),
            ("/", "/"),
            ("/w/\u{7f}\u{2028}", "/w/\u{7f}\u{2028}"),
            ("/data/worlds/world b", "/data/worlds/world b"),
            ("/w/...", "/w/..."),
            (".hidden/a", ".hidden/a"),
        ] {
            assert_eq!(text(given), expect, "{given}");
        }
    }

    #[test]
    fn a_root_in_s3_is_kept_to_the_letter() {
        for given in ["s3://b/x/", "s3://b//x/./y", "s3://b", "s3://b/ünï/"] {
            assert_eq!(text(given), given);
        }
    }

    #[test]
    fn nothing_is_no_root() {
        for given in ["", " ", "\t\n"] {
            let failure = resolved(given, |_| {}).unwrap_err();
            assert_eq!(failure.reason(), Reason::EngineRootMissing, "{given:?}");
        }
    }

    #[test]
    fn a_relative_root_that_does_not_exist_is_joined_with_one_slash() {
        let folder = tempfile::tempdir().unwrap();
        let oracle = folder.path().to_str().unwrap();
        for (oracle_root, given, expect) in [
            (format!("{oracle}/"), "no-such", format!("{oracle}/no-such")),
            (
                format!("{oracle}//"),
                "./no//such/",
                format!("{oracle}/no/such"),
            ),
            (
                "s3://b/runs".into(),
                "no-such",
                "s3://b/runs/no-such".into(),
            ),
            (
                "s3://b/runs/".into(),
                "no-such",
                "s3://b/runs/no-such".into(),
            ),
            ("./r/".into(), "no-such", "r/no-such".into()),
            ("s3://b/runs".into(), "/no-such", "/no-such".into()),
            ("s3://b/runs".into(), "s3://c/x", "s3://c/x".into()),
            // `src` exists where tests run: the crate's folder.
            ("s3://b/runs".into(), "./src/", "src".into()),
            (String::new(), "no-such", "no-such".into()),
        ] {
            let root = resolved(given, |plan| plan.oracle_root = Some(oracle_root.clone()));
            assert_eq!(root.unwrap().text, expect, "{oracle_root} {given}");
        }
    }

    #[test]
    fn a_relative_root_exists_where_it_is_mounted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("w")).unwrap();
        let root = |given: &str| {
            resolved(given, |plan| {
                plan.oracle_root = Some("s3://b/runs".into());
                plan.mounts = vec![Mount {
                    from: "runs".into(),
                    to: folder.path().to_str().unwrap().into(),
                }];
            })
            .unwrap()
        };
        assert_eq!(root("runs/w").text, "runs/w");
        assert_eq!(root("runs/w").place, Place::Local(folder.path().join("w")));
        assert_eq!(root("runs/v").text, "s3://b/runs/runs/v");
    }

    #[test]
    fn allowed_roots_are_compared_at_path_boundaries_after_normalisation() {
        for (given, allowed, ok) in [
            ("/data/worlds/a", "/data/worlds", true),
            ("/data/worlds", "/data/worlds/", true),
            ("/data/worlds/a", "/data//./worlds/", true),
            ("/data/worlds-2/a", "/data/worlds", false),
            ("/data/world", "/data/worlds", false),
            ("/data/worlds/../secret", "/data/worlds", false),
            ("/data/worlds/a/../b", "/data/worlds", true),
            ("/../data/worlds/a", "/data/worlds", true),
            ("/data/x", "/", true),
            ("s3://b/runs/a", "s3://b/runs", true),
            ("s3://b/runs/a/", "s3://b/runs/", true),
            ("s3://b/runs2/a", "s3://b/runs", false),
            ("s3://b/runs/../x", "s3://b/runs", false),
            ("s3://b/runs/../../b/runs", "s3://b/runs", false),
            ("s3://c/runs/a", "s3://b", false),
            ("s3://b/runs/a", "/b/runs", false),
            ("/b/runs/a", "s3://b/runs", false),
            ("runs/a", "runs", true),
            ("../x", "runs", false),
            ("runs/../../x", ".", false),
            ("runs/a", "/data/worlds", false),
        ] {
            let root = resolved(given, |plan| {
                plan.allowed_roots = vec!["/elsewhere".into(), allowed.into()]
            });
            match root {
                Ok(_) => assert!(ok, "{given} is not below {allowed}"),
                Err(failure) => {
                    assert_eq!(failure.reason(), Reason::RootNotAllowed);
                    assert!(failure.message().contains(allowed), "{failure}");
                    assert!(!ok, "{given} is below {allowed}: {failure}");
                }
            }
        }
    }

    #[test]
    fn the_first_mount_at_a_path_boundary_says_where_a_root_is_read() {
        let mounts = [
            ("s3://b/runs/a", "/mnt/a"),
            ("s3://b/runs/", "/mnt/runs/"),
            ("/data/", "/mnt/data"),
            ("s3://far", "s3://near/x"),
        ]
        .map(|(from, to)| Mount {
            from: from.into(),
            to: to.into(),
        });
        for (given, expect) in [
            ("s3://b/runs/a", "/mnt/a"),
            ("s3://b/runs/a/", "/mnt/a"),
            ("s3://b/runs/a//x", "/mnt/a/x"),
            ("s3://b/runs/ab", "/mnt/runs/ab"),
            ("s3://b/runs", "/mnt/runs"),
            ("/data/x y", "/mnt/data/x y"),
            ("/database", "/database"),
        ] {
            let root = resolved(given, |plan| plan.mounts = mounts.to_vec()).unwrap();
            assert_eq!(root.place, Place::Local(expect.into()), "{given}");
        }
        for (given, expect) in [("s3://far/a", "s3://near/x/a"), ("s3://c/x", "s3://c/x")] {
            let mut plan = testkit::plan(given);
            plan.mounts = mounts.to_vec();
            assert_eq!(resolve(&plan).unwrap().place, Place::Remote(expect.into()));
        }
        let mut plan = testkit::plan("s3:///x");
        plan.mounts = Vec::new();
        let failure = open(&plan).unwrap_err();
        assert_eq!(failure.reason(), Reason::RunReceiptUnreadable);
        assert!(failure.message().contains("bucket"), "{failure}");
        let failure = resolved("s3://b/runs/../../etc", |plan| {
            plan.mounts = mounts.to_vec()
        })
        .unwrap_err();
        assert_eq!(failure.reason(), Reason::RootNotAllowed);
    }
}
