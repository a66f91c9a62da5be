//! Gates that pass: bundles of files, an index that lists them, and a flag whose digest holds
//! (contracts section 2). All gates of the gate map, so that those upstream pass as well.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::world::{World, row_counts, write_file};
use super::{OutputReport, SampleSpec};
use crate::failure::Result;
use crate::world::identity::sha256_hex;

/// One gate of the gate map.
struct Gate {
    layer: &'static str,
    segment: &'static str,
    index: &'static str,
    digest_field: &'static str,
    kind: Kind,
}

/// What the flag's digest is of.
#[derive(Clone, Copy)]
enum Kind {
    /// Every file of the bundle but the flag, in ASCII order of the path.
    Bundle,
    /// The files that the index lists, in ASCII order of the path.
    Index,
    /// The files that the index lists, as listed.
    IndexOrder,
    /// The digests in the index, as listed.
    Members,
}

const fn gate(
    layer: &'static str,
    segment: &'static str,
    index: &'static str,
    digest_field: &'static str,
    kind: Kind,
) -> Gate {
    Gate {
        layer,
        segment,
        index,
        digest_field,
        kind,
    }
}

const GATES: [Gate; 10] = [
    gate("layer1", "1A", "index.json", "sha256_hex", Kind::Bundle),
    gate("layer1", "1B", "index.json", "sha256_hex", Kind::Bundle),
    gate("layer1", "2A", "index.json", "sha256_hex", Kind::Index),
    gate("layer1", "2B", "index.json", "sha256_hex", Kind::Index),
    gate("layer1", "3A", "index.json", "sha256_hex", Kind::Members),
    gate("layer1", "3B", "index.json", "sha256_hex", Kind::Index),
    gate(
        "layer2",
        "5A",
        "validation_bundle_index_5A.json",
        "bundle_digest_sha256",
        Kind::Index,
    ),
    gate(
        "layer2",
        "5B",
        "index.json",
        "bundle_digest_sha256",
        Kind::Index,
    ),
    gate(
        "layer3",
        "6A",
        "validation_bundle_index_6A.json",
        "sha256_hex",
        Kind::IndexOrder,
    ),
    gate("layer3", "6B", "index.json", "sha256_hex", Kind::Index),
];

/// A file of a bundle: its path below the bundle root, and its bytes.
type Member = (String, Vec<u8>);

/// Writes the bundles of all gates.
pub(super) fn write_all(spec: &SampleSpec, world: &World, outputs: &[OutputReport]) -> Result<()> {
    for gate in &GATES {
        let root = gate.root(&world.key.manifest_fingerprint);
        let members = members(gate.segment, world, outputs);
        let items: Vec<_> = members
            .iter()
            .map(|(path, bytes)| json!({"path": path, "sha256_hex": sha256_hex(bytes)}))
            .collect();
        let index = format!("{:#}\n", json!({"items": items})).into_bytes();
        let digest = digest(gate.kind, &members, (gate.index, &index));
        for (path, bytes) in &members {
            write_file(spec, &format!("{root}/{path}"), bytes)?;
        }
        write_file(spec, &format!("{root}/{}", gate.index), &index)?;
        let flag = format!("{} = {digest}\n", gate.digest_field);
        write_file(spec, &format!("{root}/_passed.flag"), flag.as_bytes())?;
    }
    Ok(())
}

impl Gate {
    fn root(&self, manifest_fingerprint: &str) -> String {
        format!(
            "data/{}/{}/validation/manifest_fingerprint={manifest_fingerprint}",
            self.layer, self.segment
        )
    }
}

/// The files of a bundle as the index lists them: not in the order that the digest takes them in.
/// `checks.json` sorts before `checks/…`, and a capital before both.
fn members(segment: &str, world: &World, outputs: &[OutputReport]) -> Vec<Member> {
    let own: Vec<_> = outputs
        .iter()
        .filter(|output| output.output_id.ends_with(segment))
        .cloned()
        .collect();
    let files = [
        (
            "summary.json",
            json!({"segment": segment, "status": "PASS", "world_key": world.key_json()}),
        ),
        (
            "checks/rows.json",
            json!({"check": "rows", "status": "PASS", "rows": row_counts(&own)}),
        ),
        (
            "checks.json",
            json!({"segment": segment, "checks": ["rows"], "failed": 0, "passed": 1}),
        ),
        (
            "Readme.json",
            json!({"segment": segment, "note": "made by worldstream sample; no engine ran"}),
        ),
    ];
    files
        .into_iter()
        .map(|(path, value)| (path.to_owned(), format!("{value}\n").into_bytes()))
        .collect()
}

/// The digest of a bundle, by its kind. `index` is the index's name and bytes.
fn digest(kind: Kind, members: &[Member], index: (&str, &[u8])) -> String {
    let mut files: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    match kind {
        Kind::Bundle => {
            files.push(index);
            files.sort();
        }
        Kind::Index => files.sort(),
        Kind::IndexOrder => {}
        Kind::Members => {
            let digests: String = files.iter().map(|(_, bytes)| sha256_hex(bytes)).collect();
            return sha256_hex(digests);
        }
    }
    let mut digest = Sha256::new();
    for (_, bytes) in files {
        digest.update(bytes);
    }
    const_hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_in_the_flags_of_a_golden_world() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/world-a");
        let fingerprint = "72e71925673576491eaf22e67448cf0f9537c221edcf846a2e5d34161b321aef";
        for gate in GATES
            .iter()
            .filter(|gate| ["5B", "6B"].contains(&gate.segment))
        {
            let root = std::path::Path::new(golden).join(gate.root(fingerprint));
            let members = ["summary.json", "checks/rows.json", "checks.json", "Z.json"]
                .map(|path| (path.to_owned(), std::fs::read(root.join(path)).unwrap()));
            let flag = std::fs::read_to_string(root.join("_passed.flag")).unwrap();
            let digest = digest(gate.kind, &members, (gate.index, b""));
            assert_eq!(flag, format!("{} = {digest}\n", gate.digest_field));
        }
    }
}
