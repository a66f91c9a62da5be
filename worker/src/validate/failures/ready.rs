//! READY messages and facts that are not streamed, each on a bus of its own, and one that waits.

use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Result;
use crate::ready::Status;
use crate::ready::publish::Ready;
use crate::validate::stage::Stage;
use crate::validate::{Announced, Checks, Own};
use crate::world::identity::sha256_hex;

/// What is changed of a message and its facts, and what must become of it.
struct Case {
    code: &'static str,
    how: &'static str,
    status: Status,
    change: fn(&mut Ready),
    /// The active run, where it is another one.
    active: Option<&'static str>,
}

const OTHER_RUN: &str = "platform_20200101T000000Z";

const CASES: &[Case] = &[
    failed(
        "RUN_FACTS_INVALID",
        "the run facts have no bundle hash",
        |it| {
            remove(&mut it.facts, "/bundle_hash");
        },
    ),
    failed(
        "PLATFORM_RUN_ID_MISMATCH",
        "the facts are of another platform run",
        |it| {
            it.facts["platform_run_id"] = json!(OTHER_RUN);
        },
    ),
    failed(
        "SCENARIO_RUN_ID_MISMATCH",
        "the facts are of another scenario run",
        |it| {
            it.facts["scenario_run_id"] = json!("f".repeat(32));
        },
    ),
    failed(
        "ENGINE_ROOT_MISSING",
        "neither message nor facts name a run root",
        |it| {
            remove(&mut it.facts, "/oracle_pack_ref");
            remove(&mut it.message, "/payload/oracle_pack_ref");
        },
    ),
    failed(
        "RUN_FACTS_INVALID",
        "the facts lie outside the allowed roots",
        |it| {
            let outside = json!("/etc/worldstream/facts.json");
            it.message["payload"]["facts_view_ref"] = outside;
        },
    ),
    Case {
        status: Status::SkippedOutOfScope,
        active: Some(OTHER_RUN),
        ..failed(
            "PLATFORM_RUN_SCOPE_MISMATCH",
            "another platform run is the active one",
            |_| {},
        )
    },
];

/// The codes that are provoked here.
#[cfg(test)]
pub fn codes() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.code)
}

const fn failed(code: &'static str, how: &'static str, change: fn(&mut Ready)) -> Case {
    Case {
        code,
        how,
        status: Status::Failed,
        change,
        active: None,
    }
}

/// Announces each, and sees what becomes of it: status, reason, and nothing sent.
pub fn all(dir: &Path, run: &str, checks: &mut Checks, said: &mut dyn FnMut(&str)) -> Result<()> {
    for (number, case) in CASES.iter().enumerate() {
        said(case.code);
        let asked = Announced {
            own: Own {
                dir: dir.join(format!("ready-{number}")),
                platform_run_id: Some(run.to_owned()),
            },
            profile: "local".to_owned(),
            engine_run_root: None,
            scenario: None,
            gate_url: None,
            store: None,
            speedup: 0.0,
            events: Some(5),
        };
        let stage = Stage::new(&asked, run, &mut |_| {})?;
        let mut ready = stage.announcement()?;
        ready.message_id = sha256_hex(case.how);
        ready.message["message_id"] = json!(ready.message_id);
        ready.message["payload"]["message_id"] = json!(ready.message_id);
        (case.change)(&mut ready);
        stage.publish(&ready)?;
        let found = stage.consume(&ready.message_id, case.active.unwrap_or(run))?;
        let sent = stage
            .gate
            .as_ref()
            .map_or(0, |(gate, _)| gate.summary().pushes);
        let seen = found.iter().map(|it| {
            let reason = it.reason.map_or("no reason", |reason| reason.as_str());
            format!(
                "{} {reason}: {}",
                it.status,
                it.detail.as_deref().unwrap_or("")
            )
        });
        let seen: Vec<String> = seen.collect();
        let right = found.iter().all(|it| {
            it.status == case.status && it.reason.is_some_and(|reason| reason.as_str() == case.code)
        });
        checks.so(
            format!("{}: {}", case.code, case.how),
            right && !found.is_empty() && sent == 0,
            format!("{}{}", seen.join("; "), sent_too(sent)),
            format!("{} {}, and nothing sent", case.status, case.code),
        );
        std::fs::remove_dir_all(&asked.own.dir)
            .map_err(|error| super::setup::cannot(&asked.own.dir, &error))?;
    }
    Ok(())
}

fn sent_too(sent: u64) -> String {
    match sent {
        0 => String::new(),
        sent => format!(", and {sent} events were sent"),
    }
}

fn remove(document: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(fields)) = document.pointer_mut(parent) {
        fields.shift_remove(name);
    }
}
