//! The one connection of a process to its database, on a thread of its own: all leases send their
//! statements over it without waiting for one another, and their heartbeats go on whatever the
//! streams do. A connection that breaks is made anew by the next statement.
//!
//! Statements are unnamed and hold no state of the session, so that a pool between (PgBouncer in
//! transaction mode) may give each to another server connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use worldstream_crds::Reason;

use super::dsn::{self, Dsn};
use super::trouble::Trouble;
use crate::failure::{Failure, Result};
use crate::gate::tls;
use crate::plan::PostgresPlan;

/// How long the end of the process waits for leases to be given up.
const FAREWELL: Duration = Duration::from_secs(1);

/// The thread. When it is dropped, what was left to say is said, for a moment at most.
pub struct Link {
    line: Arc<Line>,
    handle: Handle,
    farewells: Option<mpsc::UnboundedSender<BoxFuture<'static, ()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Starts the thread; connects when the first statement is sent.
    pub fn start(plan: PostgresPlan) -> Result<Link> {
        let broken = |error: std::io::Error| {
            Failure::new(Reason::StreamFailed, "the checkpoint store's thread").cause(&error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(broken)?;
        let handle = runtime.handle().clone();
        let (farewells, mut queue) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    while let Some(farewell) = queue.recv().await {
                        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                            // The server is away: the leases end by themselves.
                            while queue.try_recv().is_ok() {}
                        }
                    }
                });
            })
            .map_err(broken)?;
        Ok(Link {
            line: Arc::new(Line {
                plan,
                slot: tokio::sync::Mutex::new(Slot::default()),
                connected_to: Mutex::new(None),
            }),
            handle,
            farewells: Some(farewells),
            thread: Some(thread),
        })
    }

    /// What statements are sent over.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Runs work on the thread. It goes on to its end if what is given back is dropped.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let running = self.handle.spawn(work);
        async move {
            running.await.unwrap_or_else(|error| {
                Err(Failure::new(Reason::StreamFailed, "the checkpoint store").cause(&error))
            })
        }
        .boxed()
    }

    /// Runs work on the thread until it is aborted.
    pub fn keep(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(work).abort_handle()
    }

    /// Runs work on the thread that the end of the process waits for.
    pub fn farewell(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(farewells) = &self.farewells {
            // The thread ends only after the last of them.
            let _ = farewells.send(work.boxed());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.farewells = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that its work did not.
            let _ = thread.join();
        }
    }
}

/// A parameter of a statement, with its type: the server is not asked for it.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Sends statements, and connects where need be. Used on the link's thread alone.
pub struct Line {
    plan: PostgresPlan,
    slot: tokio::sync::Mutex<Slot>,
    connected_to: Mutex<Option<String>>,
}

#[derive(Default)]
struct Slot {
    open: Option<Open>,
    /// The last attempt that failed: whoever waited for it need not try again.
    failed: Option<(Instant, Failure)>,
}

struct Open {
    client: Arc<Client>,
    connection: AbortHandle,
}

impl Line {
    /// One statement in a transaction of its own. It may have taken place although this fails.
    pub async fn query(&self, statement: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        let client = self.client().await?;
        self.judge(&client, client.query_typed(statement, params))
            .await
    }

    /// Statements without parameters in one transaction.
    pub async fn batch(&self, statements: &str) -> Result<(), Trouble> {
        let client = self.client().await?;
        self.judge(&client, client.batch_execute(statements)).await
    }

    /// `postgres at host:port, database name`, as far as it is known.
    pub fn name(&self) -> String {
        let name = self.connected_to.lock();
        name.unwrap_or_else(PoisonError::into_inner)
            .clone()
            .unwrap_or_else(|| "postgres".to_owned())
    }

    async fn judge<T>(
        &self,
        client: &Arc<Client>,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Trouble> {
        let trouble = match tokio::time::timeout(self.plan.timeout, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Trouble::Refused(error),
            Err(_) => Trouble::Silent(self.plan.timeout),
        };
        if client.is_closed() || trouble.wants_another_connection() {
            self.hang_up(client).await;
        }
        Err(trouble)
    }

    /// Gives a connection up, with everything that is under way on it.
    async fn hang_up(&self, client: &Arc<Client>) {
        let mut slot = self.slot.lock().await;
        if let Some(open) = slot.open.take_if(|open| Arc::ptr_eq(&open.client, client)) {
            open.connection.abort();
        }
    }

    async fn client(&self) -> Result<Arc<Client>, Trouble> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(open) = slot.open.take_if(|open| !open.client.is_closed()) {
            let client = open.client.clone();
            slot.open = Some(open);
            return Ok(client);
        }
        if let Some((at, failure)) = &slot.failed
            && *at >= asked
        {
            return Err(Trouble::Known(failure.clone()));
        }
        match self.connect().await {
            Ok(open) => {
                let client = open.client.clone();
                slot.open = Some(open);
                Ok(client)
            }
            Err(failure) => {
                slot.failed = Some((Instant::now(), failure.clone()));
                Err(Trouble::Known(failure))
            }
        }
    }

    async fn connect(&self) -> Result<Open> {
        let plan = &self.plan;
        let Dsn {
            mut config,
            name,
            root_certificates,
        } = dsn::read(&plan.dsn)?;
        let known = self.connected_to.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        let roots = plan.ca_file.as_ref().or(root_certificates.as_ref());
        let tls = tls::trusting(
            roots.map(|path| path.as_path()),
            "checkpoints.postgres.caFile",
        )?;
        config
            .connect_timeout(plan.timeout)
            .tcp_user_timeout(plan.timeout)
            .keepalives_idle(Duration::from_secs(30));
        let connecting = config.connect(MakeRustlsConnect::new(tls));
        match tokio::time::timeout(plan.timeout, connecting).await {
            Ok(Ok((client, connection))) => {
                let connection = tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "the connection to the checkpoint store ended");
                    }
                });
                tracing::debug!(name, "connected to the checkpoint store");
                Ok(Open {
                    client: Arc::new(client),
                    connection: connection.abort_handle(),
                })
            }
            Ok(Err(error)) => Err(Trouble::Refused(error).failure(&name, "connect")),
            Err(_) => Err(Trouble::Silent(plan.timeout).failure(&name, "connect")),
        }
    }
}
