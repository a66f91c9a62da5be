//! A part of the platform that says in a `state.json` which of its processes run, and for which
//! platform run: the form of the reference's own operator, `{"active_platform_run_id": …,
//! "processes": {<process id>: {"pid": …, "pid_create_time": …, "stopped_at_utc": …}}}`, and those of
//! others who say of a process that it runs.

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
/// How far the time at which a process began may be from the one that is written down, in seconds:
/// the time of the boot, which it is counted from, is one of whole seconds and moves with the clock.
const SAME_PROCESS: f64 = 2.0;
/// Ticks of a second as the kernel shows them to programs, on every machine that this runs on.
const TICKS: f64 = 100.0;
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
            processes(&state, |pid, began| !here || alive(pid, began))
                .map_err(|why| format!("{}: {why}", self.path))?;
            let active = state["active_platform_run_id"].as_str();
            same_run(self.require_run, active, platform_run_id)
        }
        .boxed()
    }
}

/// Whether every process of a state runs; there must be some.
fn processes(state: &Value, alive: impl Fn(u64, Option<f64>) -> bool) -> Result<(), String> {
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

/// Whether a process runs: as is said of it (`running`, `status` or `state`), else by its `pid`, which
/// must be a process that began at `pid_create_time`, where that is given. One that was stopped
/// (`stopped_at_utc`) does not.
fn runs(process: &Value, alive: impl Fn(u64, Option<f64>) -> bool) -> Result<(), String> {
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
    if let Some(at) = process["stopped_at_utc"].as_str() {
        return Err(format!("was stopped at {at}"));
    }
    if let Some(up) = process["running"].as_bool() {
        return flag(up);
    }
    let status = ["status", "state"];
    if let Some(text) = status.iter().find_map(|field| process[*field].as_str()) {
        return said(text);
    }
    let began = process["pid_create_time"].as_f64();
    match (process["pid"].as_u64(), began) {
        (Some(pid), began) if alive(pid, began) => Ok(()),
        (Some(pid), None) => Err(format!("has ended: there is no process {pid}")),
        (Some(pid), Some(began)) => Err(format!(
            "has ended: there is no process {pid} that began at {began}"
        )),
        (None, _) => Err("says neither running nor status nor state nor pid".to_owned()),
    }
}

/// Whether this machine has such a process, which is not merely unburied, nor another one that got
/// the number of one that ended.
fn alive(pid: u64, began: Option<f64>) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state stands behind the name, which may hold anything.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let rest = rest.trim_start();
    if rest.starts_with(['Z', 'X']) {
        return false;
    }
    match (began, began_at(rest)) {
        (Some(began), Some(found)) => (found - began).abs() <= SAME_PROCESS,
        // Nobody says when, or nobody can: its number is all there is.
        _ => true,
    }
}

/// When a process began, in seconds since 1970, by what its `stat` says behind its name.
fn began_at(stat: &str) -> Option<f64> {
    // The state is the third field of all, when it began the twenty-second.
    let ticks: f64 = stat.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let boot: f64 = boot.trim().parse().ok()?;
    Some(boot + ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_process_must_run() {
        let alive = |pid, began: Option<f64>| pid == 7 && began.is_none_or(|at| at == 3.5);
        for up in [
            json!({"ig": {"pid": 7}}),
            json!({"ig": {"pid": 7, "pid_create_time": 3.5, "command": ["ig"], "cwd": "/srv"}}),
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
            (
                json!({"ig": {"pid": 7, "pid_create_time": 9.5}}),
                "no process 7 that began at 9.5",
            ),
            (
                json!({"ig": {"pid": 7, "stopped_at_utc": "2026-01-01T00:00:00Z"}}),
                "process ig was stopped at 2026",
            ),
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
        let own = u64::from(std::process::id());
        assert!(super::alive(own, None));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let began = began_at(stat.rsplit_once(')').unwrap().1).unwrap();
        // Whatever the machine does: not before it was built, and not in an hour.
        assert!(began > 1.7e9 && began < now + 3_600.0, "{began}");
        assert!(super::alive(own, Some(began + 1.0)));
        assert!(!super::alive(own, Some(began - 60.0)));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = u64::from(child.id());
        child.wait().unwrap();
        assert!(!super::alive(pid, None));
    }
}
