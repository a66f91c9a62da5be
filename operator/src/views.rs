//! What is kept of the objects that are watched: only what a reconcile reads, as there are
//! thousands of them.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use worldstream_crds::{
    StreamCheckpoint, StreamCheckpointSpec, StreamCheckpointStatus, StreamClock, StreamClockSpec,
    StreamProfile, StreamProfileSpec, WorldStream, WorldStreamSpec, WorldStreamStatus, names,
};

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
            spec: raw.spec,
            status: raw.status.unwrap_or_default(),
            writers: writers(meta.managed_fields.as_deref().unwrap_or_default()),
        };
        Some((key, name, view))
    }
}

/// The object as its own type. One that is not, from an older or a newer installation, is told
/// and passed over: it must not keep the others from being watched.
fn typed<T: kube::Resource + DeserializeOwned>(raw: DynamicObject) -> Option<T> {
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
    /// [`names::PREFLIGHT`] or [`names::WORKER`].
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
    /// Where the cursors stood when it was made.
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

/// A pod of a stream.
#[derive(Clone, Debug, Default)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid, by which checkpoints know their holder.
    pub uid: String,
    /// The uid of the Job that owns it.
    pub job: String,
    /// Where it stands in its life.
    pub life: Life,
    /// When it is to be gone, if it is being deleted.
    pub deleted_by: Option<Timestamp>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// What keeps it from running: no node has room, an image or a Secret is missing.
    pub stuck: Option<Stuck>,
    /// How its container ended.
    pub ended: Option<Ended>,
    /// Whether the cluster ended it: eviction, preemption, a lost node.
    pub disrupted: bool,
    /// Whether the object is gone already.
    pub gone: bool,
}

/// Where a pod stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Not started yet.
    #[default]
    Pending,
    /// Running, or its node does not say.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended otherwise.
    Failed,
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The kubelet's or the scheduler's reason, such as `Unschedulable`, `ErrImagePull`,
    /// `CreateContainerConfigError`.
    pub reason: String,
    /// What they say.
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; 128 and more: by a signal.
    pub code: i32,
    /// The termination message.
    pub message: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The kubelet's reason, such as `OOMKilled`.
    pub reason: String,
}

impl PodView {
    /// Whether its process may still run.
    pub fn lives(&self) -> bool {
        matches!(self.life, Life::Pending | Life::Running)
    }
}

impl View for PodView {
    type Raw = Pod;

    fn of(raw: Pod) -> Option<(Key, String, Self)> {
        let (key, name) = of_stream(&raw.metadata)?;
        let status = raw.status.unwrap_or_default();
        let condition = |kind: &str, value: &str| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|it| it.type_ == kind && it.status == value)
        };
        let container = status
            .container_statuses
            .iter()
            .flatten()
            .next()
            .and_then(|it| it.state.clone())
            .unwrap_or_default();
        let waiting = container.waiting.and_then(|waiting| {
            let reason = waiting.reason.unwrap_or_default();
            (reason != "ContainerCreating" && reason != "PodInitializing").then(|| Stuck {
                reason,
                message: waiting.message.unwrap_or_default(),
            })
        });
        let stuck = condition("PodScheduled", "False")
            .map(|it| Stuck {
                reason: it.reason.clone().unwrap_or_default(),
                message: it.message.clone().unwrap_or_default(),
            })
            .or(waiting);
        let view = PodView {
            name: name.clone(),
            uid: raw.metadata.uid.clone()?,
            job: owner(&raw.metadata, "Job"),
            life: match status.phase.as_deref() {
                Some("Running" | "Unknown") => Life::Running,
                Some("Succeeded") => Life::Succeeded,
                Some("Failed") => Life::Failed,
                _ => Life::Pending,
            },
            deleted_by: raw.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            node: raw.spec.and_then(|spec| spec.node_name),
            stuck,
            ended: container.terminated.map(|it| Ended {
                code: it.exit_code,
                message: it.message.unwrap_or_default(),
                at: it.finished_at.map(|time| time.0),
                reason: it.reason.unwrap_or_default(),
            }),
            disrupted: condition("DisruptionTarget", "True").is_some(),
            gone: false,
        };
        Some((key, name, view))
    }

    /// A pod that ended and was removed before anybody looked ended all the same.
    fn gone(mut self) -> Option<Self> {
        if self.life == Life::Succeeded {
            return None;
        }
        // Removed without having ended by itself: somebody's doing, no crash.
        self.disrupted |= self.ended.is_none();
        self.life = Life::Failed;
        self.gone = true;
        Some(self)
    }
}

fn of_stream(meta: &ObjectMeta) -> Option<(Key, String)> {
    let key = Key {
        namespace: meta.namespace.clone()?,
        name: meta.labels.as_ref()?.get(names::LABEL_STREAM)?.clone(),
    };
    Some((key, meta.name.clone()?))
}

fn label(meta: &ObjectMeta, name: &str) -> String {
    let labels = meta.labels.as_ref();
    labels
        .and_then(|labels| labels.get(name).cloned())
        .unwrap_or_default()
}

/// The uid of the controlling owner of a kind; empty without one.
fn owner(meta: &ObjectMeta, kind: &str) -> String {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == kind && owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
        .unwrap_or_default()
}
