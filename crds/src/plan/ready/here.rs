//! What a trigger or its profile says that has no meaning without a cluster: refused where passing
//! over it would do something else than what was asked for.

use crate::plan::cluster_only;
use crate::plan::documents::Document;
use crate::plan::error::UsageError;
use crate::{ReadyTriggerSpec, S3CredentialsSpec, SecretRef, StreamProfileSpec};

/// Refuses what has no meaning without a cluster, by file, line and field. `scoped`: a flag says which
/// run is the active one, whatever the trigger says.
pub fn check(
    trigger: &Document<ReadyTriggerSpec>,
    profile: &Document<StreamProfileSpec>,
    scoped: bool,
) -> Result<(), UsageError> {
    cluster_only::check(None, profile)?;
    for (index, part) in profile.spec.ready.downstream.iter().enumerate() {
        let at = |field: String| format!("spec.ready.downstream[{index}].{field}");
        if part.condition.is_some() {
            let message = "means something in a cluster alone, expected http or file";
            return Err(profile.yaml.wrong(&at("condition".into()), message));
        }
        for (number, header) in part.http.iter().flat_map(|it| &it.headers).enumerate() {
            if header.secret.as_ref().is_some_and(of_cluster) {
                let message = "means something in a cluster alone, expected a file or env";
                let path = at(format!("http.headers[{number}].secret.secret"));
                return Err(profile.yaml.wrong(&path, message));
            }
        }
    }
    store(trigger)?;
    let spec = &trigger.spec;
    let keys = |given: Option<&S3CredentialsSpec>| given.is_some_and(keys_of_cluster);
    let kinesis = spec.bus.kinesis.as_ref();
    let found = [
        (
            "bus.kinesis.credentials",
            keys(kinesis.and_then(|it| it.credentials.as_ref())),
            "files or env",
        ),
        (
            "bus.kinesis.caConfigMap",
            kinesis.is_some_and(|it| it.ca_config_map.is_some()),
            "caFile",
        ),
        (
            "scope.configMap",
            spec.scope.config_map.is_some() && !scoped,
            "platformRunId or the flag --platform-run-id",
        ),
        ("suspend", spec.suspend, "it left out"),
        (
            "volumes",
            !spec.volumes.is_empty(),
            "it left out: folders are those of the machine",
        ),
    ];
    cluster_only::refuse(trigger, found)
}

/// The same of the object store alone.
pub fn store(trigger: &Document<ReadyTriggerSpec>) -> Result<(), UsageError> {
    let keys = trigger.spec.store.s3.credentials.as_ref();
    let given = keys.is_some_and(keys_of_cluster);
    cluster_only::refuse(trigger, [("store.s3.credentials", given, "files or env")])
}

fn of_cluster(secret: &SecretRef) -> bool {
    secret.secret.is_some()
}

fn keys_of_cluster(keys: &S3CredentialsSpec) -> bool {
    of_cluster(&keys.access_key_id)
        || of_cluster(&keys.secret_access_key)
        || keys.session_token.as_ref().is_some_and(of_cluster)
}
