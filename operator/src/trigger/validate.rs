//! One validated struct out of a ReadyTrigger, its profile and the ConfigMaps that these name. Pure;
//! what is wrong is a condition and heals when its cause goes.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use worldstream_crds::plan::ready::{BusKind, ProbePlan, ReadyPlan, ReadyRun, ScopePlan};
use worldstream_crds::plan::{Document, Documents, NoFiles, PlanError, ready, values};
use worldstream_crds::{ConditionReason, TriggerVolumeSpec, WorkerSpec, WorldStreamStatus};

use super::TriggerView;
use crate::invalid::Invalid;
use crate::lower::{Mounted, Texts, lower_trigger};
use crate::validate::validate as validate_stream;
use crate::views::{Key, ProfileView, StreamView};

/// What a trigger points at, as far as it is there.
pub struct Found {
    /// Its profile.
    pub profile: Option<Arc<ProfileView>>,
    /// Entries of ConfigMaps: the profile's texts, and the scope.
    pub texts: Texts,
}

/// A trigger that can be carried out.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Its plan's text, as its pod reads it.
    pub text: String,
    /// sha256 of the text.
    pub hash: String,
    /// The ConfigMap that says which run is the active one.
    pub scope: Option<String>,
    /// The image that its pod runs.
    pub image: String,
    /// The profile's `worker`, which says where pods run.
    pub worker: WorkerSpec,
    /// Secrets and certificates as files.
    pub mounted: Vec<Mounted>,
}

/// Validates.
///
/// Errors: what is wrong first: the profile, the references, the trigger, the streams that it would
/// make.
pub fn validate(trigger: &TriggerView, found: &Found, image: &str) -> Result<Valid, Invalid> {
    let spec = &trigger.spec;
    let profile = found.profile.as_deref().ok_or_else(|| {
        Invalid::new(
            ConditionReason::ProfileNotFound.as_str(),
            format!(
                "found no StreamProfile {:?} in namespace {}",
                spec.profile, trigger.key.namespace
            ),
        )
    })?;
    let (lowered, gates, mounted) = lower_trigger(spec, &profile.spec)?;
    let name = &trigger.key.name;
    let documents = Documents {
        stream: None,
        profiles: vec![Document::stored(
            &format!("StreamProfile {}", profile.name),
            &profile.name,
            gates,
        )],
        trigger: Some(Document::stored(
            &format!("ReadyTrigger {name}"),
            name,
            lowered,
        )),
    };
    let plan = ready::resolve(&documents, None, &NoFiles).map_err(of_plan)?;
    on_volumes(&plan, &spec.volumes)?;
    scope(&plan, &found.texts)?;
    streams(trigger, &plan, profile, &found.texts, image)?;
    let text = serde_json::to_string(&plan).map_err(|error| {
        let reason = ConditionReason::InvalidSpec.as_str();
        Invalid::new(reason, format!("cannot be written as a plan: {error}"))
    })?;
    let worker = profile.spec.worker.clone();
    Ok(Valid {
        hash: const_hex::encode(Sha256::digest(text.as_bytes())),
        text,
        scope: match plan.scope {
            Some(ScopePlan::ConfigMap(entry)) => Some(entry.name),
            Some(ScopePlan::PlatformRun(_)) | None => None,
        },
        image: worker.image.clone().unwrap_or_else(|| image.to_owned()),
        worker,
        mounted,
    })
}

/// Folders that a pod reads or writes lie on its volumes: anything else is gone with the pod.
fn on_volumes(plan: &ReadyPlan, volumes: &[TriggerVolumeSpec]) -> Result<(), Invalid> {
    let mut folders = vec![("spec.store.root", plan.store.as_str(), true)];
    if let BusKind::File(file) = &plan.bus.kind {
        folders.push(("spec.bus.file.root", &file.root, false));
    }
    for part in &plan.downstream {
        if let ProbePlan::File(path) = &part.probe {
            folders.push(("spec.ready.downstream (of the profile)", path, false));
        }
    }
    for (field, folder, written) in folders {
        if folder.starts_with("s3://") {
            continue;
        }
        let below = |volume: &&TriggerVolumeSpec| {
            let mount = volume.mount_path.trim_end_matches('/');
            folder
                .strip_prefix(mount)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let wrong = |what: &str| {
            let message = format!("{field}: {folder:?} {what}");
            Err(Invalid::new(ConditionReason::InvalidSpec.as_str(), message))
        };
        match volumes.iter().find(below) {
            None => {
                return wrong("lies on no volume, expected one below a mountPath of spec.volumes");
            }
            Some(volume) if written && volume.read_only => {
                return wrong("lies on a volume that is readOnly, and is written to");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The ConfigMap that says which run is the active one must be there. What it says may change at
/// any time, and is read by the pod for each message.
fn scope(plan: &ReadyPlan, texts: &Texts) -> Result<(), Invalid> {
    let Some(ScopePlan::ConfigMap(entry)) = &plan.scope else {
        return Ok(());
    };
    let place = format!("ConfigMap {}: {}", entry.name, entry.key);
    let text = texts
        .get(&(entry.name.clone(), entry.key.clone()))
        .ok_or_else(|| {
            Invalid::new(
                ConditionReason::ConfigMapNotFound.as_str(),
                format!("spec.scope.configMap: found no {place}"),
            )
        })?;
    values::platform_run_id(text.trim().to_owned())
        .map(|_| ())
        .map_err(|message| {
            Invalid::new(
                ConditionReason::InvalidSpec.as_str(),
                format!("spec.scope.configMap: {place}: {message}"),
            )
        })
}

/// A profile by which no stream could be carried out is told before the first message comes.
fn streams(
    trigger: &TriggerView,
    plan: &ReadyPlan,
    profile: &ProfileView,
    texts: &Texts,
    image: &str,
) -> Result<(), Invalid> {
    let spec = plan.world_stream(ReadyRun {
        platform_run_id: "platform_20260101T000000Z",
        scenario_run_id: "00000000000000000000000000000000",
        engine_run_root: plan.engine_run_root.as_deref().unwrap_or("s3://world/run"),
        scenario: "baseline_v1",
    });
    let stream = StreamView {
        key: Key {
            namespace: trigger.key.namespace.clone(),
            name: format!("of ReadyTrigger {}", trigger.key.name),
        },
        uid: String::new(),
        version: String::new(),
        generation: 0,
        created: Timestamp::UNIX_EPOCH,
        deleting: false,
        finalizers: Vec::new(),
        trigger: trigger.key.name.clone(),
        spec,
        status: WorldStreamStatus::default(),
        writers: Default::default(),
    };
    validate_stream(&stream, Some(profile), texts, image).map(|_| ())
}

fn of_plan(error: PlanError) -> Invalid {
    match error {
        PlanError::Failure(failure) => Invalid::new(failure.reason().as_str(), failure.message()),
        PlanError::Usage(error) => {
            let reason = match error.place.starts_with("ReadyTrigger") {
                true => ConditionReason::InvalidSpec,
                false => ConditionReason::InvalidProfile,
            };
            Invalid::new(reason.as_str(), error.to_string())
        }
    }
}
