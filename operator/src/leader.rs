//! Who of several operators works: a Lease, written with its resourceVersion so that two cannot
//! both win, with calls that have deadlines. Who loses it ends, so that nobody works on without
//! it; who is told to stop gives it up. Where the holder is a pod the Lease is owned by it: when the
//! pod is gone so is the Lease, also where the pod had lost its rights before it was told to stop,
//! as at an uninstallation.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};

/// For how long a lease is good without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How often it is asked for by who does not have it.
const ASK: Duration = Duration::from_secs(1);
/// How often a write is made again after somebody else's.
const TRIES: u32 = 5;
/// When a lease that could not be renewed counts as lost: well before others may take it.
const LOST: Duration = Duration::from_secs(10);
/// How long giving it up may take: less than a pod has for its end.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long a call may take.
const CALL: Duration = Duration::from_secs(4);

/// A candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The pod that this process is, if it is one, in the Lease's namespace.
    pod: Option<OwnerReference>,
    /// What others' lease looked like when it last changed, and when that was by our own clock: a
    /// holder's clock is not ours to judge by.
    seen: Option<(String, Instant)>,
}

/// What a try came to.
enum Try {
    Mine,
    Others,
    /// Somebody wrote in between.
    Again,
}

impl Candidate {
    /// For a Lease of this name. `pod`: name and uid of the pod that this process is.
    pub fn new(api: Api<Lease>, name: &str, identity: &str, pod: Option<(String, String)>) -> Self {
        Candidate {
            api,
            name: name.to_owned(),
            identity: identity.to_owned(),
            pod: pod.map(|(name, uid)| OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name,
                uid,
                ..OwnerReference::default()
            }),
            seen: None,
        }
    }

    /// Waits until this process leads.
    pub async fn acquire(&mut self) {
        loop {
            match tokio::time::timeout(CALL, self.attempt()).await {
                Ok(Ok(Try::Mine)) => return,
                Ok(Ok(Try::Others | Try::Again)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be asked for"),
                Err(_) => tracing::warn!("the lease could not be asked for: no answer in time"),
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Renews until the lease is lost; returns then.
    pub async fn hold(&mut self) -> String {
        let mut good = Instant::now();
        loop {
            tokio::time::sleep(RENEW).await;
            let why = match tokio::time::timeout(CALL, self.attempt()).await {
                Ok(Ok(Try::Mine)) => {
                    good = Instant::now();
                    continue;
                }
                Ok(Ok(Try::Others)) => return "another process has it".to_owned(),
                Ok(Ok(Try::Again)) => "others write to it all the time".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(%why, "the lease could not be renewed");
            if good.elapsed() >= LOST {
                return why;
            }
        }
    }

    /// Gives the lease up, so that another need not wait for its end.
    pub async fn give_up(&mut self) {
        match tokio::time::timeout(GIVE_UP, self.let_go()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given up"),
            Err(_) => tracing::warn!("the lease could not be given up: no answer in time"),
        }
    }

    async fn let_go(&self) -> kube::Result<()> {
        loop {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            // The last renewal may have been on its way.
            match outcome(
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await,
            )? {
                Try::Again => {}
                Try::Mine | Try::Others => return Ok(()),
            }
        }
    }

    /// A write by somebody else, such as a label that a person adds, is no loss of the lease: whose
    /// it is is looked at again.
    async fn attempt(&mut self) -> kube::Result<Try> {
        for _ in 0..TRIES {
            match self.attempt_once().await? {
                Try::Again => {}
                settled => return Ok(settled),
            }
        }
        Ok(Try::Again)
    }

    async fn attempt_once(&mut self) -> kube::Result<Try> {
        let params = PostParams::default();
        let owners = self.pod.clone().map(|pod| vec![pod]);
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    owner_references: owners,
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(1)),
            };
            return outcome(self.api.create(&params, &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or_default();
        if holder == self.identity {
            let mut renewed = self.spec(transitions);
            renewed.acquire_time = spec.acquire_time;
            lease.spec = Some(renewed);
        } else {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            let since = match &self.seen {
                Some((known, since)) if *known == version => *since,
                _ => {
                    let now = Instant::now();
                    self.seen = Some((version, now));
                    now
                }
            };
            let good = spec.lease_duration_seconds.map_or(DURATION, |seconds| {
                Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            });
            if !holder.is_empty() && since.elapsed() < good {
                return Ok(Try::Others);
            }
            lease.spec = Some(self.spec(transitions + 1));
        }
        lease.metadata.owner_references = owners;
        // With the resourceVersion that was read: of two who try, one fails.
        outcome(self.api.replace(&self.name, &params, &lease).await)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn outcome(written: kube::Result<Lease>) -> kube::Result<Try> {
    match written {
        Ok(_) => Ok(Try::Mine),
        // Written, made or removed since it was read.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Try::Again),
        Err(error) => Err(error),
    }
}
