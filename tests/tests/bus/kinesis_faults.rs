//! Kinesis away, throttled, and with iterators that expire, while messages flow: each comes once.

use worldstream_tests::bed::stores::KinesisServer;
use worldstream_tests::kinesis::KinesisWay;

use crate::bed::{Reading, Stream, each_once, message, publish, until};

const THROTTLED: &str = "ProvisionedThroughputExceededException";
const EXPIRED: &str = "ExpiredIteratorException";

#[test]
fn a_restart_of_kinesis_loses_nothing_and_repeats_nothing() {
    let mut engine = KinesisServer::start().unwrap();
    let plan = {
        let stream = Stream::make(&engine, "restarted", 2);
        let last = stream.put_all(0..20);
        until(|| engine.kept(&last));
        // The plan's secrets lie in files, which must stay.
        let plan = stream.plan();
        std::mem::forget(stream);
        plan
    };
    let mut reading = Reading::open(&plan, None);
    let mut found = reading.texts(7);
    engine.server.kill().unwrap();
    // What is read ahead still comes; then nothing, until it is back.
    engine.server.start().unwrap();
    for number in 20..30 {
        publish(&plan, &message(number));
    }
    found.extend(reading.texts(23));
    each_once(&found, (0..30).map(message));
    // A frozen one answers nothing, on connections that stay open.
    engine.server.freeze().unwrap();
    let late = std::thread::spawn({
        let plan = plan.clone();
        move || publish(&plan, &message(30))
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    engine.server.thaw().unwrap();
    late.join().unwrap();
    assert_eq!(reading.texts(1), [message(30)]);
    let again = Reading::open(&plan, reading.position().as_deref()).old();
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn throttling_is_waited_out() {
    let engine = KinesisServer::start().unwrap();
    let way = KinesisWay::start(&engine.endpoint());
    let stream = Stream::make(&engine, "throttled", 2);
    let plan = stream.plan_at(&way.url);
    // Everything is refused at first, listing with a name of its own.
    way.rule(|action, nth| match action {
        "ListShards" if nth < 2 => Some("LimitExceededException"),
        "GetShardIterator" if nth < 3 => Some(THROTTLED),
        "GetRecords" if nth < 4 || nth % 3 == 0 => Some(THROTTLED),
        "PutRecord" if nth % 2 == 0 => Some(THROTTLED),
        _ => None,
    });
    stream.put_all(0..10);
    let mut reading = Reading::open(&plan, None);
    let mut found = reading.texts(10);
    for number in 10..13 {
        publish(&plan, &message(number));
    }
    found.extend(reading.texts(3));
    each_once(&found, (0..13).map(message));
    assert!(way.answered(THROTTLED) >= 10);
    assert_eq!(way.answered("LimitExceededException"), 2);
}

#[test]
fn iterators_that_expire_are_renewed_where_they_were() {
    let engine = KinesisServer::start().unwrap();
    let way = KinesisWay::start(&engine.endpoint());
    let stream = Stream::make(&engine, "expired", 2);
    let mut reading = Reading::open(&stream.plan_at(&way.url), None);
    assert!(reading.old().is_empty());
    // Half of them, without a period: no shard that is read in turn may always be the one.
    way.rule(|action, nth| {
        (action == "GetRecords" && nth.count_ones() % 2 == 0).then_some(EXPIRED)
    });
    // Before anything was read, and after.
    until(|| way.answered(EXPIRED) >= 4);
    let mut found = Vec::new();
    for round in 0..5 {
        stream.put_all(round * 4..round * 4 + 4);
        found.extend(reading.texts(4));
    }
    each_once(&found, (0..20).map(message));
    assert!(way.asked("GetShardIterator") >= 4);
    // One that is no iterator at all, as those of a Kinesis that was started anew.
    way.rule(|action, nth| match action {
        "GetRecords" if nth < 2 => Some("InvalidArgumentException"),
        _ => None,
    });
    stream.put_all(20..24);
    each_once(&reading.texts(4), (20..24).map(message));
}

#[test]
fn what_kinesis_refuses_at_first_is_said_and_what_it_refuses_later_is_waited_out() {
    let engine = KinesisServer::start().unwrap();
    let way = KinesisWay::start(&engine.endpoint());
    let stream = Stream::make(&engine, "refused", 1);
    let plan = stream.plan_at(&way.url);
    way.rule(|_, _| Some("AccessDeniedException"));
    let failure = Reading::open(&plan, None).arrival().unwrap_err();
    let said = failure.message();
    assert!(said.contains("AccessDeniedException"), "{failure}");
    assert!(said.contains("bus.kinesis.credentials"), "{failure}");
    way.rule(|_, _| None);
    let mut reading = Reading::open(&plan, None);
    assert!(reading.old().is_empty());
    way.rule(|action, nth| (action == "GetRecords" && nth < 3).then_some("AccessDeniedException"));
    stream.put_all(0..2);
    each_once(&reading.texts(2), (0..2).map(message));
}
