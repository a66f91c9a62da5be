//! Replays of worlds that were put into MinIO, within the test's process.

use worldstream::engine::replay::ReplayEnd;
use worldstream_crds::ExitCode;
use worldstream_tests::inside::{Inside, lines};
use worldstream_tests::s3::Minio;
use worldstream_tests::{Exact, MadeWorld, golden};

pub const ARRIVALS: &str = "arrival_events_5B";
pub const FRAUD: &str = "s3_event_stream_with_fraud_6B";
pub const BASELINE: &str = "s2_event_stream_baseline_6B";
pub const BUCKET: &str = "oracle-store";

/// A replay of the world of this name with what is read in S3.
pub fn inside(minio: &Minio, name: &str, outputs: &[&str]) -> Inside {
    let mut inside = Inside::new(name).outputs(outputs);
    inside.plan.world.s3 = minio.plan();
    inside.plan.world.scenario = Some("baseline_v1".into());
    inside
}

/// A made world in MinIO, below `worlds/made` of the bucket.
pub fn made(minio: &Minio, world: &MadeWorld) {
    minio.put_folder(BUCKET, "worlds/made", world.root().as_ref());
}

/// Where a made world is read: its name is its folder's.
pub fn from_s3(mut inside: Inside, world: &MadeWorld) -> Inside {
    inside.plan.world.mounts = vec![worldstream::plan::Mount {
        from: world.root(),
        to: format!("s3://{BUCKET}/worlds/made"),
    }];
    inside
}

/// What the reference sent of an output of a golden world.
pub fn expected(world: &str, output: &str) -> Vec<Exact> {
    let path = golden().join("expected").join(world);
    let found = lines(&path.join(format!("{output}.jsonl")));
    assert!(!found.is_empty(), "{output} of {world}");
    found.iter().map(|line| Exact::parse(line)).collect()
}

/// What was admitted of an output, in order.
pub fn admitted(inside: &Inside, output: &str) -> Vec<Exact> {
    let all = inside.admitted();
    let events = all.iter().map(|line| Exact::parse(line));
    events
        .filter(|event| event.get("event_type").text() == output)
        .collect()
}

#[track_caller]
pub fn same(found: &[Exact], expected: &[Exact], what: &str) {
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}, event {row}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

#[track_caller]
pub fn done(end: &ReplayEnd) {
    assert_eq!(end.exit, ExitCode::Done, "{:?}", end.failure);
}

/// The events of one output of a made world, as they are sent when it is read from disk.
pub fn from_disk(world: &MadeWorld, output: &str) -> Vec<Exact> {
    let inside = Inside::new(&world.root()).outputs(&[output]);
    done(&inside.run());
    admitted(&inside, output)
}
