//! A StreamProfile made into the parts of a plan: every value checked, every file that it names
//! read. Relative paths count from the working directory, as they do in flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{
    AuthSpec, OnQuarantine, OutputList, PostgresCheckpoints, Reason, SecretRef, StreamProfileSpec,
    TextSource,
};

use super::documents::Document;
use super::error::PlanError;
use super::files::Files;
use super::values::{self, Checked};
use super::{
    AuthPlan, Mount, Named, PostgresPlan, QuarantinePlan, RetryPlan, SecretSource, built_in,
    policy_files,
};
use crate::failure::Failure;

type Result<T, E = PlanError> = std::result::Result<T, E>;

/// The mistake of a document's field, if there is one.
pub fn check<S, T>(document: &Document<S>, path: &str, value: Checked<T>) -> Result<T> {
    value.map_err(|message| document.yaml.wrong(path, message).into())
}

/// The same, of a field that may be left out.
pub fn check_some<S, T, U>(
    document: &Document<S>,
    path: &str,
    value: Option<T>,
    rule: impl FnOnce(T) -> Checked<U>,
) -> Result<Option<U>> {
    value
        .map(|value| check(document, path, rule(value)))
        .transpose()
}

/// Exactly one of several fields must be given.
pub fn one_of<S>(document: &Document<S>, path: &str, fields: &[(&str, bool)]) -> Result<()> {
    let given: Vec<&str> = fields
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| *name)
        .collect();
    if given.len() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let found = match given.is_empty() {
        true => "none of its fields".to_owned(),
        false => given.join(" and "),
    };
    let expected = format!("expected exactly one of {}", names.join(", "));
    Err(document
        .yaml
        .wrong(path, format!("found {found}, {expected}"))
        .into())
}

fn known_built_in<'a>(
    profile: &Document<StreamProfileSpec>,
    path: &str,
    name: &'a str,
) -> Result<(&'a str, &'static str)> {
    built_in::text(name)
        .map(|text| (name, text))
        .ok_or_else(|| {
            let known: Vec<&str> = built_in::FILES
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| !name.starts_with("profiles/") && !name.starts_with("schemas/"))
                .collect();
            profile
                .yaml
                .wrong(
                    &format!("{path}.builtIn"),
                    format!("found {name:?}, expected one of {}", known.join(", ")),
                )
                .into()
        })
}

/// A text that a profile names: the catalogue, the gate map, the producer allowlist. A file that
/// cannot be read is kept as such, for the check that needs it.
pub fn text(
    profile: &Document<StreamProfileSpec>,
    path: &str,
    source: &TextSource,
    files: &dyn Files,
) -> Result<Named> {
    one_of(
        profile,
        path,
        &[
            ("file", source.file.is_some()),
            ("builtIn", source.built_in.is_some()),
            ("inline", source.inline.is_some()),
            ("configMap", source.config_map.is_some()),
        ],
    )?;
    if let Some(name) = &source.built_in {
        let (name, text) = known_built_in(profile, path, name)?;
        return Ok(Named {
            name: built_in::name(name),
            text: Ok(text.to_owned()),
        });
    }
    if let Some(file) = &source.file {
        let file = check(
            profile,
            &format!("{path}.file"),
            values::some_text(file.clone()),
        )?;
        let text = match files.read(Path::new(&file)) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}")),
            Err(error) => Err(error.to_string()),
        };
        return Ok(Named { name: file, text });
    }
    Ok(Named {
        name: format!("{}: {path}.inline", profile.yaml.file()),
        text: Ok(source.inline.clone().unwrap_or_default()),
    })
}

/// The producer allowlist; none if the profile names none. A file that is absent or unreadable is
/// found out when the world is verified, in its place among the checks.
pub fn allowlist(
    profile: &Document<StreamProfileSpec>,
    files: &dyn Files,
) -> Result<Option<Named>> {
    let source = profile.spec.producer.allowlist.as_ref();
    source
        .map(|source| text(profile, "spec.producer.allowlist", source, files))
        .transpose()
}

/// A policy list: a built-in one where the profile has none.
pub fn outputs(
    profile: &Document<StreamProfileSpec>,
    path: &str,
    list: &Option<OutputList>,
    default: &str,
    files: &dyn Files,
) -> Result<Vec<String>> {
    let default = OutputList::built_in(default);
    let list = list.as_ref().unwrap_or(&default);
    one_of(
        profile,
        path,
        &[
            ("file", list.file.is_some()),
            ("builtIn", list.built_in.is_some()),
            ("outputIds", list.output_ids.is_some()),
            ("configMap", list.config_map.is_some()),
        ],
    )?;
    if let Some(ids) = &list.output_ids {
        return ids
            .iter()
            .enumerate()
            .map(|(index, id)| {
                let path = format!("{path}.outputIds[{index}]");
                check(profile, &path, values::output_id(id))
            })
            .collect();
    }
    if let Some(name) = &list.built_in {
        let (name, text) = known_built_in(profile, path, name)?;
        return Ok(policy_files::output_ids(&built_in::name(name), text)?);
    }
    let file = list.file.clone().unwrap_or_default();
    let file = check(profile, &format!("{path}.file"), values::some_text(file))?;
    let text = files.read_text(Path::new(&file)).map_err(|error| {
        let message = format!("{file} cannot be read: {error}");
        profile.yaml.wrong(&format!("{path}.file"), message)
    })?;
    Ok(policy_files::output_ids(&file, &text)?)
}

/// Where worlds are read.
pub fn mounts(profile: &Document<StreamProfileSpec>) -> Result<Vec<Mount>> {
    let mounts = profile.spec.world.mounts.iter().enumerate();
    mounts
        .map(|(index, mount)| {
            let at = |field: &str| format!("spec.world.mounts[{index}].{field}");
            Ok(Mount {
                from: check(profile, &at("from"), values::some_text(mount.from.clone()))?,
                to: check(profile, &at("to"), values::some_text(mount.to.clone()))?,
            })
        })
        .collect()
}

/// Roots below which a world must lie: those of the profile, else its oracle root, else none.
pub fn allowed_roots(profile: &Document<StreamProfileSpec>) -> Result<Vec<String>> {
    let world = &profile.spec.world;
    for (index, root) in world.allowed_roots.iter().enumerate() {
        let path = format!("spec.world.allowedRoots[{index}]");
        check(profile, &path, values::some_text(root.clone()))?;
    }
    let oracle = check_some(
        profile,
        "spec.world.oracleRoot",
        world.oracle_root.clone(),
        values::some_text,
    )?;
    Ok(match world.allowed_roots.is_empty() {
        true => oracle.into_iter().collect(),
        false => world.allowed_roots.clone(),
    })
}

/// How we say who we are.
pub fn auth(profile: &Document<StreamProfileSpec>) -> Result<AuthPlan> {
    let path = "spec.gate.auth";
    let Some(auth) = &profile.spec.gate.auth else {
        return Ok(AuthPlan::None);
    };
    one_of(
        profile,
        path,
        &[
            ("apiKey", auth.api_key.is_some()),
            ("serviceToken", auth.service_token.is_some()),
            ("signedToken", auth.signed_token.is_some()),
        ],
    )?;
    let at = |field: &str| format!("{path}.{field}");
    Ok(match auth {
        AuthSpec {
            api_key: Some(key), ..
        } => AuthPlan::ApiKey(secret(profile, &at("apiKey"), key)?),
        AuthSpec {
            service_token: Some(token),
            ..
        } => AuthPlan::ServiceToken(secret(profile, &at("serviceToken"), token)?),
        AuthSpec {
            signed_token: Some(token),
            ..
        } => AuthPlan::SignedToken {
            principal: check(
                profile,
                &at("signedToken.principal"),
                values::some_text(token.principal.clone()),
            )?,
            secret: secret(profile, &at("signedToken.secret"), &token.secret)?,
        },
        _ => AuthPlan::None,
    })
}

/// Where a secret is read.
pub fn secret<S>(document: &Document<S>, path: &str, secret: &SecretRef) -> Result<SecretSource> {
    one_of(
        document,
        path,
        &[
            ("file", secret.file.is_some()),
            ("env", secret.env.is_some()),
            ("secret", secret.secret.is_some()),
        ],
    )?;
    if let Some(file) = &secret.file {
        let path = format!("{path}.file");
        let file = check(document, &path, values::some_text(file.clone()))?;
        return Ok(SecretSource::File(PathBuf::from(file)));
    }
    let name = secret.env.clone().unwrap_or_default();
    let path = format!("{path}.env");
    let name = check(document, &path, values::some_text(name))?;
    if name.contains(['=', '\0']) {
        return check(
            document,
            &path,
            Err("holds a `=`, expected the name of an environment variable".into()),
        );
    }
    Ok(SecretSource::Env(name))
}

/// The database of the checkpoints. `CHECKPOINT_DSN_MISSING` if the profile does not say where its
/// connection string is.
pub fn postgres(
    profile: &Document<StreamProfileSpec>,
    spec: &PostgresCheckpoints,
) -> Result<PostgresPlan> {
    let at = |field: &str| format!("spec.checkpoints.postgres.{field}");
    let Some(dsn) = &spec.dsn else {
        return Err(
            Failure::new(Reason::CheckpointDsnMissing, profile.yaml.file())
                .field(at("dsn"))
                .found("nothing")
                .expected("where the connection string is: file or env")
                .into(),
        );
    };
    let term = spec.lease_term;
    let lease_term = match (1.0..=3600.0).contains(&term.0.as_secs_f64()) {
        true => Ok(term.0),
        false => Err(format!("found {term}, expected 1s to 1h")),
    };
    let ca_file = check_some(
        profile,
        &at("caFile"),
        spec.ca_file.clone(),
        values::some_text,
    )?;
    Ok(PostgresPlan {
        dsn: secret(profile, &at("dsn"), dsn)?,
        ca_file: ca_file.map(PathBuf::from),
        lease_term: check(profile, &at("leaseTerm"), lease_term)?,
        timeout: check(profile, &at("timeout"), values::some_time(spec.timeout))?,
    })
}

/// How often an event is tried.
pub fn retry(profile: &Document<StreamProfileSpec>) -> Result<RetryPlan> {
    let gate = &profile.spec.gate;
    if gate.retry.attempts == 0 {
        return check(
            profile,
            "spec.gate.retry.attempts",
            Err("found 0, expected 1 or more".into()),
        );
    }
    let base = check(
        profile,
        "spec.gate.retry.base",
        values::some_time(gate.retry.base),
    )?;
    if gate.retry.max < gate.retry.base {
        return check(
            profile,
            "spec.gate.retry.max",
            Err(format!(
                "found {}, expected at least spec.gate.retry.base, {}",
                gate.retry.max, gate.retry.base
            )),
        );
    }
    Ok(RetryPlan {
        attempts: gate.retry.attempts,
        base,
        max: gate.retry.max.0,
        unavailable_for: check_some(
            profile,
            "spec.gate.unavailableFor",
            gate.unavailable_for,
            values::some_time,
        )?,
    })
}

/// When quarantined events end the stream.
pub fn quarantine(profile: &Document<StreamProfileSpec>) -> Result<QuarantinePlan> {
    let spec = &profile.spec.gate.quarantine;
    let at = |field: &str| format!("spec.gate.quarantine.{field}");
    let bounds = [
        ("maxCount", spec.max_count.is_some()),
        ("maxShare", spec.max_share.is_some()),
    ];
    let given = bounds.iter().find(|(_, given)| *given);
    match (spec.policy, given) {
        (OnQuarantine::Stop, None) => check(
            profile,
            &at("policy"),
            Err("Stop needs a bound: expected maxCount, maxShare or both".into()),
        )?,
        (OnQuarantine::Continue, Some((field, _))) => check(
            profile,
            &at(field),
            Err("a bound does nothing with the policy Continue, expected Stop".into()),
        )?,
        _ => {}
    }
    if let Some(share) = spec.max_share
        && !(0.0..=1.0).contains(&share)
    {
        check(
            profile,
            &at("maxShare"),
            Err(format!("found {share}, expected 0 to 1")),
        )?;
    }
    if !(1..=1_000_000).contains(&spec.window) {
        check(
            profile,
            &at("window"),
            Err(format!("found {}, expected 1 to 1000000", spec.window)),
        )?;
    }
    Ok(QuarantinePlan {
        policy: spec.policy,
        max_count: spec.max_count,
        max_share: spec.max_share,
        window: spec.window,
    })
}

/// How far ahead a change of the clock becomes effective; at most a minute, as nothing is sent
/// before the first one is.
pub fn clock_lead(profile: &Document<StreamProfileSpec>) -> Result<Duration> {
    let lead = profile.spec.clock.lead;
    let value = match lead.0 <= Duration::from_secs(60) {
        true => Ok(lead.0),
        false => Err(format!("found {lead}, expected at most 1m")),
    };
    check(profile, "spec.clock.lead", value)
}
