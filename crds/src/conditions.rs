//! Conditions of a WorldStream and of a ReadyTrigger: their types, and the reasons that are no
//! failure codes. A
//! condition that is about a failure has the failure's code as its reason ([`crate::Reason`]).

use std::fmt;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// Stream and profile are valid, and what they refer to is there.
    Accepted,
    /// Preflight found the world to be what the profile requires.
    WorldVerified,
    /// The workers of all unfinished outputs stream, or are paused on purpose.
    Ready,
    /// Something is being done towards the end of the stream.
    Progressing,
    /// The stream goes on, and something is wrong with it.
    Degraded,
    /// Every output sent all that it had to.
    Completed,
    /// The stream ended before that.
    Failed,
    /// The profile was edited since the stream's plan was frozen.
    ProfileDrifted,
    /// A worker's wall clock is too far from the API server's.
    ClockSkew,
    /// A trigger's pod reads its bus.
    Following,
    /// Messages wait for their downstream.
    Deferred,
    /// A trigger takes no messages because its spec says so.
    Suspended,
}

impl ConditionType {
    /// Every type with what it means when it is true.
    pub const ALL: &'static [(ConditionType, &'static str)] = &[
        (
            ConditionType::Accepted,
            "Stream and profile are valid, and what they refer to is there.",
        ),
        (
            ConditionType::WorldVerified,
            "Preflight found the world to be what the profile requires.",
        ),
        (
            ConditionType::Ready,
            "The workers of all unfinished outputs stream, or are paused on purpose.",
        ),
        (
            ConditionType::Progressing,
            "Something is being done towards the end of the stream.",
        ),
        (
            ConditionType::Degraded,
            "The stream goes on, and something is wrong with it.",
        ),
        (
            ConditionType::Completed,
            "Every output sent all that it had to.",
        ),
        (ConditionType::Failed, "The stream ended before that."),
        (
            ConditionType::ProfileDrifted,
            "The profile was edited since the stream's plan was frozen.",
        ),
        (
            ConditionType::ClockSkew,
            "A worker's wall clock is too far from the API server's.",
        ),
        (
            ConditionType::Following,
            "The pod of a ReadyTrigger reads its bus and knows the active run.",
        ),
        (
            ConditionType::Deferred,
            "READY messages wait for their downstream.",
        ),
        (
            ConditionType::Suspended,
            "A ReadyTrigger takes no messages because its spec says so.",
        ),
    ];

    /// The type as it is written, such as `WorldVerified`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionType::Accepted => "Accepted",
            ConditionType::WorldVerified => "WorldVerified",
            ConditionType::Ready => "Ready",
            ConditionType::Progressing => "Progressing",
            ConditionType::Degraded => "Degraded",
            ConditionType::Completed => "Completed",
            ConditionType::Failed => "Failed",
            ConditionType::ProfileDrifted => "ProfileDrifted",
            ConditionType::ClockSkew => "ClockSkew",
            ConditionType::Following => "Following",
            ConditionType::Deferred => "Deferred",
            ConditionType::Suspended => "Suspended",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! condition_reasons {
    ($($variant:ident, $meaning:literal, $advice:literal;)*) => {
        /// Why a condition is as it is, where that is no failure with a code of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ConditionReason {
            $(#[doc = $meaning] $variant,)*
        }

        impl ConditionReason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [ConditionReason] = &[$(ConditionReason::$variant,)*];

            /// The reason as it is written, such as `ProfileNotFound`.
            pub fn as_str(self) -> &'static str {
                match self { $(ConditionReason::$variant => stringify!($variant),)* }
            }

            /// What it means, one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(ConditionReason::$variant => $meaning,)* }
            }

            /// What a person who sees it should do, one sentence.
            pub fn advice(self) -> &'static str {
                match self { $(ConditionReason::$variant => $advice,)* }
            }
        }
    };
}

condition_reasons! {
    Valid, "Stream and profile are valid, and what they refer to is there.", "Nothing.";
    InvalidSpec, "The WorldStream or ReadyTrigger says something that cannot be carried out; the message names the field.",
        "Correct the field; it goes on by itself.";
    ProfileNotFound, "There is no StreamProfile of that name in the namespace.",
        "Make the profile, or name one that is there: kubectl get sp.";
    InvalidProfile, "The StreamProfile says something that cannot be carried out; the message names the field.",
        "Have the profile corrected; the stream goes on by itself.";
    ConfigMapNotFound, "A ConfigMap that the profile names is not there, or lacks the key.",
        "Make the ConfigMap; the stream goes on by itself.";
    SecretNotFound, "A Secret that the profile names is not there, or lacks the key, as the node says.",
        "Make the Secret; the stream goes on by itself.";
    VolumeNotFound, "A PersistentVolumeClaim that the profile names is not there, or is not bound.",
        "Make the claim; the stream goes on by itself.";
    RunConflict, "Another WorldStream streams, or has streamed, the same world for the same platform run, scenario run and attempt.",
        "Delete one of the two, or give this one another platformRunId or attempt.";
    NameTaken, "An object that the stream needs is there already and belongs to somebody else, or to a stream of this name before.",
        "Wait if a stream of this name was just deleted; else delete or rename the object in the message.";
    Preflight, "A preflight pod checks the world.", "Wait; its log says what it does.";
    BuildingViews, "Views of the world are missing, and pods build them before anything is sent.",
        "Wait; the message and status.outputs say how far they are.";
    Verified, "The world is what the profile requires, and every output has its plan.", "Nothing.";
    Priming, "The workers start and fill their buffers; nothing is sent until all are ready.",
        "Wait, or see kubectl get sckpt for the one that is not ready.";
    PrimeTimeout, "Not all workers were ready in time; their places were given back, and they try again.",
        "See the message for pods that could not be scheduled; make room, or wait for other streams to end.";
    Unschedulable, "A pod finds no node.", "The message says why: make room, or change the profile's resources or pod template.";
    ImageUnavailable, "A node cannot get the worker's image.", "Check the image's name, the registry and the pull secrets.";
    PodRefused, "The API server or the node refuses the pod.", "The message says why; mostly a quota or a policy of the namespace.";
    Streaming, "The workers of all unfinished outputs send by the clock.", "Nothing.";
    Paused, "The clock is paused because the spec says so.", "Set spec.paused to false to go on.";
    Held, "The clock stands for an output that is behind by more than maxLag.",
        "Wait, or lower the speedup; kubectl get sckpt shows the output.";
    Suspending, "The workers wait for what is in flight, save, and go.", "Wait.";
    Suspended, "The spec says so: no worker of a stream runs, a trigger takes no messages.",
        "Set spec.suspend to false to go on where it was.";
    OutputLate, "An output is behind the clock by more than maxLag, and the clock goes on.",
        "Lower the speedup, or raise the requests in flight.";
    OutputFailed, "An output failed for good; its own reason is in status.outputs.",
        "Mend the cause, then raise spec.retry by one.";
    GateAway, "The Ingestion Gate does not answer; the workers wait and try again.",
        "See that the gate is up and reachable; the stream goes on by itself.";
    StoreAway, "The store of worlds or of checkpoints does not answer; the workers wait and try again.",
        "See that the store is up and reachable; the stream goes on by itself.";
    WorkerLost, "A worker's node is gone, and its checkpoint store cannot fence it off.",
        "See that the old process has ended, then delete its pod by force.";
    WorkerRestarting, "A worker ended too early, or is replaced, and is started again.", "Nothing, if it does not happen again and again.";
    CrashLoop, "A worker crashed as often as the profile allows without its cursor moving.",
        "See the pod's log; mend the cause, then raise spec.retry by one.";
    Quarantined, "The gate put events aside.", "Ask IG why: the events are in its quarantine.";
    Drifted, "The profile was edited since the plan was frozen; the message says what takes effect when.",
        "Nothing, or a new attempt to take the edited profile.";
    Current, "The plan is what the profile says.", "Nothing.";
    ClockSkewed, "A worker's wall clock is further from the API server's than clock.maxSkew.",
        "Have the node's clock set: events are sent by wall time.";
    InSync, "The workers' wall clocks are near enough to the API server's.", "Nothing.";
    AllSent, "Every output sent all that it had to, and the receipts add up.", "Nothing.";
    CompletedWithQuarantine, "Every output sent all that it had to, and the gate put some events aside.",
        "Ask IG why: the events are in its quarantine.";
    NotFinished, "Outputs have events left to send.", "Nothing.";
    NotStarted, "Nothing has been done for it yet.", "See the other conditions.";
    NoFailure, "Nothing failed.", "Nothing.";
    Finished, "The stream has ended; there is nothing left to do.", "Nothing.";
    AsExpected, "Nothing is wrong.", "Nothing.";
    Deleting, "The stream is being deleted: its pods are stopped first.", "Wait.";
    Following, "The trigger's pod reads its bus.", "Nothing.";
    TriggerStarting, "The trigger's pod is being started or replaced.",
        "Wait; if it lasts, the message says what keeps the pod.";
    TriggerAway, "The trigger's pod does not run.",
        "The message says why; see its log: kubectl logs deployment/NAME-trigger --previous.";
    NotFollowing, "The bus cannot be read, or the active run is not known; it is tried again.",
        "The message says what is missing; it goes on by itself.";
    DownstreamNotReady, "READY messages wait because a part of the platform is not up, or is up for another run.",
        "The message names it; bring it up for the run, and the messages go on by themselves.";
    ClaimedElsewhere, "READY messages wait because another trigger has their claims, and may be streaming them.",
        "Wait: they are repeats once the other has recorded them, or are taken over when its claim ends.";
    ActiveRunUnknown, "READY messages wait because nobody says which platform run is the active one.",
        "The message says what is missing: the ConfigMap of spec.scope, its key, or a run's id in it.";
    StoreNotReached, "READY messages wait because something of the trigger's own did not work, such as its store.",
        "The message names it; it is tried again, and the messages go on by themselves.";
    NothingWaits, "No READY message waits.", "Nothing.";
    NotSuspended, "Messages are taken.", "Nothing.";
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_what_the_api_server_takes_and_explain_themselves() {
        for reason in ConditionReason::ALL {
            let text = reason.as_str();
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()), "{text}");
            assert!(
                reason.meaning().ends_with('.') && reason.advice().ends_with('.'),
                "{text}"
            );
        }
    }
}
