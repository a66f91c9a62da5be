//! Worlds in a real MinIO and cursors in a real Postgres, both outside of the cluster behind
//! Services, over TLS, with credentials in Secrets.

use serde_json::{Value, json};
use worldstream::plan::Mount;
use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::bed::stores::{MinioOptions, PostgresOptions, PostgresServer};
use worldstream_tests::inside::{Inside, lines, whole_lines};
use worldstream_tests::s3::Minio;
use worldstream_tests::{Exact, MadeWorld, SCENARIO_RUN_ID, golden};

use crate::operator::Operator;
use crate::space::{BASELINE, FRAUD, Space, condition};

const ARRIVALS: &str = "arrival_events_5B";
const BUCKET: &str = "oracle-store";
const RECORDS: &str = "platform";
const RUNS: &str = "s3://oracle-store/runs";
const ROWS: u64 = 300;

/// What is outside of the cluster.
struct Outside {
    minio: Minio,
    postgres: PostgresServer,
}

impl Outside {
    fn start(operator: &Operator) -> Outside {
        let place = operator.bed.place();
        let minio = Minio::start_at(
            place.clone(),
            MinioOptions {
                tls: true,
                names: vec!["minio".to_owned()],
            },
        );
        let options = PostgresOptions {
            tls: true,
            names: vec!["postgres".to_owned()],
            ..PostgresOptions::default()
        };
        Outside {
            postgres: PostgresServer::start_at(place.clone(), options).unwrap(),
            minio,
        }
    }

    /// Services, Secrets and certificates, by which a profile of this namespace reaches both.
    fn join(&self, space: &Space) {
        let (bed, namespace) = (space.bed, &space.namespace);
        let (minio, postgres) = (&self.minio.minio, &self.postgres);
        bed.serve_host_port(namespace, "minio", minio.server.port)
            .unwrap();
        bed.serve_host_port(namespace, "postgres", postgres.server.port)
            .unwrap();
        let secret = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name, "namespace": namespace },
                "stringData": data,
            })
        };
        let reader = self.minio.reading_session(BUCKET, RECORDS);
        let address = format!("@{}:", postgres.server.place.address);
        let dsn = postgres.dsn().replace(&address, "@postgres:");
        let dsn = dsn.split_once('?').map_or(dsn.as_str(), |(dsn, _)| dsn);
        let root = std::fs::read_to_string(postgres.root_file().unwrap()).unwrap();
        let items = [
            secret(
                "reader",
                json!({"id": reader.key_id, "secret": reader.secret, "token": reader.token}),
            ),
            secret(
                "writer",
                json!({"id": minio.access_key, "secret": minio.secret_key}),
            ),
            secret("checkpoints", json!({"dsn": dsn})),
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "authorities", "namespace": namespace },
                "data": { "minio.pem": minio.root.clone().unwrap(), "postgres.pem": root },
            }),
        ];
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        bed.apply(&list.to_string()).unwrap();
    }

    /// What a profile says of both.
    fn profile(&self, spec: &mut Value) {
        let of = |name: &str, key: &str| json!({ "secret": { "name": name, "key": key } });
        let root = |key: &str| json!({ "name": "authorities", "key": key });
        spec["world"] = json!({
            "oracleRoot": RUNS,
            "scenario": "baseline_v1",
            "s3": {
                "endpoint": format!("https://minio:{}", self.minio.minio.server.port),
                "region": self.minio.minio.region,
                "caConfigMap": root("minio.pem"),
                "credentials": {
                    "accessKeyId": of("reader", "id"),
                    "secretAccessKey": of("reader", "secret"),
                    "sessionToken": of("reader", "token"),
                },
            },
        });
        spec["oracle"] = json!({
            "buildViews": "IfMissing",
            "memory": "64MiB",
            "resources": { "requests": { "cpu": "20m", "memory": "64Mi" } },
            "credentials": {
                "accessKeyId": of("writer", "id"),
                "secretAccessKey": of("writer", "secret"),
            },
        });
        spec["checkpoints"] = json!({
            "flushEvery": 20,
            "postgres": {
                "dsn": of("checkpoints", "dsn"),
                "caConfigMap": root("postgres.pem"),
                "leaseTerm": "10s",
            },
        });
        spec["runsRoot"] = json!(format!("s3://{RECORDS}/fraud-platform"));
        spec["trafficOutputs"] = json!({ "allowlist": { "outputIds": [FRAUD, BASELINE] } });
        let context = json!({ "outputIds": [ARRIVALS] });
        spec["contextOutputs"] = json!({ "fraud": context, "baseline": context });
    }
}

/// A sample world that is called so, without raw parts or with.
fn sample(name: &str, raw: bool) -> MadeWorld {
    MadeWorld::sample(ROWS, 1, |spec| {
        spec.run_root = Some(format!("{RUNS}/{name}"));
        spec.raw = raw;
        spec.outputs = [ARRIVALS, FRAUD].map(|id| id.parse().unwrap()).into();
    })
}

/// What a single process sends of it from disk.
fn from_disk(world: &MadeWorld, name: &str, run: &str) -> Inside {
    let mut inside = Inside::new(&format!("{RUNS}/{name}")).outputs(&[ARRIVALS, FRAUD]);
    inside.plan.world.scenario = Some("baseline_v1".to_owned());
    inside.plan.world.mounts = vec![Mount {
        from: format!("{RUNS}/{name}"),
        to: world.root(),
    }];
    inside.plan.identity.platform_run_id = run.to_owned();
    let end = inside.run();
    assert!(end.failure.is_none(), "{:?}", end.failure);
    inside
}

fn of_output(lines: &[String], run: &str, output: &str) -> Vec<Exact> {
    let all = lines.iter().map(|line| Exact::parse(line));
    all.filter(|it| it.get("event_type").text() == output)
        .filter(|it| it.get("platform_run_id").text() == run)
        .collect()
}

#[track_caller]
fn same(found: &[Exact], expected: &[Exact], what: &str) {
    assert!(!expected.is_empty(), "{what}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}, event {row}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

/// The golden world, a sample world, and one without views, each exactly as from disk. A worker
/// that is killed meanwhile goes on at its cursor in Postgres, and Postgres may be away.
pub fn worlds_in_s3_with_cursors_in_postgres_stream_as_from_disk(operator: &Operator) {
    let mut outside = Outside::start(operator);
    let (other, raw) = (sample("other", false), sample("raw", true));
    let minio = &outside.minio;
    minio.put_folder(BUCKET, "runs/world-a", &golden().join("world-a"));
    minio.put_folder(BUCKET, "runs/other", other.root().as_ref());
    minio.put_folder(BUCKET, "runs/raw", raw.root().as_ref());
    minio.bucket(RECORDS);
    let bucket = minio.minio.bucket(BUCKET);
    for key in minio.keys(BUCKET, "runs/raw/stream_view") {
        bucket.delete(&key).unwrap();
    }
    let space = Space::new(operator, "stores", |spec| outside.profile(spec));
    outside.join(&space);
    let run = |number: u32| format!("platform_2026010{number}T000000Z");
    let stream = |name: &str, number: u32, world: &str, more: Value| {
        let mut spec = json!({
            "engineRunRoot": format!("{RUNS}/{world}"),
            "platformRunId": run(number),
            "scenarioRunId": SCENARIO_RUN_ID,
            "inFlight": 1,
            "speedup": 0,
        });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        space.stream(name, world, spec)
    };
    let traffic = || json!({ "outputs": [FRAUD] });
    let mut slow = traffic();
    slow["speedup"] = json!(3_000);
    space.start(&[
        stream("golden", 1, "world-a", json!({})),
        stream("killed", 2, "other", slow),
        stream("built", 3, "raw", traffic()),
    ]);
    kill_and_cut_off(&space, &mut outside.postgres);
    space.patch("killed", json!({ "speedup": 0 }));
    for name in ["golden", "killed", "built"] {
        let status = space.phase(name, "Completed");
        assert_eq!(condition(&status, "Completed").0, "True", "{status:#}");
        for output in status["outputs"].as_array().unwrap() {
            let built = output["view"]["state"] == "Built";
            assert_eq!(built, name == "built", "{status:#}");
        }
    }
    space.gate.summary();
    let found = whole_lines(&space.gate.record);
    for output in [ARRIVALS, BASELINE, FRAUD] {
        let expected = golden().join(format!("expected/world-a/{output}.jsonl"));
        let expected = of_output(&lines(&expected), &run(1), output);
        same(&of_output(&found, &run(1), output), &expected, "world-a");
    }
    for (world, name, number) in [(&other, "other", 2), (&raw, "raw", 3)] {
        let disk = from_disk(world, name, &run(number));
        for output in [ARRIVALS, FRAUD] {
            let expected = of_output(&disk.admitted(), &run(number), output);
            let found = of_output(&found, &run(number), output);
            same(&found, &expected, &format!("{name} {output}"));
        }
    }
    let cursors = "SELECT count(*) FROM wsp_checkpoint;";
    assert_eq!(outside.postgres.query(cursors).unwrap().trim(), "7");
    // Receipts and the session log outlive the pods: three outputs by as many processes.
    let below = format!("fraud-platform/{}/", run(1));
    let records = outside.minio.keys(RECORDS, &below);
    let receipts = records.iter().filter(|key| key.contains("receipt"));
    assert_eq!(receipts.count(), 3, "{records:?}");
    let session = outside.minio.get(RECORDS, &format!("{below}session.jsonl"));
    let session = String::from_utf8(session.unwrap().to_vec()).unwrap();
    assert_eq!(
        session.matches("\"stream_complete\"").count(),
        3,
        "{session}"
    );
    only_builds_may_write(&space, &outside.minio);
}

/// The worker of a stream is killed, and then Postgres is away for a while.
fn kill_and_cut_off(space: &Space, postgres: &mut PostgresServer) {
    let saved = |postgres: &PostgresServer| -> u64 {
        let rows = "SELECT coalesce(sum((progress->'progress'->>'rows')::bigint), 0) \
                    FROM wsp_checkpoint WHERE last_file LIKE '%/runs/other/%';";
        let there = "SELECT to_regclass('wsp_checkpoint_lease');";
        match postgres.query(there).unwrap().trim() {
            "" => 0,
            _ => postgres.query(rows).unwrap().trim().parse().unwrap(),
        }
    };
    space.phase("killed", "Running");
    let about = |space: &Space| format!("{:#}", space.status("killed"));
    space.wait("saved cursors", || saved(postgres) > 40, about);
    let word = format!("{}/killed", space.namespace);
    let nodes = space.bed.nodes().unwrap();
    let kill = |node: &String| {
        let kill = Signal::Kill;
        space.bed.signal_containers(node, &word, kill).unwrap()
    };
    assert_eq!(nodes.iter().map(kill).sum::<usize>(), 2, "two outputs");
    let before = saved(postgres);
    space.wait(
        "cursors that move again",
        || saved(postgres) > before,
        about,
    );
    postgres.stop().unwrap();
    space.until("killed", "StoreAway", |status| {
        condition(status, "Degraded") == ("True", "StoreAway") || status["phase"] == "Completed"
    });
    postgres.server.start().unwrap();
    let before = saved(postgres);
    space.until("killed", "that it is back", |status| {
        condition(status, "Degraded").0 == "False"
            && (saved(postgres) > before || status["phase"] == "Completed")
    });
}

/// The key that may write is mounted into the pods of builds alone, and the other may not write.
fn only_builds_may_write(space: &Space, minio: &Minio) {
    let mut builds = 0;
    for pod in space.list("pods") {
        let component = &pod["metadata"]["labels"]["worldstream.io/component"];
        let text = pod["spec"]["volumes"].to_string();
        let is_build = component == "build-view";
        builds += usize::from(is_build);
        assert_eq!(text.contains("\"writer\""), is_build, "{pod:#}");
        assert!(is_build || text.contains("\"reader\""), "{pod:#}");
        assert!(!is_build || !text.contains("ingestion-gate"), "{pod:#}");
    }
    assert_eq!(builds, 2, "the views of one world");
    let reader = minio.reading_session(BUCKET, RECORDS);
    assert!(minio.may_read(BUCKET, "runs/raw/run_receipt.json", &reader));
    assert!(!minio.may_write(BUCKET, "runs/raw/x", &reader));
}
