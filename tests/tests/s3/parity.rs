//! The same events as from disk, byte by byte, and as few requests as that takes.

use worldstream::plan::{Lanes, Mount};
use worldstream_tests::Relay;
use worldstream_tests::inside::Inside;
use worldstream_tests::s3::Minio;
use worldstream_tests::{MadeWorld, golden};

use crate::bed::{self, ARRIVALS, BASELINE, BUCKET, FRAUD, admitted, done, expected, same};

struct Golden {
    folder: &'static str,
    name: &'static str,
    /// Where it is put, below the bucket.
    at: &'static str,
    scenario: &'static str,
    outputs: &'static [&'static str],
}

const ALL: &[&str] = &[
    ARRIVALS,
    "s1_arrival_entities_6B",
    "s3_flow_anchor_with_fraud_6B",
    "s2_flow_anchor_baseline_6B",
    BASELINE,
    FRAUD,
];

const WORLDS: [Golden; 3] = [
    Golden {
        folder: "world-a",
        name: "s3://oracle-store/runs/world-a",
        at: "runs/world-a",
        scenario: "baseline_v1",
        outputs: ALL,
    },
    // A local name that is read in S3.
    Golden {
        folder: "world-b",
        name: "/data/worlds/world b",
        at: "worlds/world b",
        scenario: "stress_v3",
        outputs: ALL,
    },
    Golden {
        folder: "world-c",
        name: "s3://oracle-store/runs/wörld-c",
        at: "runs/wörld-c",
        scenario: "baseline_v1",
        outputs: &[ARRIVALS, FRAUD],
    },
];

impl Golden {
    fn inside(&self, minio: &Minio, outputs: &[&str]) -> Inside {
        let mut inside = bed::inside(minio, self.name, outputs);
        inside.plan.world.scenario = Some(self.scenario.into());
        inside.plan.world.mounts = vec![Mount {
            from: "/data/worlds".into(),
            to: format!("s3://{BUCKET}/worlds"),
        }];
        inside
    }
}

fn golden_worlds() -> Minio {
    let minio = Minio::start();
    for world in &WORLDS {
        minio.put_folder(BUCKET, world.at, &golden().join(world.folder));
    }
    minio
}

#[test]
fn golden_worlds_stream_from_s3_as_from_disk() {
    let minio = golden_worlds();
    for world in &WORLDS {
        let mut inside = world.inside(&minio, world.outputs);
        inside.plan.world.gate_check = worldstream_crds::GateCheck::Digest;
        done(&inside.run());
        for output in world.outputs {
            let what = format!("{} {output}", world.folder);
            same(
                &admitted(&inside, output),
                &expected(world.folder, output),
                &what,
            );
        }
    }
}

#[test]
fn a_stream_from_s3_goes_on_behind_any_row_and_lane() {
    let minio = golden_worlds();
    for (world, output) in [(&WORLDS[0], FRAUD), (&WORLDS[1], ARRIVALS)] {
        let whole = expected(world.folder, output);
        for cap in [1, 2, 3, whole.len() as u64 / 2, whole.len() as u64 - 1] {
            let mut inside = world.inside(&minio, &[output]);
            inside.plan.range.max_events_per_output = Some(cap);
            inside.run();
            assert_eq!(admitted(&inside, output).len() as u64, cap);
            inside.plan.range.max_events_per_output = None;
            done(&inside.run());
            same(
                &admitted(&inside, output),
                &whole,
                &format!("{output} behind {cap}"),
            );
        }
    }
    let mut inside = WORLDS[0].inside(&minio, &[FRAUD]);
    inside.plan.identity.lanes = Lanes {
        count: 3,
        only: Some(1),
    };
    done(&inside.run());
    let lane = expected("world-a", &format!("{FRAUD}.lane-3-1"));
    same(&admitted(&inside, FRAUD), &lane, "lane 1 of 3");
}

#[test]
fn a_large_view_is_fetched_once_and_in_few_ranges() {
    // Many row groups in several parts; and one large row group.
    for (groups, parts, ahead, most) in [(500, 4, 1 << 20, 12), (100_000, 1, 128 << 10, 400)] {
        let minio = Minio::start();
        let relay = Relay::http(&minio.url);
        let world = MadeWorld::sample(12_000, 1, |spec| {
            spec.row_group_rows = groups;
            spec.parts = worldstream::sample::Parts::Number(parts);
        });
        bed::made(&minio, &world);
        let mut inside = bed::from_s3(bed::inside(&minio, &world.root(), &[FRAUD]), &world);
        inside.plan.world.s3.endpoint = Some(relay.url.clone());
        inside.plan.world.read_ahead = ahead;
        inside.plan.gate.in_flight = 16;
        done(&inside.run());
        let mut found = admitted(&inside, FRAUD);
        let mut all = bed::from_disk(&world, FRAUD);
        assert_eq!(all.len(), 12_000);
        let id = |event: &worldstream_tests::Exact| event.get("event_id").text().to_owned();
        found.sort_by_key(id);
        all.sort_by_key(id);
        same(&found, &all, FRAUD);

        let heads = relay.heads();
        let view = format!("stream_view/ts_utc/output_id={FRAUD}");
        let first = |head: &String| {
            let line = head.lines().next().unwrap_or_default().to_owned();
            line.replace("%3D", "=").replace("%2F", "/")
        };
        let lists: Vec<_> = heads
            .iter()
            .map(first)
            .filter(|it| it.contains("list-type"))
            .collect();
        assert_eq!(lists.len(), 1, "{lists:#?}");
        assert!(lists[0].contains(&view), "{lists:#?}");
        for part in 0..parts {
            let name = format!("part-{part:06}.parquet");
            let of_part: Vec<_> = heads
                .iter()
                .filter(|it| first(it).contains(&name))
                .collect();
            let header = |head: &str, name: &str| {
                head.lines()
                    .find(|line| line.to_ascii_lowercase().starts_with(name))
                    .map(str::to_owned)
            };
            let mut footers = 0;
            let key = format!("worlds/made/{view}/{name}");
            let size = minio.get(BUCKET, &key).unwrap().len() as u64;
            for head in &of_part {
                let range = header(head, "range:").unwrap_or_else(|| panic!("whole: {head}"));
                assert!(header(head, "if-match:").is_some(), "{head}");
                footers += u64::from(range.ends_with(&format!("-{}", size - 1)));
            }
            assert_eq!(footers, 1, "{name}: {of_part:#?}");
            assert!(
                (2..=most).contains(&of_part.len()),
                "{name}: {}",
                of_part.len()
            );
        }
    }
}
