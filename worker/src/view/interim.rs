//! Stands in until the room `world` is merged.

use sha2::{Digest, Sha256};

pub(super) fn stream_view_id(root: &str, scenario_id: &str, output_id: &str) -> String {
    let escape = |text: &str| {
        let mut out = String::new();
        for c in serde_json::Value::from(text).to_string().chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        out
    };
    let text = format!(
        r#"{{"engine_run_root":{},"output_id":{},"partition_granularity":"flat","scenario_id":{},"sort_keys":["ts_utc","filename","file_row_number"]}}"#,
        escape(root),
        escape(output_id),
        escape(scenario_id)
    );
    const_hex::encode(Sha256::digest(text.as_bytes()))
}
