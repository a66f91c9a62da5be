//! The catalogue of outputs, as far as streaming needs it (contracts section 2). The engine's
//! own file has many more fields and outputs; both are passed over.

use std::collections::BTreeMap;

use crate::Reason;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::plan::Named;

/// The outputs of an engine, by id.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The file's name, for messages.
    pub name: String,
    outputs: BTreeMap<String, CatalogueOutput>,
}

/// One table of an engine run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueOutput {
    /// The output's id.
    pub id: String,
    /// What the engine calls it, such as `surface` or `gate`; may be empty.
    pub class: String,
    /// Where its raw parts are, below the run root: placeholders, maybe a slash or a glob at its
    /// end (the world room renders it). Trimmed.
    pub path_template: String,
    /// Columns of the primary key, in order; empty for what cannot be streamed.
    pub primary_key: Vec<String>,
    /// Ids of the gates that must pass before it is read.
    pub gates: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    outputs: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    output_id: String,
    #[serde(default)]
    class: Option<String>,
    path_template: String,
    #[serde(default)]
    primary_key: Option<Vec<String>>,
    #[serde(default)]
    read_requires_gates: Option<Vec<String>>,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// `STREAM_FAILED` when the file could not be read, is not YAML of this form, or names an
    /// output twice.
    pub fn parse(file: &Named) -> Result<Self> {
        let content: File = parse_yaml(file, "a catalogue of outputs")?;
        let mut outputs = BTreeMap::new();
        for (index, entry) in content.outputs.into_iter().enumerate() {
            let id = entry.output_id.trim().to_owned();
            let field = format!("outputs[{index}].output_id");
            if id.is_empty() {
                return Err(policy_failure(file, field)
                    .found("nothing")
                    .expected("an id"));
            }
            let output = CatalogueOutput {
                id: id.clone(),
                class: entry.class.unwrap_or_default(),
                path_template: entry.path_template.trim().to_owned(),
                primary_key: entry.primary_key.unwrap_or_default(),
                gates: entry.read_requires_gates.unwrap_or_default(),
            };
            if outputs.insert(id.clone(), output).is_some() {
                return Err(policy_failure(file, field)
                    .found(format!("{id} a second time"))
                    .expected("each output once"));
            }
        }
        Ok(Catalogue {
            name: file.name.clone(),
            outputs,
        })
    }

    /// The output of this id.
    pub fn get(&self, id: &str) -> Option<&CatalogueOutput> {
        self.outputs.get(id)
    }

    /// All outputs, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogueOutput> {
        self.outputs.values()
    }

    /// How many outputs there are.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// The text of a policy file.
pub fn text(file: &Named) -> Result<&str> {
    file.text.as_deref().map_err(|cause| {
        Failure::new(Reason::StreamFailed, &file.name)
            .found("a file that cannot be read")
            .expected("a text file")
            .detail(cause)
    })
}

/// Parses a policy file; unknown fields are the type's business.
pub fn parse_yaml<T: DeserializeOwned>(file: &Named, what: &str) -> Result<T> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text(file)?, options).map_err(|error| {
        Failure::new(Reason::StreamFailed, &file.name)
            .found("a text that is none")
            .expected(format!("{what}, as YAML"))
            .detail(error.to_string())
    })
}

/// A mistake in a policy file, which has no code of its own.
pub fn policy_failure(file: &Named, field: String) -> Failure {
    Failure::new(Reason::StreamFailed, &file.name).field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Catalogue> {
        Catalogue::parse(&Named {
            name: "cat.yaml".into(),
            text: Ok(text.into()),
        })
    }

    #[test]
    fn unknown_fields_are_passed_over_and_templates_trimmed() {
        let catalogue = parse(
            "version: '1.0'\nnotes: {a: [1]}\noutputs:\n\
             - output_id: o1\n  class: surface\n  immutability: {once: true}\n  \
             path_template: 'data/{seed}/part-*.parquet\n\n    '\n  \
             primary_key: [a, b]\n  read_requires_gates:\n  - g1\n\
             - output_id: o2\n  path_template: data/o2/\n  primary_key: ~\n",
        )
        .unwrap();
        assert_eq!(catalogue.len(), 2);
        let o1 = catalogue.get("o1").unwrap();
        assert_eq!(o1.path_template, "data/{seed}/part-*.parquet");
        assert_eq!(
            (&o1.primary_key[..], &o1.gates[..]),
            (
                &["a".to_owned(), "b".to_owned()][..],
                &["g1".to_owned()][..]
            )
        );
        let o2 = catalogue.get("o2").unwrap();
        assert!(o2.primary_key.is_empty() && o2.gates.is_empty());
        assert!(catalogue.get("o3").is_none());
    }

    #[test]
    fn what_is_no_catalogue_is_refused_with_its_place() {
        for (text, parts) in [
            ("", &["cat.yaml"][..]),
            ("outputs: 3", &["cat.yaml", "line 1"]),
            ("outputs: [", &["line 1"]),
            ("output: []", &["outputs"]),
            ("outputs:\n- path_template: x\n", &["output_id", "line 2"]),
            ("outputs:\n- output_id: a\n", &["path_template", "line 2"]),
            (
                "outputs:\n- output_id: ''\n  path_template: x\n",
                &["outputs[0].output_id"],
            ),
            (
                "outputs:\n- {output_id: a, path_template: x}\n- {output_id: a, path_template: y}",
                &["outputs[1].output_id", "a second time"],
            ),
            (
                "outputs:\n- {output_id: a, path_template: x, primary_key: seed}",
                &["line 2"],
            ),
            ("outputs: []\noutputs: []", &["outputs"]),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.reason(), Reason::StreamFailed, "{failure}");
            for part in parts {
                assert!(failure.message().contains(part), "{text:?}: {failure}");
            }
        }
        let failure = Catalogue::parse(&Named {
            name: "cat.yaml".into(),
            text: Err("No such file".into()),
        })
        .unwrap_err();
        assert!(failure.message().contains("No such file"), "{failure}");
    }
}
