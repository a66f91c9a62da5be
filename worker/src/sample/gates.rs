//! Gates that pass: bundles of files, an index that lists them, and a flag whose digest holds
//! (contracts section 2).

use serde_json::json;
use sha2::{Digest, Sha256};

use super::world::{World, hex_digest, row_counts, write_file, write_json};
use super::{OutputReport, SampleSpec};
use crate::failure::Result;

/// The gates of the six outputs: segment, layer, and the flag's digest field. Both are of the
/// kind `sha256_index_json_ascii_lex_raw_bytes`.
const GATES: [(&str, &str, &str); 2] = [
    ("5B", "layer2", "bundle_digest_sha256"),
    ("6B", "layer3", "sha256_hex"),
];

/// Writes the bundles of all gates.
pub(super) fn write_all(
    spec: &SampleSpec,
    world: &World,
    outputs: &[OutputReport],
) -> Result<()> {
    for (segment, layer, digest_field) in GATES {
        let root = format!(
            "data/{layer}/{segment}/validation/manifest_fingerprint={}",
            world.manifest_fingerprint
        );
        let members = members(segment, world, outputs);
        let items: Vec<_> = members
            .iter()
            .map(|(path, bytes)| json!({"path": path, "sha256_hex": hex_digest(bytes)}))
            .collect();
        for (path, bytes) in &members {
            write_file(spec, &format!("{root}/{path}"), bytes)?;
        }
        write_json(spec, &format!("{root}/index.json"), &json!({"items": items}))?;
        let flag = format!("{digest_field} = {}\n", bundle_digest(members));
        write_file(spec, &format!("{root}/_passed.flag"), flag.as_bytes())?;
    }
    Ok(())
}

/// The files of a bundle as the index lists them: not in the order that the digest takes them in.
/// `checks.json` sorts before `checks/…`, and a capital before both.
fn members(segment: &str, world: &World, outputs: &[OutputReport]) -> Vec<(String, Vec<u8>)> {
    let own: Vec<_> = outputs
        .iter()
        .filter(|output| output.output_id.ends_with(segment))
        .cloned()
        .collect();
    let files = [
        (
            "summary.json",
            json!({"segment": segment, "status": "PASS", "world_key": world.key()}),
        ),
        (
            "checks/rows.json",
            json!({"check": "rows", "status": "PASS", "rows": row_counts(&own)}),
        ),
        (
            "checks.json",
            json!({"checks": ["rows"], "failed": 0, "passed": 1}),
        ),
        (
            "Readme.json",
            json!({"note": "made by worldstream sample; no engine ran"}),
        ),
    ];
    files
        .into_iter()
        .map(|(path, value)| (path.to_owned(), format!("{value}\n").into_bytes()))
        .collect()
}

/// sha256 over the members' bytes in ASCII order of their paths.
fn bundle_digest(mut members: Vec<(String, Vec<u8>)>) -> String {
    members.sort();
    let mut digest = Sha256::new();
    for (_, bytes) in &members {
        digest.update(bytes);
    }
    const_hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_in_the_flags_of_a_golden_world() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/world-a/data");
        for (segment, layer, digest_field) in GATES {
            let validation = format!("{golden}/{layer}/{segment}/validation");
            let root = std::fs::read_dir(validation).unwrap().next().unwrap();
            let root = root.unwrap().path();
            let members = ["summary.json", "checks/rows.json", "checks.json", "Z.json"]
                .map(|path| (path.to_owned(), std::fs::read(root.join(path)).unwrap()));
            let flag = std::fs::read_to_string(root.join("_passed.flag")).unwrap();
            let expected = format!("{digest_field} = {}\n", bundle_digest(members.to_vec()));
            assert_eq!(flag, expected);
        }
    }
}
