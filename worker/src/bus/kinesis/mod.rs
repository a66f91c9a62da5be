//! The Kinesis bus: every shard from its beginning or the position, shards that were split or
//! merged in the order of their generations, and outages waited for.

mod client;
mod ledger;
mod read;
mod shards;
mod trouble;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};
use worldstream_crds::Reason;

use self::client::{Listed, Stream};
use self::ledger::{Ledger, Marks, Seq, ShardId};
use self::read::Outcome;
use self::shards::Shards;
use self::trouble::Trouble;
use super::backoff::Backoff;
use super::feed::{Feed, Out};
use super::troubles::Troubles;
use super::{Arrival, Bus, Message, Place};
use crate::failure::{Failure, Result};
use crate::plan::ready::KinesisBusPlan;
use crate::store;
use crate::time::EventTime;

/// How often shards are listed, beside whenever one ends.
const LISTED: Duration = Duration::from_secs(10);
/// For so long a stream that was there may be away, as while it is made anew.
const MISSING: Duration = Duration::from_secs(60);
/// For so long publishing is tried.
const PUBLISHING: Duration = Duration::from_secs(60);

/// What the reader tells, in order.
#[derive(Debug)]
enum Item {
    Record {
        shard: ShardId,
        seq: Seq,
        bytes: Bytes,
        published: Option<EventTime>,
    },
    /// A shard is read from its beginning, whatever the position said.
    Anew {
        shard: ShardId,
    },
    /// A shard has ended, and all of it was given.
    Ended {
        shard: ShardId,
        first: Seq,
    },
    /// These are all shards that there are.
    Listed(BTreeSet<ShardId>),
    CaughtUp,
}

/// A stream that is read.
pub(super) struct KinesisBus {
    feed: Feed<Item>,
    ledger: Ledger,
    limit: u64,
    troubles: Troubles,
}

impl KinesisBus {
    /// Starts to read.
    pub fn open(plan: &KinesisBusPlan, limit: u64, position: Option<&str>) -> Result<KinesisBus> {
        let stream = Stream::open(plan)?;
        let marks = position.map(|text| (text, ledger::read(text, &plan.stream)));
        if let Some((text, None)) = &marks {
            let position: String = text.chars().take(200).collect();
            warn!(
                bus = stream.title(),
                position, "a position that is not of this control bus is passed over"
            );
        }
        let marks = marks.and_then(|(_, marks)| marks).unwrap_or_default();
        let ledger = Ledger::new(&plan.stream, marks.clone());
        let troubles = Troubles::default();
        let feed = Feed::start(|out| Reader::new(stream, out, marks, troubles.clone()).run())?;
        Ok(KinesisBus {
            troubles,
            feed,
            ledger,
            limit,
        })
    }

    /// What an item is to whoever asks; none where it is only for the books.
    fn enter(&mut self, item: Item) -> Option<Arrival> {
        match item {
            Item::Record {
                shard,
                seq,
                bytes,
                published,
            } => {
                self.ledger.given(&shard, &seq);
                let place = Place {
                    source: shard,
                    at: seq.0,
                };
                let length = bytes.len() as u64;
                return Some(match length > self.limit {
                    true => Arrival::TooLarge {
                        place,
                        bytes: length,
                        limit: self.limit,
                        published,
                    },
                    false => Arrival::Message(Message {
                        place,
                        bytes,
                        published,
                    }),
                });
            }
            Item::CaughtUp => return Some(Arrival::CaughtUp),
            Item::Anew { shard } => self.ledger.anew(&shard),
            Item::Ended { shard, first } => self.ledger.ended(&shard, &first),
            Item::Listed(shards) => self.ledger.keep(&shards),
        }
        None
    }
}

impl Bus for KinesisBus {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival>> {
        Box::pin(async {
            loop {
                let item = self.feed.next().await?;
                // Nothing is waited for between the two.
                if let Some(arrival) = self.enter(item) {
                    return Ok(arrival);
                }
            }
        })
    }

    fn settle(&mut self, place: &Place) {
        self.ledger.settle(&place.source, &Seq(place.at.clone()));
    }

    fn position(&self) -> Option<String> {
        self.ledger.position()
    }

    fn trouble(&self) -> Option<String> {
        self.troubles.lasting(Instant::now())
    }
}

/// Lists shards, and has each read when its time has come.
struct Reader {
    stream: Stream,
    out: Out<Item>,
    shards: Shards,
    reading: JoinSet<(ShardId, Outcome)>,
    backoff: Backoff,
    troubles: Troubles,
    /// It has answered once; and since when there is no such stream any more.
    answered: bool,
    missing: Option<Instant>,
}

/// Nobody listens, or an error was the last thing that was said.
struct Closed;

impl Reader {
    fn new(stream: Stream, out: Out<Item>, marks: Marks, troubles: Troubles) -> Self {
        Reader {
            backoff: Backoff::new(stream.title(), Duration::from_millis(200), &troubles),
            troubles,
            stream,
            out,
            shards: Shards::new(marks),
            reading: JoinSet::new(),
            answered: false,
            missing: None,
        }
    }

    async fn run(mut self) {
        // All that is read ends with this.
        let Err(Closed) = self.read().await;
    }

    async fn read(&mut self) -> std::result::Result<std::convert::Infallible, Closed> {
        let (tip, mut tips) = mpsc::unbounded_channel::<ShardId>();
        let mut caught_up = false;
        loop {
            let listed = self.list().await?;
            let ids = listed.iter().map(|shard| shard.id.clone()).collect();
            self.tell(Item::Listed(ids)).await?;
            for begin in self.shards.listed(&listed) {
                let (shard, start) = (begin.id, begin.start);
                info!(bus = self.stream.title(), %shard, ?start, "reading a shard");
                if begin.anew {
                    let shard = shard.clone();
                    self.tell(Item::Anew { shard }).await?;
                }
                let tip = tip.clone();
                let told = move |shard: &ShardId| {
                    // Who is told lives as long as we do.
                    let _ = tip.send(shard.clone());
                };
                let (stream, out) = (self.stream.clone(), self.out.clone());
                let troubles = self.troubles.clone();
                self.reading
                    .spawn(read::read(stream, shard, start, out, told, troubles));
            }
            let next = tokio::time::sleep(LISTED);
            tokio::pin!(next);
            // Until shards are to be listed again.
            loop {
                if !caught_up && self.shards.all_caught_up() {
                    caught_up = true;
                    self.tell(Item::CaughtUp).await?;
                }
                tokio::select! {
                    Some(done) = self.reading.join_next() => {
                        let Ok((shard, outcome)) = done else { return Err(Closed) };
                        match outcome {
                            Outcome::Ended => {
                                info!(bus = self.stream.title(), %shard, "a shard has ended");
                                if let Some(first) = self.shards.ended(&shard) {
                                    self.tell(Item::Ended { shard, first }).await?;
                                }
                            }
                            Outcome::Lost(start) => {
                                tokio::time::sleep(self.backoff.failed(&format!("{shard} is not there"))).await;
                                self.shards.lost(&shard, start);
                            }
                            Outcome::Closed => return Err(Closed),
                        }
                        break;
                    }
                    Some(shard) = tips.recv() => self.shards.caught_up(&shard),
                    () = &mut next => break,
                }
            }
        }
    }

    async fn tell(&self, item: Item) -> std::result::Result<(), Closed> {
        self.out.send(Ok(item)).await.map_err(|_| Closed)
    }

    /// All shards, however long that takes.
    async fn list(&mut self) -> std::result::Result<Vec<Listed>, Closed> {
        loop {
            let error = match self.stream.shards().await {
                Ok(listed) => {
                    self.backoff.worked();
                    (self.answered, self.missing) = (true, None);
                    return Ok(listed);
                }
                Err(error) => error,
            };
            let for_good = match error.trouble {
                Trouble::Missing if self.answered => {
                    let since = *self.missing.get_or_insert_with(Instant::now);
                    since.elapsed() >= MISSING
                }
                Trouble::Missing | Trouble::Refused | Trouble::Distrusted | Trouble::Argument => {
                    !self.answered
                }
                Trouble::Throttled | Trouble::Expired | Trouble::Away => false,
            };
            if for_good {
                let failure = self.stream.failure(&error);
                // If nobody listens, nobody needs to know.
                let _ = self.out.send(Err(failure)).await;
                return Err(Closed);
            }
            tokio::time::sleep(self.backoff.failed(&error)).await;
        }
    }
}

/// Publishes a record; tried for a minute where it is worth it. An answer that was lost may mean
/// that it is published twice.
pub(super) async fn publish(
    plan: &KinesisBusPlan,
    bytes: Bytes,
    partition_key: &str,
) -> Result<Place> {
    let stream = Stream::open(plan)?;
    let key = partition_key.to_owned();
    // Connections are kept on the stores' thread.
    let task = store::io()?.spawn(async move {
        let began = Instant::now();
        let first = Duration::from_millis(200);
        let mut backoff = Backoff::new(stream.title(), first, &Troubles::default());
        loop {
            match stream.put(&bytes, &key).await {
                Ok((shard, seq)) => {
                    return Ok(Place {
                        source: shard.into(),
                        at: seq.into(),
                    });
                }
                Err(error) => {
                    let passes = matches!(error.trouble, Trouble::Throttled | Trouble::Away);
                    if !passes || began.elapsed() >= PUBLISHING {
                        return Err(stream.failure(&error));
                    }
                    tokio::time::sleep(backoff.failed(&error)).await;
                }
            }
        }
    });
    match task.await {
        Ok(published) => published,
        Err(error) => Err(Failure::new(Reason::StreamFailed, "the control bus").cause(&error)),
    }
}
