//! A stream of a real Kinesis engine: all of it, once, and from the position on.

use std::path::PathBuf;

use serde_json::json;
use worldstream::bus::Arrival;
use worldstream::plan::ready::{BusKind, BusPlan};
use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::bed::stores::KinesisServer;

use crate::bed::{Reading, Stream, each_once, message, publish, text, until};

#[test]
fn every_shard_is_read_from_its_beginning_and_on() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "all", 3);
    stream.put_all(0..30);
    let mut reading = Reading::open(&stream.plan(), None);
    assert_eq!(reading.position(), None);
    let old = reading.old();
    each_once(
        &old.iter().map(text).collect::<Vec<_>>(),
        (0..30).map(message),
    );
    let shards: std::collections::BTreeSet<_> = old
        .iter()
        .map(|message| message.place.to_string()[..20].to_owned())
        .collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    assert!(old.iter().all(|message| message.published.is_some()));
    publish(&stream.plan(), &message(30));
    stream.put_all(31..40);
    each_once(&reading.texts(10), (30..40).map(message));
}

#[test]
fn a_restart_goes_on_from_the_first_that_is_not_settled() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "position", 1);
    stream.put_all(0..10);
    let mut reading = Reading::open(&stream.plan(), None);
    let old = reading.old();
    // One is deferred, or failed.
    for (number, message) in old.iter().enumerate() {
        if number != 6 {
            reading.settle(&message.place);
        }
    }
    let position = reading.position().unwrap();
    drop(reading);
    let mut again = Reading::open(&stream.plan(), Some(&position));
    let rest = again.old();
    let texts: Vec<_> = rest.iter().map(text).collect();
    assert_eq!(texts, (6..10).map(message).collect::<Vec<_>>());
    for message in &rest {
        again.settle(&message.place);
    }
    let position = again.position().unwrap();
    drop(again);
    stream.put_all(10..12);
    let mut last = Reading::open(&stream.plan(), Some(&position));
    assert_eq!(last.old().len(), 2);
    // Nothing of these is settled: the position stays.
    assert_eq!(last.position().unwrap(), position);
}

#[test]
fn what_is_broken_or_too_large_holds_nobody_up() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "garbage", 1);
    let mut plan = stream.plan();
    plan.max_message_bytes = 1000;
    stream.put_all([0]);
    stream.put("{\"broken", "k");
    stream.put(&"1".repeat(1001), "k");
    stream.put(" ", "k");
    stream.put_all([1]);
    let mut reading = Reading::open(&plan, None);
    let mut found = Vec::new();
    loop {
        let place = match reading.arrival().unwrap() {
            Arrival::Message(message) => {
                found.push(text(&message));
                message.place
            }
            Arrival::TooLarge {
                bytes,
                limit,
                place,
                ..
            } => {
                found.push(format!("{bytes} of {limit}"));
                place
            }
            Arrival::CaughtUp => break,
        };
        reading.settle(&place);
    }
    let expected = [&message(0), "{\"broken", "1001 of 1000", " ", &message(1)];
    assert_eq!(found, expected);
    let mut again = Reading::open(&plan, reading.position().as_deref());
    assert!(again.old().is_empty());
}

#[test]
fn positions_of_something_else_are_passed_over() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "anew", 1);
    stream.put_all(0..3);
    let mut reading = Reading::open(&stream.plan(), None);
    assert_eq!(reading.texts(3).len(), 3);
    let position = reading.position().unwrap();
    drop(reading);
    for other in ["", "{}", r#"{"kinesis":"another","shards":{}}"#] {
        let mut all = Reading::open(&stream.plan(), Some(other));
        assert_eq!(all.old().len(), 3, "{other}");
    }
    // Deleted, and made anew under its old name, with shards of the old names.
    stream.ask("DeleteStream", json!({}));
    until(|| {
        let names = engine.ask("ListStreams", &json!({})).unwrap();
        names["StreamNames"] == json!([])
    });
    stream.create(1);
    stream.put_all(3..6);
    let mut new = Reading::open(&stream.plan(), Some(&position));
    let texts: Vec<_> = new.old().iter().map(text).collect();
    assert_eq!(texts, (3..6).map(message).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_is_not_there_has_a_reason_of_its_own() {
    let engine = KinesisServer::start().unwrap();
    let mut stream = Stream::make(&engine, "here", 1);
    stream.name = "elsewhere";
    let mut reading = Reading::open(&stream.plan(), None);
    for _ in 0..2 {
        let failure = reading.arrival().unwrap_err();
        assert_eq!(failure.reason(), Reason::ControlBusStreamMissing);
        assert_eq!(failure.exit_code(), ExitCode::FailClosed);
        assert!(failure.message().contains("elsewhere"), "{failure}");
    }
    let plan = stream.plan();
    let put = worldstream::bus::publish(&plan, "{}".into(), "k");
    let failure = worldstream_tests::s3::wait(put).unwrap_err();
    assert_eq!(failure.reason(), Reason::ControlBusStreamMissing);
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_the_plan_names_it() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "walled", 1);
    stream.put_all(0..3);
    let plan = |ca_file: Option<PathBuf>| {
        let mut plan = stream.plan_at(&engine.tls_endpoint());
        let BusKind::Kinesis(kinesis) = &mut plan.kind else {
            panic!("{plan:?}");
        };
        kinesis.ca_file = ca_file;
        plan
    };
    let trusting = plan(Some(engine.root_file()));
    let mut reading = Reading::open(&trusting, None);
    each_once(&reading.texts(3), (0..3).map(message));
    publish(&trusting, &message(3));
    assert_eq!(reading.texts(1), [message(3)]);
    // Without it nobody is waited for whom waiting will not make trusted.
    let failure = Reading::open(&plan(None), None).arrival().unwrap_err();
    let said = failure.message();
    assert!(said.contains("invalid peer certificate"), "{failure}");
    assert!(said.contains("bus.kinesis.caFile"), "{failure}");
    assert_eq!(failure.exit_code(), ExitCode::FailClosed);
    let distrusting = plan(None);
    let put = worldstream::bus::publish(&distrusting, "{}".into(), "k");
    let failure = worldstream_tests::s3::wait(put).unwrap_err();
    assert!(
        failure.message().contains("invalid peer certificate"),
        "{failure}"
    );
    // A file that holds none.
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("roots.pem");
    std::fs::write(&none, "no roots").unwrap();
    let failure = worldstream::bus::open(&plan(Some(none)), None).map(drop);
    let said = failure.unwrap_err().message();
    assert!(said.contains("bus.kinesis.caFile"), "{said}");
    assert!(said.contains("roots.pem"), "{said}");
}

#[test]
fn requests_are_signed_with_the_credentials_of_the_plan() {
    let engine = KinesisServer::start().unwrap();
    let stream = Stream::make(&engine, "mine", 1);
    stream.put_all(0..1);
    let secret = |plan: &BusPlan, id: &str| {
        let BusKind::Kinesis(kinesis) = &plan.kind else {
            panic!("{plan:?}");
        };
        let id_file = &kinesis.credentials.as_ref().unwrap().access_key_id;
        let worldstream::plan::SecretSource::File(path) = id_file else {
            panic!("{id_file:?}");
        };
        std::fs::write(path, id).unwrap();
    };
    // The engine knows accounts by their keys: this one has no such stream.
    let plan = stream.plan();
    secret(&plan, "111122223333");
    let failure = Reading::open(&plan, None).arrival().unwrap_err();
    assert_eq!(failure.reason(), Reason::ControlBusStreamMissing);
    // Another key of the same file counts at the next request.
    secret(&plan, "test");
    let mut reading = Reading::open(&plan, None);
    assert_eq!(reading.texts(1), [message(0)]);
    secret(&plan, "");
    stream.put_all(1..2);
    secret(&plan, "000000000000");
    assert_eq!(reading.texts(1), [message(1)]);
}
