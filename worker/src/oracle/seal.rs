//! Sealing a world: its pack manifest and its seal, written once (contracts section 1).

use serde::Serialize;
use serde_json::{Value, json};
use worldstream_crds::{ExitCode, Reason};

use super::OpenWorld;
use crate::failure::{Failure, Result};
use crate::store::{Expect, Trouble};
use crate::time::EventTime;
use crate::world::WorldKey;
use crate::world::identity::{oracle_pack_id, sha256_hex};
use crate::world::pack::{MANIFEST, SEAL_FLAG, SEAL_JSON};

/// The version that both files say.
const VERSION: &str = "v0";

/// What sealing did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sealed {
    /// The pack's id.
    pub oracle_pack_id: String,
    /// False: an equal one was there.
    pub manifest_written: bool,
    /// False: an equal one was there.
    pub seal_written: bool,
}

/// Writes manifest and seal, each once: with equal identity (everything but the times) a second
/// sealing changes nothing.
///
/// # Errors
/// `MANIFEST_MISMATCH`, `SEAL_MISMATCH` where another one is there; a usage error for a release
/// that is no span id (1 to 128 characters).
pub async fn seal(world: &OpenWorld, engine_release: &str) -> Result<Sealed> {
    let length = engine_release.chars().count();
    if !(1..=128).contains(&length) {
        return Err(Failure::new(Reason::StreamFailed, "--engine-release")
            .found(format!("{length} characters"))
            .expected("1 to 128 characters: it is the span id of every event")
            .exits(ExitCode::Usage));
    }
    let digest = |file: &crate::plan::Named| sha256_hex(file.text.as_deref().unwrap_or_default());
    let catalogue_digest = digest(&world.plan.catalogue);
    let gate_map_digest = digest(&world.plan.gate_map);
    let WorldKey {
        manifest_fingerprint,
        parameter_hash,
        scenario_id,
        seed,
    } = &world.key;
    let id = oracle_pack_id(
        &world.key,
        engine_release,
        &catalogue_digest,
        &gate_map_digest,
    );
    let now = EventTime::wall_now().to_string().replace('Z', "+00:00");
    let manifest = json!({
        "version": VERSION,
        "oracle_pack_id": id,
        "world_key": {
            "manifest_fingerprint": manifest_fingerprint,
            "parameter_hash": parameter_hash,
            "scenario_id": scenario_id,
            "seed": seed,
        },
        "engine_release": engine_release,
        "catalogue_digest": catalogue_digest,
        "gate_map_digest": gate_map_digest,
        "created_at_utc": now,
    });
    let seal = json!({
        "version": VERSION,
        "oracle_pack_id": id,
        "seal_status": "SEALED_OK",
        "sealed_at_utc": now,
    });
    // Both are compared before either is written: a world is never half sealed by a refusal.
    let manifests = there(world, MANIFEST, &manifest, Reason::ManifestMismatch).await?;
    let seals = there(world, SEAL_JSON, &seal, Reason::SealMismatch).await?;
    let flag = world.store.exists(SEAL_FLAG).await;
    let flag = flag.map_err(|error| error.explain(unwritten(world, SEAL_FLAG)))?;
    Ok(Sealed {
        oracle_pack_id: id,
        manifest_written: !manifests
            && once(world, MANIFEST, &manifest, Reason::ManifestMismatch).await?,
        // A flag is a seal, too.
        seal_written: !seals
            && !flag
            && once(world, SEAL_JSON, &seal, Reason::SealMismatch).await?,
    })
}

/// Writes a file unless it is there; false if an equal one was.
async fn once(world: &OpenWorld, name: &str, value: &Value, reason: Reason) -> Result<bool> {
    let store = world.store.store();
    let place = world.store.location(name);
    let bytes = format!("{value:#}\n").into_bytes();
    match store.put(&place, bytes.into(), Expect::Nothing).await {
        Ok(_) => Ok(true),
        Err(error) if error.trouble() == Trouble::Changed => {
            there(world, name, value, reason).await?;
            Ok(false)
        }
        Err(error) => Err(error.explain(unwritten(world, name))),
    }
}

/// Whether the file is there with this identity.
async fn there(world: &OpenWorld, name: &str, value: &Value, reason: Reason) -> Result<bool> {
    let mismatch = || Failure::new(reason, world.store.name(name));
    let bytes = world.store.read(name).await;
    let Some(bytes) = bytes.map_err(|error| error.explain(unwritten(world, name)))? else {
        return Ok(false);
    };
    let found: Value = serde_json::from_slice(&bytes).map_err(|error| {
        mismatch()
            .found("no JSON")
            .expected("what this sealing writes")
            .cause(&error)
    })?;
    let names = |value: &Value| -> Vec<String> {
        let fields = value.as_object().map(|it| it.keys().cloned());
        fields.into_iter().flatten().collect()
    };
    let mut fields = names(value);
    fields.extend(names(&found));
    // An id follows from the other fields: they say more.
    fields.sort_by_key(|field| field == "oracle_pack_id");
    let times = ["created_at_utc", "sealed_at_utc"];
    let fields = fields
        .iter()
        .filter(|field| !times.contains(&field.as_str()));
    for field in fields {
        if found.get(field) != value.get(field) {
            let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
            return Err(mismatch()
                .field(field)
                .found(shown(found.get(field)))
                .expected(format!(
                    "{}, as this sealing has it",
                    shown(value.get(field))
                )));
        }
    }
    Ok(true)
}

fn unwritten(world: &OpenWorld, name: &str) -> Failure {
    Failure::new(Reason::StreamFailed, world.store.name(name))
}
