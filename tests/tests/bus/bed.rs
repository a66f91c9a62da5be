//! A bus that a test reads, and a Kinesis stream that it writes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use worldstream::Failure;
use worldstream::bus::{self, Arrival, Bus, Message, Place};
use worldstream::plan::ready::{BusKind, BusPlan, FileBusPlan, KinesisBusPlan};
use worldstream::plan::{S3CredentialsPlan, S3Plan, SecretSource};
use worldstream_tests::bed::stores::KinesisServer;
use worldstream_tests::kinesis;

pub const TOPIC: &str = "fp.bus.control.v1";
/// Every wait ends: a bus that gives nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(180);

/// A bus that is read.
pub struct Reading {
    bus: Box<dyn Bus>,
    runtime: Runtime,
}

/// A folder's plan.
pub fn file_plan(root: &str) -> BusPlan {
    BusPlan {
        topic: TOPIC.into(),
        max_message_bytes: 1 << 20,
        kind: BusKind::File(FileBusPlan {
            root: root.into(),
            poll_interval: Duration::from_millis(500),
            s3: S3Plan::default(),
        }),
    }
}

/// A message like any other, known by its number.
pub fn message(number: usize) -> String {
    json!({"topic": TOPIC, "message_id": format!("{number:064x}"), "payload": {"n": number}})
        .to_string()
}

impl Reading {
    pub fn open(plan: &BusPlan, position: Option<&str>) -> Reading {
        Reading {
            bus: bus::open(plan, position).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// What comes next.
    pub fn arrival(&mut self) -> Result<Arrival, Failure> {
        let next = async { tokio::time::timeout(PATIENCE, self.bus.next()).await };
        self.runtime
            .block_on(next)
            .expect("something comes within minutes")
    }

    /// The next message, whatever else comes before it.
    pub fn message(&mut self) -> Message {
        loop {
            match self.arrival().unwrap() {
                Arrival::Message(message) => return message,
                Arrival::CaughtUp => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next so many messages, settled, as texts.
    pub fn texts(&mut self, count: usize) -> Vec<String> {
        let taken: Vec<_> = (0..count).map(|_| self.message()).collect();
        for message in &taken {
            self.settle(&message.place);
        }
        taken.iter().map(text).collect()
    }

    /// All messages up to what was there when it was opened, not settled.
    pub fn old(&mut self) -> Vec<Message> {
        let mut old = Vec::new();
        loop {
            match self.arrival().unwrap() {
                Arrival::Message(message) => old.push(message),
                Arrival::CaughtUp => return old,
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn settle(&mut self, place: &Place) {
        self.bus.settle(place);
    }

    pub fn position(&self) -> Option<String> {
        self.bus.position()
    }
}

/// What a message holds.
pub fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.bytes).into_owned()
}

/// Each of these once, in any order.
#[track_caller]
pub fn each_once(found: &[String], expected: impl IntoIterator<Item = String>) {
    let mut times = BTreeMap::<_, usize>::new();
    for text in found {
        *times.entry(text.clone()).or_default() += 1;
    }
    let expected: BTreeMap<_, usize> = expected.into_iter().map(|text| (text, 1)).collect();
    assert_eq!(times, expected);
}

/// Publishes, as the program does.
pub fn publish(plan: &BusPlan, text: &str) -> Place {
    let published = bus::publish(plan, text.to_owned().into(), "a key");
    worldstream_tests::s3::wait(published).unwrap()
}

/// A stream of an engine.
pub struct Stream<'a> {
    pub engine: &'a KinesisServer,
    pub name: &'static str,
    secrets: TempDir,
}

impl<'a> Stream<'a> {
    /// A new one.
    pub fn make(engine: &'a KinesisServer, name: &'static str, shards: usize) -> Stream<'a> {
        let stream = Stream {
            engine,
            name,
            secrets: tempfile::tempdir().unwrap(),
        };
        stream.create(shards);
        stream
    }

    pub fn create(&self, shards: usize) {
        kinesis::make(self.engine, self.name, shards);
    }

    /// A request about this stream.
    pub fn ask(&self, action: &str, mut parameters: Value) -> Value {
        parameters["StreamName"] = json!(self.name);
        self.engine.ask(action, &parameters).unwrap()
    }

    /// How the program reaches it.
    pub fn plan(&self) -> BusPlan {
        self.plan_at(&self.engine.endpoint())
    }

    /// The same by another way.
    pub fn plan_at(&self, endpoint: &str) -> BusPlan {
        let secret = |name: &str| {
            let path = self.secrets.path().join(name);
            std::fs::write(&path, "test\n").unwrap();
            SecretSource::File(path)
        };
        BusPlan {
            topic: TOPIC.into(),
            max_message_bytes: 1 << 20,
            kind: BusKind::Kinesis(KinesisBusPlan {
                stream: self.name.into(),
                region: Some("us-east-1".into()),
                endpoint: Some(endpoint.into()),
                credentials: Some(S3CredentialsPlan {
                    access_key_id: secret("id"),
                    secret_access_key: secret("secret"),
                    session_token: None,
                }),
                ca_file: None,
            }),
        }
    }

    /// Puts a record; its shard and its number.
    pub fn put(&self, text: &str, key: &str) -> (String, String) {
        let data = BASE64_STANDARD.encode(text);
        let answer = self.ask("PutRecord", json!({"Data": data, "PartitionKey": key}));
        let field = |name: &str| answer[name].as_str().unwrap().to_owned();
        (field("ShardId"), field("SequenceNumber"))
    }

    /// Puts these messages, spread over all shards; the number of the last.
    pub fn put_all(&self, numbers: impl IntoIterator<Item = usize>) -> String {
        let record = |number: usize| {
            let data = BASE64_STANDARD.encode(message(number));
            json!({"Data": data, "PartitionKey": format!("key {number}")})
        };
        let records: Vec<_> = numbers.into_iter().map(record).collect();
        let answer = self.ask("PutRecords", json!({"Records": records}));
        assert_eq!(answer["FailedRecordCount"].as_i64().unwrap_or(0), 0);
        let last = answer["Records"].as_array().unwrap().last().unwrap();
        last["SequenceNumber"].as_str().unwrap().to_owned()
    }

    /// Its shards, as Kinesis lists them.
    pub fn shards(&self) -> Vec<Value> {
        kinesis::shards(self.engine, self.name)
    }
}

/// Waits for something.
#[track_caller]
pub fn until(mut done: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < end, "it does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}
