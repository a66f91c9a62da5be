//! What a document says that has no meaning in one process: refused where passing over it would
//! do something else than what was asked for.

use crate::{OutputList, SecretRef, StreamProfileSpec, TextSource, WorldStreamSpec};

use super::documents::Document;
use super::error::UsageError;

/// Refuses what has no meaning without a cluster, by file, line and field.
pub fn check(
    stream: Option<&Document<WorldStreamSpec>>,
    profile: &Document<StreamProfileSpec>,
) -> Result<(), UsageError> {
    stream.map_or(Ok(()), check_stream)?;
    check_profile(profile)
}

/// A stream that asks to be paused or suspended is refused, as it would be sent otherwise.
/// `retry` and `ttlAfterFinished` ask for nothing that a run does not do anyway: each start goes
/// on at the cursors, and nothing is left behind.
fn check_stream(stream: &Document<WorldStreamSpec>) -> Result<(), UsageError> {
    let spec = &stream.spec;
    for (path, given, instead) in [
        (
            "spec.paused",
            spec.paused,
            "leave it out, or start the run later",
        ),
        (
            "spec.suspend",
            spec.suspend,
            "leave it out; a run that is ended goes on where it was",
        ),
    ] {
        if given {
            let message =
                format!("found true, which means something in a cluster alone; {instead}");
            return Err(stream.yaml.wrong(path, message));
        }
    }
    Ok(())
}

/// A profile that takes a text, a list, a secret or cursors from a cluster is refused.
fn check_profile(profile: &Document<StreamProfileSpec>) -> Result<(), UsageError> {
    let spec = &profile.spec;
    let text = |source: &TextSource| source.config_map.is_some();
    let list = |list: &Option<OutputList>| list.as_ref().is_some_and(|it| it.config_map.is_some());
    let secret = |secret: Option<&SecretRef>| secret.is_some_and(|it| it.secret.is_some());
    let auth = spec.gate.auth.as_ref();
    let postgres = spec.checkpoints.postgres.as_ref();
    let s3 = spec.world.s3.credentials.as_ref();
    let token = s3.and_then(|it| it.session_token.as_ref());
    let (traffic, context) = (&spec.traffic_outputs, &spec.context_outputs);
    let texts = "a file, builtIn or inline";
    let lists = "a file, builtIn or outputIds";
    let secrets = "a file or env";
    let found = [
        ("catalogue.configMap", text(&spec.catalogue), texts),
        ("gateMap.configMap", text(&spec.gate_map), texts),
        (
            "producer.allowlist.configMap",
            spec.producer.allowlist.as_ref().is_some_and(text),
            texts,
        ),
        (
            "trafficOutputs.fraud.configMap",
            list(&traffic.fraud),
            lists,
        ),
        (
            "trafficOutputs.baseline.configMap",
            list(&traffic.baseline),
            lists,
        ),
        (
            "trafficOutputs.allowlist.configMap",
            list(&traffic.allowlist),
            lists,
        ),
        (
            "contextOutputs.fraud.configMap",
            list(&context.fraud),
            lists,
        ),
        (
            "contextOutputs.baseline.configMap",
            list(&context.baseline),
            lists,
        ),
        (
            "world.s3.caConfigMap",
            spec.world.s3.ca_config_map.is_some(),
            "caFile",
        ),
        (
            "world.s3.credentials.accessKeyId.secret",
            secret(s3.map(|it| &it.access_key_id)),
            secrets,
        ),
        (
            "world.s3.credentials.secretAccessKey.secret",
            secret(s3.map(|it| &it.secret_access_key)),
            secrets,
        ),
        (
            "world.s3.credentials.sessionToken.secret",
            secret(token),
            secrets,
        ),
        (
            "gate.caConfigMap",
            spec.gate.ca_config_map.is_some(),
            "caFile",
        ),
        (
            "gate.auth.apiKey.secret",
            secret(auth.and_then(|it| it.api_key.as_ref())),
            secrets,
        ),
        (
            "gate.auth.serviceToken.secret",
            secret(auth.and_then(|it| it.service_token.as_ref())),
            secrets,
        ),
        (
            "gate.auth.signedToken.secret.secret",
            secret(auth.and_then(|it| it.signed_token.as_ref().map(|token| &token.secret))),
            secrets,
        ),
        (
            "checkpoints.postgres.dsn.secret",
            secret(postgres.and_then(|it| it.dsn.as_ref())),
            secrets,
        ),
        (
            "checkpoints.postgres.caConfigMap",
            postgres.is_some_and(|it| it.ca_config_map.is_some()),
            "caFile",
        ),
        (
            "checkpoints.kubernetes",
            spec.checkpoints.kubernetes.is_some(),
            "the file store, which is the default",
        ),
    ];
    refuse(profile, found)
}

/// Refuses the first of these fields of a spec that is given: its path, whether it is, and what
/// is expected in its place.
pub fn refuse<'a, T>(
    document: &Document<T>,
    fields: impl IntoIterator<Item = (&'a str, bool, &'a str)>,
) -> Result<(), UsageError> {
    match fields.into_iter().find(|(_, given, _)| *given) {
        Some((path, _, expected)) => Err(document.yaml.wrong(
            &format!("spec.{path}"),
            format!("means something in a cluster alone, expected {expected}"),
        )),
        None => Ok(()),
    }
}
