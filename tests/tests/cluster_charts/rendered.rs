//! What the charts render to, and which values they refuse.

use worldstream_tests::repository;

use crate::helm::{chart, helm, run, values};

const ENVIRONMENTS: [&str; 4] = ["local", "local-parity", "dev", "prod"];

#[test]
fn both_charts_are_linted_with_every_environment() {
    helm(&["lint", "--strict", &chart("worldstream-crds")]);
    helm(&["lint", "--strict", &chart("worldstream")]);
    for environment in ENVIRONMENTS {
        helm(&[
            "lint",
            "--strict",
            &chart("worldstream"),
            "-f",
            &values(environment),
        ]);
    }
}

/// `make charts` writes the files anew.
#[test]
fn every_environment_renders_as_its_golden_file() {
    for environment in ENVIRONMENTS {
        let rendered = helm(&[
            "template",
            "worldstream",
            &chart("worldstream"),
            "--namespace=worldstream-system",
            "-f",
            &values(environment),
        ]);
        let file = repository().join(format!("tests/golden/charts/{environment}.yaml"));
        if std::env::var_os("WORLDSTREAM_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &rendered).unwrap();
            continue;
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        let differs = rendered
            .lines()
            .zip(golden.lines())
            .position(|(rendered, golden)| rendered != golden);
        assert!(
            rendered == golden,
            "{environment}: differs from {} at line {differs:?}; if that is meant: make charts",
            file.display()
        );
    }
}

#[test]
fn values_that_are_none_are_refused() {
    let cases: [(&[&str], &str); 16] = [
        (&["--set", "replica=2"], "replica"),
        (&["--set", "replicas=two"], "replicas"),
        (&["--set", "replicas=-1"], "replicas"),
        (&["--set", "image.tags=1"], "tags"),
        (&["--set", "image.repository="], "repository"),
        (&["--set", "image.pullPolicy=Sometimes"], "pullPolicy"),
        (&["--set", "log.format=xml"], "format"),
        (&["--set", "watchNamespaces={Team_A}"], "watchNamespaces"),
        (&["--set", "watchNamespaces={a,a}"], "watchNamespaces"),
        (&["--set", "profiles[0].profile=staging"], "profile"),
        (&["--set", "profiles[0].namespaces={a}"], "profile"),
        (&["--set", "resources.claims=1"], "claims"),
        (
            &["--set", "networkPolicy.enabled=true"],
            "networkPolicy.apiServer.cidrs: is empty",
        ),
        (
            &["--set", "networkPolicy.apiServer.cidrs={everywhere}"],
            "cidrs",
        ),
        (
            &["--set", "networkPolicy.destinations[0].cidr=10.0.0.0/8"],
            "ports",
        ),
        (&["--set", "metrics.podMonitor.interval=often"], "interval"),
    ];
    for (set, says) in cases {
        let chart = chart("worldstream");
        let args = [&["template", "worldstream", &chart], set].concat();
        match run("helm", &args, "") {
            Ok(_) => panic!("{set:?} was taken"),
            Err(said) => assert!(said.contains(says), "{set:?}: {said}"),
        }
    }
    let said = run(
        "helm",
        &[
            "template",
            "crds",
            &chart("worldstream-crds"),
            "--set",
            "install=false",
        ],
        "",
    );
    assert!(said.unwrap_err().contains("install"));
}

#[test]
fn what_is_not_asked_for_is_not_rendered() {
    let all = helm(&["template", "w", &chart("worldstream"), "--namespace=ns"]);
    for kind in [
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "StreamProfile",
    ] {
        assert!(!all.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    // No rule that would let the operator at secrets, or above itself.
    for word in [
        "secrets",
        "escalate",
        "bind]",
        "impersonate",
        "'*'",
        "\"*\"",
    ] {
        assert!(!all.contains(word), "{word}");
    }
    // The server of these tests has no ReadyTrigger to be asked about.
    assert!(all.contains(
        "    resources: [worldstreams, readytriggers]\n    verbs: [create, update, patch, delete, deletecollection]\n"
    ));
    let two = helm(&[
        "template",
        "w",
        &chart("worldstream"),
        "--set",
        "replicas=2",
    ]);
    assert!(two.contains("kind: PodDisruptionBudget\n"));
    let namespaced = helm(&[
        "template",
        "w",
        &chart("worldstream"),
        "--set",
        "watchNamespaces={a,b}",
        "--set",
        "rbac.aggregate=false",
    ]);
    assert!(!namespaced.contains("kind: ClusterRole"), "{namespaced}");
    assert!(namespaced.contains("--namespace=a,b"), "{namespaced}");
}

/// What a site lays over a profile replaces what is there, field by field.
#[test]
fn a_profile_is_that_of_config_with_a_sites_own_over_it() {
    let rendered = helm(&[
        "template",
        "w",
        &chart("worldstream"),
        "--namespace=ns",
        "--set",
        "profiles[0].profile=prod",
        "--set",
        "profiles[0].name=ours",
        "--set",
        "profiles[0].namespaces={team-a,team-b}",
        "--set",
        "profiles[0].spec.gate.url=https://ig.example.net",
        "--set",
        "profiles[0].spec.world.oracleRoot=s3://site/runs",
        "--show-only",
        "templates/profiles.yaml",
    ]);
    assert_eq!(
        rendered.matches("kind: StreamProfile\n").count(),
        2,
        "{rendered}"
    );
    for line in [
        "  name: ours\n",
        "  namespace: team-a\n",
        "  namespace: team-b\n",
        "    url: https://ig.example.net\n",
        "    oracleRoot: s3://site/runs\n",
        // From config/profiles/prod.yaml.
        "      maxShare: 0.05\n",
        "    seal: true\n",
    ] {
        assert!(rendered.contains(line), "{line:?} in {rendered}");
    }
}
