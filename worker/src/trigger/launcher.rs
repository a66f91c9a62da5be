//! Streams the worlds of messages as WorldStreams. The message decides the name, so that the API
//! server is a second guard against a message that comes twice; a finalizer keeps the WorldStream
//! until its end is recorded, so that deleting it half way loses no record.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use tracing::{info, warn};
use worldstream_crds::plan::ready::{ReadyPlan, ReadyRun};
use worldstream_crds::{API_VERSION, ExitCode, Reason, names};

use super::cluster::{Cluster, Refusal};
use super::history::surplus;
use super::seen::{Seen, Stage};
use super::streams::Streams;
use crate::failure::{Failure, Result};
use crate::ready::{Claim, Ended, Launch, Launcher, Status};
use crate::stop::Stop;

/// How often a write is repeated that somebody else's came before.
const CONFLICTS: u32 = 8;

/// Makes WorldStreams.
pub struct WorldStreams<'a> {
    /// The API server.
    pub cluster: &'a Cluster,
    /// How the bus is followed.
    pub plan: &'a ReadyPlan,
    /// The WorldStreams that are there.
    pub streams: &'a Streams,
    /// The end of this process: what runs is left running.
    pub stop: Stop,
}

/// What a claim remembers of its WorldStream: which object it is, and the `spec.retry` that was
/// ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Order {
    uid: String,
    retry: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.uid, self.retry)
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (uid, retry) = text.rsplit_once('#').ok_or(())?;
        Ok(Order {
            uid: uid.to_owned(),
            retry: retry.parse().map_err(|_| ())?,
        })
    }
}

/// What is to be done for a message's WorldStream. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// It is to be made.
    Make,
    /// It was made, and is gone without its record: somebody took its finalizer away.
    Vanished,
    /// It failed and is tried again: `spec.retry`, and what it had sent before.
    Retry { retry: u64, from: u64 },
    /// It is followed, from what it had sent before.
    Follow { from: u64 },
}

/// Decides by what is there and what is remembered. `counted_from` is known from the beginning of a
/// stream to its record.
fn next(seen: Option<&Seen>, order: Option<&Order>, counted_from: Option<u64>) -> Next {
    let Some(seen) = seen else {
        return match (counted_from, order) {
            (Some(_), Some(order)) if !order.uid.is_empty() => Next::Vanished,
            _ => Next::Make,
        };
    };
    match (counted_from, order) {
        // The retry was ordered, and may not have been carried out.
        (Some(from), Some(order)) if seen.retry < order.retry => Next::Retry {
            retry: order.retry,
            from,
        },
        (Some(from), _) => Next::Follow { from },
        (None, _) if seen.stage() == Stage::Failed && !seen.deleting => Next::Retry {
            retry: seen.retry.max(seen.retried) + 1,
            from: seen.sent,
        },
        (None, _) => Next::Follow { from: 0 },
    }
}

impl WorldStreams<'_> {
    fn name(&self, message_id: &str) -> String {
        names::ready_stream(&self.plan.name, message_id)
    }

    fn interrupted(&self, launch: &Launch) -> Failure {
        Failure::new(Reason::StreamFailed, &launch.message_id)
            .detail("asked to stop; its WorldStream goes on")
            .exits(ExitCode::Interrupted)
    }

    /// Makes the WorldStream; one of this name that is there already is it, if the same message
    /// asked for it.
    async fn make(&self, name: &str, launch: &Launch) -> Result<Result<Seen, Failure>> {
        let object = format!("WorldStream {name}");
        match self.cluster.create(self.body(name, launch)).await {
            Ok(made) => {
                info!(
                    message_id = launch.message_id,
                    stream = name,
                    "a WorldStream is made"
                );
                return Ok(Ok(Seen::of(&made)));
            }
            Err(Refusal::Exists) => {}
            Err(refusal @ Refusal::Invalid(_)) => return Ok(Err(refusal.about(object))),
            Err(refusal) => return Err(refusal.about(object)),
        }
        let found = self.cluster.stream(name).await;
        let found = found.map_err(|refusal| refusal.about(&object))?;
        let Some(seen) = found.as_ref().map(Seen::of) else {
            return Err(Refusal::Gone.about(object));
        };
        match seen.message_id == launch.message_id && seen.trigger == self.plan.name {
            true => Ok(Ok(seen)),
            false => Ok(Err(Failure::new(Reason::StreamFailed, object)
                .found("one that another message, or somebody else, asked for")
                .expected(format!("that of message {}", launch.message_id)))),
        }
    }

    fn body(&self, name: &str, launch: &Launch) -> Value {
        let spec = self.plan.world_stream(ReadyRun {
            platform_run_id: &launch.platform_run_id,
            scenario_run_id: &launch.scenario_run_id,
            engine_run_root: &launch.engine_run_root,
            scenario: &launch.scenario_id,
        });
        json!({
            "apiVersion": API_VERSION,
            "kind": "WorldStream",
            "metadata": {
                "name": name,
                "namespace": self.cluster.trigger.namespace,
                "labels": {names::LABEL_TRIGGER: self.plan.name},
                "annotations": {names::READY_MESSAGE: launch.message_id},
                "finalizers": [names::READY_FINALIZER],
            },
            "spec": spec,
        })
    }

    /// Changes a WorldStream until nobody's write came in between; none if it is gone.
    async fn change(
        &self,
        name: &str,
        change: impl Fn(&Seen) -> Option<Value>,
    ) -> Result<Option<Seen>> {
        let object = format!("WorldStream {name}");
        let mut last = Refusal::Conflict;
        for _ in 0..CONFLICTS {
            let found = self.cluster.stream(name).await;
            let found = found.map_err(|refusal| refusal.about(&object))?;
            let Some(seen) = found.as_ref().map(Seen::of) else {
                return Ok(None);
            };
            let Some(mut patch) = change(&seen) else {
                return Ok(Some(seen));
            };
            patch["metadata"]["resourceVersion"] = json!(seen.version);
            patch["metadata"]["uid"] = json!(seen.uid);
            match self.cluster.patch(name, &patch).await {
                Ok(changed) => return Ok(Some(Seen::of(&changed))),
                Err(Refusal::Gone) => return Ok(None),
                Err(Refusal::Conflict) => last = Refusal::Conflict,
                Err(refusal) => return Err(refusal.about(object)),
            }
        }
        Err(last.about(object))
    }

    /// Has a WorldStream that failed try again, held until that is recorded.
    async fn retry(&self, name: &str, retry: u64) -> Result<Option<Seen>> {
        info!(
            stream = name,
            retry, "a WorldStream that failed is tried again"
        );
        self.change(name, |seen| {
            (seen.retry < retry).then(|| {
                json!({
                    "metadata": {"finalizers": held(seen)},
                    "spec": {"retry": retry},
                })
            })
        })
        .await
    }

    /// Follows a WorldStream to its end.
    async fn follow(&self, launch: &Launch, mut seen: Seen, order: &Order) -> Result<Ended> {
        // Asked for before looking, so that no change between the two is missed.
        let mut changes = self.streams.changes();
        seen = self.streams.get(&seen.name).unwrap_or(seen);
        loop {
            // A watch may be behind the write that ordered the retry.
            let current = seen.retry >= order.retry;
            let failed = match seen.stage() {
                Stage::Completed => None,
                Stage::Failed if current => Some(seen.failure()),
                Stage::Deleted => {
                    return Ok(Ended {
                        emitted: seen.sent,
                        failure: None,
                        deleted: true,
                    });
                }
                Stage::Going | Stage::Failed => {
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = self.stop.wait() => return Err(self.interrupted(launch)),
                    }
                    match self.streams.get(&seen.name) {
                        Some(newer) => seen = newer,
                        None => match self.look_for(&seen).await? {
                            Some(newer) => seen = newer,
                            None => {
                                warn!(stream = seen.name, "a WorldStream was deleted by force");
                                return Ok(Ended {
                                    emitted: seen.sent,
                                    failure: None,
                                    deleted: true,
                                });
                            }
                        },
                    }
                    continue;
                }
            };
            return Ok(Ended {
                emitted: seen.sent,
                failure: failed,
                deleted: false,
            });
        }
    }

    /// A WorldStream that the watch does not show: it may show it later.
    async fn look_for(&self, seen: &Seen) -> Result<Option<Seen>> {
        let found = self.cluster.stream(&seen.name).await;
        let found = found.map_err(|refusal| refusal.about(format!("WorldStream {}", seen.name)))?;
        Ok(found.as_ref().map(Seen::of).filter(|it| it.uid == seen.uid))
    }

    /// Clears away what is beyond the history's limit.
    async fn clear(&self) {
        let all = self.streams.all();
        for seen in surplus(&all, self.plan.history_limit) {
            info!(
                stream = seen.name,
                "a WorldStream beyond historyLimit is deleted"
            );
            match self.cluster.delete(&seen.name, &seen.uid).await {
                Ok(()) | Err(Refusal::Gone | Refusal::Conflict) => {}
                Err(refusal) => warn!(stream = seen.name, %refusal, "it could not be deleted"),
            }
        }
    }
}

/// The finalizers of a WorldStream, ours among them.
fn held(seen: &Seen) -> Vec<String> {
    let mut all = seen.finalizers.clone();
    if !seen.held() {
        all.push(names::READY_FINALIZER.to_owned());
    }
    all
}

/// Those without ours.
fn released(seen: &Seen) -> Vec<&String> {
    let all = seen.finalizers.iter();
    all.filter(|it| *it != names::READY_FINALIZER).collect()
}

impl Launcher for WorldStreams<'_> {
    async fn run(&self, launch: &Launch, claim: &Claim) -> Result<Ended> {
        tokio::select! {
            () = self.streams.known() => {}
            () = self.stop.wait() => return Err(self.interrupted(launch)),
        }
        let name = self.name(&launch.message_id);
        let memory = claim.memory();
        let order: Option<Order> = memory.stream.as_deref().and_then(|it| it.parse().ok());
        let found = self.cluster.stream(&name).await;
        let found = found.map_err(|refusal| refusal.about(format!("WorldStream {name}")))?;
        let found = found.as_ref().map(Seen::of);
        let mut order = order.unwrap_or_default();
        let known = memory.stream.is_some().then_some(&order);
        let (from, seen) = match next(found.as_ref(), known, memory.counted_from) {
            Next::Vanished => {
                warn!(stream = name, "a WorldStream was deleted by force");
                return Ok(Ended {
                    emitted: 0,
                    failure: None,
                    deleted: true,
                });
            }
            Next::Make => {
                claim
                    .remember(|memory| memory.counted_from = Some(0))
                    .await?;
                match self.make(&name, launch).await? {
                    Ok(seen) => (0, Some(seen)),
                    Err(failure) => {
                        return Ok(Ended {
                            emitted: 0,
                            failure: Some(failure),
                            deleted: false,
                        });
                    }
                }
            }
            Next::Retry { retry, from } => {
                order.retry = retry;
                order.uid = found.as_ref().map(|it| it.uid.clone()).unwrap_or_default();
                let noted = order.to_string();
                claim
                    .remember(|memory| {
                        memory.counted_from = Some(from);
                        memory.stream = Some(noted);
                    })
                    .await?;
                (from, self.retry(&name, retry).await?)
            }
            Next::Follow { from } => (from, found),
        };
        let Some(seen) = seen else {
            return Err(Refusal::Gone.about(format!("WorldStream {name}")));
        };
        if order.uid != seen.uid || memory.counted_from.is_none() {
            order.uid = seen.uid.clone();
            let noted = order.to_string();
            claim
                .remember(|memory| {
                    memory.counted_from = Some(from);
                    memory.stream = Some(noted);
                })
                .await?;
        }
        self.streams.expect(&seen);
        let ended = self.follow(launch, seen, &order).await?;
        Ok(Ended {
            emitted: ended.emitted.saturating_sub(from),
            ..ended
        })
    }

    async fn recorded(&self, message_id: &str, status: Status) -> Result<()> {
        let name = self.name(message_id);
        self.streams.known().await;
        // A message that was skipped or failed before has none.
        if self.streams.get(&name).is_some_and(|seen| seen.held()) {
            let released = self.change(&name, |seen| {
                seen.held().then(|| {
                    json!({"metadata": {
                        "finalizers": released(seen),
                        "annotations": {names::READY_RECORD: status.as_str()},
                    }})
                })
            });
            if let Some(seen) = released.await?
                && !seen.deleting
            {
                self.streams.take(seen);
            }
        }
        self.clear().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(phase: &str, retry: u64, retried: u64, sent: u64) -> Seen {
        Seen {
            uid: "u1".into(),
            phase: phase.into(),
            retry,
            retried,
            sent,
            ..Seen::default()
        }
    }

    #[test]
    fn a_message_has_one_worldstream_which_is_resumed_once_it_has_failed() {
        let order = |uid: &str, retry| Order {
            uid: uid.into(),
            retry,
        };
        let running = seen("Running", 0, 0, 9);
        let failed = seen("Failed", 0, 0, 40);
        let again = seen("Failed", 2, 2, 40);
        let (unmade, made) = (order("", 0), order("u1", 0));
        for (found, order, counted_from, expect) in [
            (None, None, None, Next::Make),
            // Remembered, and not made: a crash between the two.
            (None, Some(&unmade), Some(0), Next::Make),
            (None, Some(&made), Some(0), Next::Vanished),
            // Recorded as failed, and deleted since.
            (None, Some(&made), None, Next::Make),
            (
                Some(&running),
                Some(&made),
                Some(0),
                Next::Follow { from: 0 },
            ),
            // It ended while nobody looked.
            (
                Some(&failed),
                Some(&made),
                Some(0),
                Next::Follow { from: 0 },
            ),
            // It comes again after its record.
            (
                Some(&failed),
                Some(&made),
                None,
                Next::Retry { retry: 1, from: 40 },
            ),
            (
                Some(&again),
                Some(&made),
                None,
                Next::Retry { retry: 3, from: 40 },
            ),
            (
                Some(&failed),
                Some(&super::Order {
                    uid: "u1".into(),
                    retry: 1,
                }),
                Some(40),
                Next::Retry { retry: 1, from: 40 },
            ),
        ] {
            assert_eq!(
                next(found, order, counted_from),
                expect,
                "{found:?} {order:?}"
            );
        }
        // Being deleted, it is not tried again.
        let mut deleted = failed.clone();
        deleted.deleting = true;
        assert_eq!(
            next(Some(&deleted), Some(&made), None),
            Next::Follow { from: 0 }
        );
        let text = order("3f-1#2", 7).to_string();
        assert_eq!(text.parse(), Ok(order("3f-1#2", 7)));
    }
}
