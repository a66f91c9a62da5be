//! Path templates of catalogue and gate map: `{seed}` and its like replaced (contracts section 2).

use super::{Receipt, WorldKey};

/// Replaces the placeholders of a template by the world's values. Space at its ends, such as a
/// newline, is cut; a slash or a glob at its end stays.
///
/// # Errors
/// A text that says what is wrong: a placeholder that a streamed world has no value for, an open
/// brace, or a path that climbs out of the run root.
pub fn render(template: &str, key: &WorldKey, run_id: &str) -> Result<String, String> {
    let mut path = String::new();
    let mut rest = template.trim();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("an open brace in {template:?}"))?;
        path.push_str(before);
        match name {
            "seed" => path.push_str(&key.seed.to_string()),
            "manifest_fingerprint" => path.push_str(&key.manifest_fingerprint),
            "parameter_hash" => path.push_str(&key.parameter_hash),
            "scenario_id" => path.push_str(&key.scenario_id),
            "run_id" => path.push_str(run_id),
            _ => return Err(format!("the placeholder {{{name}}} in {template:?}")),
        }
        rest = after;
    }
    path.push_str(rest);
    if path.is_empty() {
        return Err("an empty template".into());
    }
    relative(&path).ok_or_else(|| format!("{path:?}, which leaves the run root"))
}

/// A path below the run root with single slashes and without `.` segments; a slash at its end
/// stays. None if it is absolute or climbs with `..`.
pub(super) fn relative(path: &str) -> Option<String> {
    if path.starts_with('/') || path.split('/').any(|segment| segment == "..") {
        return None;
    }
    let mut clean = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect::<Vec<_>>()
        .join("/");
    if path.ends_with('/') && !clean.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

/// The world key that templates are rendered with.
pub(crate) fn world_key(receipt: &Receipt, scenario_id: String) -> WorldKey {
    WorldKey {
        manifest_fingerprint: receipt.manifest_fingerprint.clone(),
        parameter_hash: receipt.parameter_hash.clone(),
        scenario_id,
        seed: receipt.seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> WorldKey {
        WorldKey {
            manifest_fingerprint: "f".repeat(64),
            parameter_hash: "e".repeat(64),
            scenario_id: "s 1".into(),
            seed: u64::MAX,
        }
    }

    #[test]
    fn placeholders_are_replaced_and_ends_are_trimmed() {
        let path = render(
            "data/x/seed={seed}/scenario_id={scenario_id}/r={run_id}/part-*.parquet\n",
            &key(),
            "r1",
        );
        assert_eq!(
            path.unwrap(),
            "data/x/seed=18446744073709551615/scenario_id=s 1/r=r1/part-*.parquet"
        );
        let path = render(
            "  a//./{parameter_hash}/{manifest_fingerprint}/",
            &key(),
            "",
        );
        assert_eq!(
            path.unwrap(),
            format!("a/{}/{}/", "e".repeat(64), "f".repeat(64))
        );
    }

    #[test]
    fn what_cannot_be_a_path_of_this_world_is_refused() {
        for (template, part) in [
            ("a/{utc_day}/x", "{utc_day}"),
            ("a/{seed", "open brace"),
            ("/etc/passwd", "leaves the run root"),
            ("a/../../b", "leaves the run root"),
            (" \n", "empty"),
        ] {
            let error = render(template, &key(), "").unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
        let climbing = WorldKey {
            scenario_id: "../../x".into(),
            ..key()
        };
        assert!(render("a/{scenario_id}/b", &climbing, "").is_err());
    }
}
