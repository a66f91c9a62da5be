//! Shards that are split and merged while messages flow: each comes once, parents before children,
//! and a position says nothing again.

use serde_json::{Value, json};
use worldstream_tests::bed::stores::KinesisServer;

use crate::bed::{Reading, Stream, each_once, message, text};

/// Those of a stream's shards that are open, in the order of their ranges.
fn open(stream: &Stream) -> Vec<Value> {
    let mut open: Vec<_> = stream
        .shards()
        .into_iter()
        .filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null())
        .collect();
    open.sort_by_key(start);
    open
}

fn start(shard: &Value) -> u128 {
    shard["HashKeyRange"]["StartingHashKey"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Splits an open shard in its middle.
fn split(stream: &Stream, index: usize) {
    let shard = &open(stream)[index];
    let end: u128 = shard["HashKeyRange"]["EndingHashKey"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let middle = start(shard) + (end - start(shard)) / 2;
    stream.ask(
        "SplitShard",
        json!({"ShardToSplit": shard["ShardId"], "NewStartingHashKey": middle.to_string()}),
    );
    stream.until_active();
}

/// Merges an open shard and the one beside it.
fn merge(stream: &Stream, index: usize) {
    let open = open(stream);
    let (one, two) = (&open[index]["ShardId"], &open[index + 1]["ShardId"]);
    stream.ask(
        "MergeShards",
        json!({"ShardToMerge": one, "AdjacentShardToMerge": two}),
    );
    stream.until_active();
}

#[test]
fn messages_of_shards_that_are_split_and_merged_come_once() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "resharded", 2);
    let mut reading = Reading::open(&stream.plan(), None);
    assert!(reading.old().is_empty());
    stream.put_all(0..10);
    split(&stream, 0);
    stream.put_all(10..20);
    merge(&stream, 1);
    stream.put_all(20..30);
    let mut found = reading.texts(30);
    // While it is read, and several at once.
    split(&stream, 0);
    split(&stream, 2);
    stream.put_all(30..40);
    merge(&stream, 0);
    stream.put_all(40..50);
    found.extend(reading.texts(20));
    each_once(&found, (0..50).map(message));
    assert!(stream.shards().len() >= 8, "{:?}", stream.shards());

    // All is settled, so that nothing of any of them comes again.
    let position = reading.position();
    let again = Reading::open(&stream.plan(), position.as_deref()).old();
    assert!(again.is_empty(), "{again:?}");
    drop(reading);
    split(&stream, 0);
    stream.put_all(50..60);
    let new = Reading::open(&stream.plan(), position.as_deref()).old();
    let new: Vec<_> = new.iter().map(text).collect();
    each_once(&new, (50..60).map(message));
}

#[test]
fn parents_come_before_their_children() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "ordered", 1);
    // One key, so that all are in the one shard that holds it at its time.
    let put = |number: usize| stream.put(&message(number), "one key");
    for number in 0..4 {
        put(number);
    }
    split(&stream, 0);
    for number in 4..8 {
        put(number);
    }
    merge(&stream, 0);
    for number in 8..12 {
        put(number);
    }
    let mut reading = Reading::open(&stream.plan(), None);
    let old = reading.old();
    let found: Vec<_> = old.iter().map(text).collect();
    assert_eq!(found, (0..12).map(message).collect::<Vec<_>>());

    // Settled up to the middle of the second generation.
    for message in old.iter().take(6) {
        reading.settle(&message.place);
    }
    let position = reading.position().unwrap();
    let rest = Reading::open(&stream.plan(), Some(&position)).old();
    let rest: Vec<_> = rest.iter().map(text).collect();
    assert_eq!(rest, (6..12).map(message).collect::<Vec<_>>());
}
