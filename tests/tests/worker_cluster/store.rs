//! StreamCheckpoints as a store of cursors: the conformance suite, and an API server that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{Api, PostParams};
use worldstream::Failure;
use worldstream::checkpoint::conformance::{self, Reference, Subject};
use worldstream::checkpoint::kubernetes::checkpoint_of;
use worldstream::checkpoint::{
    Capabilities, Checkpoint, CheckpointKey, CheckpointStore, KubernetesStore, Lease,
};
use worldstream::cluster::access::Access;
use worldstream::cluster::record::{Pod, Record};
use worldstream_crds::{OutputRole, StreamCheckpoint, StreamCheckpointSpec, WorkerState, names};
use worldstream_tests::apiserver::{ApiServer, blocking};
use worldstream_tests::stream::until;

use crate::stage::{LONG, Stage, TRAFFIC};

const NAMESPACE: &str = "default";

/// One pod's view of all checkpoints: what the operator makes is made when it is first asked for.
struct AnyCheckpoint {
    access: Access,
    api: Api<StreamCheckpoint>,
    pod: Pod,
}

impl AnyCheckpoint {
    async fn made(&self, key: &CheckpointKey) -> String {
        let name = format!(
            "c-{}",
            names::short_hash(&[&key.scope_key(), &key.output_id])
        );
        let spec = StreamCheckpointSpec {
            stream: "conformance".into(),
            output: key.output_id.clone(),
            role: OutputRole::Context,
            lane: key.lane.index,
            lanes: key.lane.count,
            attempt: key.attempt.clone(),
            platform_run_id: key.platform_run_id.clone(),
        };
        // It may be there already.
        let _ = self
            .api
            .create(&PostParams::default(), &StreamCheckpoint::new(&name, spec))
            .await;
        name
    }
}

impl CheckpointStore for AnyCheckpoint {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            fences: true,
            server: true,
            largest_row: i64::MAX as u64,
        }
    }

    fn take<'a>(
        &'a self,
        key: &'a CheckpointKey,
    ) -> BoxFuture<'a, Result<Box<dyn Lease>, Failure>> {
        async move {
            let name = self.made(key).await;
            let patience = Duration::from_secs(2);
            let record = Record::take(&self.access, &name, self.pod.clone(), patience).await?;
            KubernetesStore::of(record).take(key).await
        }
        .boxed()
    }

    fn peek<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Result<Checkpoint, Failure>> {
        async move {
            let name = self.made(key).await;
            let found = self.api.get(&name).await.unwrap();
            checkpoint_of(&name, &found.status.unwrap_or_default())
        }
        .boxed()
    }
}

struct Pods {
    access: Access,
    api: Api<StreamCheckpoint>,
    count: AtomicU32,
}

impl Pods {
    /// As the next pod sees it, of a Job.
    fn open(&self, job: &str, count: u32) -> Arc<dyn CheckpointStore> {
        Arc::new(AnyCheckpoint {
            access: self.access.clone(),
            api: self.api.clone(),
            pod: Pod {
                name: format!("{job}-0-{count}"),
                uid: format!("uid-{count}"),
                job: Some(job.to_owned()),
                gone: Vec::new(),
            },
        })
    }

    fn number(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

impl Subject for Pods {
    fn store(&self) -> Arc<dyn CheckpointStore> {
        let count = self.number();
        self.open(&format!("job-{count}"), count)
    }

    fn replacement(&self) -> Option<[Arc<dyn CheckpointStore>; 2]> {
        Some([0; 2].map(|_| self.open("replaced", self.number())))
    }

    fn reference(&self) -> Option<&dyn Reference> {
        None
    }
}

/// The suite that every store passes, against a real API server.
pub fn stream_checkpoints_are_a_store_like_any_other(server: &ApiServer) {
    blocking(async {
        let client = server.client().await;
        let pods = Pods {
            access: Access::of(client.clone(), NAMESPACE),
            api: Api::namespaced(client, NAMESPACE),
            count: AtomicU32::new(0),
        };
        conformance::run(&pods).await;
    });
}

/// While the API server is away a stream goes on for `maxUnsaved`, then waits, says so, and goes
/// on by itself: no event is lost, and none is sent twice.
pub fn an_api_server_that_is_away_is_waited_for() {
    let server = ApiServer::start();
    let rows = 4_000;
    let stage = Stage::new(
        &server,
        "outage",
        rows,
        &["--fault", "latency=2ms"],
        |plan| {
            Stage::only_traffic(plan);
            plan.checkpoint.max_unsaved = Duration::from_secs(3);
            // A bound of the number would stop it much earlier.
            plan.checkpoint.flush_every = 5;
        },
    );
    stage.preflight().expect(0);
    stage.start_unpaced();
    let worker = stage.worker(TRAFFIC);
    until("a cursor is saved", || {
        stage.status(TRAFFIC).cursor.is_some()
    });
    server.down();
    let at_outage = stage.arrivals(TRAFFIC).len();
    let mut seen = 0;
    let mut still = 0;
    until("the stream waits", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = stage.arrivals(TRAFFIC).len();
        still = if now == seen { still + 1 } else { 0 };
        seen = now;
        still > 20
    });
    assert!(seen > at_outage + 50, "it went on: {at_outage}, {seen}");
    assert!(seen < rows as usize, "it waited: {seen}");
    let said = worker.stderr();
    assert!(said.contains("could not be saved, trying again"), "{said}");
    server.up();
    worker.finish_within(LONG).expect(0);
    let status = stage.status(TRAFFIC);
    assert_eq!(status.state, Some(WorkerState::Finished));
    assert_eq!((status.epoch, status.store_away_since), (1, None));
    let pushes = stage.pushes_by_event(TRAFFIC);
    assert_eq!(pushes.len() as u64, rows);
    assert!(pushes.values().all(|count| *count == 1));
}
