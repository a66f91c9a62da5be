//! The charts on a real cluster: definitions that are upgraded and kept, rights that are no more
//! than they must be, and streams that outlive the operator.

use serde_json::{Value, json};

use crate::helm::{chart, cluster, helm, kubectl, run, values};

/// Where the operator is installed, and where streams are.
const SYSTEM: &str = "chart-system";
const TEAM: &str = "chart-team";

/// One after the other, as a person would: they are about one release.
#[test]
fn the_charts_through_their_life() {
    clean();
    for namespace in [SYSTEM, TEAM] {
        cluster().restricted_namespace(namespace).unwrap();
    }
    definitions_are_upgraded_by_helm_upgrade();
    everything_of_each_environment_is_accepted();
    install();
    stream("outlives");
    the_operator_may_do_its_work_and_no_more();
    people_may_what_their_role_says();
    an_upgrade_leaves_the_streams_alone();
    the_operator_runs_and_is_upgraded();
    namespaced();
    uninstalling_leaves_definitions_and_streams();
    clean();
}

/// Away with what an earlier try may have left.
fn clean() {
    for release in ["worldstream", "worldstream-crds"] {
        let _ = run(
            "helm",
            &["uninstall", release, "--namespace", SYSTEM, "--wait"],
            "",
        );
    }
    kubectl(&[
        "delete",
        "namespace",
        SYSTEM,
        TEAM,
        "--ignore-not-found",
        "--wait",
    ]);
}

/// An earlier version of the chart, in which a stream had no time to live.
fn earlier_definitions() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    let original = std::path::PathBuf::from(chart("worldstream-crds"));
    let yaml = std::fs::read_to_string(original.join("Chart.yaml")).unwrap();
    let yaml = yaml.replace("version: 0.1.0", "version: 0.0.9");
    std::fs::write(folder.path().join("Chart.yaml"), yaml).unwrap();
    let definition = original.join("templates/worldstreams.yaml");
    let definition = std::fs::read_to_string(definition).unwrap();
    let earlier = definition.replace("ttlAfterFinished:", "formerly:");
    assert_ne!(earlier, definition);
    std::fs::write(templates.join("worldstreams.yaml"), earlier).unwrap();
    folder
}

fn definitions_are_upgraded_by_helm_upgrade() {
    // Other suites may have applied the definitions by hand: helm takes over what it installs.
    let earlier = earlier_definitions();
    let upgrade = |chart: &str| {
        helm(&[
            "upgrade",
            "--install",
            "worldstream-crds",
            chart,
            "--namespace",
            SYSTEM,
            "--take-ownership",
        ])
    };
    upgrade(&earlier.path().display().to_string());
    let explain = ["explain", "worldstream.spec.ttlAfterFinished"];
    wait_until("the earlier definition counts", || {
        run("kubectl", &explain, "").is_err()
    });
    upgrade(&chart("worldstream-crds"));
    wait_until("the new definition counts", || {
        run("kubectl", &explain, "").is_ok()
    });
    for plural in [
        "worldstreams",
        "streamprofiles",
        "streamclocks",
        "streamcheckpoints",
    ] {
        let name = format!("crd/{plural}.worldstream.io");
        kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            &name,
        ]);
    }
}

/// The server takes every object of every environment, checked strictly; what only the Prometheus
/// operator's definitions know is left out.
fn everything_of_each_environment_is_accepted() {
    for environment in ["local", "local-parity", "dev", "prod"] {
        let rendered = helm(&[
            "template",
            "worldstream",
            &chart("worldstream"),
            "--namespace",
            SYSTEM,
            "-f",
            &values(environment),
            "--set",
            "metrics.serviceMonitor.enabled=false",
            "--set",
            "metrics.podMonitor.enabled=false",
            "--set",
            "metrics.alerts.enabled=false",
        ]);
        let here = rendered
            .replace("namespace: fraud-platform", &format!("namespace: {TEAM}"))
            .replace("{{", "");
        let said = run(
            "kubectl",
            &["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
            &here,
        );
        said.unwrap_or_else(|said| panic!("{environment}: {said}"));
    }
}

fn install() {
    let notes = helm(&[
        "install",
        "worldstream",
        &chart("worldstream"),
        "--namespace",
        SYSTEM,
        "--set",
        "replicas=0",
        "--set",
        "profiles[0].profile=local",
        "--set",
        &format!("profiles[0].namespaces={{{TEAM}}}"),
        "--set",
        "profiles[0].spec.world.oracleRoot=/worlds",
    ]);
    assert!(
        notes.contains("kubectl apply -f config/samples/cluster/worldstreams.yaml"),
        "{notes}"
    );
    kubectl(&["-n", TEAM, "get", "streamprofile", "local"]);
}

/// A stream of a world that is nowhere.
fn stream(name: &str) {
    let stream = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "WorldStream",
        "metadata": { "name": name, "namespace": TEAM },
        "spec": { "profile": "local", "engineRunRoot": "/worlds/nowhere" },
    });
    run("kubectl", &["create", "-f", "-"], &stream.to_string()).unwrap();
}

/// Whether somebody may do something in a namespace.
fn may(who: &[&str], verb: &str, resource: &str, namespace: &str) -> bool {
    let mut args = vec!["auth", "can-i", verb, resource, "--namespace", namespace];
    args.extend(who);
    run("kubectl", &args, "").is_ok()
}

fn the_operator_may_do_its_work_and_no_more() {
    let account = format!("--as=system:serviceaccount:{SYSTEM}:worldstream");
    let operator = [account.as_str()];
    for (verb, resource) in [
        ("watch", "worldstreams.worldstream.io"),
        ("watch", "streamprofiles.worldstream.io"),
        ("create", "streamclocks.worldstream.io"),
        ("patch", "streamclocks.worldstream.io"),
        ("create", "streamcheckpoints.worldstream.io"),
        ("create", "jobs.batch"),
        ("delete", "jobs.batch"),
        ("create", "configmaps"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("create", "events.events.k8s.io"),
    ] {
        assert!(may(&operator, verb, resource, TEAM), "{verb} {resource}");
    }
    assert!(may(
        &operator,
        "create",
        "leases.coordination.k8s.io",
        SYSTEM
    ));
    for (verb, resource) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("list", "configmaps"),
        ("create", "pods"),
        ("update", "worldstreams.worldstream.io"),
        ("patch", "streamprofiles.worldstream.io"),
        ("delete", "streamcheckpoints.worldstream.io"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("bind", "roles.rbac.authorization.k8s.io"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("impersonate", "serviceaccounts"),
        ("get", "nodes"),
        ("create", "leases.coordination.k8s.io"),
    ] {
        assert!(!may(&operator, verb, resource, TEAM), "{verb} {resource}");
    }
    // The roles of a stream's workers and of a trigger are made of rules that the operator holds (so
    // it may delete WorldStreams, which it never does); one of others is refused by the server.
    let role = |name: &str, rule: Value| {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": name, "namespace": TEAM },
            "rules": [rule],
        });
        run(
            "kubectl",
            &["create", "-f", "-", &account],
            &role.to_string(),
        )
    };
    let rule = |group: &str, resource: &str, verbs: Value| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": ["a"] });
    let own = [
        (
            "clock",
            rule(
                "worldstream.io",
                "streamclocks",
                json!(["get", "list", "watch"]),
            ),
        ),
        (
            "checkpoint",
            rule("worldstream.io", "streamcheckpoints", json!(["get"])),
        ),
        (
            "status",
            rule(
                "worldstream.io",
                "streamcheckpoints/status",
                json!(["get", "patch", "update"]),
            ),
        ),
    ];
    for (name, rule) in own {
        role(name, rule).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
    let said = role("secret", rule("", "secrets", json!(["get"]))).unwrap_err();
    assert!(
        said.contains("attempting to grant RBAC permissions not currently held"),
        "{said}"
    );
}

fn people_may_what_their_role_says() {
    for role in ["view", "edit", "admin"] {
        kubectl(&[
            "-n",
            TEAM,
            "create",
            "rolebinding",
            role,
            &format!("--clusterrole={role}"),
            &format!("--user={role}or"),
        ]);
    }
    // Aggregation is a controller's work.
    wait_until("roles are aggregated", || {
        may(
            &["--as=editor"],
            "create",
            "worldstreams.worldstream.io",
            TEAM,
        ) && may(
            &["--as=adminor"],
            "create",
            "streamprofiles.worldstream.io",
            TEAM,
        ) && may(
            &["--as=viewor"],
            "list",
            "streamcheckpoints.worldstream.io",
            TEAM,
        )
    });
    let person = |role: &str| format!("--as={role}or");
    for (role, verb, resource, expected) in [
        ("view", "get", "worldstreams", true),
        ("view", "create", "worldstreams", false),
        ("view", "get", "streamprofiles", true),
        ("edit", "patch", "worldstreams", true),
        ("edit", "delete", "worldstreams", true),
        ("edit", "create", "streamprofiles", false),
        ("edit", "patch", "streamprofiles", false),
        ("edit", "patch", "streamclocks", false),
        ("edit", "delete", "streamcheckpoints", false),
        ("admin", "patch", "streamprofiles", true),
        ("admin", "patch", "worldstreams", true),
        ("admin", "patch", "streamclocks", false),
    ] {
        let resource = format!("{resource}.worldstream.io");
        let who = person(role);
        assert_eq!(
            may(&[&who], verb, &resource, TEAM),
            expected,
            "{role} {verb} {resource}"
        );
    }
    for role in ["view", "edit", "admin"] {
        for resource in ["worldstreams", "streamcheckpoints"] {
            let resource = format!("{resource}.worldstream.io");
            let who = person(role);
            let status = [who.as_str(), "--subresource=status"];
            assert!(
                !may(&status, "patch", &resource, TEAM),
                "{role} {resource}/status"
            );
            assert!(
                !may(&status, "update", &resource, TEAM),
                "{role} {resource}/status"
            );
        }
    }
}

fn uid() -> String {
    kubectl(&[
        "-n",
        TEAM,
        "get",
        "ws",
        "outlives",
        "-o",
        "jsonpath={.metadata.uid}",
    ])
}

fn an_upgrade_leaves_the_streams_alone() {
    let before = uid();
    helm(&[
        "upgrade",
        "worldstream",
        &chart("worldstream"),
        "--namespace",
        SYSTEM,
        "--reuse-values",
        "--set",
        "log.format=json",
    ]);
    assert_eq!(uid(), before);
}

/// The operator itself, where the restricted Pod Security Standard is enforced: it becomes ready and
/// says how streams stand, and after an upgrade the next one does.
fn the_operator_runs_and_is_upgraded() {
    let images = worldstream_tests::images(cluster());
    let mut values = vec!["--set".to_owned(), "replicas=1".to_owned()];
    for (value, image) in [
        ("image", &images.operator),
        ("worker.image", &images.worker),
    ] {
        let (repository, tag) = image.rsplit_once(':').unwrap();
        values.push("--set".into());
        values.push(format!("{value}.repository={repository},{value}.tag={tag}"));
    }
    let upgrade = |more: &[&str]| {
        let chart = chart("worldstream");
        let mut args = vec!["upgrade", "worldstream", &chart, "--namespace", SYSTEM];
        args.extend(["--reuse-values", "--wait", "--timeout=3m"]);
        args.extend(values.iter().map(String::as_str));
        args.extend(more);
        helm(&args);
    };
    upgrade(&[]);
    // Its world is nowhere: the preflight pod says so, with the code.
    said_of("outlives", "RUN_RECEIPT_UNREADABLE");
    upgrade(&["--set", "log.format=json"]);
    stream("later");
    said_of("later", "RUN_RECEIPT_UNREADABLE");
}

/// Waits until a stream's conditions have a reason.
fn said_of(stream: &str, reason: &str) {
    let get = [
        "-n",
        TEAM,
        "get",
        "ws",
        stream,
        "-o",
        "jsonpath={.status.conditions[*].reason}",
    ];
    wait_until(&format!("{stream}: {reason}"), || {
        kubectl(&get)
            .split_whitespace()
            .any(|found| found == reason)
    });
}

/// With namespaces to watch the operator has no right beyond them.
fn namespaced() {
    helm(&[
        "upgrade",
        "worldstream",
        &chart("worldstream"),
        "--namespace",
        SYSTEM,
        "--reuse-values",
        "--set",
        &format!("watchNamespaces={{{TEAM}}}"),
    ]);
    let account = format!("--as=system:serviceaccount:{SYSTEM}:worldstream");
    let operator = [account.as_str()];
    wait_until("the roles count", || {
        may(&operator, "create", "jobs.batch", TEAM)
    });
    for resource in ["worldstreams.worldstream.io", "jobs.batch", "pods"] {
        assert!(!may(&operator, "list", resource, "default"), "{resource}");
    }
    let roles = kubectl(&[
        "get",
        "clusterroles",
        "-l",
        "app.kubernetes.io/instance=worldstream",
        "-o",
        "name",
    ]);
    assert!(
        !roles
            .lines()
            .any(|role| role.ends_with(&format!("{SYSTEM}-worldstream"))),
        "{roles}"
    );
}

fn uninstalling_leaves_definitions_and_streams() {
    let before = uid();
    helm(&["uninstall", "worldstream", "--namespace", SYSTEM, "--wait"]);
    assert_eq!(uid(), before);
    let said = helm(&[
        "uninstall",
        "worldstream-crds",
        "--namespace",
        SYSTEM,
        "--wait",
    ]);
    assert!(said.contains("kept due to the resource policy"), "{said}");
    assert_eq!(uid(), before);
    // And they can be installed again over what was kept.
    helm(&[
        "install",
        "worldstream-crds",
        &chart("worldstream-crds"),
        "--namespace",
        SYSTEM,
    ]);
    assert_eq!(uid(), before);
}

/// Waits for something to become so; a bound so wide that only what never comes is found.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !so() {
        assert!(
            std::time::Instant::now() < end,
            "{what}: not within two minutes"
        );
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}
