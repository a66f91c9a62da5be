//! Watches what streams are made of, and has each stream looked at when something of it changes.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Config};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::api::{Server, api_resource};
use crate::build;
use crate::dereference::made_here;
use crate::events::Teller;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reconcile::{self, Pacer};
use crate::views::{CheckpointView, ClockView, JobView, PodView, ProfileView, StreamView, View};

/// What is watched.
#[derive(Default)]
pub struct Watched {
    /// WorldStreams.
    pub streams: Index<StreamView>,
    /// StreamProfiles.
    pub profiles: Index<ProfileView>,
    /// StreamClocks.
    pub clocks: Index<ClockView>,
    /// StreamCheckpoints.
    pub checkpoints: Index<CheckpointView>,
    /// Jobs that were made here.
    pub jobs: Index<JobView>,
    /// Their pods.
    pub pods: Index<PodView>,
}

/// Everything that a look at a stream needs.
pub struct Context {
    /// What is watched.
    pub watched: Watched,
    /// The API server.
    pub server: Server,
    /// Which streams wait.
    pub queue: Queue,
    /// The figures.
    pub metrics: Metrics,
    /// Events.
    pub teller: Teller,
    /// The worker image that the operator was installed with.
    pub image: String,
    /// When progress was written last.
    pub pacer: Pacer,
}

/// How many streams are looked at at the same time.
const AT_ONCE: usize = 16;

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
        let (all, made) = (Config::default(), Config::default().labels(&made_here()));
        let ours = |resource| dynamic(&client, resource, scope.as_deref());
        let spawn = |context: &Arc<Context>| (context.clone(), scope.clone());
        let (it, namespace) = spawn(&context);
        tasks.spawn(watch(
            ours(&build::STREAM),
            all.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.streams,
            false,
        ));
        let (it, namespace) = spawn(&context);
        tasks.spawn(watch(
            ours(&PROFILE),
            all.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.profiles,
            true,
        ));
        let (it, namespace) = spawn(&context);
        tasks.spawn(watch(
            ours(&build::CLOCK),
            all.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.clocks,
            false,
        ));
        let (it, namespace) = spawn(&context);
        tasks.spawn(watch(
            ours(&build::CHECKPOINT),
            all.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.checkpoints,
            false,
        ));
        let (it, namespace) = spawn(&context);
        let jobs: (Api<Job>, ()) = (typed(&client, scope.as_deref()), ());
        tasks.spawn(watch(
            jobs,
            made.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.jobs,
            false,
        ));
        let (it, namespace) = spawn(&context);
        let pods: (Api<Pod>, ()) = (typed(&client, scope.as_deref()), ());
        tasks.spawn(watch(
            pods,
            made.clone(),
            number,
            namespace,
            it,
            |it| &it.watched.pods,
            false,
        ));
    }
    // Nothing is decided before all is known: what is not seen yet would be made again.
    loop {
        let it = &context.watched;
        let known = it.streams.complete(watches)
            && it.profiles.complete(watches)
            && it.clocks.complete(watches)
            && it.checkpoints.complete(watches)
            && it.jobs.complete(watches)
            && it.pods.complete(watches);
        if known {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::info!("everything is listed; streams are looked at");
    context.metrics.ready(true);
    for _ in 0..AT_ONCE {
        tasks.spawn(look(context.clone()));
    }
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

const PROFILE: build::Resource = build::Resource {
    api_version: "worldstream.io/v1alpha1",
    kind: "StreamProfile",
    plural: "streamprofiles",
};

fn dynamic(
    client: &Client,
    resource: &build::Resource,
    namespace: Option<&str>,
) -> (Api<DynamicObject>, kube::core::ApiResource) {
    let resource = api_resource(resource);
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    (api, resource)
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Fills an index. A profile concerns all streams that name it.
async fn watch<V, D>(
    api: (Api<V::Raw>, D),
    config: Config,
    number: usize,
    namespace: Option<String>,
    context: Arc<Context>,
    index: fn(&Context) -> &Index<V>,
    profiles: bool,
) where
    V: View,
    V::Raw: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    D: Send,
{
    let config = config.page_size(500);
    let mut failures = 0u32;
    let mut events = watcher::watcher(api.0, config).boxed();
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
        let touched = index(&context).take(number, namespace.as_deref(), event);
        if profiles && !touched.is_empty() {
            context.watched.streams.each(|key, stream| {
                let named = touched.iter().any(|profile| {
                    profile.namespace == key.namespace
                        && stream.spec.profile.as_deref() == Some(&profile.name)
                });
                if named {
                    context.queue.now(key.clone());
                }
            });
        } else if !profiles {
            touched.into_iter().for_each(|key| context.queue.now(key));
        }
    }
}

/// Looks at streams, one after the other.
async fn look(context: Arc<Context>) {
    loop {
        let key = context.queue.next().await;
        let begun = Instant::now();
        let outcome = reconcile::reconcile(&context, &key).await;
        let kind = outcome.as_ref().err().map(|error| error.kind());
        context.metrics.reconciled(begun.elapsed(), kind);
        context.metrics.queue(context.queue.due());
        let outcome = match outcome {
            Ok(again) => Ok(again),
            // Somebody wrote in between, or our memory is a moment behind: look again.
            Err(error) if error.kind() == "conflict" => {
                tracing::debug!(%error, stream = key.name, "a write was late");
                Ok(Some(Duration::from_millis(100)))
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    namespace = key.namespace,
                    stream = key.name,
                    "a look failed, and is repeated"
                );
                Err(())
            }
        };
        context.queue.done(key, outcome);
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
