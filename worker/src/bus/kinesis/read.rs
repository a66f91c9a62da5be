//! Reading one shard, in order, to its end.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

use super::Item;
use super::client::{Batch, Start, Stream, arrival};
use super::ledger::{Seq, ShardId};
use super::trouble::Trouble;
use crate::bus::backoff::Backoff;
use crate::bus::feed::Out;
use crate::bus::troubles::Troubles;

/// How often a shard is read. Kinesis lets all readers of a shard together read it five times a
/// second; this leaves one of the five to others, and a message waits an eighth of a second for us
/// on average.
const INTERVAL: Duration = Duration::from_millis(250);
/// How seldom, where more readers share it.
const SELDOM: Duration = Duration::from_secs(5);

/// How often a number must be unknown until that is believed: a stream may be on its way back.
const UNKNOWN: u32 = 3;

/// How reading ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The shard has ended, and all of it was given.
    Ended,
    /// There is no such shard, or no such stream; all up to here was given.
    Lost(Start),
    /// Nobody listens.
    Closed,
}

/// Tells the time of the next read: not before its turn, and less often while readers are told
/// that they are too many.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn new() -> Self {
        Pace {
            interval: INTERVAL,
            last: None,
        }
    }

    async fn turn(&mut self) {
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + self.interval).await;
        }
        self.last = Some(Instant::now());
    }

    fn worked(&mut self) {
        self.interval = self.interval.mul_f64(0.9).max(INTERVAL);
    }

    /// Twice as seldom, with a random part, so that readers that share a shard drift apart.
    fn throttled(&mut self) {
        let doubled = self.interval.mul_f64(1.5 + crate::gate::random());
        self.interval = doubled.min(SELDOM);
    }
}

/// Reads a shard. `tip` is told each time when nothing is left to be read.
pub(super) async fn read(
    stream: Stream,
    shard: ShardId,
    mut start: Start,
    out: Out<Item>,
    tip: impl Fn(&ShardId),
    troubles: Troubles,
) -> (ShardId, Outcome) {
    let mut backoff = Backoff::new(
        format!("{}, {shard}", stream.title()),
        Duration::from_millis(200),
        &troubles,
    );
    let mut pace = Pace::new();
    let outcome = loop {
        let iterator = match iterator(&stream, &shard, &mut start, &out, &mut backoff).await {
            Ok(iterator) => iterator,
            Err(outcome) => break outcome,
        };
        let mut next = Some(iterator);
        // As long as this iterator and its successors are good.
        while let Some(iterator) = &next {
            pace.turn().await;
            let batch = match stream.records(iterator).await {
                Ok(batch) => batch,
                Err(error) => match error.trouble {
                    Trouble::Expired => break,
                    // An iterator of another time, or of a shard that is gone.
                    Trouble::Argument | Trouble::Missing => {
                        tokio::time::sleep(backoff.failed(&error)).await;
                        break;
                    }
                    Trouble::Throttled => {
                        pace.throttled();
                        backoff.failed(&error);
                        continue;
                    }
                    Trouble::Refused | Trouble::Distrusted | Trouble::Away => {
                        tokio::time::sleep(backoff.failed(&error)).await;
                        continue;
                    }
                },
            };
            backoff.worked();
            pace.worked();
            let at_the_tip = batch.at_the_tip;
            next = match give(&shard, batch, &mut start, &out).await {
                Ok(next) => next,
                Err(outcome) => return (shard, outcome),
            };
            if at_the_tip {
                tip(&shard);
            }
        }
        if next.is_none() {
            break Outcome::Ended;
        }
    };
    (shard, outcome)
}

/// Gives a batch's records; the iterator of the next read.
async fn give(
    shard: &ShardId,
    batch: Batch,
    start: &mut Start,
    out: &Out<Item>,
) -> Result<Option<String>, Outcome> {
    for record in batch.records {
        let published = arrival(&record);
        let seq = Seq::from(record.sequence_number());
        let item = Item::Record {
            shard: shard.clone(),
            seq: seq.clone(),
            bytes: Bytes::from(record.data.into_inner()),
            published,
        };
        out.send(Ok(item)).await.map_err(|_| Outcome::Closed)?;
        *start = Start::After(seq);
    }
    Ok(batch.next)
}

/// An iterator for what comes next. A number that the shard does not know is of another shard of
/// its name, or older than all that is kept: the shard is read from its beginning.
async fn iterator(
    stream: &Stream,
    shard: &ShardId,
    start: &mut Start,
    out: &Out<Item>,
    backoff: &mut Backoff,
) -> Result<String, Outcome> {
    // How often the number was said to be unknown while the shard was there.
    let mut unknown = 0;
    loop {
        let error = match stream.iterator(shard, start).await {
            Ok(iterator) => return Ok(iterator),
            Err(error) => error,
        };
        match (error.trouble, &*start) {
            (Trouble::Missing, Start::Beginning) => return Err(Outcome::Lost(start.clone())),
            // Some say of a number that there is no such thing.
            (Trouble::Missing | Trouble::Argument, Start::After(seq)) => {
                let listed = stream.shards().await;
                if !listed.is_ok_and(|listed| listed.iter().any(|it| it.id == *shard)) {
                    return Err(Outcome::Lost(start.clone()));
                }
                unknown += 1;
                if unknown < UNKNOWN {
                    tokio::time::sleep(backoff.failed(&error)).await;
                    continue;
                }
                warn!(bus = stream.title(), %shard, %seq, %error, "a position that the control bus does not know, reading from the beginning");
                *start = Start::Beginning;
                let shard = shard.clone();
                let anew = out.send(Ok(Item::Anew { shard })).await;
                anew.map_err(|_| Outcome::Closed)?;
            }
            _ => tokio::time::sleep(backoff.failed(&error)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttled_readers_read_less_often_and_come_back() {
        let mut pace = Pace::new();
        pace.throttled();
        assert!(pace.interval >= INTERVAL * 3 / 2, "{pace:?}");
        for _ in 0..20 {
            pace.throttled();
        }
        assert_eq!(pace.interval, SELDOM);
        for _ in 0..40 {
            pace.worked();
        }
        assert_eq!(pace.interval, INTERVAL);
    }
}
