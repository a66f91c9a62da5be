//! A task that reads a bus on the stores' thread, and the end that arrivals come out of.

use std::future::Future;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::store;

/// What is read ahead of whoever asks; a message is small, and may be a MiB.
const AHEAD: usize = 16;

/// A reader that runs until this is dropped.
pub(super) struct Feed<T> {
    receiver: Receiver<Result<T>>,
    task: JoinHandle<()>,
    ended: Option<Failure>,
}

/// Where a reader puts what it has read, in order. An error is the last thing.
pub(super) type Out<T> = Sender<Result<T>>;

impl<T: Send + 'static> Feed<T> {
    /// Starts a reader.
    pub fn start<F>(read: impl FnOnce(Out<T>) -> F) -> Result<Feed<T>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(AHEAD);
        Ok(Feed {
            receiver,
            task: store::io()?.spawn(read(sender)),
            ended: None,
        })
    }

    /// The next thing; waits for one. A future that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<T> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let next = self.receiver.recv().await.unwrap_or_else(|| {
            Err(Failure::new(Reason::StreamFailed, "the control bus")
                .detail("its reader has ended"))
        });
        if let Err(failure) = &next {
            self.ended = Some(failure.clone());
        }
        next
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
