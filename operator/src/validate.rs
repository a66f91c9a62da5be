//! One validated struct out of a WorldStream, its StreamProfile and the ConfigMaps that this
//! names. The only input of what builds children. Pure; what is wrong is a condition and an event,
//! never an error of the operator's, and heals when its cause goes.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use worldstream_crds::catalogue::Catalogue;
use worldstream_crds::plan::{Document, Documents, NoFiles, Overrides, PlanError, StreamPlan};
use worldstream_crds::selection::{self, Role};
use worldstream_crds::{
    ConditionReason, OnOutputFailure, OracleSpec, OutputRole, Overload, Reason, Rollout,
    StreamProfileSpec, VolumeSpec, WorkerSpec, plan,
};

use crate::build::Kind;
use crate::invalid::Invalid;
use crate::lower::{Mounted, Texts, lower};
use crate::runs;
use crate::views::{ProfileView, StreamView};

/// One output that is to be streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exact id.
    pub id: String,
    /// Why it is streamed.
    pub role: OutputRole,
}

/// A stream that can be carried out.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The resolved plan.
    pub plan: StreamPlan,
    /// Its text, as workers read it.
    pub text: String,
    /// sha256 of the text.
    pub hash: String,
    /// The same without what may be changed while the stream runs.
    pub fixed_hash: String,
    /// Context first, then traffic.
    pub outputs: Vec<Output>,
    /// How many lanes each has.
    pub lanes: u32,
    /// The profile's generation.
    pub profile_generation: i64,
    /// The image that a new worker would run.
    pub image: String,
    /// What the pods need.
    pub pods: Pods,
    /// What may be changed while the stream runs.
    pub live: Live,
}

/// What the pods need besides the plan.
#[derive(Clone, Debug)]
pub struct Pods {
    /// The profile's `worker`.
    pub worker: WorkerSpec,
    /// The profile's `oracle`.
    pub oracle: OracleSpec,
    /// Secrets and certificates as files.
    pub mounted: Vec<Mounted>,
    /// Where worlds are.
    pub worlds: Option<VolumeSpec>,
    /// Where cursors are, with the file store.
    pub cursors: Option<VolumeSpec>,
    /// How long a worker may take to drain and save.
    pub grace: Duration,
}

impl Pods {
    /// The annotations by which a cloud knows a kind of pod.
    pub fn identity(&self, kind: Kind) -> &BTreeMap<String, String> {
        let own = &self.oracle.service_account_annotations;
        match kind == Kind::Build && !own.is_empty() {
            true => own,
            false => &self.worker.service_account_annotations,
        }
    }
}

/// What may be changed while the stream runs: of the WorldStream, else of the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Event seconds a wall second; 0: no waiting.
    pub speedup: f64,
    /// What happens when an output is late.
    pub overload: Overload,
    /// From when on it is late.
    pub max_lag: Duration,
    /// What one output's failure does to the others.
    pub on_output_failure: OnOutputFailure,
    /// How far ahead a revision becomes effective.
    pub lead: Duration,
    /// How long outputs may take until all are primed.
    pub prime_timeout: Duration,
    /// How far a worker's clock may be off.
    pub max_skew: Duration,
    /// How many crashes in a row without progress are one too many.
    pub crash_limit: u32,
    /// When changed templates reach running workers.
    pub rollout: Rollout,
    /// How long children are kept after the end.
    pub ttl: Option<Duration>,
    /// Whether the checkpoint store refuses the writes of an older epoch.
    pub fences: bool,
}

/// What may be changed, of a profile that is there but need not be valid.
pub fn live(stream: &StreamView, profile: &StreamProfileSpec) -> Live {
    let (spec, defaults) = (&stream.spec, &profile.defaults);
    Live {
        speedup: spec.speedup.unwrap_or(defaults.speedup).max(0.0),
        overload: spec.overload.unwrap_or(defaults.overload),
        max_lag: spec.max_lag.unwrap_or(defaults.max_lag).0,
        on_output_failure: spec.on_output_failure.unwrap_or(defaults.on_output_failure),
        lead: profile.clock.lead.0,
        prime_timeout: profile.clock.prime_timeout.0,
        max_skew: profile.clock.max_skew.0,
        crash_limit: profile.worker.crash_limit,
        rollout: profile.worker.rollout,
        ttl: spec
            .ttl_after_finished
            .or(defaults.ttl_after_finished)
            .map(|ttl| ttl.0),
        // A lock on a file is the node's own: another node does not see it.
        fences: profile.checkpoints.file.is_none(),
    }
}

/// Validates.
///
/// `image` is the worker image that the operator was installed with.
///
/// Errors: what is wrong first, in the order profile, references, stream, selection.
pub fn validate(
    stream: &StreamView,
    profile: Option<&ProfileView>,
    texts: &Texts,
    image: &str,
) -> Result<Validated, Invalid> {
    let wanted = stream.spec.profile.as_deref().unwrap_or_default();
    let profile = profile.ok_or_else(|| {
        Invalid::new(
            ConditionReason::ProfileNotFound.as_str(),
            format!(
                "found no StreamProfile {wanted:?} in namespace {}",
                stream.key.namespace
            ),
        )
    })?;
    root_is_safe(stream, &profile.spec)?;
    let (lowered, mounted) = lower(&profile.spec, texts)?;
    let mut spec = stream.spec.clone();
    spec.platform_run_id = runs::known(stream).map(str::to_owned);
    let documents = Documents {
        stream: Some(Document::stored(
            &format!("WorldStream {}", stream.key.name),
            &stream.key.name,
            spec,
        )),
        profiles: vec![Document::stored(
            &format!("StreamProfile {}", profile.name),
            &profile.name,
            lowered,
        )],
        trigger: None,
    };
    let plan = plan::resolve(&documents, &Overrides::default(), &NoFiles).map_err(of_plan)?;
    let catalogue = Catalogue::parse(&plan.world.catalogue).map_err(of_failure)?;
    let selection = selection::select(&plan.world.selection, &catalogue).map_err(of_failure)?;
    let outputs = selection.outputs.into_iter().map(|(role, output)| Output {
        id: output.id,
        role: match role {
            Role::Context => OutputRole::Context,
            Role::Traffic => OutputRole::Traffic,
        },
    });
    let unwritten = |error| Invalid::profile(format!("cannot be written as a plan: {error}"));
    let text = serde_json::to_string(&plan).map_err(unwritten)?;
    let mut fixed = serde_json::to_value(&plan).map_err(unwritten)?;
    fixed["pace"] = serde_json::Value::Null;
    let worker = profile.spec.worker.clone();
    let grace = worker.pod_template.termination_grace_period_seconds;
    Ok(Validated {
        hash: const_hex::encode(Sha256::digest(text.as_bytes())),
        fixed_hash: const_hex::encode(Sha256::digest(fixed.to_string())),
        text,
        outputs: outputs.collect(),
        lanes: plan.identity.lanes.count,
        profile_generation: profile.generation,
        image: worker.image.clone().unwrap_or_else(|| image.to_owned()),
        live: live(stream, &profile.spec),
        pods: Pods {
            worlds: profile.spec.world.volume.clone(),
            cursors: profile
                .spec
                .checkpoints
                .file
                .as_ref()
                .and_then(|file| file.volume.clone()),
            grace: grace.map_or(
                profile.spec.gate.timeout.0 + Duration::from_secs(30),
                |seconds| Duration::from_secs(seconds.into()),
            ),
            mounted,
            oracle: profile.spec.oracle.clone(),
            worker,
        },
        plan,
    })
}

/// Worlds of a cluster lie below roots that the profile names, and a root says so by its letters.
fn root_is_safe(stream: &StreamView, profile: &StreamProfileSpec) -> Result<(), Invalid> {
    if profile.world.allowed_roots.is_empty() && profile.world.oracle_root.is_none() {
        return Err(Invalid::profile(
            "spec.world: found neither allowedRoots nor oracleRoot; in a cluster a profile names \
             the roots that worlds may lie below",
        ));
    }
    let root = stream.spec.engine_run_root.as_deref().unwrap_or_default();
    let path = root.strip_prefix("s3://").unwrap_or(root);
    let expected = if path.contains("://") {
        "a local path or s3://bucket/prefix"
    } else if path.split('/').any(|step| step == "..") {
        "no `..` in it"
    } else {
        return Ok(());
    };
    Err(Invalid::new(
        Reason::RootNotAllowed.as_str(),
        format!(
            "WorldStream {}: spec.engineRunRoot: found {root:?}, expected {expected}",
            stream.key.name
        ),
    ))
}

fn of_plan(error: PlanError) -> Invalid {
    match error {
        PlanError::Failure(failure) => of_failure(failure),
        PlanError::Usage(error) => {
            let reason = match error.place.starts_with("WorldStream") {
                true => ConditionReason::InvalidSpec,
                false => ConditionReason::InvalidProfile,
            };
            Invalid::new(reason.as_str(), error.to_string())
        }
    }
}

fn of_failure(failure: worldstream_crds::Failure) -> Invalid {
    Invalid::new(failure.reason().as_str(), failure.message())
}

/// Who a stream is for the gate and the stores: two streams of one identity would send the same
/// events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    run: Option<String>,
    scenario_run: Option<String>,
    root: Option<String>,
    scenario: Option<String>,
    attempt: Option<String>,
    selection: (Option<worldstream_crds::TrafficMode>, Vec<String>, u32),
}

/// The identity of a stream, from its spec and the platform run that is recorded.
pub fn identity(stream: &StreamView) -> Identity {
    let spec = &stream.spec;
    let mut outputs = spec.outputs.clone();
    outputs.sort();
    Identity {
        run: runs::known(stream).map(str::to_owned),
        scenario_run: spec.scenario_run_id.clone(),
        root: spec
            .engine_run_root
            .as_ref()
            .map(|root| root.trim_end_matches('/').to_owned()),
        scenario: spec.scenario.clone(),
        attempt: spec.attempt.clone().filter(|attempt| !attempt.is_empty()),
        selection: (
            spec.traffic_mode,
            outputs,
            spec.lanes.as_ref().map_or(1, |lanes| lanes.count),
        ),
    }
}

#[cfg(test)]
mod tests;
