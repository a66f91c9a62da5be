//! Reads what a stream points at: from what is watched, and the few things that are not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{ApiError, Server};
use crate::context::Watched;
use crate::lower::{self, Texts};
use crate::rivals;
use crate::views::{
    CheckpointView, ClockView, JobView, Key, PodView, ProfileView, StreamView, Stuck,
};

/// What there is.
pub struct Found {
    /// The stream.
    pub stream: Arc<StreamView>,
    /// Its profile.
    pub profile: Option<Arc<ProfileView>>,
    /// The ConfigMaps that the profile names.
    pub texts: Texts,
    /// Another stream that has its identity.
    pub rival: Option<String>,
    /// Its clock.
    pub clock: Option<Arc<ClockView>>,
    /// Its checkpoints.
    pub checkpoints: Vec<Arc<CheckpointView>>,
    /// Its Jobs.
    pub jobs: Vec<Arc<JobView>>,
    /// Their pods.
    pub pods: Vec<Arc<PodView>>,
}

/// How old an object is that should have come to something.
const STUCK_AFTER: Duration = Duration::from_secs(4);

/// Reads.
pub async fn dereference(
    watched: &Watched,
    server: &Server,
    key: &Key,
    now: Timestamp,
) -> Result<Option<Found>, ApiError> {
    let Some(stream) = watched.streams.get(key, &key.name) else {
        watched.pods.forget(key, |pod| pod.gone);
        return Ok(None);
    };
    let name = stream.spec.profile.clone().unwrap_or_default();
    let of_profile = Key {
        namespace: key.namespace.clone(),
        name: name.clone(),
    };
    let profile = watched.profiles.get(&of_profile, &name);
    let mut texts = BTreeMap::new();
    for (name, entry) in profile.iter().flat_map(|it| lower::config_maps(&it.spec)) {
        let text = server
            .config_map_entry(&key.namespace, &name, &entry)
            .await?;
        if let Some(text) = text {
            texts.insert((name, entry), text);
        }
    }
    let jobs = watched.jobs.of(key);
    // What is gone counts as long as its Job is there.
    watched.pods.forget(key, |pod| {
        pod.gone && !jobs.iter().any(|job| job.uid == pod.job)
    });
    let mut found = Found {
        rival: rivals::of(watched, &stream),
        clock: watched
            .clocks
            .of(key)
            .into_iter()
            .find(|clock| clock.owner == stream.uid),
        checkpoints: watched.checkpoints.of(key),
        jobs: jobs
            .into_iter()
            .filter(|job| job.owner == stream.uid)
            .collect(),
        pods: watched.pods.of(key),
        profile,
        texts,
        stream,
    };
    explain_stuck(&mut found, server, key, now).await?;
    Ok(Some(found))
}

/// What keeps pods from starting and Jobs from making pods is told by events alone: a Secret that
/// cannot be mounted, a quota, an admission policy.
async fn explain_stuck(
    found: &mut Found,
    server: &Server,
    key: &Key,
    now: Timestamp,
) -> Result<(), ApiError> {
    let old = |since: Timestamp| since + STUCK_AFTER < now;
    for job in &mut found.jobs {
        let pods: Vec<&Arc<PodView>> = found.pods.iter().filter(|pod| pod.job == job.uid).collect();
        let idle = !job.suspended && !job.complete && job.failed.is_none() && old(job.created);
        if idle
            && pods.is_empty()
            && let Some((reason, message)) = server.warning(&key.namespace, &job.uid).await?
        {
            let mut told = JobView::clone(job);
            told.refused = Some(format!("Job {}: {reason}: {message}", told.name));
            *job = Arc::new(told);
        }
    }
    let since: BTreeMap<&str, Timestamp> = found
        .jobs
        .iter()
        .map(|job| (job.uid.as_str(), job.created))
        .collect();
    for pod in &mut found.pods {
        let waits = pod.life == crate::views::Life::Pending && pod.node.is_some();
        let waits = waits && pod.stuck.is_none() && pod.deleted_by.is_none();
        if waits
            && since.get(pod.job.as_str()).is_some_and(|since| old(*since))
            && let Some((reason, message)) = server.warning(&key.namespace, &pod.uid).await?
        {
            let mut told = PodView::clone(pod);
            told.stuck = Some(Stuck { reason, message });
            *pod = Arc::new(told);
        }
    }
    Ok(())
}
