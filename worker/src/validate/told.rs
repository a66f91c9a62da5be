//! What a streamed run tells of itself, held against what it must: its record, its governance
//! facts, its session log and its receipts (contracts sections 8 and 9).

use serde_json::{Value, json};

use super::report::Checks;
use crate::audit::Records;
use crate::failure::Result;
use crate::world::WorldKey;
use crate::world::identity::sha256_hex;

/// What a run must have left.
#[derive(Clone, Debug)]
pub struct Told {
    /// The message that announced it.
    pub message_id: String,
    /// The platform run.
    pub platform_run_id: String,
    /// The Scenario Runner's run.
    pub scenario_run_id: String,
    /// The world.
    pub engine_run_root: String,
    /// Its key.
    pub key: WorldKey,
    /// The outputs, each with the events that it must have sent.
    pub outputs: Vec<(String, u64)>,
    /// Nothing was left to send.
    pub complete: bool,
    /// Of the facts' provenance.
    pub environment: String,
}

impl Told {
    fn emitted(&self) -> u64 {
        self.outputs.iter().map(|(_, rows)| rows).sum()
    }

    /// Reads all of it, and checks it.
    ///
    /// # Errors
    /// Where the store cannot be read; what is not there is a check that does not hold.
    pub async fn check(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        self.record(run, checks).await?;
        self.facts(run, checks).await?;
        self.session(run, checks).await?;
        self.receipts(run, checks).await
    }

    /// After the message came once more: its record is as it was.
    ///
    /// # Errors
    /// As [`Told::check`].
    pub async fn check_again(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        let at = format!("wsp/ready_runs/{}.jsonl", self.message_id);
        let records = lines(run, &at).await?.len();
        checks.equal("records of the message after a repeat", records, 1);
        let events = lines(run, "session.jsonl").await?;
        let starts = events
            .iter()
            .filter(|event| event["event_kind"] == "stream_start");
        checks.equal("streams after a repeat", starts.count(), 1);
        Ok(())
    }

    async fn record(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        let at = format!("wsp/ready_runs/{}.jsonl", self.message_id);
        let lines = lines(run, &at).await?;
        checks.equal("records of the message", lines.len(), 1);
        let found = lines.into_iter().next().unwrap_or_default();
        for (field, must) in [
            ("status", json!("STREAMED")),
            ("reason", Value::Null),
            ("emitted", json!(self.emitted())),
            ("message_id", json!(self.message_id)),
            ("engine_run_root", json!(self.engine_run_root)),
            ("scenario_id", json!(self.key.scenario_id)),
        ] {
            checks.equal(format!("record: {field}"), found[field].clone(), must);
        }
        Ok(())
    }

    async fn facts(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        let message = &self.message_id;
        for (family, key) in [
            ("RUN_READY_SEEN", format!("ready_seen:{message}")),
            ("RUN_STARTED", format!("started:{message}")),
            ("RUN_ENDED", format!("ended:{message}")),
        ] {
            let id = sha256_hex(format!(
                "{family}|{}|{}|wsp_ready_consumer|{key}",
                self.platform_run_id, self.scenario_run_id
            ));
            let at = format!("obs/governance/events/{id}.json");
            let bytes = run.read(&at).await?;
            let fact: Value = bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            for (path, must) in [
                ("/event_id", json!(id)),
                ("/event_family", json!(family)),
                ("/actor/actor_id", json!("svc:wsp_ready_consumer")),
                ("/actor/source_type", json!("SYSTEM")),
                ("/actor/source_component", json!("wsp_ready_consumer")),
                ("/pins/platform_run_id", json!(self.platform_run_id)),
                ("/pins/scenario_run_id", json!(self.scenario_run_id)),
                ("/pins/scenario_id", json!(self.key.scenario_id)),
                ("/pins/seed", json!(self.key.seed.to_string())),
                ("/provenance/environment", json!(self.environment)),
            ] {
                let found = fact.pointer(path).cloned().unwrap_or_default();
                checks.equal(
                    format!("{family}: {}", path.trim_start_matches('/')),
                    found,
                    must,
                );
            }
        }
        Ok(())
    }

    async fn session(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        let events = lines(run, "session.jsonl").await?;
        let kinds: Vec<&str> = events
            .iter()
            .filter_map(|event| event["event_kind"].as_str())
            .collect();
        let mut order = vec![
            "validation_start",
            "ready_received",
            "engine_world_selected",
            "stream_start",
            "stream_complete",
        ];
        if self.complete {
            order.insert(4, "engine_world_streamed");
        }
        let mut rest = kinds.iter();
        let in_order = order.iter().all(|kind| rest.any(|found| found == kind));
        checks.so(
            "session log",
            in_order,
            kinds.join(", "),
            order.join(", then "),
        );
        let saved = kinds
            .iter()
            .filter(|kind| **kind == "checkpoint_saved")
            .count();
        checks.so(
            "session log: cursors saved",
            saved >= self.outputs.len(),
            saved.to_string(),
            format!("at least one of each output, {}", self.outputs.len()),
        );
        Ok(())
    }

    async fn receipts(&self, run: &Records, checks: &mut Checks) -> Result<()> {
        for (output, rows) in &self.outputs {
            let at = format!("wsp/receipts/{}.json", output.replace('/', "_"));
            let bytes = run.read(&at).await?;
            let receipt: Value = bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            let count = |field: &str| receipt[field].as_u64().unwrap_or(0);
            let parts = ["admitted", "duplicate", "quarantined", "undecided"].map(count);
            checks.equal(format!("{output}: rows taken"), count("rows"), *rows);
            checks.equal(
                format!("{output}: sum of decisions"),
                parts.iter().sum(),
                *rows,
            );
            checks.equal(format!("{output}: put aside"), count("quarantined"), 0);
            if self.complete {
                checks.equal(
                    format!("{output}: outcome"),
                    receipt["outcome"].clone(),
                    json!("complete"),
                );
            }
        }
        Ok(())
    }
}

/// The JSON lines of a record; a line that is none counts as null.
async fn lines(run: &Records, at: &str) -> Result<Vec<Value>> {
    let bytes = run.read(at).await?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect())
}
