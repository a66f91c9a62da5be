//! The chart of the platform in parity: linted, rendered as it was before, and what its values
//! refuse. That it works is the suite `parity_cluster`.

use worldstream_tests::repository;

use crate::helm::{chart, helm, run};

/// Files of values of the chart, by what they are for; none: its defaults.
const VALUES: [(&str, Option<&str>); 3] = [
    ("parity", None),
    ("parity-kind", Some("values-kind.yaml")),
    ("parity-outside", Some("values-outside.yaml")),
];

fn values(file: Option<&str>) -> Vec<String> {
    file.map(|file| format!("{}/{file}", chart("worldstream-parity")))
        .map_or_else(Vec::new, |file| vec!["-f".into(), file])
}

fn rendered(more: &[&str]) -> Result<String, String> {
    let chart = chart("worldstream-parity");
    let mut args = vec!["template", "parity", &chart, "--namespace=parity"];
    args.extend(more);
    run("helm", &args, "")
}

#[test]
fn it_is_linted_and_renders_as_its_golden_files() {
    for (name, file) in VALUES {
        let values = values(file);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let chart = chart("worldstream-parity");
        helm(&[&["lint", "--strict", &chart], &values[..]].concat());
        let rendered = rendered(&values).unwrap_or_else(|said| panic!("{name}: {said}"));
        let golden = repository().join(format!("tests/golden/charts/{name}.yaml"));
        if std::env::var_os("WORLDSTREAM_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&golden, &rendered).unwrap();
            continue;
        }
        let before = std::fs::read_to_string(&golden).unwrap_or_default();
        let mut both = rendered.lines().zip(before.lines());
        let differs = both.position(|(now, before)| now != before);
        assert!(
            rendered == before,
            "{name}: differs from {} at line {differs:?}; if that is meant: make charts",
            golden.display()
        );
    }
}

#[test]
fn a_store_outside_is_a_service_and_nothing_else() {
    let all = rendered(&[]).unwrap();
    let outside = rendered(&[
        "--set",
        "minio.endpoint=http://10.1.2.3:9001",
        "--set",
        "kinesis.endpoint=https://kinesis.example.net",
        "--set",
        "postgres.endpoint=postgres://db.example.net:5433",
    ])
    .unwrap();
    assert_eq!(all.matches("kind: StatefulSet\n").count(), 3);
    assert_eq!(outside.matches("kind: StatefulSet\n").count(), 0);
    for line in [
        "  - addresses: [\"10.1.2.3\"]\n",
        "  - {name: main, port: 9001}\n",
        "endpoint: http://minio:9001\n",
        // Over TLS the name is that of the certificate.
        "endpoint: https://kinesis.example.net\n",
        "  externalName: db.example.net\n",
        "@postgres:5433/worldstream?sslmode=disable",
    ] {
        assert!(outside.contains(line), "{line:?} in {outside}");
    }
    let without = rendered(&["--set", "operator.enabled=false"]).unwrap();
    assert!(
        !without.contains("worldstream/worldstream-operator"),
        "{without}"
    );
}

#[test]
fn values_that_are_none_are_refused() {
    let cases: [(&str, &str); 12] = [
        ("world.root=/worlds/parity", "root"),
        ("world.root=s3://oracle-store", "root"),
        ("world.rows=none", "rows"),
        ("run.platformRunId=today", "platformRunId"),
        ("store.root=/data", "root"),
        ("minio.endpoint=10.0.0.1:9000", "endpoint"),
        ("minio.secretKey=short", "secretKey"),
        ("minio.nodePort=80", "nodePort"),
        ("kinesis.shards=0", "shards"),
        ("postgres.sslmode=maybe", "sslmode"),
        ("postgres.existingSecret=mine", "is for a Postgres outside"),
        ("stores.minio=1", "stores"),
    ];
    for (set, says) in cases {
        match rendered(&["--set", set]) {
            Ok(_) => panic!("{set} was taken"),
            Err(said) => assert!(said.contains(says), "{set}: {said}"),
        }
    }
}
