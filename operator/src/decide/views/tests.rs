use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::fixtures::{now, profile, stream};
use crate::lower::Texts;
use crate::status::derive;
use crate::validate::{live, validate};
use crate::views::{CheckpointView, Ended, Life, View};

/// A stream whose preflight has run once, and what there is of it.
struct Bed {
    stream: StreamView,
    checkpoints: Vec<Arc<CheckpointView>>,
    jobs: Vec<Arc<JobView>>,
    pods: Vec<Arc<PodView>>,
}

const OUTPUTS: [&str; 2] = ["Reed_2", "river_9Z"];

impl Bed {
    fn new() -> Bed {
        let mut bed = Bed {
            stream: stream(json!({})),
            checkpoints: Vec::new(),
            jobs: Vec::new(),
            pods: Vec::new(),
        };
        bed.stream.status.platform_run_id = bed.stream.spec.platform_run_id.clone();
        bed.look();
        let decision = bed.look();
        bed.carry_out(&decision);
        assert_eq!(bed.jobs.len(), 1, "{decision:#?}");
        bed.end(|job| job.complete = true);
        bed
    }

    fn decide(&self) -> Decision {
        let profile = profile(json!({"oracle": {"buildViews": "IfMissing"}}));
        let validated = validate(&self.stream, Some(&profile), &Texts::new(), "otter:7");
        decide(&Situation {
            stream: &self.stream,
            validated: &validated,
            live: &live(&self.stream, &profile.spec),
            rival: None,
            clock: None,
            checkpoints: self.checkpoints.clone(),
            jobs: self.jobs.clone(),
            pods: self.pods.clone(),
            now: now(),
            manager: "m",
        })
    }

    /// A look whose status is written.
    fn look(&mut self) -> Decision {
        let decision = self.decide();
        self.stream.status = derive(&decision.picture, &self.stream.status, 3, now());
        decision
    }

    /// What was decided is done: Jobs come and go.
    fn carry_out(&mut self, decision: &Decision) {
        for action in &decision.todo {
            match action {
                Action::Delete(_, name) => self.jobs.retain(|job| job.name != *name),
                Action::Create(child) if child.resource == &build::JOB => {
                    let job = serde_json::from_value(child.body.clone()).unwrap();
                    let (_, _, mut job) = JobView::of(with_uid(job)).unwrap();
                    job.created = now();
                    self.jobs.push(Arc::new(job));
                }
                Action::Suspend(name) => self.change(name, |job| job.suspended = true),
                _ => {}
            }
        }
    }

    fn change(&mut self, name: &str, change: impl Fn(&mut JobView)) {
        for job in self.jobs.iter_mut().filter(|job| job.name == name) {
            change(Arc::make_mut(job));
        }
    }

    /// The newest Job ends.
    fn end(&mut self, how: impl Fn(&mut JobView)) {
        let name = self.jobs.last().unwrap().name.clone();
        self.change(&name, how);
    }

    /// What preflight and builds say of each output's view.
    fn say(&mut self, views: [Option<ViewState>; 2]) {
        let run = crate::runs::known(&self.stream).unwrap();
        let each = OUTPUTS.iter().zip(views).map(|(output, state)| {
            let mut view = CheckpointView {
                name: build::checkpoint_name(&self.stream, run, output, 0, 1),
                owner: self.stream.uid.clone(),
                spec: Default::default(),
                status: Default::default(),
                seen: std::time::Instant::now(),
            };
            view.status.view = state.map(|state| ViewStatus {
                state,
                ..ViewStatus::default()
            });
            Arc::new(view)
        });
        self.checkpoints = each.collect();
    }

    fn builds(&self) -> Vec<(&str, u32)> {
        let builds = self.jobs.iter().filter(|it| it.component == names::BUILD);
        builds
            .map(|it| (it.notes.output.as_str(), it.notes.run))
            .collect()
    }
}

fn with_uid(mut job: k8s_openapi::api::batch::v1::Job) -> k8s_openapi::api::batch::v1::Job {
    job.metadata.uid = job.metadata.name.clone();
    job
}

fn reason(decision: &Decision) -> String {
    match &decision.picture.verification {
        Verification::Running(Some((why, message))) => format!("{why}: {message}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn views_that_are_missing_are_built_and_then_preflight_looks_again() {
    let mut bed = Bed::new();
    bed.say([Some(ViewState::Missing), None]);
    let decision = bed.look();
    assert!(reason(&decision).starts_with("BuildingViews: 1 view is missing: Reed_2"));
    bed.carry_out(&decision);
    assert_eq!(bed.builds(), [("Reed_2", 1)]);
    // Again and again: it is there already.
    bed.say([Some(ViewState::Building), None]);
    let decision = bed.look();
    bed.carry_out(&decision);
    assert_eq!(bed.builds(), [("Reed_2", 1)]);
    let shown = &bed.stream.status.outputs[0];
    assert_eq!(shown.view.as_ref().unwrap().state, ViewState::Building);
    bed.end(|job| job.complete = true);
    bed.say([Some(ViewState::Built), None]);
    let decision = bed.look();
    bed.carry_out(&decision);
    let preflight = bed.jobs.last().unwrap();
    assert_eq!(
        (preflight.component.as_str(), preflight.notes.run),
        ("preflight", 2)
    );
    // One that comes to its end without plans is not followed by another at once.
    bed.end(|job| job.complete = true);
    let decision = bed.look();
    assert!(
        decision
            .todo
            .iter()
            .all(|it| !matches!(it, Action::Create(_))),
        "{decision:#?}"
    );
    // It was taken away meanwhile: preflight has said so, and it is built once more.
    bed.say([Some(ViewState::Missing), Some(ViewState::Missing)]);
    let decision = bed.look();
    bed.carry_out(&decision);
    let mut builds = bed.builds();
    builds.sort_unstable();
    assert_eq!(builds, [("Reed_2", 2), ("river_9Z", 1)]);
}

#[test]
fn a_build_that_fails_ends_the_stream_with_its_code_until_it_is_tried_again() {
    let mut bed = Bed::new();
    bed.say([Some(ViewState::Missing), Some(ViewState::Missing)]);
    let decision = bed.look();
    bed.carry_out(&decision);
    let failed = bed.jobs.last().unwrap().clone();
    let said = json!({"reason": "STREAM_VIEW_PARTIAL_EXISTS", "message": "a part"});
    bed.pods.push(Arc::new(PodView {
        name: "p".into(),
        uid: "p".into(),
        job: failed.uid.clone(),
        life: Life::Failed,
        ended: Some(Ended {
            code: 10,
            message: said.to_string(),
            ..Ended::default()
        }),
        ..PodView::default()
    }));
    bed.end(|job| job.failed = Some("PodFailurePolicy: exit code 10".into()));
    let decision = bed.look();
    bed.carry_out(&decision);
    assert_eq!(bed.stream.status.phase, Some(Phase::Failed));
    let condition = bed.stream.status.conditions.iter();
    let mut condition = condition.filter(|it| it.type_ == "WorldVerified");
    assert_eq!(
        condition.next().unwrap().reason,
        "STREAM_VIEW_PARTIAL_EXISTS"
    );
    // The other one is at work no more.
    let other = bed.jobs.iter().find(|it| it.notes.output == "Reed_2");
    assert!(other.unwrap().suspended);
    bed.stream.spec.retry = 1;
    let decision = bed.look();
    bed.carry_out(&decision);
    assert_eq!(bed.builds(), [("Reed_2", 2), ("river_9Z", 2)]);
    assert_eq!(bed.stream.status.retry, 1);
    assert_eq!(bed.stream.status.phase, Some(Phase::Verifying));
    assert!(bed.stream.status.completed_at.is_none());
}

#[test]
fn a_stream_that_is_suspended_builds_nothing_and_goes_on_with_the_next_run() {
    let mut bed = Bed::new();
    bed.say([Some(ViewState::Missing), None]);
    let decision = bed.look();
    bed.carry_out(&decision);
    bed.stream.spec.suspend = true;
    let decision = bed.look();
    bed.carry_out(&decision);
    assert!(bed.jobs.last().unwrap().suspended);
    let decision = bed.look();
    assert_eq!(decision.todo.len(), 0, "{decision:#?}");
    bed.stream.spec.suspend = false;
    let decision = bed.look();
    bed.carry_out(&decision);
    assert_eq!(bed.builds(), [("Reed_2", 2)]);
}
