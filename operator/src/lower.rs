//! A profile of a cluster made one that a plan can be resolved from: texts of ConfigMaps are put
//! in, Secrets become the files that the kubelet mounts, and what a cluster decides otherwise than
//! a single process is set. Pure; by the shape of the references, so that a new field that holds
//! one needs no line here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use worldstream_crds::plan::policy_files;
use worldstream_crds::{ConditionReason, KeyRef, ReadyTriggerSpec, StreamProfileSpec};

use crate::invalid::Invalid;

/// The texts of the ConfigMaps that a profile names, as far as they are there.
pub type Texts = BTreeMap<(String, String), String>;

/// A Secret or ConfigMap entry that is mounted as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The field that asks for it, such as `spec.gate.auth.apiKey`.
    pub path: String,
    /// Whether it is a Secret, else a ConfigMap.
    pub secret: bool,
    /// The object's name.
    pub name: String,
    /// The entry.
    pub key: String,
    /// The folder that it is mounted at.
    pub folder: String,
}

/// Where Secrets are mounted, a folder each, named by the field that asks for it.
pub const SECRETS: &str = "/etc/worldstream/secrets";
/// Where certificates are mounted.
pub const CERTIFICATES: &str = "/etc/worldstream/certificates";
/// The file's name in its folder: the entry's own name may change without the plan changing.
pub const ENTRY: &str = "value";
/// The folder that a worker may write to.
pub const SCRATCH: &str = "/var/run/worldstream";

/// How long a worker waits for a gate or a store that is away, where the profile does not say.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The ConfigMap entries that a profile names as texts.
pub fn config_maps(profile: &StreamProfileSpec) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&mut as_value(profile), "", &mut |_, _, fields| {
        if let Some(entry) = key_ref(fields.get("configMap")) {
            found.push((entry.name, entry.key));
        }
        Ok(())
    })
    .ok();
    found.sort();
    found.dedup();
    found
}

/// The profile as a process reads it, and what has to be mounted for that.
///
/// Errors: a ConfigMap that is not there, a policy list that is none, a field that has no meaning
/// in a cluster.
pub fn lower(
    profile: &StreamProfileSpec,
    texts: &Texts,
) -> Result<(StreamProfileSpec, Vec<Mounted>), Invalid> {
    let mut mounted = Vec::new();
    let mut value = as_value(profile);
    // What must be up downstream is asked by triggers, whose secrets are not the workers'.
    value.as_object_mut().map(|fields| fields.remove("ready"));
    walk(&mut value, "spec", &mut |path, name, fields| {
        if mount_references(path, fields, &mut mounted) {
            return Ok(());
        }
        if path.starts_with("spec.gate.auth.")
            && let Some(field) = ["file", "env"].iter().find(|it| fields.contains_key(**it))
        {
            return Err(Invalid::profile(format!(
                "{path}.{field}: is for runs without a cluster, expected secret"
            )));
        }
        if let Some(entry) = key_ref(fields.get("configMap")) {
            let place = format!("ConfigMap {}: {}", entry.name, entry.key);
            let text = texts.get(&(entry.name, entry.key)).ok_or_else(|| {
                Invalid::new(
                    ConditionReason::ConfigMapNotFound.as_str(),
                    format!("{path}.configMap: found no {place}"),
                )
            })?;
            fields.remove("configMap");
            let list = path.starts_with("spec.trafficOutputs.")
                || path.starts_with("spec.contextOutputs.");
            if list {
                let ids = policy_files::output_ids(&place, text)
                    .map_err(|error| Invalid::profile(error.to_string()))?;
                fields.insert("outputIds".into(), json!(ids));
            } else {
                fields.insert("inline".into(), json!(text));
            }
        }
        let _ = name;
        Ok(())
    })?;
    if let Some(file) = &profile.checkpoints.file {
        let volume = file.volume.as_ref().ok_or_else(|| {
            Invalid::profile(
                "spec.checkpoints.file.volume: is missing; in a cluster cursors in files need one",
            )
        })?;
        if file.root.is_none() {
            value["checkpoints"]["file"]["root"] = json!(volume.mount_path);
        }
    }
    let stores = value["checkpoints"].as_object_mut();
    if let Some(stores) = stores
        && !["file", "postgres", "kubernetes"]
            .iter()
            .any(|store| stores.contains_key(*store))
    {
        stores.insert("kubernetes".into(), json!({}));
    }
    let mut lowered: StreamProfileSpec = serde_json::from_value(value)
        .map_err(|error| Invalid::profile(format!("cannot be read: {error}")))?;
    // A folder would be one of a pod that goes; what lies in S3 stays.
    if !lowered.runs_root.starts_with("s3://") {
        lowered.runs_root = format!("{SCRATCH}/runs");
    }
    let patience = Some(worldstream_crds::DurationText(PATIENCE));
    lowered.gate.unavailable_for = lowered.gate.unavailable_for.or(patience);
    Ok((lowered, mounted))
}

/// Makes the Secret and the certificates that an object of a document refers to files that are
/// mounted. Says whether it was a Secret's reference, which holds nothing else.
fn mount_references(
    path: &str,
    fields: &mut Map<String, Value>,
    mounted: &mut Vec<Mounted>,
) -> bool {
    if let Some(entry) = key_ref(fields.get("caConfigMap")) {
        let folder = format!("{CERTIFICATES}/{}", slug(path));
        fields.remove("caConfigMap");
        fields.insert("caFile".into(), json!(format!("{folder}/{ENTRY}")));
        mounted.push(mount(path, false, entry, folder));
    }
    let Some(entry) = key_ref(fields.get("secret")) else {
        return false;
    };
    let folder = format!("{SECRETS}/{}", slug(path));
    fields.remove("secret");
    fields.insert("file".into(), json!(format!("{folder}/{ENTRY}")));
    mounted.push(mount(path, true, entry, folder));
    true
}

/// A trigger, and what its profile says must be up downstream, as the trigger's process reads them:
/// Secrets and certificates are files. The profile's other parts are left out.
///
/// Errors: a reference to what only a single process has.
pub fn lower_trigger(
    trigger: &ReadyTriggerSpec,
    profile: &StreamProfileSpec,
) -> Result<(ReadyTriggerSpec, StreamProfileSpec, Vec<Mounted>), Invalid> {
    let mut mounted = Vec::new();
    let mut value = serde_json::to_value(trigger).unwrap_or_default();
    // Volumes hold nothing to be mounted by itself, and the scope is read as it is.
    walk(&mut value, "spec", &mut |path, _, fields| {
        let keys = path.contains(".credentials.");
        if !mount_references(path, fields, &mut mounted)
            && keys
            && let Some(field) = ["file", "env"].iter().find(|it| fields.contains_key(**it))
        {
            return Err(Invalid::new(
                ConditionReason::InvalidSpec.as_str(),
                format!("{path}.{field}: is for runs without a cluster, expected secret"),
            ));
        }
        Ok(())
    })?;
    let lowered = serde_json::from_value(value).map_err(|error| {
        let reason = ConditionReason::InvalidSpec.as_str();
        Invalid::new(reason, format!("cannot be read: {error}"))
    })?;
    let mut value = json!({"ready": profile.ready});
    walk(&mut value, "spec", &mut |path, _, fields| {
        mount_references(path, fields, &mut mounted);
        Ok(())
    })?;
    let profile = serde_json::from_value(value)
        .map_err(|error| Invalid::profile(format!("cannot be read: {error}")))?;
    Ok((lowered, profile, mounted))
}

fn as_value(profile: &StreamProfileSpec) -> Value {
    serde_json::to_value(profile).unwrap_or_default()
}

fn mount(path: &str, secret: bool, entry: KeyRef, folder: String) -> Mounted {
    Mounted {
        path: path.to_owned(),
        secret,
        name: entry.name,
        key: entry.key,
        folder,
    }
}

fn key_ref(value: Option<&Value>) -> Option<KeyRef> {
    serde_json::from_value(value?.clone()).ok()
}

/// `gate-auth-apikey` for `spec.gate.auth.apiKey`.
fn slug(path: &str) -> String {
    let path = path.strip_prefix("spec.").unwrap_or(path);
    path.to_ascii_lowercase().replace(['.', '[', ']'], "-")
}

/// Calls `look` with the path, the name and the fields of every object below a value.
fn walk(
    value: &mut Value,
    path: &str,
    look: &mut impl FnMut(&str, &str, &mut Map<String, Value>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    match value {
        Value::Object(fields) => {
            let name = path.rsplit('.').next().unwrap_or_default().to_owned();
            look(path, &name, fields)?;
            for (name, field) in fields.iter_mut() {
                walk(field, &format!("{path}.{name}"), look)?;
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), look)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(value: Value) -> StreamProfileSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn references_become_files_and_texts() {
        let given = profile(json!({
            "gate": {
                "url": "https://sluice.example:4443",
                "auth": {"apiKey": {"secret": {"name": "otter", "key": "pelt"}}},
                "caConfigMap": {"name": "roots", "key": "oak.pem"},
            },
            "catalogue": {"configMap": {"name": "tables", "key": "c.yaml"}},
            "trafficOutputs": {"allowlist": {"configMap": {"name": "tables", "key": "t.yaml"}}},
        }));
        assert_eq!(
            config_maps(&given),
            [
                ("tables".into(), "c.yaml".into()),
                ("tables".into(), "t.yaml".into())
            ]
        );
        let texts = Texts::from([
            (("tables".into(), "c.yaml".into()), "outputs: []".into()),
            (("tables".into(), "t.yaml".into()), "[river_9Z]".into()),
        ]);
        let (lowered, mounted) = lower(&given, &texts).unwrap();
        let key = lowered.gate.auth.unwrap().api_key.unwrap();
        assert_eq!(
            key.file.as_deref(),
            Some("/etc/worldstream/secrets/gate-auth-apikey/value")
        );
        assert_eq!(
            lowered.gate.ca_file.as_deref(),
            Some("/etc/worldstream/certificates/gate/value")
        );
        assert_eq!(lowered.catalogue.inline.as_deref(), Some("outputs: []"));
        let list = lowered.traffic_outputs.allowlist.unwrap();
        assert_eq!(list.output_ids, Some(vec!["river_9Z".into()]));
        assert!(lowered.checkpoints.kubernetes.is_some());
        assert_eq!(mounted.len(), 2);
        assert!(mounted.iter().any(|it| it.secret && it.name == "otter"));
    }

    #[test]
    fn what_a_run_writes_stays_where_it_lies_in_s3() {
        for (given, lowered) in [
            ("runs/fraud-platform", "/var/run/worldstream/runs"),
            ("s3://burrow/x", "s3://burrow/x"),
        ] {
            let found = lower(&profile(json!({"runsRoot": given})), &Texts::new()).unwrap();
            assert_eq!(found.0.runs_root, lowered);
        }
    }

    #[test]
    fn what_is_missing_or_meant_for_one_process_is_named() {
        let given = profile(json!({"gateMap": {"configMap": {"name": "tables", "key": "g"}}}));
        let error = lower(&given, &Texts::new()).unwrap_err();
        assert_eq!(error.reason, "ConfigMapNotFound");
        assert!(
            error.message.contains("spec.gateMap.configMap"),
            "{error:?}"
        );
        let given = profile(json!({"gate": {"auth": {"apiKey": {"env": "PELT"}}}}));
        let error = lower(&given, &Texts::new()).unwrap_err();
        assert!(
            error.message.contains("spec.gate.auth.apiKey.env"),
            "{error:?}"
        );
    }
}
