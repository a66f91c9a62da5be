//! The stores are real ones, and do what a test asks of them.

use serde_json::json;
use worldstream_tests::bed::Place;
use worldstream_tests::bed::stores::{
    KinesisServer, MinioOptions, MinioServer, PostgresOptions, PostgresServer, Request,
};
use worldstream_tests::stream::until;

#[test]
fn minio_keeps_objects() {
    for tls in [false, true] {
        let mut minio = MinioServer::start_at(
            Place::loopback(),
            MinioOptions {
                tls,
                ..MinioOptions::default()
            },
        )
        .unwrap();
        let bucket = minio.make_bucket("worlds").unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b=1")).unwrap();
        std::fs::write(dir.path().join("a"), "first").unwrap();
        std::fs::write(dir.path().join("b=1/c d"), "second").unwrap();
        bucket.upload(dir.path(), "w/x").unwrap();
        assert_eq!(bucket.list("w/").unwrap(), ["w/x/a", "w/x/b=1/c d"]);
        assert_eq!(bucket.get("w/x/b=1/c d").unwrap(), b"second");
        bucket.delete("w/x/a").unwrap();
        let gone = bucket.get("w/x/a").unwrap_err().to_string();
        assert!(gone.contains("NoSuchKey"), "{gone}");

        let anonymous = Request {
            method: "GET".into(),
            target: "/worlds/w/x/b%3D1/c%20d".into(),
            ..Request::default()
        };
        let ask = |minio: &MinioServer| {
            let server = &minio.server;
            let root = minio.root.as_deref();
            anonymous.send(&server.place, server.port, root).unwrap()
        };
        assert_eq!(ask(&minio).status, 403);
        bucket.make_public().unwrap();
        let answer = ask(&minio);
        assert_eq!((answer.status, answer.text().as_str()), (200, "second"));

        // What was there is there after a crash, at the same place.
        minio.server.kill().unwrap();
        assert!(minio.bucket("worlds").list("").is_err());
        minio.server.start().unwrap();
        assert_eq!(minio.bucket("worlds").list("").unwrap().len(), 1);
    }
}

#[test]
fn postgres_answers_and_is_started_again_frozen_and_followed() {
    let mut postgres = PostgresServer::start().unwrap();
    psql(&postgres.dsn(), "CREATE TABLE kept (n int)").unwrap();
    psql(&postgres.dsn(), "INSERT INTO kept VALUES (41), (42)").unwrap();
    assert_eq!(postgres.query("SELECT sum(n) FROM kept").unwrap(), "83\n");

    let reader = postgres.read_only_role("reader").unwrap();
    assert_eq!(psql(&reader, "SELECT max(n) FROM kept").unwrap(), "42\n");
    let refused = psql(&reader, "DELETE FROM kept").unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    let writer = postgres.writing_role("writer").unwrap();
    psql(&writer, "INSERT INTO kept VALUES (43)").unwrap();
    let refused = psql(&writer, "CREATE TABLE other (n int)").unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");

    postgres.restart().unwrap();
    assert_eq!(postgres.query("SELECT count(*) FROM kept").unwrap(), "3\n");

    let standby = postgres.standby().unwrap();
    until("the standby follows", || {
        psql(&standby.dsn(), "SELECT count(*) FROM kept").is_ok_and(|count| count == "3\n")
    });
    let refused = psql(&standby.dsn(), "DELETE FROM kept").unwrap_err();
    assert!(refused.contains("read-only"), "{refused}");

    postgres.server.freeze().unwrap();
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| psql(&postgres.dsn(), "SELECT 1"));
        // It accepts connections, by the kernel, and answers none.
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(!asking.is_finished());
        postgres.server.thaw().unwrap();
        asking.join().unwrap()
    });
    assert_eq!(asked.unwrap(), "1\n");
}

#[test]
fn postgres_speaks_tls_alone_where_it_is_asked_to() {
    let options = PostgresOptions {
        tls: true,
        settings: vec![("max_connections".into(), "17".into())],
        names: vec!["postgres.some-namespace.svc".into()],
    };
    let postgres = PostgresServer::start_at(Place::loopback(), options).unwrap();
    let dsn = postgres.dsn();
    assert!(dsn.contains("sslmode=verify-full"), "{dsn}");
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&dsn, asked).unwrap(), "t\n");
    assert_eq!(psql(&dsn, "SHOW max_connections").unwrap(), "17\n");
    let (plain, _) = dsn.split_once('?').unwrap();
    assert!(psql(&format!("{plain}?sslmode=disable"), "SELECT 1").is_err());
    // The system's roots do not know its authority.
    let foreign = psql(&format!("{plain}?sslmode=verify-full"), "SELECT 1").unwrap_err();
    assert!(foreign.contains("certificate"), "{foreign}");
}

fn psql(dsn: &str, sql: &str) -> Result<String, String> {
    let done = std::process::Command::new("psql")
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
            dsn,
        ])
        .output()
        .unwrap();
    if done.status.success() {
        Ok(String::from_utf8(done.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

#[test]
fn kinesis_keeps_records() {
    let kinesis = KinesisServer::start().unwrap();
    let stream = json!({"StreamName": "control", "ShardCount": 2});
    kinesis.ask("CreateStream", &stream).unwrap();
    let described = || {
        kinesis
            .ask("DescribeStream", &json!({"StreamName": "control"}))
            .unwrap()["StreamDescription"]
            .clone()
    };
    until("the stream to be active", || {
        described()["StreamStatus"] == "ACTIVE"
    });
    assert_eq!(described()["Shards"].as_array().unwrap().len(), 2);
    // "ready", in base64, as the API has it.
    let record = json!({"StreamName": "control", "PartitionKey": "k", "Data": "cmVhZHk="});
    let put = kinesis.ask("PutRecord", &record).unwrap();
    let iterator = json!({
        "StreamName": "control",
        "ShardId": put["ShardId"],
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let iterator = kinesis.ask("GetShardIterator", &iterator).unwrap();
    let records = kinesis
        .ask(
            "GetRecords",
            &json!({"ShardIterator": iterator["ShardIterator"]}),
        )
        .unwrap();
    assert_eq!(records["Records"][0]["Data"], "cmVhZHk=", "{records}");
    assert!(kinesis.ask("GetRecords", &json!({})).is_err());
    listens_on_loopback_alone(kinesis.server.port);
}

/// The engine would listen on every address of the machine.
fn listens_on_loopback_alone(port: u16) {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap()
        + &std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let wanted = format!(":{port:04X}");
    let listening: Vec<_> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next()?, words.next()?, words.next()?);
            (state == "0A" && local.ends_with(&wanted)).then_some(local)
        })
        .collect();
    assert_eq!(listening, [format!("0100007F{wanted}")]);
}
