//! Which StreamProfile a stream gets, or a trigger's streams.

use std::path::Path;

use crate::{ReadyTriggerSpec, StreamProfileSpec};

use super::built_in;
use super::documents::{Document, Documents};
use super::error::{PlanError, UsageError};
use super::files::Files;
use super::overrides::Overrides;

type Result<T, E = PlanError> = std::result::Result<T, E>;
type Profile = Document<StreamProfileSpec>;

/// The profile of `--profile` (a file or a name), else of the stream, else the only one in the files.
pub fn profile(documents: &Documents, flags: &Overrides, files: &dyn Files) -> Result<Profile> {
    if let Some(given) = &flags.profile {
        let file = Path::new(given);
        let is_file = given.contains(std::path::MAIN_SEPARATOR)
            || given.ends_with(".yaml")
            || given.ends_with(".yml");
        if !is_file {
            return by_name(documents, given)?
                .ok_or_else(|| unknown_profile(documents, given))
                .map_err(|message| UsageError::new("--profile", message).into());
        }
        let mut found = Documents::default();
        found.add_file(given, files.read_text(file))?;
        let count = found.profiles.len();
        let only = found.profiles.into_iter().next();
        return only.filter(|_| count == 1).ok_or_else(|| {
            UsageError::new(
                "--profile",
                format!("{given} holds {count} StreamProfiles, expected one"),
            )
            .into()
        });
    }
    if let Some(stream) = &documents.stream
        && let Some(name) = &stream.spec.profile
    {
        return by_name(documents, name)?.ok_or_else(|| {
            stream
                .yaml
                .wrong("spec.profile", unknown_profile(documents, name))
                .into()
        });
    }
    match documents.profiles.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(UsageError::new(
            "--profile",
            format!(
                "no profile is named: give --profile or spec.profile, one of {}",
                known_profiles(documents)
            ),
        )
        .into()),
    }
}

/// The profile that a ReadyTrigger names, of the files or of those that come with the program.
pub fn of_trigger(documents: &Documents, trigger: &Document<ReadyTriggerSpec>) -> Result<Profile> {
    let name = &trigger.spec.profile;
    by_name(documents, name)?.ok_or_else(|| {
        trigger
            .yaml
            .wrong("spec.profile", unknown_profile(documents, name))
            .into()
    })
}

fn by_name(documents: &Documents, name: &str) -> Result<Option<Profile>, UsageError> {
    match documents.profile(name) {
        Some(found) => Ok(Some(found.clone())),
        None => Ok(Documents::built_in()?.profile(name).cloned()),
    }
}

fn unknown_profile(documents: &Documents, name: &str) -> String {
    format!(
        "found no StreamProfile {name:?}, expected a file or one of {}",
        known_profiles(documents)
    )
}

fn known_profiles(documents: &Documents) -> String {
    let mut names: Vec<&str> = documents
        .profiles
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    for file in built_in::PROFILES {
        let name = file.strip_prefix("profiles/").unwrap_or(file);
        let name = name.strip_suffix(".yaml").unwrap_or(name);
        if documents.profile(name).is_none() {
            names.push(name);
        }
    }
    names.join(", ")
}
