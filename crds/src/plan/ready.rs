//! The plan of a ReadyTrigger: everything that decides how a control bus is followed, resolved and
//! validated. `worldstream ready` makes it from files; in a cluster the operator makes it, and the
//! trigger's pod reads it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::documents::{Document, Documents};
use super::error::{PlanError, UsageError};
use super::files::Files;
use super::profile::{check, check_some, one_of};
use super::{S3CredentialsPlan, S3Plan, SecretSource, choose, s3, values};
use crate::failure::Failure;
use crate::{
    ConditionDownstream, KeyRef, KinesisBusSpec, ProvenanceSpec, ReadyTriggerSpec, Reason,
    StreamOverridesSpec, WorldStreamSpec,
};

mod downstream;
mod here;

type Result<T, E = PlanError> = std::result::Result<T, E>;
type Trigger = Document<ReadyTriggerSpec>;

/// The version of [`ReadyPlan`] that this program reads and writes.
pub const READY_PLAN_VERSION: u32 = 1;

/// How a control bus is followed, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadyPlan {
    /// [`READY_PLAN_VERSION`].
    pub version: u32,
    /// The trigger's name.
    pub name: String,
    /// The profile of the streams, by its name in the documents or the namespace.
    pub profile: String,
    /// The bus.
    pub bus: BusPlan,
    /// Where facts are read and records and governance facts are written: an absolute path, or
    /// `s3://bucket` with or without a prefix. Without a cluster it may be a relative path.
    pub store: String,
    /// How S3 is reached, for bus, facts and records.
    pub s3: S3Plan,
    /// Roots below which facts must lie; never empty.
    pub allowed_roots: Vec<String>,
    /// The active platform run; none: nobody says, which is a mistake once a message comes.
    pub scope: Option<ScopePlan>,
    /// The configured run root (contracts section 8, step 6).
    pub engine_run_root: Option<String>,
    /// What streams are like where they differ from the profile.
    pub stream: StreamOverridesSpec,
    /// What governance facts say of where they come from.
    pub provenance: ProvenanceSpec,
    /// How many streams may run at once, 1 or more.
    pub max_active: u32,
    /// The first and the longest wait between tries of a message whose downstream is not ready.
    pub deferral: DeferralPlan,
    /// How many WorldStreams that are done with are kept.
    pub history_limit: u32,
    /// No new messages are taken.
    pub suspend: bool,
    /// What must be up before a stream begins.
    pub downstream: Vec<DownstreamPlan>,
}

/// A control bus: what is read of it, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BusPlan {
    /// The topic (contracts section 8: `fp.bus.control.v1`).
    pub topic: String,
    /// Larger messages are passed over.
    pub max_message_bytes: u64,
    /// Where it is.
    pub kind: BusKind,
}

/// The kinds of buses. A new kind is a new variant here and a file in the worker's `bus/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum BusKind {
    /// A folder with a folder for each topic and one JSON file for each message.
    File(FileBusPlan),
    /// A Kinesis stream.
    Kinesis(KinesisBusPlan),
}

/// A folder with one JSON file a message: `<root>/<topic>/*.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileBusPlan {
    /// A path, or `s3://bucket[/prefix]`.
    pub root: String,
    /// How often it is looked at, where nothing tells of changes.
    pub poll_interval: Duration,
    /// How S3 is reached, for a root there.
    pub s3: S3Plan,
}

/// A Kinesis stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KinesisBusPlan {
    /// Its name.
    pub stream: String,
    /// Its region; none: the environment's.
    pub region: Option<String>,
    /// http or https and a host; none: the environment's, else AWS's.
    pub endpoint: Option<String>,
    /// None: those of the environment, from AWS's sources.
    pub credentials: Option<S3CredentialsPlan>,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
}

/// Who says which platform run is the active one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ScopePlan {
    /// This one.
    PlatformRun(String),
    /// The entry of a ConfigMap, in a cluster.
    ConfigMap(KeyRef),
}

/// Waits between tries of a message whose downstream is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeferralPlan {
    /// The first wait, more than nothing; each further one is twice as long.
    pub min_interval: Duration,
    /// The longest wait.
    pub max_interval: Duration,
}

/// A part of the platform that must be up before a stream begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DownstreamPlan {
    /// What it is called in messages.
    pub name: String,
    /// How it is asked.
    pub probe: ProbePlan,
    /// It must be up for the message's platform run.
    pub require_active_run_match: bool,
}

/// How a part of the platform is asked whether it is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ProbePlan {
    /// GET; 2xx is up.
    Http(HttpProbe),
    /// A `state.json`: an absolute path, or `s3://bucket/key`.
    File(String),
    /// A condition of a Kubernetes object, in a cluster.
    Condition(ConditionDownstream),
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// http or https.
    pub url: String,
    /// A JSON pointer to the active platform run id.
    pub pointer: String,
    /// More headers, by name.
    pub headers: Vec<(String, HeaderPlan)>,
    /// A file of PEM certificates to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HeaderPlan {
    /// As it is.
    Text(String),
    /// Read at every request.
    Secret(SecretSource),
}

/// What the facts of a message say of the stream that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyRun<'a> {
    /// `platform_YYYYMMDDTHHMMSSZ`.
    pub platform_run_id: &'a str,
    /// The Scenario Runner's run id, 32 hex digits.
    pub scenario_run_id: &'a str,
    /// The engine run root that step 6 chose.
    pub engine_run_root: &'a str,
    /// The scenario of the facts.
    pub scenario: &'a str,
}

impl BusPlan {
    /// The bus in one word: `kinesis:fp-control`, `file:/mnt/bus`.
    pub fn name(&self) -> String {
        match &self.kind {
            BusKind::File(file) => format!("file:{}", file.root),
            BusKind::Kinesis(kinesis) => format!("kinesis:{}", kinesis.stream),
        }
    }
}

impl ReadyPlan {
    /// The stream of a message.
    pub fn world_stream(&self, run: ReadyRun<'_>) -> WorldStreamSpec {
        let StreamOverridesSpec {
            traffic_mode,
            outputs,
            speedup,
            max_events_per_output,
            lanes,
            in_flight,
            overload,
            on_output_failure,
            ttl_after_finished,
        } = self.stream.clone();
        WorldStreamSpec {
            profile: Some(self.profile.clone()),
            engine_run_root: Some(run.engine_run_root.to_owned()),
            scenario: Some(run.scenario.to_owned()),
            platform_run_id: Some(run.platform_run_id.to_owned()),
            scenario_run_id: Some(run.scenario_run_id.to_owned()),
            traffic_mode,
            outputs,
            speedup,
            max_events_per_output,
            lanes,
            in_flight,
            overload,
            on_output_failure,
            ttl_after_finished,
            ..WorldStreamSpec::default()
        }
    }
}

/// Makes the plan of the documents' trigger. `scope` is a flag that wins over `spec.scope`.
///
/// Errors: [`PlanError::Usage`] for what is written wrongly or has no meaning here, else
/// `CONTROL_BUS_KIND_UNSUPPORTED` and `CONTROL_BUS_STREAM_MISSING`. Nothing of the bus, the store
/// or a world is looked at.
pub fn resolve(documents: &Documents, scope: Option<&str>, files: &dyn Files) -> Result<ReadyPlan> {
    let trigger = trigger(documents)?;
    let spec = &trigger.spec;
    let profile = choose::of_trigger(documents, trigger)?;
    if !files.in_cluster() {
        here::check(trigger, &profile, scope.is_some())?;
    }
    let (store, s3) = store(documents, files)?;
    let allowed_roots = match spec.facts.allowed_roots.as_slice() {
        [] => vec![store.clone()],
        given => indexed(given)
            .map(|(index, given)| {
                let path = format!("spec.facts.allowedRoots[{index}]");
                root(trigger, &path, given, files)
            })
            .collect::<Result<_>>()?,
    };
    let engine_run_root = check_some(
        trigger,
        "spec.engineRunRoot",
        spec.engine_run_root.clone(),
        values::some_text,
    )?;
    let downstream = &profile.spec.ready.downstream;
    Ok(ReadyPlan {
        version: READY_PLAN_VERSION,
        name: trigger.name.clone(),
        profile: profile.name.clone(),
        bus: bus(trigger, &s3, files)?,
        store,
        s3,
        allowed_roots,
        scope: scope_plan(trigger, scope)?,
        engine_run_root,
        stream: stream(trigger)?,
        provenance: spec.provenance.clone(),
        max_active: most_active(trigger)?,
        deferral: deferral(trigger)?,
        history_limit: spec.history_limit,
        suspend: spec.suspend,
        downstream: indexed(downstream)
            .map(|(index, part)| downstream::probe(&profile, index, part, files))
            .collect::<Result<_>>()?,
    })
}

/// Where the documents' trigger reads facts and writes records, and how S3 is reached: all that whoever
/// reads its records needs, whatever profile and bus it has.
///
/// Errors: as [`resolve`].
pub fn store(documents: &Documents, files: &dyn Files) -> Result<(String, S3Plan)> {
    let trigger = trigger(documents)?;
    if !files.in_cluster() {
        here::store(trigger)?;
    }
    let spec = &trigger.spec.store;
    let s3 = s3::plan(trigger, "spec.store.s3", &spec.s3)?;
    Ok((root(trigger, "spec.store.root", &spec.root, files)?, s3))
}

fn trigger(documents: &Documents) -> Result<&Trigger> {
    documents.trigger.as_ref().ok_or_else(|| {
        let message = "no ReadyTrigger is given: name a file that holds one";
        UsageError::new("--file", message).into()
    })
}

fn indexed<T>(list: &[T]) -> impl Iterator<Item = (usize, &T)> {
    list.iter().enumerate()
}

/// An absolute path, or `s3://bucket`; without a cluster a relative path as well.
fn root(trigger: &Trigger, path: &str, text: &str, files: &dyn Files) -> Result<String> {
    check(trigger, path, values::store_root(text, files.in_cluster()))
}

fn bus(trigger: &Trigger, s3: &S3Plan, files: &dyn Files) -> Result<BusPlan> {
    let spec = &trigger.spec.bus;
    let at = |field: &str| format!("spec.bus.{field}");
    let missing = |reason, field: &str, expected: &str| missing(trigger, reason, field, expected);
    if spec.file.is_some() && spec.kinesis.is_some() {
        one_of(trigger, "spec.bus", &[("file", true), ("kinesis", true)])?;
    }
    let kind = if let Some(file) = &spec.file {
        let Some(given) = file.root.as_deref().filter(|it| !it.trim().is_empty()) else {
            let reason = Reason::ControlBusStreamMissing;
            let folder = "the folder above the topics, or s3://bucket/prefix";
            return Err(missing(reason, "file.root", folder).into());
        };
        let poll = values::some_time(file.poll_interval);
        BusKind::File(FileBusPlan {
            root: root(trigger, &at("file.root"), given, files)?,
            poll_interval: check(trigger, &at("file.pollInterval"), poll)?,
            s3: s3.clone(),
        })
    } else if let Some(kinesis) = &spec.kinesis {
        BusKind::Kinesis(kinesis_plan(trigger, kinesis)?)
    } else {
        let reason = Reason::ControlBusKindUnsupported;
        let kinds = "a kind that is known: file or kinesis";
        return Err(missing(reason, "kind", kinds).into());
    };
    let topic = values::topic(spec.topic.clone());
    let bytes = match spec.max_message_bytes.0 {
        0 => Err("found 0B, expected more than 0".into()),
        bytes => Ok(bytes),
    };
    Ok(BusPlan {
        topic: check(trigger, &at("topic"), topic)?,
        max_message_bytes: check(trigger, &at("maxMessageBytes"), bytes)?,
        kind,
    })
}

fn kinesis_plan(trigger: &Trigger, spec: &KinesisBusSpec) -> Result<KinesisBusPlan> {
    let at = |field: &str| format!("spec.bus.kinesis.{field}");
    let given = spec.stream.as_deref();
    let Some(stream) = given.filter(|it| !it.trim().is_empty()) else {
        let reason = Reason::ControlBusStreamMissing;
        return Err(missing(trigger, reason, "kinesis.stream", "the stream's name").into());
    };
    let credentials = spec.credentials.as_ref();
    let credentials = credentials.map(|given| s3::credentials(trigger, &at("credentials"), given));
    let (region, endpoint) = (spec.region.clone(), spec.endpoint.clone());
    let ca_file = spec.ca_file.clone();
    Ok(KinesisBusPlan {
        stream: stream.to_owned(),
        region: check_some(trigger, &at("region"), region, values::some_text)?,
        endpoint: check_some(trigger, &at("endpoint"), endpoint, values::endpoint)?,
        credentials: credentials.transpose()?,
        ca_file: check_some(trigger, &at("caFile"), ca_file, values::some_text)?.map(PathBuf::from),
    })
}

/// A bus without what names it.
fn missing(trigger: &Trigger, reason: Reason, field: &str, expected: &str) -> Failure {
    Failure::new(reason, trigger.yaml.file())
        .field(format!("spec.bus.{field}"))
        .found("nothing")
        .expected(expected)
}

fn scope_plan(trigger: &Trigger, flag: Option<&str>) -> Result<Option<ScopePlan>> {
    let spec = &trigger.spec.scope;
    let given = [
        ("platformRunId", spec.platform_run_id.is_some()),
        ("configMap", spec.config_map.is_some()),
    ];
    if given.iter().any(|(_, given)| *given) {
        one_of(trigger, "spec.scope", &given)?;
    }
    let id = check_some(
        trigger,
        "spec.scope.platformRunId",
        spec.platform_run_id.clone(),
        values::platform_run_id,
    )?;
    if let Some(flag) = flag {
        let id = values::platform_run_id(flag.to_owned())
            .map_err(|message| UsageError::new("--platform-run-id", message))?;
        return Ok(Some(ScopePlan::PlatformRun(id)));
    }
    let config_map = spec.config_map.clone().map(ScopePlan::ConfigMap);
    Ok(id.map(ScopePlan::PlatformRun).or(config_map))
}

/// What is said of the streams, each value as a WorldStream's is checked.
fn stream(trigger: &Trigger) -> Result<StreamOverridesSpec> {
    let spec = &trigger.spec.stream;
    let at = |field: &str| format!("spec.stream.{field}");
    for (index, id) in indexed(&spec.outputs) {
        let path = at(&format!("outputs[{index}]"));
        check(trigger, &path, values::output_id(id))?;
    }
    check_some(trigger, &at("speedup"), spec.speedup, values::speedup)?;
    let cap = spec.max_events_per_output;
    check_some(trigger, &at("maxEventsPerOutput"), cap, values::cap)?;
    check_some(trigger, &at("inFlight"), spec.in_flight, values::in_flight)?;
    if let Some(lanes) = &spec.lanes {
        let count = lanes.count;
        let good = match (1..=64).contains(&count) {
            true => Ok(()),
            false => Err(format!("found {count}, expected 1 to 64")),
        };
        check(trigger, &at("lanes.count"), good)?;
        let only = match lanes.only {
            Some(only) if only >= count => {
                Err(format!("found {only}, expected 0 to {}", count - 1))
            }
            _ => Ok(()),
        };
        check(trigger, &at("lanes.only"), only)?;
    }
    Ok(spec.clone())
}

fn most_active(trigger: &Trigger) -> Result<u32> {
    let found = trigger.spec.max_active;
    let good = match (1..=256).contains(&found) {
        true => Ok(trigger.spec.most_active()),
        false => Err(format!("found {found}, expected 1 to 256")),
    };
    check(trigger, "spec.maxActive", good)
}

fn deferral(trigger: &Trigger) -> Result<DeferralPlan> {
    let spec = &trigger.spec.deferral;
    let min = values::some_time(spec.min_interval);
    let min_interval = check(trigger, "spec.deferral.minInterval", min)?;
    let max = match spec.max_interval >= spec.min_interval {
        true => Ok(spec.max_interval.0),
        false => Err(format!(
            "found {}, expected at least minInterval, {}",
            spec.max_interval, spec.min_interval
        )),
    };
    Ok(DeferralPlan {
        min_interval,
        max_interval: check(trigger, "spec.deferral.maxInterval", max)?,
    })
}
