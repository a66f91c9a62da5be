//! The small files of policy: lists of outputs (contracts section 2) and rate plans (section 6).

use std::path::Path;

use crate::RateStepSpec;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::UsageError;
use super::files::Files;
use super::yaml::{Shape, Yaml};
use super::{RateStep, values};

/// The fields of a policy file that is not a bare list (contracts section 2).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    output_ids: Vec<String>,
}

/// Reads a policy file: YAML with `version` and `output_ids`, or a bare list of ids.
///
/// Errors: what is neither, with line and path.
pub fn output_ids(file: &str, text: &str) -> Result<Vec<String>, UsageError> {
    let expected = "expected a list of output ids, or the fields version and output_ids";
    let documents = Yaml::split(file, text)?;
    let [yaml] = documents.as_slice() else {
        return Err(UsageError::new(
            file,
            format!("holds {} documents, {expected}", documents.len()),
        ));
    };
    let (path, ids) = match yaml.shape() {
        Shape::List => ("", yaml.deserialize::<Vec<String>>()?),
        Shape::Mapping => ("output_ids", yaml.deserialize::<PolicyFile>()?.output_ids),
        Shape::Empty | Shape::Scalar => return Err(yaml.wrong("", expected)),
    };
    for (index, id) in ids.iter().enumerate() {
        values::output_id(id)
            .map_err(|message| yaml.wrong(&format!("{path}[{index}]"), message))?;
    }
    Ok(ids)
}

/// Reads a rate plan: a YAML or JSON list of steps (contracts section 6).
///
/// Errors: what is no such list, with line and path.
pub fn rate_plan(files: &dyn Files, file: &Path) -> Result<Vec<RateStep>, UsageError> {
    let name = file.display().to_string();
    let text = files
        .read_text(file)
        .map_err(|error| UsageError::new(&name, format!("cannot be read: {error}")))?;
    let documents = Yaml::split(&name, &text)?;
    let [yaml] = documents.as_slice() else {
        return Err(UsageError::new(
            name,
            format!(
                "holds {} documents, expected one list of rate plan steps",
                documents.len()
            ),
        ));
    };
    let steps: Vec<RateStepSpec> = yaml.deserialize()?;
    values::rate_plan(&steps).map_err(|(path, message)| yaml.wrong(&path, message))
}
