//! How a stream stands: what was decided and observed, in one struct. The only input of the
//! status.

use jiff::Timestamp;
use worldstream_crds::{
    ConditionReason, FailureStatus, OutputStatus, PlanRef, Releases, StreamClockSpec, VerifiedWorld,
};

use crate::invalid::Invalid;
use crate::runs;
use crate::validate::Live;
use crate::views::StreamView;

/// How far the verification of the world is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verification {
    /// Not begun.
    #[default]
    Pending,
    /// A preflight pod is at it, and what keeps it from starting.
    Running(Option<(ConditionReason, String)>),
    /// The world is what the profile requires.
    Verified,
    /// It is not, or preflight could not tell.
    Failed(FailureStatus),
}

/// How a stream stands.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Whether it can be carried out as it is written.
    pub accepted: Result<(), Invalid>,
    /// The platform run, once there is one.
    pub run: Option<String>,
    /// The attempt.
    pub attempt: String,
    /// The `retry` that is answered.
    pub retry: u32,
    /// The frozen plan.
    pub plan: Option<PlanRef>,
    /// The verification.
    pub verification: Verification,
    /// The world, once verified.
    pub world: Option<VerifiedWorld>,
    /// The scenario run, once verified.
    pub scenario_run_id: Option<String>,
    /// The outputs.
    pub outputs: Vec<OutputStatus>,
    /// What is wrong and goes by itself.
    pub troubles: Vec<(ConditionReason, String)>,
    /// Whether `spec.suspend` is set.
    pub suspend: bool,
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether the outputs gave their places back.
    pub released: bool,
    /// Whether the others are stopped because of an output that failed.
    pub stopped: bool,
    /// Whether all unfinished workers are primed or further.
    pub all_up: bool,
    /// Whether any pod may still run.
    pub alive: bool,
    /// Until when they may prime.
    pub priming_until: Option<Timestamp>,
    /// The clock as it is (to be) published.
    pub clock: StreamClockSpec,
    /// The releases.
    pub releases: Option<Releases>,
    /// What the profile would do otherwise by now.
    pub drift: Option<String>,
    /// Whose clock is off.
    pub skew: Option<String>,
    /// A new attempt waits for the old one's pods.
    pub starting_over: bool,
    /// The old attempt is gone: the status begins anew.
    pub reset: bool,
    /// The stream has ended: its status stays as it is.
    pub keep: bool,
}

impl Default for Picture {
    fn default() -> Self {
        Picture {
            accepted: Ok(()),
            run: None,
            attempt: String::new(),
            retry: 0,
            plan: None,
            verification: Verification::default(),
            world: None,
            scenario_run_id: None,
            outputs: Vec::new(),
            troubles: Vec::new(),
            suspend: false,
            paused: false,
            released: false,
            stopped: false,
            all_up: false,
            alive: false,
            priming_until: None,
            clock: StreamClockSpec::default(),
            releases: None,
            drift: None,
            skew: None,
            starting_over: false,
            reset: false,
            keep: false,
        }
    }
}

impl Picture {
    /// What the status says already.
    pub fn before(stream: &StreamView, live: &Live) -> Picture {
        let status = &stream.status;
        Picture {
            run: runs::known(stream).map(str::to_owned),
            attempt: stream.spec.attempt.clone().unwrap_or_default(),
            retry: status.retry,
            plan: status.plan.clone(),
            world: status.world.clone(),
            scenario_run_id: status.scenario_run_id.clone(),
            outputs: status.outputs.clone(),
            suspend: stream.spec.suspend,
            paused: stream.spec.paused,
            releases: status.releases.clone(),
            clock: StreamClockSpec {
                speedup: live.speedup,
                ..StreamClockSpec::default()
            },
            ..Picture::default()
        }
    }

    /// Another stream has the same identity.
    pub fn conflict(&mut self, rival: &str) {
        self.accepted = Err(Invalid::new(
            ConditionReason::RunConflict.as_str(),
            format!(
                "WorldStream {rival} streams, or has streamed, the same world for platform run {}, scenario run and attempt",
                self.run.as_deref().unwrap_or_default()
            ),
        ));
    }
}
