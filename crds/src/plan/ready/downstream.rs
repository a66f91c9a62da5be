//! What must be up before a stream begins, of a profile, made part of the plan.

use std::path::PathBuf;

use super::{DownstreamPlan, HeaderPlan, HttpProbe, ProbePlan, Result, indexed};
use crate::plan::documents::Document;
use crate::plan::files::Files;
use crate::plan::profile::{check, check_some, one_of, secret};
use crate::plan::values;
use crate::{DownstreamSpec, HeaderSpec, HttpDownstream, StreamProfileSpec};

/// One part of the platform, and how it is asked.
pub fn probe(
    profile: &Document<StreamProfileSpec>,
    index: usize,
    spec: &DownstreamSpec,
    files: &dyn Files,
) -> Result<DownstreamPlan> {
    let path = format!("spec.ready.downstream[{index}]");
    let at = |field: &str| format!("{path}.{field}");
    let name = check(profile, &at("name"), values::some_text(spec.name.clone()))?;
    let twice = profile.spec.ready.downstream[..index]
        .iter()
        .any(|before| before.name == name);
    if twice {
        let message = format!("a second one called {name:?}, expected another name");
        return Err(profile.yaml.wrong(&at("name"), message).into());
    }
    one_of(
        profile,
        &path,
        &[
            ("http", spec.http.is_some()),
            ("file", spec.file.is_some()),
            ("condition", spec.condition.is_some()),
        ],
    )?;
    let probe = if let Some(http) = &spec.http {
        ProbePlan::Http(http_probe(profile, &at("http"), http)?)
    } else if let Some(file) = &spec.file {
        let text = values::store_root(&file.path, files.in_cluster());
        ProbePlan::File(check(profile, &at("file.path"), text)?)
    } else {
        // One of the three is given, as was checked above.
        let condition = spec.condition.clone().unwrap_or_default();
        let asked = spec.require_active_run_match;
        if asked && condition.run_id_path.is_none() {
            let message = "is missing, and requireActiveRunMatch asks for it; expected the place of \
                           the active platform run id in the object";
            let at = at("condition.runIdPath");
            return Err(profile.yaml.wrong(&at, message).into());
        }
        ProbePlan::Condition(condition)
    };
    Ok(DownstreamPlan {
        name,
        probe,
        require_active_run_match: spec.require_active_run_match,
    })
}

fn http_probe(
    profile: &Document<StreamProfileSpec>,
    path: &str,
    spec: &HttpDownstream,
) -> Result<HttpProbe> {
    let at = |field: &str| format!("{path}.{field}");
    let headers = indexed(&spec.headers)
        .map(|(index, spec)| header(profile, &at(&format!("headers[{index}]")), spec))
        .collect::<Result<_>>()?;
    let pointer = match spec.pointer.is_empty() || spec.pointer.starts_with('/') {
        true => Ok(spec.pointer.clone()),
        false => Err(format!(
            "found {:?}, expected a JSON pointer such as /active_platform_run_id",
            spec.pointer
        )),
    };
    let ca_file = spec.ca_file.clone();
    Ok(HttpProbe {
        url: check(profile, &at("url"), values::url(&spec.url))?,
        pointer: check(profile, &at("pointer"), pointer)?,
        headers,
        ca_file: check_some(profile, &at("caFile"), ca_file, values::some_text)?.map(PathBuf::from),
        timeout: check(profile, &at("timeout"), values::some_time(spec.timeout))?,
    })
}

fn header(
    profile: &Document<StreamProfileSpec>,
    path: &str,
    spec: &HeaderSpec,
) -> Result<(String, HeaderPlan)> {
    let given = [
        ("value", spec.value.is_some()),
        ("secret", spec.secret.is_some()),
    ];
    one_of(profile, path, &given)?;
    let name = http::HeaderName::from_bytes(spec.name.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| format!("found {:?}, expected the name of a header", spec.name));
    let name = check(profile, &format!("{path}.name"), name)?;
    let value = match &spec.secret {
        Some(given) => HeaderPlan::Secret(secret(profile, &format!("{path}.secret"), given)?),
        None => {
            let text = spec.value.clone().unwrap_or_default();
            let good = match http::HeaderValue::from_str(&text) {
                Ok(_) => Ok(text),
                Err(_) => Err("holds what no header may hold, such as a line break".into()),
            };
            HeaderPlan::Text(check(profile, &format!("{path}.value"), good)?)
        }
    };
    Ok((name, value))
}
