//! What is kept of the objects that are watched: only what a reconcile reads, as there are
//! thousands of them.

mod pod;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use worldstream_crds::{
    StreamCheckpoint, StreamCheckpointSpec, StreamCheckpointStatus, StreamClock, StreamClockSpec,
    StreamProfile, StreamProfileSpec, WorldStream, WorldStreamSpec, WorldStreamStatus, names,
};

pub use self::pod::{Ended, Life, PodView, Stuck};
use crate::build::note;

/// Which stream an object belongs to (for a profile: its own name), in which namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The WorldStream's name.
    pub name: String,
}

/// An object that is watched, and what is kept of it.
pub trait View: Sized + Send + Sync + 'static {
    /// The object as the API server has it.
    type Raw;
    /// What is kept, with whose it is and its own name; none if it is nobody's.
    fn of(raw: Self::Raw) -> Option<(Key, String, Self)>;

    /// What is still kept once the object is gone; nothing, unless how it ended still counts.
    fn gone(self) -> Option<Self> {
        None
    }
}

/// A WorldStream.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// Where it is.
    pub key: Key,
    /// Its uid, which its children are owned by.
    pub uid: String,
    /// What a write of its status is conditional on.
    pub version: String,
    /// The spec's generation.
    pub generation: i64,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What holds it until it is deleted.
    pub finalizers: Vec<String>,
    /// The ReadyTrigger that made it; empty: none did.
    pub trigger: String,
    /// What is asked for.
    pub spec: WorldStreamSpec,
    /// What was said of it last.
    pub status: WorldStreamStatus,
    /// Which field manager asked last that the clock stands or goes on (`paused`: `spec.paused`
    /// and `spec.suspend`), and for its speed (`speedup`).
    pub writers: BTreeMap<&'static str, String>,
}

/// What the clock's ledger names the writers of, and the fields that decide it: who wrote one of
/// them last asked for it.
const TOLD_WRITERS: [(&str, &str); 3] = [
    ("paused", "paused"),
    ("paused", "suspend"),
    ("speedup", "speedup"),
];

impl View for StreamView {
    type Raw = DynamicObject;

    fn of(raw: DynamicObject) -> Option<(Key, String, Self)> {
        let raw: WorldStream = typed(raw)?;
        let meta = raw.metadata;
        let name = meta.name.clone()?;
        let key = Key {
            namespace: meta.namespace.clone()?,
            name: name.clone(),
        };
        let view = StreamView {
            key: key.clone(),
            uid: meta.uid.clone()?,
            version: meta.resource_version.clone()?,
            generation: meta.generation.unwrap_or_default(),
            created: created(&meta),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            trigger: label(&meta, names::LABEL_TRIGGER),
            spec: raw.spec,
            status: raw.status.unwrap_or_default(),
            writers: writers(meta.managed_fields.as_deref().unwrap_or_default()),
        };
        Some((key, name, view))
    }
}

/// The object as its own type. One that is not, from an older or a newer installation, is told
/// and passed over: it must not keep the others from being watched.
pub(crate) fn typed<T: kube::Resource + DeserializeOwned>(raw: DynamicObject) -> Option<T> {
    let what = format!(
        "{} {}/{}",
        raw.types
            .as_ref()
            .map_or("object", |types| types.kind.as_str()),
        raw.metadata.namespace.as_deref().unwrap_or_default(),
        raw.metadata.name.as_deref().unwrap_or_default()
    );
    match raw.try_parse() {
        Ok(typed) => Some(typed),
        Err(error) => {
            tracing::warn!(%error, "{what} cannot be read, and is passed over");
            None
        }
    }
}

fn created(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// Who wrote the fields of the spec that the clock follows: the newest writer of each.
fn writers(entries: &[ManagedFieldsEntry]) -> BTreeMap<&'static str, String> {
    let mut found: BTreeMap<&'static str, (Option<Timestamp>, String)> = BTreeMap::new();
    for entry in entries {
        let (Some(fields), Some(manager)) = (&entry.fields_v1, &entry.manager) else {
            continue;
        };
        let time = entry.time.as_ref().map(|time| time.0);
        for (what, field) in TOLD_WRITERS {
            let path = format!("/f:spec/f:{field}");
            if fields.0.pointer(&path).is_some()
                && found.get(what).is_none_or(|(known, _)| *known <= time)
            {
                found.insert(what, (time, manager.clone()));
            }
        }
    }
    found
        .into_iter()
        .map(|(field, (_, manager))| (field, manager))
        .collect()
}

/// A StreamProfile.
#[derive(Clone, Debug)]
pub struct ProfileView {
    /// Its name.
    pub name: String,
    /// The spec's generation.
    pub generation: i64,
    /// The spec.
    pub spec: StreamProfileSpec,
}

impl View for ProfileView {
    type Raw = DynamicObject;

    fn of(raw: DynamicObject) -> Option<(Key, String, Self)> {
        let raw: StreamProfile = typed(raw)?;
        let name = raw.metadata.name?;
        let key = Key {
            namespace: raw.metadata.namespace?,
            name: name.clone(),
        };
        let view = ProfileView {
            name: name.clone(),
            generation: raw.metadata.generation.unwrap_or_default(),
            spec: raw.spec,
        };
        Some((key, name, view))
    }
}

/// A StreamClock.
#[derive(Clone, Debug)]
pub struct ClockView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What a write is conditional on.
    pub version: String,
    /// The uid of the stream that owns it.
    pub owner: String,
    /// The clock.
    pub spec: StreamClockSpec,
}

impl View for ClockView {
    type Raw = DynamicObject;

    fn of(raw: DynamicObject) -> Option<(Key, String, Self)> {
        let raw: StreamClock = typed(raw)?;
        let name = raw.metadata.name.clone()?;
        let key = Key {
            namespace: raw.metadata.namespace.clone()?,
            name: name.clone(),
        };
        let view = ClockView {
            name: name.clone(),
            uid: raw.metadata.uid.clone().unwrap_or_default(),
            version: raw.metadata.resource_version.clone().unwrap_or_default(),
            owner: owner(&raw.metadata, "WorldStream"),
            spec: raw.spec,
        };
        Some((key, name, view))
    }
}

/// A StreamCheckpoint.
#[derive(Clone, Debug)]
pub struct CheckpointView {
    /// Its name.
    pub name: String,
    /// The uid of the stream that owns it.
    pub owner: String,
    /// Whose checkpoint it is.
    pub spec: StreamCheckpointSpec,
    /// Plan and report, without the plan's files and the worker's own figures.
    pub status: StreamCheckpointStatus,
    /// When the report was seen here.
    pub seen: Instant,
}

impl View for CheckpointView {
    type Raw = DynamicObject;

    fn of(raw: DynamicObject) -> Option<(Key, String, Self)> {
        let raw: StreamCheckpoint = typed(raw)?;
        let name = raw.metadata.name.clone()?;
        let key = Key {
            namespace: raw.metadata.namespace.clone()?,
            name: raw.spec.stream.clone(),
        };
        let mut status = raw.status.unwrap_or_default();
        status.progress = None;
        if let Some(plan) = &mut status.plan {
            plan.files = Vec::new();
        }
        let view = CheckpointView {
            name: name.clone(),
            owner: owner(&raw.metadata, "WorldStream"),
            spec: raw.spec,
            status,
            seen: Instant::now(),
        };
        Some((key, name, view))
    }
}

/// A Job of a stream.
#[derive(Clone, Debug, Default)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Its uid, which its pods are owned by.
    pub uid: String,
    /// The uid of the stream that owns it.
    pub owner: String,
    /// [`names::PREFLIGHT`], [`names::BUILD`] or [`names::WORKER`].
    pub component: String,
    /// What the operator wrote down when it made the Job.
    pub notes: Notes,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it makes no pods at present.
    pub suspended: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether all its pods succeeded.
    pub complete: bool,
    /// Why it failed for good, as the Job controller says.
    pub failed: Option<String>,
    /// What keeps it from making pods: a quota, an admission policy.
    pub refused: Option<String>,
}

/// What the operator wrote down on a Job when it made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The exact id of the output.
    pub output: String,
    /// Hash of what decides the pod.
    pub template: String,
    /// How often a Job was made for this output before.
    pub run: u32,
    /// Crashes in a row before it, after which the cursor had not moved.
    pub crashes: u32,
    /// Where the cursors stood when it was made. Of preflight: the builds that it follows; of a
    /// build: the run of preflight that found the view missing.
    pub cursor: String,
    /// The stream's `retry` that it answers.
    pub retry: u32,
    /// The stream's attempt.
    pub attempt: String,
}

impl View for JobView {
    type Raw = Job;

    fn of(raw: Job) -> Option<(Key, String, Self)> {
        let (key, name) = of_stream(&raw.metadata)?;
        let status = raw.status.unwrap_or_default();
        let condition = |kind: &str| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|it| it.type_ == kind && it.status == "True")
        };
        let failed = condition("Failed")
            .or(condition("FailureTarget"))
            .map(|it| {
                format!(
                    "{}: {}",
                    it.reason.as_deref().unwrap_or("Failed"),
                    it.message.as_deref().unwrap_or_default()
                )
            });
        let annotations = raw.metadata.annotations.clone().unwrap_or_default();
        let text = |key: &str| annotations.get(key).cloned().unwrap_or_default();
        let number = |key: &str| text(key).parse().unwrap_or_default();
        let view = JobView {
            name: name.clone(),
            uid: raw.metadata.uid.clone()?,
            owner: owner(&raw.metadata, "WorldStream"),
            component: label(&raw.metadata, names::LABEL_COMPONENT),
            notes: Notes {
                output: text(note::OUTPUT),
                template: text(note::TEMPLATE),
                run: number(note::RUN),
                crashes: number(note::CRASHES),
                cursor: text(note::CURSOR),
                retry: number(note::RETRY),
                attempt: text(note::ATTEMPT),
            },
            created: created(&raw.metadata),
            suspended: raw.spec.and_then(|spec| spec.suspend).unwrap_or_default(),
            deleting: raw.metadata.deletion_timestamp.is_some(),
            complete: condition("Complete")
                .or(condition("SuccessCriteriaMet"))
                .is_some(),
            failed,
            refused: None,
        };
        Some((key, name, view))
    }
}

fn of_stream(meta: &ObjectMeta) -> Option<(Key, String)> {
    let key = Key {
        namespace: meta.namespace.clone()?,
        name: meta.labels.as_ref()?.get(names::LABEL_STREAM)?.clone(),
    };
    Some((key, meta.name.clone()?))
}

pub(crate) fn label(meta: &ObjectMeta, name: &str) -> String {
    let labels = meta.labels.as_ref();
    labels
        .and_then(|labels| labels.get(name).cloned())
        .unwrap_or_default()
}

/// The uid of the controlling owner of a kind; empty without one.
pub(crate) fn owner(meta: &ObjectMeta, kind: &str) -> String {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == kind && owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
        .unwrap_or_default()
}
