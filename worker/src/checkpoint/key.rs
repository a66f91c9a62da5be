//! The scope key and the folder of a checkpoint (contracts section 7).

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::CheckpointKey;

impl CheckpointKey {
    /// sha256 hex of
    /// `pack_key|platform_run_id|scenario_run_id|lane_count|lane_index|attempt_id`: what the
    /// stores of section 7 call `pack_key`.
    pub fn scope_key(&self) -> String {
        const_hex::encode(Sha256::digest(format!(
            "{}|{}|{}|{}|{}|{}",
            self.pack_key,
            self.platform_run_id,
            self.scenario_run_id,
            self.lane.count,
            self.lane.index,
            self.attempt
        )))
    }

    /// `<root>/<scope key>/output_id=<output id, / as _>`.
    pub fn folder(&self, root: &Path) -> PathBuf {
        root.join(self.scope_key())
            .join(output_folder(&self.output_id))
    }
}

/// The name of an output's folder. Two output ids may share one (`a/b` and `a_b`): what is in it
/// names its output, and is refused to the other.
pub fn output_folder(output_id: &str) -> String {
    format!("output_id={}", output_id.replace('/', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Lane;

    #[test]
    fn scope_keys_are_the_references() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/vectors.json");
        let vectors: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = vectors["checkpoint_scope_key"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap().to_owned();
            let number = |name: &str| case[name].as_u64().unwrap() as u32;
            let key = CheckpointKey {
                pack_key: text("pack_key"),
                platform_run_id: text("platform_run_id"),
                scenario_run_id: text("scenario_run_id"),
                lane: Lane {
                    count: number("lane_count"),
                    index: number("lane_index"),
                },
                attempt: text("attempt_id"),
                output_id: "unused".into(),
            };
            assert_eq!(key.scope_key(), text("expect"), "{case}");
        }
    }

    #[test]
    fn a_folder_never_leaves_the_root() {
        for (output, folder) in [
            ("arrival_events_5B", "output_id=arrival_events_5B"),
            ("a/b", "output_id=a_b"),
            ("../../etc", "output_id=.._.._etc"),
            ("..", "output_id=.."),
            ("ausgänge/é", "output_id=ausgänge_é"),
        ] {
            assert_eq!(output_folder(output), folder);
            assert_eq!(Path::new(&output_folder(output)).components().count(), 1);
        }
    }
}
