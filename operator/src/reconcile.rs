//! One look at a stream, as the sum of its steps: dereference (reads), validate, decide (pure),
//! apply (writes), status.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use worldstream_crds::{ConditionReason, StreamProfileSpec, WorldStreamStatus};

use crate::api::{ApiError, MANAGER};
use crate::apply::{carry_out, write_status};
use crate::context::Context;
use crate::decide::decide;
use crate::dereference::dereference;
use crate::events;
use crate::invalid::Invalid;
use crate::picture::Picture;
use crate::runs;
use crate::situation::Situation;
use crate::status::{derive, differs};
use crate::trigger;
use crate::validate::{live, validate};
use crate::views::{Key, StreamView};

/// Looks at a stream. Gives when to look again although nothing changed.
///
/// Errors: what the API server refuses, or its absence; the look is repeated.
pub async fn reconcile(context: &Context, key: &Key) -> Result<Option<Duration>, ApiError> {
    let found = dereference(&context.watched, &context.server, key, Timestamp::now()).await?;
    let Some(found) = found else {
        context.pacer.forget(key);
        return Ok(None);
    };
    let mut stream = found.stream.clone();
    if runs::known(&stream).is_none() {
        let (runs, streams) = (&context.runs, &context.watched.streams);
        let run = runs.make(&stream, streams, Timestamp::now());
        Arc::make_mut(&mut stream).spec.platform_run_id = Some(run);
    }
    if stream.deleting {
        // Its children are owned by it: once it is gone the cluster removes them, and their pods
        // drain. One that somebody still has to record is drained here before that.
        if !trigger::let_go(context, &stream).await? {
            return Ok(None);
        }
        Arc::make_mut(&mut stream).spec.suspend = true;
    }
    let stream = &*stream;
    let validated = validate(
        stream,
        found.profile.as_deref(),
        &found.texts,
        &context.image,
    );
    let fallback = StreamProfileSpec::default();
    let profile = found.profile.as_ref().map_or(&fallback, |it| &it.spec);
    let live = live(stream, profile);
    // What takes effect at a moment is decided at the last one: reading may have taken a while.
    let now = Timestamp::now();
    let decision = decide(&Situation {
        stream,
        validated: &validated,
        live: &live,
        rival: found.rival,
        clock: found.clock,
        checkpoints: found.checkpoints,
        jobs: found.jobs,
        pods: found.pods,
        now,
        manager: MANAGER,
    });
    let status = derive(&decision.picture, &stream.status, stream.generation, now);
    // An end is on record before anything that belongs to it may be cleaned up.
    for action in &decision.todo {
        tracing::debug!(
            namespace = key.namespace,
            stream = key.name,
            ?action,
            "to do"
        );
        let done = carry_out(&context.server, stream, action).await;
        if let Err(error @ ApiError::NotOurs { .. }) = &done
            && stream.status.started_at.is_none()
        {
            let mut picture = Picture::before(stream, &live);
            let reason = ConditionReason::NameTaken.as_str();
            picture.accepted = Err(Invalid::new(reason, error.to_string()));
            let status = derive(&picture, &stream.status, stream.generation, now);
            say(context, stream, &status).await?;
        }
        done?;
    }
    let mut again = decision.again;
    if status != stream.status {
        let waits = match differs(&stream.status, &status) {
            true => None,
            false => context.pacer.wait(key),
        };
        match waits {
            Some(wait) => again = Some(again.map_or(wait, |known| known.min(wait))),
            None => say(context, stream, &status).await?,
        }
    }
    Ok(again)
}

/// Writes a status, if it says something new, and tells what happened.
async fn say(
    context: &Context,
    stream: &StreamView,
    status: &WorldStreamStatus,
) -> Result<(), ApiError> {
    if *status == stream.status {
        return Ok(());
    }
    write_status(&context.server, stream, status).await?;
    context.pacer.written(&stream.key);
    for told in events::between(&stream.status, status) {
        context.teller.tell(stream, &told);
    }
    Ok(())
}
