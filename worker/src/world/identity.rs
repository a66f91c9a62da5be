//! Ids: pack, view, checkpoint scope and lane (contracts sections 1, 3, 6 and 7). Pure; the
//! reference computes the same to the byte.

use sha2::{Digest, Sha256};

use super::WorldKey;

/// The sort keys of every view, as they are written in its manifest and hashed into its id.
pub const SORT_KEYS: [&str; 3] = ["ts_utc", "filename", "file_row_number"];

/// The partition granularity of every view.
pub const PARTITION_GRANULARITY: &str = "flat";

/// sha256 of some bytes, 64 lower-case hex digits.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

/// `oracle_pack_id`: sha256 of the world key, the engine's release and the digests of catalogue
/// and gate map, joined by vertical bars (contracts section 1).
pub fn oracle_pack_id(
    key: &WorldKey,
    engine_release: &str,
    catalogue_digest: &str,
    gate_map_digest: &str,
) -> String {
    sha256_hex(format!(
        "{}|{}|{}|{}|{engine_release}|{catalogue_digest}|{gate_map_digest}",
        key.manifest_fingerprint, key.parameter_hash, key.scenario_id, key.seed
    ))
}

/// The pack key of a world without a manifest: sha256 of the resolved root's text.
pub fn fallback_pack_key(root: &str) -> String {
    sha256_hex(root)
}

/// `stream_view_id`: sha256 of a JSON object with sorted keys, no spaces, and everything outside
/// printable ASCII escaped (contracts section 3). `root` is the resolved root's text.
pub fn stream_view_id(root: &str, scenario_id: &str, output_id: &str) -> String {
    let mut json = String::from("{\"engine_run_root\":");
    ascii_json_string(&mut json, root);
    json.push_str(",\"output_id\":");
    ascii_json_string(&mut json, output_id);
    json.push_str(",\"partition_granularity\":");
    ascii_json_string(&mut json, PARTITION_GRANULARITY);
    json.push_str(",\"scenario_id\":");
    ascii_json_string(&mut json, scenario_id);
    json.push_str(",\"sort_keys\":[");
    for (index, key) in SORT_KEYS.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        ascii_json_string(&mut json, key);
    }
    json.push_str("]}");
    sha256_hex(json)
}

/// The scope key of a checkpoint: what, beside the output id, a cursor belongs to (contracts
/// section 7). `attempt` is empty by default.
pub fn checkpoint_scope_key(
    pack_key: &str,
    platform_run_id: &str,
    scenario_run_id: &str,
    lane_count: u32,
    lane_index: u32,
    attempt: &str,
) -> String {
    sha256_hex(format!(
        "{pack_key}|{platform_run_id}|{scenario_run_id}|{lane_count}|{lane_index}|{attempt}"
    ))
}

/// The lane that an event belongs to: the first 8 bytes of sha256 of its id as a big-endian
/// integer, modulo the number of lanes (contracts section 6).
///
/// With one lane, or none, it is 0 and nothing is hashed.
pub fn lane(event_id: &str, lane_count: u32) -> u32 {
    if lane_count <= 1 {
        return 0;
    }
    let digest = Sha256::digest(event_id);
    let first = digest
        .iter()
        .take(8)
        .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    u32::try_from(first % u64::from(lane_count)).expect("a remainder is below its u32 divisor")
}

/// Writes a text as the reference's JSON writer does: everything outside printable ASCII as
/// `\uXXXX`, beyond the basic plane as a surrogate pair.
fn ascii_json_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors(of: &str) -> Vec<Value> {
        let text = include_str!("../../../tests/golden/vectors.json");
        let all: Value = serde_json::from_str(text).unwrap();
        let of = all[of].as_array().unwrap().clone();
        assert!(!of.is_empty());
        of
    }

    fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
        vector[field].as_str().unwrap()
    }

    fn number(vector: &Value, field: &str) -> u32 {
        vector[field].as_u64().unwrap().try_into().unwrap()
    }

    #[test]
    fn view_ids_are_the_references() {
        for v in vectors("stream_view_id") {
            assert_eq!(v["sort_keys"], serde_json::json!(SORT_KEYS));
            assert_eq!(v["partition_granularity"], PARTITION_GRANULARITY);
            let id = stream_view_id(
                text(&v, "engine_run_root"),
                text(&v, "scenario_id"),
                text(&v, "output_id"),
            );
            assert_eq!(id, text(&v, "expect"), "{v}");
        }
    }

    #[test]
    fn fallback_pack_keys_are_the_references() {
        for v in vectors("fallback_pack_key") {
            let key = fallback_pack_key(text(&v, "engine_run_root"));
            assert_eq!(key, text(&v, "expect"), "{v}");
        }
    }

    #[test]
    fn pack_ids_are_the_references() {
        for v in vectors("oracle_pack_id") {
            let key = WorldKey {
                manifest_fingerprint: text(&v["world_key"], "manifest_fingerprint").to_owned(),
                parameter_hash: text(&v["world_key"], "parameter_hash").to_owned(),
                scenario_id: text(&v["world_key"], "scenario_id").to_owned(),
                seed: v["world_key"]["seed"].as_u64().unwrap(),
            };
            let id = oracle_pack_id(
                &key,
                text(&v, "engine_release"),
                text(&v, "catalogue_digest"),
                text(&v, "gate_map_digest"),
            );
            assert_eq!(id, text(&v, "expect"), "{v}");
        }
    }

    #[test]
    fn scope_keys_are_the_references() {
        for v in vectors("checkpoint_scope_key") {
            let key = checkpoint_scope_key(
                text(&v, "pack_key"),
                text(&v, "platform_run_id"),
                text(&v, "scenario_run_id"),
                number(&v, "lane_count"),
                number(&v, "lane_index"),
                text(&v, "attempt_id"),
            );
            assert_eq!(key, text(&v, "expect"), "{v}");
        }
    }

    #[test]
    fn lanes_are_the_references() {
        for v in vectors("lane") {
            let lane = lane(text(&v, "event_id"), number(&v, "lane_count"));
            assert_eq!(lane, number(&v, "expect"), "{v}");
        }
    }

    #[test]
    fn control_characters_have_the_short_escapes() {
        let mut json = String::new();
        ascii_json_string(&mut json, "\u{8}\u{c}\n\r\t\u{1}\u{7f}é😀\"\\/");
        assert_eq!(json, r#""\b\f\n\r\t\u0001\u007f\u00e9\ud83d\ude00\"\\/""#);
    }
}
