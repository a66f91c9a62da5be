//! A pod of a stream, as far as it counts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Key, View, of_stream, owner};

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
        Some((key, name, PodView::read(raw)?))
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

impl PodView {
    /// What counts of a pod; none of one that the API server did not make yet.
    pub fn read(raw: Pod) -> Option<Self> {
        let name = raw.metadata.name.clone()?;
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
        Some(PodView {
            name,
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
        })
    }
}
