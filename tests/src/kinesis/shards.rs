//! The shards of a stream.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worldstream_bed::stores::KinesisServer;

/// How long a stream may take to become active.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes a stream.
pub fn make(engine: &KinesisServer, stream: &str, shards: usize) {
    ask(
        engine,
        "CreateStream",
        stream,
        json!({"ShardCount": shards}),
    );
    until_active(engine, stream);
}

/// Waits until what was asked for last is done.
#[track_caller]
pub fn until_active(engine: &KinesisServer, stream: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = ask(engine, "DescribeStreamSummary", stream, json!({}));
        if said["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
            return;
        }
        assert!(Instant::now() < end, "{stream} is not active: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Its shards, as Kinesis lists them, those that have ended included.
pub fn shards(engine: &KinesisServer, stream: &str) -> Vec<Value> {
    let listed = ask(engine, "ListShards", stream, json!({}));
    listed["Shards"].as_array().expect("shards").clone()
}

/// Those that are open, in the order of their ranges.
pub fn open(engine: &KinesisServer, stream: &str) -> Vec<Value> {
    let mut open: Vec<_> = shards(engine, stream)
        .into_iter()
        .filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null())
        .collect();
    open.sort_by_key(|shard| range(shard).0);
    open
}

/// Splits an open shard in its middle.
pub fn split(engine: &KinesisServer, stream: &str, index: usize) {
    let shard = &open(engine, stream)[index];
    let (start, end) = range(shard);
    let middle = start + (end - start) / 2;
    let parameters = json!({
        "ShardToSplit": shard["ShardId"],
        "NewStartingHashKey": middle.to_string(),
    });
    ask(engine, "SplitShard", stream, parameters);
    until_active(engine, stream);
}

/// Merges an open shard and the one beside it.
pub fn merge(engine: &KinesisServer, stream: &str, index: usize) {
    let open = open(engine, stream);
    let (one, two) = (&open[index]["ShardId"], &open[index + 1]["ShardId"]);
    let parameters = json!({"ShardToMerge": one, "AdjacentShardToMerge": two});
    ask(engine, "MergeShards", stream, parameters);
    until_active(engine, stream);
}

fn range(shard: &Value) -> (u128, u128) {
    let key = |name: &str| {
        let text = shard["HashKeyRange"][name].as_str();
        text.and_then(|text| text.parse().ok()).expect("a hash key")
    };
    (key("StartingHashKey"), key("EndingHashKey"))
}

fn ask(engine: &KinesisServer, action: &str, stream: &str, mut parameters: Value) -> Value {
    parameters["StreamName"] = json!(stream);
    engine.ask(action, &parameters).expect("Kinesis answers")
}
