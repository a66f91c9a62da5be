//! Watches what streams and triggers are made of, and has each looked at when something of it
//! changes.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Config};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::api::{ApiError, api_resource};
use crate::build;
use crate::context::{Context, Watched};
use crate::index::Index;
use crate::reconcile;
use crate::trigger;
use crate::views::{Key, View};

/// How many streams are looked at at the same time.
const AT_ONCE: usize = 16;
/// How many triggers are.
const TRIGGERS_AT_ONCE: usize = 4;

/// Runs for as long as it is awaited: when this is dropped, nothing of it goes on. `namespaces`:
/// empty is all. Returns only if a part of it broke, and says what happened.
pub async fn run(client: Client, context: Arc<Context>, namespaces: &[String]) -> String {
    let mut tasks = JoinSet::new();
    let scopes: Vec<Option<String>> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.iter().cloned().map(Some).collect(),
    };
    let watches = scopes.len();
    for (number, scope) in scopes.into_iter().enumerate() {
        let scope = Scope {
            client: client.clone(),
            context: context.clone(),
            number,
            namespace: scope,
        };
        let (all, made) = (
            Config::default(),
            Config::default().labels(&build::made_here()),
        );
        let of_triggers = Config::default().labels(&trigger::made_for_one());
        let ours = |resource| scope.dynamic(resource);
        let all_of = |resource| (ours(resource), all.clone());
        tasks.spawn(scope.watch(all_of(&build::STREAM), |it| &it.streams, of_stream));
        tasks.spawn(scope.watch(all_of(&PROFILE), |it| &it.profiles, of_profile));
        tasks.spawn(scope.watch(all_of(&build::CLOCK), |it| &it.clocks, of_stream));
        let checkpoints = all_of(&build::CHECKPOINT);
        tasks.spawn(scope.watch(checkpoints, |it| &it.checkpoints, of_stream));
        let jobs = (scope.typed(), made.clone());
        tasks.spawn(scope.watch(jobs, |it| &it.jobs, of_stream));
        let pods = (scope.typed(), made.clone());
        tasks.spawn(scope.watch(pods, |it| &it.pods, of_stream));
        let of_all = all_of(&build::TRIGGER);
        tasks.spawn(scope.watch(of_all, |it| &it.triggers, of_trigger));
        let deployments = (scope.typed(), of_triggers.clone());
        tasks.spawn(scope.watch(deployments, |it| &it.deployments, of_trigger));
        let pods = (scope.typed(), of_triggers.clone());
        tasks.spawn(scope.watch(pods, |it| &it.trigger_pods, of_trigger));
    }
    // Nothing is decided before all is known: what is not seen yet would be made again.
    until(|| {
        let it = &context.watched;
        it.streams.complete(watches)
            && it.profiles.complete(watches)
            && it.clocks.complete(watches)
            && it.checkpoints.complete(watches)
            && it.jobs.complete(watches)
            && it.pods.complete(watches)
    })
    .await;
    tracing::info!("everything is listed; streams are looked at");
    context.metrics.ready(true);
    for _ in 0..AT_ONCE {
        tasks.spawn(look(context.clone()));
    }
    tasks.spawn(triggers(context.clone(), watches));
    loop {
        tell_phases(&context);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
            // They never end by themselves, and without one of them streams would be forgotten.
            Some(ended) = tasks.join_next() => return match ended {
                Ok(()) => "a watch ended".to_owned(),
                Err(error) => format!("a part of it broke: {error}"),
            },
        }
    }
}

/// Looks at triggers, once all that they are made of is known. A cluster whose definitions are
/// older than this program has none, and its streams go on.
async fn triggers(context: Arc<Context>, watches: usize) {
    until(|| {
        let it = &context.watched;
        it.triggers.complete(watches)
            && it.deployments.complete(watches)
            && it.trigger_pods.complete(watches)
    })
    .await;
    context
        .watched
        .triggers_known
        .store(true, Ordering::Relaxed);
    // Streams that are being deleted were kept waiting for this.
    context.watched.streams.each(|key, stream| {
        if stream.deleting {
            context.queue.now(key.clone());
        }
    });
    let looking = (0..TRIGGERS_AT_ONCE).map(|_| look_at_triggers(context.clone()));
    futures::future::join_all(looking).await;
}

async fn until(known: impl Fn() -> bool) {
    while !known() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What has to be looked at when these streams, or what they are made of, changed.
fn of_stream(context: &Context, touched: Vec<Key>) {
    touched.into_iter().for_each(|key| context.queue.now(key));
}

/// A profile concerns all streams and triggers that name it.
fn of_profile(context: &Context, touched: Vec<Key>) {
    let named = |key: &Key, profile: Option<&str>| {
        touched
            .iter()
            .any(|it| it.namespace == key.namespace && profile == Some(&it.name))
    };
    context.watched.streams.each(|key, stream| {
        if named(key, stream.spec.profile.as_deref()) {
            context.queue.now(key.clone());
        }
    });
    context.watched.triggers.each(|key, trigger| {
        if named(key, Some(&trigger.spec.profile)) {
            context.trigger_queue.now(key.clone());
        }
    });
}

/// A trigger concerns itself; one that is gone, the streams that wait for it to let them go.
fn of_trigger(context: &Context, touched: Vec<Key>) {
    context.watched.streams.each(|key, stream| {
        let by = |it: &Key| it.namespace == key.namespace && it.name == stream.trigger;
        if stream.deleting && touched.iter().any(by) {
            context.queue.now(key.clone());
        }
    });
    let queue = &context.trigger_queue;
    touched.into_iter().for_each(|key| queue.now(key));
}

const PROFILE: build::Resource = build::Resource {
    api_version: "worldstream.io/v1alpha1",
    kind: "StreamProfile",
    plural: "streamprofiles",
};

/// What is watched in one namespace, or in all.
struct Scope {
    client: Client,
    context: Arc<Context>,
    number: usize,
    namespace: Option<String>,
}

impl Scope {
    fn dynamic(&self, resource: &build::Resource) -> Api<DynamicObject> {
        let (client, resource) = (self.client.clone(), api_resource(resource));
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    fn typed<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Fills an index for ever, and has what is touched looked at.
    fn watch<V>(
        &self,
        (api, config): (Api<V::Raw>, Config),
        index: fn(&Watched) -> &Index<V>,
        touch: fn(&Context, Vec<Key>),
    ) -> impl Future<Output = ()> + Send + 'static
    where
        V: View,
        V::Raw: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (number, namespace) = (self.number, self.namespace.clone());
        let (context, config) = (self.context.clone(), config.page_size(500));
        async move {
            let mut failures = 0u32;
            let mut events = watcher::watcher(api, config).boxed();
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => {
                        failures = 0;
                        event
                    }
                    Err(error) => {
                        // The watcher begins anew when it is asked again.
                        failures += 1;
                        tracing::warn!(%error, "a watch ended, and begins anew");
                        let wait = Duration::from_millis(200 << failures.min(6));
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                };
                let touched = index(&context.watched).take(number, namespace.as_deref(), event);
                if !touched.is_empty() {
                    touch(&context, touched);
                }
            }
        }
    }
}

/// Looks at streams, one after the other.
async fn look(context: Arc<Context>) {
    loop {
        let key = context.queue.next().await;
        let begun = Instant::now();
        let outcome = reconcile::reconcile(&context, &key).await;
        let again = told(&context, &key, "stream", begun, outcome);
        context.metrics.queue(context.queue.due());
        context.queue.done(key, again);
    }
}

/// Looks at triggers, one after the other.
async fn look_at_triggers(context: Arc<Context>) {
    loop {
        let key = context.trigger_queue.next().await;
        let begun = Instant::now();
        let outcome = trigger::reconcile(&context, &key).await;
        let again = told(&context, &key, "trigger", begun, outcome);
        context.trigger_queue.done(key, again);
    }
}

/// Counts a look and tells of one that failed. Gives when to look again.
fn told(
    context: &Context,
    key: &Key,
    what: &str,
    begun: Instant,
    outcome: Result<Option<Duration>, ApiError>,
) -> Result<Option<Duration>, ()> {
    let kind = outcome.as_ref().err().map(|error| error.kind());
    context.metrics.reconciled(begun.elapsed(), kind);
    match outcome {
        Ok(again) => Ok(again),
        // Somebody wrote in between, or our memory is a moment behind: look again.
        Err(error) if error.kind() == "conflict" => {
            tracing::debug!(%error, what, name = key.name, "a write was late");
            Ok(Some(Duration::from_millis(100)))
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                namespace = key.namespace,
                what,
                name = key.name,
                "a look failed, and is repeated"
            );
            Err(())
        }
    }
}

fn tell_phases(context: &Context) {
    use std::collections::BTreeMap;
    use worldstream_crds::Phase;
    let all = [
        Phase::Pending,
        Phase::Verifying,
        Phase::Starting,
        Phase::Running,
        Phase::Paused,
        Phase::Held,
        Phase::Suspending,
        Phase::Suspended,
        Phase::Degraded,
        Phase::Completed,
        Phase::Failed,
    ];
    let mut counts: BTreeMap<Phase, i64> = all.into_iter().map(|phase| (phase, 0)).collect();
    context.watched.streams.each(|_, stream| {
        let phase = stream.status.phase.unwrap_or_default();
        *counts.entry(phase).or_default() += 1;
    });
    let named = counts
        .into_iter()
        .map(|(phase, count)| (format!("{phase:?}"), count));
    context.metrics.phases(named);
}
