//! A folder in a real MinIO.

use worldstream::bus::Arrival;
use worldstream::plan::ready::{BusKind, BusPlan};
use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::s3::Minio;

use crate::bed::{Reading, TOPIC, each_once, file_plan, message, publish, text};

const BUCKET: &str = "control";

fn plan(minio: &Minio, root: &str) -> BusPlan {
    let mut plan = file_plan(root);
    if let BusKind::File(file) = &mut plan.kind {
        file.s3 = minio.plan();
    }
    plan
}

#[test]
fn objects_are_messages_as_files_are() {
    let mut minio = Minio::start();
    minio.bucket(BUCKET);
    let mut plan = plan(&minio, "s3://control/bus/of dev");
    plan.max_message_bytes = 1000;
    let key = |name: &str| format!("bus/of dev/{TOPIC}/{name}");
    minio.put(BUCKET, &key("below/a.json"), message(99));
    minio.put(BUCKET, &key("a.txt"), message(99));
    minio.put(BUCKET, &key("half.json"), "{\"half\"");
    minio.put(BUCKET, &key("large.json"), "1".repeat(1001));
    for number in 0..5 {
        publish(&plan, &message(number));
    }
    let mut reading = Reading::open(&plan, None);
    let (mut found, mut large) = (Vec::new(), 0);
    loop {
        match reading.arrival().unwrap() {
            Arrival::Message(message) => {
                assert!(message.published.is_some());
                reading.settle(&message.place);
                found.push(text(&message));
            }
            Arrival::TooLarge { place, .. } => {
                reading.settle(&place);
                large += 1;
            }
            Arrival::CaughtUp => break,
        }
    }
    let half = ["{\"half\"".to_owned()];
    each_once(&found, (0..5).map(message).chain(half));
    assert_eq!(large, 1);
    // Put again as it is, and put anew.
    minio.put(BUCKET, &key("half.json"), "{\"half\"");
    minio.put(BUCKET, &key("half.json"), message(5));
    assert_eq!(reading.texts(1), [message(5)]);
    // It is away for a while.
    minio.minio.server.stop().unwrap();
    minio.minio.server.start().unwrap();
    publish(&plan, &message(6));
    assert_eq!(reading.texts(1), [message(6)]);
}

#[test]
fn objects_that_were_settled_are_not_even_read_after_a_restart() {
    let minio = Minio::start();
    minio.bucket(BUCKET);
    let plan = plan(&minio, "s3://control/bus");
    for number in 0..4 {
        publish(&plan, &message(number));
    }
    let mut reading = Reading::open(&plan, None);
    let old = reading.old();
    for given in old.iter().filter(|it| text(it) != message(2)) {
        reading.settle(&given.place);
    }
    let position = reading.position();
    drop(reading);
    // Put again as it is, it is no other message; with other bytes it is.
    let name = |number: usize| {
        let given = old.iter().find(|it| text(it) == message(number)).unwrap();
        let place = given.place.to_string();
        let place = place.split(' ').next().unwrap();
        place.trim_start_matches("s3://control/").to_owned()
    };
    minio.put(BUCKET, &name(0), message(0));
    minio.put(BUCKET, &name(1), message(5));
    publish(&plan, &message(4));
    let mut reading = Reading::open(&plan, position.as_deref());
    let found: Vec<_> = reading.old().iter().map(text).collect();
    each_once(&found, [2, 4, 5].map(message));
}

#[test]
fn a_bucket_that_is_not_there_is_said_at_once() {
    let minio = Minio::start();
    let mut reading = Reading::open(&plan(&minio, "s3://nowhere/bus"), None);
    let failure = reading.arrival().unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamFailed, "{failure}");
    assert_eq!(failure.exit_code(), ExitCode::FailClosed, "{failure}");
    assert!(failure.message().contains("NoSuchBucket"), "{failure}");
}
