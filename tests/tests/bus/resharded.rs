//! Shards that are split and merged while messages flow: each comes once, parents before children,
//! and a position says nothing again.

use worldstream_tests::bed::stores::KinesisServer;
use worldstream_tests::kinesis;

use crate::bed::{Reading, Stream, each_once, message, text};

/// Splits an open shard in its middle.
fn split(stream: &Stream, index: usize) {
    kinesis::split(stream.engine, stream.name, index);
}

/// Merges an open shard and the one beside it.
fn merge(stream: &Stream, index: usize) {
    kinesis::merge(stream.engine, stream.name, index);
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
