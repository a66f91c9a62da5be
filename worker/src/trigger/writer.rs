//! Writes the trigger's status: what is new of it, at most every two seconds, and the position at
//! once, as a restart goes on from there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tracing::warn;
use worldstream_crds::names;

use super::cluster::Cluster;
use super::report::Report;
use crate::failure::{Failure, Result};
use crate::ready::{News, Observer, Positions};

/// Between two writes.
const EVERY: Duration = Duration::from_secs(2);
/// Between two attempts at one.
const PAUSE: Duration = Duration::from_secs(2);

/// The status, and its writer.
pub struct Writer {
    cluster: Cluster,
    report: Mutex<Report>,
    news: Notify,
    /// What was written last, and one writer at a time.
    written: tokio::sync::Mutex<Value>,
}

impl Writer {
    /// Writes to the trigger of this cluster what this report says.
    pub fn new(cluster: Cluster, report: Report) -> Self {
        Writer {
            cluster,
            report: Mutex::new(report),
            news: Notify::new(),
            written: tokio::sync::Mutex::new(Value::Null),
        }
    }

    /// Changes the report.
    pub fn change<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        let changed = change(&mut self.lock());
        self.news.notify_one();
        changed
    }

    /// Looks at the report.
    pub fn look<T>(&self, look: impl FnOnce(&Report) -> T) -> T {
        look(&self.lock())
    }

    /// Writes for ever.
    pub async fn write_on(&self) {
        loop {
            if let Err(failure) = self.write().await {
                warn!(%failure, "the status could not be written");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            self.news.notified().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Writes what is new, now.
    ///
    /// # Errors
    /// Where the API server does not take it.
    pub async fn write(&self) -> Result<()> {
        let mut written = self.written.lock().await;
        let status = self.lock().status(Timestamp::now());
        if status == *written {
            return Ok(());
        }
        let applied = self.cluster.apply_status(&status).await;
        applied
            .map_err(|refusal| refusal.about(format!("ReadyTrigger {}", self.cluster.trigger)))?;
        *written = status;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Writer {
    fn tell(&self, news: &News<'_>) {
        let trigger = &self.cluster.trigger.name;
        let stream = |id: &str| names::ready_stream(trigger, id);
        self.change(|report| report.take(news, Timestamp::now(), stream));
    }
}

impl Positions for Writer {
    fn load(&self) -> BoxFuture<'_, Result<Option<String>, Failure>> {
        let position = self.look(Report::position);
        std::future::ready(Ok(position)).boxed()
    }

    fn save<'a>(&'a self, position: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.change(|report| report.moved(position));
            self.write().await
        }
        .boxed()
    }
}
