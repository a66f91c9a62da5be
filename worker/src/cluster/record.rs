//! A StreamCheckpoint as the worker that holds it knows it. All that a worker writes goes through
//! here, one write at a time, and each names the uid and the resource version that it was made
//! for: a worker whose checkpoint was taken over is told so by its next write, and writes nothing
//! more.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use worldstream_crds::{
    Reason, StreamCheckpoint, StreamCheckpointSpec, StreamCheckpointStatus, WorkerState,
};

use super::access::{Access, Refusal};
use super::report::Snapshot;
use crate::clock::{Mono, Monotonic};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// How often a write is made again after somebody else, who may, wrote to the object.
const TRIES: u32 = 5;
/// How often a checkpoint that is held is looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// The pod that this process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The Job that it belongs to.
    pub job: Option<String>,
    /// The uids of holders whose end the operator vouches for.
    pub gone: Vec<String>,
}

impl Pod {
    /// Whether this pod may take a checkpoint over from its holder: one that is itself, that is
    /// of the same Job (which runs one pod of an index at a time), or that is certainly gone.
    pub fn may_follow(&self, holder: Option<&str>, uid: Option<&str>) -> bool {
        let (Some(holder), Some(uid)) = (holder, uid) else {
            return true;
        };
        let of_our_job = self.job.as_ref().is_some_and(|job| {
            holder
                .strip_prefix(job.as_str())
                .is_some_and(|rest| rest.starts_with('-'))
        });
        uid == self.uid || of_our_job || self.gone.iter().any(|gone| gone == uid)
    }
}

/// The StreamCheckpoint that this process holds. Clones are the same record. When the last of
/// them is dropped, the checkpoint is let go of.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    access: Access,
    name: String,
    spec: StreamCheckpointSpec,
    epoch: u64,
    runtime: Handle,
    held: Mutex<Held>,
    /// How the worker is: goes out with every write.
    shown: StdMutex<Option<Snapshot>>,
    /// What of it was written last, and when.
    written: StdMutex<Option<(Mono, Snapshot)>>,
}

struct Held {
    pod: Pod,
    uid: String,
    version: String,
    /// As it is on the API server, as far as we know.
    status: StreamCheckpointStatus,
    lost: Option<Failure>,
    released: bool,
}

impl Record {
    /// Takes a StreamCheckpoint for this pod: the epoch grows by one, and writes of an older one
    /// are refused from then on. A holder that is not ours to follow is given `patience` to let go.
    ///
    /// Errors: `CHECKPOINT_CONFLICT` if another pod holds it, `CHECKPOINT_UNREADABLE` if there is
    /// no such object, and exit code `Unavailable` where the API server is away.
    pub async fn take(access: &Access, name: &str, pod: Pod, patience: Duration) -> Result<Record> {
        let began = Instant::now();
        let about = |refusal: Refusal| refusal.about_checkpoint(name);
        loop {
            let found = access.checkpoint(name).await.map_err(about)?;
            let status = found.status.clone().unwrap_or_default();
            let (holder, uid) = (status.holder.as_deref(), status.holder_uid.as_deref());
            if !pod.may_follow(holder, uid) {
                if began.elapsed() < patience {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                return Err(
                    Failure::new(Reason::CheckpointConflict, object(name)).found(format!(
                        "it is held by pod {} (uid {}), epoch {}",
                        holder.unwrap_or_default(),
                        uid.unwrap_or_default(),
                        status.epoch
                    )),
                );
            }
            let mut next = status.clone();
            next.holder = Some(pod.name.clone());
            next.holder_uid = Some(pod.uid.clone());
            next.epoch += 1;
            next.state = Some(WorkerState::Starting);
            next.failure = None;
            next.overshoot = None;
            let (object_uid, version) = (uid_of(&found), version_of(&found));
            let patch = patch(&status, &next, &object_uid, &version);
            let taken = match access.patch_status(name, &patch).await {
                Ok(taken) => taken,
                Err(Refusal::Conflict) => continue,
                Err(refusal) => return Err(about(refusal)),
            };
            return Ok(Record(Arc::new(Inner {
                access: access.clone(),
                name: name.to_owned(),
                spec: taken.spec.clone(),
                epoch: next.epoch,
                runtime: Handle::current(),
                held: Mutex::new(Held {
                    pod,
                    uid: object_uid,
                    version: version_of(&taken),
                    status: taken.status.unwrap_or_default(),
                    lost: None,
                    released: false,
                }),
                shown: StdMutex::default(),
                written: StdMutex::default(),
            })));
        }
    }

    /// The object, for messages: `StreamCheckpoint name`.
    pub fn object(&self) -> String {
        object(&self.0.name)
    }

    /// Whose checkpoint it is.
    pub fn spec(&self) -> &StreamCheckpointSpec {
        &self.0.spec
    }

    /// The epoch of this hold.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// The status, as far as we know.
    pub async fn status(&self) -> StreamCheckpointStatus {
        self.0.held.lock().await.status.clone()
    }

    /// How the worker is: goes out with the next write, whatever that is for.
    pub fn show(&self, snapshot: Snapshot) {
        *lock(&self.0.shown) = Some(snapshot);
    }

    /// What was last written of what was shown, and when.
    pub fn written(&self) -> Option<(Mono, Snapshot)> {
        lock(&self.0.written).clone()
    }

    /// Writes what was shown, and a change beside it. A write that would change nothing is none.
    ///
    /// Errors: `CHECKPOINT_CONFLICT` once another holds the checkpoint or the object is another;
    /// exit code `Unavailable` where trying again may help.
    pub async fn write(&self, change: impl Fn(&mut StreamCheckpointStatus)) -> Result<()> {
        let mut held = self.0.held.lock().await;
        let shown = lock(&self.0.shown).clone();
        self.0
            .write(&mut held, |status| {
                if let Some(shown) = &shown {
                    shown.apply(status);
                }
                change(status);
            })
            .await?;
        if let Some(shown) = shown {
            *lock(&self.0.written) = Some((Mono::now(), shown));
        }
        Ok(())
    }

    /// The last write: another may take the checkpoint afterwards.
    ///
    /// Errors: as [`Record::write`].
    pub async fn release(&self, change: impl Fn(&mut StreamCheckpointStatus)) -> Result<()> {
        self.write(|status| {
            change(status);
            status.holder = None;
            status.holder_uid = None;
        })
        .await?;
        self.0.held.lock().await.released = true;
        Ok(())
    }
}

impl Inner {
    async fn write(
        &self,
        held: &mut Held,
        change: impl Fn(&mut StreamCheckpointStatus),
    ) -> Result<()> {
        if let Some(lost) = &held.lost {
            return Err(lost.clone());
        }
        for _ in 0..TRIES {
            let mut next = held.status.clone();
            change(&mut next);
            next.reported_at = held.status.reported_at.clone();
            if next == held.status {
                return Ok(());
            }
            next.reported_at = Some(EventTime::wall_now().to_string());
            let patch = patch(&held.status, &next, &held.uid, &held.version);
            match self.access.patch_status(&self.name, &patch).await {
                Ok(written) => {
                    held.version = version_of(&written);
                    held.status = next;
                    return Ok(());
                }
                // Somebody wrote to it: the operator to its labels, or one who took it over. Or
                // a write of ours arrived whose answer did not.
                Err(Refusal::Conflict) => self.look_again(held).await?,
                Err(Refusal::Gone) => return Err(self.lose(held, "nothing: it was deleted")),
                Err(refusal) => return Err(refusal.about(object(&self.name))),
            }
        }
        Err(Refusal::Conflict.about(object(&self.name)))
    }

    async fn look_again(&self, held: &mut Held) -> Result<()> {
        let found = match self.access.checkpoint(&self.name).await {
            Ok(found) => found,
            Err(Refusal::Gone) => return Err(self.lose(held, "nothing: it was deleted")),
            Err(refusal) => return Err(refusal.about(object(&self.name))),
        };
        let status = found.status.clone().unwrap_or_default();
        if uid_of(&found) != held.uid {
            return Err(self.lose(held, "another object of the same name"));
        }
        if status.epoch != self.epoch || status.holder_uid.as_deref() != Some(&held.pod.uid) {
            let by = status.holder.as_deref().unwrap_or("nobody");
            let found = format!("epoch {}, held by {by}", status.epoch);
            return Err(self.lose(held, &found));
        }
        held.version = version_of(&found);
        held.status = status;
        Ok(())
    }

    fn lose(&self, held: &mut Held, found: &str) -> Failure {
        let failure = Failure::new(Reason::CheckpointConflict, object(&self.name))
            .found(found)
            .expected(format!(
                "epoch {}, held by this pod, {}",
                self.epoch, held.pod.name
            ));
        held.lost = Some(failure.clone());
        failure
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let held = self.held.get_mut();
        if held.released || held.lost.is_some() {
            return;
        }
        let mut next = held.status.clone();
        next.holder = None;
        next.holder_uid = None;
        let patch = patch(&held.status, &next, &held.uid, &held.version);
        let (access, name) = (self.access.clone(), self.name.clone());
        // Best effort: a holder that could not say that it is gone is followed by its Job's next
        // pod all the same.
        self.runtime
            .spawn(async move { access.patch_status(&name, &patch).await.map(|_| ()) });
    }
}

/// A merge patch from one status to another, for this very version of the object.
fn patch(
    from: &StreamCheckpointStatus,
    to: &StreamCheckpointStatus,
    uid: &str,
    version: &str,
) -> Value {
    // A status is a plain struct of plain values.
    let value = |status| serde_json::to_value(status).unwrap_or_default();
    json!({
        "metadata": { "uid": uid, "resourceVersion": version },
        "status": merge_patch(&value(from), &value(to)),
    })
}

/// The JSON merge patch (RFC 7396) that makes `to` of `from`. Arrays are replaced whole.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let gone = from.keys().filter(|key| !to.contains_key(*key));
    let mut patch: serde_json::Map<_, _> = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in to {
        match from.get(key) {
            Some(before) if before == value => {}
            Some(before) => {
                patch.insert(key.clone(), merge_patch(before, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

fn object(name: &str) -> String {
    format!("StreamCheckpoint {name}")
}

fn uid_of(found: &StreamCheckpoint) -> String {
    found.metadata.uid.clone().unwrap_or_default()
}

fn version_of(found: &StreamCheckpoint) -> String {
    found.metadata.resource_version.clone().unwrap_or_default()
}

fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_follows_itself_its_job_and_the_dead() {
        let pod = Pod {
            name: "feb-out-3k-77-0-aaaaa".into(),
            uid: "u1".into(),
            job: Some("feb-out-3k-77".into()),
            gone: vec!["u8".into(), "u9".into()],
        };
        assert!(pod.may_follow(None, None));
        assert!(pod.may_follow(Some("feb-out-3k-77-0-bbbbb"), Some("u2")));
        assert!(pod.may_follow(Some("elsewhere"), Some("u1")));
        assert!(pod.may_follow(Some("feb-out-3k-66-0-ccccc"), Some("u9")));
        assert!(!pod.may_follow(Some("feb-out-3k-66-0-ccccc"), Some("u3")));
        assert!(!pod.may_follow(Some("feb-out-3k-777-0-ccccc"), Some("u3")));
        let alone = Pod {
            job: None,
            ..pod.clone()
        };
        assert!(!alone.may_follow(Some("feb-out-3k-77-0-bbbbb"), Some("u2")));
    }

    #[test]
    fn a_patch_says_what_changed_and_what_is_gone() {
        let from = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2], "f": null, "g": {"h": 1}});
        let to = json!({"a": 1, "b": {"c": 1, "d": 3}, "e": [2], "i": "x", "g": {}});
        let expected = json!({
            "b": {"d": 3}, "e": [2], "f": null, "i": "x", "g": {"h": null}
        });
        assert_eq!(merge_patch(&from, &to), expected);
        assert_eq!(merge_patch(&to, &to), json!({}));
    }

    #[test]
    fn a_cursor_without_a_time_keeps_none_of_the_last_one() {
        let mut from = StreamCheckpointStatus {
            state: Some(WorkerState::Streaming),
            ..StreamCheckpointStatus::default()
        };
        let cursor = |time: Option<&str>| worldstream_crds::CursorStatus {
            last_file: "/w/out/part-1".into(),
            last_row_index: 4,
            last_ts_utc: time.map(str::to_owned),
        };
        from.cursor = Some(cursor(Some("2026-05-04T00:00:00.000000Z")));
        let mut to = from.clone();
        to.cursor = Some(cursor(None));
        let patch = patch(&from, &to, "u", "17");
        assert_eq!(patch["status"], json!({"cursor": {"lastTsUtc": null}}));
        assert_eq!(
            patch["metadata"],
            json!({"uid": "u", "resourceVersion": "17"})
        );
    }
}
