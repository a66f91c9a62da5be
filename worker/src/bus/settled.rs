//! Which files of a folder are settled, and the text that says so: each by its name and what it
//! holds, so that neither clocks nor the order in which files come matter. Pure.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A file in a state: the beginning of a digest of its name and of what tells its content.
pub(super) type Key = [u8; 8];

/// The key of a file; `content` is the same for the same bytes and for no others.
pub(super) fn key(name: &str, content: &[u8]) -> Key {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update([0]);
    hash.update(content);
    let digest: [u8; 32] = hash.finalize().into();
    let (key, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    *key
}

/// The text of a position.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// The folder.
    folder: String,
    /// The keys, one behind the other, in base64.
    settled: String,
}

/// The text; none while nothing is settled.
pub(super) fn position(folder: &str, settled: impl Iterator<Item = Key>) -> Option<String> {
    let settled: BTreeSet<Key> = settled.collect();
    if settled.is_empty() {
        return None;
    }
    let bytes: Vec<u8> = settled.into_iter().flatten().collect();
    serde_json::to_string(&Position {
        folder: folder.to_owned(),
        settled: BASE64_STANDARD.encode(bytes),
    })
    .ok()
}

/// The keys of a position's text, if it is one of this folder.
pub(super) fn read(position: &str, folder: &str) -> Option<BTreeSet<Key>> {
    let position: Position = serde_json::from_str(position).ok()?;
    if position.folder != folder {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(position.settled).ok()?;
    let (keys, rest) = bytes.as_chunks();
    rest.is_empty().then(|| keys.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_holds_what_is_settled_of_its_own_folder() {
        let keys = [
            key("a.json", b"1"),
            key("b.json", b"1"),
            key("a.json", b"2"),
        ];
        assert_eq!(position("/bus/t", [].into_iter()), None);
        let text = position("/bus/t", keys.into_iter()).unwrap();
        assert_eq!(read(&text, "/bus/t"), Some(BTreeSet::from(keys)));
        assert_eq!(BTreeSet::from(keys).len(), 3);
        // A name is no part of what a file holds.
        assert_ne!(key("a", b"b1"), key("ab", b"1"));
        for (text, folder) in [
            (text.as_str(), "/bus/other"),
            ("", "/bus/t"),
            ("{}", "/bus/t"),
            (r#"{"kinesis":"s","shards":{}}"#, "/bus/t"),
            (r#"{"folder":"/bus/t","settled":"AAAA"}"#, "/bus/t"),
            (r#"{"folder":"/bus/t","settled":"not base64"}"#, "/bus/t"),
        ] {
            assert_eq!(read(text, folder), None, "{text}");
        }
    }
}
