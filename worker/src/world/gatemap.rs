//! The gate map: where a gate's flag and bundle are, and how its digest is made (contracts
//! section 2). Unknown fields are passed over. What only the digest check needs may be missing
//! where digests are not checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use worldstream_crds::Reason;

use super::catalogue::{parse_yaml, policy_failure};
use crate::failure::{Failure, Result};
use crate::plan::Named;

/// The gates of an engine, by id.
#[derive(Debug, Clone)]
pub struct GateMap {
    /// The file's name, for messages.
    pub name: String,
    gates: BTreeMap<String, Gate>,
}

/// One gate, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gate {
    /// The gate's id.
    #[serde(rename = "gate_id")]
    pub id: String,
    /// Where its flag is.
    pub passed_flag_path_template: String,
    /// The folder that the bundle digest is over, and that an index's paths are relative to.
    #[serde(default)]
    pub bundle_root_template: Option<String>,
    /// Where its index is.
    #[serde(default)]
    pub index_path_template: Option<String>,
    /// Ids of the gates that it depends on.
    #[serde(default)]
    upstream_gate_dependencies: Option<Vec<String>>,
    #[serde(default)]
    verification_method: Option<Method>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Method {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    digest_field: Option<String>,
    #[serde(default)]
    ordering: Option<String>,
    #[serde(default)]
    path_base: Option<String>,
    #[serde(default)]
    exclude_filenames: Option<Vec<String>>,
}

/// How a gate's digest is made, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRule {
    /// The field of the flag that carries the digest, and of an index's entries where their
    /// digests are joined.
    pub field: String,
    /// The folder of the bundle.
    pub bundle_root: String,
    /// What is hashed.
    pub over: DigestOver,
}

/// What a gate's digest is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestOver {
    /// Every file below the bundle root: `sha256_bundle_digest`.
    Bundle {
        /// Paths and file names that are left out.
        exclude: Vec<String>,
    },
    /// The files that the index lists: `sha256_index_json_ascii_lex_raw_bytes`.
    Index {
        /// The index's path template.
        index: String,
        /// Paths and file names that are left out.
        exclude: Vec<String>,
        /// As listed instead of in ASCII order.
        as_listed: bool,
        /// Listed paths are relative to the run root instead of the bundle root.
        from_run_root: bool,
    },
    /// The digests that the index lists: `sha256_member_digest_concat`.
    Members {
        /// The index's path template.
        index: String,
    },
}

#[derive(Deserialize)]
struct File {
    gates: Vec<Gate>,
}

impl GateMap {
    /// Reads a gate map.
    ///
    /// # Errors
    /// `STREAM_FAILED` when the file could not be read, is not YAML of this form, or names a gate
    /// twice.
    pub fn parse(file: &Named) -> Result<Self> {
        let content: File = parse_yaml(file, "a map of gates")?;
        let mut gates = BTreeMap::new();
        for (index, gate) in content.gates.into_iter().enumerate() {
            let field = |name: &str| format!("gates[{index}].{name}");
            if gate.id.is_empty() {
                return Err(policy_failure(file, field("gate_id"))
                    .found("nothing")
                    .expected("an id"));
            }
            let id = gate.id.clone();
            if gates.insert(id.clone(), gate).is_some() {
                return Err(policy_failure(file, field("gate_id"))
                    .found(format!("{id} a second time"))
                    .expected("each gate once"));
            }
        }
        Ok(GateMap {
            name: file.name.clone(),
            gates,
        })
    }

    /// The gate of this id.
    pub fn get(&self, id: &str) -> Option<&Gate> {
        self.gates.get(id)
    }

    /// How many gates there are.
    pub fn len(&self) -> usize {
        self.gates.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.gates.is_empty()
    }

    /// How this gate's digest is made.
    ///
    /// # Errors
    /// `STREAM_FAILED` naming the field that is missing or has a value that we do not know.
    pub fn digest_rule(&self, gate: &Gate) -> Result<DigestRule> {
        let failure = |field: &str, found: Option<&str>| {
            Failure::new(Reason::StreamFailed, &self.name)
                .field(format!("gate {}: {field}", gate.id))
                .found(found.unwrap_or("nothing"))
        };
        let given = |field: &str, value: &Option<String>| {
            value
                .as_deref()
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| failure(field, None).expected("a value, to check its digest"))
        };
        let method = gate.verification_method.as_ref().ok_or_else(|| {
            failure("verification_method", None).expected("a method, to check its digest")
        })?;
        let index = || given("index_path_template", &gate.index_path_template);
        let exclude = || method.exclude_filenames.clone().unwrap_or_default();
        let over = match given("verification_method.kind", &method.kind)?.as_str() {
            "sha256_bundle_digest" => DigestOver::Bundle { exclude: exclude() },
            "sha256_index_json_ascii_lex_raw_bytes" => DigestOver::Index {
                index: index()?,
                exclude: exclude(),
                as_listed: match method.ordering.as_deref() {
                    None | Some("ascii_lex") => false,
                    Some("index_order") => true,
                    other => {
                        return Err(failure("verification_method.ordering", other)
                            .expected("ascii_lex or index_order"));
                    }
                },
                from_run_root: match method.path_base.as_deref() {
                    None | Some("bundle_root") => false,
                    Some("run_root") => true,
                    other => {
                        return Err(failure("verification_method.path_base", other)
                            .expected("bundle_root or run_root"));
                    }
                },
            },
            "sha256_member_digest_concat" => DigestOver::Members { index: index()? },
            other => {
                return Err(failure("verification_method.kind", Some(other)).expected(
                    "sha256_bundle_digest, sha256_index_json_ascii_lex_raw_bytes or \
                     sha256_member_digest_concat",
                ));
            }
        };
        Ok(DigestRule {
            field: given("verification_method.digest_field", &method.digest_field)?,
            bundle_root: given("bundle_root_template", &gate.bundle_root_template)?,
            over,
        })
    }
}

impl Gate {
    /// Ids of the gates that it depends on.
    pub fn upstream(&self) -> &[String] {
        self.upstream_gate_dependencies.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GateMap> {
        GateMap::parse(&Named {
            name: "gates.yaml".into(),
            text: Ok(text.into()),
        })
    }

    #[test]
    fn what_is_no_gate_map_is_refused_with_its_place() {
        for (text, part) in [
            ("", "gates.yaml"),
            ("gates: {}", "line 1"),
            ("gates:\n- gate_id: g\n", "passed_flag_path_template"),
            ("gates:\n- passed_flag_path_template: x\n", "gate_id"),
            (
                "gates:\n- {gate_id: '', passed_flag_path_template: x}",
                "gates[0].gate_id",
            ),
            (
                "gates:\n- {gate_id: g, passed_flag_path_template: x}\n\
                 - {gate_id: g, passed_flag_path_template: x}",
                "g a second time",
            ),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.reason(), Reason::StreamFailed, "{failure}");
            assert!(failure.message().contains(part), "{text:?}: {failure}");
        }
    }

    #[test]
    fn a_method_that_is_not_whole_or_not_known_is_refused_when_it_is_asked_for() {
        let rest = "bundle_root_template: b, index_path_template: i";
        for (fields, part) in [
            (String::new(), "verification_method"),
            ("verification_method: {}".into(), "kind"),
            (
                format!("{rest}, verification_method: {{kind: md5, digest_field: d}}"),
                "md5",
            ),
            (
                format!("{rest}, verification_method: {{kind: sha256_bundle_digest}}"),
                "digest_field",
            ),
            (
                "verification_method: {kind: sha256_bundle_digest, digest_field: d}".into(),
                "bundle_root_template",
            ),
            (
                "verification_method: {kind: sha256_member_digest_concat, digest_field: d}".into(),
                "index_path_template",
            ),
            (
                format!(
                    "{rest}, verification_method: {{kind: sha256_index_json_ascii_lex_raw_bytes, \
                     digest_field: d, ordering: random}}"
                ),
                "random",
            ),
            (
                format!(
                    "{rest}, verification_method: {{kind: sha256_index_json_ascii_lex_raw_bytes, \
                     digest_field: d, path_base: home}}"
                ),
                "home",
            ),
        ] {
            let map = parse(&format!(
                "gates:\n- {{gate_id: g, passed_flag_path_template: x, {fields}}}"
            ))
            .unwrap();
            let failure = map.digest_rule(map.get("g").unwrap()).unwrap_err();
            assert_eq!(failure.reason(), Reason::StreamFailed);
            let message = failure.message();
            assert!(message.contains("gate g"), "{failure}");
            assert!(message.contains(part), "{fields}: {failure}");
        }
    }
}
