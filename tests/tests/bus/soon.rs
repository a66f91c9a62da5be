//! How soon a message that is published comes, printed for each kind of bus.

use std::time::{Duration, Instant};

use worldstream::plan::ready::BusPlan;
use worldstream_tests::bed::stores::KinesisServer;

use crate::bed::{Reading, Stream, file_plan, message, publish};

/// Publishes 20 messages one after the other, at odd times, and prints how long each took to come.
fn measure(name: &str, plan: &BusPlan, mut put: impl FnMut(&str)) {
    let mut reading = Reading::open(plan, None);
    assert!(reading.old().is_empty());
    let mut took: Vec<Duration> = Vec::new();
    for number in 0..20_u64 {
        std::thread::sleep(Duration::from_millis(300 + 37 * number % 250));
        let text = message(number as usize);
        put(&text);
        let began = Instant::now();
        assert_eq!(reading.texts(1), [text]);
        took.push(began.elapsed());
    }
    took.sort();
    println!(
        "{name}: from published to given, 20 messages: p50 {:.0?}, p99 {:.0?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
}

#[test]
fn messages_come_soon() {
    let root = tempfile::tempdir().unwrap();
    let plan = file_plan(root.path().to_str().unwrap());
    // So that the folder is there.
    let first = publish(&plan, &message(0)).to_string();
    let path = first.split_once(" (").unwrap().0;
    std::fs::remove_file(path).unwrap();
    measure("file bus", &plan, |text| {
        publish(&plan, text);
    });
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "soon", 1);
    measure("Kinesis bus", &stream.plan(), |text| {
        stream.put(text, "k");
    });
}
