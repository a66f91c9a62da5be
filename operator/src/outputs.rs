//! One output and its workers: what is to be done with its Jobs, and how it stands. Pure.
//!
//! A run of the workers is a Job. Its notes say where the cursors stood when it was made, so that
//! a crash can be told from a crash without progress, after a restart of the operator too.

mod ending;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use worldstream_crds::{ConditionReason, ExitCode, FailureStatus, OutputStatus, WorkerState};

pub use self::ending::{ending, explain, stuck_reason};

use self::ending::failed;
use crate::validate::Output;
use crate::views::{CheckpointView, Ended, JobView, Life, Notes, PodView};

/// What there is of an output.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The output.
    pub output: &'a Output,
    /// How many lanes it has.
    pub lanes: u32,
    /// Its worker Jobs of this stream, in any order.
    pub jobs: Vec<Arc<JobView>>,
    /// The pods of all of them.
    pub pods: Vec<Arc<PodView>>,
    /// Its checkpoints, by lane.
    pub checkpoints: Vec<Arc<CheckpointView>>,
    /// What the status says of it.
    pub before: Option<&'a OutputStatus>,
}

/// What is wanted of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whether its workers are to run.
    pub run: bool,
    /// The stream's `retry`.
    pub retry: u32,
    /// The `retry` that the status answers.
    pub retried: u32,
    /// The attempt.
    pub attempt: String,
    /// Hash of the template that a worker would run now; none if that is not known.
    pub template: Option<String>,
    /// Whether a changed template replaces workers that run.
    pub replace: bool,
    /// How many crashes in a row without progress are one too many.
    pub crash_limit: u32,
    /// Whether the store refuses the writes of an older epoch.
    pub fences: bool,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// Make the Job of a run; holders whose pods are gone may be taken over from.
    Create {
        /// What to write down on it.
        notes: Notes,
        /// uids of holders that are gone.
        take_over: Vec<String>,
    },
    /// End a Job's pods and make no more: they drain and save.
    Suspend(String),
    /// Remove a Job that no pod of runs any more.
    Delete(String),
    /// Give up a pod whose node is gone.
    GiveUp {
        /// The pod.
        pod: String,
        /// Its uid.
        uid: String,
    },
}

/// How an output stands, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What is to be done, in order.
    pub todo: Vec<Do>,
    /// The least advanced state of its lanes.
    pub state: WorkerState,
    /// Whether all unfinished lanes are primed or further, by workers that live.
    pub up: bool,
    /// Whether any pod may still run.
    pub alive: bool,
    /// Why it failed for good.
    pub failure: Option<FailureStatus>,
    /// It failed, is to be tried again, and its next Job is not made yet.
    pub unanswered: bool,
    /// What holds it up, and goes by itself.
    pub trouble: Option<(ConditionReason, String)>,
    /// Crashes in a row without progress.
    pub crashes: u32,
    /// When the newest Job was made.
    pub since: Option<Timestamp>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// Decides.
pub fn judge(facts: &Facts<'_>, wanted: &Wanted, now: Timestamp) -> Verdict {
    let mut verdict = Verdict {
        alive: facts.pods.iter().any(|pod| pod.lives()),
        ..Verdict::default()
    };
    let newest = facts.jobs.iter().max_by_key(|job| job.notes.run);
    for job in &facts.jobs {
        let old = newest.is_some_and(|newest| newest.uid != job.uid);
        if old && !job.deleting && !pods_of(facts, job).any(PodView::lives) {
            verdict.todo.push(Do::Delete(job.name.clone()));
        } else if old && !job.deleting && !job.suspended {
            verdict.todo.push(Do::Suspend(job.name.clone()));
        }
    }
    verdict.since = newest.map(|job| job.created);
    verdict.crashes = newest.map_or(0, |job| job.notes.crashes);
    if finished(facts) {
        verdict.state = WorkerState::Finished;
        verdict.up = true;
        return verdict;
    }
    let again = wanted.retry > wanted.retried;
    // What the status says of an end counts, whatever became of the Job since.
    if let Some(before) = facts.before
        && before.state == WorkerState::Failed
        && !again
    {
        verdict.state = WorkerState::Failed;
        verdict.failure = before.failure.clone();
        verdict.crashes = before.crashes;
        stop(&mut verdict, newest, facts);
        return verdict;
    }
    let Some(job) = newest else {
        if wanted.run && wanted.template.is_some() {
            create(&mut verdict, facts, wanted, None, 0);
        }
        return verdict;
    };
    let answered = job.notes.retry >= wanted.retry || !again;
    let failure = failed(facts, job, wanted, &mut verdict);
    verdict.unanswered = failure.is_some() && !answered;
    if let Some(failure) = &failure
        && answered
    {
        verdict.state = WorkerState::Failed;
        verdict.failure = Some(failure.clone());
        stop(&mut verdict, newest, facts);
        return verdict;
    }
    verdict.state = state(facts, job);
    if failure.is_none() && ending::unsaid(facts, job) {
        verdict.again = Some(Duration::from_secs(1));
        return verdict;
    }
    lost_nodes(&mut verdict, facts, wanted, now);
    if !wanted.run || job.notes.attempt != wanted.attempt {
        stop(&mut verdict, newest, facts);
        verdict.state = match verdict.alive {
            true => verdict.state,
            false => WorkerState::Stopped,
        };
        if !verdict.alive && job.notes.attempt != wanted.attempt {
            verdict.todo.push(Do::Delete(job.name.clone()));
        }
        return verdict;
    }
    run(&mut verdict, facts, wanted, job, now);
    stuck(&mut verdict, facts, job);
    verdict
}

/// Keeps the workers running: a run that ended is followed by the next.
fn run(
    verdict: &mut Verdict,
    facts: &Facts<'_>,
    wanted: &Wanted,
    job: &Arc<JobView>,
    now: Timestamp,
) {
    let alive = pods_of(facts, job).any(PodView::lives);
    let crashes: Vec<&PodView> = pods_of(facts, job)
        .filter(|pod| pod.life == Life::Failed)
        .collect();
    let changed = wanted.replace && wanted.template.as_ref() != Some(&job.notes.template);
    if crashes.is_empty() && !job.suspended && job.failed.is_none() && !changed {
        verdict.up = up(facts, job);
        return;
    }
    // Its time to prime begins with the next run.
    verdict.since = None;
    if !job.suspended && job.failed.is_none() {
        verdict.todo.push(Do::Suspend(job.name.clone()));
    }
    if alive {
        // The other lanes drain first.
        return;
    }
    let moved = cursor(facts) != job.notes.cursor;
    let clean = |pod: &&PodView| {
        pod.disrupted
            || pod
                .ended
                .as_ref()
                .is_some_and(|it| it.code == i32::from(ExitCode::Interrupted.code()))
    };
    let counted = !moved && crashes.iter().any(|pod| !clean(pod));
    let count = match (counted, moved) {
        (true, _) => job.notes.crashes + 1,
        (false, true) => 0,
        (false, false) => job.notes.crashes,
    };
    verdict.crashes = count;
    if let Some(pod) = crashes.iter().find(|pod| !clean(pod)) {
        let what = pod.ended.as_ref().map(ending).unwrap_or_default();
        verdict.trouble = Some((
            ConditionReason::WorkerRestarting,
            format!(
                "{}: pod {} ended{what}; it is started again",
                facts.output.id, pod.name
            ),
        ));
    }
    if counted {
        let ended = crashes
            .iter()
            .filter_map(|pod| pod.ended.as_ref()?.at)
            .max();
        let due = ended.unwrap_or(job.created) + pause(count);
        if due > now {
            verdict.again = Some(Duration::try_from(due.duration_since(now)).unwrap_or_default());
            return;
        }
    }
    if wanted.template.is_some() {
        create(verdict, facts, wanted, Some(job), count);
        verdict.todo.push(Do::Delete(job.name.clone()));
    }
}

/// How long a worker waits after so many crashes in a row without progress. The first wait is a
/// short one: a worker that was killed within a second of its start has not saved anything yet, and
/// is to be back as soon as one that has.
fn pause(crashes: u32) -> Duration {
    let crashes = crashes.clamp(1, 5);
    Duration::from_secs(1 << (2 * (crashes - 1))).min(Duration::from_secs(240))
}

fn create(
    verdict: &mut Verdict,
    facts: &Facts<'_>,
    wanted: &Wanted,
    before: Option<&Arc<JobView>>,
    crashes: u32,
) {
    let again = wanted.retry > wanted.retried;
    let take_over = facts.checkpoints.iter().filter_map(|checkpoint| {
        let holder = checkpoint.status.holder_uid.clone()?;
        let lives = facts
            .pods
            .iter()
            .any(|pod| pod.uid == holder && pod.lives());
        (!lives).then_some(holder)
    });
    verdict.todo.push(Do::Create {
        notes: Notes {
            output: facts.output.id.clone(),
            template: String::new(),
            run: before.map_or(1, |job| job.notes.run + 1),
            crashes: if again { 0 } else { crashes },
            cursor: cursor(facts),
            retry: wanted.retry,
            attempt: wanted.attempt.clone(),
        },
        take_over: take_over.collect(),
    });
    verdict.state = WorkerState::Starting;
    verdict.unanswered = false;
}

/// Ends what still runs of the newest Job.
fn stop(verdict: &mut Verdict, newest: Option<&Arc<JobView>>, facts: &Facts<'_>) {
    if let Some(job) = newest
        && !job.suspended
        && !job.complete
        && !job.deleting
        && (job.failed.is_none() || pods_of(facts, job).any(PodView::lives))
    {
        verdict.todo.push(Do::Suspend(job.name.clone()));
    }
}

fn pods_of<'a>(facts: &'a Facts<'_>, job: &'a JobView) -> impl Iterator<Item = &'a PodView> {
    facts
        .pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod: &&PodView| pod.job == job.uid)
}

/// Whether all lanes sent all that they had to.
fn finished(facts: &Facts<'_>) -> bool {
    let known = facts
        .before
        .is_some_and(|it| it.state == WorkerState::Finished);
    let all = facts.checkpoints.len() == facts.lanes as usize;
    known
        || all
            && facts
                .checkpoints
                .iter()
                .all(|it| it.status.state == Some(WorkerState::Finished))
}

/// Where the cursors of all lanes stand, as one text: it changes when one of them moves.
pub fn cursor(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    for checkpoint in &facts.checkpoints {
        if let Some(cursor) = &checkpoint.status.cursor {
            let file = cursor.last_file.rsplit('/').next().unwrap_or_default();
            text.push_str(&format!("{}:{}", file, cursor.last_row_index));
        }
        text.push(';');
    }
    match text.len() > 200 {
        true => worldstream_crds::names::short_hash(&[&text]),
        false => text,
    }
}

/// Whether the checkpoint is held by a pod of this Job that may still run.
fn held(facts: &Facts<'_>, job: &JobView, checkpoint: &CheckpointView) -> bool {
    let holder = checkpoint.status.holder_uid.as_deref();
    holder.is_some_and(|uid| pods_of(facts, job).any(|pod| pod.uid == uid && pod.lives()))
}

fn up(facts: &Facts<'_>, job: &JobView) -> bool {
    facts.checkpoints.len() == facts.lanes as usize
        && facts.checkpoints.iter().all(|checkpoint| {
            let state = checkpoint.status.state.unwrap_or_default();
            state == WorkerState::Finished
                || held(facts, job, checkpoint)
                    && matches!(
                        state,
                        WorkerState::Primed
                            | WorkerState::Streaming
                            | WorkerState::Paused
                            | WorkerState::Held
                            | WorkerState::Waiting
                    )
        })
}

/// The least advanced state of the lanes; a lane without a worker is starting.
fn state(facts: &Facts<'_>, job: &JobView) -> WorkerState {
    facts
        .checkpoints
        .iter()
        .map(|checkpoint| match checkpoint.status.state {
            Some(WorkerState::Finished) => WorkerState::Finished,
            Some(state) if held(facts, job, checkpoint) && state != WorkerState::Failed => state,
            _ => WorkerState::Starting,
        })
        .min()
        .unwrap_or_default()
}

/// A pod that should be gone and is not: its node does not answer.
fn lost_nodes(verdict: &mut Verdict, facts: &Facts<'_>, wanted: &Wanted, now: Timestamp) {
    for pod in facts.pods.iter().filter(|pod| pod.lives()) {
        let Some(by) = pod.deleted_by else { continue };
        let due = by + Duration::from_secs(5);
        if due > now {
            let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            verdict.again = Some(verdict.again.map_or(wait, |known| known.min(wait)));
        } else if wanted.fences {
            verdict.todo.push(Do::GiveUp {
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
            });
        } else {
            verdict.trouble = Some((
                ConditionReason::WorkerLost,
                format!(
                    "{}: pod {} should be gone and node {} does not say so; its checkpoint store cannot fence it off",
                    facts.output.id,
                    pod.name,
                    pod.node.as_deref().unwrap_or("?")
                ),
            ));
        }
    }
}

/// What keeps a pod from starting, in the words of the scheduler or the kubelet.
fn stuck(verdict: &mut Verdict, facts: &Facts<'_>, job: &JobView) {
    if let Some(refused) = &job.refused {
        verdict.trouble = Some((ConditionReason::PodRefused, refused.clone()));
        return;
    }
    let found = pods_of(facts, job)
        .filter(|pod| pod.lives())
        .find_map(|pod| Some((pod, pod.stuck.as_ref()?)));
    if let Some((pod, stuck)) = found
        && verdict.trouble.is_none()
    {
        verdict.trouble = Some((
            stuck_reason(&stuck.reason, &stuck.message),
            format!("pod {}: {}: {}", pod.name, stuck.reason, stuck.message),
        ));
    }
}

#[cfg(test)]
mod tests;
