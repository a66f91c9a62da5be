//! A message on its way through the seven steps, in their order (contracts section 8).
//!
//! Whatever is written is written so that a crash at any moment loses and doubles nothing: facts
//! are written once under ids of their own, the record comes last and only if there is none, and
//! the claim, which comes before the stream, remembers that one was begun.

use tokio::sync::SemaphorePermit;
use worldstream_crds::{ExitCode, Reason};

use super::claim::{Claim, Memory, Pending, Taken};
use super::consumer::Consumer;
use super::downstream;
use super::facts::RunFacts;
use super::failpoint::moment;
use super::governance::{Cancelled, Fact, FactPins};
use super::launch::{Ended, Launch, Launcher};
use super::message::Ready;
use super::news::{Conclusion, News, Wait};
use super::record::{ReadyRuns, Record, Recorded, Status};
use super::steps::{self, Ids};
use crate::audit::session::SESSION_FILE;
use crate::audit::{Event, Records, SessionLog};
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// A message's way. Kept while it waits for its turn, so that the turn is not lost.
#[derive(Default)]
pub(super) struct Walk<'s> {
    permit: Option<SemaphorePermit<'s>>,
}

/// How far a message went.
pub(super) enum Went {
    /// It is done with, for now or for good.
    Concluded(Box<Conclusion>),
    /// It waits, and has to go from the beginning again.
    Waits(Wait),
}

/// Where a message stands after step 3.
struct Known<'a> {
    ready: &'a Ready,
    facts: RunFacts,
    ids: Ids,
    pins: FactPins,
    runs: ReadyRuns,
    run: Records,
}

impl<'s> Walk<'s> {
    /// A stream may begin.
    pub(super) fn holds(&mut self, permit: Option<SemaphorePermit<'s>>) {
        self.permit = permit;
    }

    /// Takes a message through the steps.
    ///
    /// # Errors
    /// Where something of ours did not work: nothing is decided then.
    pub(super) async fn go<L: Launcher>(
        &mut self,
        consumer: &'s Consumer<'_, L>,
        ready: &Ready,
    ) -> Result<Went> {
        // Given back wherever this ends without a stream.
        let permit = self.permit.take();
        moment("read");
        let parts = consumer.parts();
        let id = ready.message_id.as_str();
        // The claim lies below the message's own run: one that was begun goes on there, whichever
        // run has become the active one since, and also where nobody says which.
        let own = ready.platform_run_id.as_deref();
        let memory = match own {
            Some(own) => parts.claims.look(&parts.place.run(own), id).await?,
            None => Memory::default(),
        };
        let active = match (memory.open, own) {
            (true, Some(own)) => own.to_owned(),
            _ => match parts.scope.active().await {
                Ok(active) => active,
                Err(why) => return Ok(Went::Waits(Wait::Scope(why))),
            },
        };
        let run = parts.place.run(&active);
        let runs = ReadyRuns::of(run.clone());

        // 1: it was recorded before.
        let before = recorded_before(&memory, &runs, id).await?;
        if !before.failed.is_empty() {
            let records = &before.failed;
            let message_id = id;
            consumer.tell(&News::FailedBefore {
                message_id,
                records,
            });
        }
        if let Some(done) = before.done {
            return duplicate(consumer, ready, Some(done)).await;
        }
        moment("not_recorded");

        // 2: the run facts.
        let facts = match consumer
            .facts
            .read(&consumer.schemas, &ready.facts_view_ref)
            .await
        {
            Ok(facts) => facts,
            Err(failure) if is_verdict(&failure) => {
                return failed(consumer, &runs, ready, failure, None).await;
            }
            Err(failure) => return Err(failure),
        };
        moment("facts_read");

        // 3: both sides name the same runs.
        let ids = match steps::agree(ready, &facts) {
            Ok(ids) => ids,
            Err(failure) => return failed(consumer, &runs, ready, failure, None).await,
        };
        let pins = FactPins::of(&ids, &facts);
        let known = Known {
            ready,
            facts,
            ids,
            pins,
            runs,
            run,
        };
        moment("agreed");

        if !memory.open {
            // 4: another platform run is the active one.
            if known.ids.platform_run_id != active {
                return known.out_of_scope(consumer, &active).await;
            }
            moment("in_scope");
            // 5: what must be up.
            let up = downstream::all(&parts.downstream, &known.ids.platform_run_id).await;
            if let Err(why) = up {
                return Ok(Went::Waits(Wait::Downstream(why)));
            }
            moment("downstream_ready");
        }

        // 6: the scenario and the world.
        let scenario = match steps::scenario(ready, &known.facts) {
            Ok(scenario) => scenario,
            Err(failure) => {
                let why = Cancelled::ScenarioMissing;
                return known.cancelled(consumer, failure, why, None).await;
            }
        };
        let configured = parts.plan.engine_run_root.as_deref();
        let root = match steps::run_root(ready, &known.facts, configured) {
            Ok(root) => root,
            Err(failure) => {
                let why = Cancelled::EngineRootMissing;
                return known
                    .cancelled(consumer, failure, why, Some(scenario))
                    .await;
            }
        };
        moment("world_named");

        // 7: stream it, and record.
        let Some(_permit) = permit.or_else(|| consumer.slots.try_acquire().ok()) else {
            return Ok(Went::Waits(Wait::Slot));
        };
        // In scope, or begun there: the message's own run and this one are the same.
        let claim = match parts.claims.take(&known.run, id).await? {
            Taken::Ours(claim) => claim,
            Taken::Theirs(who) => return Ok(Went::Waits(Wait::Claim(who))),
        };
        moment("claimed");
        // Whoever had the claim before us may have recorded it.
        let before = recorded_before(&claim.memory(), &known.runs, id).await?;
        if let Some(done) = before.done {
            claim.release().await;
            return duplicate(consumer, ready, Some(done)).await;
        }
        let launch = Launch {
            message_id: id.to_owned(),
            run_id: ready.run_id.clone(),
            platform_run_id: known.ids.platform_run_id.clone(),
            scenario_run_id: known.ids.scenario_run_id.clone(),
            scenario_id: scenario,
            engine_run_root: root,
        };
        let went = known.stream(consumer, &launch, &claim).await;
        claim.release().await;
        went
    }
}

/// Whether a failure to read the facts says something about them, and not about the store.
fn is_verdict(failure: &Failure) -> bool {
    failure.reason() == Reason::RunFactsInvalid && failure.exit_code() != ExitCode::Unavailable
}

/// What the records say of a message: one that was deleted half way is done with, too, and not
/// streamed again by itself.
async fn recorded_before(memory: &Memory, runs: &ReadyRuns, id: &str) -> Result<Recorded> {
    let mut found = runs.look(id).await?;
    if memory.deleted {
        found.done = Some(Status::Failed);
    }
    Ok(found)
}

/// A message that has its record, and which where that was read: nothing is written.
async fn duplicate<L: Launcher>(
    consumer: &Consumer<'_, L>,
    ready: &Ready,
    recorded: Option<Status>,
) -> Result<Went> {
    let status = Status::SkippedDuplicate;
    let launcher = consumer.parts().launcher;
    launcher.recorded(&ready.message_id, status).await?;
    Ok(Went::Concluded(Box::new(Conclusion {
        recorded,
        ..conclusion(ready, status)
    })))
}

/// A message that failed before a stream was begun.
async fn failed<L: Launcher>(
    consumer: &Consumer<'_, L>,
    runs: &ReadyRuns,
    ready: &Ready,
    failure: Failure,
    scenario: Option<String>,
) -> Result<Went> {
    let conclusion = Conclusion {
        reason: Some(failure.reason()),
        scenario_id: scenario,
        detail: Some(failure.message()),
        ..conclusion(ready, Status::Failed)
    };
    recorded(consumer, runs, ready, conclusion).await
}

/// Appends the record of a conclusion.
async fn recorded<L: Launcher>(
    consumer: &Consumer<'_, L>,
    runs: &ReadyRuns,
    ready: &Ready,
    mut conclusion: Conclusion,
) -> Result<Went> {
    let record = record(&conclusion);
    let message_id = ready.message_id.as_str();
    let at = record.ts_utc;
    consumer.tell(&News::Recording { message_id, at });
    let line = record.line()?;
    let appended = runs.append(message_id, line.as_bytes()).await?;
    moment("recorded");
    // Another trigger was faster: its record counts.
    if !appended {
        return duplicate(consumer, ready, None).await;
    }
    conclusion.recorded_at = Some(at);
    let launcher = consumer.parts().launcher;
    launcher.recorded(message_id, conclusion.status).await?;
    Ok(Went::Concluded(Box::new(conclusion)))
}

fn record(conclusion: &Conclusion) -> Record {
    Record {
        emitted: conclusion.emitted,
        engine_run_root: conclusion.engine_run_root.clone(),
        message_id: conclusion.message_id.clone(),
        reason: conclusion.reason,
        run_id: conclusion.run_id.clone(),
        scenario_id: conclusion.scenario_id.clone(),
        status: conclusion.status,
        ts_utc: EventTime::wall_now(),
    }
}

/// The conclusion that a record's line says; none if it is none.
fn of_record(ready: &Ready, line: &str) -> Option<Conclusion> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |field: &str| record[field].as_str().map(str::to_owned);
    let status = Status::ALL
        .into_iter()
        .find(|it| record["status"] == it.as_str())?;
    let reasons = Reason::ALL.iter().copied();
    Some(Conclusion {
        recorded_at: EventTime::parse_rfc3339(record["ts_utc"].as_str()?).ok(),
        reason: reasons
            .into_iter()
            .find(|it| record["reason"] == it.as_str()),
        emitted: record["emitted"].as_u64(),
        engine_run_root: text("engine_run_root"),
        scenario_id: text("scenario_id"),
        ..conclusion(ready, status)
    })
}

fn conclusion(ready: &Ready, status: Status) -> Conclusion {
    Conclusion {
        message_id: ready.message_id.clone(),
        run_id: ready.run_id.clone(),
        status,
        recorded: None,
        recorded_at: None,
        reason: None,
        emitted: None,
        engine_run_root: None,
        scenario_id: None,
        detail: None,
    }
}

impl Known<'_> {
    async fn out_of_scope<L: Launcher>(
        &self,
        consumer: &Consumer<'_, L>,
        active: &str,
    ) -> Result<Went> {
        let why = Cancelled::ScopeMismatch(active);
        self.cancel(consumer, why).await?;
        let conclusion = Conclusion {
            reason: Some(why.reason()),
            ..conclusion(self.ready, Status::SkippedOutOfScope)
        };
        recorded(consumer, &self.runs, self.ready, conclusion).await
    }

    async fn cancelled<L: Launcher>(
        &self,
        consumer: &Consumer<'_, L>,
        failure: Failure,
        why: Cancelled<'_>,
        scenario: Option<String>,
    ) -> Result<Went> {
        self.cancel(consumer, why).await?;
        failed(consumer, &self.runs, self.ready, failure, scenario).await
    }

    /// The fact comes before the record: what is recorded is never looked at again.
    async fn cancel<L: Launcher>(
        &self,
        consumer: &Consumer<'_, L>,
        why: Cancelled<'_>,
    ) -> Result<()> {
        let message_id = self.ready.message_id.as_str();
        let fact = Fact::Cancelled { message_id, why };
        consumer.governance.write(&self.pins, &fact).await
    }

    /// Streams the world and records how that ended, under the message's claim.
    async fn stream<L: Launcher>(
        &self,
        consumer: &Consumer<'_, L>,
        launch: &Launch,
        claim: &Claim,
    ) -> Result<Went> {
        let ready = self.ready;
        let (message_id, engine_run_root) = (&*launch.message_id, &*launch.engine_run_root);
        let before = claim.memory();
        if let Some(pending) = before.pending
            && let Some(conclusion) = of_record(ready, &pending.record)
        {
            return self.close(consumer, claim, pending, conclusion).await;
        }
        claim.remember(|memory| memory.open = true).await?;
        moment("claim_open");
        if !before.received {
            self.receive(before.open).await?;
            claim.remember(|memory| memory.received = true).await?;
        }
        let governance = &consumer.governance;
        let seen = Fact::ReadySeen(ready);
        governance.write(&self.pins, &seen).await?;
        let started = Fact::Started {
            message_id,
            engine_run_root,
        };
        governance.write(&self.pins, &started).await?;
        consumer.started(message_id, engine_run_root);
        moment("started");

        let launcher = consumer.parts().launcher;
        let ended = tokio::select! {
            ended = launcher.run(launch, claim) => ended?,
            () = claim.lost() => {
                return Err(Failure::new(Reason::CheckpointConflict, message_id)
                    .found("another holder's claim")
                    .expected("the one that the stream was begun with")
                    .exits(ExitCode::Fenced));
            }
        };
        moment("streamed");
        let Ended {
            emitted,
            failure,
            deleted,
        } = ended;
        let deletion = || {
            Failure::new(Reason::StreamFailed, message_id).detail("the stream was deleted half way")
        };
        let failure = failure.or_else(|| deleted.then(deletion));
        let status = match &failure {
            None => Status::Streamed,
            Some(_) => Status::Failed,
        };
        let reason = failure.as_ref().map(Failure::reason);
        let end = Fact::Ended {
            message_id,
            engine_run_root,
            status,
            reason,
            emitted,
        };
        governance.write(&self.pins, &end).await?;
        moment("ended");
        let conclusion = Conclusion {
            reason,
            emitted: Some(emitted),
            engine_run_root: Some(launch.engine_run_root.clone()),
            scenario_id: Some(launch.scenario_id.clone()),
            detail: failure.map(|failure| failure.message()),
            ..conclusion(ready, status)
        };
        let record = record(&conclusion);
        let conclusion = Conclusion {
            recorded_at: Some(record.ts_utc),
            ..conclusion
        };
        let pending = Pending {
            record: record.line()?,
            deleted,
        };
        // From now on this is what became of it, whoever writes the record in the end.
        let noted = claim.remember(|memory| memory.pending = Some(pending.clone()));
        noted.await?;
        moment("noted");
        self.close(consumer, claim, pending, conclusion).await
    }

    /// Appends the record of a stream that has ended, unless it is there, and closes the claim.
    async fn close<L: Launcher>(
        &self,
        consumer: &Consumer<'_, L>,
        claim: &Claim,
        pending: Pending,
        conclusion: Conclusion,
    ) -> Result<Went> {
        let message_id = self.ready.message_id.as_str();
        if let Some(at) = conclusion.recorded_at {
            consumer.tell(&News::Recording { message_id, at });
        }
        let line = pending.record.as_bytes();
        let appended = self.runs.append(message_id, line).await?;
        moment("recorded");
        let closed = claim.remember(|memory| {
            memory.open = false;
            memory.counted_from = None;
            memory.pending = None;
            memory.deleted = pending.deleted;
        });
        closed.await?;
        moment("closed");
        if !appended {
            return duplicate(consumer, self.ready, None).await;
        }
        let launcher = consumer.parts().launcher;
        launcher.recorded(message_id, conclusion.status).await?;
        Ok(Went::Concluded(Box::new(conclusion)))
    }

    /// Says in the run's session log that the message came, once. `doubtful`: it was begun before,
    /// and may have been said then.
    async fn receive(&self, doubtful: bool) -> Result<()> {
        let Ready {
            message_id, run_id, ..
        } = self.ready;
        if doubtful && self.was_received().await? {
            return Ok(());
        }
        let log = SessionLog::on(&self.run, &self.ids.platform_run_id)?;
        log.append(&Event::ready_received(message_id, run_id))?;
        log.flush().await
    }

    async fn was_received(&self) -> Result<bool> {
        let found = self.run.read(SESSION_FILE).await?.unwrap_or_default();
        Ok(found.split(|byte| *byte == b'\n').any(|line| {
            serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|event| {
                event["event_kind"] == "ready_received"
                    && event["details"]["message_id"] == *self.ready.message_id
            })
        }))
    }
}
