//! A part of the platform that says in a `state.json` which of its processes run, and for which
//! platform run: the form of the reference's own operator.

use std::path::Path;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;

use super::{Downstream, same_run};
use crate::failure::Result;
use crate::plan::S3Plan;
use crate::plan::ready::DownstreamPlan;
use crate::store::s3;

/// The largest state that is read.
const LARGEST: u64 = 1 << 20;
/// What a process that runs is called.
const RUNNING: [&str; 6] = ["running", "up", "ready", "healthy", "started", "ok"];

/// One that keeps a file.
pub struct StateFile {
    name: String,
    path: String,
    s3: S3Plan,
    require_run: bool,
}

impl StateFile {
    /// One that keeps this file: a path, or `s3://bucket/key`.
    pub fn new(plan: &DownstreamPlan, path: &str, s3: &S3Plan) -> StateFile {
        StateFile {
            name: plan.name.clone(),
            path: path.to_owned(),
            s3: s3.clone(),
            require_run: plan.require_active_run_match,
        }
    }

    async fn read(&self) -> Result<Vec<u8>, String> {
        let path = &self.path;
        let Some(at) = s3::locate(path) else {
            let found = std::fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
            if !found.is_file() || found.len() > LARGEST {
                return Err(format!(
                    "{path}: expected a file of at most {LARGEST} bytes"
                ));
            }
            return std::fs::read(Path::new(path)).map_err(|error| format!("{path}: {error}"));
        };
        let store = s3::open(&self.s3, &at.bucket).map_err(|failure| failure.message())?;
        let found = store.get(&at.prefix).await;
        let found = found.map_err(|error| format!("{path}: {error}"))?;
        let (bytes, _) = found.ok_or_else(|| format!("{path}: no such object"))?;
        Ok(bytes.into())
    }
}

impl Downstream for StateFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn look<'a>(&'a self, platform_run_id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let bytes = self.read().await?;
            let state: Value = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: no JSON: {error}", self.path))?;
            let here = s3::locate(&self.path).is_none();
            processes(&state, |pid| !here || alive(pid))
                .map_err(|why| format!("{}: {why}", self.path))?;
            let active = state["active_platform_run_id"].as_str();
            same_run(self.require_run, active, platform_run_id)
        }
        .boxed()
    }
}

/// Whether every process of a state runs; there must be some.
fn processes(state: &Value, alive: impl Fn(u64) -> bool) -> Result<(), String> {
    let named: Vec<(String, &Value)> = match &state["processes"] {
        Value::Object(named) => named.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(listed) => listed
            .iter()
            .enumerate()
            .map(|(index, it)| {
                let name = ["name", "id", "process_id"];
                let name = name.iter().find_map(|field| it[*field].as_str());
                (name.map_or(index.to_string(), str::to_owned), it)
            })
            .collect(),
        _ => return Err("no processes in it".to_owned()),
    };
    if named.is_empty() {
        return Err("no processes in it".to_owned());
    }
    for (name, process) in named {
        runs(process, &alive).map_err(|why| format!("process {name} {why}"))?;
    }
    Ok(())
}

/// Whether a process runs: as it says itself (`running`, `status` or `state`), else by its `pid`.
fn runs(process: &Value, alive: impl Fn(u64) -> bool) -> Result<(), String> {
    let said = |text: &str| match RUNNING.iter().any(|up| up.eq_ignore_ascii_case(text)) {
        true => Ok(()),
        false => Err(format!("is {text:?}, expected running")),
    };
    let flag = |up: bool| match up {
        true => Ok(()),
        false => Err("does not run".to_owned()),
    };
    match process {
        Value::Bool(up) => return flag(*up),
        Value::String(text) => return said(text),
        _ => {}
    }
    if let Some(up) = process["running"].as_bool() {
        return flag(up);
    }
    let status = ["status", "state"];
    if let Some(text) = status.iter().find_map(|field| process[*field].as_str()) {
        return said(text);
    }
    match process["pid"].as_u64() {
        Some(pid) if alive(pid) => Ok(()),
        Some(pid) => Err(format!("has ended: there is no process {pid}")),
        None => Err("says neither running nor status nor pid".to_owned()),
    }
}

/// Whether this machine has such a process, which is not merely unburied.
fn alive(pid: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state stands behind the name, which may hold anything.
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    !state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_process_must_run() {
        let alive = |pid| pid == 7;
        for up in [
            json!({"ig": {"pid": 7}}),
            json!({"ig": {"pid": 8, "status": "RUNNING"}, "bus": {"running": true}}),
            json!([{"name": "ig", "state": "up"}]),
            json!({"ig": "running", "bus": true}),
        ] {
            assert_eq!(processes(&json!({"processes": up}), alive), Ok(()));
        }
        for (down, expect) in [
            (json!({}), "no processes"),
            (json!(null), "no processes"),
            (json!({"ig": {"pid": 8}}), "process ig has ended"),
            (json!({"ig": {"pid": 7, "status": "stopped"}}), "stopped"),
            (json!([{"name": "ig", "running": false}]), "ig does not run"),
            (json!({"ig": {}}), "neither"),
        ] {
            let why = processes(&json!({"processes": down}), alive).unwrap_err();
            assert!(why.contains(expect), "{why}");
        }
    }

    #[test]
    fn a_process_of_this_machine_is_alive_until_it_ends() {
        assert!(super::alive(u64::from(std::process::id())));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = u64::from(child.id());
        child.wait().unwrap();
        assert!(!super::alive(pid));
    }
}
