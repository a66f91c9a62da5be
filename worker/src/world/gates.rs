//! Whether the gates of a world have passed: by the existence of their flags, or by the digests
//! in them (contracts section 2).

use std::collections::{BTreeSet, VecDeque};

use futures::TryStreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use worldstream_crds::{GateCheck, Reason};

use super::catalogue::CatalogueOutput;
use super::gatemap::{DigestOver, DigestRule, Gate, GateMap};
use super::json::{self, describe, is_hex};
use super::template::{relative, render};
use super::{WorldKey, WorldStore};
use crate::failure::{Failure, Result};

/// Checks the gates of one world.
#[derive(Debug, Clone, Copy)]
pub struct Gates<'a> {
    /// Where the world is read.
    pub store: &'a WorldStore,
    /// What the gates are.
    pub map: &'a GateMap,
    /// What templates are rendered with.
    pub key: &'a WorldKey,
    /// What templates are rendered with.
    pub run_id: &'a str,
}

impl Gates<'_> {
    /// Checks every gate that one of the outputs requires, in the outputs' order, and with
    /// `upstream` the gates that those depend on, and theirs; each once.
    ///
    /// # Errors
    /// `GATE_PASS_MISSING` when a gate is not in the map, or has no flag; by digest also when its
    /// bundle, its index or a listed file is absent. `GATE_PASS_INVALID` when its flag does not
    /// carry the digest of its bundle. `STREAM_FAILED` for a mistake in the gate map.
    pub async fn check<'o>(
        &self,
        outputs: impl IntoIterator<Item = &'o CatalogueOutput>,
        how: GateCheck,
        upstream: bool,
    ) -> Result<()> {
        let mut open: VecDeque<(String, String)> = outputs
            .into_iter()
            .flat_map(|output| {
                output
                    .gates
                    .iter()
                    .map(|gate| (gate.clone(), output.id.clone()))
            })
            .collect();
        let mut seen = BTreeSet::new();
        while let Some((id, required_by)) = open.pop_front() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let gate = self.map.get(&id).ok_or_else(|| {
                Failure::new(Reason::GatePassMissing, &self.map.name)
                    .field(format!("gate {id}"))
                    .found("no such gate")
                    .expected(format!("the gate that {required_by} requires"))
            })?;
            match how {
                GateCheck::Existence => self.check_existence(gate).await?,
                GateCheck::Digest => self.check_digest(gate).await?,
            }
            if upstream {
                open.extend(gate.upstream().iter().map(|on| (on.clone(), id.clone())));
            }
        }
        Ok(())
    }

    async fn check_existence(&self, gate: &Gate) -> Result<()> {
        let flag = self.path(gate, &gate.passed_flag_path_template)?;
        match self.store.exists(&flag).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.missing(gate, &flag, "flag")),
            Err(error) => Err(error.explain(self.missing(gate, &flag, "flag"))),
        }
    }

    async fn check_digest(&self, gate: &Gate) -> Result<()> {
        let rule = self.map.digest_rule(gate)?;
        let flag = self.path(gate, &gate.passed_flag_path_template)?;
        let bytes = self.read(gate, &flag, "flag").await?;
        let claimed = claimed_digest(&bytes, &rule.field).map_err(|found| {
            self.invalid(gate, &flag)
                .found(found)
                .expected(format!("{} = <64 lower-case hex digits>", rule.field))
        })?;
        let digest = self.digest(gate, &rule).await?;
        if claimed != digest {
            return Err(self
                .invalid(gate, &flag)
                .found(claimed)
                .expected(format!("{digest}, the digest of its bundle")));
        }
        Ok(())
    }

    async fn digest(&self, gate: &Gate, rule: &DigestRule) -> Result<String> {
        let root = self.path(gate, &rule.bundle_root)?;
        match self.store.any(&root).await {
            Ok(true) => {}
            Ok(false) => return Err(self.missing(gate, &root, "bundle")),
            Err(error) => return Err(error.explain(self.missing(gate, &root, "bundle"))),
        }
        let below_root = |path: &str| format!("{}/{path}", root.trim_end_matches('/'));
        match &rule.over {
            DigestOver::Bundle { exclude } => {
                let found = self.store.walk(&root).await;
                let files =
                    found.map_err(|error| error.explain(self.missing(gate, &root, "bundle")))?;
                let paths = files
                    .into_iter()
                    .map(|(path, _)| path)
                    .filter(|path| !excluded(path, exclude))
                    .map(|path| below_root(&path));
                self.digest_of_files(gate, paths).await
            }
            DigestOver::Index {
                index,
                exclude,
                as_listed,
                from_run_root,
            } => {
                let index = self.path(gate, index)?;
                let entries = self
                    .entries(
                        gate,
                        &index,
                        true,
                        &["items", "members", "entries", "files"],
                    )
                    .await?;
                let mut listed = Vec::new();
                for (place, entry) in entries.iter().enumerate() {
                    let path = self.entry_text(gate, &index, place, entry, "path")?;
                    if !excluded(path, exclude) {
                        listed.push((path, self.listed_path(gate, &index, place, path)?));
                    }
                }
                if !as_listed {
                    listed.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
                }
                let paths = listed.into_iter().map(|(_, path)| match from_run_root {
                    true => path,
                    false => below_root(&path),
                });
                self.digest_of_files(gate, paths).await
            }
            DigestOver::Members { index } => {
                let index = self.path(gate, index)?;
                let entries = self
                    .entries(gate, &index, false, &["members", "items"])
                    .await?;
                let mut digest = Sha256::new();
                for (place, entry) in entries.iter().enumerate() {
                    digest.update(self.entry_text(gate, &index, place, entry, &rule.field)?);
                }
                Ok(const_hex::encode(digest.finalize()))
            }
        }
    }

    /// sha256 over the bytes of these files, one after the other.
    async fn digest_of_files(
        &self,
        gate: &Gate,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<String> {
        let mut digest = Sha256::new();
        for path in paths {
            let missing = || self.missing(gate, &path, "listed file");
            let opened = self.store.stream(&path).await;
            let mut bytes = opened
                .map_err(|error| error.explain(missing()))?
                .ok_or_else(missing)?;
            while let Some(chunk) = bytes
                .try_next()
                .await
                .map_err(|error| error.explain(missing()))?
            {
                digest.update(&chunk);
            }
        }
        Ok(const_hex::encode(digest.finalize()))
    }

    /// The entries of an index: the list itself where that is allowed, or the list under the
    /// first of these fields that there is.
    async fn entries(
        &self,
        gate: &Gate,
        index: &str,
        bare: bool,
        fields: &[&str],
    ) -> Result<Vec<Value>> {
        let bytes = self.read(gate, index, "index").await?;
        let value = json::parse(&self.store.name(index), &bytes, Reason::GatePassInvalid)
            .map_err(|failure| failure.field(format!("gate {}", gate.id)))?;
        let found = match value {
            Value::Array(entries) if bare => return Ok(entries),
            Value::Object(mut object) => {
                let field = fields.iter().find(|field| object.contains_key(**field));
                match field.and_then(|field| object.remove(*field)) {
                    Some(Value::Array(entries)) => return Ok(entries),
                    other => describe(other.as_ref()),
                }
            }
            other => describe(Some(&other)),
        };
        Err(self
            .invalid(gate, index)
            .found(found)
            .expected(format!("a list under {}", fields.join(" or "))))
    }

    fn entry_text<'v>(
        &self,
        gate: &Gate,
        index: &str,
        place: usize,
        entry: &'v Value,
        field: &str,
    ) -> Result<&'v str> {
        entry
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                self.invalid(gate, index)
                    .found(format!("{} in entry {place}", describe(Some(entry))))
                    .expected(format!("an object with a text {field}"))
            })
    }

    fn listed_path(&self, gate: &Gate, index: &str, place: usize, path: &str) -> Result<String> {
        relative(path).ok_or_else(|| {
            self.invalid(gate, index)
                .found(format!("path {path:?} in entry {place}"))
                .expected("a path that does not leave its folder")
        })
    }

    /// A template of the gate map, rendered.
    fn path(&self, gate: &Gate, template: &str) -> Result<String> {
        render(template, self.key, self.run_id).map_err(|found| {
            Failure::new(Reason::StreamFailed, &self.map.name)
                .field(format!("gate {}", gate.id))
                .found(found)
                .expected("a path template of a gate")
        })
    }

    async fn read(&self, gate: &Gate, path: &str, what: &str) -> Result<bytes::Bytes> {
        self.store
            .read(path)
            .await
            .map_err(|error| error.explain(self.missing(gate, path, what)))?
            .ok_or_else(|| self.missing(gate, path, what))
    }

    fn missing(&self, gate: &Gate, path: &str, what: &str) -> Failure {
        Failure::new(Reason::GatePassMissing, self.store.name(path))
            .field(format!("gate {}", gate.id))
            .found("nothing that can be read")
            .expected(format!("the gate's {what}"))
    }

    fn invalid(&self, gate: &Gate, path: &str) -> Failure {
        Failure::new(Reason::GatePassInvalid, self.store.name(path))
            .field(format!("gate {}", gate.id))
    }
}

/// Whether a path is left out: it equals an entry, or its file name does.
fn excluded(path: &str, exclude: &[String]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    exclude.iter().any(|entry| entry == path || entry == name)
}

/// The digest that a flag claims, or what was found instead: `<field> = <hex>`, or a JSON object
/// with that field.
fn claimed_digest(flag: &[u8], field: &str) -> Result<String, String> {
    let text = std::str::from_utf8(flag).map_err(|_| "bytes that are not UTF-8".to_owned())?;
    let text = text.trim();
    let found = || match text {
        "" => "an empty flag".to_owned(),
        text => text.to_owned(),
    };
    let claimed = if text.starts_with('{') {
        let object: Value = serde_json::from_str(text).map_err(|_| found())?;
        object.get(field).and_then(Value::as_str).map(str::to_owned)
    } else {
        text.split_once('=')
            .filter(|(key, _)| key.trim() == field)
            .map(|(_, value)| value.trim().to_owned())
    };
    claimed.filter(|hex| is_hex(hex, 64)).ok_or_else(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_a_line_or_an_object_with_the_field() {
        let hex = "0123456789abcdef".repeat(4);
        for good in [
            format!("d = {hex}"),
            format!("d={hex}\n"),
            format!("\n  d\t=  {hex} \r\n"),
            format!(r#"{{"other": 1, "d": "{hex}"}}"#),
        ] {
            assert_eq!(claimed_digest(good.as_bytes(), "d").unwrap(), hex, "{good}");
        }
        for bad in [
            String::new(),
            " \n".into(),
            hex.clone(),
            format!("e = {hex}"),
            format!("d: {hex}"),
            format!("d = {}", hex.to_uppercase()),
            format!("d = {}", &hex[1..]),
            format!("d = {hex}0"),
            format!("d = {hex}\ne = {hex}"),
            "d = ".into(),
            "{}".into(),
            r#"{"d": 1}"#.into(),
            format!(r#"{{"d": "{hex}""#),
            format!(r#"{{"e": "{hex}"}}"#),
            format!("\u{feff}d = {hex}"),
        ] {
            assert!(claimed_digest(bad.as_bytes(), "d").is_err(), "{bad:?}");
        }
        assert!(
            claimed_digest(b"d = \xff", "d")
                .unwrap_err()
                .contains("UTF-8")
        );
    }

    #[test]
    fn exclusion_is_by_path_or_by_file_name() {
        let exclude = ["_passed.flag".to_owned(), "a/b".to_owned()];
        for (path, expect) in [
            ("_passed.flag", true),
            ("z/_passed.flag", true),
            ("a/b", true),
            ("x/a/b", false),
            ("b", false),
            ("_passed.flag/x", false),
        ] {
            assert_eq!(excluded(path, &exclude), expect, "{path}");
        }
    }
}
