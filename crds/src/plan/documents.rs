//! The documents that people write: WorldStream, StreamProfile and ReadyTrigger, in one or several YAML files
//! of one or several documents each.

use std::collections::BTreeMap;

use crate::{API_VERSION, ReadyTriggerSpec, StreamProfileSpec, WorldStreamSpec};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::built_in;
use super::error::UsageError;
use super::yaml::{Shape, Yaml};

/// A document, and where each of its fields is written.
#[derive(Clone, Debug)]
pub struct Document<S> {
    /// `metadata.name`.
    pub name: String,
    /// `spec`.
    pub spec: S,
    /// Where it is written.
    pub yaml: Yaml,
}

/// All documents of a command.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// At most one stream.
    pub stream: Option<Document<WorldStreamSpec>>,
    /// Profiles, each name once.
    pub profiles: Vec<Document<StreamProfileSpec>>,
    /// At most one trigger; a command that streams one world takes none.
    pub trigger: Option<Document<ReadyTriggerSpec>>,
}

/// What tells documents apart; the rest is read once the kind is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw<S> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: S,
    /// A document that was read from a cluster has one; it decides nothing here.
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

/// The metadata that a cluster knows. Only the name matters here, but a field that nobody knows
/// is a mistake here as well.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(rename = "namespace")]
    _namespace: Option<String>,
    #[serde(rename = "labels")]
    _labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
    #[serde(rename = "creationTimestamp")]
    _creation_timestamp: Option<IgnoredAny>,
    #[serde(rename = "finalizers")]
    _finalizers: Option<IgnoredAny>,
    #[serde(rename = "generation")]
    _generation: Option<IgnoredAny>,
    #[serde(rename = "managedFields")]
    _managed_fields: Option<IgnoredAny>,
    #[serde(rename = "ownerReferences")]
    _owner_references: Option<IgnoredAny>,
    #[serde(rename = "resourceVersion")]
    _resource_version: Option<IgnoredAny>,
    #[serde(rename = "uid")]
    _uid: Option<IgnoredAny>,
}

impl<S> Document<S> {
    /// A document that a cluster keeps: mistakes in it are named by `object`, such as
    /// `StreamProfile local`, and by the field's path, and have no line.
    pub fn stored(object: &str, name: &str, spec: S) -> Document<S> {
        Document {
            name: name.to_owned(),
            spec,
            yaml: Yaml::unwritten(object),
        }
    }
}

impl Documents {
    /// Adds the documents of one file, which must hold some. What was read of the file is handed
    /// in, so that a file that cannot be read is told like any other mistake.
    ///
    /// Errors: as [`Documents::add`], and a file that cannot be read or holds no document.
    pub fn add_file(
        &mut self,
        name: &str,
        text: std::io::Result<String>,
    ) -> Result<(), UsageError> {
        let text =
            text.map_err(|error| UsageError::new(name, format!("cannot be read: {error}")))?;
        match self.add(name, &text)? {
            0 => Err(UsageError::new(
                name,
                "holds no document, expected a WorldStream, a StreamProfile or a ReadyTrigger",
            )),
            _ => Ok(()),
        }
    }

    /// Adds the documents of one text and says how many they were.
    ///
    /// Errors: what is no YAML; another kind or apiVersion; an unknown field or a wrong value; two
    /// streams or triggers, or two profiles of one name.
    pub fn add(&mut self, file: &str, text: &str) -> Result<usize, UsageError> {
        let documents = Yaml::split(file, text)?;
        let count = documents.len();
        for yaml in documents {
            self.add_one(yaml)?;
        }
        Ok(count)
    }

    fn add_one(&mut self, yaml: Yaml) -> Result<(), UsageError> {
        if yaml.shape() != Shape::Mapping {
            return Err(yaml.wrong(
                "",
                "is no document, expected the fields apiVersion, kind, metadata and spec",
            ));
        }
        let head: Head = yaml.deserialize()?;
        let kind = head.kind.unwrap_or_default();
        if !["WorldStream", "StreamProfile", "ReadyTrigger"].contains(&kind.as_str()) {
            return Err(yaml.wrong(
                "kind",
                format!("found {kind:?}, expected WorldStream, StreamProfile or ReadyTrigger"),
            ));
        }
        let version = head.api_version.unwrap_or_default();
        if version != API_VERSION {
            return Err(yaml.wrong(
                "apiVersion",
                format!("found {version:?}, expected {API_VERSION}"),
            ));
        }
        if kind == "WorldStream" {
            if let Some(first) = &self.stream {
                return Err(yaml.wrong(
                    "metadata.name",
                    format!(
                        "a second WorldStream; {} has {:?} already, and a run is of one",
                        first.yaml.file(),
                        first.name
                    ),
                ));
            }
            self.stream = Some(document(yaml)?);
        } else if kind == "ReadyTrigger" {
            if let Some(first) = &self.trigger {
                return Err(yaml.wrong(
                    "metadata.name",
                    format!(
                        "a second ReadyTrigger; {} has {:?} already, and one bus is followed",
                        first.yaml.file(),
                        first.name
                    ),
                ));
            }
            self.trigger = Some(document(yaml)?);
        } else {
            let profile: Document<StreamProfileSpec> = document(yaml)?;
            if let Some(first) = self.profile(&profile.name) {
                return Err(profile.yaml.wrong(
                    "metadata.name",
                    format!(
                        "a second StreamProfile {:?}; {} has one already",
                        profile.name,
                        first.yaml.file()
                    ),
                ));
            }
            self.profiles.push(profile);
        }
        Ok(())
    }

    /// The profile of a name, where underscores count as hyphens.
    pub fn profile(&self, name: &str) -> Option<&Document<StreamProfileSpec>> {
        self.profiles
            .iter()
            .find(|profile| same_name(&profile.name, name))
    }

    /// The profiles that come with the program.
    ///
    /// Errors: none in a program whose tests pass; they read every one.
    pub fn built_in() -> Result<Documents, UsageError> {
        let mut documents = Documents::default();
        for file in built_in::PROFILES {
            let text = built_in::text(file).unwrap_or_default();
            documents.add(&built_in::name(file), text)?;
        }
        Ok(documents)
    }
}

/// Names of objects have no underscores, names of environments do: `local_parity` is the profile
/// `local-parity`.
fn same_name(a: &str, b: &str) -> bool {
    a.replace('_', "-") == b.replace('_', "-")
}

fn document<S: DeserializeOwned>(yaml: Yaml) -> Result<Document<S>, UsageError> {
    let raw: Raw<S> = yaml.deserialize()?;
    let name = raw.metadata.name;
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() > 253
        || !name.chars().all(legal)
        || !name.starts_with(ends)
        || !name.ends_with(ends)
    {
        return Err(yaml.wrong(
            "metadata.name",
            format!(
                "found {name:?}, expected lower-case letters, digits, hyphens and dots, such as world-a"
            ),
        ));
    }
    Ok(Document {
        name,
        spec: raw.spec,
        yaml,
    })
}
