//! What every store of checkpoints must do, of this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream::checkpoint::conformance::{self, Reference, Subject};
use worldstream::checkpoint::{CheckpointKey, CheckpointStore, Cursor, Holder, PostgresStore};
use worldstream::plan::{PostgresPlan, SecretSource};
use worldstream_tests::PostgresServer;

struct Database {
    server: PostgresServer,
    processes: AtomicU32,
}

impl Database {
    fn open(&self, job: Option<&str>) -> Arc<dyn CheckpointStore> {
        let dsn = self.server.private_file("dsn", &self.server.dsn());
        let number = self.processes.fetch_add(1, Ordering::Relaxed);
        let plan = PostgresPlan {
            dsn: SecretSource::File(dsn),
            ca_file: None,
            lease_term: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        };
        let holder = Holder {
            name: format!("process {number} of the test"),
            job: job.map(str::to_owned),
        };
        Arc::new(PostgresStore::new(plan, holder))
    }
}

impl Subject for Database {
    fn store(&self) -> Arc<dyn CheckpointStore> {
        self.open(None)
    }

    fn reference(&self) -> Option<&dyn Reference> {
        Some(self)
    }

    fn replacement(&self) -> Option<[Arc<dyn CheckpointStore>; 2]> {
        Some([self.open(Some("job-a/0")), self.open(Some("job-a/0"))])
    }
}

impl Reference for Database {
    fn write<'a>(&'a self, key: &'a CheckpointKey, cursor: &'a Cursor) -> BoxFuture<'a, ()> {
        async move {
            let cursor = serde_json::to_value(cursor).unwrap();
            self.server.reference_table();
            self.server
                .reference_writes(&key.scope_key(), &key.output_id, &cursor);
        }
        .boxed()
    }

    fn read<'a>(&'a self, key: &'a CheckpointKey) -> BoxFuture<'a, Option<Cursor>> {
        async move {
            self.server.reference_table();
            let found = self
                .server
                .reference_reads(&key.scope_key(), &key.output_id)?;
            Some(serde_json::from_value(found).unwrap())
        }
        .boxed()
    }
}

#[tokio::test]
async fn conforms() {
    let database = Database {
        server: PostgresServer::start(&[]),
        processes: AtomicU32::new(0),
    };
    conformance::run(&database).await;
}

/// Another Job is another stream, whatever its index.
#[tokio::test]
async fn a_replacement_is_one_of_the_same_job_and_index() {
    let database = Database {
        server: PostgresServer::start(&[]),
        processes: AtomicU32::new(0),
    };
    let key = conformance::key("jobs");
    let lease = database.open(Some("job-a/0")).take(&key).await.unwrap();
    for other in [Some("job-a/1"), Some("job-b/0"), None] {
        let Err(failure) = database.open(other).take(&key).await else {
            panic!("{other:?} took it");
        };
        let text = failure.message();
        assert!(text.contains("held by process 0 of the test"), "{text}");
        assert!(text.contains("runs until 20"), "{text}");
    }
    assert!(lease.hold().lost().is_none());
}
