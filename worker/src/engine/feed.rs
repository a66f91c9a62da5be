//! The feed of a lane: decodes Parquet and encodes envelopes on a thread of its own, behind a
//! channel of two batches, so that no CPU work runs where requests are sent and memory stays
//! bounded.

use tokio::sync::mpsc;
use worldstream_crds::Reason;

use crate::envelope::{Encoder, EnvelopeContext, EventBatch};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::sched;
use crate::view::{ReadLimits, ResumeAt, RowReader, ViewPlan};
use crate::world::WorldStore;

/// Batches that wait between the decoding thread and the sender.
const WAITING: usize = 2;

/// What comes out of a view.
#[derive(Debug)]
pub enum Feed {
    /// Envelopes, in view order.
    Batch(EventBatch),
    /// Everything of the range was handed out.
    End,
    /// Something is wrong with the view or a row; everything before it was handed out.
    Failed(Failure),
}

/// What a feed reads and makes.
#[derive(Debug)]
pub struct FeedJob {
    /// The world.
    pub store: WorldStore,
    /// The view.
    pub view: ViewPlan,
    /// Where to go on.
    pub resume: Option<ResumeAt>,
    /// Readers of this output, which share what may be read ahead: its lanes here.
    pub readers: u32,
    /// Which rows.
    pub range: RangePlan,
    /// What is the same in every envelope.
    pub context: EnvelopeContext,
}

/// Starts the thread. It ends when everything was handed out, at the first failure, or when the
/// receiver is dropped.
pub fn start(job: FeedJob) -> Result<mpsc::Receiver<Feed>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let object = job.view.folder.clone();
    std::thread::Builder::new()
        .name("feed".to_owned())
        .spawn(move || {
            sched::works_ahead();
            let last = match run(job, &sender) {
                Ok(last) => last,
                Err(failure) => Feed::Failed(failure),
            };
            // A receiver that is gone wants no more.
            let _ = sender.blocking_send(last);
        })
        .map_err(|error| {
            Failure::new(Reason::StreamFailed, object)
                .detail(format!("no thread to read it: {error}"))
        })?;
    Ok(receiver)
}

fn run(job: FeedJob, sender: &mpsc::Sender<Feed>) -> Result<Feed> {
    let mut encoder = Encoder::new(job.context)?;
    let mut reader = RowReader::open(
        &job.store,
        &job.view,
        job.resume,
        job.range,
        ReadLimits::shared(&job.store, job.readers),
    )?;
    while let Some(rows) = reader.next()? {
        // The reader only hands out rows of parts that are in the plan.
        let part = &job.view.parts[rows.first.part].name;
        let encoded = encoder.encode(&rows, part, &job.range);
        if !encoded.batch.events.is_empty()
            && sender.blocking_send(Feed::Batch(encoded.batch)).is_err()
        {
            return Ok(Feed::End);
        }
        if let Some(failure) = encoded.failure {
            return Err(failure);
        }
    }
    Ok(Feed::End)
}
