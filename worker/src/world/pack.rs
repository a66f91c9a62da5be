//! The pack: `_oracle_pack_manifest.json` and the seal (contracts section 1).

use worldstream_crds::Reason;

use super::identity::oracle_pack_id;
use super::json::Document;
use super::{Pack, WorldKey, WorldStore};
use crate::failure::{Failure, Result};

/// The manifest's file name below the run root.
pub const MANIFEST: &str = "_oracle_pack_manifest.json";
/// The seal's file name, as JSON.
pub const SEAL_JSON: &str = "_SEALED.json";
/// The seal's file name, as a flag whose content is nothing to us.
pub const SEAL_FLAG: &str = "_SEALED.flag";

/// Reads and checks the manifest; none if the world has none. [`Pack::sealed`] is not known yet
/// and false: see [`read_seal`].
///
/// # Errors
/// `PACK_MANIFEST_MISSING` when it is `required` and absent; `PACK_MANIFEST_INVALID` when it has
/// not exactly the fields of the contract, or an id that is not that of its fields;
/// `WORLD_KEY_MISMATCH` when it is of another world than `key`.
pub async fn read_manifest(
    store: &WorldStore,
    key: &WorldKey,
    required: bool,
) -> Result<Option<Pack>> {
    let file = store.name(MANIFEST);
    match read(store, MANIFEST, Reason::PackManifestInvalid).await? {
        Some(bytes) => parse_manifest(&file, &bytes, key).map(Some),
        None if required => Err(Failure::new(Reason::PackManifestMissing, file)
            .found("no such file")
            .expected("the pack's manifest, which the profile requires")),
        None => Ok(None),
    }
}

fn parse_manifest(file: &str, bytes: &[u8], key: &WorldKey) -> Result<Pack> {
    let invalid = Reason::PackManifestInvalid;
    let manifest = Document::parse(file, bytes, invalid, invalid)?;
    manifest.only(&[
        "version",
        "oracle_pack_id",
        "world_key",
        "engine_release",
        "catalogue_digest",
        "gate_map_digest",
        "created_at_utc",
    ])?;
    manifest.text("version")?;
    manifest.sized("created_at_utc", 1, usize::MAX)?;
    let of = manifest.object("world_key")?;
    of.only(&[
        "manifest_fingerprint",
        "parameter_hash",
        "scenario_id",
        "seed",
    ])?;
    let found = WorldKey {
        manifest_fingerprint: of.hex("manifest_fingerprint", 64)?.to_owned(),
        parameter_hash: of.hex("parameter_hash", 64)?.to_owned(),
        scenario_id: of.sized("scenario_id", 1, 256)?.to_owned(),
        seed: of.u64("seed")?,
    };
    let pack = Pack {
        oracle_pack_id: manifest.hex("oracle_pack_id", 64)?.to_owned(),
        // The span id of every envelope, which has 1 to 128 characters.
        engine_release: manifest.sized("engine_release", 1, 128)?.to_owned(),
        catalogue_digest: manifest.hex("catalogue_digest", 64)?.to_owned(),
        gate_map_digest: manifest.hex("gate_map_digest", 64)?.to_owned(),
        sealed: false,
    };
    same_world(file, &found, key)?;
    let id = oracle_pack_id(
        &found,
        &pack.engine_release,
        &pack.catalogue_digest,
        &pack.gate_map_digest,
    );
    if pack.oracle_pack_id != id {
        return Err(Failure::new(invalid, file)
            .field("oracle_pack_id")
            .found(&pack.oracle_pack_id)
            .expected(format!("{id}, the id of its fields")));
    }
    Ok(pack)
}

fn same_world(file: &str, found: &WorldKey, expected: &WorldKey) -> Result<()> {
    let seeds = (found.seed.to_string(), expected.seed.to_string());
    for (field, found, expected, of) in [
        (
            "manifest_fingerprint",
            &found.manifest_fingerprint,
            &expected.manifest_fingerprint,
            "the receipt's",
        ),
        (
            "parameter_hash",
            &found.parameter_hash,
            &expected.parameter_hash,
            "the receipt's",
        ),
        ("seed", &seeds.0, &seeds.1, "the receipt's"),
        (
            "scenario_id",
            &found.scenario_id,
            &expected.scenario_id,
            "the scenario that is streamed",
        ),
    ] {
        if found != expected {
            return Err(Failure::new(Reason::WorldKeyMismatch, file)
                .field(format!("world_key.{field}"))
                .found(found)
                .expected(format!("{expected}, {of}")));
        }
    }
    Ok(())
}

/// Checks that the world was sealed with this catalogue and gate map.
///
/// # Errors
/// `MANIFEST_MISMATCH`. `catalogue` and `gate_map` are (name, sha256 of the bytes).
pub fn compare_digests(
    store: &WorldStore,
    pack: &Pack,
    catalogue: (&str, &str),
    gate_map: (&str, &str),
) -> Result<()> {
    for (field, found, (name, digest)) in [
        ("catalogue_digest", &pack.catalogue_digest, catalogue),
        ("gate_map_digest", &pack.gate_map_digest, gate_map),
    ] {
        if found != digest {
            return Err(Failure::new(Reason::ManifestMismatch, store.name(MANIFEST))
                .field(field)
                .found(found)
                .expected(format!("{digest}, the digest of {name}")));
        }
    }
    Ok(())
}

/// Whether the world carries a seal that counts: `_SEALED.flag`, or a `_SEALED.json` that says
/// `SEALED_OK`. A seal that says otherwise is refused even where none is `required`.
///
/// # Errors
/// `PACK_NOT_SEALED` when it is `required` and absent, or says `SEALED_FAILED`; `SEAL_MISMATCH`
/// when it is of another pack than `pack`, or is not a seal.
pub async fn read_seal(store: &WorldStore, pack: Option<&Pack>, required: bool) -> Result<bool> {
    let file = store.name(SEAL_JSON);
    if let Some(bytes) = read(store, SEAL_JSON, Reason::SealMismatch).await? {
        parse_seal(&file, &bytes, pack)?;
        return Ok(true);
    }
    let flag = store.exists(SEAL_FLAG).await.map_err(|error| {
        error.explain(Failure::new(Reason::PackNotSealed, store.name(SEAL_FLAG)))
    })?;
    if !flag && required {
        return Err(Failure::new(Reason::PackNotSealed, store.root())
            .found("no seal")
            .expected(format!(
                "{SEAL_JSON} or {SEAL_FLAG}, which the profile requires"
            )));
    }
    Ok(flag)
}

fn parse_seal(file: &str, bytes: &[u8], pack: Option<&Pack>) -> Result<()> {
    let seal = Document::parse(file, bytes, Reason::SealMismatch, Reason::SealMismatch)?;
    seal.text("version")?;
    seal.sized("sealed_at_utc", 1, usize::MAX)?;
    let id = seal.hex("oracle_pack_id", 64)?;
    match seal.text("seal_status")? {
        "SEALED_OK" => {}
        "SEALED_FAILED" => {
            return Err(Failure::new(Reason::PackNotSealed, file)
                .field("seal_status")
                .found("SEALED_FAILED")
                .expected("SEALED_OK"));
        }
        other => {
            return Err(Failure::new(Reason::SealMismatch, file)
                .field("seal_status")
                .found(other)
                .expected("SEALED_OK or SEALED_FAILED"));
        }
    }
    match pack {
        Some(pack) if pack.oracle_pack_id != id => Err(Failure::new(Reason::SealMismatch, file)
            .field("oracle_pack_id")
            .found(id)
            .expected(format!("{}, the manifest's", pack.oracle_pack_id))),
        _ => Ok(()),
    }
}

/// The bytes of a file that may be absent. A folder of its name is not the same as absent: it
/// would silently make another world of this one.
async fn read(
    store: &WorldStore,
    name: &str,
    reason: Reason,
) -> Result<Option<bytes::Bytes>, Failure> {
    let failure = || Failure::new(reason, store.name(name));
    let bytes = store
        .read(name)
        .await
        .map_err(|error| error.explain(failure()))?;
    // In a remote store there are no folders, and nothing is listed but views.
    if bytes.is_none() && store.store().io().is_none() {
        let folders = store
            .folders("")
            .await
            .map_err(|error| error.explain(failure()))?;
        if folders.iter().any(|folder| folder == name) {
            return Err(failure().found("a folder").expected("a file"));
        }
    }
    Ok(bytes)
}
